# Port 7000: a slow reader, which says at the end how many bytes came and their sum. Port 7001: says back what it is
# told, line by line, for as long as nobody ends. Port 7002: a server of requests that takes any word for a method, and says which
# host was asked for.
import socket, socketserver, threading, time, zlib
from wsgiref import simple_server


class Slow(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        length, total, pause = 0, 0, 0.3
        while True:
            bytes = self.request.recv(1 << 20)
            if not bytes:
                break
            length, total = length + len(bytes), zlib.crc32(bytes, total)
            time.sleep(pause)
            pause = max(0, pause - 0.1)
        self.request.sendall(b'%d %d\n' % (length, total))


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


class Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Web(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128


def site(asked, begin):
    begin('200 OK', [('Content-Type', 'text/plain')])
    return [b'served ' + asked.get('HTTP_HOST', 'nobody').encode() + b'\n']


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


threading.Thread(target=Server(('0.0.0.0', 7001), Echo).serve_forever, daemon=True).start()
web = simple_server.make_server('0.0.0.0', 7002, site, Web, Quiet)
threading.Thread(target=web.serve_forever, daemon=True).start()
Server(('0.0.0.0', 7000), Slow).serve_forever()
