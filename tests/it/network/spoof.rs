//! What a member of a network could do to others on the link if it had power over its own network namespace, which it is
//! given from outside here; and what each can do that has none.

use super::bridge::{HEAR, end, internal, member, network, script};
use super::several::{FREE, SEND, on_own_with};
use crate::support::World;

/// Raw frames by `eth0` from the address `.8`: the victim `.7` and the gateway `.1` are here, by ARP and neighbour discovery;
/// a router is here; datagrams to `$1` at `.9` from addresses of others. At last an honest one.
const SPOOF: &str = r#"
import socket, struct, time
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
own = raw.getsockname()[4]
mac = lambda last: bytes([2, 0x62, 10, 98, 1, last])
v4 = lambda last: bytes([10, 98, 1, last])
v6 = lambda last: socket.inet_pton(socket.AF_INET6, "fd98:1:2:1::" + ("a62:101" if last == 1 else str(last)))
all_nodes = socket.inet_pton(socket.AF_INET6, "ff02::1")
link_local = socket.inet_pton(socket.AF_INET6, "fe80::8")
def total(data):
    value = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while value >> 16: value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff
def arp(to, kind, whose):
    head = struct.pack(">HHHBBH", 0x806, 1, 0x800, 6, 4, kind)
    return to + own + head + own + v4(whose) + mac(9) + v4(9)
def icmp(to, source, target, body, behind=b""):
    body = body[:2] + b"\0\0" + body[4:]
    pseudo = source + target + struct.pack(">II", len(body), 58) + body
    body = body[:2] + struct.pack(">H", total(pseudo)) + body[4:]
    first = 60 if behind else 58
    return to + own + struct.pack(">HIHBB", 0x86dd, 0x60000000, len(behind + body), first, 255) + source + target + behind + body
def advertised(whose): return struct.pack(">BBHI", 136, 0, 0, 0x60000000) + v6(whose) + b"\x02\x01" + own
prefix = struct.pack(">BBBBIII", 3, 4, 64, 0xc0, 9999, 9999, 0) + socket.inet_pton(socket.AF_INET6, "fd66::")
router = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
def udp4(source, sender, word):
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(word), 0, 0, 64, 17, 0) + v4(source) + v4(9)
    head = head[:10] + struct.pack(">H", total(head)) + head[12:]
    return mac(9) + sender + b"\x08\0" + head + struct.pack(">HHHH", 9000, 9000, 8 + len(word), 0) + word
def udp6(source, word):
    body = struct.pack(">HHHH", 9000, 9000, 8 + len(word), 0) + word
    pseudo = source + v6(9) + struct.pack(">II", len(body), 17) + body + b"\0" * (len(body) % 2)
    body = body[:6] + struct.pack(">H", total(pseudo)) + body[8:]
    return mac(9) + own + struct.pack(">HIHBB", 0x86dd, 0x60000000, len(body), 17, 64) + source + v6(9) + body
options = b"\x3a\0\x01\x04\0\0\0\0"
for again in range(60):
    for whose in (7, 1):
        for to in (b"\xff" * 6, mac(9)):
            for kind in (1, 2): raw.send(arp(to, kind, whose))
        for source in (v6(8), v6(whose), link_local):
            raw.send(icmp(mac(9), source, v6(9), advertised(whose)))
        raw.send(icmp(mac(9), v6(8), v6(9), advertised(whose), options))
        raw.send(icmp(b"\x33\x33\0\0\0\x01", v6(8), all_nodes, advertised(whose)))
    raw.send(icmp(b"\x33\x33\0\0\0\x01", link_local, all_nodes, router))
    # Longer than the kernel stays with an answer that it has.
    time.sleep(0.05)
raw.send(udp4(7, own, b"victims4"))
raw.send(udp6(v6(7), b"victims6"))
raw.send(udp4(77, own, b"nobodys"))
raw.send(udp4(8, mac(7), b"linked"))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"honest", ("10.98.1.9", 9000))
"#;

