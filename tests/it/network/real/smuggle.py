# Tries to be served by `evil.test` at the ports that are named, of the address that `good.test` has. Each line: the port, and
# who answered to each attempt.
import socket, struct, sys, threading

EVIL, GOOD = b'Host: evil.test\r\n', b'Host: good.test\r\n'
GET = b'GET / HTTP/1.1\r\n'
END = b'Connection: close\r\n\r\n'
ASKS = GET + EVIL + END
# HTTP/2: the preface, no settings, and one request, `:method GET`, `:scheme http`, `:path /`, `:authority evil.test`.
FIELDS = b'\x82\x86\x84\x41\x09evil.test'
H2 = b'SM\r\n\r\n\0\0\0\4\0\0\0\0\0' + struct.pack('>I', len(FIELDS))[1:] + b'\1\5\0\0\0\1' + FIELDS
V2 = b'\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\0\1\0\2'


def hidden(length):
    return b'POST / HTTP/1.1\r\n' + GOOD + length


ATTEMPTS = {
    'plain': ASKS,
    'lines-before': b'\r\n\r\n\r\n' + ASKS,
    'feed-before': b'\n\n' + ASKS,
    'nul-before': b'\0' + ASKS,
    'junk-before': b'junk\r\n' + ASKS,
    'banner-before': b'SSH-2.0-x\r\n' + ASKS,
    'tls-before': b'\x16\x03' + ASKS,
    'tab-before': b'\t' + ASKS,
    'odd-before': b'\x1c' + ASKS,
    'lower-case': b'get / HTTP/1.1\r\n' + EVIL + END,
    'unknown': b'FOO / HTTP/1.1\r\n' + EVIL + END,
    'no-token': b'(any) / HTTP/1.1\r\n' + EVIL + END,
    'no-token-long': b'(any) /' + b'x' * 40000 + b' HTTP/1.1\r\n' + EVIL + END,
    'nul-method': b'G\0T / HTTP/1.1\r\n' + EVIL + END,
    'odd-blanks': b'GET\x1c/\x1dHTTP/1.1\r\n' + EVIL + END,
    'returns': b'FOO\r/\rHTTP/1.1\r\n' + EVIL + END,
    'control': b'FOO /\x01 HTTP/1.1\r\n' + EVIL + END,
    'small-version': b'FOO / http/1.1\r\n' + EVIL + END,
    'later-version': b'FOO / HTTP/1.9\r\n' + EVIL + END,
    'two-blanks': b'FOO  /  HTTP/1.1  \r\n' + EVIL + END,
    'absolute': b'GET http://evil.test/ HTTP/1.1\r\n' + GOOD + END,
    'absolute-odd': b'FOO HTTP://evil.test:80/ HTTP/1.1\r\n' + GOOD + END,
    'absolute-user': b'GET http://good.test@evil.test/ HTTP/1.1\r\n' + GOOD + END,
    'nine': b'GET http://evil.test/\r\n\r\n',
    'nine-lower': b'get http://evil.test/\r\n\r\n',
    'host-twice': GET + GOOD + EVIL + END,
    'host-twice-too': GET + EVIL + GOOD + END,
    'folded': GET + b'X: a\r\n ' + EVIL + GOOD + END,
    'folded-host': GET + b'Host:\r\n evil.test\r\n' + END,
    'blank-colon': GET + b'Host : evil.test\r\n' + GOOD + END,
    'list': GET + b'Host: evil.test, good.test\r\n' + END,
    'dot': GET + b'Host: evil.test.\r\n' + END,
    'capital': GET + b'hOST: EVIL.test:80\r\n' + END,
    'feeds': (GET + EVIL + END).replace(b'\r', b''),
    'behind': GET + GOOD + b'\r\n' + ASKS,
    'behind-body': hidden(b'Content-Length: 3\r\n\r\nabc') + ASKS,
    'behind-get-body': GET + GOOD + b'Content-Length: 3\r\n\r\nabc' + ASKS,
    'behind-chunks': hidden(b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n') + ASKS,
    'length-and-chunks': hidden(b'Content-Length: 400\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n') + ASKS,
    'chunks-blank': hidden(b'Transfer-Encoding : chunked\r\nContent-Length: 400\r\n\r\n0\r\n\r\n') + ASKS,
    'chunks-twice': hidden(b'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n') + ASKS,
    'chunks-named': hidden(b'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n') + ASKS,
    'lengths': hidden(b'Content-Length: 0\r\nContent-Length: 400\r\n\r\n') + ASKS,
    'length-sign': hidden(b'Content-Length: +400\r\n\r\n') + ASKS,
    'chunk-size': hidden(b'Transfer-Encoding: chunked\r\n\r\n0;x=\n\r\n\r\n') + ASKS,
    'behind-socket': GET + GOOD + b'Connection: upgrade\r\nUpgrade: websocket\r\n\r\n' + ASKS,
    'behind-h2c': GET + GOOD + b'Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n' + ASKS,
    'behind-tunnel': b'CONNECT good.test:80 HTTP/1.1\r\n' + GOOD + b'\r\n' + ASKS,
    'h2': b'PRI * HTTP/2.0\r\n\r\n' + H2,
    'proxy': b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n' + ASKS,
    'proxy-unknown': b'PROXY UNKNOWN\r\n' + ASKS,
    'proxy-method': b'PROXY / HTTP/1.1\r\n' + EVIL + END,
    'proxy-2': V2 + ASKS,
    # What is allowed.
    'good': GET + GOOD + END,
    'good-by-any': b'FOO / HTTP/1.1\r\n' + GOOD + END,
}


def answer(port, bytes, cuts):
    got = b''
    try:
        with socket.create_connection((address, port), 20) as one:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for begin, end in zip((0, *cuts), (*cuts, len(bytes))):
                one.sendall(bytes[begin:end])
            one.settimeout(20)
            while more := one.recv(65536):
                got += more
    except OSError:
        pass
    who = [name for name in ('evil', 'good') if b'served %s.test' % name.encode() in got.lower()]
    return who[0] if who else 'nobody'


def tell(at, port, bytes):
    # What is told by first bytes may be told by few. A proxy's header is taken whole.
    said[at] = answer(port, bytes, () if 'proxy' in at else (2, 9))


address = socket.gethostbyname('good.test')
for port in map(int, sys.argv[1:]):
    said = {}
    all = [threading.Thread(target=tell, args=(name, port, bytes)) for name, bytes in ATTEMPTS.items()]
    for one in all:
        one.start()
    for one in all:
        one.join()
    print(port, *(name + '=' + said[name] for name in ATTEMPTS))
