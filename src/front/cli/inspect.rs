//! `bryo inspect`.

use std::ffi::OsString;

use clap::Command;

use crate::ops::inspect::inspect_json;
use crate::ops::stores::Here;
use crate::report::Failure;

use super::flag::{one, sandbox};
use super::output::Answer;
use super::usage::{self, Asked};

/// `bryo inspect`, as clap knows it.
pub fn command() -> Command {
    Command::new("inspect")
        .about("Print everything that is known of a sandbox, as JSON")
        .arg(sandbox())
}

/// Answers the words after `bryo inspect`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let asked = usage::matches(command(), arguments, |_, _| None).map_err(|e| Failure::new(&e))?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(matches) => matches,
    };
    let named = one(&matches, "sandbox").map(Into::into);
    let answer = Here::look()
        .and_then(|here| inspect_json(&here.stores, here.which(named.as_ref())?))
        .map(|json| Answer::bytes(json.into_bytes()));
    answer.map_err(|error| Failure::new(&error))
}
