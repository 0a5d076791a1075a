//! Published ports of members of a network: who comes in, when they are closed, and who cannot take them over.

use super::publish::on_a_host;
use crate::support::{Host, World};

/// Tells whoever connects to port 80, over TCP and UDP, the client's address and its own name.
const NAMED: &str = r#"
import select, socket, sys
tcp = socket.socket(socket.AF_INET6); tcp.setsockopt(1, 2, 1); tcp.bind(("::", 80)); tcp.listen(64)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind(("::", 80))
say = lambda who: (who[0] + "=" + sys.argv[1]).encode()
print("up", flush=True)
while True:
    for ready in select.select([tcp, udp], [], [])[0]:
        if ready is udp:
            _, who = udp.recvfrom(65536)
            udp.sendto(say(who), who)
        else:
            one, who = tcp.accept()
            one.sendall(say(who))
            one.close()
"#;

/// `$member NAME FLAGS` runs a sandbox of that name on the network `lab`; `reaches PORT` waits until one answers there.
const LAB: &str = r#"
$bryo network create lab >/dev/null 2>&1
member="$bryo run -q --rm -w / --read $shown --network bridge:lab --name"
reaches() { until $ask tcp 127.0.0.1 $1 | grep -q =; do sleep 0.05; done; }
"#;

fn on_lab(world: &World, script: &str) -> String {
    // What the processes say to each other in files.
    world.host(Host::MayChange);
    let named = world.file("shown/named.py", NAMED);
    let shown = world.folder("shown");
    let (named, shown) = (named.display(), shown.display());
    let script = format!("named='python3 {named}' shown={shown}\n{LAB}{script}");
    on_a_host(world, &script).stdout()
}

#[test]
fn members_have_ports_of_their_own_until_they_end() {
    let world = World::new();
    let script = r"
$member one -p 8000:80 -p 8000:80/udp -p 192.0.2.1:8081:80 -p 0.0.0.0:8081:80/udp -- $named one >/dev/null & one=$!
$member two -p 8001:80 -p 8002:81 -- $named two >/dev/null & two=$!
reaches 8000; reaches 8001
echo here: $($ask tcp 127.0.0.1 8000 udp 127.0.0.1 8000 tcp ::1 8000 udp ::1 8000 tcp 192.0.2.1 8081)
echo two: $($ask tcp 127.0.0.1 8001 tcp ::1 8001 tcp 127.0.0.1 8002)
echo there: $($n $ask tcp 192.0.2.1 8081 udp 192.0.2.1 8081 tcp 192.0.2.1 8000)
$member three -p 8001:80 -- true 2>&1 | head -1
$bryo port two
$bryo ps | grep -o '127.0.0.1:8001->80/tcp'
kill $two; wait $two
echo over: $($ask tcp 127.0.0.1 8001)
$member three -p 8001:80 -- echo free
for again in 1 2 3; do $member three -p 8001:80 -p 8001:80/udp -- true || echo taken; done
echo one: $($ask tcp 127.0.0.1 8000)
kill $one; wait $one
echo over: $($ask tcp 127.0.0.1 8000)
";
    assert_eq!(
        on_lab(&world, script),
        "here: 10.0.2.2=one 10.0.2.2=one fd00::2=one fd00::2=one 192.0.2.1=one\n\
         two: 10.0.2.2=two fd00::2=two ECONNRESET\n\
         there: 192.0.2.2=one 192.0.2.2=one ECONNREFUSED\n\
         bryo: cannot publish `127.0.0.1:8001/tcp`: the port is taken\n\
         80/tcp -> 127.0.0.1:8001\n\
         80/tcp -> [::1]:8001\n\
         81/tcp -> 127.0.0.1:8002\n\
         81/tcp -> [::1]:8002\n\
         127.0.0.1:8001->80/tcp\n\
         over: ECONNREFUSED\n\
         free\n\
         one: 10.0.2.2=one\n\
         over: ECONNREFUSED\n"
    );
}

