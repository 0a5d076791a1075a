# Tries what its arguments say, one after another, and prints one line for each.
#   look NAME               its addresses
#   get HOST PORT HOSTS..   one connection; a request for each of HOSTS, in one write
import socket, sys


def look(name):
    found = {info[4][0] for info in socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)}
    return ' '.join(sorted(found))


def get(host, port, *names):
    peer = socket.create_connection((host, int(port)), timeout=5)
    peer.sendall(b''.join(b'GET / HTTP/1.1\r\nHost: %s\r\n\r\n' % name.encode() for name in names))
    text = b''
    while text.count(b'served ') < len(names):
        more = peer.recv(4096)
        if not more:
            raise OSError('closed')
        text += more
    return ','.join(line.decode() for line in text.split(b'\n') if line.startswith(b'served '))


for words in ' '.join(sys.argv[1:]).split(' + '):
    what, *rest = words.split()
    try:
        print({'look': look, 'get': get}[what](*rest), flush=True)
    except OSError:
        print('refused', flush=True)
