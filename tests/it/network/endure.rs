//! Very many connections, one after another and at once: what the netstack holds afterwards.

use std::time::Duration;

use super::super::netstack::on_host;
use crate::support::{Host, World, bryo};

/// Gives back what it is told by TCP and UDP at port 7000, and says 198.51.100.1 of each name, for no time.
const SERVER: &str = r"
import asyncio, os
async def echo(reader, writer):
    while got := await reader.read(65536):
        writer.write(got)
        await writer.drain()
    writer.close()
class Back(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.to = transport
    def datagram_received(self, got, who): self.to.sendto(self.answer(got), who)
    def answer(self, got): return got
class Names(Back):
    def answer(self, asked):
        end = asked.index(0, 12) + 5
        head = asked[:2] + b'\x81\x80\0\1\0\1\0\0\0\0'
        return head + asked[12:end] + b'\xc0\x0c\0\1\0\1\0\0\0\0\0\4\xc6\x33\x64\1'
async def main():
    loop = asyncio.get_running_loop()
    for made, port in (Back, 7000), (Names, 53):
        await loop.create_datagram_endpoint(made, ('198.51.100.1', port))
    server = await asyncio.start_server(echo, '198.51.100.1', 7000, backlog=4096)
    print('ready', flush=True)
    await server.serve_forever()
asyncio.run(main())
";

/// For each line a round of [`FLOWS`] flows. Keeps as many connections of each round as its argument says.
const PAYLOAD: &str = r"
import re, select, socket, struct, sys
peer, kept = '198.51.100.1', []
resolver = re.search('nameserver (.*)', open('/etc/resolv.conf').read())[1]
def at_once(count):
    waits, all = select.epoll(), {}
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((peer, 7000))
        waits.register(one, select.EPOLLOUT)
        all[one.fileno()] = one
    standing = 0
    while standing < count:
        for number, _ in waits.poll():
            all[number].sendall(b'x' * 4000)
            waits.unregister(number)
            standing += 1
    for one in all.values():
        one.settimeout(100)
        left = 4000
        while left: left -= len(one.recv(left))
        one.close()
def short(count):
    for number in range(count):
        one = socket.create_connection((peer, 7000), 100)
        one.sendall(b'x' * 100)
        assert one.recv(100)
        kept.append(one) if number < int(sys.argv[1]) else one.close()
def datagrams(count, to, what):
    for number in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(100)
            one.connect(to)
            one.send(what(number))
            assert one.recv(500)
def question(number):
    name = b'a%d' % number
    head = struct.pack('>6H', number, 0x100, 1, 0, 0, 0)
    return head + bytes([len(name)]) + name + b'\4test\0\0\1\0\1'
print('ready', flush=True)
for line in sys.stdin:
    at_once(1000)
    short(1000)
    datagrams(300, (peer, 7000), lambda number: b'x')
    datagrams(300, (resolver, 53), question)
    print('done', flush=True)
";

/// Flows of a round.
const FLOWS: u64 = 2_600;

/// Has the payload below `$1` take `$ROUNDS` rounds, and says after each how many descriptors its netstack has and how many
/// KiB of memory. The limit of descriptors lets flows of datagrams, which have no end of their own, make room for others.
const ROUNDS: &str = r#"
ready=$(mktemp -u); mkfifo "$ready"
nsenter -t $peer -n python3 "$HOME/shown/serves.py" >"$ready" & server=$!
trap 'kill $server 2>/dev/null' EXIT
read there <"$ready"
rm "$ready"
go=$(mktemp -u); said=$(mktemp -u); mkfifo "$go" "$said"
ulimit -n 2600
"$@" <"$go" >"$said" & run=$!
exec 4>"$go" 3<"$said"
rm "$go" "$said"
read line <&3 || exit 1
for one in /proc/[0-9]*; do
    if grep -qs bryo-netstack $one/comm && [ "$(readlink $one/ns/net)" = "$(readlink /proc/self/ns/net)" ]; then stack=$one; fi
done
descriptors() { ls $stack/fd | wc -l; }
round=0
while [ $round -lt $ROUNDS ]; do
    echo go >&4
    read line <&3 || exit 1
    # Connections whose other end has not closed yet.
    waits=0
    while [ $round -gt 0 ] && [ $(descriptors) -gt $most ] && [ $waits -lt 20 ]; do sleep 0.1; waits=$((waits + 1)); done
    [ $round -gt 0 ] || { sleep 2; most=$(descriptors); }
    echo $(descriptors) $(awk '/^Rss/{print $2}' $stack/smaps_rollup)
    round=$((round + 1))
done
exec 4>&-
wait $run
"#;

/// What the netstack has after each round, `keeps` connections of which stay: descriptors, KiB.
fn after_rounds(rounds: usize, keeps: u32) -> Vec<(u64, u64)> {
    let world = World::new();
    world.host(Host::MayChange);
    world.file("shown/serves.py", SERVER);
    let payload = world.file("shown/flows.py", PAYLOAD);
    let script = world.program("sh", ["-c", ROUNDS, "sh"]).env("ROUNDS", rounds.to_string());
    let run = ["run", "-q", "--rm", "-w", "/", "--network", "user", "--dns", "198.51.100.1"];
    let run = script.arg(bryo()).args(run).arg("--read").arg(world.folder("shown"));
    let run = run.args(["--", "python3"]).arg(payload).arg(keeps.to_string());
    let said = on_host(&world, run).patience(Duration::from_mins(4)).ends().succeeds().stdout();
    let pair =
        |line: &str| line.split_once(' ').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
    let all: Vec<(u64, u64)> = said.lines().filter_map(pair).collect();
    assert_eq!(all.len(), rounds, "{said}");
    all
}

/// By how much descriptors and KiB have grown: the least of the last rounds, against the first ones, without those that
/// fill what is kept for the next.
fn growth(all: &[(u64, u64)]) -> (u64, u64) {
    const WARM: usize = 3;
    const SOME: usize = 3;
    let (begin, end) = (&all[WARM..WARM + SOME], &all[all.len() - SOME..]);
    let fewest = |of: &[(u64, u64)]| of.iter().map(|one| one.0).min().unwrap();
    let least = |of: &[(u64, u64)]| of.iter().map(|one| one.1).min().unwrap();
    let most = begin.iter().map(|one| one.0).max().unwrap();
    (fewest(end).saturating_sub(most), least(end).saturating_sub(least(begin)))
}

/// Bytes of the smallest thing that could be left behind by each flow.
const SMALL: u64 = 48;

#[test]
fn tens_of_thousands_of_connections_leave_nothing_in_the_netstack() {
    const COUNT: usize = 12;
    let all = after_rounds(COUNT, 0);
    let (descriptors, memory) = growth(&all);
    // What is kept for the next flows may still grow by some buffers. It is less than half of what would be left if each
    // of the flows between left something small.
    let bound = 320;
    assert!(bound * 1024 * 2 < SMALL * FLOWS * (COUNT as u64 - 6));
    assert!(descriptors == 0 && memory <= bound, "{descriptors}, {memory} KiB: {all:?}");
}

#[test]
fn what_a_payload_keeps_is_seen_in_the_netstack() {
    let all = after_rounds(9, 40);
    let (descriptors, _) = growth(&all);
    assert!(descriptors >= 20, "{all:?}");
    // A leak of something small by each flow, as memory would show it.
    let leaks: Vec<(u64, u64)> =
        (0..12).map(|round| (9, 9_000 + round * SMALL * FLOWS / 1024)).collect();
    assert!(growth(&leaks).1 > 640);
}
