//! `--network user` between real hosts, which the test makes: namespaces with a veth pair, addresses of the
//! documentation ranges. Nothing leaves them.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ended, Host, Invocation, World};

/// A host with a peer. The peer has 198.51.100.1 and `2001:db8:1::1`; the host 192.0.2.1, and 10.9.9.9 as a
/// private one. On each, port 8080 says hello, and on the peer 9 gives datagrams back. `$0` is the server. Then it
/// is the command's turn.
const HOST: &str = r#"
set -e
ip link set lo up
ip link add veth0 type veth peer name veth1
unshare -n sleep 300 & peer=$!
export peer
until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link set veth1 netns $peer
ip addr add 192.0.2.1/24 dev veth0; ip addr add 2001:db8::1/64 dev veth0 nodad; ip link set veth0 up
ip addr add 10.9.9.9/32 dev lo
n="nsenter -t $peer -n"
$n ip link set lo up
$n ip addr add 192.0.2.2/24 dev veth1; $n ip addr add 2001:db8::2/64 dev veth1 nodad; $n ip link set veth1 up
$n ip addr add 198.51.100.1/32 dev lo; $n ip addr add 2001:db8:1::1/128 dev lo
ip route add default via 192.0.2.2; ip route add default via 2001:db8::2
ip route add unreachable 203.0.113.9
ready=$(mktemp -u); mkfifo "$ready"
python3 "$0" 0.0.0.0 > "$ready" & one=$!
read there <"$ready"
# Another one: the first server may still hold this one open.
rm "$ready"; mkfifo "$ready"
$n python3 "$0" :: > "$ready" & two=$!
read there <"$ready"
rm "$ready"
set +e
"$@"
status=$?
kill $one $two $peer
wait
exit $status
"#;

/// Says hello to whoever connects to port 8080, and gives datagrams to port 9 back.
const SERVER: &str = r#"
import os, select, socket, sys
at = sys.argv[1]
family = socket.AF_INET6 if ":" in at else socket.AF_INET
tcp = socket.socket(family, socket.SOCK_STREAM)
tcp.bind((at, 8080)); tcp.listen(64)
udp = socket.socket(family, socket.SOCK_DGRAM)
udp.bind((at, 9))
print("ready", flush=True)
os.close(1)
while True:
    for ready in select.select([tcp, udp], [], [])[0]:
        if ready is udp:
            bytes, who = udp.recvfrom(65536)
            udp.sendto(bytes, who)
        else:
            one, _ = tcp.accept()
            asked = one.recv(65536)
            what = b"x" * 500000 if b" /large " in asked else b"hello\n"
            one.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(what) + what)
            one.close()
"#;

/// Connects to each `ADDRESS PORT` and says how that went.
const CONNECT: &str = r#"
import errno, socket, sys
for at, port in zip(sys.argv[1::2], sys.argv[2::2]):
    one = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET)
    one.settimeout(10)
    try:
        one.connect((at, int(port)))
        print("connected")
    except OSError as e:
        print(errno.errorcode.get(e.errno, str(e)))
"#;

/// Has `invocation` carried out on such a host.
pub(crate) fn on_host(world: &World, invocation: Invocation) -> Invocation {
    let server = world.file("shown/server.py", SERVER);
    let words = ["/usr/bin/unshare", "-Urnm", "/bin/sh", "-c", HOST].map(std::ffi::OsString::from);
    let on_it = invocation.under(words.into_iter().chain([server.into()]));
    on_it.in_folder(world.folder("kept")).patience(Duration::from_mins(4))
}

fn sandbox(world: &World) -> Invocation {
    let args = ["run", "--network", "user", "--rm", "-w", "/", "--read"];
    world.bryo(args).arg(world.folder("shown"))
}

fn connects(world: &World, to: &str) -> (Ended, Ended) {
    let connect = world.file("shown/connect.py", CONNECT);
    let command = format!("python3 {} {to}", connect.display());
    let outside = world.program("sh", ["-c", &command]);
    let (outside, inside) = (on_host(world, outside), on_host(world, sandbox(world)));
    (outside.ends(), inside.run(&command))
}

