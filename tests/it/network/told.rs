//! What is told of the members of a network: where each connects, what was refused to it.

use super::on_bed;

/// What a record says was refused, and how often.
const REFUSED: &str = "import json, sys; t = json.load(open(sys.argv[1]))['traffic']; \
    print([(r.get('name') or r['address'], r.get('port'), r['count'], r.get('allow')) for r in t['refused']], \
    t['more'], 'totals' in t)";

/// Sends where it may not, to as many places as there are.
const FLOOD: &str = "\
import socket
for port in range(1, 3001):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try: one.sendto(b'x', ('198.51.100.8', port))
    except OSError: pass
print('up', flush=True)
import time; time.sleep(60)
";

#[test]
fn each_member_is_told_of_what_it_did_itself_whatever_another_floods() {
    let what = "get good.test 80 good.test + look evil.test + look evil.test + tcp 198.51.100.8 82";
    let (told, _) = on_bed(|bryo, scripts| {
        std::fs::write(format!("{scripts}/flood.py"), FLOOD).unwrap();
        let run = |name: &str| format!("{bryo} run -q --rm --name {name} --network bridge:n");
        let (flood, quiet) = (run("flood"), run("quiet"));
        let form = "{{.Action}} {{.Name}} {{.Details}}";
        let events =
            format!("{bryo} events --since 1h --until 1ms -f event=connect -f event=refuse");
        format!(
            "{bryo} network create --dns 198.51.100.53 --allow good.test n >/dev/null\n\
             {flood} --report {scripts}/flood.json -- python3 {scripts}/flood.py >{scripts}/up & run=$!\n\
             until grep -q up {scripts}/up; do sleep 0.05; done\n\
             {quiet} --report {scripts}/quiet.json -- python3 {scripts}/payload.py '{what}' >/dev/null\n\
             kill $run; wait $run\n\
             {events} -f sandbox=quiet --format '{form}'\n\
             {events} -f sandbox=flood --format '{form}' | sed 's/port=[0-9]*,//' | sort | uniq -c | head -1\n\
             python3 -c \"{REFUSED}\" {scripts}/quiet.json\n\
             python3 -c \"import json; t = json.load(open('{scripts}/flood.json'))['traffic']; print(len(t['refused']), t['more'])\"\n\
             {bryo} network rm n"
        )
    });
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    // The second look at the same name is not told again.
    let expected = [
        "connect quiet address=198.51.100.7,name=good.test,port=80,protocol=tcp",
        "refuse quiet name=evil.test,protocol=dns,reason=no rule allows it",
        "refuse quiet address=198.51.100.8,port=82,protocol=tcp,reason=no rule allows it",
    ];
    assert_eq!(lines[..3], expected, "{told}");
    let flood: Vec<&str> = lines[3].split(' ').collect();
    let count: u32 = flood[0].parse().unwrap();
    assert!((32..=80).contains(&count) && flood[1..3] == ["refuse", "flood"], "{told}");
    let (listed, totals) = lines[4].rsplit_once(' ').unwrap();
    assert!(listed.starts_with("[('evil.test', None, "), "{told}");
    assert!(listed.ends_with("('198.51.100.8', 82, 1, '198.51.100.8:82')] 0"), "{told}");
    // What others sent cannot be told apart from what is its own.
    assert_eq!(totals, "False");
    let (most, more) = lines[5].split_once(' ').unwrap();
    assert_eq!(most, "64", "{told}");
    // A queue that is full loses some.
    assert!(more.parse::<u32>().unwrap() > 100, "{told}");
    assert_eq!(lines[6], "n");
}

/// Holds a connection to a host outside by each family, one to another member and one to itself; then says what became
/// of each, and how it is with a new one.
const HOLDS: &str = r#"
import errno, os, socket, sys
def ends(one):
    try: return one.recv(1)
    except OSError as e: return errno.errorcode[e.errno]
within = socket.create_server(("127.0.0.1", 0))
own, peer = socket.create_connection(within.getsockname()), within.accept()[0]
out = [socket.create_connection(to, 30) for to in (("198.51.100.7", 7), ("2001:db8::7", 7))]
beside = socket.create_connection(("web", 8000), 30)
print("up", flush=True)
for one in out: print(ends(one))
beside.settimeout(30)
print(ends(beside) if sys.argv[1] == "network" else beside.sendall(b"x") or beside.recv(1).decode())
own.sendall(b"x"); print(peer.recv(1).decode())
try: print(socket.create_connection(("198.51.100.7", 7), 30))
except OSError as e: print(errno.errorcode.get(e.errno, e))
"#;

