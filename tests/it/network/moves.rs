//! A host that moves while a sandbox runs: it gets addresses, and asks others for names.

use super::super::netstack::on_host;
use crate::support::{Host, World};

/// Asks for a host that is not there: by a connection that waits, and by datagrams. Once a line came, tries both again
/// and new ones. Says who answered.
const ASKS: &str = r"
import select, socket, sys, time
at = ['203.0.113.77', '2001:db8:77::1']
def made(kind, to):
    one = socket.socket(socket.AF_INET6 if ':' in to else socket.AF_INET, kind)
    one.setblocking(False)
    one.connect_ex((to, 8080 if kind == socket.SOCK_STREAM else 10))
    return one
def all(say):
    made_all = [(say, kind, made(kind, to)) for to in at for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    poke(made_all)
    return made_all
def poke(some):
    for _, kind, one in some:
        try: one.send(b'x') if kind == socket.SOCK_DGRAM else None
        except OSError: pass
flows = all('old')
print('asked', flush=True)
sys.stdin.readline()
flows += all('new')
reached, until = set(), time.monotonic() + float(sys.argv[1])
while time.monotonic() < until and len(reached) < 4:
    poke(flows)
    for say, kind, one in flows:
        stream = kind == socket.SOCK_STREAM
        try:
            if stream: one.send(b'GET / HTTP/1.0\r\n\r\n')
            if one.recv(100): reached.add(say + (' stream' if stream else ' datagrams'))
        except OSError: pass
    time.sleep(0.05)
print(*sorted(reached), sep='\n')
print('over', flush=True)
";

/// Runs the payload below `$2`, has the host get the addresses once it has asked, or with `$1` routes that lead them to
/// itself, and shows what the host itself reaches there, and what the payload reached.
const MOVES: &str = r#"
by=$1; shift
for none in 203.0.113.77 2001:db8:77::1; do nsenter -t "$peer" -n ip route add blackhole $none; done
go=$(mktemp -u); mkfifo "$go"
"$@" <"$go" >"$HOME/said" & run=$!
exec 3>"$go"
rm "$go"
until grep -q asked "$HOME/said"; do sleep 0.05; kill -0 $run || exit 1; done
if [ "$by" = routes ]; then
    ip route add local 203.0.113.0/25 dev lo
    ip route add local 2001:db8:77::/64 dev lo table 77
    ip -6 rule add lookup 77
else
    ip addr add 203.0.113.77/32 dev lo
    ip addr add 2001:db8:77::1/128 dev lo nodad
fi
python3 -c '
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(0, 15, 1)
one.bind(("203.0.113.77", 10))
while True: one.sendto(*one.recvfrom(100))' & echo=$!
curl -sS http://203.0.113.77:8080/
echo >&3
wait $run
kill $echo
cat "$HOME/said"
"#;

/// What is reached, without a sandbox and in one, while the host comes by the addresses.
fn moves(by: &str) {
    let world = World::new();
    world.host(Host::MayChange);
    let asks = world.file("shown/asks.py", ASKS);
    let bryo = crate::support::bryo();
    let run = |words: &[&str], seconds: &str| {
        let command = world.program("sh", ["-c", MOVES, "sh", by]).args(words);
        on_host(&world, command.args(["python3"]).arg(&asks).arg(seconds)).ends()
    };
    // On the host itself each is reached: what waited, by the next attempt of its kernel.
    let all = "hello\nasked\nnew datagrams\nnew stream\nold datagrams\nold stream\nover\n";
    run(&["env"], "40").stdout_is(all);
    let shown = world.folder("shown");
    let words = ["run", "-q", "--rm", "--network", "user", "-w", "/", "--read"];
    let words = [&[bryo.to_str().unwrap()], &words[..], &[shown.to_str().unwrap(), "--"]].concat();
    run(&words, "5").stdout_is("hello\nasked\n\nover\n");
}

#[test]
fn an_address_that_the_host_is_given_during_a_run_is_out_of_reach() {
    moves("addresses");
}

#[test]
fn an_address_that_a_route_leads_home_during_a_run_is_out_of_reach() {
    moves("routes");
}

/// A name server for one address, `$1`, that says `$2` of each name, and writes down in the file `$3` that it was asked.
const SAYS: &str = r"
import socket, sys
where = socket.getaddrinfo(sys.argv[1], 53, type=socket.SOCK_DGRAM)[0]
server = socket.socket(*where[:2])
server.bind(where[4])
while True:
    asked, who = server.recvfrom(4096)
    open(sys.argv[3], 'a').write('x')
    end = asked.index(0, 12) + 5
    is_v4 = asked[end - 4:end - 2] == b'\0\1'
    head = asked[:2] + b'\x81\x80\0\1' + (b'\0\1' if is_v4 else b'\0\0') + b'\0\0\0\0'
    answer = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4' + socket.inet_aton(sys.argv[2])
    server.sendto(head + asked[12:end] + (answer if is_v4 else b''), who)
";

/// Asks the name server of its start for names until the answer is what a line says, and says what it was.
const LOOKS: &str = r"
import re, socket, struct, sys, time
server = re.search('nameserver (.*)', open('/etc/resolv.conf').read())[1]
count = 0
def look(name):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(3)
    one.connect((server, 53))
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    one.send(struct.pack('>6H', count, 0x100, 1, 0, 0, 0) + labels + b'\0\0\1\0\1')
    return socket.inet_ntoa(one.recv(500)[-4:])
for line in sys.stdin:
    until, last = time.monotonic() + 40, None
    while last != line.strip() and time.monotonic() < until:
        count += 1
        try: last = look('a%d.test' % count)
        except OSError: last = 'none'
        time.sleep(0.1)
    print(last, flush=True)
";

/// Runs the payload below `$2` while the host's resolv.conf changes as those of laptops do. `$1` has the network made,
/// and removed.
const RESOLVES: &str = r#"
network=$1; shift
n="nsenter -t $peer -n"
$n ip addr add 198.51.100.2/32 dev lo
$n ip addr add fe80::7/64 dev veth1 nodad
ip addr add fe80::8/64 dev veth0 nodad
trap 'kill $servers 2>/dev/null' EXIT
for one in "198.51.100.1 192.0.2.101" "198.51.100.2 192.0.2.102" "fe80::7%veth1 192.0.2.103"; do
    $n python3 "$HOME/shown/says.py" $one "$HOME/asked.${one##*.}" & servers="$servers $!"
done
# A folder of our own in the place of /etc.
mkdir "$HOME/etc"; cp -a /etc/. "$HOME/etc" 2>/dev/null; mount --bind "$HOME/etc" /etc
mkdir /etc/names; rm -f /etc/resolv.conf
echo nameserver 198.51.100.1 >/etc/names/stub
ln -s names/stub /etc/resolv.conf
[ -z "$network" ] || "$BRYO" network create $network >/dev/null
go=$(mktemp -u); mkfifo "$go"
"$@" <"$go" >"$HOME/said" & run=$!
exec 3>"$go"
rm "$go"
says() { echo $1 >&3; until grep -q $1 "$HOME/said"; do sleep 0.1; kill -0 $run || exit 1; done; }
says 192.0.2.101
# Whoever answers is the only one that is asked from then on.
told() { cat "$HOME/asked.$1" 2>/dev/null | wc -c; }
[ $(told 101) -gt 0 ] && [ $(told 102) = 0 ] || echo "$(told 101) $(told 102)" >>"$HOME/said"
# Replaced, by way of a name that names nobody.
: >/etc/names/stub
echo nameserver 198.51.100.2 >/etc/names/new; mv /etc/names/new /etc/names/stub
says 192.0.2.102
first=$(told 101)
# The link leads elsewhere; that server is on the link alone.
echo 'nameserver fe80::7%veth0' >/etc/names/other
ln -s names/other /etc/resolv.new; mv /etc/resolv.new /etc/resolv.conf
says 192.0.2.103
[ $(told 101) = $first ] || echo 101 is still asked >>"$HOME/said"
second=$(told 102)
# Written over; what was asked last is gone.
kill $servers
$n python3 "$HOME/shown/says.py" 198.51.100.2 192.0.2.104 "$HOME/asked.104" & servers=$!
echo nameserver 198.51.100.2 >/etc/names/other
says 192.0.2.104
[ $(told 101) = $first ] && [ $(told 102) = $second ] || echo 102 is still asked >>"$HOME/said"
exec 3>&-
kill $servers
wait $run
[ -z "$network" ] || until "$BRYO" network rm $network >/dev/null 2>&1; do sleep 0.1; done
rm -rf "$HOME/etc/names"
cat "$HOME/said"
"#;

/// What a payload hears on a network while the host asks one server after another for names.
fn heard(network: &str, made: &str) {
    let world = World::new();
    world.host(Host::MayChange);
    world.file("shown/says.py", SAYS);
    let looks = world.file("shown/looks.py", LOOKS);
    let bryo = crate::support::bryo();
    let run = world.program("sh", ["-c", RESOLVES, "sh", made]).arg(&bryo);
    let run = run.args(["run", "-q", "--rm", "-w", "/", "--network", network, "--read"]);
    let run = run.arg(world.folder("shown")).args(["--", "python3"]).arg(looks);
    let all = "192.0.2.101\n192.0.2.102\n192.0.2.103\n192.0.2.104\n";
    on_host(&world, run.env("BRYO", bryo)).ends().succeeds().stdout_is(all);
}

#[test]
fn names_are_asked_of_the_servers_that_the_host_asks_now() {
    heard("user", "");
}

#[test]
fn names_of_a_network_of_several_are_too() {
    heard("bridge:n", "n");
}
