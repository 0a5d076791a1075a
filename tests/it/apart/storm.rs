//! Many commands at once about the same sandboxes: each ends, with an answer that makes sense, and nothing is left.

use std::time::Duration;

use super::{bryo, field, start};
use crate::support::World;

/// What is done to each, all at once and again and again.
const STORM: &[&[&str]] = &[
    &["stop", "-t", "1", "NAME"],
    &["kill", "NAME"],
    &["kill", "-s", "USR1", "NAME"],
    &["start", "NAME"],
    &["restart", "-t", "0", "NAME"],
    &["exec", "NAME", "true"],
    &["exec", "NAME", "sh", "-c", "sleep 0.2; echo here"],
    &["rename", "NAME", "NAMEx"],
    &["rename", "NAMEx", "NAME"],
    &["rm", "NAME"],
    &["rm", "-f", "NAMEx"],
    &["logs", "NAME"],
    &["wait", "NAME"],
    &["attach", "--no-stdin", "NAME"],
    &["inspect", "NAME"],
    &["ps", "-a", "--json"],
    &["events", "--since", "1m", "--until", "1s"],
];

#[test]
fn several_who_restart_it_at_once_all_do_and_it_runs() {
    let world = World::new();
    let id = start(&world, &["--name", "wanted"], "exec sleep 1000");
    for round in 0..4 {
        let all = [(); 6].map(|()| {
            let one = world.bryo(["restart", "-t", "0", "wanted"]).leaves();
            one.patience(Duration::from_mins(2)).starts()
        });
        for one in all {
            one.ends().succeeds().stdout_is("wanted\n").stderr_is("");
        }
        assert_eq!(field(&world, &id, "state"), "running", "round {round}");
    }
    bryo(&world, &["rm", "-f", "wanted"]).succeeds();
}

/// What somebody may be told who came at the wrong moment.
const ANSWERS: &[&str] = &[
    "cannot find a sandbox",
    "it is not running",
    "it is running",
    "does not run",
    "has ended",
    "is taken",
    "is called",
    "held by another command",
    "is at work on it",
    "ended before",
    "left no record",
    "cannot tell how",
];

#[test]
fn every_command_of_a_storm_ends_with_an_answer_and_nothing_is_left() {
    let world = World::new();
    for round in 0..3 {
        let names = ["one", "two"];
        for name in names {
            start(
                &world,
                &["--name", name],
                "trap '' USR1; (setsid sleep 600 &); while :; do echo x; sleep 0.1; done",
            );
        }
        let words = |name: &str, words: &[&str]| -> Vec<String> {
            words.iter().map(|word| word.replace("NAME", name)).collect()
        };
        let storm = STORM.iter().flat_map(|line| names.map(|name| words(name, line)));
        let running: Vec<_> = storm
            .map(|line| {
                let command = world.bryo(&line).leaves().patience(Duration::from_mins(1));
                // What waits for an end is given one below.
                (line, command.starts())
            })
            .collect();
        // One that somebody started once more after everybody else was done goes on; who waits for it too.
        std::thread::sleep(Duration::from_secs(3));
        let all = bryo(&world, &["ps", "-aq"]).succeeds().stdout();
        for id in all.lines() {
            bryo(&world, &["kill", id]);
        }
        for (line, running) in running {
            let ended = running.ends();
            let said = ended.stderr();
            let is_known = |line: &str| {
                !line.starts_with("bryo: ") || ANSWERS.iter().any(|known| line.contains(known))
            };
            assert!(said.lines().all(is_known), "round {round}: {line:?}\n{ended}");
            assert!(!said.contains("panicked"), "{ended}");
        }
        for id in bryo(&world, &["ps", "-aq"]).succeeds().stdout().lines() {
            bryo(&world, &["rm", "-f", id]).succeeds();
        }
    }
    bryo(&world, &["ps", "-aq"]).succeeds().stdout_is("");
}

/// What is asked of one that ends; each comes at another moment of that.
const LATE: &[&[&str]] = &[
    &["exec", "S", "true"],
    &["exec", "-d", "S", "true"],
    &["cp", "S:/etc/hostname", "-"],
    &["cp", "/etc/hostname", "S:/tmp/"],
    &["logs", "S"],
    &["inspect", "S"],
    &["stop", "S"],
];

/// What they may say; of a program that was asked for in the last instant nobody knows.
const IT_ENDS: &[&str] = &[
    "it is not running",
    "has ended",
    "cannot tell how `true` ended",
    "it ended, and did not change that",
];

#[test]
fn who_comes_while_a_sandbox_ends_is_told_that_it_ends() {
    let world = World::new();
    for (end, kept) in [("TERM", true), ("KILL", true), ("TERM", false), ("KILL", false)] {
        for _ in 0..3 {
            let flags: &[&str] = if kept { &[] } else { &["--rm"] };
            let id = start(&world, flags, "exec sleep 1000");
            let ask = |words: &&[&str]| {
                let words: Vec<_> = words.iter().map(|word| word.replace('S', &id)).collect();
                let command = world.bryo(&words).leaves().patience(Duration::from_mins(1));
                (words, command.starts())
            };
            let (early, late) = LATE.split_at(4);
            let mut asked: Vec<_> = early.iter().map(ask).collect();
            let killed = bryo(&world, &["kill", "-s", end, &id]);
            asked.extend(early.iter().chain(late).map(ask));
            killed.succeeds();
            for (words, one) in asked {
                let ended = one.ends();
                let said = ended.stderr();
                let knows = |line: &str| {
                    !line.starts_with("bryo: ")
                        || IT_ENDS.iter().any(|known| line.contains(known))
                        || !kept && line.contains("cannot find a sandbox")
                };
                assert!(said.lines().all(knows), "{words:?}\n{ended}");
                if kept && words[0] == "stop" {
                    ended.succeeds().stdout_is(&format!("{id}\n"));
                }
            }
            bryo(&world, &["rm", "-f", &id]).succeeds();
        }
    }
}

#[test]
fn one_that_has_no_record_yet_is_not_there() {
    let world = World::new();
    let id = start(&world, &[], "true");
    bryo(&world, &["wait", &id]).succeeds();
    let (kept, live) = (world.store().join("kept").join(&id), world.store().join("live").join(&id));
    // As it is between the directory and the record; the lock is the launcher's.
    std::fs::rename(kept, &live).unwrap();
    let held = std::fs::File::open(&live).unwrap();
    held.lock().unwrap();
    std::fs::remove_file(live.join("record.json")).unwrap();
    bryo(&world, &["inspect", &id]).refuses_with(&["cannot find a sandbox"]);
    for entry in std::fs::read_dir(&live).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    bryo(&world, &["logs", &id]).refuses_with(&["cannot find a sandbox"]);
    drop(held);
    // Nothing that a payload wrote is in it: whoever comes next removes it.
    bryo(&world, &["ps", "-aq"]).succeeds().stdout_is("");
}
