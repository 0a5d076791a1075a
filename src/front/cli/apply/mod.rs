//! `bryo apply`.

mod person;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};

use clap::{ArgMatches, Command};

use crate::ops::OpsError;
use crate::ops::apply::{Doing, ExecutedLater, Nobody, Person, Report, Request, Resolve, apply};
use crate::ops::diff::Digest;
use crate::ops::stores::Here;
use crate::report::{Failure, Look};

use super::error::CliError;
use super::flag::{is_set, one, quoted, switch, value};
use super::output::Answer;
use super::selection::{self, Selected};
use super::surroundings::Surroundings;
use super::usage::{self, Asked};
use person::Terminal;

/// `bryo apply`, as clap knows it.
pub fn command() -> Command {
    selection::arguments(Command::new("apply"))
        .about("Bring what a sandbox changed to the host: all of it, or some paths")
        .arg(switch("dry-run", "Only tell what would be done").short('n'))
        .arg(switch("interactive", "Ask for each change").short('i').conflicts_with("json"))
        .arg(
            value("reviewed", "DIGEST", "Only if it is exactly what `bryo diff` showed")
                // What both sides become together nobody has seen.
                .conflicts_with("merge"),
        )
        .arg(
            switch("theirs", "Where the host changed too, take the sandbox's side")
                .conflicts_with_all(["ours", "merge"]),
        )
        .arg(
            switch("ours", "Where the host changed too, keep the host's; the sandbox's goes")
                .conflicts_with("merge"),
        )
        .arg(switch(
            "merge",
            "Where the host changed too, merge both, if git has what they began with",
        ))
        .arg(switch(
            "allow-executed-later",
            "Also what other programs will execute, or what opens to other users",
        ))
        .arg(switch("yes", "Do not ask").short('y').conflicts_with("interactive"))
        .arg(switch("json", "Answer as JSON"))
        .after_help(AFTER)
}

const AFTER: &str = "\
What the host changed since the sandbox started is not touched: it is listed with both sides, the rest \
is applied, and the exit status is 1. What was applied leaves the layer; the rest stays in it. An apply \
that was interrupted is finished by the same command again. Set-id bits, devices, sockets and owners \
are never applied. On a terminal it asks first, unless paths or --reviewed say what is meant. A path at \
which nothing changed is told, and the exit status is 1.

The sandbox stays also when nothing is left in it, for its record: `bryo rm` removes it, and \
`bryo system prune` all that ended and hold no changes.

  bryo apply                      all that the newest sandbox started here changed
  bryo apply src/ --exclude '*.o'
  bryo apply -i                   change by change
  bryo apply --dry-run --json";

/// Answers `bryo apply`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if is_set(matches, "interactive") && !is_terminal {
        return Err(Failure::new(&CliError::NobodyToChoose));
    }
    let asks = is_set(matches, "interactive");
    let offers = is_terminal && !is_settled(matches);
    let mut person: Box<dyn Person> = match () {
        () if asks || offers => Box::new(Terminal::new(!asks)),
        () if io::stderr().is_terminal() => Box::new(Terminal::silent()),
        () => Box::new(Nobody),
    };
    let report = carry_out(matches, person.as_mut())?;
    drop(person);
    match report {
        Some(report) if is_set(matches, "json") => {
            let bytes = report.json()?;
            Ok(Answer::bytes(bytes).with_code(code_of(&report)))
        }
        Some(report) => tell(&report, resolve(matches)),
        // Somebody chose nothing: it is not applied, and they know why.
        None => Ok(Answer::text("").with_code(1)),
    }
}

/// Whether the command line says what is meant: paths, a digest, no question, or nothing that is done.
fn is_settled(matches: &ArgMatches) -> bool {
    let says = ["yes", "dry-run", "json"].into_iter().any(|id| is_set(matches, id));
    says || one(matches, "reviewed").is_some() || selection::names_paths(matches)
}

/// What came of it; none when somebody quit.
fn carry_out(matches: &ArgMatches, person: &mut dyn Person) -> Result<Option<Report>, Failure> {
    let caller = Surroundings::of_process();
    let selected = selection::read(matches, &caller)?;
    let Selected { sandbox, selection } = &selected;
    let reviewed = reviewed(matches)?;
    let conflicts = resolve(matches);
    let allows = is_set(matches, "allow-executed-later");
    let executed_later = if allows { ExecutedLater::Allow } else { ExecutedLater::Stay };
    let doing = if is_set(matches, "dry-run") { Doing::DryRun } else { Doing::Really };
    let report = Here::look().and_then(|here| {
        let request = Request {
            which: here.which(sandbox.as_ref())?,
            selection,
            conflicts,
            executed_later,
            reviewed,
            doing,
            later: selection::later(&caller),
        };
        apply(&here.stores, request, person)
    });
    match report {
        Ok(report) => Ok(Some(report)),
        Err(OpsError::Quit) => Ok(None),
        Err(error) => Err(Failure::new(&error)),
    }
}

fn resolve(matches: &ArgMatches) -> Resolve {
    match () {
        () if is_set(matches, "theirs") => Resolve::Theirs,
        () if is_set(matches, "ours") => Resolve::Ours,
        () if is_set(matches, "merge") => Resolve::Merge,
        () => Resolve::Tell,
    }
}

fn reviewed(matches: &ArgMatches) -> Result<Option<Digest>, CliError> {
    let Some(text) = one(matches, "reviewed") else { return Ok(None) };
    let digest = text.to_str().and_then(|text| text.parse().ok());
    digest.map(Some).ok_or_else(|| CliError::Unusable {
        flag: "--reviewed",
        value: quoted(text),
        why: "it is not 64 hexadecimal digits",
        instead: "`bryo diff` ends with the digest of what it showed",
    })
}

/// 1 where something stays that was to be applied, or was named and is not there.
fn code_of(report: &Report) -> u8 {
    u8::from(!report.is_all() || !report.unchanged.is_empty())
}

fn tell(report: &Report, asked: Resolve) -> Result<Answer, Failure> {
    Answer::text(report.text()).print()?;
    // There is nobody left to tell that stderr is closed.
    io::stderr().write_all(hints(report, asked).as_bytes()).unwrap_or_default();
    Ok(Answer::text("").with_code(code_of(report)))
}

fn hints(report: &Report, asked: Resolve) -> String {
    let look = Look::of_stderr();
    report.hints(asked).into_iter().map(|hint| look.paragraph("hint: ", hint)).collect()
}

/// Applies the changes of a run that just ended with success. Gives the exit status: 125 where something
/// could not be applied, which no status of the payload says.
pub(super) fn after_success(sandbox: &str) -> Result<u8, Failure> {
    let arguments = [OsString::from("apply"), OsString::from(sandbox)];
    let matches = usage::matches(command(), &arguments[1..], |_, _| None);
    let Asked::For(matches) = matches? else { return Ok(0) };
    let mut person: Box<dyn Person> =
        if io::stderr().is_terminal() { Box::new(Terminal::silent()) } else { Box::new(Nobody) };
    let Some(report) = carry_out(&matches, person.as_mut())? else { return Ok(0) };
    drop(person);
    let look = Look::of_stderr();
    let text: String = report.text().lines().map(|line| look.paragraph("bryo: ", line)).collect();
    let is_quiet = report.left.is_empty() && !io::stderr().is_terminal();
    if !is_quiet {
        io::stderr()
            .write_all((text + &hints(&report, Resolve::Tell)).as_bytes())
            .unwrap_or_default();
    }
    Ok(if report.left.is_empty() { 0 } else { crate::report::EXIT_FAILED })
}
