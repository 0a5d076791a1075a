//! `bryo ps`.

use clap::{ArgMatches, Command};

use crate::ops::ps::{
    Filter, Long, Scope, Template, choose, formatted, ids, json, json_lines, now, parse_format,
    table, whole_table,
};
use crate::ops::stores::Here;
use crate::profile::value::parse_whole;
use crate::report::{Failure, Look};

use super::error::CliError;
use super::flag::{is_set, many, one, one_parsed, parsed, switch, value, values};
use super::output::Answer;

/// `bryo ps`, as clap knows it.
pub fn command() -> Command {
    Command::new("ps")
        .about("List sandboxes that run")
        .arg(switch("all", "Also those that ended and left something").short('a'))
        .arg(switch("quiet", "Only ids").short('q').conflicts_with("json"))
        .arg(
            values(
                "filter",
                "KEY=VALUE",
                "Those that fit: status=running|paused|restarting|exited|died, name=[^]PART[$], id=BEGINNING, exited=CODE, \
                 label=NAME[=VALUE], health=starting|healthy|unhealthy|none, publish=PORT[/udp], network=WORD|NAME; \
                 repeatable",
            )
            .short('f'),
        )
        .arg(value(
            "format",
            "TEMPLATE",
            "As in '{{.ID}} {{.Names}}'; also Command, State, Status, CreatedAt, RunningFor, Size, Ports, Networks, Labels, \
             Changes, From, Profile, Health; `table …` for titles, `json` for all of these, an object on each line",
        ))
        .arg(value("last", "N", "The newest ones, also those that ended").short('n'))
        .arg(switch("no-trunc", "Whole commands, however wide the screen; ids are never cut"))
        .arg(switch("latest", "The newest one, also when it ended").short('l'))
        .arg(switch("json", "Answer as JSON"))
}

/// Answers `bryo ps`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let Wanted { scope, filters, last, form } = wanted(matches)?;
    let long = if is_set(matches, "no-trunc") { Long::Whole } else { Long::Cut };
    let rows = Here::look().and_then(|here| choose(&here.stores, scope, &filters));
    let mut rows = rows?;
    rows.truncate(last.unwrap_or(usize::MAX));
    Ok(match form {
        Form::Json => {
            let json = json(&rows).map(Answer::bytes);
            return json.map_err(Failure::from);
        }
        Form::JsonLines => Answer::text(json_lines(&rows, now(), long)?),
        Form::Ids => Answer::text(ids(&rows)),
        Form::Template(template) => Answer::text(formatted(&rows, &template, now(), long)),
        // Names of others are escaped in the table.
        Form::Table if long == Long::Whole => Answer::text(whole_table(&rows, now())),
        Form::Table => Answer::text(table(&rows, now(), Look::of_stdout().width)),
    })
}

/// How rows are shown.
enum Form {
    Json,
    /// With Docker's names, and one row on each line, as Docker has it.
    JsonLines,
    Ids,
    Template(Template),
    Table,
}

struct Wanted {
    scope: Scope,
    filters: Vec<Filter>,
    last: Option<usize>,
    form: Form,
}

fn wanted(matches: &ArgMatches) -> Result<Wanted, CliError> {
    let each = |given| parsed("--filter", given, Filter::parse);
    let filters = many(matches, "filter").map(each).collect::<Result<_, _>>()?;
    let last = one_parsed(matches, "last", "--last", parse_whole)?;
    let last = if is_set(matches, "latest") { Some(1) } else { last };
    let last = last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
    let all = is_set(matches, "all") || last.is_some();
    let form = match one(matches, "format").map(|given| (given, given.to_str())) {
        _ if is_set(matches, "json") => Form::Json,
        _ if is_set(matches, "quiet") => Form::Ids,
        None | Some((_, Some("table"))) => Form::Table,
        Some((_, Some("json" | "{{json .}}" | "{{ json . }}"))) => Form::JsonLines,
        Some((given, _)) => Form::Template(parsed("--format", given, parse_format)?),
    };
    Ok(Wanted { scope: if all { Scope::All } else { Scope::Running }, filters, last, form })
}
