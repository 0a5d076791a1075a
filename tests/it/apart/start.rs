//! Starting: what is told, what is not kept waiting, what is left of the caller.

use super::{bryo, detached, field, record, start, until, until_logged};
use crate::support::World;

#[test]
fn the_command_ends_when_the_payload_runs_and_the_sandbox_when_the_payload_does() {
    let world = World::new();
    world.keeps(1);
    let id = start(
        &world,
        &[],
        "echo begun; read x </dev/null; until [ -e go ]; do sleep 0.05; done; exit 3",
    );
    // It sees a tree of its own: nothing outside says go. So it runs for as long as it is looked at.
    assert_eq!(field(&world, &id, "state"), "running");
    until_logged(&world, &id, "begun");
    bryo(&world, &["kill", "-s", "TERM", &id]).succeeds().stdout_is(&format!("{id}\n"));
    bryo(&world, &["wait", &id]).succeeds().stdout_is("143\n");
    assert_eq!(field(&world, &id, "state")["exited"]["signal"], 15);
    assert_eq!(record(&world, &id)["outcome"]["exit"]["signal"], 15);
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() {
    let world = World::new();
    world.file("project/text", "no program");
    detached(&world, &[]).exec(["./nowhere"]).exits_with(127).stdout_is("").stderr_has("nowhere");
    detached(&world, &[]).exec(["./text"]).exits_with(126).stdout_is("").stderr_has("text");
    detached(&world, &["--hostname", "-x"]).run("true").exits_with(125).stdout_is("");
    let refused = |flags: &[&str], parts: &[&str]| {
        detached(&world, flags).run("true").refuses_with(parts);
    };
    refused(&["--restart", "always", "--rm"], &["--restart", "--rm"]);
    refused(&["--restart", "sometimes"], &["sometimes", "on-failure"]);
    refused(&["--report", "r.json"], &["--detach", "--report"]);
    refused(&["--apply-on-success"], &["--detach", "--apply-on-success"]);
    refused(&["--stop-signal", "NOPE"], &["NOPE", "signal"]);
    world.sandbox().args(["--restart", "no"]).run("true").refuses_with(&["--restart", "--detach"]);
}

#[test]
fn nothing_of_the_caller_stays_with_it() {
    let world = World::new();
    world.keeps(1);
    // Were a descriptor of the caller's kept, reading the pipe to its end would take a minute.
    let program = "$1 run -d -- sleep 60 3>&1 4>&2 | cat";
    let overlay = detached(&world, &[]);
    drop(overlay);
    let bryo_path = crate::support::bryo();
    let ended = world
        .program("/bin/sh", ["-c", program, "-"])
        .arg(bryo_path)
        .leaves()
        .patience(std::time::Duration::from_secs(30))
        .ends()
        .succeeds();
    let id = ended.stdout().trim().to_owned();
    let pid = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!(fields[3], pid.to_string(), "a session of its own");
    assert_eq!(fields[4], "0", "no terminal");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    for n in 0..3 {
        let to = std::fs::read_link(format!("/proc/{pid}/fd/{n}")).unwrap();
        assert_eq!(to.to_str(), Some("/dev/null"));
    }
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}

#[test]
fn one_that_ended_runs_again_with_its_flags_on_its_layer() {
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let count = "echo x >>count; echo run $(wc -l <count) $WHO; exit $(wc -l <count)";
    start(&world, &["--name", "again", "-e", "WHO=me"], count);
    bryo(&world, &["wait", "again"]).succeeds().stdout_is("1\n");
    let elsewhere = world.bryo(["start", "again"]).in_folder(world.home()).leaves().ends();
    elsewhere.succeeds().stdout_is("again\n");
    bryo(&world, &["wait", "again"]).succeeds().stdout_is("2\n");
    // All of it is shown, however soon it ends.
    bryo(&world, &["start", "-a", "again"]).exits_with(3).stdout_is("run 3 me\n");
    bryo(&world, &["logs", "again"]).succeeds().stdout_is("run 1 me\nrun 2 me\nrun 3 me\n");
    assert_eq!(record(&world, "again")["earlier"].as_array().unwrap().len(), 2);
    for run in 4..12_u8 {
        let shown = format!("run {run} me\n");
        bryo(&world, &["start", "-a", "again"]).exits_with(run.into()).stdout_is(&shown);
    }
}

#[test]
fn starting_one_that_runs_is_no_error_and_changes_nothing() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "sleep 60");
    let pid = record(&world, &id)["launcher"]["pid"].clone();
    bryo(&world, &["start", &id]).succeeds().stdout_is(&format!("{id}\n"));
    assert_eq!(record(&world, &id)["launcher"]["pid"], pid);
    bryo(&world, &["restart", "-t", "0", &id]).succeeds();
    assert_ne!(record(&world, &id)["launcher"]["pid"], pid);
    assert_eq!(field(&world, &id, "state"), "running");
    let time = |name| field(&world, &id, name).as_str().unwrap().to_owned();
    assert!(time("started") > time("created"));
    bryo(&world, &["rm", "-f", &id]).succeeds();
    world.keeps(0);
}