#[test]
fn a_port_is_closed_however_its_launcher_ends_and_its_clients_are_told() {
    let world = World::new();
    let script = r#"
$member stays -- sleep 60 & stays=$!
cat > "$shown/hold.py" <<'END'
import socket, sys, time
if sys.argv[1] == "serve":
    s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(("", 80)); s.listen()
    one, _ = s.accept(); one.sendall(b"held"); time.sleep(60)
# Nobody listens yet at first.
while True:
    try:
        one = socket.create_connection(("127.0.0.1", 8000)); one.settimeout(50)
        if one.recv(9) == b"held": break
    except ConnectionError: pass
    time.sleep(0.05)
print("held", flush=True)
try:
    # Its kernel may have said its end, or not.
    print("more" if one.recv(9) else "over")
except ConnectionError:
    print("over")
END
$member one -p 8000:80 -- python3 "$shown/hold.py" serve & one=$!
python3 "$shown/hold.py" ask > "$shown/said" & asks=$!
until grep -q held "$shown/said"; do sleep 0.05; done
kill -9 $one
wait $asks; cat "$shown/said"
until $ask tcp 127.0.0.1 8000 | grep -q ECONNREFUSED; do sleep 0.05; done
$member two -p 8000:80 -- echo free
kill $stays
"#;
    assert_eq!(on_lab(&world, script), "held\nover\nfree\n");
}

#[test]
fn a_member_that_was_disconnected_has_no_port_any_more_and_none_is_told() {
    let world = World::new();
    let script = r#"
told() { echo "$($bryo port one | wc -l) $($bryo ps | grep -c '8000->80') $($bryo network inspect lab | grep -c published)"; }
$member stays -- sleep 60 & stays=$!
$member one -p 8000:80 -- $named one >/dev/null & one=$!
reaches 8000; told
$bryo network disconnect lab one; told
$bryo port one 80/tcp 2>&1 | head -1 | sed 's/`[0-9a-f]*`/ID/'
# On it again it has its address there, and no port.
$bryo network connect lab one; told
kill $one $stays; wait $one $stays
"#;
    assert_eq!(
        on_lab(&world, script),
        "2 1 1\n0 0 0\nbryo: cannot find a published port 80/tcp of sandbox ID\n0 0 0\n"
    );
}

#[test]
fn where_nothing_may_leave_nothing_is_published_and_rules_stay_the_networks() {
    let world = World::new();
    let script = r"
exec 2>&1
$bryo network create --internal shut >/dev/null
$bryo run -q --rm --network bridge:shut -p 8000:80 -- echo started
$bryo run -q --rm --network bridge:lab -p 8000:80 --allow a.test -- echo started
$bryo run -q --rm --network bridge:lab --pcap packets -- echo started
";
    assert_eq!(
        on_lab(&world, script),
        "bryo: cannot publish a port on the network `shut`: it is internal, nothing comes or leaves\n\
         hint: leave out `--publish`, or make another: `bryo network create NAME` without `--internal` (`bryo network inspect shut`)\n\
         bryo: cannot take `--allow`: the way out of a network of several is the network's, one for all on it\n\
         hint: `bryo network create --allow RULE NAME` says what may leave; `--deny`, `--dns` and others are there too\n\
         bryo: cannot take `--pcap`: the way out of a network of several is the network's, one for all on it\n\
         hint: a sandbox by itself has it: `--network user`\n"
    );
}

/// With all power over a network namespace: takes the address `$1` and tells everybody on the link, by ARP, neighbour
/// discovery, and frames from the link address `$3`, that it is here, until it is killed. `$2`: the address of IPv6.
const TAKE: &str = r#"
import fcntl, socket, struct, subprocess, sys, time
victim, victim6, victim_mac = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3].replace(":", ""))
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
own = raw.getsockname()[4]
for address in [victim + "/32", victim6 + "/128"]:
    subprocess.run(["ip", "address", "add", address, "dev", "eth0", "nodad"], stderr=subprocess.DEVNULL)
