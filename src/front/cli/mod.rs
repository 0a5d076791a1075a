//! The command line.
//!
//! # Theory of operation
//! The first word chooses the command; only that command's flags are declared to clap, for declaring
//! all of them takes longer than reading one line. The whole tree is built for help, man pages and
//! completions alone.

pub mod apply;
mod ask;
pub mod attach;
pub mod cp;
pub mod diff;
pub mod discard;
pub mod doctor;
pub mod error;
pub mod events;
pub mod exec;
mod execute;
pub mod export;
pub mod flag;
pub mod generate;
pub mod inspect;
pub mod logs;
pub mod network;
pub mod output;
pub mod pages;
pub mod port;
pub mod profile;
pub mod ps;
mod report_file;
pub mod rm;
pub mod run;
pub mod selection;
pub mod stats;
pub mod stop;
pub mod surroundings;
pub mod system;
pub mod top;
pub mod usage;

use std::ffi::{OsStr, OsString};

use clap::{ArgMatches, Command};

use crate::profile::value::nearest;
use crate::report::Failure;
use crate::report::quote::shell_command;

use Answers::{Flags, Words};
pub use error::CliError;
use output::Answer;
use usage::Asked;

/// One command.
struct Entry {
    name: &'static str,
    build: fn() -> Command,
    answer: Answers,
}

/// How a command is answered.
enum Answers {
    /// By what its flags say.
    Flags(fn(&ArgMatches) -> Result<Answer, Failure>),
    /// By itself, from the words after its name.
    Words(fn(&[OsString]) -> Result<Answer, Failure>),
}

impl Entry {
    fn answer(&self, words: &[OsString]) -> Result<Answer, Failure> {
        match self.answer {
            Answers::Words(answer) => answer(words),
            Answers::Flags(answer) => match usage::matches((self.build)(), words, |_, _| None)? {
                Asked::Help(text) => Ok(Answer::text(text)),
                Asked::For(matches) => answer(&matches),
            },
        }
    }
}

/// Every command, in the order of the help.
const COMMANDS: &[Entry] = &[
    Entry { name: "run", build: run::command, answer: Words(execute::run) },
    Entry { name: "shell", build: run::shell_command, answer: Words(execute::shell) },
    Entry { name: "exec", build: exec::command, answer: Words(exec::answer) },
    Entry { name: "cp", build: cp::command, answer: Flags(cp::answer) },
    Entry { name: "diff", build: diff::command, answer: Flags(diff::answer) },
    Entry { name: "apply", build: apply::command, answer: Flags(apply::answer) },
    Entry { name: "discard", build: discard::command, answer: Flags(discard::answer) },
    Entry { name: "export", build: export::command, answer: Flags(export::answer) },
    Entry { name: "ps", build: ps::command, answer: Flags(ps::answer) },
    Entry { name: "logs", build: logs::command, answer: Flags(logs::answer) },
    Entry { name: "attach", build: attach::command, answer: Flags(attach::answer) },
    Entry { name: "stop", build: stop::stop_command, answer: Words(stop::stop) },
    Entry { name: "kill", build: stop::kill_command, answer: Words(stop::kill) },
    Entry { name: "wait", build: stop::wait_command, answer: Words(stop::wait) },
    Entry { name: "pause", build: stop::pause_command, answer: Words(stop::pause) },
    Entry { name: "unpause", build: stop::unpause_command, answer: Words(stop::unpause) },
    Entry { name: "start", build: stop::start_command, answer: Words(stop::start) },
    Entry { name: "restart", build: stop::restart_command, answer: Words(stop::restart) },
    Entry { name: "rename", build: stop::rename_command, answer: Words(stop::rename) },
    Entry { name: "port", build: port::command, answer: Flags(port::answer) },
    Entry { name: "stats", build: stats::command, answer: Flags(stats::answer) },
    Entry { name: "top", build: top::command, answer: Flags(top::answer) },
    Entry { name: "events", build: events::command, answer: Flags(events::answer) },
    Entry { name: "inspect", build: inspect::command, answer: Flags(inspect::answer) },
    Entry { name: "rm", build: rm::command, answer: Flags(rm::answer) },
    Entry { name: "network", build: network::command, answer: Words(network::answer) },
    Entry { name: "system", build: system::command, answer: Flags(system::answer) },
    Entry { name: "doctor", build: doctor::command, answer: Flags(doctor::answer) },
    Entry { name: "profile", build: profile::command, answer: Flags(profile::answer) },
    Entry { name: "generate", build: generate::command, answer: Words(generate::answer) },
    Entry {
        name: "completions",
        build: pages::completions_command,
        answer: Words(pages::completions),
    },
    Entry { name: "man", build: pages::man_command, answer: Words(pages::man) },
    Entry { name: "version", build: pages::version_command, answer: Words(pages::version) },
    Entry { name: "help", build: pages::help_command, answer: Words(pages::help) },
];

