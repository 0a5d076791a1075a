//! `bryo help`, `bryo man`, `bryo completions`: the whole command line, written down.

mod live;

use std::ffi::{OsStr, OsString};
use std::io;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::ops::filter::{Key, completions as completions_of};
use crate::ops::{events, network, ps};
use crate::profile::value::nearest;
use crate::report::Failure;

use super::error::CliError;
use super::flag::{many, one, quoted};
use super::output::Answer;
use super::usage::{self, Asked};
use super::{COMMANDS, tree};

/// `bryo man`, as clap knows it.
pub fn man_command() -> Command {
    Command::new("man").about("Print the manual page").arg(word(
        "page",
        "COMMAND",
        "Only this command's",
    ))
}

pub use live::words as complete;

/// `bryo completions`, as clap knows it.
pub fn completions_command() -> Command {
    Command::new("completions")
        .about("Print completions for a shell")
        .arg(word("shell", "SHELL", "bash, zsh or fish").required(true))
        .after_help(
            "As in: bryo completions bash > ~/.local/share/bash-completion/completions/bryo",
        )
}

/// `bryo version`, as clap knows it.
pub fn version_command() -> Command {
    Command::new("version").about("Print the version")
}

/// `bryo version`, and `bryo --version`.
pub fn version(arguments: &[OsString]) -> Result<Answer, Failure> {
    match usage::matches(version_command(), arguments, |_, _| None) {
        Ok(Asked::Help(text)) => Ok(Answer::text(text)),
        Ok(Asked::For(_)) => Ok(Answer::text(concat!("bryo ", env!("CARGO_PKG_VERSION"), "\n"))),
        Err(error) => Err(Failure::new(&error)),
    }
}

/// `bryo help`, as clap knows it.
pub fn help_command() -> Command {
    Command::new("help")
        .about("Explain a command")
        .arg(word("page", "COMMAND", "Which; and one below it").num_args(0..=2))
}

fn word(id: &'static str, name: &'static str, help: &'static str) -> Arg {
    Arg::new(id).value_name(name).help(help).value_parser(ValueParser::os_string())
}

/// The word after the command, when there is one; or the command's own help.
fn asked(
    command: Command,
    id: &str,
    arguments: &[OsString],
) -> Result<Asked<Option<OsString>>, CliError> {
    Ok(match usage::matches(command, arguments, |_, _| None)? {
        Asked::Help(text) => Asked::Help(text),
        Asked::For(matches) => Asked::For(one(&matches, id).map(ToOwned::to_owned)),
    })
}

/// The name of a command that was typed.
fn known(name: &OsStr) -> Result<&'static str, CliError> {
    let typed = name.to_str().unwrap_or_default();
    let names = COMMANDS.iter().map(|command| command.name);
    names.clone().find(|known| *known == typed).ok_or_else(|| CliError::UnknownCommand {
        name: quoted(name),
        nearest: nearest(typed, names),
        program: String::new(),
    })
}

/// `bryo help [COMMAND]...`.
pub fn help(arguments: &[OsString]) -> Result<Answer, Failure> {
    page(arguments).map(Answer::text).map_err(Failure::from)
}

fn page(arguments: &[OsString]) -> Result<String, CliError> {
    let matches = match usage::matches(help_command(), arguments, |_, _| None)? {
        Asked::Help(text) => return Ok(text),
        Asked::For(matches) => matches,
    };
    let mut names = many(&matches, "page");
    let Some(name) = names.next() else { return Ok(root_help()) };
    let mut command = usage::named(super::build(known(name)?));
    let Some(below) = names.next() else { return Ok(command.render_help().to_string()) };
    if !command.has_subcommands() {
        return Err(CliError::Unexpected(quoted(below)));
    }
    match usage::matches(command, &[below.to_owned(), "--help".into()], |_, _| None)? {
        Asked::Help(text) => Ok(text),
        Asked::For(_) => Err(CliError::Unexpected(quoted(below))),
    }
}

/// What `bryo` alone shows.
pub fn root_help() -> String {
    tree().render_help().to_string()
}

/// `bryo man [COMMAND]`.
pub fn man(arguments: &[OsString]) -> Result<Answer, Failure> {
    let page = asked(man_command(), "page", arguments).and_then(|asked| match asked {
        Asked::Help(text) => Ok(text),
        Asked::For(None) => manual().map_err(CliError::Output),
        Asked::For(Some(name)) => one_page(known(&name)?).map_err(CliError::Output),
    });
    page.map(Answer::text).map_err(Failure::from)
}