#[test]
fn with_rm_nothing_stays_and_the_status_is_told_all_the_same() {
    let world = World::new();
    let id = start(&world, &["--rm"], "echo x >f; sleep 1; exit 9");
    bryo(&world, &["wait", &id]).succeeds().stdout_is("9\n");
    until("it is gone", || field(&world, &id, "state").is_null());
}

#[test]
fn names_change_while_it_runs_and_afterwards() {
    let world = World::new();
    world.keeps(2);
    let id = start(&world, &["--name", "one"], "sleep 60");
    let other = start(&world, &[], "true");
    bryo(&world, &["rename", "one", "two"]).succeeds();
    assert_eq!(field(&world, &id, "name"), "two");
    assert_eq!(record(&world, "two")["id"], id);
    bryo(&world, &["rename", "one", "x"]).refuses_with(&["cannot find a sandbox `one`"]);
    bryo(&world, &["rename", &other, "two"]).refuses_with(&["`two`", &id]);
    bryo(&world, &["rename", "two", "two"]).refuses_with(&["`two`: it has that name already"]);
    // What is said holds for `start` and `exec` too.
    bryo(&world, &["start", "--foreground", "two"]).refuses_with(&["it is running", "bryo stop"]);
    bryo(&world, &["exec", "-w", "./a", "two", "true"])
        .refuses_with(&["it is not absolute", "begins with `/`"]);
    bryo(&world, &["rename", "two", "-x"]).refuses_with(&["-x"]);
    bryo(&world, &["stop", "-t", "0", "two"]).succeeds();
    assert_eq!(record(&world, "two")["name"], "two");
    bryo(&world, &["rename", "two", "three"]).succeeds();
    bryo(&world, &["rename", &other, "two"]).succeeds();
    assert_eq!(
        (field(&world, &id, "name"), field(&world, &other, "name")),
        ("three".into(), "two".into())
    );
}

#[test]
fn one_whose_directory_is_gone_says_how_to_start_it_again() {
    let world = World::new();
    world.keeps(1);
    world.host(crate::support::Host::MayChange);
    let away = world.folder("project/away");
    detached(&world, &["--name", "s"]).in_folder(&away).run("true").succeeds();
    bryo(&world, &["wait", "s"]).succeeds();
    std::fs::remove_dir(&away).unwrap();
    for words in [&["start", "s"][..], &["start", "-a", "s"], &["restart", "s"]] {
        bryo(&world, words).refuses_with(&[
            "cannot enter `",
            "hint: `mkdir -p ",
            "/away` makes it",
        ]);
    }
    // Where it writes what is around, another directory is refused (`escape::swap`).
    if crate::life::applies() {
        std::fs::create_dir(&away).unwrap();
        bryo(&world, &["start", "-a", "s"]).succeeds();
        std::fs::remove_dir(&away).unwrap();
    }
}
