//! The command line.
//!
//! # Theory of operation
//! The first word chooses the command; only that command's flags are declared to clap, for declaring
//! all of them takes longer than reading one line. The whole tree is built for help, man pages and
//! completions alone.

pub mod doctor;
pub mod error;
pub mod flag;
pub mod output;
pub mod pages;
pub mod profile;
pub mod run;
pub mod surroundings;
pub mod usage;

use std::ffi::{OsStr, OsString};

use clap::Command;

use crate::profile::value::nearest;
use crate::report::Failure;

pub use error::CliError;
use output::Answer;
use surroundings::Surroundings;

/// One command.
struct Entry {
    name: &'static str,
    build: fn() -> Command,
}

/// Every command, in the order of the help.
const COMMANDS: &[Entry] = &[
    Entry { name: "doctor", build: doctor::command },
    Entry { name: "profile", build: profile::command },
    Entry { name: "completions", build: pages::completions_command },
    Entry { name: "man", build: pages::man_command },
    Entry { name: "help", build: pages::help_command },
];

/// One command's flags, by its name.
fn build(name: &str) -> Command {
    let entry = COMMANDS.iter().find(|command| command.name == name);
    entry.map_or_else(tree, |command| (command.build)())
}

/// All of them.
fn tree() -> Command {
    Command::new("bryo")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Runs a program you do not trust, as an ordinary user, on the machine you already have",
        )
        .override_usage("bryo COMMAND [FLAGS]...")
        .disable_help_subcommand(true)
        .subcommands(COMMANDS.iter().map(|command| (command.build)()))
}

/// Does what the words after the program's name ask for; the exit status.
pub fn main(arguments: &[OsString]) -> Result<u8, Failure> {
    let (answer, code) = match arguments.split_first() {
        None => (Answer::text(pages::root_help()), 0),
        Some((command, rest)) if command == "doctor" => doctor::answer(rest)?,
        Some((command, rest)) => (answer(command, rest)?, 0),
    };
    answer.print().map_err(|error| Failure::new(&error))?;
    Ok(code)
}

fn answer(command: &OsStr, rest: &[OsString]) -> Result<Answer, Failure> {
    match command.to_str() {
        Some("profile") => profile::answer(rest, &Surroundings::of_process()),
        Some("completions") => pages::completions(rest),
        Some("man") => pages::man(rest),
        Some("help") => pages::help(rest),
        Some("-h" | "--help") => Ok(Answer::text(pages::root_help())),
        Some("-V" | "--version") => {
            Ok(Answer::text(concat!("bryo ", env!("CARGO_PKG_VERSION"), "\n")))
        }
        _ => Err(Failure::new(&unknown(command))),
    }
}

fn unknown(word: &OsStr) -> CliError {
    let typed = word.to_str().unwrap_or_default();
    if typed.starts_with('-') {
        return CliError::UnknownFlag {
            flag: flag::quoted(word),
            command: "bryo".to_owned(),
            nearest: nearest(typed, ["--help", "--version"]).map(str::to_owned),
        };
    }
    CliError::UnknownCommand {
        name: flag::quoted(word),
        nearest: nearest(typed, COMMANDS.iter().map(|command| command.name)),
    }
}
