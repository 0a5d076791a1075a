//! What `bryo events` tells of sandboxes however they end: complete, and in order.

use super::{bryo, start, until, until_logged};
use crate::support::World;

/// What was told so far of the sandbox that has this name: words and details.
fn told(world: &World, name: &str) -> Vec<String> {
    let filter = format!("sandbox={name}");
    let words = ["events", "--since", "1h", "--until", "1ms", "--filter", &filter];
    let form = ["--format", "{{.Action}} {{.Details}}"];
    let events = bryo(world, &[&words[..], &form].concat()).succeeds().stdout();
    events.lines().map(|line| line.trim_end().to_owned()).collect()
}

const SLEEPS: &str = "echo up; exec sleep 1000";

#[test]
fn what_stop_and_kill_do_comes_before_what_follows_from_it() {
    let world = World::new();
    let gone = start(&world, &["--name", "gone", "--rm"], SLEEPS);
    bryo(&world, &["stop", "gone"]).succeeds();
    until("it is removed", || told(&world, "gone").last().is_some_and(|last| last == "destroy"));
    let stopped = ["create", "start", "kill signal=SIGTERM", "die exit=143", "stop", "destroy"];
    assert_eq!(told(&world, "gone"), stopped);
    assert_eq!(told(&world, &gone), stopped);

    let deaf = "trap '' TERM; echo up; while :; do sleep 1; done";
    let id = start(&world, &["--name", "deaf"], deaf);
    until_logged(&world, &id, "up");
    bryo(&world, &["stop", "-t", "0", "deaf"]).succeeds();
    let killed = ["kill signal=SIGTERM", "kill signal=SIGKILL", "die exit=137", "stop"];
    assert_eq!(told(&world, "deaf")[2..], killed);

    start(&world, &["--name", "killed"], SLEEPS);
    bryo(&world, &["kill", "killed"]).succeeds();
    bryo(&world, &["wait", "killed"]).succeeds().stdout_is("137\n");
    assert_eq!(told(&world, "killed")[2..], ["kill signal=SIGKILL", "die exit=137"]);

    bryo(&world, &["restart", "killed"]).succeeds();
    assert_eq!(told(&world, "killed")[4..], ["start", "restart"]);
    // By the name that it has now.
    bryo(&world, &["rename", "killed", "called"]).succeeds();
    bryo(&world, &["rm", "-f", "called"]).succeeds();
    let ends = ["rename old=killed", "kill signal=SIGKILL", "die exit=137", "destroy"];
    assert_eq!(told(&world, "called"), ends);
    bryo(&world, &["rm", "deaf"]).succeeds();
}

#[test]
fn a_restart_is_told_before_what_comes_of_it() {
    let world = World::new();
    // It ends long before the command does that started it again.
    let id = start(&world, &["--name", "brief"], "exit 3");
    bryo(&world, &["wait", &id]).succeeds();
    let first = ["create", "start", "die exit=3"].map(str::to_owned);
    let again = ["start", "restart", "die exit=3"].map(str::to_owned);
    let mut all = first.to_vec();
    for _ in 0..5 {
        bryo(&world, &["restart", &id]).succeeds();
        bryo(&world, &["wait", &id]).succeeds().stdout_is("3\n");
        all.extend(again.clone());
        assert_eq!(told(&world, "brief"), all);
    }
    bryo(&world, &["rm", "brief"]).succeeds();
}

