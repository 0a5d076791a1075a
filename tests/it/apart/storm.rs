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
