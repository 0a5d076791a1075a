//! Many runs, at once and one after another.

use std::time::Duration;

use rustix::process::Signal;

use super::usable_and_removed;
use crate::support::{Overlay, Running, World, overlay, overlay_is_one_of};

#[test]
fn a_hundred_at_once_that_are_killed_leave_nothing() {
    const CROWD: usize = 100;
    let world = World::new();
    let start = |_| {
        let run = world.sandbox().patience(Duration::from_mins(4));
        run.start("echo written >x; echo up; exec sleep 600")
    };
    let crowd: Vec<Running> = (0..CROWD).map(start).collect();
    for running in &crowd {
        running.says("up\n");
    }
    for running in &crowd {
        running.kill(Signal::KILL);
    }
    for running in crowd {
        running.ends().dies_of(libc::SIGKILL);
    }
    let expected = if overlay() == Overlay::None { 0 } else { CROWD };
    assert_eq!(usable_and_removed(&world), (expected, expected));
}

#[test]
fn two_hundred_in_a_row_leave_nothing() {
    if !overlay_is_one_of(&[Overlay::Kernel]) {
        return;
    }
    let world = World::new();
    for n in 0..200 {
        if n % 10 == 9 {
            let running = world.sandbox().start("echo written >x; echo up; exec sleep 600");
            running.says("up\n").kill(Signal::KILL);
            running.ends().dies_of(libc::SIGKILL);
        } else {
            world.sandbox().run("true").succeeds().stderr_is("");
        }
    }
    assert_eq!(usable_and_removed(&world), (20, 20));
}
