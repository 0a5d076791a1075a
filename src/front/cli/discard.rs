//! `bryo discard`.
//!
//! # Decisions
//! - It asks where more goes than was named: the newest sandbox of a directory, all of them, or many changes. Named
//!   sandboxes and paths go without a question, as with `rm`. Where nobody can be asked, `--yes` is needed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};
use serde::Serialize;

use crate::ops::discard::{self, AtPaths, Chosen, Meant, Whole};
use crate::ops::ps::{self, PsRow};
use crate::ops::stores::Here;
use crate::profile::value::parse_duration;
use crate::report::amount::count;
use crate::report::{Failure, Look};
use crate::spec::{HostPath, Text};

use super::ask::{Consent, ask};
use super::error::CliError;
use super::flag::{is_set, many, one_parsed, switch, value};
use super::output::Answer;
use super::surroundings::Surroundings;

/// Changes from which on somebody is asked in any case.
const MANY: u64 = 100;

/// `bryo discard`, as clap knows it.
pub fn command() -> Command {
    let word = |id, name, help| {
        Arg::new(id)
            .value_name(name)
            .help(help)
            .num_args(0..)
            .value_parser(ValueParser::os_string())
    };
    Command::new("discard")
        .about("Drop what sandboxes wrote: all of it, or some paths")
        .override_usage("bryo discard [FLAGS] [SANDBOX]... [PATH]...")
        .arg(word(
            "words",
            "SANDBOX] [PATH",
            "Names, ids, or beginnings of them of three characters or more; the newest one started from here otherwise. Words with a slash \
             are paths: only these, and what lies below, of one sandbox",
        ))
        .arg(word("path", "PATH", "Only paths follow").last(true))
        .arg(switch("all", "Every sandbox that ended").short('a'))
        .arg(value("older-than", "TIME", "Every sandbox that ended so long ago, as in 7d or 12h"))
        .arg(switch("yes", "Do not ask").short('y').visible_alias("force").visible_short_alias('f'))
        .arg(switch("dry-run", "Only say what would go").short('n'))
        .arg(switch("json", "Answer as JSON"))
}

/// What was asked for.
struct Wanted {
    sandboxes: Vec<Text>,
    paths: Vec<HostPath>,
    all: bool,
    age: Option<Duration>,
    manner: Manner,
}

impl Wanted {
    /// The word that it was named by, as `rm` and Docker answer; else its id.
    fn word_for(&self, row: &PsRow) -> String {
        let is_of = |word: &&Text| {
            row.name.as_deref().is_some_and(|name| name.as_bytes() == word.as_bytes())
                || row.id.as_str().as_bytes().starts_with(word.as_bytes())
        };
        self.sandboxes.iter().find(is_of).map_or_else(|| row.id.to_string(), Text::to_string)
    }
}

/// How it is done.
#[derive(Clone, Copy)]
struct Manner {
    yes: bool,
    dry: bool,
    json: bool,
}

/// Answers `bryo discard`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let wanted = read(matches, &Surroundings::of_process())?;
    let here = Here::look()?;
    if wanted.paths.is_empty() { wholly(&here, &wanted) } else { partly(&here, &wanted) }
}

fn read(matches: &ArgMatches, caller: &Surroundings) -> Result<Wanted, CliError> {
    let is_path = |word: &&OsStr| {
        word.as_bytes().contains(&b'/') || matches!(word.as_bytes(), b"." | b".." | b"~")
    };
    let words: Vec<&OsStr> = many(matches, "words").collect();
    let sandboxes: Vec<Text> =
        words.iter().take_while(|word| !is_path(word)).map(|word| Text::from(*word)).collect();
    let paths = words[sandboxes.len()..].iter().copied().chain(many(matches, "path"));
    let paths = paths.map(|path| caller.host_path("PATH", path)).collect::<Result<Vec<_>, _>>()?;
    let all = is_set(matches, "all");
    let age = one_parsed(matches, "older-than", "--older-than", parse_duration)?;
    let every = if all { Some("--all") } else { age.map(|_| "--older-than") };
    if let Some(every) = every
        && (!sandboxes.is_empty() || !paths.is_empty())
    {
        let other = if sandboxes.is_empty() { "PATH" } else { "SANDBOX" };
        return Err(CliError::Contradiction { one: every.to_owned(), other: other.to_owned() });
    }
    if !paths.is_empty()
        && let Some(second) = sandboxes.get(1)
    {
        return Err(CliError::Unusable {
            flag: "SANDBOX",
            value: second.clone(),
            why: "paths can be discarded of one sandbox at a time",
            instead: "write a path that has no slash as ./PATH",
        });
    }
    let manner = Manner {
        yes: is_set(matches, "yes"),
        dry: is_set(matches, "dry-run"),
        json: is_set(matches, "json"),
    };
    Ok(Wanted { sandboxes, paths, all, age, manner })
}