/// Ends well as soon as its connection does.
const SEES: &str = r#"
import socket
one = socket.create_connection(("198.51.100.7", 7), 30)
print("up", flush=True)
try: one.recv(1)
except OSError: pass
"#;

/// Gives back what it is sent.
pub(super) const ECHOES: &str = r#"
import socket, threading
def serve(one):
    while got := one.recv(99): one.sendall(got)
listener = socket.create_server(("::", 8000), family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// In a pid namespace of its own, where there is one holder and one netstack: which of both is killed is `$3`.
const LOSES: &str = r#"
cd "$1"; BRYO=$2 victim=$3
pid() { for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = "$1" ] && [ "$(cut -d' ' -f3 $p/stat)" != Z ] && echo ${p#/proc/}; done; }
"$BRYO" network create --allow 0.0.0.0/0 --allow ::/0 n >/dev/null
"$BRYO" run -q --rm --name web --network bridge:n -- python3 "$1/echoes.py" >web & web=$!
until grep -sq up web; do sleep 0.05; done
"$BRYO" run -q --rm --name holds --report holds.json --network bridge:n -- python3 "$1/holds.py" $victim >holds & holds=$!
until grep -sq up holds; do sleep 0.05; done
kill -9 $(pid bryo-$victim)
wait $holds
tail -n +2 holds
grep -o '"network_loss": .*' holds.json
kill $web; wait $web
while [ -n "$(pid bryo-network)$(pid bryo-netstack)" ]; do sleep 0.02; done
"$BRYO" network rm n
"#;

fn lost(script: &str, victim: &str) -> String {
    let (told, _) = on_bed(|bryo, scripts| {
        let programs = [("holds.py", HOLDS), ("echoes.py", ECHOES), ("sees.py", SEES)];
        for (name, text) in programs.into_iter().chain([("loses.sh", script)]) {
            std::fs::write(format!("{scripts}/{name}"), text).unwrap();
        }
        let own = "unshare --user --map-current-user --keep-caps --pid --fork --kill-child --mount --mount-proc";
        format!("{own} sh {scripts}/loses.sh {scripts} {bryo} {victim}")
    });
    told
}

/// One that is not to outlive its network, one that is, one that is not and was taken from it on purpose, and one that sees it
/// and ends by itself.
const ENDS: &str = r#"
cd "$1"; BRYO=$2 victim=$3
pid() { for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = "$1" ] && [ "$(cut -d' ' -f3 $p/stat)" != Z ] && echo ${p#/proc/}; done; }
"$BRYO" network create n >/dev/null
begin() { "$BRYO" run -q --rm --name $1 --report $1.json --network bridge:n $2 -- sh -c "${3:-echo up; exec sleep 60}" >$1.out & }
begin stays; stays=$!
begin ends "--on-network-loss end"; ends=$!
begin away "--on-network-loss end"; away=$!
begin sees "--on-network-loss end" "exec python3 $1/sees.py"; sees=$!
for one in stays ends away sees; do until grep -sq up $one.out; do sleep 0.05; done; done
"$BRYO" network disconnect n away
kill -9 $(pid bryo-$victim)
wait $ends; echo $?
wait $sees; echo $?
for one in $stays $away; do kill -0 $one && echo goes on; kill $one; wait $one; done
grep -o '"exit": .*' ends.json sees.json
grep -o '"network_loss": .*' ends.json stays.json away.json
while [ -n "$(pid bryo-network)$(pid bryo-netstack)" ]; do sleep 0.02; done
"$BRYO" network rm n
"#;

#[test]
fn a_member_that_is_not_to_outlive_its_network_is_ended_with_it() {
    for (victim, loss) in [("netstack", "uplink"), ("network", "holder")] {
        let loss = format!("\"network_loss\": \"{loss}\"");
        let ended = ["ends", "sees"].map(|one| format!("{one}.json:\"exit\": \"network-lost\"\n"));
        let ended = ended.concat();
        let told = format!(
            "125\n125\ngoes on\ngoes on\n{ended}ends.json:{loss},\nstays.json:{loss},\nn\n"
        );
        assert_eq!(lost(ENDS, victim), told);
    }
}

#[test]
fn connections_of_members_end_with_what_carried_them_and_with_nothing_else() {
    let told = "ECONNABORTED\nECONNABORTED\nx\nx\nENETUNREACH\n\"network_loss\": \"uplink\",\nn\n";
    assert_eq!(lost(LOSES, "netstack"), told);
    let told = "ECONNABORTED\nECONNABORTED\nECONNABORTED\nx\nENETUNREACH\n\"network_loss\": \"holder\",\nn\n";
    assert_eq!(lost(LOSES, "network"), told);
}