#[test]
fn a_program_reaches_public_addresses_of_both_families() {
    let world = World::new();
    world.host(Host::MayChange);
    let command =
        "curl -sS http://198.51.100.1:8080/ 'http://[2001:db8:1::1]:8080/' && cat /etc/resolv.conf";
    let sandbox = sandbox(&world).arg("--report").arg(world.path("report.json"));
    let run = on_host(&world, sandbox).run(command);
    run.succeeds().stdout_is("hello\nhello\nnameserver 10.0.2.3\n");
    let record = world.read("report.json");
    assert!(record.contains(r#""outward": 2"#), "{record}");
    assert!(!record.contains(r#""packets": 0"#), "{record}");
}

#[test]
fn errors_inside_are_those_of_outside() {
    let world = World::new();
    let to = "198.51.100.1 8080 198.51.100.1 81 2001:db8:1::1 81 203.0.113.9 80";
    let (outside, inside) = connects(&world, to);
    let wanted = "connected\nECONNREFUSED\nECONNREFUSED\nEHOSTUNREACH\n";
    outside.succeeds().stdout_is(wanted);
    inside.succeeds().stdout_is(wanted);
}

#[test]
fn the_host_itself_and_private_addresses_are_out_of_reach() {
    let world = World::new();
    let to = "192.0.2.1 8080 10.9.9.9 8080 ::ffff:10.9.9.9 8080";
    let (outside, inside) = connects(&world, to);
    outside.succeeds().stdout_is("connected\nconnected\nconnected\n");
    inside.succeeds().stdout_is("EHOSTUNREACH\nEHOSTUNREACH\nEHOSTUNREACH\n");
}

#[test]
fn datagrams_come_back() {
    let world = World::new();
    let program = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10); \
                   s.connect(('192.0.2.2', 9)); \
                   [(s.send(b'x' * n), print(len(s.recv(65536)))) for n in (0, 1400, 60000)]";
    let run = on_host(&world, sandbox(&world)).exec(["python3", "-c", program]);
    run.succeeds().stdout_is("0\n1400\n60000\n");
}

#[test]
fn a_payload_that_ends_before_the_netstack_is_ready_has_run() {
    let world = World::new();
    // A hundred: without its being waited for, one in eighty failed.
    let command = "n=0; while [ $n -lt 100 ]; do \"$@\" || exit; n=$((n+1)); done";
    let many = sandbox(&world).under(["/bin/sh", "-c", command, "sh"]);
    on_host(&world, many).exec(["/bin/true"]).succeeds();
}

/// The records of a capture: whole IP packets, in the order of time.
fn captured(file: &[u8]) -> Vec<&[u8]> {
    let word = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let (header, mut rest) = file.split_at(24);
    // Nanoseconds, version 2.4 in halves, raw IP.
    assert_eq!((word(header, 0), word(header, 20)), (0xa1b2_3c4d, 101));
    assert_eq!(header[4..8], [2_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat());
    let (mut packets, mut before) = (Vec::new(), (0, 0));
    while !rest.is_empty() {
        let length = word(rest, 8) as usize;
        let (packet, after) = rest[16..].split_at(length);
        assert_eq!(rest[12..16], rest[8..12], "a packet is cut");
        let time = (word(rest, 0), word(rest, 4));
        assert!(time.1 < 1_000_000_000 && before <= time, "{before:?} {time:?}");
        before = time;
        let short = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        let said = if packet[0] >> 4 == 4 { short(2) } else { short(4) + 40 };
        assert_eq!((said, length < 0x4_0000), (length, true), "{packet:?}");
        packets.push(packet);
        rest = after;
    }
    packets
}

#[test]
fn packets_are_written_to_the_file_that_was_named_and_to_no_other() {
    let world = World::new();
    world.host(Host::MayChange);
    let file = world.path("kept/packets");
    let capture = |size: &str| {
        let invocation =
            sandbox(&world).args(["--report", "report", "--pcap", "packets", "--pcap-size", size]);
        on_host(&world, invocation).run("curl -sS http://198.51.100.1:8080/")
    };
    capture("1M").succeeds().stdout_is("hello\n");
    assert!(!world.read("kept/report").contains("not_captured"));
    let bytes = std::fs::read(&file).unwrap();
    let packets = captured(&bytes);
    let said =
        |text: &[u8]| packets.iter().any(|packet| packet.windows(text.len()).any(|w| w == text));
    assert!(said(b"GET / HTTP") && said(b"hello\n"), "{packets:?}");
    assert!(packets.iter().all(|packet| matches!(packet[0] >> 4, 4 | 6)));
    // Of its owner alone, and no longer than was said; what is left out is told.
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    capture("300").succeeds().stdout_is("hello\n");
    assert!(world.read("kept/report").contains("\"not_captured\": "));
    assert!(file.metadata().unwrap().len() <= 300);
    assert!(!captured(&std::fs::read(&file).unwrap()).is_empty());
    // What is no capture is nobody's to empty, and a link that stands there is not followed.
    std::fs::write(&file, "notes").unwrap();
    capture("1M").refuses_with(&["cannot write packets over", "kept/packets", "remove this one"]);
    assert_eq!(world.read("kept/packets"), "notes");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("elsewhere", &file).unwrap();
    capture("1M").refuses_with(&["cannot write packets to", "kept/packets"]);
    assert!(!world.exists("kept/elsewhere"));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_rate_is_kept_and_told() {
    let world = World::new();
    world.host(Host::MayChange);
    let get = "curl -sS -o /dev/null -w '%{size_download} %{time_total}\\n' http://198.51.100.1:8080/large";
    let took = |flags: &[&str]| {
        let ended =
            on_host(&world, sandbox(&world).args(["--report", "report"]).args(flags)).run(get);
        let said = ended.succeeds().stdout();
        let (bytes, seconds) = said.trim().split_once(' ').unwrap();
        assert_eq!(bytes, "500000");
        (seconds.parse::<f64>().unwrap(), world.read("kept/report"))
    };
    let (control, report) = took(&[]);
    assert!(!report.contains("\"rate\""), "{report}");
    // Two seconds; what passes at once is none of them.
    let (paced, report) = took(&["--net-rate", "2M/1M"]);
    assert!((1.9..20.0).contains(&paced) && paced > control, "{paced}, {control} without");
    assert!(report.contains("\"rate\": \"2M/1M\""), "{report}");
}

/// The netstack of a run: a process below the one that was started.
pub(crate) fn netstack(below: Pid) -> Option<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", below.as_raw_nonzero());
    let children = std::fs::read_to_string(children).ok()?;
    children.split_whitespace().find_map(|child| {
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        let child = Pid::from_raw(child.parse().ok()?)?;
        if name == "bryo-netstack\n" { Some(child) } else { netstack(child) }
    })
}

#[test]
fn a_payload_goes_on_without_its_netstack_and_sees_errors() {
    let world = World::new();
    world.host(Host::MayChange);
    let program = "import errno, socket, sys, time\n\
                   for n in range(600):\n\
                   \x20   s = socket.socket()\n\
                   \x20   s.settimeout(10)\n\
                   \x20   try:\n\
                   \x20       s.connect(('198.51.100.1', 8080))\n\
                   \x20       if n == 0: print('connected', flush=True)\n\
                   \x20   except OSError as e:\n\
                   \x20       print(errno.errorcode.get(e.errno, e)); sys.exit(7)\n\
                   \x20   time.sleep(0.05)\n";
    let report = world.path("report.json");
    let sandbox = sandbox(&world).arg("--report").arg(report);
    let running = on_host(&world, sandbox).args(["--", "python3", "-c", program]).starts();
    running.says("connected");
    kill_process(netstack(running.pid()).unwrap(), Signal::KILL).unwrap();
    running.ends().exits_with(7).stdout_is("connected\nENETUNREACH\n");
    let record = world.read("report.json");
    assert!(record.contains(r#""network_loss": {"#), "{record}");
    assert!(record.contains(r#""killed": 9"#), "{record}");
}

#[test]
fn a_run_that_is_not_to_outlive_its_network_is_ended_with_it() {
    let world = World::new();
    world.host(Host::MayChange);
    let profile = "extends = [\"default\"]\n[network]\nmode = \"user\"\non-loss = \"end\"\n";
    world.file(".config/bryo/profiles/bound.toml", profile);
    // A payload that sees it and ends by itself before it is ended, and one that does not.
    let (sees, sleeps) = ("while ip route get 198.51.100.1; do sleep 0.01; done", "sleep 60");
    let (flags, bound) = (["--network", "user"], ["--profile", "bound"]);
    for (flags, loss, waits, code) in [
        (flags, Some("end"), sleeps, 125),
        (flags, Some("end"), sees, 125),
        (bound, None, sleeps, 125),
        // The control, which also shows that a flag goes before a profile.
        (bound, Some("continue"), sees, 7),
    ] {
        let loss = loss.map(|what| ["--on-network-loss", what]);
        let flags = flags.into_iter().chain(loss.into_iter().flatten());
        let run = world.bryo(["run", "--rm", "-w", "/"]).args(flags).arg("--report");
        let run = on_host(&world, run.arg(world.path("report.json")));
        let running = run.start(&format!("echo up; {waits} >/dev/null 2>&1; exit 7"));
        running.says("up");
        kill_process(netstack(running.pid()).unwrap(), Signal::KILL).unwrap();
        running.ends().exits_with(code);
        let record = world.read("report.json");
        assert_eq!(record.contains(r#""exit": "network-lost""#), code == 125, "{record}");
    }
}

/// Holds a connection to port 8080 of each of `addresses`, and one of its own, and says what becomes of them.
pub(crate) fn holds(addresses: &[&str]) -> String {
    format!(
        "import errno, socket\n\
         within = socket.create_server(('127.0.0.1', 0))\n\
         own, peer = socket.create_connection(within.getsockname()), within.accept()[0]\n\
         held = [socket.create_connection((to, 8080), 60) for to in {addresses:?}]\n\
         print('connected', flush=True)\n\
         for one in held:\n\
         \x20   try: print(one.recv(1))\n\
         \x20   except OSError as e: print(errno.errorcode[e.errno])\n\
         own.sendall(b'within')\n\
         print(peer.recv(6).decode())\n"
    )
}

#[test]
fn a_connection_that_was_made_ends_with_the_netstack() {
    let world = World::new();
    world.host(Host::MayChange);
    let program = holds(&["198.51.100.1", "2001:db8:1::1"]);
    let sandbox = on_host(&world, sandbox(&world));
    let running = sandbox.args(["--", "python3", "-c", &program]).starts();
    running.says("connected");
    kill_process(netstack(running.pid()).unwrap(), Signal::KILL).unwrap();
    // One that leads nowhere else stays.
    let told = "connected\nECONNABORTED\nECONNABORTED\nwithin\n";
    running.ends().succeeds().stdout_is(told);
}

#[test]
fn a_root_file_system_of_the_users_is_told_its_name_server_and_itself() {
    let world = World::new();
    world.host(Host::MayChange);
    for link in ["bin", "lib", "lib64"] {
        world.folder("root");
        std::os::unix::fs::symlink(format!("usr/{link}"), world.path(format!("root/{link}")))
            .unwrap();
    }
    world.folder("root/usr");
    world.file("root/etc/resolv.conf", "nameserver 192.0.2.77\n");
    world.file("root/etc/hosts", "192.0.2.78 of-the-image\n");
    let shows = "cat /etc/resolv.conf; grep -c image /etc/hosts; grep -o boxed /etc/hosts";
    let root = |flags: &[&str]| {
        let root = world.path("root");
        let run =
            world.bryo(["run", "--rm", "--hostname", "boxed", "-v", "/usr:/usr:ro", "--rootfs"]);
        on_host(&world, run.arg(root).args(flags)).run(shows)
    };
    root(&["--network", "user"]).stdout_is("nameserver 10.0.2.3\n0\nboxed\n");
    root(&[]).stdout_is("nameserver 192.0.2.77\n0\nboxed\n");
    root(&["--network", "host"]).stdout_is("nameserver 192.0.2.77\n1\n");
}
