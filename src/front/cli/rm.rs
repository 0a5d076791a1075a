//! `bryo rm`.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::ValueParser;
use clap::{Arg, Command};

use crate::ops::rm::{Running, remove};
use crate::ops::stores::Here;
use crate::report::Failure;
use crate::spec::Text;

use super::flag::{is_set, many, switch};
use super::output::Answer;
use super::usage::{self, Asked};

/// `bryo rm`, as clap knows it.
pub fn command() -> Command {
    Command::new("rm")
        .about("Remove sandboxes that ended: their changes and their records")
        .arg(
            Arg::new("sandbox")
                .value_name("SANDBOX")
                .help("Names, ids, or beginnings of them of three characters or more")
                .num_args(1..)
                .required(true)
                .value_parser(ValueParser::os_string()),
        )
        .arg(switch(
                "force",
                "Kill those that run first; remove also those whose apply was interrupted, whatever \
                 that left on the host. One that is not there is no failure",
            )
            .short('f'),
        )
}

/// Answers the words after `bryo rm`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let asked = usage::matches(command(), arguments, |_, _| None)?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(matches) => matches,
    };
    let wanted: Vec<Text> = many(&matches, "sandbox").map(Text::from).collect();
    let running = if is_set(&matches, "force") { Running::Kill } else { Running::Refuse };
    let results = Here::look().and_then(|here| remove(&here.stores, &wanted, running));
    let mut removed = String::new();
    let mut failures = Vec::new();
    for result in results? {
        match result {
            // Writing to a string cannot fail.
            Ok(id) => writeln!(removed, "{id}").unwrap_or_default(),
            Err(error) => failures.push(Failure::new(&error)),
        }
    }
    let removed = Answer::text(removed);
    match Failure::all(failures) {
        None => Ok(removed),
        Some(failure) => {
            removed.print()?;
            Err(failure)
        }
    }
}
