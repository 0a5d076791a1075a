//! `bryo profile list|show|check`.

use std::ffi::OsStr;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::profile::{Format, Part, check, list, show};
use crate::profile::Reference;
use crate::report::Failure;

use super::flag::{is_set, one, switch};
use super::output::Answer;
use super::surroundings::Surroundings;

/// `bryo profile`, as clap knows it.
pub fn command() -> Command {
    let json = || switch("json", "Answer as JSON");
    let which = |name: &'static str, help| {
        Arg::new("which")
            .value_name(name)
            .help(help)
            .required(true)
            .value_parser(ValueParser::os_string())
    };
    Command::new("profile")
        .about("Show what profiles there are and what they say")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("list").about("List the profiles: built in and your own").arg(json()),
        )
        .subcommand(
            Command::new("show")
                .about("Print one profile")
                .arg(which("NAME|FILE", "A name, or a file written with a slash"))
                .arg(switch("resolved", "With everything it extends"))
                .arg(json()),
        )
        .subcommand(
            Command::new("check")
                .about("Say whether a profile can be used, and what is wrong where")
                .arg(which("FILE", "A file, or a name"))
                .arg(json()),
        )
}

/// Answers `bryo profile`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let library = Surroundings::of_process().library();
    let bytes = match matches.subcommand() {
        Some(("show", matches)) => {
            let part = if is_set(matches, "resolved") { Part::Resolved } else { Part::Own };
            show(&library, &which(matches, false)?, part, format(matches))
        }
        Some(("check", matches)) => {
            match check(&library, &which(matches, true)?, format(matches)) {
                Ok(bytes) => return Ok(Answer::bytes(bytes)),
                Err(errors) => {
                    let failures = errors.iter().map(Failure::new);
                    return Failure::all(failures).map_or_else(|| Ok(Answer::text("")), Err);
                }
            }
        }
        // clap lets no other through, but for `list`.
        Some((_, matches)) => list(&library, format(matches)),
        None => list(&library, Format::Text),
    };
    // What a file says is shown as it is only where no terminal reads it.
    Ok(Answer::bytes(bytes?))
}

fn format(matches: &ArgMatches) -> Format {
    if is_set(matches, "json") { Format::Json } else { Format::Text }
}

/// `check` is told a file: one in the current directory may be written without a slash.
fn which(matches: &ArgMatches, prefer_file: bool) -> Result<Reference, Failure> {
    let word = one(matches, "which").unwrap_or(OsStr::new(""));
    if prefer_file && std::path::Path::new(word).is_file() {
        return Ok(Reference::File(word.into()));
    }
    Reference::parse(word).map_err(|error| Failure::new(&super::CliError::Profile(error)))
}
