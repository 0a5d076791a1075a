//! Every flag of every command, as clap knows them, with values that cannot be meant: one that is added later is
//! among them by itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command as Process, Output, Stdio};

use clap::{Arg, Command};

use crate::support::{World, bryo};

/// Flags of `run` and `shell` that take what is tried: a name of something that is not there yet, a text of
/// somebody's own. Which of the two values, or both.
const ANY_TEXT: [(&str, &[usize]); 5] =
    [("hide", &[0]), ("tmpfs", &[0]), ("env", &[0, 1]), ("label", &[1]), ("health-cmd", &[1])];

fn is_any_text(words: &[String], flag: &str, value: usize) -> bool {
    let starts = words == ["run"] || words == ["shell"];
    starts && ANY_TEXT.iter().any(|(name, values)| *name == flag && values.contains(&value))
}

/// A command's words, and the command.
fn commands() -> Vec<(Vec<String>, Command)> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), bryo::front::cli::tree())];
    while let Some((words, command)) = open.pop() {
        for below in command.get_subcommands() {
            let mut words: Vec<String> = words.clone();
            words.push(below.get_name().to_owned());
            open.push((words, below.clone()));
        }
        found.push((words, command));
    }
    found
}

/// The flags of a command that take a value.
fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let takes = |arg: &&Arg| {
        // The line of a shell is the shell's to judge.
        arg.get_id() != "line" && arg.get_long().is_some() && arg.get_action().takes_values()
    };
    command.get_arguments().filter(takes)
}

/// Runs bryo in the world's project. Plainly, for there are hundreds: what is left is looked for at the end.
fn said(world: &World, words: &[OsString]) -> Output {
    let mut process = Process::new("timeout");
    process.args(["-k", "1", "20"]).arg(bryo()).args(words);
    process.env_clear().env("HOME", world.home()).env("PATH", "/usr/bin:/bin");
    process.current_dir(world.project()).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn every_flag_refuses_what_it_cannot_take_with_one_clear_error() {
    let world = World::new();
    let garbage = [
        OsString::from_vec(b"\xff\xfe\x1b[2J\n\xe2\x80\xae/..{{\x07".to_vec()),
        OsString::from("{{x".repeat(40_000)),
    ];
    let mut tried: Vec<(Vec<String>, String, usize)> = Vec::new();
    for (words, command) in commands() {
        for name in flags(&command).filter_map(Arg::get_long) {
            tried.extend([0, 1].map(|value| (words.clone(), name.to_owned(), value)));
        }
    }
    assert!(tried.len() > 200, "{tried:?}");
    // Those that start something come last, as does what is looked up inside: before, there is no store.
    let starts =
        |words: &[String], name: &str, value| name == "workdir" || is_any_text(words, name, value);
    tried.sort_by_key(|(words, name, value)| starts(words, name, *value));
    for (words, name, value) in tried {
        let mut all: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(&garbage[value]);
        all.push(flag);
        if words == ["run"] {
            all.extend(["--", "/bin/echo", "started"].map(OsString::from));
        }
        let ended = said(&world, &all);
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        let shown = format!("{words:?} --{name}, value {value}: {text}");
        if is_any_text(&words, &name, value) {
            assert_eq!(ended.status.code(), Some(0), "{shown}");
            continue;
        }
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(125), 0), "{shown}");
        let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        let is_clear = text.starts_with("bryo: cannot ") && text.lines().count() <= 2;
        assert!(is_clear && text.len() < 4000 && !text.contains(raw), "{shown}");
        assert!(starts(&words, &name, value) || !world.store().exists(), "{shown}");
    }
}
