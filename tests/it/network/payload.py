# Tries what its arguments say, one after another, and prints one line for each.
#   look NAME               its addresses
#   get HOST PORT HOSTS..   one connection; a request for each of HOSTS, in one write
#   tunnel HOST PORT TO NAME  a CONNECT to TO, and once it was answered, a request for NAME
#   behind HOST PORT TO NAME  the same in one write
#   frame HOST PORT NAME    a frame of a WebSocket of NAME, and its answer
#   method HOST PORT NAME N  a request for NAME by a method of N letters
#   prior HOST PORT         HTTP/2 without TLS
#   tcp ADDRESS PORT        a connection, and no byte
#   took ADDRESS PORT       the error of a connection, and whether it came soon
#   udp ADDRESS PORT        a datagram, and its answer
#   long ADDRESS LENGTH     a datagram of that length, and what becomes of it
#   ping ADDRESS            an echo
#   bound ADDRESS PORT      datagrams and a connection that ask no route: by the interface that leads out
#   hears PORT SECONDS      the addresses at which something was heard, the host's own last word left out
#   ask SERVER NAME         a question to that very server
#   hello ADDRESS NAME N    a greeting of TLS for NAME (`-` for none), in pieces of N bytes
#   records ADDRESS NAME    the same, cut into two records within the name
#   retry ADDRESS NAME..    a greeting for the first name, and when it was answered, one for the second
#   forge COUNT             raw packets with nonsense in them, sources of others among them
#   routed ADDRESS LAST     the answers to forged SYNs: a plain one, and two that name a way by ADDRESS to LAST
#   junk COUNT              nonsense for the name server, over datagrams and connections
import errno, os, random, re, select, socket, ssl, struct, sys, time

# Seconds: for what is answered or refused on any machine, however much else that does; and for what may be lost.
PATIENCE, SILENCE = 40, 8


def look(name):
    found = {info[4][0] for info in socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)}
    return ' '.join(sorted(found))


def get(host, port, *names):
    peer = socket.create_connection((host, int(port)), timeout=PATIENCE)
    peer.sendall(b''.join(b'GET / HTTP/1.1\r\nHost: %s\r\n\r\n' % name.encode() for name in names))
    text = b''
    while text.count(b'served ') < len(names):
        more = peer.recv(4096)
        if not more:
            raise OSError('closed')
        text += more
    return ','.join(line.decode() for line in text.split(b'\n') if line.startswith(b'served '))


def behind(host, port, to, name):
    return tunnel(host, port, to, name, False)


def tunnel(host, port, to, name, waits=True):
    peer = socket.create_connection((host, int(port)), timeout=PATIENCE)
    ask = b'CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' % (to.encode(), to.encode())
    then, heard = b'GET / HTTP/1.1\r\nHost: %s\r\n\r\n' % name.encode(), b''
    peer.sendall(ask if waits else ask + then)
    while waits and b'\r\n\r\n' not in heard:
        heard += peer.recv(4096) or b'\r\n\r\n'
    if waits:
        peer.sendall(then)
    return served(peer)


def served(peer):
    text = until(peer, lambda text: b'\n' in text.partition(b'served')[2])
    return 'served' + text.partition(b'served')[2].decode().rstrip()


def until(peer, holds):
    text = b''
    while not holds(text):
        more = peer.recv(4096)
        if not more:
            raise OSError('closed')
        text += more
    return text


def frame(host, port, name):
    peer = socket.create_connection((host, int(port)), timeout=PATIENCE)
    ask = b'GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    peer.sendall(ask % name.encode())
    until(peer, lambda text: b'\r\n\r\n' in text)
    peer.sendall(b'\x81\x84\0\0\0\0ping')
    until(peer, lambda text: text.endswith(b'ping'))
    return 'framed'


def method(host, port, name, length):
    peer = socket.create_connection((host, int(port)), timeout=PATIENCE)
    peer.sendall(b'%s / HTTP/1.1\r\nHost: %s\r\n\r\n' % (b'M' * int(length), name.encode()))
    return served(peer)


def prior(host, port):
    peer = socket.create_connection((host, int(port)), timeout=PATIENCE)
    peer.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    peer.recv(1)
    return 'heard'


def tcp(address, port):
    socket.create_connection((address, int(port)), timeout=PATIENCE).close()
    return 'connected'


