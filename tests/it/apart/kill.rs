//! Supervisors and first processes that are killed: nothing survives, and the state says so.

use super::{bryo, field, record, start, until, until_attached};
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
    until_attached(&world, 1);
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
    bryo(&world, &["wait", &id]).succeeds().stdout_is("137\n");
    until("nothing of it runs", || are_gone(&all));
    assert_eq!(field(&world, &id, "state")["exited"], "lost");
}

#[test]
fn a_supervisor_killed_at_any_moment_leaves_nothing() {
    let world = World::new();
    let remove_all = || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        for id in bryo(&world, &["ps", "-aq"]).succeeds().stdout().lines() {
            bryo(&world, &["rm", "-f", id]).succeeds();
        }
    };
    for n in 0..12_u64 {
        // The command, and with it the start, is killed after a while; then what may have come of it.
        let running = world.sandbox().args(["-d", "--name", "k"]).leaves().start("sleep 100");
        std::thread::sleep(std::time::Duration::from_millis(n));
        rustix::process::kill_process(running.pid(), rustix::process::Signal::KILL)
            .unwrap_or_default();
        drop(running.ends());
        // A start that nobody waits for any more ends by itself; one that was told goes on.
        remove_all();
    }
    // By no event can it be seen that none is under way any more.
    for _ in 0..10 {
        remove_all();
    }
}

/// Whether a process is the first one of its pid namespace, which is not ours.
fn is_init(pid: u64) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    numbers.split_whitespace().count() > 1 && numbers.split_whitespace().next_back() == Some("1")
}

/// Numbers that look random, the same for a seed.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// `BRYO_TEST_SEEDS` for more of them.
#[test]
fn whoever_is_killed_at_whatever_moment_nothing_survives_and_the_state_says_so() {
    let world = World::new();
    let networks: &[&[&str]] = &[
        &[],
        &["-t"],
        &["--network", "user", "--allow", "192.0.2.1"],
        &["--network", "bridge:inside"],
    ];
    bryo(&world, &["network", "create", "--internal", "inside"]).succeeds();
    let seeds = std::env::var("BRYO_TEST_SEEDS").map_or(12, |text| text.parse::<u64>().unwrap());
    for n in 1..=seeds {
        let mut seed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random(&mut seed);
        let flags = networks[usize::try_from(n).unwrap() % networks.len()];
        let script = "(setsid sleep 600 &); while :; do echo x; echo y >w; sleep 0.01; done";
        let id = start(&world, flags, script);
        let supervisor = record(&world, &id)["launcher"]["pid"].as_u64().unwrap();
        let inside: Vec<_> = (0..2)
            .map(|_| {
                world
                    .bryo(["exec", &id, "sh", "-c", "(setsid sleep 600 &); sleep 600"])
                    .leaves()
                    .starts()
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(random(&mut seed) % 150));
        let all = tree(supervisor);
        let is_supervisors = random(&mut seed).is_multiple_of(2);
        let init = || *all.iter().find(|pid| is_init(**pid)).unwrap();
        kill(if is_supervisors { supervisor } else { init() });
        until("the run is over", || {
            !matches!(field(&world, &id, "state").as_str(), Some("running"))
        });
        let state = field(&world, &id, "state");
        if is_supervisors {
            assert_eq!(state, "died", "seed {n}");
        } else {
            assert_eq!(state["exited"], "lost", "seed {n}");
        }
        for one in inside {
            let ended = one.ends().to_string();
            assert!(!ended.contains("exit status: 0 "), "{ended}");
        }
        until("nothing of it runs", || are_gone(&all));
        bryo(&world, &["rm", &id]).succeeds();
    }
    bryo(&world, &["network", "rm", "inside"]).succeeds();
}

#[test]
fn a_launcher_in_the_foreground_that_is_killed_takes_nothing_with_it_that_was_to_stay() {
    let world = World::new();
    world.keeps(1);
    // As a unit of a service manager starts it, again and again.
    let id = start(&world, &[], "echo up; sleep 100");
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
    for _ in 0..2 {
        let running = world.bryo(["start", "--foreground", &id]).leaves().starts();
        running.says("up");
        running.kill(rustix::process::Signal::KILL);
        running.ends().dies_of(9);
        assert_eq!(field(&world, &id, "state"), "died");
    }
    // Nor where it ends by itself, having written nothing.
    let running = world.bryo(["start", "--foreground", &id]).leaves().starts();
    running.says("up");
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
    drop(running.ends());
    assert!(!field(&world, &id, "state").is_null());
}

#[test]
fn a_name_is_kept_when_its_launcher_in_the_foreground_is_killed() {
    // Without a layer a run in the foreground is in no store.
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    world.keeps(3);
    let deaf = "trap '' TERM; echo up; sleep 100";
    let commands: [&[&str]; 3] = [&["stop", "-t", "0"], &["kill"], &["restart", "-t", "0"]];
    for (number, command) in commands.into_iter().enumerate() {
        let name = format!("n{number}");
        // Of one that is new, and of one that there was.
        for _ in 0..2 {
            let running = world.sandbox().args(["--name", &name]).leaves().start(deaf);
            running.says("up");
            bryo(&world, &[command, &[&name]].concat()).succeeds();
            running.ends().dies_of(9);
            let state = if command[0] == "restart" { "running" } else { "died" };
            assert_eq!(field(&world, &name, "state"), state, "{command:?}");
            if command[0] == "restart" {
                bryo(&world, &["stop", "-t", "0", &name]).succeeds();
            }
        }
    }
    // What is to leave nothing leaves nothing (`who_kills_a_run_in_the_foreground_leaves_nothing_of_it`), nor does what
    // has no name and wrote nothing.
    let running = world.sandbox().leaves().start(deaf);
    running.says("up");
    let id = bryo(&world, &["ps", "-q"]).succeeds().stdout().trim().to_owned();
    bryo(&world, &["kill", &id]).succeeds();
    running.ends().dies_of(9);
    assert!(field(&world, &id, "state").is_null());
}
