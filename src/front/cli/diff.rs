//! `bryo diff`.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write as _};

use clap::{ArgMatches, Command};

use crate::ops::OpsError;
use crate::ops::diff::{Form, diff};
use crate::ops::stores::Here;
use crate::report::Failure;

use super::flag::{is_set, switch};
use super::output::Answer;
use super::selection::{self, Selected};
use super::surroundings::Surroundings;
use super::usage::{self, Asked};

/// `bryo diff`, as clap knows it.
pub fn command() -> Command {
    selection::arguments(Command::new("diff"))
        .about("List what a sandbox changed: A added, C changed, D deleted")
        .arg(switch("json", "Answer as JSON").conflicts_with_all(["names", "null"]))
        .arg(switch("names", "Only paths").conflicts_with("null"))
        .arg(switch("null", "Only paths, as they are, each with a NUL byte behind it").short('0'))
}

/// Answers the words after `bryo diff`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let asked = usage::matches(command(), arguments, |_, _| None).map_err(|e| Failure::new(&e))?;
    match asked {
        Asked::Help(text) => Ok(Answer::text(text)),
        Asked::For(matches) => show(&matches),
    }
}

fn show(matches: &ArgMatches) -> Result<Answer, Failure> {
    let caller = Surroundings::of_process();
    let Selected { sandbox, selection } =
        selection::read(matches, &caller).map_err(|e| Failure::new(&e))?;
    // A layer may hold millions of changes: they are written as they are found.
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = Here::look().and_then(|here| {
        diff(&here.stores, here.which(sandbox.as_ref())?, &selection, form(matches), &mut out)?;
        out.flush().map_err(OpsError::Write)
    });
    match shown {
        Err(error) if error.is_broken_pipe() => {
            // What is left in the buffer has no reader.
            drop(out.into_parts());
            Ok(Answer::text(""))
        }
        Err(error) => Err(Failure::new(&error)),
        Ok(()) => Ok(Answer::text("")),
    }
}

fn form(matches: &ArgMatches) -> Form {
    match () {
        () if is_set(matches, "json") => Form::Json,
        () if is_set(matches, "names") => Form::Names,
        () if is_set(matches, "null") => Form::NulNames,
        () => Form::Text,
    }
}
