//! Every command about a sandbox, on one that nobody knows, that ended, that was killed, and of which half is gone.

use std::time::Duration;

use super::{bryo, record, start, until};
use crate::support::World;

/// What a command does: it succeeds, or says this; nothing is said of what depends on a layer.
#[derive(Clone, Copy)]
enum Does {
    Work,
    Refuse(&'static str),
    Either,
}

use Does::{Either, Refuse, Work};

const NOT_RUNNING: Does = Refuse("it is not running");
const UNREADABLE: Does = Refuse("cannot read the record of sandbox");

/// The words, where `S` is the sandbox; what is done of one that ended or was killed, and of half a one. The last ones
/// change it.
const TABLE: &[(&str, Does, Does)] = &[
    ("exec S true", NOT_RUNNING, NOT_RUNNING),
    ("attach S", NOT_RUNNING, NOT_RUNNING),
    ("stop S", Work, Work),
    ("kill S", NOT_RUNNING, NOT_RUNNING),
    ("wait S", Work, Refuse("it left no record")),
    ("pause S", NOT_RUNNING, NOT_RUNNING),
    ("unpause S", NOT_RUNNING, NOT_RUNNING),
    ("logs S", Work, Work),
    ("port S", NOT_RUNNING, NOT_RUNNING),
    ("stats --no-stream S", NOT_RUNNING, NOT_RUNNING),
    ("top S", NOT_RUNNING, NOT_RUNNING),
    ("inspect S", Work, UNREADABLE),
    ("cp S:/nowhere .", Either, Either),
    ("cp . S:/nowhere", Refuse("it has ended"), Refuse("it has ended")),
    ("diff S", Either, UNREADABLE),
    ("export -o out.tar S", Either, UNREADABLE),
    ("generate systemd S", Work, UNREADABLE),
    ("run --continue S -- true", Either, UNREADABLE),
    ("start -a S", Either, UNREADABLE),
    ("restart S", Either, UNREADABLE),
    ("stop -t 0 S", Work, Work),
    ("apply -y S", Either, UNREADABLE),
    ("discard -y S", Either, Either),
    ("rename S other", Either, Either),
];

/// Commands that are about no single sandbox, or about a new one.
const OTHERS: &[&str] = &[
    "shell",
    "ps",
    "events",
    "rm",
    "network",
    "system",
    "doctor",
    "profile",
    "completions",
    "man",
    "version",
    "help",
];

#[track_caller]
fn check(world: &World, words: &str, name: &str, does: Does) {
    let words: Vec<String> = words.split(' ').map(|word| word.replace('S', name)).collect();
    let ended = world.bryo(&words).leaves().patience(Duration::from_mins(1)).ends();
    let said = ended.stderr();
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{words:?}: {said}");
    match does {
        Work => drop(ended.succeeds()),
        Refuse(why) => drop(ended.refuses_with(&["cannot", why])),
        Either => assert!(said.is_empty() || said.starts_with("bryo: "), "{words:?}: {said}"),
    }
}

#[test]
fn every_command_answers_on_every_kind_of_sandbox_that_does_not_run() {
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let listed = bryo(&world, &["help"]).succeeds().stdout();
    let commands = listed.split("\n\n").find(|part| part.starts_with("Commands:")).unwrap();
    for line in commands.lines().skip(1) {
        let command = line.split_whitespace().next().unwrap();
        let is_there = TABLE.iter().any(|(words, ..)| words.split(' ').next() == Some(command));
        assert!(is_there || OTHERS.contains(&command), "{command}");
    }
    let script = "touch touched; exit 0";
    start(&world, &["--name", "ended"], script);
    bryo(&world, &["wait", "ended"]).succeeds();
    start(&world, &["--name", "killed", "--timeout", "10s"], "touch touched; exec sleep 1000");
    let supervisor = record(&world, "killed")["launcher"]["pid"].as_u64().unwrap();
    let half = start(&world, &["--name", "half"], script);
    bryo(&world, &["wait", "half"]).succeeds();
    std::fs::remove_file(world.store().join(format!("kept/{half}/record.json"))).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("it is gone", || bryo(&world, &["ps", "-q"]).succeeds().stdout().is_empty());
    for (words, of_ended, of_half) in TABLE {
        check(&world, words, "nobody", Refuse("cannot find a sandbox"));
        check(&world, words, "ended", *of_ended);
        check(&world, words, "killed", *of_ended);
        check(&world, words, "half", *of_half);
        for name in ["ended", "killed", "half"] {
            // Those that a command named anew, or let go, are not the next one's.
            let other = bryo(&world, &["rename", "other", name]);
            assert!(other.stderr().is_empty() || other.stderr().starts_with("bryo: "));
        }
    }
    for name in ["ended", "killed", "half"] {
        check(&world, "rm -f S", name, Either);
    }
    check(&world, "rm S", "nobody", Refuse("cannot find a sandbox"));
}

#[test]
fn what_is_removed_is_told_by_the_word_that_it_was_named_by() {
    let world = World::new();
    for remove in ["rm", "discard"] {
        let named = start(&world, &["--name", "s"], "true");
        let other = start(&world, &["--name", "t"], "true");
        bryo(&world, &["wait", "s", "t"]).succeeds();
        bryo(&world, &[remove, "s", &other]).succeeds().stdout_is(&format!("s\n{other}\n"));
        for gone in [&named, &other] {
            bryo(&world, &["inspect", gone]).refuses_with(&["cannot find a sandbox"]);
        }
    }
}