/// A victim, a thief and one who is told lies: as it is, then with ports that let in any address, then with any link address.
const LIES: &str = r#"
"$BRYO" network create --subnet 10.98.1.0/24 --subnet6 fd98:1:2:1::/64 n >/dev/null
for last in 7 8; do
    start n --ip 10.98.1.$last --ip6 fd98:1:2:1::$last -- sh -c "echo up; exec sleep 100$last" >"$HOME/up$last" & eval "p$last=$!"
    up up$last
done
knows() { within 1009 ip neighbour show to $1 | grep -o 'lladdr [0-9a-f:]*' | sed 's/lladdr 02:62:0a:62:01:0//' | grep . || echo nobody; }
tries() {
    start n --ip 10.98.1.9 --ip6 fd98:1:2:1::9 -- sh -c "sleep 1009 & python3 '$HOME/shown/hear.py'; wait" >"$HOME/heard" & hears=$!
    up heard
    until [ -n "$(inside 1009)" ]; do sleep 0.02; done
    # Both answer: the victim is known.
    for at in 10.98.1.7 fd98:1:2:1::7; do
        within 1009 python3 "$HOME/shown/send.py" x $at
        until [ "$(knows $at)" = 7 ]; do sleep 0.05; done
    done
    within 1008 python3 "$HOME/shown/spoof.py"
    until grep -q honest "$HOME/heard"; do sleep 0.05; done
    for at in 10.98.1.7 fd98:1:2:1::7 10.98.1.1 fd98:1:2:1::a62:101; do knows $at; done >"$HOME/known"
    echo $(cat "$HOME/known") $(within 1009 ip -6 route | grep -c 'default.*proto ra') $(grep -v up "$HOME/heard")
    kill $(inside 1009); wait $hears
    rm "$HOME/heard"
}
tries
free
tries
for p in $(holders); do nsenter -t $p -U -n --preserve-credentials /usr/sbin/bridge link set dev p0a620108 locked off; done
free
tries
kill $p7 $p8; wait $p7 $p8 || :
until "$BRYO" network rm n >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn nobody_on_the_link_believes_who_is_somebody_else() {
    let programs = [("hear.py", HEAR), ("send.py", SEND), ("free.py", FREE), ("spoof.py", SPOOF)];
    let told = on_own_with(&programs, LIES);
    // The gateway is known for good; the victim is not.
    let kept = "7 7 1 1 0 honest\n";
    let free = "8 8 1 1 1 victims4 victims6 nobodys honest\n";
    let unlocked = "8 8 1 1 1 victims4 victims6 nobodys linked honest\n";
    assert_eq!(told, format!("{kept}error 0\n{free}error 0\n{unlocked}"));
}

/// Sends to everybody on the link until it is killed; says so once it does.
const FLOOD: &str = r#"
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
two = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
print("up", flush=True)
while True:
    for _ in range(1000):
        one.sendto(b"x" * 1400, ("255.255.255.255", 9000))
        try: two.sendto(b"x" * 1400, ("ff02::1%eth0", 9000))
        except OSError: pass
    # The control: who says it last is heard by those who listen.
    one.sendto(b"flood", ("255.255.255.255", 9001))
"#;

/// Waits until it hears of the flood; then connects to `web` many times, and says how often that went well.
const BESIDE: &str = r#"
import socket
hears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hears.bind(("", 9001)); hears.settimeout(30)
print(hears.recv(9).decode())
went = 0
for _ in range(200):
    one = socket.create_connection(("web", 8000), 10)
    went += one.recv(9) == b"hello"
    one.close()
print(went, hears.recv(9).decode())
"#;

#[test]
fn a_flood_to_everybody_on_the_link_stops_nobody() {
    let world = World::new();
    internal(&world, "n");
    let (flood, beside) = (script(&world, "flood.py", FLOOD), script(&world, "beside.py", BESIDE));
    let web = super::bridge::server(&world, "n", "web");
    let floods = member(&world, "n").start(&format!("exec python3 {flood}"));
    floods.says("up");
    let run = member(&world, "n").run(&format!("python3 {beside}"));
    run.succeeds().stdout_is("flood\n200 flood\n");
    end(floods);
    end(web);
    network(&world, &["rm", "n"]);
}
