//! Published ports: who comes in, how they are told, and what a payload cannot do with them.

use rustix::process::{Signal, kill_process};

use crate::netstack::{netstack, on_host};
use crate::support::{Ended, Invocation, World};

/// Tells each client over TCP, and each datagram, the address that it has inside.
const SERVER: &str = r#"
import select, socket
tcp = socket.socket(socket.AF_INET6); tcp.bind(("::", 80)); tcp.listen(64)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind(("::", 80))
print("ready", flush=True)
while True:
    for ready in select.select([tcp, udp], [], [])[0]:
        if ready is udp:
            bytes, who = udp.recvfrom(65536)
            udp.sendto(who[0].encode(), who)
        else:
            one, who = tcp.accept()
            one.sendall(who[0].encode())
            one.close()
"#;

/// Asks each `PROTOCOL ADDRESS PORT` what it is seen as.
const CLIENT: &str = r#"
import errno, socket, sys
for what, at, port in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    kind = socket.SOCK_DGRAM if what == "udp" else socket.SOCK_STREAM
    one = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, kind)
    try:
        one.connect((at, int(port)))
        for again in range(10):
            try:
                one.settimeout(10 if what == "tcp" else 1)
                if what == "udp": one.send(b"who")
                print(one.recv(100).decode().replace("::ffff:", ""))
                break
            except TimeoutError:
                if again == 9: raise
    except OSError as e:
        print(errno.errorcode.get(e.errno, str(e)))
"#;

/// Runs `script` on a host with a peer, in whose namespace `$n` runs a command. `$run` begins a sandbox with
/// the server in it, `$bryo` is the program, `$ask` the client, `$server` the server's file.
pub(super) fn on_a_host(world: &World, script: &str) -> Ended {
    scripted(world, script).ends()
}

fn scripted(world: &World, script: &str) -> Invocation {
    let bryo = std::env::var("BRYO_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bryo").to_owned());
    let (server, client) = (world.file("shown/web.py", SERVER), world.file("shown/ask.py", CLIENT));
    let shown = world.folder("shown");
    let script = format!(
        "n=\"nsenter -t $peer -n\" bryo={bryo} ask='python3 {}' server={}\n\
         run=\"{bryo} run -q --rm -w / --read {} --name web\"\n\
         up() {{ until {bryo} port web >/dev/null 2>&1 && $ask tcp 127.0.0.1 8000 | grep -q 10; do sleep 0.05; done; }}\n\
         down() {{ kill $sandbox; wait $sandbox; }}\n{script}",
        client.display(),
        server.display(),
        shown.display(),
    );
    on_host(world, world.program("sh", ["-c", &script]))
}

#[test]
fn clients_reach_the_program_at_the_ports_that_were_opened_and_at_no_other() {
    let world = World::new();
    let script = r"
$run -p 8000:80 -p 8000:80/udp -p 192.0.2.1:8081:80 -p 0.0.0.0:8081:80/udp -p 8082:81 -- python3 $server & sandbox=$!
up
echo from here: $($ask tcp 127.0.0.1 8000 udp 127.0.0.1 8000 tcp ::1 8000 udp ::1 8000 tcp 192.0.2.1 8081)
echo nobody listens: $($ask tcp 127.0.0.1 8082)
echo from there: $($n $ask tcp 192.0.2.1 8081 udp 192.0.2.1 8081)
echo loopback only: $($n $ask tcp 192.0.2.1 8000)
echo another: $($ask tcp 127.0.0.1 80)
$bryo port web
echo one: $($bryo port web 80/udp)
$bryo port web 81 --json | grep -c 10.0.2.2
$bryo port web 82; echo $?
$bryo ps | grep -o '127.0.0.1:8082->81/tcp'
down
echo over: $($ask tcp 127.0.0.1 8000)
";
    on_a_host(&world, script).stdout_is(
        "ready\n\
         from here: 10.0.2.2 10.0.2.2 fd00::2 fd00::2 192.0.2.1\n\
         nobody listens: ECONNRESET\n\
         from there: 192.0.2.2 192.0.2.2\n\
         loopback only: ECONNREFUSED\n\
         another: ECONNREFUSED\n\
         80/tcp -> 127.0.0.1:8000\n\
         80/tcp -> 192.0.2.1:8081\n\
         80/tcp -> [::1]:8000\n\
         80/udp -> 0.0.0.0:8081\n\
         80/udp -> 127.0.0.1:8000\n\
         80/udp -> [::1]:8000\n\
         81/tcp -> 127.0.0.1:8082\n\
         81/tcp -> [::1]:8082\n\
         one: 0.0.0.0:8081 127.0.0.1:8000 [::1]:8000\n\
         1\n\
         125\n\
         127.0.0.1:8082->81/tcp\n\
         over: ECONNREFUSED\n",
    );
}

