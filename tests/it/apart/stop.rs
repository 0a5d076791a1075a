//! Stopping, killing, waiting: one, several, all at once, and what is not there.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, Signal, kill_process};

use super::{bryo, field, has_open, record, start, until, until_logged};
use crate::support::World;

const POLITE: &str = "trap 'echo got; exit 4' TERM; trap 'echo int; exit 5' INT; echo up; while :; do sleep 0.02; done";
const STUBBORN: &str = "trap '' TERM; echo up; while :; do sleep 0.02; done";

#[test]
fn a_stop_asks_first_and_kills_then() {
    let world = World::new();
    world.keeps(4);
    let polite = start(&world, &[], POLITE);
    let own = start(&world, &["--stop-signal", "INT"], POLITE);
    let other = start(&world, &[], POLITE);
    let stubborn = start(&world, &["--stop-timeout", "1s"], STUBBORN);
    for id in [&polite, &own, &other, &stubborn] {
        until_logged(&world, id, "up");
    }
    let all = format!("{polite}\n{own}\n{stubborn}\n");
    bryo(&world, &["stop", &polite, &own, &stubborn]).succeeds().stdout_is(&all);
    bryo(&world, &["stop", "-s", "INT", &other]).succeeds();
    let waited = bryo(&world, &["wait", &polite, &own, &other, &stubborn]);
    waited.succeeds().stdout_is("4\n5\n5\n137\n");
    // Stopped already.
    bryo(&world, &["stop", &polite]).succeeds().stdout_is(&format!("{polite}\n"));
}

#[test]
fn each_that_cannot_be_done_is_told_and_the_others_are_done() {
    let world = World::new();
    world.keeps(2);
    let ended = start(&world, &[], "true");
    bryo(&world, &["wait", &ended]).succeeds().stdout_is("0\n");
    let runs = start(&world, &[], "sleep 60");
    bryo(&world, &["kill", "nobody", &ended, &runs])
        .exits_with(125)
        .stdout_is(&format!("{runs}\n"))
        .stderr_has("cannot find a sandbox `nobody`")
        .stderr_has(&format!("cannot kill sandbox `{ended}`: it is not running"));
    bryo(&world, &["wait", &runs]).succeeds().stdout_is("137\n");
    for verb in
        ["stop", "kill", "wait", "start", "restart", "pause", "unpause", "rm", "logs", "attach"]
    {
        bryo(&world, &[verb, "nobody"]).refuses_with(&["bryo: cannot find a sandbox `nobody`"]);
    }
    for verb in ["kill", "pause", "unpause", "attach"] {
        bryo(&world, &[verb, &ended]).refuses_with(&["it is not running", "bryo start"]);
    }
    bryo(&world, &["kill", "-s", "0", &runs]).refuses_with(&["`0`", "signal"]);
}

#[test]
fn what_is_killed_has_ended_when_that_is_told() {
    let world = World::new();
    world.keeps(1);
    for flags in [&[][..], &["--restart", "always"]] {
        for _ in 0..10 {
            let id = start(&world, &[flags, &["--name", "ks"]].concat(), "sleep 1000");
            bryo(&world, &["kill", "ks"]).succeeds();
            assert_eq!(field(&world, "ks", "state")["exited"]["signal"], 9);
            bryo(&world, &["diff", "ks"]).succeeds().stderr_is("");
            // The name of what runs would be refused.
            assert_eq!(start(&world, &["--name", "ks"], "sleep 1000"), id);
            bryo(&world, &["kill", "ks"]).succeeds();
            bryo(&world, &["rm", "ks"]).succeeds();
        }
    }
    start(&world, &["--name", "ks"], POLITE);
    until_logged(&world, "ks", "up");
    // Any other signal is sent and not waited for.
    bryo(&world, &["kill", "-s", "USR2", "ks"]).succeeds();
    bryo(&world, &["stop", "-t", "0", "ks"]).succeeds();
}

#[test]
fn one_in_somebodys_foreground_is_stopped_too() {
    // Without a layer a run in the foreground is in no store.
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    let running = world.sandbox().args(["--rm", "--name", "front"]).start(POLITE);
    running.says("up");
    bryo(&world, &["pause", "front"]).refuses_with(&["control group", "--cpu-weight 100"]);
    for verb in ["logs", "attach"] {
        bryo(&world, &[verb, "front"]).refuses_with(&["--detach"]);
    }
    bryo(&world, &["stop", "front"]).succeeds();
    running.ends().exits_with(4);
    let running = world.sandbox().args(["--rm", "--name", "front"]).start(STUBBORN);
    running.says("up");
    bryo(&world, &["stop", "-t", "300ms", "front"]).succeeds();
    running.ends().dies_of(9);
    // Nobody was left to take it away.
    assert_eq!(field(&world, "front", "state"), serde_json::Value::Null);
}

