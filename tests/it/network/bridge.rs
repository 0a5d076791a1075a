//! `--network bridge:NAME`: who is on a network reaches whom, and what its members cannot do to each other.
//!
//! Long because each claim makes networks of its own and says who is reached on them.

use rustix::process::Signal;

use super::on_bed;
use crate::support::{Host, Invocation, Need, Running, World, has};

/// Says hello to whoever connects to port 8000, over either family.
pub(super) const SERVE: &str = r#"
import socket
one = socket.socket(socket.AF_INET6)
one.bind(("::", 8000)); one.listen()
print("up", flush=True)
while True:
    peer, _ = one.accept()
    peer.sendall(b"hello"); peer.close()
"#;

/// What each `NAME` or address answers at port 8000; after `=`, what it is called.
pub(super) const CALL: &str = r#"
import errno, socket, sys
for at in sys.argv[1:]:
    try:
        one = socket.create_connection((at, 8000), 3)
        print(one.recv(9).decode())
    except socket.gaierror:
        print("no such name")
    except OSError as e:
        print(errno.errorcode.get(e.errno, e))
"#;

pub(super) fn network(world: &World, words: &[&str]) -> String {
    let ended = world.bryo(["network"]).args(words).ends();
    ended.succeeds().stdout()
}

/// A network that nothing leaves.
pub(super) fn internal(world: &World, name: &str) {
    network(world, &["create", "--internal", name]);
}

pub(super) fn member(world: &World, name: &str) -> Invocation {
    let network = format!("bridge:{name}");
    let run = world.bryo(["run", "-q", "--rm", "-w", "/", "--network", &network]);
    run.arg("--read").arg(world.folder("shown"))
}

pub(super) fn script(world: &World, name: &str, text: &str) -> String {
    world.file(format!("shown/{name}"), text).display().to_string()
}

/// One on `network` that answers.
pub(super) fn server(world: &World, network: &str, name: &str) -> Running {
    let serve = script(world, "serve.py", SERVE);
    let running =
        member(world, network).args(["--name", name]).start(&format!("exec python3 {serve}"));
    running.says("up");
    running
}

pub(super) fn end(running: Running) {
    running.kill(Signal::TERM);
    running.ends();
}