def took(address, port):
    began = time.monotonic()
    code = socket.socket().connect_ex((address, int(port)))
    return errno.errorcode.get(code, 'none') + (' at once' if time.monotonic() - began < 20 else ' late')


def udp(address, port, bytes=b'x'):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(SILENCE)
    one.connect((address, int(port)))
    # The first may be lost, or tell of the one before.
    one.send(bytes)
    one.recv(65536)
    return 'answered'


def long(address, length):
    one = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(SILENCE)
    one.connect((address, 9))
    one.send(bytes(int(length)))
    try:
        return 'came back' if len(one.recv(70000)) == int(length) else 'cut'
    except TimeoutError:
        return 'silence'
    except OSError as error:
        return errno.errorcode[error.errno]


def ping(address):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    one.settimeout(SILENCE)
    one.connect((address, 0))
    one.send(struct.pack('>BBHHH', 8, 0, 0, 1, 1) + b'payload')
    one.recv(65536)
    return 'answered'


def bound(address, port):
    name = next(name for _, name in socket.if_nameindex() if name != 'lo')
    to, index = (address, int(port)), socket.if_nametoindex(name)
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    level = socket.IPPROTO_IPV6 if ':' in address else socket.IPPROTO_IP
    device = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
    # IPV6_UNICAST_IF and IP_UNICAST_IF
    unicast = (level, 76 if ':' in address else 50, struct.pack('!I', index))
    straight = (socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
    packet = (level, socket.IPV6_PKTINFO, bytes(16) + struct.pack('I', index)) if ':' in address else \
        (level, 8, struct.pack('I', index) + bytes(8))
    for options, extra in [([device], []), ([unicast], []), ([device, straight], []), ([], [packet])]:
        one = socket.socket(family, socket.SOCK_DGRAM)
        for option in options:
            one.setsockopt(*option)
        try:
            one.sendmsg([b'x'], extra, 0, to)
        except OSError:
            pass
    one = socket.socket(family)
    one.setsockopt(*device)
    one.settimeout(1)
    try:
        one.connect(to)
    except OSError:
        pass
    return 'tried'


def hears(port, seconds):
    heard, until = set(), time.monotonic() + float(seconds)
    one, many = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    for each in (one, many):
        each.bind(('::', int(port)))
    many.listen(64)
    waiting = select.poll()
    for each in (one, many):
        waiting.register(each, select.POLLIN)
    while time.monotonic() < until:
        for ready, _ in waiting.poll(100):
            if ready == many.fileno():
                heard.add('tcp ' + many.accept()[0].getsockname()[0])
                continue
            bytes, extra, _, _ = one.recvmsg(99, 99)
            if bytes == b'end':
                return '\n'.join(sorted(heard))
            heard.add('udp ' + socket.inet_ntop(socket.AF_INET6, extra[0][2][:16]))
    return 'never ended'


def end(port):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.sendto(b'end', ('127.0.0.1', int(port)))
    return 'ended'


def ask(server, name):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return udp(server, 53, struct.pack('>6H', 7, 0x100, 1, 0, 0, 0) + labels + b'\0\0\1\0\1')


def greeting(name):
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    context.check_hostname = name != '-'
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=None if name == '-' else name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def send_greeting(address, bytes, piece):
    peer = socket.create_connection((address, 443), timeout=PATIENCE)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(bytes), piece):
        peer.sendall(bytes[at:at + piece])
        time.sleep(0.002)
    heard = peer.recv(100)
    if not heard:
        raise OSError('closed')
    # Of greetings in pieces, the rest may count as another one.
    return heard[:5].decode()


def hello(address, name, piece):
    return send_greeting(address, greeting(name), int(piece))


def records(address, name):
    bytes = greeting(name)
    head, message, cut = bytes[:3], bytes[5:], bytes.index(name.encode()) - 5 + 3
    record = lambda part: head + struct.pack('>H', len(part)) + part
    return send_greeting(address, record(message[:cut]) + record(message[cut:]), 1 << 16)


def retry(address, first, second):
    peer = socket.create_connection((address, 443), timeout=PATIENCE)
    for name, answer in [(first, b'heard'), (second, b'again')]:
        peer.sendall(greeting(name))
        heard = b''
        while len(heard) < len(answer):
            more = peer.recv(len(answer) - len(heard))
            if not more:
                raise OSError('closed')
            heard += more
    return heard.decode()