#[test]
fn a_run_in_the_foreground_is_told_of_from_its_start_to_its_removal() {
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    world.sandbox().args(["--name", "kept"]).run("exit 3").exits_with(3);
    let run = ["create", "start", "die exit=3"];
    assert_eq!(told(&world, "kept"), run);
    world.sandbox().args(["--name", "kept"]).run("exit 4").exits_with(4);
    assert_eq!(told(&world, "kept")[3..], ["start", "die exit=4"]);
    bryo(&world, &["rm", "kept"]).succeeds();
    assert_eq!(told(&world, "kept")[5..], ["destroy"]);
    // One that is removed when it ends, be it for its flag or because it wrote nothing; the latter by its id.
    let gone = ["create", "start", "die exit=0", "destroy"];
    world.sandbox().args(["--rm", "--name", "gone"]).run("echo x >f").succeeds();
    assert_eq!(told(&world, "gone"), gone);
    world.sandbox().run("true").succeeds();
    let all = bryo(&world, &["events", "--since", "1h", "--until", "1ms", "--json"]).stdout();
    let all: Vec<serde_json::Value> =
        all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = all.last().unwrap()["id"].as_str().unwrap();
    assert_eq!(told(&world, id), gone);
    assert!(all.iter().filter(|event| event["id"] == id).all(|event| event["name"].is_null()));
    // By the name that it has when it ends.
    let running = world.sandbox().args(["--rm", "--name", "old"]).start(SLEEPS);
    running.says("up");
    bryo(&world, &["rename", "old", "new"]).succeeds();
    bryo(&world, &["stop", "new"]).succeeds();
    drop(running.ends());
    let ends = ["rename old=old", "kill signal=SIGTERM", "die exit=143", "destroy"];
    assert_eq!(told(&world, "new"), ends);
}

#[test]
fn who_kills_a_run_in_the_foreground_leaves_nothing_of_it() {
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    let deaf = "trap '' TERM INT; echo up; while :; do sleep 1; done";
    let commands: [&[&str]; 3] = [&["stop", "-t", "0"], &["kill"], &["rm", "-f"]];
    for (number, command) in commands.into_iter().enumerate() {
        let name = format!("n{number}");
        let running = world.sandbox().args(["--rm", "--name", &name]).start(deaf);
        running.says("up");
        assert_eq!(entries(&world, "live").len(), 1, "{command:?}");
        bryo(&world, &[command, &[&name]].concat()).succeeds();
        // At once, and not when the next command looks.
        assert!(entries(&world, "live").is_empty(), "{command:?}");
        assert!(entries(&world, "trash").is_empty(), "{command:?}");
        running.ends().dies_of(9);
        let told = told(&world, &name);
        assert_eq!(told[told.len() - 2..], ["die exit=137", "destroy"], "{command:?}: {told:?}");
        assert!(told.contains(&"kill signal=SIGKILL".to_owned()), "{command:?}: {told:?}");
    }
}

#[test]
fn the_end_of_one_whose_supervisor_was_killed_is_told_by_who_finds_it() {
    let world = World::new();
    for (flags, ends) in [
        (&["--name", "kept"][..], &["die exit=137"][..]),
        (&["--name", "left", "--rm"], &["die exit=137", "destroy"]),
    ] {
        let id = start(&world, flags, SLEEPS);
        until_logged(&world, &id, "up");
        let pid = super::record(&world, &id)["launcher"]["pid"].as_i64().unwrap();
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        until("somebody finds it", || {
            bryo(&world, &["ps"]).succeeds();
            told(&world, &id).len() > 2
        });
        assert_eq!(told(&world, flags[1])[2..], *ends);
        // Once.
        bryo(&world, &["ps", "-a"]).succeeds();
        assert_eq!(told(&world, flags[1])[2..], *ends);
    }
    bryo(&world, &["rm", "kept"]).succeeds();
    assert_eq!(told(&world, "kept")[2..], ["die exit=137", "destroy"]);
}

#[test]
fn the_end_of_a_program_in_it_is_told_before_its_removal() {
    let world = World::new();
    start(&world, &["--name", "entered"], SLEEPS);
    let inside = world.bryo(["exec", "entered", "--", "sh", "-c", "echo in; sleep 1000"]).leaves();
    let inside = inside.starts();
    inside.says("in");
    bryo(&world, &["rm", "-f", "entered"]).succeeds();
    drop(inside.ends());
    let told = told(&world, "entered");
    let words: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split(' ').next())
        .filter(|word| !word.is_empty())
        .collect();
    let place = |word: &str| words.iter().position(|other| *other == word).unwrap();
    assert!(place("exec_start") < place("exec_die"), "{told:?}");
    assert!(place("exec_die") < place("destroy") && place("die") < place("destroy"), "{told:?}");
    assert_eq!(place("destroy"), words.len() - 1, "{told:?}");
}

/// What is in a part of the store.
fn entries(world: &World, part: &str) -> Vec<std::ffi::OsString> {
    let listed = std::fs::read_dir(world.store().join(part));
    listed.map(|all| all.map(|one| one.unwrap().file_name()).collect()).unwrap_or_default()
}
