# The other hosts of the bed: a name server at 198.51.100.53, and web servers at each address's ports 80, 81 and 8080 that
# tell which Host they were asked for, know no CONNECT, and take a WebSocket whose first frame they give back. Port 443 says that it has heard a greeting, and then that
# something came again; datagrams to ports 9 and
# 443 come back. Each question is written to the file that is named.
import os, socket, struct, sys, threading

NAMES = {
    'good.test': ['198.51.100.7'],
    'evil.test': ['198.51.100.8'],
    'rebind.test': ['198.51.100.7', '127.0.0.1', '192.0.2.1', '10.0.2.2', '169.254.169.254'],
    'inward.test': ['192.0.2.1'],
    'alias.good.test': 'evil.test',
}


def wire(name):
    return b''.join(bytes([len(label)]) + label.encode() for label in name.split('.')) + b'\0'


def record(owner, kind, data):
    return wire(owner) + struct.pack('>HHIH', kind, 1, 60, len(data)) + data


def serve_names(log):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('198.51.100.53', 53))
    while True:
        query, client = server.recvfrom(4096)
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode('latin1'))
            at += query[at] + 1
        name, kind = '.'.join(labels).lower(), struct.unpack('>H', query[at + 1:at + 3])[0]
        os.write(log, (name + '\n').encode())
        answers, found = [], NAMES.get(name)
        if isinstance(found, str):
            answers.append(record(name, 5, wire(found)))
            name, found = found, NAMES[found]
        if found and kind == 1:
            answers += [record(name, 1, socket.inet_aton(address)) for address in found]
        code = 0 if answers or found else 3
        head = query[:2] + struct.pack('>HHHHH', 0x8180 | code, 1, len(answers), 0, 0)
        server.sendto(head + query[12:at + 5] + b''.join(answers), client)


def serve_web(port):
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # IPV6_TRANSPARENT: it answers from addresses that only a route makes the host's.
    server.setsockopt(socket.IPPROTO_IPV6, 75, 1)
    server.bind(('::', port))
    server.listen(64)
    while True:
        client, _ = server.accept()
        client.settimeout(5)
        held = b''
        try:
            while True:
                more = client.recv(4096)
                if not more:
                    break
                held += more
                while b'\r\n\r\n' in held:
                    head, held = held.split(b'\r\n\r\n', 1)
                    if head.startswith(b'CONNECT'):
                        client.sendall(b'HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n')
                        continue
                    if b'\r\nUpgrade: websocket' in head:
                        client.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n')
                        client.sendall(b'\x81\x04' + client.recv(99)[-4:])
                        continue
                    hosts = [line[6:] for line in head.split(b'\r\n') if line.lower().startswith(b'host: ')]
                    body = b'served ' + b' '.join(hosts) + b'\n'
                    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
        except OSError:
            pass
        client.close()


def listen_to_greetings():
    server = socket.create_server(('0.0.0.0', 443))
    while True:
        client, _ = server.accept()
        client.settimeout(5)
        held = b''
        try:
            while len(held) < 5 or len(held) < 5 + int.from_bytes(held[3:5], 'big'):
                more = client.recv(65536)
                if not more:
                    break
                held += more
            if held:
                client.sendall(b'heard')
            # What comes after the answer: a second greeting, say.
            if client.recv(65536):
                client.sendall(b'again')
        except OSError:
            pass
        client.close()


def give_back(port):
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(('::', port))
    while True:
        bytes, client = server.recvfrom(65536)
        server.sendto(bytes, client)


log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
if os.fork() == 0:
    serve_names(log)
threading.Thread(target=listen_to_greetings, daemon=True).start()
for port in (9, 443):
    threading.Thread(target=give_back, args=(port,), daemon=True).start()
threading.Thread(target=serve_web, args=(81,), daemon=True).start()
threading.Thread(target=serve_web, args=(8080,), daemon=True).start()
# Whoever connects there is connected, and hears nothing.
silent = socket.create_server(('::', 7), family=socket.AF_INET6, dualstack_ipv6=True)
serve_web(80)
