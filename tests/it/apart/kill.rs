//! Supervisors and first processes that are killed: nothing survives, and the state says so.

use super::{bryo, field, record, start, until};
use crate::support::World;

/// The supervisor's process and those below it.
fn tree(supervisor: u64) -> Vec<u64> {
    let mut found = vec![supervisor];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        found.extend(children.split_whitespace().map(|pid| pid.parse::<u64>().unwrap()));
        at += 1;
    }
    found
}

fn kill(pid: u64) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn are_gone(processes: &[u64]) -> bool {
    let runs = |pid: &u64| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    };
    !processes.iter().any(runs)
}

#[test]
fn with_its_supervisor_everything_dies_and_the_state_says_so() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &["--name", "dead"], "(setsid sleep 100 &); sleep 100");
    let supervisor = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
    until("all of it runs", || tree(supervisor).len() >= 4);
    let all = tree(supervisor);
    let waiting = world.bryo(["wait", &id]).leaves().starts();
    let stopping = world.bryo(["attach", "--no-stdin", &id]).leaves().starts();
    std::thread::sleep(std::time::Duration::from_millis(300));
    kill(supervisor);
    waiting.ends().succeeds().stdout_is("137\n");
    stopping.ends().exits_with(125).stderr_has("the supervisor of the sandbox has ended");
    until("nothing of it runs", || are_gone(&all));
    assert_eq!(field(&world, &id, "state"), "died");
    bryo(&world, &["ps", "-a"]).succeeds().stdout_has("died");
    bryo(&world, &["kill", &id]).refuses_with(&["it is not running"]);
    bryo(&world, &["start", &id]).succeeds();
    assert_eq!(field(&world, &id, "state"), "running");
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}

#[test]
fn a_first_process_that_is_killed_ends_it() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "sleep 100");
    let supervisor = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
    until("all of it runs", || tree(supervisor).len() >= 3);
    let all = tree(supervisor);
    kill(all[1]);
    bryo(&world, &["wait", &id]).succeeds().stdout_is("125\n");
    until("nothing of it runs", || are_gone(&all));
    assert_eq!(field(&world, &id, "state")["exited"], "lost");
}

#[test]
fn a_supervisor_killed_at_any_moment_leaves_nothing() {
    let world = World::new();
    for n in 0..12_u64 {
        // The command, and with it the start, is killed after a while; then what may have come of it.
        let running = world.sandbox().args(["-d", "--name", "k"]).leaves().start("sleep 100");
        std::thread::sleep(std::time::Duration::from_millis(n));
        rustix::process::kill_process(running.pid(), rustix::process::Signal::KILL)
            .unwrap_or_default();
        drop(running.ends());
        // A start that nobody waits for any more ends by itself; one that was told goes on.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let ids = bryo(&world, &["ps", "-aq"]).succeeds().stdout();
        for id in ids.lines() {
            bryo(&world, &["rm", "-f", id]).succeeds();
        }
    }
}
