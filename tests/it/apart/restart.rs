//! Started again by its supervisor.

use super::{bryo, field, record, start, until, until_logged};
use crate::support::World;

#[test]
fn a_failure_is_followed_by_as_many_runs_as_were_asked_for() {
    let world = World::new();
    world.keeps(2);
    let id = start(&world, &["--restart", "on-failure:2"], "echo run; exit 7");
    bryo(&world, &["wait", &id]).succeeds().stdout_is("7\n");
    bryo(&world, &["logs", &id]).succeeds().stdout_is("run\nrun\nrun\n");
    let good = start(&world, &["--restart", "on-failure"], "echo run");
    bryo(&world, &["wait", &good]).succeeds().stdout_is("0\n");
    bryo(&world, &["logs", &good]).succeeds().stdout_is("run\n");
}

#[test]
fn what_is_stopped_is_not_started_again_while_it_runs_or_waits() {
    let world = World::new();
    world.keeps(1);
    let id =
        start(&world, &["--restart", "always", "--name", "always"], "echo run; echo x >>f; exit 1");
    // Each wait is twice the one before: this one is over three seconds.
    until("it waits for its seventh run", || {
        bryo(&world, &["logs", &id]).stdout().lines().count() >= 6
    });
    bryo(&world, &["rm", "always"]).refuses_with(&["it is running"]);
    until("it is seen waiting", || field(&world, &id, "state") == "restarting");
    bryo(&world, &["stop", "always"]).succeeds();
    let runs = bryo(&world, &["logs", &id]).stdout().lines().count();
    assert_eq!(field(&world, &id, "state")["exited"]["code"], 1);
    assert_eq!(record(&world, &id)["earlier"].as_array().unwrap().len() + 1, runs);
    bryo(&world, &["start", "always"]).succeeds();
    until("it runs again", || bryo(&world, &["logs", &id]).stdout().lines().count() > runs + 1);
    bryo(&world, &["stop", "always"]).succeeds();
}

#[test]
fn nobody_enters_what_waits_for_its_restart() {
    let world = World::new();
    world.keeps(1);
    start(&world, &["--restart", "always", "--name", "again"], "exit 3");
    world.file("project/note", "x");
    let commands: [&[&str]; 3] = [
        &["exec", "again", "true"],
        &["exec", "-d", "again", "true"],
        &["cp", "note", "again:/tmp/"],
    ];
    for command in commands {
        until("it is refused, and at once", || {
            bryo(&world, command).stderr().contains("it ended, and waits for its restart")
        });
    }
    bryo(&world, &["stop", "again"]).succeeds();
}

#[test]
fn what_would_be_removed_at_its_end_is_not_ended_to_be_started_again() {
    let world = World::new();
    let id = start(&world, &["--rm", "--name", "short"], "echo run; exec sleep 1000");
    bryo(&world, &["restart", "short"]).refuses_with(&["cannot restart sandbox", "--rm"]);
    assert_eq!(field(&world, &id, "state"), "running");
    bryo(&world, &["stop", "short"]).succeeds();
    bryo(&world, &["restart", "short"]).refuses_with(&["cannot find a sandbox `short`"]);
}

#[test]
fn several_who_start_it_at_once_all_find_it_running() {
    let world = World::new();
    let id = start(&world, &["--name", "wanted"], "exec sleep 1000");
    bryo(&world, &["stop", "wanted"]).succeeds();
    let all = [(); 4].map(|()| world.bryo(["start", "wanted"]).leaves().starts());
    for one in all {
        one.ends().succeeds().stdout_is("wanted\n");
    }
    assert_eq!(field(&world, &id, "state"), "running");
    bryo(&world, &["rm", "-f", "wanted"]).succeeds();
}

#[test]
fn its_layer_stays_from_one_run_to_the_next() {
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &["--restart", "on-failure:3"], "echo x >>f; echo $(wc -l <f); exit 1");
    bryo(&world, &["wait", &id]).succeeds().stdout_is("1\n");
    bryo(&world, &["logs", &id]).succeeds().stdout_is("1\n2\n3\n4\n");
    assert_eq!(crate::life::changes(&world, &id), ["A f"]);
    until_logged(&world, &id, "4");
}
