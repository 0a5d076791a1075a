//! Networks whose processes are stopped or gone: what they keep from being done, and what they do not.

use super::several::on_own_with;
use crate::support::World;

/// `soon COMMAND` prints what it does and how it ended, and whether that was before a holder would have been given up.
/// The processes are those of a pid namespace of its own: `of NAME` is the newest one that is called so.
const WORDS: &str = r#"
soon() { begun=$(date +%s); "$@" 2>&1; said=$?; [ $(($(date +%s) - begun)) -lt 10 ] && echo "soon $said" || echo "late $said"; }
of() { for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = "$1" ] && [ "$(cut -d' ' -f3 $p/stat)" != Z ] && echo ${p#/proc/}; done | sort -n | tail -1; }
gone() { while [ -e /proc/$1 ]; do sleep 0.02; done; }
events() { "$BRYO" events --since 1h --until 1ms -f event=network_connect -f event=network_disconnect --format '{{.Action}} {{.Details}}'; }
"#;

/// Tries where it may not.
const TRIES: &str = r#"
import socket, time
try: socket.create_connection(("198.51.100.8", 81), 30)
except OSError: print("up", flush=True)
time.sleep(60)
"#;

fn told(script: &str) -> String {
    on_own_with(&[("tries.py", TRIES)], &format!("{WORDS}{script}"))
}

/// The netstack of a network is stopped while a member ends.
const MEMBER_ENDS: &str = r#"
"$BRYO" network create --internal n >/dev/null
"$BRYO" run --verbose --rm -w / --read "$HOME/shown" --report "$HOME/report" --network bridge:n --name web -- \
    sh -c 'echo up; exec sleep 1001' >"$HOME/one" 2>"$HOME/said" & one=$!
up one; stack=$(of bryo-netstack)
kill -STOP $stack
kill $one
soon wait $one
grep -c '"refused": \[' "$HOME/report"
tr -s " \n" " " <"$HOME/said" | grep -o "what the network .n. refused to this run is not known"
kill -CONT $stack; gone $stack
# The control: one that answers, and nothing was refused.
"$BRYO" run --verbose --rm -w / --read "$HOME/shown" --report "$HOME/report" --network bridge:n -- sh -c true 2>"$HOME/said"
grep -c '"refused": \[' "$HOME/report"
grep -c known "$HOME/said"
until "$BRYO" network rm n >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn a_member_ends_while_its_netstack_is_stopped_and_what_was_refused_is_unknown() {
    let unknown = "what the network `n` refused to this run is not known";
    assert_eq!(told(MEMBER_ENDS), format!("soon 143\n0\n{unknown}\n1\n0\n"));
}

/// Of three networks one has its netstack stopped, one its holder.
const LISTS: &str = r#"
for n in 1 2 3; do "$BRYO" network create --internal n$n >/dev/null; done
start n1 -- sh -c 'echo up; exec sleep 1001' >"$HOME/one" & one=$!
up one; stack=$(of bryo-netstack)
start n2 --name web -- sh -c 'echo up; exec sleep 1002' >"$HOME/two" & two=$!
up two; holder=$(of bryo-network)
kill -STOP $stack $holder
form='{{.Name}} {{.Sandboxes}}'
soon "$BRYO" network ls --format "$form"
"$BRYO" network ls | awk 'NR > 1 {print $1, $4}'
soon "$BRYO" network inspect n1 | grep -E '"uplink"|"traffic"|"v4"|soon|late' | wc -l
soon "$BRYO" ps --format '{{.Names}} {{.Networks}}' --filter network=n2
kill -CONT $stack $holder
"$BRYO" network ls --format "$form"
kill $one $two; wait $one $two || :
until "$BRYO" network rm n1 n2 n3 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn a_network_that_does_not_answer_is_one_line_of_the_list() {
    let stopped = "n1 1\nn2 \nn3 0\nsoon 0\nn1 none\nn2 unknown\nn3 none\n3\nweb n2\nsoon 0\n";
    assert_eq!(told(LISTS), format!("{stopped}n1 1\nn2 1\nn3 0\n"));
}

/// Of three networks with somebody on the holder of one is stopped. Who needs that one is told so soon, and with what to do;
/// others go on.
const REFUSES: &str = r#"
for n in 1 2 3 4; do "$BRYO" network create --internal n$n >/dev/null; done
start n2 --name web -- sh -c 'echo up; exec sleep 1002' >"$HOME/two" & two=$!
up two; holder=$(of bryo-network)
start n3 -- sh -c 'echo up; exec sleep 1003' >"$HOME/three" & three=$!
up three
kill -STOP $holder
says() { "$@" >"$HOME/said" 2>&1; code=$?; sed "s/$holder/PID/g" "$HOME/said"; return $code; }
soon says run n2 -- true
# Others that want something of it hold up nobody, and each other neither.
for n in 1 2 3 4 5 6 7 8; do run n2 -- true 2>/dev/null & waits="$waits $!"; done
soon run n3 -- echo on another
soon wait $waits
for command in "rm n2" "prune -y" "connect n2 web" "disconnect n2 web"; do soon says "$BRYO" network $command | grep -v ^hint; done
kill -CONT $holder
run n2 -- echo on it
kill $two $three; wait $two $three || :
until "$BRYO" network rm n2 n3 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn who_needs_a_network_that_is_stopped_is_told_so_soon_and_others_go_on() {
    let stopped = "bryo: cannot speak with the holder of the network `n2`: it is stopped\n";
    let hint = "hint: `kill -CONT PID` lets it go on; `kill -KILL PID` ends it, and takes its network from those who are on it\n";
    let refused = format!("{stopped}soon 125\n");
    let others = "on another\nsoon 0\nsoon 125\n";
    let commands = format!("{refused}n1\nn4\n{refused}{refused}{refused}");
    let expected = format!("{stopped}{hint}soon 125\n{others}{commands}on it\n");
    assert_eq!(told(REFUSES), expected);
}

/// A sandbox is started again that was connected with a network whose holder is stopped.
const STARTS: &str = r#"
for n in 1 2; do "$BRYO" network create --internal n$n >/dev/null; done
start n2 -- sh -c 'echo up; exec sleep 1001' >"$HOME/other" & other=$!
up other; holder=$(of bryo-network)
"$BRYO" run -q -w / --read "$HOME/shown" --network bridge:n1 --name web -- sh -c 'echo up; exec sleep 1002' >"$HOME/web" & web=$!
up web
"$BRYO" network connect n2 web
kill $web; wait $web
kill -STOP $holder
soon "$BRYO" run -q -w / --read "$HOME/shown" --network bridge:n1 --continue web --timeout 2s -- sleep 60
# Of what was to connect it nothing is left; the control is one that does.
kill -CONT $holder
# One that was started meanwhile is in a user namespace of its own, and lays no cable to the other.
until [ "$(holders)" = $holder ]; do sleep 0.02; done
"$BRYO" run -q -w / --read "$HOME/shown" --network bridge:n1 --continue web -- \
    sh -c 'until grep -q eth1 /proc/net/dev; do sleep 0.05; done; echo connected'
kill $other; wait $other || :
"$BRYO" rm web >/dev/null
until "$BRYO" network rm n1 n2 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn a_run_is_watched_over_while_it_is_connected_again() {
    assert_eq!(told(STARTS), "soon 124\nconnected\n");
}

/// The holder of a network that a sandbox was connected with is killed.
const FORGETS: &str = r#"
for n in 1 2; do "$BRYO" network create --internal n$n >/dev/null; done
web() { "$BRYO" run -q -w / --read "$HOME/shown" --network bridge:n1 "$@" -- sh -c 'echo up; exec sleep 1002' >"$HOME/web" & web=$!; up web; }
web --name web
joined() { cat "$HOME"/.local/share/bryo/*/*/networks 2>/dev/null | grep -o '"network":"[^"]*"' | wc -l; }
"$BRYO" network connect n2 web; holder=$(of bryo-network)
kill -9 $holder; gone $holder
"$BRYO" network connect n2 web; holder=$(of bryo-network)
echo $(joined)
"$BRYO" ps --format '{{.Networks}}'
kill -9 $holder; gone $holder
"$BRYO" ps --format '{{.Networks}}'
"$BRYO" network disconnect n2 web; echo $? $(joined)
"$BRYO" network disconnect n2 web 2>&1 | head -1
# Of one that does not run, with a network that is gone, too.
"$BRYO" network connect n2 web
kill $web; wait $web
"$BRYO" ps -a --format '{{.Networks}}'
until "$BRYO" network rm n2 >/dev/null 2>&1; do sleep 0.05; done
rm "$HOME/web"; web --continue web
until events | grep -q error; do sleep 0.05; done
events | tail -1
kill $web; wait $web
"$BRYO" network disconnect n2 web; echo $? $(joined)
"$BRYO" network disconnect n2 web 2>&1 | head -1
"$BRYO" network disconnect n1 web 2>&1 | head -1
"$BRYO" rm web >/dev/null
until "$BRYO" network rm n1 >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn what_a_sandbox_was_connected_with_is_remembered_once_and_can_be_forgotten() {
    let absent = "bryo: cannot disconnect sandbox `web` from the network `n2`: it is not on it";
    let told = told(FORGETS);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..6], ["1", "n1,n2", "n1", "0 0", absent, "n1,n2"], "{told}");
    let failed = "network_connect error=cannot find a network `n2`,network=n2";
    let own = "bryo: cannot disconnect sandbox `web`: it is not running";
    assert_eq!(lines[6..], [failed, "0 0", absent, own], "{told}");
}

