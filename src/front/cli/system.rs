//! `bryo system df|prune`.

use std::fmt::Write as _;

use clap::{ArgMatches, Command};

use crate::ops::discard::{self, Whole};
use crate::ops::filter::{Key, words};
use crate::ops::ps::{self, PsRow};
use crate::ops::stores::Here;
use crate::ops::system::{EndState, Filter, disk, prunable, prune};
use crate::profile::value::{ValueError, parse_duration};
use crate::report::amount::{count, size};
use crate::report::{Failure, Look};

use super::ask::{Consent, ask, do_not_ask};
use super::error::CliError;
use super::flag::{is_set, many, one_parsed, parsed, switch, value, values};
use super::output::Answer;

/// `bryo system`, as clap knows it.
pub fn command() -> Command {
    let json = || switch("json", "Answer as JSON");
    Command::new("system")
        .about("Show what all sandboxes take of the disk, and remove what can go")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("df").about("Measure every sandbox and what is kept beside them").arg(json()),
        )
        .subcommand(
            Command::new("prune")
                .about(
                    "Remove sandboxes that ended and changed nothing, trash, and what the next runs make again",
                )
                .arg(switch("all", "Also sandboxes that changed something").short('a'))
                .arg(value("older-than", "TIME", "Sandboxes that ended so long ago, as in 7d or 12h"))
                .arg(values(
                    "filter",
                    "KEY=VALUE",
                    "Sandboxes that fit: until=TIME, state=exited|died, name=NAME; repeatable",
                ))
                .arg(do_not_ask())
                .arg(switch("dry-run", "Only say what would go").short('n'))
                .arg(json()),
        )
}

/// Answers `bryo system`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let here = Here::look()?;
    match matches.subcommand() {
        Some(("prune", matches)) => {
            let filter = filter(matches)?;
            answer_prune(&here, matches, &filter)
        }
        // clap lets no other through, but for `df`.
        other => {
            let disk = disk(&here.stores)?;
            if other.is_some_and(|(_, matches)| is_set(matches, "json")) {
                return json(&disk);
            }
            Ok(Answer::text(disk.table(Look::of_stdout().width)))
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<Answer, Failure> {
    discard::json(value).map(Answer::bytes).map_err(Failure::from)
}

/// What `bryo system prune --filter` takes.
pub const FILTERS: [Key; 3] = [("until", &[]), ("state", STATES), ("name", &[])];

const KEYS: [&str; 3] = words(&FILTERS);

const STATES: &[&str] = &["exited", "died"];

fn filter(matches: &ArgMatches) -> Result<Filter, CliError> {
    let mut filter = Filter {
        all: is_set(matches, "all"),
        age: one_parsed(matches, "older-than", "--older-than", parse_duration)?,
        ..Filter::default()
    };
    for given in many(matches, "filter") {
        parsed("--filter", given, |text| read_filter(text, &mut filter))?;
    }
    Ok(filter)
}

/// `KEY=VALUE`.
fn read_filter(text: &str, filter: &mut Filter) -> Result<(), ValueError> {
    let (key, wanted) = text.split_once('=').unwrap_or_default();
    match key {
        "until" => filter.age = Some(parse_duration(wanted)?),
        "state" => {
            filter.state = Some(match wanted {
                "exited" => EndState::Exited,
                "died" | "killed" => EndState::Killed,
                other => return Err(ValueError::unknown(other, STATES)),
            });
        }
        "name" => filter.name = Some(wanted.to_owned()),
        other => return Err(ValueError::unknown(other, &KEYS)),
    }
    Ok(())
}

fn answer_prune(here: &Here, matches: &ArgMatches, filter: &Filter) -> Result<Answer, Failure> {
    let rows = prunable(&here.stores, filter)?;
    let as_json = is_set(matches, "json");
    if is_set(matches, "dry-run") {
        return if as_json {
            json(&wholes(&rows, |_| false))
        } else {
            Ok(Answer::text(ps::table(&rows, ps::now(), Look::of_stdout().width)))
        };
    }
    if !is_set(matches, "yes") && consent(&rows)? == Consent::Denied {
        return Ok(Answer::text("").with_code(1));
    }
    let pruned = prune(&here.stores, &rows)?;
    let is_gone = |index: usize| pruned.sandboxes.get(index).is_some_and(Result::is_ok);
    let answer = if as_json {
        json(&wholes(&rows, is_gone))?
    } else {
        let mut lines = String::new();
        for (_, row) in rows.iter().enumerate().filter(|(index, _)| is_gone(*index)) {
            // Writing to a string cannot fail.
            writeln!(lines, "{}", row.id).unwrap_or_default();
        }
        Answer::text(format!("{lines}freed {}\n", size(pruned.freed)))
    };
    let failures = pruned.sandboxes.iter().filter_map(|gone| gone.as_ref().err());
    match Failure::all(failures.chain(&pruned.failed).map(Failure::new)) {
        None => Ok(answer),
        Some(failure) => {
            answer.print()?;
            Err(failure)
        }
    }
}

fn wholes(rows: &[PsRow], is_gone: impl Fn(usize) -> bool) -> Vec<Whole> {
    let whole =
        |(index, row): (usize, &PsRow)| Whole { row: row.clone(), discarded: is_gone(index) };
    rows.iter().enumerate().map(whole).collect()
}

/// Asks, with what goes; when no sandbox does, nothing is lost.
fn consent(rows: &[PsRow]) -> Result<Consent, Failure> {
    if rows.is_empty() {
        return Ok(Consent::Given);
    }
    let number = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let question = format!("Remove {}?", count(number, "sandbox", "sandboxes"));
    ask(&ps::table(rows, ps::now(), Look::of_stderr().width), &question, "--yes")
        .map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_word_of_the_list_is_read() {
        let read = |text: &str| read_filter(text, &mut Filter::default());
        assert_eq!(crate::ops::filter::unread(&FILTERS, read), [""; 0]);
    }
}