#[test]
fn members_reach_each_other_by_name_and_nobody_on_another_network() {
    let world = World::new();
    internal(&world, "one");
    internal(&world, "two");
    let call = script(&world, "call.py", CALL);
    let running = server(&world, "one", "web");
    let shown = network(&world, &["inspect", "one"]);
    let of = |key: &str| {
        let (_, rest) = shown.rsplit_once(&format!("\"{key}\": \"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let all = format!("python3 {call} web WEB.  {} {} {} nobody", of("id"), of("v4"), of("v6"));
    let inside = member(&world, "one").run(&all);
    inside.stdout_is("hello\nhello\nhello\nhello\nhello\nno such name\n");
    let other = member(&world, "two").run(&all);
    let told = other.stdout();
    assert!(told.starts_with("no such name\nno such name\nno such name\n"), "{told}");
    assert!(!told.contains("hello"), "{told}");
    // Joined by its own network, it is reached as itself.
    let joined = world.bryo(["run", "-q", "--rm", "-w", "/", "--network", "sandbox:web", "--read"]);
    let joined = joined.arg(world.folder("shown"));
    joined.run(&format!("python3 {call} 127.0.0.1 web")).stdout_is("hello\nhello\n");
    end(running);
    assert_eq!(network(&world, &["prune", "-f"]), "one\ntwo\n");
}

#[test]
fn the_list_says_who_is_there_and_a_network_in_use_stays() {
    let world = World::new();
    network(&world, &["create", "--subnet", "10.99.7.0/24", "--gateway", "10.99.7.9", "lab"]);
    let running = server(&world, "lab", "web");
    let table = network(&world, &["ls"]);
    let lines: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["lab", "10.99.7.0/24", "10.99.7.9", "user", "1"], "{table}");
    let json = network(&world, &["ls", "--json"]);
    assert!(json.contains("\"sandboxes\": 1"), "{json}");
    let busy = world.bryo(["network", "rm", "lab"]).ends();
    busy.refuses_with(&["cannot remove the network `lab`: 1 sandbox is on it"]);
    let taken = member(&world, "lab").args(["--name", "WEB"]).run("true");
    taken.refuses_with(&["a sandbox on it is called `WEB`", "give it another name"]);
    let look = "cat /proc/net/route | grep -c 0907630A; cat /etc/resolv.conf";
    member(&world, "lab").run(look).stdout_is("1\nnameserver 10.0.2.3\n");
    end(running);
    assert_eq!(network(&world, &["rm", "lab"]), "lab\n");
    for (words, told) in [
        (&["rm", "lab"][..], "cannot find a network `lab`"),
        (&["create", "../x"], "cannot take `../x` for `NETWORK`"),
        (&["create", "--subnet", "198.51.100.0/24", "x"], "it is no private range"),
        (&["create", "--subnet", "10.0.2.0/24", "x"], "it is no private range"),
        (&["create", "--gateway", "10.1.1.1", "x"], "its gateway is no address of a member"),
        (&["create", "--internal", "--allow", "a.test", "x"], "cannot take both `--internal`"),
    ] {
        world.bryo(["network"]).args(words).ends().refuses_with(&[told]);
    }
    member(&world, "gone").run("true").refuses_with(&["cannot find a network `gone`"]);
}

#[test]
fn a_member_with_power_over_its_address_is_refused() {
    let world = World::new();
    internal(&world, "n");
    for flags in [["--cap-add", "NET_RAW"], ["--cap-add", "NET_ADMIN"], ["--cap-add", "SYS_ADMIN"]]
    {
        let refused = member(&world, "n").args(flags).run("true");
        refused
            .refuses_with(&["cannot keep the capability `CAP_", "it could take another's address"]);
    }
    member(&world, "n").args(["--cap-add", "CHOWN"]).run("true").succeeds();
    network(&world, &["rm", "n"]);
}

#[test]
fn a_member_has_subordinate_ids_whoever_came_first() {
    if !has(Need::Subids) {
        return;
    }
    let world = World::new();
    internal(&world, "n");
    let call = script(&world, "call.py", CALL);
    let running = server(&world, "n", "web");
    let subid = || member(&world, "n").args(["--ids", "subid", "--user", "root"]);
    // All of them, no group of the caller's, and the others on the network.
    let look = "awk '{ n += $3 } END { print (n > 1000) }' /proc/self/uid_map; id -G; cat /proc/self/setgroups";
    subid().run(&format!("{look}; python3 {call} web")).stdout_is("1\n0\nallow\nhello\n");
    // One id, and nothing else, for who wants no more.
    let one = "wc -l < /proc/self/uid_map; cat /proc/self/setgroups";
    member(&world, "n").run(one).stdout_is("1\ndeny\n");
    end(running);
    let chown = "touch /tmp/a && chown 7:7 /tmp/a && stat -c %u:%g /tmp/a";
    subid().args(["--cap-add", "CHOWN"]).run(chown).stdout_is("7:7\n");
    network(&world, &["rm", "n"]);
}

/// Sends from an address that is not its own, which takes no privilege over IPv6: to `$1`.
const SPOOF: &str = r#"
import socket, sys
to = sys.argv[1]
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
one.setsockopt(41, 78, 1)
network = to.rsplit(":", 2)[0]
try:
    one.bind((network + ":dead:beef", 0))
    one.sendto(b"forged", (to, 9000))
    print("sent")
except OSError as e:
    print(e.strerror)
two = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
two.sendto(b"honest", (to, 9000))
"#;

/// Prints what it is sent until somebody is honest.
pub(super) const HEAR: &str = r#"
import socket
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
one.bind(("::", 9000)); one.settimeout(30)
print("up", flush=True)
while True:
    got, _ = one.recvfrom(99)
    print(got.decode(), flush=True)
    if got == b"honest":
        break
"#;

/// The same between two plain namespaces: what the kernel lets anybody do.
const PLAIN: &str = r#"
set -e
ip link set lo up
unshare -n sleep 60 & peer=$!
until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add va type veth peer name vb netns $peer
ip addr add fd99::1:1/64 dev va nodad; ip link set va up
n="nsenter -t $peer -n"
$n ip addr add fd99::1:2/64 dev vb nodad; $n ip link set vb up
hear=$(mktemp -u); mkfifo "$hear"
$n python3 "$1" > "$hear" & heard=$!
exec 3<"$hear"; rm "$hear"
read line <&3
python3 "$2" fd99::1:2
wait $heard
kill $peer
cat <&3
"#;

#[test]
fn nobody_sends_from_an_address_that_is_not_its_own() {
    let world = World::new();
    let (hear, spoof) = (script(&world, "hear.py", HEAR), script(&world, "spoof.py", SPOOF));
    let control =
        world.program("/usr/bin/unshare", ["-Urn", "sh", "-c", PLAIN, "sh", &hear, &spoof]);
    control.ends().stdout_is("sent\nforged\nhonest\n");
    internal(&world, "n");
    let victim =
        member(&world, "n").args(["--name", "victim"]).start(&format!("exec python3 {hear}"));
    victim.says("up");
    let find =
        "$(python3 -c 'import socket; print(socket.getaddrinfo(\"victim\", 1, 10)[0][4][0])')";
    let attack = member(&world, "n").run(&format!("python3 {spoof} {find}"));
    attack.succeeds().stdout_lacks("sent");
    victim.ends().succeeds().stdout_is("up\nhonest\n");
    network(&world, &["rm", "n"]);
}

#[test]
fn a_definition_that_somebody_forged_is_refused_and_can_be_removed() {
    let world = World::new();
    internal(&world, "n");
    let file = ".local/share/bryo/networks/n/network.json";
    let good = world.read(file);
    for (forged, told) in [
        ("{}".to_owned(), "cannot read the definition of the network `n`"),
        (good.replace("\"n\"", "\"m\""), "it is of another one"),
        (good.replace("\"version\":1", "\"version\":2"), "newer than this bryo"),
        (good.replace("\"n\"", "\"../n\""), "it is not a name"),
        (good.replace("\"subnet\":\"10.", "\"subnet\":\"127."), "it is no private range"),
    ] {
        assert_ne!(forged, good);
        world.file(file, forged);
        member(&world, "n").run("true").refuses_with(&[told]);
        world.bryo(["network", "ls", "-q"]).ends().refuses_with(&[told]);
    }
    network(&world, &["rm", "n"]);
    assert_eq!(network(&world, &["ls"]).lines().count(), 1);
}

/// Tries `what` on a network that was made with `flags`, from a member; gives what the name server was asked too.
fn from_network(flags: &str, what: &str) -> (String, String) {
    on_bed(|bryo, scripts| {
        let payload = format!("python3 {scripts}/payload.py '{what}'");
        let run = format!("{bryo} run -q --rm --network bridge:n -- {payload}");
        format!(
            "{bryo} network create --dns 198.51.100.53 {flags} n >/dev/null; {run}; {bryo} network rm n"
        )
    })
}

#[test]
fn what_leaves_a_network_keeps_to_its_own_rules() {
    let what = "look good.test + get good.test 80 good.test + get 198.51.100.8 80 evil.test + look s3cr3t.evil.test \
                + get 192.0.2.1 80 x";
    let (control, asked) = from_network("", what);
    assert_eq!(control, "198.51.100.7\nserved good.test\nserved evil.test\nrefused\nrefused\nn\n");
    assert!(asked.contains("s3cr3t"), "{asked}");
    let (tried, asked) = from_network("--allow good.test", what);
    assert_eq!(tried, "198.51.100.7\nserved good.test\nrefused\nrefused\nrefused\nn\n");
    // Once or again: an answer may come late.
    assert!(asked.lines().all(|name| name == "good.test") && !asked.is_empty(), "{asked}");
}

#[test]
fn nothing_leaves_an_internal_network_and_nobody_is_asked_for_a_name() {
    let what = "look good.test + get 198.51.100.7 80 good.test + get 10.0.2.2 80 x";
    let (tried, asked) = on_bed(|bryo, scripts| {
        let payload = format!("python3 {scripts}/payload.py '{what}'");
        let run = format!("{bryo} run -q --rm --network bridge:n -- {payload}");
        let uplink = format!("{bryo} network inspect n | grep -o '\"none\"'");
        format!(
            "{bryo} network create --internal n >/dev/null; {run}; {uplink}; {bryo} network rm n"
        )
    });
    assert_eq!((tried.as_str(), asked.as_str()), ("refused\nrefused\nrefused\n\"none\"\nn\n", ""));
}

/// What `network inspect` says, in short.
const SAID: &str = "import json, sys; d = json.load(sys.stdin)[0]; t = d['traffic']; \
    print(d['uplink'], [r.get('name') or r['address'] for r in t['refused']], t['totals']['outward'])";

#[test]
fn what_a_network_refused_and_let_out_is_told_while_it_is_there() {
    let what = "get 198.51.100.8 80 evil.test + look evil.test + look good.test + get good.test 80 good.test";
    let (told, _) = on_bed(|bryo, scripts| {
        let payload =
            format!("python3 {scripts}/payload.py '{what}' >/dev/null; echo up; exec sleep 60");
        format!(
            "{bryo} network create --dns 198.51.100.53 --allow good.test n >/dev/null\n\
             {bryo} run -q --rm --network bridge:n -- sh -c \"{payload}\" > up & run=$!\n\
             until grep -q up up; do sleep 0.05; done\n\
             {bryo} network inspect n | python3 -c \"{SAID}\"\n\
             kill $run; wait $run; {bryo} network rm n\n"
        )
    });
    assert_eq!(told, "up ['198.51.100.8', 'evil.test'] 1\nn\n");
}

#[test]
fn a_member_that_is_started_again_is_found_by_its_name() {
    let world = World::new();
    internal(&world, "n");
    let call = script(&world, "call.py", CALL);
    let serve = script(&world, "serve.py", SERVE);
    let first = member(&world, "n").start("echo up; exec sleep 300");
    first.says("up");
    let words = ["run", "-d", "-w", "/", "--network", "bridge:n", "--name", "web"];
    let detached = world.bryo(words).leaves();
    detached.arg("--read").arg(world.folder("shown")).exec(["python3", &serve]).succeeds();
    let ask = format!("until python3 {call} web | grep hello; do sleep 0.1; done");
    member(&world, "n").run(&ask).stdout_is("hello\n");
    world.bryo(["restart", "web"]).leaves().ends().succeeds();
    member(&world, "n").run(&ask).stdout_is("hello\n");
    world.bryo(["stop", "web"]).ends().succeeds();
    member(&world, "n").run(&format!("python3 {call} web")).stdout_is("no such name\n");
    world.bryo(["rm", "web"]).ends().succeeds();
    end(first);
    network(&world, &["rm", "n"]);
}

/// In a pid namespace of its own, where the only holder is this network's: it is killed, and another started.
const KILLED: &str = r#"
mkdir -p "$HOME/project"; cd /
$BRYO network create --internal n >/dev/null
$BRYO run -q --rm --name a --report "$HOME/report" --network bridge:n -- sh -c 'echo up; exec sleep 60' > "$HOME/up" & a=$!
until grep -q up "$HOME/up"; do sleep 0.05; done
pid() { for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = "$1" ] && [ "$(cut -d' ' -f3 $p/stat)" != Z ] && echo ${p#/proc/}; done; }
kill -9 $(pid bryo-$VICTIM)
while [ -n "$(pid bryo-$VICTIM)" ]; do sleep 0.02; done
[ $VICTIM = network ] && while [ -n "$(pid bryo-netstack)" ]; do sleep 0.02; done
$BRYO run -q --rm --name b --network bridge:n -- sh -c 'echo in; getent hosts b | wc -l'
[ $VICTIM = network ] || { $BRYO network inspect n | grep -o '"uplink": .*'; $BRYO network ls | grep -o lost; }
kill $a; wait
grep -o '"network_loss": .*' "$HOME/report"
while [ -n "$(pid bryo-network)$(pid bryo-netstack)" ]; do sleep 0.02; done
$BRYO network prune --force
"#;

fn killed(victim: &str) -> String {
    let world = World::new();
    world.host(Host::MayChange);
    let bryo = std::env::var("BRYO_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bryo").to_owned());
    let words = [
        "--user",
        "--map-current-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount",
        "--mount-proc",
    ];
    let run = world.program("/usr/bin/unshare", words).args(["sh", "-c", KILLED]);
    run.env("BRYO", bryo).env("VICTIM", victim).ends().stdout()
}

#[test]
fn a_holder_or_a_netstack_that_is_killed_leaves_a_network_that_works_again() {
    assert_eq!(killed("network"), "in\n1\n\"network_loss\": \"holder\",\nn\n");
    // Without a name server members still have each other, by address.
    let lost = "in\n0\n\"uplink\": \"lost\",\nlost\n\"network_loss\": \"uplink\",\nn\n";
    assert_eq!(killed("netstack"), lost);
}

#[test]
fn launchers_that_are_killed_at_any_moment_leave_nothing() {
    let world = World::new();
    internal(&world, "n");
    for after in 0..12 {
        let started = member(&world, "n").args(["--name", "a"]).start("sleep 30");
        std::thread::sleep(std::time::Duration::from_millis(after * 5));
        started.kill(Signal::KILL);
        started.ends();
    }
    member(&world, "n").args(["--name", "a"]).run("echo in").stdout_is("in\n");
    world.bryo(["ps"]).ends().succeeds();
    network(&world, &["rm", "n"]);
}

#[test]
fn a_hundred_members_come_and_go_at_once() {
    let world = World::new();
    internal(&world, "n");
    if !has(Need::Program("getent")) {
        return;
    }
    // Who starts the holder ends last: to the bench it is a process that it left.
    let first = member(&world, "n").args(["--name", "first"]).start("echo up; sleep 60");
    first.says("up");
    let start = |number: u32| {
        let name = format!("m{number}");
        member(&world, "n").args(["--name", &name]).start("echo in; exec sleep 300")
    };
    let members: Vec<Running> = (0..100).map(start).collect();
    for running in &members {
        running.says("in");
    }
    let all = "for n in $(seq 0 99); do getent hosts m$n; done | sort -u | wc -l";
    member(&world, "n").run(all).stdout_is("100\n");
    let listed = network(&world, &["inspect", "n"]);
    assert_eq!(listed.matches("\"id\":").count(), 101, "{listed}");
    members.into_iter().for_each(end);
    end(first);
    network(&world, &["rm", "n"]);
}