/// What a member may not is tried before it is disconnected.
const DISCONNECTED: &str = r#"
"$BRYO" network create --allow 198.51.100.7 n >/dev/null
start n --name web --report "$HOME/report" -- python3 "$HOME/shown/tries.py" >"$HOME/one" & one=$!
up one
"$BRYO" network disconnect n web
kill $one; wait $one
python3 -c 'import json, sys; print([(r["address"], r["port"], r["count"]) for r in json.load(open(sys.argv[1]))["traffic"]["refused"]])' "$HOME/report"
until "$BRYO" network rm n >/dev/null 2>&1; do sleep 0.05; done
"#;

#[test]
fn what_was_refused_to_a_member_is_told_also_when_it_is_disconnected() {
    assert_eq!(told(DISCONNECTED), "[('198.51.100.8', 81, 1)]\n");
}

#[test]
fn a_network_is_called_by_no_word_that_means_another() {
    let world = World::new();
    for name in [
        "none",
        "user",
        "host",
        "pasta",
        "slirp4netns",
        "bridge",
        "container",
        "sandbox",
        "default",
    ] {
        let made = world.bryo(["network", "create", "--internal", name]).ends();
        made.refuses_with(&["for `NETWORK`: that word means another network"]);
    }
    // One that is there from before can be removed.
    let made = world.bryo(["network", "create", "--internal", "old"]).ends();
    made.succeeds();
    let (old, user) = (world.store().join("networks/old"), world.store().join("networks/user"));
    std::fs::rename(&old, &user).unwrap();
    let definition = user.join("network.json");
    let text = std::fs::read_to_string(&definition).unwrap();
    std::fs::write(definition, text.replace("\"old\"", "\"user\"")).unwrap();
    world.bryo(["network", "ls", "-q"]).ends().stdout_is("user\n");
    world.bryo(["network", "rm", "user"]).ends().succeeds().stdout_is("user\n");
}
