//! The launcher is sent a signal at each moment of its life.

use std::os::unix::process::ExitStatusExt as _;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::{LATE, WRITES, calls, listed, moments, strace, usable_and_removed};
use crate::support::{Need, Overlay, World, has, overlay};

/// How many moments of a run are tried.
const MOMENTS: usize = 60;

/// What a run with this many killed launchers may leave: records, where anything is copy-on-write.
#[track_caller]
fn nothing_is_left(world: &World) {
    let (all, killed) = usable_and_removed(world);
    if overlay() == Overlay::None {
        assert_eq!(all, 0);
    } else {
        assert!(killed > 0, "none of {all} was interrupted with changes: no moment was a late one");
    }
}

#[test]
fn a_launcher_killed_at_any_of_its_calls_leaves_nothing() {
    let world = World::new();
    let mut hit = 0;
    for (index, moment) in moments(&world, MOMENTS).into_iter().enumerate() {
        // Before a late one: what a run has to put in order are calls too, and it would come early.
        if index >= MOMENTS - MOMENTS / LATE {
            listed(&world);
        }
        let ended = world.sandbox().under(strace("KILL", &moment, false)).run(WRITES);
        let killed = ended.status.signal() == Some(libc::SIGKILL);
        // A run may make a few calls less than the one they were taken from.
        assert!(killed || ended.status.success(), "{ended}");
        hit += usize::from(killed);
    }
    assert!(hit * 10 >= MOMENTS * 9, "only {hit} of {MOMENTS} moments were hit");
    nothing_is_left(&world);
}

#[test]
fn a_launcher_told_to_end_at_any_of_its_calls_leaves_nothing() {
    let world = World::new();
    for (signal, number) in [("TERM", libc::SIGTERM), ("INT", libc::SIGINT)] {
        for moment in moments(&world, MOMENTS / 2) {
            let ended = world.sandbox().under(strace(signal, &moment, false)).run(WRITES);
            let status = ended.status;
            // Before it can pass the signal on it dies of it; afterwards the payload does, or has ended.
            let fine = status.signal() == Some(number)
                || status.code() == Some(128 + number)
                || status.code() == Some(0);
            assert!(fine, "{signal} at {moment:?}:\n{ended}");
        }
    }
    usable_and_removed(&world);
}

#[test]
fn a_launcher_killed_after_any_time_leaves_nothing() {
    let world = World::new();
    for milliseconds in (0..50).step_by(3) {
        let running = world.sandbox().start("echo written >x; exec sleep 60");
        sleep(Duration::from_millis(milliseconds));
        running.kill(Signal::KILL);
        running.ends().dies_of(libc::SIGKILL);
    }
    usable_and_removed(&world);
}

#[test]
fn a_launcher_killed_while_it_brings_what_memory_held_leaves_all_of_it_or_says_that_it_is_gone() {
    const KILLS: usize = 24;
    if overlay() == Overlay::None || !has(Need::HeldLayers) {
        return;
    }
    let world = World::new();
    let script = "mkdir d; for n in 1 2 3 4 5 6 7 8; do echo $n >d/$n; ln d/$n d/again$n; done";
    let disk = ["--disk", "1m"];
    let all = calls(&world, &disk, script);
    // The last clone is that of the process that copies.
    let begin = all.iter().rposition(|(call, _)| call == "clone3").unwrap();
    let late = &all[begin..];
    let (mut whole, mut gone) = (0, 0);
    for index in 0..KILLS {
        let moment = &late[index * late.len() / KILLS];
        let ended = world.sandbox().args(disk).under(strace("KILL", moment, false)).run(script);
        if ended.status.signal() != Some(libc::SIGKILL) {
            continue;
        }
        for sandbox in super::listed(&world) {
            let id = super::id(&sandbox);
            let diff = world.bryo(["diff", &id, "--name-only"]).ends().succeeds();
            match diff.stdout().lines().count() {
                0 => {
                    diff.stderr_has("and that is gone: its run was killed");
                    gone += 1;
                }
                // The directory, and sixteen names.
                17 => {
                    diff.stderr_is("");
                    whole += 1;
                }
                other => panic!("{other} changes at {moment:?}"),
            }
            world.bryo(["rm", &id]).ends().succeeds();
        }
    }
    assert!(whole > 0 && gone > 0, "{whole} whole, {gone} gone");
}