/// Whole sandboxes.
fn wholly(here: &Here, wanted: &Wanted) -> Result<Answer, Failure> {
    let is_named = !wanted.sandboxes.is_empty();
    let meant = match () {
        () if is_named => Meant::Named(&wanted.sandboxes),
        () if wanted.all || wanted.age.is_some() => Meant::Ended(wanted.age),
        () => Meant::One(here.which(None)?),
    };
    let chosen = discard::choose(&here.stores, meant)?;
    if let Some(failure) = in_doubt(&chosen, wanted.sandboxes.len()) {
        return Err(failure);
    }
    let lost: u64 = chosen.rows.iter().map(changes_of).sum();
    let asks = !wanted.manner.yes && !wanted.manner.dry && (!is_named || lost > MANY);
    if asks && !chosen.rows.is_empty() {
        let question = format!(
            "Discard {} with {}?",
            count(length(&chosen.rows), "sandbox", "sandboxes"),
            count(lost, "change", "changes")
        );
        if consent(&table(&chosen.rows, &Look::of_stderr()), &question)? == Consent::Denied {
            return Ok(Answer::text("").with_code(1));
        }
    }
    finish_wholly(here, &chosen, wanted)
}

/// A word that names no sandbox may be a path of the one before it: then that one was not meant as a whole.
fn in_doubt(chosen: &Chosen, words: usize) -> Option<Failure> {
    let mut failures: Vec<Failure> = chosen.refused.iter().map(Failure::new).collect();
    if let Some(last) = failures.last_mut().filter(|_| words > 1) {
        let hint = "nothing was discarded; a path without a slash is written as ./PATH";
        last.hint = Some(hint.to_owned());
    }
    Failure::all(failures)
}

fn length<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}

fn changes_of(row: &PsRow) -> u64 {
    row.changes.map_or(0, |counts| counts.total())
}

fn table(rows: &[PsRow], look: &Look) -> String {
    ps::table(rows, ps::now(), look.width)
}

fn consent(shown: &str, question: &str) -> Result<Consent, Failure> {
    ask(shown, question, "--yes").map_err(Failure::from)
}

fn finish_wholly(here: &Here, chosen: &Chosen, wanted: &Wanted) -> Result<Answer, Failure> {
    let manner = wanted.manner;
    let mut failures = Vec::new();
    let mut lines = String::new();
    let mut list = Vec::new();
    for row in &chosen.rows {
        let done = if manner.dry { Ok(()) } else { discard::whole(&here.stores, row) };
        let discarded = done.is_ok() && !manner.dry;
        list.push(Whole { row: row.clone(), discarded });
        match done {
            // Writing to a string cannot fail.
            Ok(()) => writeln!(lines, "{}", wanted.word_for(row)).unwrap_or_default(),
            Err(error) => failures.push(Failure::new(&error)),
        }
    }
    let answer = match () {
        () if manner.json => json(&list)?,
        () if manner.dry => Answer::text(table(&chosen.rows, &Look::of_stdout())),
        () => Answer::text(lines),
    };
    finish(answer, failures)
}

/// The answer goes out also when something failed.
fn finish(answer: Answer, failures: Vec<Failure>) -> Result<Answer, Failure> {
    match Failure::all(failures) {
        None => Ok(answer),
        Some(failure) => {
            answer.print()?;
            Err(failure)
        }
    }
}

fn json(value: &impl Serialize) -> Result<Answer, Failure> {
    discard::json(value).map(Answer::bytes).map_err(Failure::from)
}

/// Paths of one sandbox.
fn partly(here: &Here, wanted: &Wanted) -> Result<Answer, Failure> {
    let which = here.which(wanted.sandboxes.first())?;
    let looked = discard::look(&here.stores, which, &wanted.paths)?;
    if wanted.manner.dry {
        return if wanted.manner.json { json(&looked) } else { Ok(Answer::text(listed(&looked))) };
    }
    let lost: u64 = looked.paths.iter().map(|at| at.changes).sum();
    if lost > MANY && !wanted.manner.yes {
        let question = format!("Discard {}?", count(lost, "change", "changes"));
        if consent(&listed(&looked), &question)? == Consent::Denied {
            return Ok(Answer::text("").with_code(1));
        }
    }
    let dropped = discard::paths(&here.stores, looked.sandbox, &wanted.paths);
    let dropped = dropped?;
    let answer = if wanted.manner.json {
        json(&discard::Part::of(&looked, &dropped))?
    } else {
        Answer::text("")
    };
    let failures = dropped.paths.iter().filter_map(|path| path.as_ref().err());
    finish(answer, failures.map(Failure::new).collect())
}

/// What is at and below each path, for people.
fn listed(looked: &AtPaths) -> String {
    let line =
        |at: &discard::AtPath| format!("{}: {}\n", at.path, count(at.changes, "change", "changes"));
    looked.paths.iter().map(line).collect()
}
