//! `bryo events`.

use std::io::{self, BufWriter};

use clap::{ArgMatches, Command};

use crate::ops::events::{Form, Part, events, parse_format, read_filter};
use crate::ops::logs::parse_moment;
use crate::profile::value::ValueError;
use crate::report::Failure;

use super::error::CliError;
use super::flag::{is_set, many, one_parsed, parsed, switch, value, values};
use super::output::Answer;

/// `bryo events`, as clap knows it.
pub fn command() -> Command {
    Command::new("events")
        .about("Show what happens to sandboxes: that they start, end, are ill, paused or removed")
        .after_help(
            "Without --until it goes on until it is interrupted. Runs in the foreground are told of as those with \
             --detach are.",
        )
        .arg(value("since", "TIME", "Also what happened since then, as in 10m or 2026-01-31T12:00"))
        .arg(value("until", "TIME", "Only what happened before then, and no longer"))
        .arg(
            values("filter", "KEY=VALUE", "event=WORD, sandbox=NAME|ID; repeatable. Words are Docker's (start, die, exec_die, health_status, oom, …), network_connect and network_disconnect, and for --network user connect and refuse").short('f'),
        )
        .arg(value(
            "format",
            "TEMPLATE",
            "As in '{{.Time}} {{.Action}} {{.ID}}'; also Name, Status, Details; `json`",
        ))
        .arg(switch("json", "One JSON object per line"))
}

/// Answers `bryo events`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let part = part(matches)?;
    let form = form(matches)?;
    let mut out = BufWriter::new(io::stdout());
    match events(&part, &form, &mut out) {
        Err(error) if error.is_broken_pipe() => Ok(Answer::text("")),
        Err(error) => Err(Failure::new(&error)),
        Ok(()) => Ok(Answer::text("")),
    }
}

fn form(matches: &ArgMatches) -> Result<Form, CliError> {
    let format = one_parsed(matches, "format", "--format", parse_format)?;
    Ok(if is_set(matches, "json") { Form::Json } else { format.unwrap_or(Form::Text) })
}

fn part(matches: &ArgMatches) -> Result<Part, CliError> {
    let moment = |text: &str| parse_moment(text).ok_or(ValueError::NotAMoment);
    let mut part = Part {
        since: one_parsed(matches, "since", "--since", moment)?,
        until: one_parsed(matches, "until", "--until", moment)?,
        ..Part::default()
    };
    for given in many(matches, "filter") {
        parsed("--filter", given, |text| read_filter(text, &mut part))?;
    }
    Ok(part)
}