def forge(count):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    chance = random.Random(7)
    for number in range(int(count)):
        source = chance.choice(['10.0.2.100', '10.0.2.2', '192.0.2.1', '198.51.100.8'])
        to = chance.choice(['198.51.100.7', '10.0.2.2', '10.0.2.3', '203.0.113.1'])
        protocol = chance.choice([1, 2, 6, 6, 6, 17, 41, 47, chance.randrange(256)])
        body = bytearray(chance.randbytes(chance.randrange(0, 120)))
        if protocol == 6 and len(body) > 20 and chance.random() < 0.8:
            body[2:4], body[12] = struct.pack('>H', 80), 0x50
        head = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 0, 0, chance.choice([0, 0, 0x2000, 0x4000, 7]), 64, protocol, 0,
                           socket.inet_aton(source), socket.inet_aton(to))
        try:
            raw.sendto(head + bytes(body), (to, 0))
        except OSError:
            pass
    return 'forged'


def tcp_sum(source, to, bytes):
    whole = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack('>HH', 6, len(bytes)) + bytes
    total = sum(struct.unpack('>%dH' % (len(whole) // 2), whole))
    total = (total >> 16) + (total & 0xffff)
    return ~((total >> 16) + total) & 0xffff


def routed(to, last):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((to, 9))
        source = one.getsockname()[0]
    made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    heard.settimeout(1)

    def send(port, options):
        head = lambda sum: struct.pack('>HHIIBBHHH', port, 80, 7, 0, 0x50, 2, 65535, sum, 0)
        segment = head(tcp_sum(source, last if options else to, head(0)))
        ip = struct.pack('>BBHHHBBH4s4s', 0x45 + len(options) // 4, 0, 0, 0, 0, 64, 6, 0, socket.inet_aton(source),
                         socket.inet_aton(to))
        made.sendto(ip + options + segment, (to, 0))

    def answers(options):
        """Whether it is answered before a plain one that was sent behind it, and some more of those."""
        port, answered = random.randrange(20000, 30000), set()
        for plain in range(port + 1, port + 6):
            while plain not in answered:
                send(port, options)
                send(plain, b'')
                try:
                    while plain not in answered:
                        packet = heard.recv(4096)
                        at = (packet[0] & 15) * 4
                        if packet[at + 13] & 0x12 == 0x12:
                            answered.add(struct.unpack('>H', packet[at + 2:at + 4])[0])
                except TimeoutError:
                    pass
        return 'answered' if port in answered else 'silence'

    option = lambda kind: bytes([1, kind, 7, 4]) + socket.inet_aton(last)
    return ' '.join(answers(each) for each in (b'', option(131), option(137)))


def junk(count):
    chance = random.Random(11)
    server = re.search('nameserver (.*)', open('/etc/resolv.conf').read())[1]
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect((server, 53))
    name = lambda: b'\4good\4test\0'
    def message():
        head = struct.pack('>6H', chance.randrange(65536), chance.choice([0x100, 0x8180, chance.randrange(65536)]),
                           *(chance.choice([0, 1, 1, 2, 65535]) for _ in range(4)))
        body = chance.choice([b'', name() + b'\0\1\0\1', b'\xc0\x0c\0\1\0\1', b'\xff' * 300, b'\x3f' + b'a' * 63 + b'\0',
                              (b'\x3f' + b'a' * 63) * 5 + b'\0\0\1\0\1', b'\1.' * 120 + b'\0\0\1\0\1',
                              name() + b'\0\1\0\1' + b'\0\0\x29' + chance.randbytes(chance.randrange(60)),
                              chance.randbytes(chance.randrange(600))])
        bytes = bytearray(head + body)
        if chance.random() < 0.5:
            bytes[chance.randrange(len(bytes))] = chance.randrange(256)
        return bytes[:chance.randrange(len(bytes) + 1)] if chance.random() < 0.2 else bytes
    for number in range(int(count)):
        try:
            one.send(message())
        except OSError:
            pass
    for number in range(int(count) // 20):
        try:
            with socket.create_connection((server, 53), timeout=PATIENCE) as peer:
                for _ in range(20):
                    bytes = message()
                    length = len(bytes) if chance.random() < 0.8 else chance.randrange(65536)
                    peer.sendall(struct.pack('>H', length) + bytes)
                if chance.random() < 0.3:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        except OSError:
            pass
    return 'sent'


for words in ' '.join(sys.argv[1:]).split(' + '):
    what, *rest = words.split()
    try:
        print(globals()[what](*rest), flush=True)
    except OSError:
        print('refused', flush=True)
