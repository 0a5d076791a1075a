//! `bryo rm`.

use std::fmt::Write as _;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::rm::{Running, remove};
use crate::ops::stores::Here;
use crate::report::Failure;
use crate::spec::Text;

use super::flag::{is_set, many, switch};
use super::output::Answer;

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

/// Answers `bryo rm`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let wanted: Vec<Text> = many(matches, "sandbox").map(Text::from).collect();
    let running = if is_set(matches, "force") { Running::Kill } else { Running::Refuse };
    let results = Here::look().and_then(|here| remove(&here.stores, &wanted, running));
    let mut removed = String::new();
    let mut failures = Vec::new();
    for result in results? {
        match result {
            // Writing to a string cannot fail.
            Ok(name) => writeln!(removed, "{name}").unwrap_or_default(),
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
