//! `bryo stats`.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::OpsError;
use crate::ops::stats::{Meter, Row, formatted, json, json_line, parse_format, table};
use crate::ops::stores::Here;
use crate::ops::template::Template;
use crate::report::Failure;
use crate::report::frame::Frame;
use crate::report::terminal::size_of_stdout;
use crate::spec::Text;

use super::error::CliError;
use super::flag::{is_set, many, one, parsed, switch, value};
use super::output::Answer;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// `bryo stats`, as clap knows it.
pub fn command() -> Command {
    Command::new("stats")
        .about("Show what running sandboxes use: processors, memory, disks, network")
        .after_help(
            "Again each second, until it is interrupted. A `-` is what cannot be had.\n\nWhat a control group \
             counts is exact. A sandbox without one is measured by looking at its processes: time of those that \
             ended counts where their parent waited for them, memory is what no file backs, and disks are those of \
             the processes alive. CPU is per cent of one processor.",
        )
        .arg(
            Arg::new("sandbox")
                .value_name("SANDBOX")
                .help("Names, ids, or beginnings of them; all that run otherwise")
                .num_args(0..)
                .value_parser(ValueParser::os_string()),
        )
        .arg(switch("no-stream", "Once: what was used in one second"))
        .arg(value(
            "format",
            "TEMPLATE",
            "As in '{{.Name}} {{.CPUPerc}}'; also ID, MemUsage, MemPerc, NetIO, BlockIO, PIDs; `table …` for titles, \
             `json`",
        ))
        .arg(switch("json", "Answer as JSON: with --no-stream one list, otherwise one in each line"))
}

enum Form {
    Table,
    Json,
    Template(Template),
}

/// Answers `bryo stats`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let form = form(matches)?;
    let wanted: Vec<Text> = many(matches, "sandbox").map(Text::from).collect();
    let failed = |error: OpsError| Failure::new(&error);
    let here = Here::look().map_err(failed)?;
    let mut meter = Meter::new(&here.stores, &wanted).map_err(failed)?;
    let first = meter.measure().map_err(failed)?;
    if is_set(matches, "no-stream") {
        std::thread::sleep(EVERY);
        let rows = meter.measure().map_err(failed)?;
        return match &form {
            Form::Json => json(&rows).map(Answer::bytes).map_err(failed),
            Form::Table | Form::Template(_) => {
                let screen = size_of_stdout().map(|(_, columns)| columns);
                text(&rows, &form, screen).map(Answer::text).map_err(failed)
            }
        };
    }
    match stream(meter, first, &form) {
        Err(error) if error.is_broken_pipe() => Ok(Answer::text("")),
        Err(error) => Err(failed(error)),
        Ok(()) => Ok(Answer::text("")),
    }
}

/// Until all that were named have ended, or nobody reads.
fn stream(mut meter: Meter<'_>, first: Vec<Row>, form: &Form) -> Result<(), OpsError> {
    let (mut rows, mut frame) = (first, Frame::default());
    let mut out = io::stdout().lock();
    loop {
        // What a program reads goes out as it is.
        let size = size_of_stdout().filter(|_| !matches!(form, Form::Json));
        let text = text(&rows, form, size.map(|(_, columns)| columns))?;
        let shown = size.map_or(text.clone(), |size| frame.show(&text, size));
        out.write_all(shown.as_bytes()).and_then(|()| out.flush()).map_err(OpsError::Write)?;
        if meter.is_over(&rows) {
            return Ok(());
        }
        std::thread::sleep(EVERY);
        rows = meter.measure()?;
    }
}

fn text(rows: &[Row], form: &Form, screen: Option<usize>) -> Result<String, OpsError> {
    Ok(match form {
        Form::Table => table(rows, screen),
        Form::Template(template) => formatted(rows, template),
        Form::Json => json_line(rows)? + "\n",
    })
}

fn form(matches: &ArgMatches) -> Result<Form, CliError> {
    Ok(match one(matches, "format").map(|given| (given, given.to_str())) {
        _ if is_set(matches, "json") => Form::Json,
        None | Some((_, Some("table"))) => Form::Table,
        Some((_, Some("json"))) => Form::Json,
        Some((given, _)) => Form::Template(parsed("--format", given, parse_format)?),
    })
}
