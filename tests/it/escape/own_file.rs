//! bryo's own file on the host, which a payload's process executes until it executes the payload.

use std::fs::File;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use super::{home_is_a_copy, sandbox};
use crate::support::{Invocation, Running, Stdin, World, bryo, copy};

/// Looks for a process that executes bryo, and changes the times of that file.
const ATTACK: &str = "ln -s /proc/self/exe again; echo up; for i in $(seq 600); do for p in /proc/[0-9]*; do \
    case $(readlink $p/exe 2>/dev/null) in *bryo*) touch -d @1 $p/exe && echo touched; exec sleep 1000;; esac; \
    done; sleep 0.05; done; echo nothing";

/// A bryo that belongs to the user, as `cargo install` leaves it, in place of the one that was built.
fn own(world: &World, run: Invocation) -> Invocation {
    let own = world.home().join("bin/bryo");
    run.under([
        std::ffi::OsStr::new("/bin/sh"),
        "-c".as_ref(),
        "shift; exec \"$0\" \"$@\"".as_ref(),
        own.as_ref(),
    ])
}

/// A sandbox of such a bryo in which the attack waits, and the link that is bryo again.
fn waits(world: &World, more: &[&str]) -> (Running, String) {
    world.folder("bin");
    copy(&bryo(), &world.home().join("bin/bryo"));
    let run = own(world, sandbox(world).args(["--name", "s"]).args(more));
    let running = run.start(ATTACK);
    running.says("up");
    (running, world.project().join("again").to_str().unwrap().to_owned())
}

fn end(running: Running) {
    running.kill(Signal::TERM);
    running.ends();
}

#[test]
fn without_landlock_it_is_a_copy_in_memory_that_is_reached() {
    // One without a layer has no record, by which it could be entered.
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let (running, again) = waits(&world, &["--landlock", "off"]);
    let file = || world.home().join("bin/bryo").metadata().unwrap();
    let before = file();
    // One that reads what nobody writes, and so stays.
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let entered = world
        .bryo(["exec", "-i", "s", &again, "run", "--env-file", "/dev/stdin", "--", "true"])
        .stdin(Stdin::File(File::from(read)))
        .starts();
    running.says("touched");
    assert_eq!(file().modified().unwrap(), before.modified().unwrap());
    drop(write);
    entered.ends();
    end(running);
}

#[test]
fn with_landlock_it_is_not_executed_inside() {
    // One without a layer has no record, by which it could be entered.
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let (running, again) = waits(&world, &[]);
    world.bryo(["exec", "s", &again, "--version"]).ends().exits_with(126).stderr_has("EACCES");
    end(running);
}

#[test]
fn a_copy_in_memory_runs_as_bryo_does() {
    let world = World::new();
    world.folder("bin");
    copy(&bryo(), &world.home().join("bin/bryo"));
    let run = |more: &[&str]| own(&world, sandbox(&world).args(more)).env("GIVEN", "a b");
    let says = "echo $GIVEN; cat /proc/1/comm; exit 7";
    let told = run(&["--landlock", "off", "-e", "GIVEN"]).run(says).exits_with(7);
    assert_eq!(told.stdout(), run(&["-e", "GIVEN"]).run(says).exits_with(7).stdout());
}