#[test]
fn no_cgroup_no_pause() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "sleep 60");
    for verb in ["pause", "unpause"] {
        bryo(&world, &[verb, &id]).refuses_with(&[
            &format!("cannot {verb} sandbox `{id}`"),
            "control group",
            "--cpu-weight 100",
        ]);
    }
    assert_eq!(field(&world, &id, "state"), "running");
    bryo(&world, &["rm", &id]).refuses_with(&["it is running", "rm -f"]);
    bryo(&world, &["kill", &id]).succeeds();
    bryo(&world, &["wait", &id]).succeeds();
}

#[test]
fn a_storm_of_orders_ends_in_one_state() {
    let world = World::new();
    for _ in 0..3 {
        let id = start(&world, &["--name", "storm"], POLITE);
        let orders = [
            vec!["stop", "storm"],
            vec!["kill", &id],
            vec!["rm", "-f", "storm"],
            vec!["rename", "storm", "gale"],
            vec!["restart", "-t", "1", "storm"],
            vec!["wait", &id],
            vec!["logs", "-f", "storm"],
            vec!["start", "storm"],
            vec!["rm", "-f", &id],
        ];
        let all: Vec<_> = orders
            .iter()
            .cycle()
            .take(27)
            .map(|words| world.bryo(words).leaves().starts())
            .collect();
        for running in all {
            let ended = running.ends();
            let code = ended.status.code();
            // A follower ends with its sandbox; whoever came too late says so in one sentence.
            assert!(matches!(code, Some(0 | 125)), "{ended}");
            assert!(
                ended.stderr().lines().filter(|line| line.starts_with("bryo:")).count() <= 1,
                "{ended}"
            );
        }
        let left = bryo(&world, &["ps", "-aq"]).succeeds().stdout();
        for id in left.lines() {
            bryo(&world, &["rm", "-f", id]).succeeds();
        }
        until("nothing is left", || bryo(&world, &["ps", "-aq"]).stdout().is_empty());
    }
}

#[test]
fn the_socket_is_not_to_be_had_inside() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "sleep 60");
    let pid = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
    let socket = world.store().join(format!("live/{id}/control"));
    let ask = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(20)
try:
    s.connect(sys.argv[1]); s.send(b'J{"do":"signal","number":10}'); print(s.recv(100))
except OSError as e:
    print(type(e).__name__)
"#;
    let script = world.file("project/ask.py", ask);
    let at = socket.to_str().unwrap().to_owned();
    let python = |program: crate::support::Invocation| program.ends().succeeds().stdout();
    // The control: outside it is answered.
    let outside =
        world.program("/usr/bin/python3", [script.to_str().unwrap(), "/proc/self/cwd/control"]);
    let outside = python(outside.in_folder(socket.parent().unwrap()));
    assert!(outside.contains("done"), "{outside}");
    // USR1 has ended it: another one to ask.
    bryo(&world, &["wait", &id]).succeeds().stdout_is("138\n");
    bryo(&world, &["start", &id]).succeeds();
    let inside = world.sandbox().args(["--rm", "--", "/usr/bin/python3", "ask.py", &at]).ends();
    inside.succeeds().stdout_is("FileNotFoundError\n");
    // A process of another user namespace that does see it is let go.
    let other = world.program(
        "/usr/bin/unshare",
        ["-U", "/usr/bin/python3", script.to_str().unwrap(), "/proc/self/cwd/control"],
    );
    let other = python(other.in_folder(socket.parent().unwrap()));
    assert!(!other.contains("done"), "{other}");
    assert_eq!(field(&world, &id, "state"), "running");
    assert_ne!(pid, 0);
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}