/// The page of the whole program: each command is a section of it.
fn manual() -> io::Result<String> {
    let root = tree();
    let mut out = Vec::new();
    let page = Man::new(root.clone());
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    for command in root.get_subcommands() {
        let name = command.get_name();
        out.extend(format!(".SH \"BRYO {}\"\n", name.to_uppercase()).into_bytes());
        out.extend(section(command)?.into_bytes());
        for below in command.get_subcommands() {
            out.extend(format!(".SS \"bryo {name} {}\"\n", below.get_name()).into_bytes());
            out.extend(section(below)?.into_bytes());
        }
    }
    out.extend(MANUAL_END.as_bytes());
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// A command's parts, below a heading that stands already.
fn section(command: &Command) -> io::Result<String> {
    let page = Man::new(command.clone());
    let mut out = Vec::new();
    page.render_description_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    if command.get_arguments().next().is_some() {
        page.render_options_section(&mut out)?;
    }
    let text = String::from_utf8_lossy(&out).replace(".SH DESCRIPTION\n", "");
    Ok(text.replace(".SH ", ".SS "))
}

fn one_page(name: &str) -> io::Result<String> {
    let mut out = Vec::new();
    let command = usage::named(super::build(name)).name(format!("bryo-{name}"));
    Man::new(command.version(env!("CARGO_PKG_VERSION"))).render(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// What no flag says.
const MANUAL_END: &str = r#".SH "EXIT STATUS"
The program's own; 124 when \-\-timeout ended it, 125 when bryo failed, 126 when the program cannot be
executed, 127 when it was not found, 128+N when signal N ended it.
.SH FILES
.TP
$XDG_CONFIG_HOME/bryo/profiles/NAME.toml
Your own profiles; ~/.config where the variable is not set.
.TP
$XDG_DATA_HOME/bryo
Changes and records; ~/.local/share where the variable is not set.
.SH ENVIRONMENT
.TP
BRYO_STORE
Keeps changes and records here instead.
.TP
NO_COLOR, CLICOLOR_FORCE
Never, or always, write colours.
.TP
PAGER
Shows what `bryo diff` lists on a terminal; less \-R where it is not set.
"#;

/// `bryo completions SHELL`.
pub fn completions(arguments: &[OsString]) -> Result<Answer, Failure> {
    let script = asked(completions_command(), "shell", arguments).and_then(|asked| match asked {
        Asked::Help(text) => Ok(text),
        Asked::For(name) => shell(&name.unwrap_or_default()).map(script_for),
    });
    script.map(Answer::text).map_err(Failure::from)
}

fn shell(name: &OsString) -> Result<Shell, CliError> {
    match name.to_str() {
        Some("bash") => Ok(Shell::Bash),
        Some("zsh") => Ok(Shell::Zsh),
        Some("fish") => Ok(Shell::Fish),
        _ => Err(CliError::Unusable {
            flag: "bryo completions",
            value: quoted(name),
            why: "there are none for it",
            instead: "there are completions for bash, zsh and fish",
        }),
    }
}

/// Words that can stand behind a flag. clap gets to know them here alone: when it checks a value itself,
/// its errors say other things than ours.
const CHOICES: &[(&str, &[&str])] = &[
    ("root", &["host", "empty"]),
    ("overlay", &["auto", "kernel", "fuse"]),
    ("network", &["none", "user", "host", "bridge", "pasta", "slirp4netns"]),
    ("restart", &["no", "on-failure", "always", "unless-stopped"]),
    ("restart-policy", &["no", "on-failure", "always"]),
    ("signal", SIGNALS),
    ("stop-signal", SIGNALS),
    ("log-max-size", &["1m", "16m", "256m"]),
    ("since", &["10m", "1h", "24h"]),
    ("ids", &["single", "subid"]),
    ("landlock", &["required", "if-available", "off"]),
    ("sdnotify", &["bryo", "payload", "ignore"]),
    ("cgroup", &["none", "private"]),
    ("cgroups", &["split"]),
    ("shell", &["bash", "zsh", "fish"]),
];

const SIGNALS: &[&str] = &[
    "TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH", "ABRT", "ALRM",
];

/// What `--filter` takes, by command.
const FILTERS: &[(&str, &[Key])] = &[
    ("ps", &ps::FILTERS),
    ("events", &events::FILTERS),
    ("ls", &network::FILTERS),
    ("prune", &super::system::FILTERS),
];

/// Flags and words that name something in the file tree.
const PATHS: &[&str] = &[
    "cow", "write", "read", "hide", "tmpfs", "volume", "socket", "device", "rootfs", "workdir",
    "env-file", "report", "pcap", "profile", "seccomp", "which", "path", "words", "output", "base",
];

/// A command with what its completion can offer.
fn completed(command: Command) -> Command {
    let name = command.get_name().to_owned();
    command.mut_subcommands(completed).mut_args(|arg| {
        let id = arg.get_id().as_str();
        let of_filter = FILTERS.iter().find(|(command, _)| *command == name && id == "filter");
        if let Some((_, keys)) = of_filter {
            arg.value_parser(PossibleValuesParser::new(completions_of(keys)))
        } else if id == "network" && arg.is_positional() {
            // The name of one: see `live`.
            arg
        } else if let Some((_, words)) = CHOICES.iter().find(|(name, _)| *name == id) {
            arg.value_parser(PossibleValuesParser::new(*words))
        } else if PATHS.contains(&id) {
            arg.value_hint(ValueHint::AnyPath)
        } else if id == "command" {
            arg.value_hint(ValueHint::CommandWithArguments)
        } else {
            arg
        }
    })
}

fn script_for(shell: Shell) -> String {
    let mut out = Vec::new();
    let mut tree = tree().mut_subcommands(completed);
    clap_complete::generate(shell, &mut tree, "bryo", &mut out);
    live::with_sandboxes(shell, &String::from_utf8_lossy(&out))
}
