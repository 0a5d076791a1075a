//! `--net-rate` where several sandboxes share a network: it is for all of them together, and each has the same of it.

use super::super::netstack::on_host;
use crate::support::{Host, World, bryo};

/// Two members of a network made with `$RATE`, then one more sandbox in the network of one that has it as a flag. Says how many
/// milliseconds the two took together, each with its start, and how many seconds the third one, without it.
const SHARE: &str = r#"
bryo() { "$BRYO" "$@"; }
run() { bryo run -q --rm -w / "$@"; }
get() { run --network "$1" -- curl -sS -o /dev/null -w '%{size_download} %{time_total}\n' http://198.51.100.1:8080/large; }
bryo network create $RATE n >/dev/null
begin=$(date +%s%N)
get bridge:n >one & one=$!; get bridge:n >two; wait $one
echo $(( ($(date +%s%N) - begin) / 1000000 )) $(cat one two)
until bryo network rm n >/dev/null 2>&1; do sleep 0.05; done
"$BRYO" run -q --rm -w / --name t --network user $RATE -- sh -c 'echo up; exec sleep 100' >up & t=$!
until grep -q up up; do sleep 0.05; done
get sandbox:t
kill $t; wait $t 2>/dev/null
for network in bridge sandbox:t; do run --network $network --net-rate 1M -- true 2>&1 | head -1; done
rm one two up
"#;

/// What the script prints: the milliseconds, the seconds of each download, and what is refused.
fn shared(rate: &str) -> (u64, Vec<f64>, String) {
    let world = World::new();
    world.host(Host::MayChange);
    let script = world.program("sh", ["-c", SHARE]).env("BRYO", bryo()).env("RATE", rate);
    let said = on_host(&world, script).ends().succeeds().stdout();
    let (first, rest) = said.split_once('\n').unwrap();
    let (alone, refused) = rest.split_once('\n').unwrap();
    let (together, both) = first.split_once(' ').unwrap();
    let words: Vec<&str> = both.split(' ').chain(alone.split(' ')).collect();
    let took = words.chunks(2).map(|pair| {
        assert_eq!(pair[0], "500000", "{said}");
        pair[1].parse().unwrap()
    });
    (together.parse().unwrap(), took.collect(), refused.to_owned())
}

#[test]
fn a_rate_is_that_of_all_who_share_a_network() {
    let (_, control, _) = shared("");
    // Eight megabits at two a second; what passes at once is none of them.
    let (together, took, refused) = shared("--net-rate 2M/1M");
    assert!((3_800..40_000).contains(&together), "{together}: {took:?}");
    assert!(
        (1.9..20.0).contains(&took[2]) && took[2] > control[2],
        "{took:?}, {control:?} without"
    );
    let told = |why| format!("bryo: cannot take `1M` for `--net-rate`: {why}\n");
    let whose = ["all members of a network have one way out", "that network is another sandbox's"];
    assert_eq!(refused, whose.map(told).concat());
}

/// Sends without end to whoever connects, little ahead.
const SOURCE: &str = r#"
import socket, threading
listener = socket.create_server(("198.51.100.1", 19), backlog=64)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
def feed(one):
    try:
        while True: one.sendall(b"x" * 4096)
    except OSError: pass
print("up", flush=True)
while True: threading.Thread(target=feed, args=(listener.accept()[0],), daemon=True).start()
"#;

/// Reads by so many connections, and says how much that is so far; after so many bytes, that they are there.
const READS: &str = r#"
import select, socket, sys
count, enough = map(int, sys.argv[1:])
all = [socket.create_connection(("198.51.100.1", 19), 60) for _ in range(count)]
had = said = 0
print("up", flush=True)
while True:
    for one in select.select(all, [], [])[0]: had += len(one.recv(65536))
    if had - said >= 10000: print(had, flush=True); said = had
    if had >= enough > 0: break
print("enough", flush=True)
"#;

/// Twenty connections of one member, and one of whoever has `$NETWORK`: what the twenty get while that one gets `$BYTES`.
const BESIDE: &str = r#"
until_says() { until grep -sq "$2" "$1"; do sleep 0.02; done; }
run() { "$BRYO" run -q --rm -w / "$@"; }
nsenter -t $peer -n python3 source.py >source & source=$!
until_says source up
"$BRYO" network create --net-rate 4M n >/dev/null
run --network bridge:n --name greedy -- python3 -c "$(cat reads.py)" 20 0 >greedy & greedy=$!
until_says greedy 000
run --network $NETWORK -- python3 -c "$(cat reads.py)" 1 $BYTES >one & one=$!
until_says one '[0-9]'; before=$(tail -n 1 greedy)
until_says one enough; after=$(tail -n 1 greedy)
echo $((after - before))
"$BRYO" stop -t 0 greedy >/dev/null
wait $greedy $one
kill $source; wait $source 2>/dev/null
until "$BRYO" network rm n >/dev/null 2>&1; do sleep 0.05; done
rm source.py reads.py source greedy one
"#;

fn beside(network: &str, bytes: usize) -> usize {
    let world = World::new();
    world.host(Host::MayChange);
    world.file("kept/source.py", SOURCE);
    world.file("kept/reads.py", READS);
    let script = world.program("sh", ["-c", BESIDE]).env("BRYO", bryo());
    let script = script.env("NETWORK", network).env("BYTES", bytes.to_string());
    on_host(&world, script).ends().succeeds().stdout().trim().parse().unwrap()
}

#[test]
fn a_member_with_many_connections_leaves_one_with_one_its_half() {
    // The control: in one sandbox every connection has the same.
    let control = beside("sandbox:greedy", 100_000);
    assert!(control > 1_000_000, "{control}");
    let greedy = beside("bridge:n", 400_000);
    assert!(greedy < 2_000_000, "{greedy}");
}
