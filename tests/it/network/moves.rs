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
while time.monotonic() < until:
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

/// Runs the payload below `$1`, has the host get the addresses once it has asked, and shows what the host itself reaches
/// there, and what the payload reached.
const MOVES: &str = r#"
for none in 203.0.113.77 2001:db8:77::1; do nsenter -t "$peer" -n ip route add blackhole $none; done
go=$(mktemp -u); mkfifo "$go"
"$@" <"$go" >"$HOME/said" & run=$!
exec 3>"$go"
rm "$go"
until grep -q asked "$HOME/said"; do sleep 0.05; kill -0 $run || exit 1; done
ip addr add 203.0.113.77/32 dev lo
ip addr add 2001:db8:77::1/128 dev lo nodad
python3 -c '
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("203.0.113.77", 10))
while True: one.sendto(*one.recvfrom(100))' & echo=$!
curl -sS http://203.0.113.77:8080/
echo >&3
wait $run
kill $echo
cat "$HOME/said"
"#;

#[test]
fn an_address_that_the_host_is_given_during_a_run_is_out_of_reach() {
    let world = World::new();
    world.host(Host::MayChange);
    let asks = world.file("shown/asks.py", ASKS);
    let bryo = crate::support::bryo();
    let run = |words: &[&str]| {
        let command = world.program("sh", ["-c", MOVES, "sh"]).args(words);
        on_host(&world, command.args(["python3"]).arg(&asks).arg("5")).ends()
    };
    // On the host itself each is reached: what waited, by the next attempt of its kernel.
    let all = "hello\nasked\nnew datagrams\nnew stream\nold datagrams\nold stream\nover\n";
    run(&["env"]).stdout_is(all);
    let shown = world.folder("shown");
    let words = ["run", "-q", "--rm", "--network", "user", "-w", "/", "--read"];
    let words = [&[bryo.to_str().unwrap()], &words[..], &[shown.to_str().unwrap(), "--"]].concat();
    run(&words).stdout_is("hello\nasked\n\nover\n");
}
