//! A member of a network that takes all there is of something, and what is left for another.

use super::on_bed;

/// Takes who comes to its port 80, and, once it is told, connections and flows of datagrams, for as long as it gets any; then
/// goes on trying.
const GREEDY: &str = r#"
import socket, sys, threading, time
held = []
def serve():
    listener = socket.create_server(("", 80), backlog=512)
    while True:
        one, _ = listener.accept()
        held.append(one)
        one.sendall(b"in")
threading.Thread(target=serve, daemon=True).start()
begins = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
begins.bind(("", 81))
print("up", flush=True)
begins.recv(1)
def takes():
    one = socket.socket()
    one.settimeout(6)
    try: one.connect(("198.51.100.7", 7))
    except TimeoutError: return False
    held.append(one)
    return True
taken = 0
while takes(): taken += 1
for number in range(200):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.sendto(b"x", ("198.51.100.7", 9))
    held.append(one)
print("full", taken, flush=True)
while True: takes()
"#;

/// Comes to a port of this machine, again and again, until nobody is there for it; then stays.
const CLIENTS: &str = r#"
import socket, sys, time
held = []
while True:
    one = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    one.settimeout(6)
    try:
        if one.recv(2) != b"in": break
    except TimeoutError: break
    except ConnectionError: time.sleep(0.05); continue
    held.append(one)
print("crowd", len(held), flush=True)
time.sleep(600)
"#;

/// Holds a connection outside from the beginning to the end, and has one client.
const MODEST: &str = r#"
import socket, sys
listener = socket.create_server(("", 80))
held = socket.create_connection(("198.51.100.7", 7), 30)
print("up", flush=True)
one, _ = listener.accept()
one.sendall(b"in")
held.settimeout(1)
try: print("ended", held.recv(1))
except TimeoutError: print("stands")
"#;

/// Who comes first starts what all share: its files are few, so that all is taken soon.
const TAKES: &str = r#"
cd "$1"; BRYO=$2
until_says() { until grep -sq "$2" "$1"; do sleep 0.05; done; }
run() { "$BRYO" run -q --rm --network bridge:n "$@"; }
"$BRYO" network create --dns 198.51.100.53 --allow 0.0.0.0/0 --allow good.test n >/dev/null
(ulimit -n 180; exec "$BRYO" run -q --rm --network bridge:n --name first -- sh -c 'echo up; exec sleep 600') >first & first=$!
until_says first up
"$BRYO" run -q --rm --network bridge:n --name greedy -p 8000:80 -p 8002:81/udp -- python3 "$1/greedy.py" >greedy & greedy=$!
until_says greedy up
python3 "$1/clients.py" 8000 >clients & clients=$!
until_says clients crowd
python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 8002))'
until_says greedy full
run --name modest -p 8001:80 -- python3 "$1/modest.py" >modest & modest=$!
until_says modest up
python3 -c 'import socket; one = socket.create_connection(("127.0.0.1", 8001)); one.settimeout(30); print(one.recv(2).decode())'
run -- python3 "$1/payload.py" 'look good.test + get good.test 80 good.test + udp 198.51.100.7 9 + ping 198.51.100.7'
wait $modest
cat greedy clients modest
kill $clients
kill $first $greedy; wait $first $greedy
"$BRYO" network rm n
"#;

#[test]
fn who_takes_everything_leaves_what_another_needs() {
    let (told, _) = on_bed(|bryo, scripts| {
        let programs = [("greedy.py", GREEDY), ("clients.py", CLIENTS), ("modest.py", MODEST)];
        for (name, text) in programs.into_iter().chain([("takes.sh", TAKES)]) {
            std::fs::write(format!("{scripts}/{name}"), text).unwrap();
        }
        format!("sh {scripts}/takes.sh {scripts} {bryo}")
    });
    let mut lines: Vec<&str> = told.lines().collect();
    // The control: it was refused more, and so were its clients.
    let many = |line: &str, word| {
        let count = line.strip_prefix(word).unwrap().parse::<u32>().unwrap();
        assert!((10..160).contains(&count), "{told}");
    };
    many(lines.remove(6), "full ");
    many(lines.remove(6), "crowd ");
    let found = ["in", "198.51.100.7", "served good.test", "answered", "answered"];
    let expected = [&found[..], &["up", "up", "stands", "n"]].concat();
    assert_eq!(lines, expected, "{told}");
}

/// Sends datagrams as fast as this machine's processors can, each to another port, which is what costs most to take.
const FLOOD: &str = r#"
import os, socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.sendto(b"x", ("198.51.100.7", 9)); one.recv(9)
print("up", flush=True)
for _ in range(1, os.cpu_count()):
    if os.fork() == 0: break
while True:
    for port in range(1000, 60000):
        try: one.sendto(b"x", ("198.51.100.7", port))
        except OSError: pass
"#;

/// How many of 20 datagrams came back, each sent once.
const ASKS: &str = r#"
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.connect(("198.51.100.7", 9)); one.settimeout(0.2)
back = 0
for number in range(20):
    one.send(b"%d" % number)
    try:
        while one.recv(99) != b"%d" % number: pass
        back += 1
    except OSError: pass
print(back)
"#;

/// In turns, one who shares the flooding member's own place, and so its part of the way out, and another member, until this one
/// clearly had more; at last that one without a flood. How many get through at all is a matter of who else works on this machine.
const FLOODS: &str = r#"
cd "$1"; BRYO=$2
asks() { "$BRYO" run -q --rm --network $1 -- python3 "$PWD/asks.py"; }
"$BRYO" network create --allow 0.0.0.0/0 n >/dev/null
"$BRYO" run -q --rm --network bridge:n --name flood -- python3 "$1/flood.py" >flood & flood=$!
until grep -sq up flood; do sleep 0.05; done
turn=0 more=0
while [ $turn -lt 10 ] && [ $more -lt 10 ]; do
    own=$(asks sandbox:flood) other=$(asks bridge:n)
    turn=$((turn + 1)) more=$((more + other - own))
    echo $turn $own $other
done
echo $more
kill $flood; wait $flood
echo $(asks bridge:n)
until "$BRYO" network rm n >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn who_floods_the_way_out_is_held_back_before_another_is() {
    let (told, _) = on_bed(|bryo, scripts| {
        let programs = [("flood.py", FLOOD), ("asks.py", ASKS), ("floods.sh", FLOODS)];
        for (name, text) in programs {
            std::fs::write(format!("{scripts}/{name}"), text).unwrap();
        }
        format!("sh {scripts}/floods.sh {scripts} {bryo}")
    });
    let mut last = told.lines().rev().map(str::parse::<i32>);
    let (quiet, more) = (last.next().unwrap(), last.next().unwrap());
    assert!(quiet == Ok(20) && more.is_ok_and(|more| more >= 10), "{told}");
}
