//! `bryo exec`: one more program in a sandbox that runs. One without a layer leaves no record by which to find it.

use rustix::process::Signal;

use super::applies;
use crate::support::{Ended, Running, Terminal, World};

/// A sandbox that runs in the foreground of nobody who looks, under the name `s`.
fn sandbox(world: &World) -> Running {
    let script = "echo mark >/tmp/mark; export IN=side; echo up; exec sleep 1000";
    let running = world.sandbox().args(["--rm", "--name", "s", "-e", "GIVEN=1"]).start(script);
    running.says("up");
    running
}

fn exec<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    ["exec"].into_iter().chain(words).map(str::to_owned).collect()
}

/// Waits until so many programs inside are `sleep`.
#[track_caller]
fn until_it_sleeps(world: &World, times: u32) {
    let count = format!(
        "until [ $(grep -lx sleep /proc/[0-9]*/comm | wc -l) = {times} ]; do sleep 0.05; done"
    );
    world.bryo(exec(["s", "sh", "-c", &count])).ends().succeeds();
}

fn end(running: Running) {
    running.kill(Signal::TERM);
    running.ends().exits_with(143);
}

#[test]
fn a_program_sees_and_may_what_the_payload_sees_and_may() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    let script = "cat /tmp/mark; echo $GIVEN[$IN]; pwd; set -- /proc/[0-9]*; echo $#; \
                  until grep -x sleep /proc/2/comm; do :; done; touch /usr/x 2>&1 | grep -c touch; cat; exit 7";
    let project = world.project().to_str().unwrap().to_owned();
    world
        .bryo(exec(["s", "sh", "-c", script]))
        .stdin(crate::support::Stdin::Text(b"typed\n".to_vec()))
        .ends()
        .exits_with(7)
        .stdout_is(&format!("mark\n1[]\n{project}\n3\nsleep\n1\ntyped\n"));
    // What is written is in the same layer, or on the same temporary file system.
    world.bryo(exec(["s", "sh", "-c", "echo more >>/tmp/mark"])).ends().succeeds();
    world.bryo(exec(["s", "--", "cat", "/tmp/mark"])).ends().succeeds().stdout_is("mark\nmore\n");
    end(running);
}

#[test]
fn flags_say_where_who_and_with_what() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    world
        .bryo(exec([
            "-w",
            "/usr",
            "-e",
            "GIVEN=2",
            "-e",
            "MORE=3",
            "s",
            "sh",
            "-c",
            "pwd; echo $GIVEN $MORE",
        ]))
        .ends()
        .succeeds()
        .stdout_is("/usr\n2 3\n");
    world
        .bryo(exec(["-i=false", "s", "cat"]))
        .stdin(crate::support::Stdin::Text(b"x".to_vec()))
        .ends()
        .succeeds()
        .stdout_is("");
    world.bryo(exec(["-u", "4711", "s", "id"])).ends().refuses_with(&[
        "4711",
        "does not map it",
        "--ids subid",
    ]);
    world
        .bryo(exec(["s", "no-such-program"]))
        .ends()
        .exits_with(127)
        .stderr_has("cannot find `no-such-program`");
    world.bryo(exec(["s", "/etc/passwd"])).ends().exits_with(126).stderr_has("cannot execute");
    world
        .bryo(exec(["-w", "/no/where", "s", "true"]))
        .ends()
        .refuses_with(&["cannot start in `/no/where`"]);
    world.bryo(exec(["s"])).ends().refuses_with(&["command"]);
    world.bryo(exec::<'_>([])).ends().refuses_with(&["sandbox"]);
    world.bryo(exec(["nobody", "true"])).ends().refuses_with(&["nobody"]);
    world.bryo(exec(["s", "sh", "-c", "kill -9 $$"])).ends().exits_with(137);
    end(running);
}

#[test]
fn privileges_are_refused_with_what_to_take_instead() {
    let words = exec(["--privileged", "s", "true"]);
    let parts = ["--privileged", "confined", "--cap-add"];
    World::new().bryo(words).ends().refuses_with(&parts);
    // Nothing it would leave goes on without it.
    let words = exec(["--detach-keys", "ctrl-x", "s", "true"]);
    World::new().bryo(words).ends().refuses_with(&["ends with the command", "`--detach`"]);
}

#[test]
fn a_signal_ends_the_program_and_not_the_sandbox() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    let entered = world.bryo(exec(["s", "sh", "-c", "echo in; exec sleep 1000"])).starts();
    entered.says("in").kill(Signal::TERM);
    entered.ends().exits_with(143);
    // However it ends, its program ends too.
    let entered = world.bryo(exec(["s", "sh", "-c", "echo in; exec sleep 1000"])).starts();
    entered.says("in").kill(Signal::KILL);
    entered.ends();
    until_it_sleeps(&world, 1);
    end(running);
}

