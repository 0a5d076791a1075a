# Port 7000: a slow reader, which says at the end how many bytes came and their sum. Port 7001: says back what it is
# told, line by line, for as long as nobody ends.
import socket, socketserver, threading, time, zlib


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


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


threading.Thread(target=Server(('0.0.0.0', 7001), Echo).serve_forever, daemon=True).start()
Server(('0.0.0.0', 7000), Slow).serve_forever()