#[test]
fn a_port_that_cannot_be_had_is_an_error_before_the_program_starts() {
    let world = World::new();
    let script = r#"
$run -p 8000:80 -- python3 $server & sandbox=$!
up
# No root here, as on a host.
plain="unshare -U --map-user=1000"
exec 2>&1
$plain $bryo run -p 8000:80 -- echo started
$plain $bryo run -p 80:80 -- echo started
$plain $bryo run -p 203.0.113.77:8081:80 -- echo started
$plain $bryo run -p 8081:80 -p 8081:81 -- echo started
down >/dev/null
"#;
    on_a_host(&world, script).stdout_is(
        "ready\n\
         bryo: cannot publish `127.0.0.1:8000/tcp`: the port is taken\n\
         hint: `ss -lntp sport = :8000` tells by whom; port 0 takes any free one\n\
         bryo: cannot publish `127.0.0.1:80/tcp`: ports below 1024 are for root\n\
         hint: `sudo sysctl net.ipv4.ip_unprivileged_port_start=80`, or take a higher port\n\
         bryo: cannot publish `203.0.113.77:8081/tcp`: this machine has no such address\n\
         hint: `ip address` lists them; without one, loopback is meant\n\
         bryo: cannot publish `127.0.0.1:8081/tcp` twice\n\
         hint: leave one of the two out\n",
    );
}

/// From the port that is published to a service on this machine's loopback; then to whom it may: a client.
const OUTWARD: &str = r#"
import socket, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); own.bind(("10.0.2.100", 80))
print("ready", flush=True)
_, client = own.recvfrom(100)
own.settimeout(8)
own.sendto(b"answered", client)
for port in 9, client[1] + 1:
    try:
        own.sendto(b"hello", ("10.0.2.2", port))
        print(own.recvfrom(100)[0].decode(), flush=True)
    except OSError as e:
        print("refused", flush=True)
"#;

#[test]
fn a_published_port_is_no_way_out() {
    let world = World::new();
    let outward = world.file("shown/outward.py", OUTWARD).display().to_string();
    // The server of the bed gives datagrams to port 9 back.
    let script = |flags: &str| {
        format!(
            "$run {flags} -p 8000:80/udp -- python3 {outward} & sandbox=$!\n\
             until $bryo port web >/dev/null 2>&1; do sleep 0.05; done\n\
             $ask udp 127.0.0.1 8000\nwait $sandbox"
        )
    };
    let control = on_a_host(&world, &script("--allow 127.0.0.1:9"));
    let stdout = control.stdout();
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["answered", "hello", "ready", "refused"]);
    let ended = on_a_host(&world, &script("--network user"));
    let stdout = ended.stdout();
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["answered", "ready", "refused", "refused"]);
}

#[test]
fn a_server_and_ping_need_no_privilege_inside() {
    let world = World::new();
    let program = "import socket; s = socket.socket(); s.bind(('', 80)); print(s.getsockname()[1])";
    let script = format!(
        "echo 0 0 >/proc/sys/net/ipv4/ping_group_range\n\
         $run --network user -- python3 -c \"{program}\"\n\
         $run --network user -- ping -c 1 -W 5 192.0.2.2 | grep -o '1 received'\n\
         $run --network user -- ping -c 1 -W 5 127.0.0.1 | grep -o '1 received'"
    );
    on_a_host(&world, &script).stdout_is("80\n1 received\n1 received\n").stderr_is("");
}

#[test]
fn nobody_waits_at_a_port_whose_netstack_is_gone() {
    let world = World::new();
    let script = "$run -p 8000:80 -- python3 $server & sandbox=$!\nup\necho up\n\
                  until $ask tcp 127.0.0.1 8000 | grep -q ECONNREFUSED; do sleep 0.05; done\necho gone\ndown";
    let running = scripted(&world, script).starts();
    running.says("up");
    kill_process(netstack(running.pid()).unwrap(), Signal::KILL).unwrap();
    running.says("gone");
    running.ends();
}
