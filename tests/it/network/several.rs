//! Networks whose holders are in one user namespace, and sandboxes that are on several: what leads from one to another.

use std::time::Duration;

use super::bridge::{HEAR, script};
use crate::support::{Host, World, bryo};

/// Sends `$1` to each address that follows.
pub(super) const SEND: &str = r#"
import socket, sys
for to in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    socket.socket(family, socket.SOCK_DGRAM).sendto(sys.argv[1].encode(), (to, 9000))
"#;

/// In a pid namespace of its own, where the only holders are those of this world's networks.
const OWN: &str = r#"
mkdir -p "$HOME/project"; cd /
start() { to=$1; shift; exec "$BRYO" run -q --rm -w / --read "$HOME/shown" --network "bridge:$to" "$@"; }
run() { (start "$@"); }
holders() { for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = bryo-network ] && [ "$(cut -d' ' -f3 $p/stat)" != Z ] && echo ${p#/proc/}; done | sort -n; }
up() { until grep -sq up "$HOME/$1"; do sleep 0.05; done; }
# The process of the payload whose last argument is that, which no other has.
inside() { for p in /proc/[0-9]*; do [ "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" = "sleep $1 " ] && echo ${p#/proc/}; done; }
above() { until [ -n "$(inside $1)" ]; do sleep 0.05; done; python3 "$HOME/shown/climb.py" /proc/$(inside $1) | tail -1; }
free() { for p in $(holders); do nsenter -t $p -U -n --preserve-credentials python3 "$HOME/shown/free.py"; done; }
within() { p=$(inside $1); shift; nsenter -t $p -U -n --preserve-credentials "$@"; }
"#;

/// What a process gets hold of from its own network namespace: its user namespace, and the one above.
const CLIMB: &str = r#"
import fcntl, os, sys
net = os.open(sys.argv[1] + "/ns/net", 0)
user = fcntl.ioctl(net, 0xb701)
print(os.fstat(user).st_ino == os.stat(sys.argv[1] + "/ns/user").st_ino)
try:
    print(os.fstat(fcntl.ioctl(user, 0xb702)).st_ino)
except OSError as e:
    print(e.strerror)
"#;

/// What a script prints on such a host, where these programs are shown.
pub(super) fn on_own_with(programs: &[(&str, &str)], script: &str) -> String {
    let world = World::new();
    // What the processes say to each other in files.
    world.host(Host::MayChange);
    for (name, text) in programs {
        self::script(&world, name, text);
    }
    let words =
        ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"];
    let run = world.program("/usr/bin/unshare", words).args(["bash", "-c"]);
    let run = run.arg(format!("{OWN}{script}")).env("BRYO", bryo());
    run.patience(Duration::from_mins(4)).ends().succeeds().stdout()
}

fn on_own(script: &str) -> String {
    let programs = [
        ("hear.py", HEAR),
        ("send.py", SEND),
        ("climb.py", CLIMB),
        ("from.py", FROM),
        ("as.py", AS),
        ("free.py", FREE),
    ];
    on_own_with(&programs, script)
}

/// A sandbox that is on both, on a host where each new network namespace forwards; and one who has, from outside, all power
/// over its own network namespace, on the one.
const BETWEEN: &str = r#"
for n in 1 2; do "$BRYO" network create --internal --subnet 10.98.$n.0/24 --subnet6 fd98:1:2:$n::/64 n$n >/dev/null; done
start n1 --name both --ip 10.98.1.7 -- sh -c 'echo up; exec sleep 1001' >"$HOME/both" & both=$!
start n1 --ip 10.98.1.8 -- sh -c 'echo up; exec sleep 1002' >"$HOME/thief" & thief=$!
up both; up thief
forwards() { within 1001 sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'; }
forwards
"$BRYO" network connect --ip 10.98.2.7 n2 both
within 1002 ip route add 10.98.2.0/24 via 10.98.1.7
tries() {
    start n2 --ip 10.98.2.9 -- python3 "$HOME/shown/hear.py" >"$HOME/heard" & hears=$!
    up heard
    within 1002 python3 "$HOME/shown/send.py" forged 10.98.2.9
    within 1001 python3 "$HOME/shown/send.py" honest 10.98.2.9
    wait $hears
    echo $(cat "$HOME/heard")
    rm "$HOME/heard"
}
tries
forwards
free
tries
kill $both $thief; wait $both $thief || :
until "$BRYO" network rm n1 n2 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn a_sandbox_on_two_networks_is_no_way_from_one_to_the_other() {
    // The control is the second one: the way is there once it forwards, and its ports take what is from others.
    assert_eq!(on_own(BETWEEN), "up honest\nerror 0\nerror 0\nup forged honest\n");
}

/// Payloads of two networks, whose holders share.
const CLIMBS: &str = r#"
for n in 1 2; do
    "$BRYO" network create --internal n$n >/dev/null
    start n$n -- sh -c "echo up; python3 $HOME/shown/climb.py /proc/self; exec sleep 100$n" >"$HOME/one$n" &
    up one$n
    until [ -n "$(inside 100$n)" ]; do sleep 0.05; done
    cat "$HOME/one$n"
done
# The control: who is outside gets hold of it, and it is the same one.
[ "$(above 1001)" -gt 0 ] && [ "$(above 1001)" = "$(above 1002)" ] && echo shared
kill $(jobs -p); wait || :
until "$BRYO" network rm n1 n2 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn a_member_does_not_get_hold_of_the_user_namespace_that_networks_share() {
    let up = "up\nTrue\nOperation not permitted\n";
    assert_eq!(on_own(CLIMBS), format!("{up}{up}shared\n"));
}

/// The holder that made the user namespace of all is killed, while another one lives.
const FIRST_DIES: &str = r#"
for n in 1 2 3; do "$BRYO" network create --internal n$n >/dev/null; done
start n1 -- sh -c 'echo up; exec sleep 1001' >"$HOME/one" & one=$!
up one; first=$(holders)
start n2 --name web -- sh -c 'echo up; exec sleep 1002' >"$HOME/two" & two=$!
up two
space=$(above 1001)
[ "$space" -gt 0 ] && [ "$space" = "$(above 1002)" ] && echo shared
kill -9 $first
while holders | grep -qx $first; do sleep 0.02; done
run n2 -- sh -c 'getent hosts web | wc -l'
"$BRYO" network connect --alias db n3 web
start n3 -- sh -c 'echo up; exec sleep 1003' >"$HOME/three" & three=$!
up three; [ "$space" = "$(above 1003)" ] && echo shared
run n3 -- sh -c 'getent hosts web db | wc -l'
kill $one $two $three; wait $one $two $three || :
until "$BRYO" network rm n1 n2 n3 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn the_holder_that_made_the_user_namespace_is_not_needed_by_the_others() {
    assert_eq!(on_own(FIRST_DIES), "shared\n1\nshared\n2\n");
}

/// A record that says of a sandbox without such a network that it is on one.
const FORGED: &str = r#"
"$BRYO" network create --internal n >/dev/null
"$BRYO" run -q -d --name alone -w / -- sleep 1001 >/dev/null
until [ -n "$(inside 1001)" ]; do sleep 0.05; done
record=$(find "$HOME/.local/share/bryo" -name record.json)
python3 - "$record" <<'P'
import json, sys
text = open(sys.argv[1]).read()
record = json.loads(text)
print(record["spec"]["network"])
record["spec"]["network"] = {"bridge": "n"}
open(sys.argv[1], "w").write(json.dumps(record))
P
"$BRYO" network connect n alone 2>&1 | head -1
echo $(within 1001 cat /proc/net/dev | grep -c eth)
"$BRYO" stop alone >/dev/null; "$BRYO" rm alone >/dev/null
until "$BRYO" network rm n >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn a_forged_record_gives_no_way_into_a_sandbox_without_such_a_network() {
    let told =
        "none\nbryo: cannot find a program of sandbox `alone`, which is to be connected\n0\n";
    assert_eq!(on_own(FORGED), told);
}

/// One on a network, and who cannot enter the user namespace of its holder; and a cable from the one to the other.
const APART: &str = r#"
for n in 1 2; do "$BRYO" network create --internal n$n >/dev/null; done
start n1 --name one -- sh -c 'echo up; exec sleep 1001' >"$HOME/one" & one=$!
up one
(unshare -U --map-current-user -n "$BRYO" run -q --rm -w / --network bridge:n2 -- sh -c 'echo up; exec sleep 1002') >"$HOME/two" & two=$!
up two
"$BRYO" network connect n2 one 2>&1
unshare -U --map-current-user -n "$BRYO" run -q --rm -w / --network bridge:n1 -- true 2>&1
kill $(inside 1001) $(inside 1002); wait $one $two || :
until "$BRYO" network rm n1 n2 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn who_cannot_enter_the_shared_user_namespace_has_a_network_of_another() {
    let told = "bryo: cannot connect a sandbox to the network `n2`: each is in a user namespace of its own\n\
                hint: it was on no network for a while, or one of both was started inside `unshare` or the like: start it \
                again\n\
                bryo: cannot enter the namespaces that are to be shared: EPERM (operation not permitted)\n\
                hint: they belong to another user namespace, as one of `unshare` or a container: start it where the others \
                on that network were, or end those (`bryo network inspect`) and start them again from here\n";
    assert_eq!(on_own(APART), told);
}

/// Sends `$1` to `$3` by the interface `$4`, from the address `$2` if the kernel lets it, and from its own.
const AS: &str = r#"
import socket, sys
word, own, to, by = sys.argv[1:]
family = socket.AF_INET6 if ":" in to else socket.AF_INET
one = socket.socket(family, socket.SOCK_DGRAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, by.encode())
# On the link, whatever the routes say.
one.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
try:
    if own: one.bind((own, 0))
    one.sendto(word.encode(), (to, 9000))
except OSError as e:
    print(e)
"#;

/// Forgets, in its network namespace, what may come in by which port.
pub(super) const FREE: &str = r#"
import socket, struct
message = lambda kind, flags, body: struct.pack("=IHHII", 16 + len(body), kind, 1 | flags, 1, 0) + body
table = struct.pack("=BBHHH", 5, 0, 0, 9, 1) + b"bryo\0\0\0\0"
marks = [message(kind, 0, b"\0\0\0\x0a") for kind in (0x10, 0x11)]
one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
one.send(marks[0] + message(0xa02, 4, table) + marks[1])
print("error", struct.unpack_from("=i", one.recv(999), 16)[0])
"#;

/// A sandbox on two networks that is given, from outside, all power over its own network namespace and uses it to send
/// into each from its address on the other, from an address of nobody, and to take an address; then one beside it that asks
/// for its address on the other; then the same when nothing holds it back.
const MASQUERADE: &str = r#"
for n in 1 2; do "$BRYO" network create --internal --subnet 10.98.$n.0/24 --subnet6 fd98:1:2:$n::/64 n$n >/dev/null; done
start n1 --name both --ip 10.98.1.7 --ip6 fd98:1:2:1::7 -- sh -c 'echo up; exec sleep 1001' >"$HOME/both" & both=$!
up both
"$BRYO" network connect --ip 10.98.2.7 --ip6 fd98:1:2:2::7 n2 both
start n2 --ip 10.98.2.8 -- sh -c 'echo up; exec sleep 1002' >"$HOME/other" & other=$!
up other
send() { within 1001 python3 "$HOME/shown/as.py" "$@"; }
tries() {
    start n$1 --ip 10.98.$1.9 --ip6 fd98:1:2:$1::9 -- python3 "$HOME/shown/hear.py" >"$HOME/heard" & hears=$!
    up heard; by=eth$(($1 - 1))
    # Both know each other now.
    send own6 fd98:1:2:$1::7 fd98:1:2:$1::9 $by; until grep -q own6 "$HOME/heard"; do sleep 0.05; done
    send far4 10.98.$2.7 10.98.$1.9 $by
    send far6 fd98:1:2:$2::7 fd98:1:2:$1::9 $by
    send nobody 10.98.$1.77 10.98.$1.9 $by
    send honest 10.98.$1.7 10.98.$1.9 $by
    wait $hears
    echo $(grep -v up "$HOME/heard")
    rm "$HOME/heard"
}
asks() { within 1002 sh -c "ip neighbour flush all; python3 '$HOME/shown/as.py' x '' 10.98.1.7 eth0; until ip neighbour show to 10.98.1.7 | grep -Eq 'lladdr|FAILED'; do sleep 0.05; done; ip neighbour show to 10.98.1.7 | grep -c lladdr"; }
for n in 1 2; do within 1001 ip address add 10.98.$n.77/24 dev eth$(($n - 1)); done
within 1001 sh -c 'ip -6 rule add priority 1 table main'
tries 1 2; tries 2 1; asks
within 1001 sh -c 'echo 0 >/proc/sys/net/ipv4/conf/all/arp_ignore'
free
tries 1 2; tries 2 1; asks
kill $both $other; wait $both $other || :
until "$BRYO" network rm n1 n2 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn a_sandbox_on_two_networks_is_one_machine_with_one_address_on_each() {
    let kept = "own6 honest\nown6 honest\n0\n";
    // The control.
    let free = "own6 far4 far6 nobody honest\n";
    assert_eq!(on_own(MASQUERADE), format!("{kept}error 0\nerror 0\n{free}{free}1\n"));
}

/// From which addresses a sandbox can send as it is connected, and disconnected, again and again.
const SOURCES: &str = r#"
for n in 1 2; do "$BRYO" network create --internal --subnet6 fd98:1:2:$n::/64 n$n >/dev/null; done
start n1 --name both --ip6 fd98:1:2:1::7 -- sh -c 'echo up; exec sleep 1001' >"$HOME/both" & both=$!
up both
told() { echo $(within 1001 python3 "$HOME/shown/from.py" 1::7 2::7 2::8 2::9) $(within 1001 ip -6 rule | wc -l); }
for at in 7 8 9; do
    "$BRYO" network connect --ip6 fd98:1:2:2::$at n2 both; told
    "$BRYO" network disconnect n2 both; told
done
"$BRYO" network connect --ip6 fd98:1:2:2::9 n2 both; "$BRYO" network disconnect n1 both
"$BRYO" network connect --ip6 fd98:1:2:1::7 n1 both; told
kill $both; wait $both || :
until "$BRYO" network rm n1 n2 >/dev/null 2>&1; do sleep 0.05; done
"#;

/// Whether something could be sent from each address, by a socket that may have any.
const FROM: &str = r#"
import socket, sys
for at in sys.argv[1:]:
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.setsockopt(socket.IPPROTO_IPV6, 78, 1)
    one.bind(("fd98:1:2:" + at, 0))
    try:
        one.connect(("fd98:1:2:1::99", 9))
        print("yes")
    except OSError:
        print("no")
"#;

#[test]
fn an_address_that_was_given_up_is_no_source_any_more() {
    let told = "yes yes no no 6\nyes no no no 5\nyes no yes no 6\nyes no no no 5\nyes no no yes 6\nyes no no no 5\n\
                yes no no yes 6\n";
    assert_eq!(on_own(SOURCES), told);
}

/// Holds connections to who is on the network that it was started on, and by each family to who is on the one that it was connected
/// with, and says what becomes of them.
const HOLDS: &str = r#"
import errno, socket, time
def ends(one):
    one.settimeout(20)
    try: return one.recv(1)
    except TimeoutError: return "late"
    except OSError as e: return errno.errorcode[e.errno]
def connected(to):
    while True:
        try: return socket.create_connection((to, 8000), 5)
        except OSError: time.sleep(0.05)
within = socket.create_server(("127.0.0.1", 0))
own, peer = socket.create_connection(within.getsockname()), within.accept()[0]
beside = connected("10.98.1.8")
lost = [connected(to) for to in ("10.98.2.8", "fd98:1:2:2::8")]
print("up", flush=True)
for one in lost: print(ends(one))
for one, other in (beside, beside), (own, peer):
    one.sendall(b"x"); print(other.recv(1).decode())
"#;

/// One that is on both: the second network goes as `$GOES` says.
const GOES: &str = r#"
for n in 1 2; do "$BRYO" network create --internal --subnet 10.98.$n.0/24 --subnet6 fd98:1:2:$n::/64 n$n >/dev/null; done
web() { start n$1 --ip 10.98.$1.8 --ip6 fd98:1:2:$1::8 -- python3 "$HOME/shown/echoes.py" >"$HOME/web$1"; }
web 2 & two=$!
up web2; holder=$(holders)
web 1 & one=$!
up web1
start n1 --name both -- python3 "$HOME/shown/holds.py" >"$HOME/both" & both=$!
until "$BRYO" network connect n2 both 2>/dev/null; do kill -0 $both; sleep 0.05; done
up both
eval "$GOES"
wait $both
cat "$HOME/both"
kill $one $two; wait $one $two || :
until "$BRYO" network rm n1 n2 >/dev/null 2>&1; do sleep 0.05; done
"#;

fn goes(how: &str) -> String {
    let programs = [("holds.py", HOLDS), ("echoes.py", super::told::ECHOES)];
    on_own_with(&programs, &format!("GOES='{how}'\n{GOES}"))
}

#[test]
fn connections_over_a_network_that_was_joined_end_with_it_and_no_others() {
    let told = "up\nECONNABORTED\nECONNABORTED\nx\nx\n";
    for how in ["kill -9 $holder", r#""$BRYO" network disconnect n2 both"#] {
        assert_eq!(goes(how), told, "{how}");
    }
    // The control: who is at the other end has ended, and the network is there.
    assert_eq!(goes("kill $two"), "up\nb''\nb''\nx\nx\n");
}
