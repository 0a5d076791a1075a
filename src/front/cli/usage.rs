//! What clap says about a command line, in our words.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::profile::value::nearest;
use crate::spec::Text;

use super::error::CliError;
use super::flag::quoted;

/// Help, or what was asked for.
#[derive(Debug)]
pub enum Asked<T> {
    /// A text for stdout.
    Help(String),
    /// This.
    For(T),
}

/// Parses the words after the name of one command.
///
/// `refused` is asked about flags that are not known.
pub fn matches(
    command: Command,
    arguments: &[OsString],
    refused: impl Fn(&str, &[OsString]) -> Option<CliError>,
) -> Result<Asked<ArgMatches>, CliError> {
    let mut command = named(command);
    // As `bryo help`, before the name of one below: `bryo network help create`.
    let turned = match arguments {
        [help, rest @ ..] if help == "help" && command.has_subcommands() => {
            Some([rest, &["--help".into()]].concat())
        }
        _ => None,
    };
    let arguments = turned.as_deref().unwrap_or(arguments);
    match command.try_get_matches_from_mut(arguments) {
        Ok(matches) => Ok(Asked::For(matches)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            ) =>
        {
            Ok(Asked::Help(ended(error.render().to_string())))
        }
        Err(error) => Err(translate(&error, below(&command, arguments), arguments, refused)),
    }
}

/// With what all commands have in common.
pub fn named(command: Command) -> Command {
    let name = format!("bryo {}", command.get_name());
    command.bin_name(name).no_binary_name(true).disable_version_flag(true)
}

/// The command that the words are for: one below, where the first one names it.
fn below<'a>(command: &'a Command, arguments: &[OsString]) -> &'a Command {
    let named = arguments.first().and_then(|word| command.find_subcommand(word));
    named.unwrap_or(command)
}

fn translate(
    error: &clap::Error,
    command: &Command,
    arguments: &[OsString],
    refused: impl Fn(&str, &[OsString]) -> Option<CliError>,
) -> CliError {
    let argument = first(error, ContextKind::InvalidArg);
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            refused(&flag, arguments).unwrap_or_else(|| unknown_flag(&argument, command))
        }
        ErrorKind::UnknownArgument
            if command.has_subcommands() && is_first(&argument, arguments) =>
        {
            no_subcommand(&argument, command)
        }
        ErrorKind::UnknownArgument => CliError::Unexpected(quoted(argument)),
        ErrorKind::ArgumentConflict if argument == first(error, ContextKind::PriorArg) => {
            CliError::Repeated(flag)
        }
        ErrorKind::ArgumentConflict => {
            // Of a flag that may have a value, as `--rm[=<BOOL>]`, people know the name.
            let mut other = first(error, ContextKind::PriorArg);
            other.truncate(other.find('[').unwrap_or(other.len()));
            CliError::Contradiction { one: flag, other }
        }
        ErrorKind::TooManyValues if !flag.starts_with('-') => {
            CliError::Unexpected(quoted(first(error, ContextKind::InvalidValue)))
        }
        ErrorKind::TooManyValues => CliError::UnexpectedValue(flag),
        ErrorKind::InvalidSubcommand => {
            no_subcommand(&first(error, ContextKind::InvalidSubcommand), command)
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => {
            CliError::MissingWord {
                word: argument,
                command: command.get_bin_name().unwrap_or("bryo").to_owned(),
            }
        }
        _ if flag.is_empty() => CliError::Unexpected(Text::default()),
        _ if error.get(ContextKind::InvalidValue).is_some_and(has_text) => {
            CliError::UnexpectedValue(flag)
        }
        _ => CliError::MissingValue(flag),
    }
}

/// Whether a word is the first one: with a command below, it stands in that one's place.
fn is_first(word: &str, arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|first| first.to_string_lossy() == word)
}

/// A text that ends its last line.
fn ended(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn no_subcommand(word: &str, command: &Command) -> CliError {
    let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    CliError::NoSubcommand {
        command: command.get_name().to_owned(),
        word: quoted(word),
        nearest: nearest(word, names.iter().copied()).map(str::to_owned),
        known: names.join(", "),
    }
}

fn has_text(value: &ContextValue) -> bool {
    matches!(value, ContextValue::String(text) if !text.is_empty())
}

/// The first text of a kind; empty when there is none.
fn first(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

fn unknown_flag(argument: &str, command: &Command) -> CliError {
    let word = argument.split('=').next().unwrap_or_default();
    let known: Vec<String> = command
        .get_arguments()
        .chain(command.get_subcommands().flat_map(Command::get_arguments))
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    // Without the dashes, which every flag has in common with every other.
    let meant = nearest(word.trim_start_matches('-'), known.iter().map(String::as_str));
    CliError::UnknownFlag {
        flag: quoted(word),
        command: command.get_bin_name().unwrap_or("bryo").to_owned(),
        nearest: meant.map(|name| format!("--{name}")),
    }
}
