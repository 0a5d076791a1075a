//! `bryo inspect`.

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use crate::ops::OpsError;
use crate::ops::inspect::{Record, formatted, inspect, json};
use crate::ops::ps::Template;
use crate::ops::stores::Here;
use crate::report::Failure;
use crate::spec::Text;

use super::flag::{bad, many, one, sandbox, switch, text, value};
use super::output::Answer;
use super::usage::{self, Asked};

/// `bryo inspect`, as clap knows it.
pub fn command() -> Command {
    Command::new("inspect")
        .about("Print everything that is known of a sandbox, as JSON")
        .arg(sandbox().num_args(0..))
        .arg(
            value(
                "format",
                "TEMPLATE",
                "Parts of it, as in '{{.name}} {{.spec.command.argv}}'; `json`: each on one line",
            )
            .short('f'),
        )
        .arg(switch("json", "Answer as JSON: always so"))
        .after_help("Of several sandboxes it is a list.")
}

/// Answers the words after `bryo inspect`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let asked = usage::matches(command(), arguments, |_, _| None)?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(matches) => matches,
    };
    let format = match one(&matches, "format") {
        None => None,
        Some(given) if given == "json" => Some("{{json .}}"),
        Some(given) => Some(text("--format", given)?),
    };
    let format = format.map(|text| {
        Template::parse(text, &[]).map_err(|source| Failure::new(&bad("--format", text, source)))
    });
    let format = format.transpose()?;
    let text = records(&matches).and_then(|records| match format {
        Some(format) => formatted(&records, &format),
        None => json(&records),
    });
    text.map(|text| Answer::bytes(text.into_bytes())).map_err(Failure::from)
}

fn records(matches: &ArgMatches) -> Result<Vec<Record>, OpsError> {
    let here = Here::look()?;
    let named: Vec<Option<Text>> = many(matches, "sandbox").map(|name| Some(name.into())).collect();
    let named = if named.is_empty() { vec![None] } else { named };
    named.iter().map(|name| inspect(&here.stores, here.which(name.as_ref())?)).collect()
}