#[test]
fn the_sandbox_ends_with_its_payload_whoever_is_in_it() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    let entered = world.bryo(exec(["s", "sh", "-c", "echo in; exec sleep 1000"])).starts();
    entered.says("in");
    world.bryo(exec(["s", "kill", "-9", "2"])).ends();
    running.ends().exits_with(137);
    is_told(&entered.ends());
    world.bryo(exec(["s", "true"])).ends().refuses_with(&["`s`"]);
}

/// Whoever would have told how a program ended may be killed with it; that is then said.
#[track_caller]
fn is_told(ended: &Ended) {
    // Whether or not somebody could still tell by what: it ran, and was killed.
    assert_eq!(ended.status.code(), Some(137), "{ended}");
}

#[test]
fn with_a_killed_supervisor_ends_what_entered_and_that_is_told() {
    if !applies() {
        return;
    }
    let world = World::new();
    for _ in 0..8 {
        let running = sandbox(&world);
        let entered = world.bryo(exec(["s", "sh", "-c", "echo in; exec sleep 1000"])).starts();
        entered.says("in");
        running.kill(Signal::KILL);
        running.ends();
        is_told(&entered.ends());
        world.bryo(["rm", "-f", "s"]).ends();
    }
}

#[test]
fn many_enter_at_once() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    let all: Vec<Running> = (0..12)
        .map(|_| world.bryo(exec(["s", "sh", "-c", "echo in; sleep 0.5; exit 3"])).starts())
        .collect();
    for one in all {
        one.ends().exits_with(3).stdout_is("in\n");
    }
    end(running);
}

#[test]
fn a_shell_at_a_terminal_works_as_one() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    let mut terminal: Terminal = world
        .bryo(exec(["-e", "PS1=in> ", "s", "sh", "-i"]))
        .under(["/bin/bash", "--norc", "--noediting", "-i", "-c", "\"$@\"; echo left $?", "-"])
        .on_terminal();
    terminal.shows("in> ").types("stty size; tty\r").shows("24 80").shows("/dev/pts/");
    terminal.resize(31, 99);
    terminal.types("stty size\r").shows("31 99");
    terminal.types("sh -c 'echo sta''rt; exec sleep 1000'\r").shows("start\r\n");
    terminal.types("\x03").shows("in> ");
    terminal.types("exit 5\r").shows("left 5");
    terminal.ends().succeeds();
    end(running);
}

#[test]
fn what_is_detached_goes_on_without_the_command_and_ends_with_the_sandbox() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    let script = "for n in 0 1 2; do [ /proc/$$/fd/$n -ef /dev/null ] || other=$other$n; done; \
                  echo \"[$other]\" >/tmp/fds; echo on >/tmp/fds.done; exec sleep 4711";
    let run = |words: &[&str]| world.bryo(exec(words.iter().copied())).ends();
    run(&["-d", "s", "sh", "-c", script]).succeeds().stdout_is("").stderr_is("");
    let wait = "until [ -e /tmp/fds.done ]; do sleep 0.05; done; cat /tmp/fds";
    run(&["s", "sh", "-c", wait]).succeeds().stdout_is("[]\n");
    until_it_sleeps(&world, 2);
    run(&["--detach", "s", "no-such-program"]).exits_with(127).stderr_has("no-such-program");
    run(&["-d", "-t", "s", "true"]).refuses_with(&["--detach", "--tty"]);
    run(&["-d", "-i", "s", "true"]).refuses_with(&["--detach", "--interactive"]);
    run(&["-d", "nobody", "true"]).refuses_with(&["nobody"]);
    end(running);
    run(&["-d", "s", "true"]).refuses_with(&["`s`"]);
}

#[test]
fn what_was_started_and_how_it_ended_is_told() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = sandbox(&world);
    let run = |words: &[&str]| world.bryo(exec(words.iter().copied())).ends();
    run(&["s", "sh", "-c", "exit 3"]).exits_with(3);
    run(&["-d", "s", "sh", "-c", "exit 5"]).succeeds();
    run(&["s", "no-such-program"]).exits_with(127);
    let events = || {
        let words = ["events", "--since", "1h", "--until", "1ms", "--filter", "sandbox=s"];
        let format = ["--format", "{{.Action}} {{.Details}}"];
        world.bryo(words.iter().chain(&format)).ends().succeeds().stdout()
    };
    let detached = "exec_die command=sh -c exit 5,exit=5\n";
    crate::apart::until("the end of what is detached", || events().contains(detached));
    assert_eq!(
        events().replace(detached, ""),
        "create \nstart \nexec_create command=sh -c exit 3\nexec_start command=sh -c exit 3\n\
         exec_die command=sh -c exit 3,exit=3\nexec_create command=sh -c exit 5\n\
         exec_start command=sh -c exit 5\nexec_create command=no-such-program\n"
    );
    end(running);
}
