//! `bryo inspect`.

use clap::{ArgMatches, Command};

use crate::ops::inspect::{formatted, inspect, json};
use crate::ops::ps::Template;
use crate::ops::stores::Here;
use crate::report::Failure;
use crate::spec::Text;

use super::flag::{bad, many, one, sandbox, switch, text, value};
use super::output::Answer;

/// `bryo inspect`, as clap knows it.
pub fn command() -> Command {
    Command::new("inspect")
        .about("Print everything that is known of a sandbox, as JSON")
        .arg(sandbox().num_args(0..))
        .arg(
            value(
                "format",
                "TEMPLATE",
                "Parts of it, as in '{{.name}} {{.spec.command.argv}}', also Docker's {{.State.Status}}, {{.Config.Labels}}, \
                 {{.HostConfig.NetworkMode}} and what stands beside them; `json`: each on one line",
            )
            .short('f'),
        )
        .arg(switch("json", "Answer as JSON: always so"))
        .after_help("Of several sandboxes it is a list, and of one that is not there nothing: that is told, and the status is 125.")
}

/// Answers `bryo inspect`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let format = match one(matches, "format") {
        None => None,
        Some(given) if given == "json" => Some("{{json .}}"),
        Some(given) => Some(text("--format", given)?),
    };
    let format = format.map(|text| {
        Template::parse(text, &[]).map_err(|source| Failure::new(&bad("--format", text, source)))
    });
    let format = format.transpose()?;
    let here = Here::look()?;
    let named: Vec<Option<Text>> = many(matches, "sandbox").map(|name| Some(name.into())).collect();
    let named = if named.is_empty() { vec![None] } else { named };
    let (mut records, mut failures) = (Vec::new(), Vec::new());
    for name in &named {
        match here.which(name.as_ref()).and_then(|which| inspect(&here.stores, which)) {
            Ok(record) => records.push(record),
            Err(error) => failures.push(Failure::new(&error)),
        }
    }
    let text = match format {
        Some(format) => formatted(&here.stores, &records, &format)?,
        None if records.is_empty() => String::new(),
        None => json(&records, named.len())?,
    };
    let answer = Answer::bytes(text.into_bytes());
    match Failure::all(failures) {
        None => Ok(answer),
        Some(failure) => {
            answer.print()?;
            Err(failure)
        }
    }
}
