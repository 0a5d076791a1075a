# A bad wire between up0 here and pe0 in the namespace of the process $1: of its packets one in forty is lost, and the others
# take 5 to 15 milliseconds, whichever of them was first. It says so in the file $2 once it was bad enough.
import ctypes, fcntl, heapq, os, random, select, struct, sys, time


def tun(name):
    fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    # TUNSETIFF with IFF_TUN and IFF_NO_PI
    fcntl.ioctl(fd, 0x400454CA, struct.pack('16sH22x', name.encode(), 0x1001))
    return fd


here = tun('up0')
there = os.open('/proc/%s/ns/net' % sys.argv[1], os.O_RDONLY)
if ctypes.CDLL(None, use_errno=True).setns(there, 0):
    raise OSError(ctypes.get_errno(), 'setns')
ends = {here: tun('pe0')}
ends[ends[here]] = here
chance, under_way, number, lost, overtaken, told = random.Random(7), [], 0, 0, 0, False
newest = {end: 0 for end in ends}
while True:
    rest = max(0, under_way[0][0] - time.monotonic()) if under_way else None
    for end in select.select(list(ends), [], [], rest)[0]:
        try:
            packet = os.read(end, 65536)
        except OSError:
            # It is not up yet.
            time.sleep(0.01)
            continue
        number += 1
        if chance.random() < 1 / 40:
            lost += 1
            continue
        heapq.heappush(under_way, (time.monotonic() + chance.uniform(0.005, 0.015), number, ends[end], packet))
    while under_way and under_way[0][0] <= time.monotonic():
        _, sent, end, packet = heapq.heappop(under_way)
        overtaken += sent < newest[end]
        newest[end] = max(sent, newest[end])
        try:
            os.write(end, packet)
        except OSError:
            pass
    if not told and lost >= 10 and overtaken >= 10:
        told = True
        with open(sys.argv[2], 'w') as file:
            file.write('lost and overtaken\n')
