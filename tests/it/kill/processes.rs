//! Each process of a run is killed: while it starts, and while its payload writes.

use rustix::process::{Pid, Signal, kill_process};

use super::{Namespaces, WRITES, children, id, listed, strace, usable_and_removed};
use crate::support::{Ended, Overlay, Running, World, overlay, overlay_is_one_of};

/// What pid 1 and the payload's process call while they set up, and the launcher hardly at all.
const SET_UP: &[&str] = &[
    "fsopen",
    "fsconfig",
    "fsmount",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "umount2",
    "pivot_root",
    "sethostname",
    "setsid",
    "capset",
    "seccomp",
    "landlock_restrict_self",
    "prctl",
];

/// What the server of an overlay calls until it serves, and nobody else: it joins the namespaces, is confined,
/// becomes another program, which looks at its layers and answers the kernel.
const SERVER_SET_UP: &[&str] =
    &["setns", "chdir", "mkdir", "readlink", "lgetxattr", "fgetxattr", "writev"];

/// A run whose payload writes all the time, with its namespaces.
fn writing(world: &World) -> (Running, Namespaces) {
    let running = world
        .sandbox()
        .start("echo written >x; echo up; while :; do echo more >x; done 2>/dev/null");
    running.says("up\n");
    let namespaces = Namespaces::of(payload(&running));
    assert!(!namespaces.processes().is_empty(), "the control: the payload is seen");
    (running, namespaces)
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// pid 1 of a run, and the server of its overlay.
fn parts(running: &Running) -> (i32, Option<i32>) {
    let children = children(running.pid().as_raw_nonzero().get());
    let (servers, inits): (Vec<_>, Vec<_>) =
        children.into_iter().partition(|(_, name)| name.starts_with("fuse"));
    assert_eq!(inits.len(), 1, "{inits:?}");
    (inits[0].0, servers.first().map(|(pid, _)| *pid))
}

/// The payload's first process, which pid 1 has forked.
fn payload(running: &Running) -> i32 {
    let payload = children(parts(running).0);
    assert_eq!(payload.len(), 1, "{payload:?}");
    payload[0].0
}

/// Ends, with nobody left in the namespaces; the changes are there.
#[track_caller]
fn over(
    world: &World,
    running: Running,
    namespaces: &Namespaces,
    state: &serde_json::Value,
) -> Ended {
    let ended = running.ends();
    assert_eq!(namespaces.processes(), Vec::<String>::new());
    if overlay() != Overlay::None {
        let all = listed(world);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(&all[0]["state"], state, "{} {ended}", id(&all[0]));
    }
    usable_and_removed(world);
    ended
}

#[test]
fn a_launcher_that_is_killed_takes_a_busy_payload_with_it() {
    let world = World::new();
    let (running, namespaces) = writing(&world);
    running.kill(Signal::KILL);
    over(&world, running, &namespaces, &"died".into()).dies_of(libc::SIGKILL);
}

#[test]
fn an_init_that_is_killed_ends_the_run() {
    let world = World::new();
    let (running, namespaces) = writing(&world);
    kill(parts(&running).0);
    over(&world, running, &namespaces, &serde_json::json!({"exited": "lost"})).exits_with(137);
}

#[test]
fn a_payload_that_is_killed_from_outside_is_told_like_any_death() {
    let world = World::new();
    let (running, namespaces) = writing(&world);
    kill(payload(&running));
    over(&world, running, &namespaces, &serde_json::json!({"exited": {"signal": 9}}))
        .exits_with(137);
}

#[test]
fn a_server_of_an_overlay_that_is_killed_ends_the_run() {
    if !overlay_is_one_of(&[Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    let (running, namespaces) = writing(&world);
    kill(parts(&running).1.unwrap());
    over(&world, running, &namespaces, &serde_json::json!({"exited": "server-lost"}))
        .exits_with(125);
}

#[test]
fn all_processes_killed_together_leave_nothing() {
    let world = World::new();
    let (running, namespaces) = writing(&world);
    let (init, server) = parts(&running);
    // The launcher last, as it would otherwise take the others along.
    server.into_iter().chain([init]).for_each(kill);
    _ = kill_process(running.pid(), Signal::KILL);
    let ended = running.ends();
    assert!(!ended.status.success(), "{ended}");
    assert_eq!(namespaces.processes(), Vec::<String>::new());
    usable_and_removed(&world);
}

/// Kills whoever comes to one of these calls: to each of the first sixteen of one name, then to fewer. Every
/// step of the plan makes one. Gives how many were hit.
fn killed_at(world: &World, calls: &[&str]) -> usize {
    let mut refused = 0;
    for call in calls {
        for n in (1..16).chain((4..).map(|power| 1 << power)) {
            let moment = ((*call).to_owned(), n);
            let ended = world.sandbox().under(strace("KILL", &moment, true)).run(WRITES);
            // No process makes so many of these calls: it was a run like any other.
            if ended.status.success() {
                break;
            }
            refused += 1;
            assert!(ended.stdout().is_empty() || ended.stdout() == "up\n", "{ended}");
        }
    }
    usable_and_removed(world);
    refused
}

#[test]
fn a_process_killed_at_any_call_of_the_set_up_leaves_nothing() {
    let refused = killed_at(&World::new(), SET_UP);
    assert!(refused >= 60, "only {refused} moments of the set-up were hit");
}

#[test]
fn a_server_of_an_overlay_that_is_killed_while_it_starts_leaves_nothing() {
    if !overlay_is_one_of(&[Overlay::Fuse]) {
        return;
    }
    let refused = killed_at(&World::new(), SERVER_SET_UP);
    assert!(refused >= 30, "only {refused} moments of its start were hit");
}