v4, v6 = socket.inet_aton(victim), socket.inet_pton(socket.AF_INET6, victim6)
everybody = b"\xff" * 6
arp = lambda mac: everybody + own + struct.pack(">HHHBBH", 0x806, 1, 0x800, 6, 4, 2) + mac + v4 + everybody + v4
def advertisement(mac):
    body = struct.pack(">BBHI", 136, 0, 0, 0x20000000) + v6 + b"\x02\x01" + mac
    nodes = socket.inet_pton(socket.AF_INET6, "ff02::1")
    pseudo = v6 + nodes + struct.pack(">II", len(body), 58) + body
    total = sum(struct.unpack(">%dH" % (len(pseudo) // 2), pseudo))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    body = body[:2] + struct.pack(">H", ~total & 0xffff) + body[4:]
    return b"\x33\x33\0\0\0\x01" + own + struct.pack(">HIHBB", 0x86dd, 0x60000000, len(body), 58, 255) + v6 + nodes + body
print("takes", flush=True)
while True:
    raw.send(arp(own))
    raw.send(advertisement(own))
    raw.send(everybody + victim_mac + b"\x88\xb5" + b"x" * 50)
    time.sleep(0.05)
"#;

/// Between plain namespaces on a bridge: whoever connects to the victim's address comes to the one who took it.
const PLAIN: &str = r#"
ip link add br0 type bridge forward_delay 0; ip address add 10.77.0.1/24 dev br0; ip -6 address add fd77::1/64 dev br0 nodad
ip link set br0 up
for last in 2 3; do
    unshare -n sleep 120 & eval "p$last=$!"
    until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
    ip link add v$last type veth peer name eth0 netns $! ; ip link set v$last master br0 up
    for what in "link set lo up" "link set eth0 address 02:00:00:00:00:0$last" "address add 10.77.0.$last/24 dev eth0" \
        "address add fd77::$last/64 dev eth0 nodad" "link set eth0 up"; do nsenter -t $! -n ip $what; done
done
nsenter -t $p2 -n $named victim >/dev/null & victim=$!
until $ask tcp 10.77.0.2 80 tcp fd77::2 80 | grep -c victim | grep -q 2; do sleep 0.05; done
nsenter -t $p3 -n $named stolen >/dev/null & stolen=$!
nsenter -t $p3 -n python3 $shown/take.py 10.77.0.2 fd77::2 02:00:00:00:00:02 >/dev/null & takes=$!
n=0; until $ask tcp 10.77.0.2 80 | grep -q stolen || [ $n -ge 200 ]; do n=$((n+1)); sleep 0.1; done; $ask tcp 10.77.0.2 80
n=0; until $ask tcp fd77::2 80 | grep -q stolen || [ $n -ge 200 ]; do n=$((n+1)); sleep 0.1; done; $ask tcp fd77::2 80
kill $victim $stolen $takes $p2 $p3
"#;

/// The same on networks: the one who takes it, on `$thiefs` of the same range as the victim's, is given, from outside, all
/// power over its own network namespace.
const MEMBERS: &str = r#"
for name in same other; do $bryo network create --subnet 10.99.3.0/24 --subnet6 fd12:3456::/64 $name >/dev/null; done
on() { echo "$bryo run -q --rm -w / --read $shown --network bridge:$1 --name"; }
$(on same) victim -p 8000:80 -- $named victim >/dev/null & victim=$!
reaches 8000
$(on $thiefs) thief -- sleep 1$$ & thief=$!
until inside=$(pgrep -x -f "sleep 1$$" | while read p; do [ "$(readlink /proc/$p/ns/net)" != "$(readlink /proc/self/ns/net)" ] && echo $p; done) && [ -n "$inside" ]; do sleep 0.05; done
in="nsenter -t $inside -U -n --preserve-credentials"
until $in ip -br address show eth0 | grep -q UP; do sleep 0.05; done
set -- $($bryo network inspect same | grep -E '"v[46]"' | tr -d '", ' | sed 's/^v[46]://' | head -2)
mac=$(printf '02:62:%02x:%02x:%02x:%02x' $(echo $1 | tr . ' '))
$in $named stolen >/dev/null & stolen=$!
$in python3 $shown/take.py $1 $2 $mac > $shown/takes & takes=$!
until grep -q takes $shown/takes; do sleep 0.05; done
# It does answer, to itself.
until $in $ask tcp $1 80 | grep -q stolen; do sleep 0.05; done
for again in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do $ask tcp 127.0.0.1 8000 tcp ::1 8000; sleep 0.1; done | sort | uniq -c | tr -s ' '
[ $thiefs = same ] || $(on same) third -- $ask tcp $1 80 | grep -c victim
kill $takes $stolen $thief $victim; wait $thief $victim
$bryo network rm same other >/dev/null
"#;

#[test]
fn nobody_takes_over_the_clients_of_another_member() {
    let world = World::new();
    world.file("shown/take.py", TAKE);
    let control = on_lab(&world, PLAIN);
    assert_eq!(control, "10.77.0.1=stolen\nfd77::1=stolen\n");
    let safe = " 20 10.0.2.2=victim\n 20 fd00::2=victim\n";
    assert_eq!(on_lab(&world, &format!("thiefs=same\n{MEMBERS}")), safe);
    // From another network nobody is reached at all.
    assert_eq!(on_lab(&world, &format!("thiefs=other\n{MEMBERS}")), format!("{safe}1\n"));
}