#[test]
fn what_happened_is_told_in_order_and_to_who_watches() {
    let world = World::new();
    let watching = world.bryo(["events", "--json", "--filter", "event=die"]).leaves().starts();
    let id = start(&world, &["--name", "told", "--label", "tier=web"], "exit 3");
    bryo(&world, &["wait", "told"]).succeeds();
    // There was no store when it began.
    until("it watches", || has_open(watching.pid(), "inotify"));
    let shown = bryo(
        &world,
        &[
            "ps",
            "--filter",
            "exited=3",
            "--filter",
            "label=tier",
            "--format",
            "{{.Names}} {{.Labels}}",
        ],
    );
    shown.succeeds().stdout_is("told tier=web\n");
    bryo(&world, &["ps", "--filter", "status=running", "-q"]).succeeds().stdout_is("");
    bryo(&world, &["ps", "-lq"]).succeeds().stdout_is(&format!("{id}\n"));
    bryo(&world, &["ps", "--format", "{{.Name}}"]).refuses_with(&["Names"]);
    bryo(&world, &["__complete", "start"]).succeeds().stdout_is("told\n");
    bryo(&world, &["__complete", "stop"]).succeeds().stdout_is("");
    bryo(&world, &["rename", "told", "again"]).succeeds();
    bryo(&world, &["start", "again"]).succeeds();
    bryo(&world, &["wait", "again"]).succeeds();
    watching.says("\"name\":\"again\"").kill(Signal::TERM);
    drop(watching.ends());
    bryo(&world, &["rm", "again"]).succeeds();
    let events = bryo(&world, &["events", "--since", "1h", "--until", "1ms"]).succeeds().stdout();
    let words: Vec<&str> = events.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(words, ["create", "start", "die", "rename", "start", "die", "destroy"], "{events}");
    assert!(events.contains(&format!("die {id} (name=told, exit=3)")), "{events}");
    assert!(events.contains(&format!("rename {id} (name=again, old=told)")), "{events}");
    let template = ["--filter", "event=die", "--format", "{{.Action}} {{.ID}} {{.Details}}"];
    let words = [&["events", "--since", "1h", "--until", "1ms"][..], &template].concat();
    bryo(&world, &words).succeeds().stdout_is(&format!("die {id} exit=3\n").repeat(2));
    bryo(&world, &["events", "--format", "{{.Id}}"]).refuses_with(&["{{.Id}}", "ID"]);
    bryo(&world, &["events", "--filter", "event=x"]).refuses_with(&["event=x", "destroy"]);
}

#[test]
fn the_end_of_a_run_in_the_foreground_of_which_nothing_is_left_is_told_to_who_waits() {
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    for (command, flags, code) in
        [("stop", &["--rm"][..], 4), ("stop", &[], 4), ("kill", &["--rm"], 137)]
    {
        let running = world.sandbox().args(flags).start(POLITE);
        running.says("up");
        let id = bryo(&world, &["ps", "-q"]).succeeds().stdout();
        let waiting = world.bryo(["wait", id.trim()]).leaves().starts();
        until("it waits", || has_open(waiting.pid(), "pidfd"));
        bryo(&world, &[command, id.trim()]).succeeds();
        waiting.ends().succeeds().stdout_is(&format!("{code}\n"));
        drop(running.ends());
        bryo(&world, &["wait", id.trim()]).refuses_with(&["cannot find a sandbox"]);
    }
}

#[test]
fn one_whose_supervisor_is_stopped_says_so_and_nobody_has_to_wait_for_it() {
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let id = start(&world, &["--rm"], "exec sleep 1000");
    let pid = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let goes_on = format!("kill -CONT {}", pid.as_raw_nonzero());
    let asked = ["stop", "wait", "attach"].map(|command| world.bryo([command, &id]).starts());
    // All three are pipes, whose end is waited for: nothing of the caller's stays in the supervisor's socket.
    let exec = |words: &[&str]| world.bryo(["exec", &id].iter().chain(words)).leaves().starts();
    // Who does not want to wait does not, and what he wanted is not done later.
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let waiting = exec(&["touch", "/tmp/late"]);
        until("it takes its signals", || blocks_signals(waiting.pid()));
        waiting.kill(signal);
        waiting.ends().exits_with(code).stderr_has("interrupted by SIG");
    }
    let parts = ["its supervisor does not answer", "hint: it is stopped", &goes_on];
    for asked in asked.into_iter().chain([exec(&["true"])]) {
        asked.ends().refuses_with(&parts);
    }
    // Nor does anybody wait who finds so many before the door that no more may wait there.
    let crowd = crowd_at(&world, &id);
    let asked = ["stop", "wait", "attach"].map(|command| world.bryo([command, &id]).starts());
    for asked in asked.into_iter().chain([exec(&["touch", "/tmp/late"])]) {
        asked.ends().refuses_with(&parts);
    }
    drop(crowd);
    kill_process(pid, Signal::CONT).unwrap();
    // The control: what somebody waits for is done.
    bryo(&world, &["exec", &id, "touch", "/tmp/early"]).succeeds();
    bryo(&world, &["exec", &id, "ls", "/tmp"]).succeeds().stdout_is("early\n");
    bryo(&world, &["rm", "-f", &id]).succeeds();
}

/// As many connections to a supervisor that is stopped as may wait to be let in.
fn crowd_at(world: &World, id: &str) -> Vec<OwnedFd> {
    let directory = std::fs::File::open(world.store().join("live").join(id)).unwrap();
    let path = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
    let address = SocketAddrUnix::new(path).unwrap();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let mut crowd = Vec::new();
    loop {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => crowd.push(socket),
            Err(errno) => {
                assert_eq!(errno, rustix::io::Errno::AGAIN);
                return crowd;
            }
        }
    }
}

/// Whether a process takes its signals by itself from now on, which it does before it asks anybody.
fn blocks_signals(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
    blocked.is_some_and(|mask| u64::from_str_radix(mask, 16).unwrap() & (1 << 14) != 0)
}
