//! Many connections to one supervisor: each place is given back, and who ends the sandbox has one.

use super::{bryo, field, record, start, until, until_logged};
use crate::support::{Invocation, Stdin, World};

/// Speaks with the supervisor whose directory it stands in: `fill N` types more than the payload takes and attaches N
/// times more; `hold N` waits N times over; `deaf` takes its place and closes each connection.
const SPEAK: &str = r#"
import os, select, socket, sys

def connect(ask):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("/proc/self/cwd/control")
    s.send(b'J{"do":"%s"}' % ask)
    return s, s.recv(4096)

what = sys.argv[1]
if what == "fill":
    typist, _ = connect(b"attach")
    typist.setblocking(False)
    while select.select([], [typist], [], 0.5)[1]:
        typist.send(b"I" + bytes(4096))
    for n in range(int(sys.argv[2])):
        s, said = connect(b"attach")
        assert b"attached" in said, (n, said)
        s.close()
    print("filled")
elif what == "hold":
    held = [connect(b"wait") for _ in range(int(sys.argv[2]))]
    assert all(b"done" in said for _, said in held), held
    print("held", flush=True)
    print(sum(b"ended" in s.recv(4096) for s, _ in held), "ended")
else:
    os.rename("control", "real")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind("control")
    s.listen(9)
    print("deaf", flush=True)
    while select.select([s, 0], [], [], None)[0] == [s]:
        s.accept()[0].close()
    os.rename("real", "control")
"#;

fn speak(world: &World, id: &str, words: &[&str]) -> Invocation {
    let script = world.file("speak.py", SPEAK).display().to_string();
    let live = world.store().join(format!("live/{id}"));
    world.program("/usr/bin/python3", [&[script.as_str()], words].concat()).in_folder(&live)
}

fn descriptors(supervisor: u64) -> usize {
    std::fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().count()
}

#[test]
fn who_is_gone_leaves_his_place_though_the_payload_reads_no_input() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &["-i", "--name", "deaf"], "echo up; exec sleep 600");
    until_logged(&world, &id, "up");
    let supervisor = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
    let before = descriptors(supervisor);
    speak(&world, &id, &["fill", "300"]).ends().succeeds().stdout_is("filled\n");
    until("the places are given back", || descriptors(supervisor) <= before);
    bryo(&world, &["exec", &id, "true"]).succeeds();
    bryo(&world, &["restart", "-t", "0", &id]).succeeds();
    assert_ne!(record(&world, &id)["launcher"]["pid"], supervisor);
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
    assert_eq!(field(&world, &id, "state")["exited"]["signal"], 9);
}

#[test]
fn a_crowd_that_waits_keeps_nobody_from_ending_it() {
    let world = World::new();
    let script = "trap 'echo usr' USR1; echo up; while :; do sleep 0.02; done";
    let id = start(&world, &[], script);
    until_logged(&world, &id, "up");
    let crowd = speak(&world, &id, &["hold", "128"]).starts();
    crowd.says("held");
    let many = "too many commands are connected to its supervisor";
    bryo(&world, &["wait", &id]).refuses_with(&["cannot wait for sandbox", many]);
    bryo(&world, &["attach", "--no-stdin", &id]).refuses_with(&["cannot attach to", many]);
    bryo(&world, &["exec", &id, "true"]).refuses_with(&["cannot exec in", many]);
    bryo(&world, &["kill", "-s", "USR1", &id]).succeeds();
    until_logged(&world, &id, "usr");
    // More than there are places: each is told, and the sandbox runs on.
    let stop = |_| world.bryo(["stop", "-t", "1h", "-s", "CONT", &id]).leaves().starts();
    let stops: Vec<_> = (0..20).map(stop).collect();
    until("no place is left", || {
        bryo(&world, &["kill", "-s", "CONT", &id]).stderr().contains(many)
    });
    assert_eq!(field(&world, &id, "state"), "running");
    bryo(&world, &["rm", "-f", &id]).succeeds();
    crowd.ends().succeeds();
    for stop in stops {
        let ended = stop.ends();
        assert!(ended.status.success() || ended.stderr().contains(many), "{ended}");
    }
}

#[test]
fn everybody_who_waits_hears_of_the_end_that_one_more_asks_for() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "exec sleep 600");
    let crowd = speak(&world, &id, &["hold", "128"]).starts();
    crowd.says("held");
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
    crowd.ends().succeeds().stdout_is("held\n128 ended\n");
    assert_eq!(field(&world, &id, "state")["exited"]["signal"], 9);
}

#[test]
fn a_connection_that_ends_without_a_word_is_no_end_of_the_sandbox() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "exec sleep 600");
    let (read, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let deaf = speak(&world, &id, &["deaf"]).stdin(Stdin::File(read.into())).starts();
    deaf.says("deaf");
    let orders = [&["stop", "-t", "0"][..], &["restart"], &["kill"], &["wait"], &["attach"]];
    let orders = orders.map(|words| world.bryo([words, &[&id]].concat()).leaves().starts());
    for ordered in orders {
        ordered.ends().refuses_with(&["it runs on", "rm -f"]);
    }
    assert_eq!(field(&world, &id, "state"), "running");
    drop(held);
    deaf.ends().succeeds();
    // The control: with its own socket in its place it is stopped.
    bryo(&world, &["stop", "-t", "0", &id]).succeeds().stdout_is(&format!("{id}\n"));
    assert_eq!(field(&world, &id, "state")["exited"]["signal"], 9);
}

#[test]
fn what_programs_leave_behind_takes_few_descriptors_of_the_supervisor() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "exec sleep 600");
    let supervisor = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
    let listeners = || {
        let all = std::fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap();
        let links = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().contains("seccomp notify")).count()
    };
    // The control: the payload has one.
    assert_eq!(listeners(), 1);
    for _ in 0..60 {
        bryo(&world, &["exec", &id, "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & exit 0"])
            .succeeds();
    }
    assert_eq!(listeners(), 1 + 48);
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}