fn find(name: &OsStr) -> Option<&'static Entry> {
    COMMANDS.iter().find(|command| name == command.name)
}

/// One command's flags, by its name.
fn build(name: &str) -> Command {
    let entry = find(name.as_ref());
    entry.map_or_else(tree, |command| (command.build)())
}

/// All of them.
pub fn tree() -> Command {
    Command::new("bryo")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Runs a program you do not trust, as an ordinary user, on the machine you already have",
        )
        .override_usage("bryo COMMAND [FLAGS]...")
        .after_help(
            "Begin with:\n  bryo run -- make  runs it: it can change nothing and reach nobody\n  bryo \
             diff         lists what it wrote, in a layer of its own\n  bryo help run     every flag",
        )
        .disable_help_subcommand(true)
        .subcommands(COMMANDS.iter().map(|command| (command.build)()))
}

/// Does what the words after the program's name ask for; the exit status.
pub fn main(arguments: &[OsString]) -> Result<u8, Failure> {
    let answer = match arguments.split_first() {
        None => Answer::text(pages::root_help()),
        Some((word, rest)) => match find(word) {
            Some(command) => command.answer(rest)?,
            // Asked by the completions alone: no command for people.
            None if word == "__complete" => pages::complete(rest)?,
            None => flag_alone(word, arguments)?,
        },
    };
    answer.print()?;
    Ok(answer.code)
}

/// What the flags of `bryo` itself ask for.
fn flag_alone(word: &OsStr, arguments: &[OsString]) -> Result<Answer, Failure> {
    match word.to_str() {
        Some("-h" | "--help") => Ok(Answer::text(pages::root_help())),
        Some("-V" | "--version") => pages::version(&[]),
        _ => Err(Failure::new(&unknown(word, arguments))),
    }
}

/// Whether `bryo run` has the flag.
fn is_flag_of_run(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    let run = run::command();
    run.get_arguments().any(|arg| {
        if let Some(long) = name.strip_prefix("--") {
            return arg.get_long_and_visible_aliases().is_some_and(|all| all.contains(&long));
        }
        let short = name.chars().nth(1);
        short.is_some_and(|short| arg.get_short() == Some(short))
    })
}

fn unknown(word: &OsStr, arguments: &[OsString]) -> CliError {
    let typed = word.to_str().unwrap_or_default();
    if typed == "--" {
        return CliError::NoCommand {
            program: shell_command(arguments.get(1..).unwrap_or_default()),
        };
    }
    if typed.starts_with('-') {
        if is_flag_of_run(typed) {
            return CliError::FlagBeforeCommand { flag: flag::quoted(word) };
        }
        return CliError::UnknownFlag {
            flag: flag::quoted(word),
            command: "bryo".to_owned(),
            nearest: nearest(typed, ["--help", "--version"]).map(str::to_owned),
        };
    }
    CliError::UnknownCommand {
        name: flag::quoted(word),
        nearest: nearest(typed, COMMANDS.iter().map(|command| command.name)),
        program: shell_command(arguments),
    }
}
