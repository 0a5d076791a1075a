//! `bryo ps`.

use std::ffi::OsString;

use clap::Command;

use crate::ops::ps::{Scope, ids, json, list, now, table};
use crate::ops::stores::Here;
use crate::report::Failure;

use super::flag::{is_set, switch};
use super::output::Answer;
use super::usage::{self, Asked};

/// `bryo ps`, as clap knows it.
pub fn command() -> Command {
    Command::new("ps")
        .about("List sandboxes that run")
        .arg(switch("all", "Also those that ended and left something").short('a'))
        .arg(switch("quiet", "Only ids").short('q').conflicts_with("json"))
        .arg(switch("json", "Answer as JSON"))
}

/// Answers the words after `bryo ps`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let asked = usage::matches(command(), arguments, |_, _| None).map_err(|e| Failure::new(&e))?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(matches) => matches,
    };
    let scope = if is_set(&matches, "all") { Scope::All } else { Scope::Running };
    let rows = Here::look().and_then(|here| list(&here.stores, scope));
    let rows = rows.map_err(|error| Failure::new(&error))?;
    if is_set(&matches, "json") {
        return json(&rows).map(Answer::bytes).map_err(|error| Failure::new(&error));
    }
    if is_set(&matches, "quiet") {
        return Ok(Answer::text(ids(&rows)));
    }
    // Names of others are escaped in the table.
    Ok(Answer::text(table(&rows, now())))
}
