//! `bryo diff`.

use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use clap::{ArgMatches, Command};

use crate::ops::OpsError;
use crate::ops::diff::{Form, HeldState, Request, Shown, Wanted, diff};
use crate::ops::stores::Here;
use crate::report::{Colour, Failure, Look, Pager, Screen};

use super::flag::{is_set, switch};
use super::output::Answer;
use super::selection::{self, Selected};
use super::surroundings::Surroundings;

/// `bryo diff`, as clap knows it.
pub fn command() -> Command {
    selection::arguments(Command::new("diff"))
        .about("Show what a sandbox changed: A added, C changed, D deleted")
        .arg(switch("content", "Also in which lines the files differ").short('c'))
        .arg(switch("stat", "Also how many lines were added and removed"))
        .arg(
            switch("name-only", "Only paths")
                .alias("names")
                .conflicts_with_all(["content", "stat", "json"]),
        )
        .arg(switch("name-status", "Only letters and paths").conflicts_with_all([
            "content",
            "stat",
            "json",
            "name-only",
        ]))
        .arg(
            switch(
                "null",
                "Only paths, as they are, each with a NUL byte behind it; with --name-status the letters too",
            )
                .short('z')
                .short_alias('0')
                .conflicts_with_all(["content", "stat", "json"]),
        )
        .arg(switch("json", "Answer as JSON; with --content the lines too").conflicts_with("stat"))
        .arg(switch("digest", "End with the digest, however much has to be read for it"))
        .arg(switch("no-pager", "Write to the terminal, however long it is"))
        .mut_arg("content", |arg| arg.conflicts_with("stat"))
        .after_help(AFTER)
}

const AFTER: &str = "\
Ends with the digest of what was shown: `bryo apply --reviewed DIGEST` applies exactly that. Paths \
that other programs will execute are marked. On a terminal, what is longer than the screen goes \
through $PAGER, or `less -R`.

  bryo diff                       what the newest sandbox started here changed
  bryo diff --content src/        the lines, below src/
  bryo diff --exclude target -z   paths for xargs -0";

/// Answers `bryo diff`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let caller = Surroundings::of_process();
    let selected = selection::read(matches, &caller)?;
    let form = form(matches);
    let shown = match screen(form, is_set(matches, "no-pager")) {
        Some(screen) => {
            let pager = caller.variable("PAGER").filter(|program| !program.is_empty());
            if is_none(pager, caller.variable("TERM")) {
                straight(matches, &caller, &selected)
            } else {
                let mut pager = Pager::new(screen, pager);
                let shown = write(matches, &caller, &selected, &mut pager);
                pager.finish().map_err(OpsError::Write).and(shown)
            }
        }
        None => straight(matches, &caller, &selected),
    };
    match shown {
        Err(error) if error.is_broken_pipe() => Ok(Answer::text("")),
        Err(error) => Err(Failure::new(&error)),
        Ok(shown) => {
            say_whether_it_runs(&shown);
            say_where_nothing_changed(&shown, is_shown_whole(&selected));
            Ok(Answer::text(""))
        }
    }
}

/// Whether what the user has set is no pager: `cat`, or a terminal that `less` cannot page on.
fn is_none(pager: Option<&OsStr>, terminal: Option<&OsStr>) -> bool {
    let is_dumb = terminal.is_none_or(|name| name.is_empty() || name == "dumb");
    pager.map_or(is_dumb, |program| program == "cat")
}

/// The screen, where a long answer is for people who look at one.
fn screen(form: Form, no_pager: bool) -> Option<Screen> {
    let machine = matches!(form, Form::Json | Form::JsonContent | Form::NulNames | Form::NulStatus);
    if no_pager || machine || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return None;
    }
    Screen::of_stdout()
}

fn straight(
    matches: &ArgMatches,
    caller: &Surroundings,
    selected: &Selected,
) -> Result<Shown, OpsError> {
    // A layer may hold millions of changes: they are written as they are found.
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let shown = write(matches, caller, selected, &mut out)
        .and_then(|shown| out.flush().map_err(OpsError::Write).map(|()| shown));
    // What is left in the buffer of a failure has no reader.
    drop(out.into_parts());
    shown
}

fn write(
    matches: &ArgMatches,
    caller: &Surroundings,
    selected: &Selected,
    out: &mut dyn Write,
) -> Result<Shown, OpsError> {
    let here = Here::look()?;
    let digest = if is_set(matches, "digest") { Wanted::Always } else { Wanted::Usual };
    let form = form(matches);
    let colour = match form {
        Form::List | Form::Content | Form::Stat => Look::of_stdout().colour,
        _ => Colour::No,
    };
    let later = selection::later(caller);
    let request = Request { selection: &selected.selection, form, colour, digest, later };
    diff(&here.stores, here.which(selected.sandbox.as_ref())?, request, out)
}

/// What is written after the list was made is not in it.
fn say_whether_it_runs(shown: &Shown) {
    let id = shown.id;
    let text = match shown.held {
        Some(HeldState::Memory) if shown.running => Some(format!(
            "sandbox {id} still runs, and memory holds what it writes: it is shown when the run has ended"
        )),
        Some(HeldState::Gone) => Some(format!(
            "memory held what sandbox {id} wrote (`--disk`), and that is gone: its run was killed"
        )),
        _ => shown
            .running
            .then(|| format!("sandbox {id} still runs: what it changes from now on is not shown")),
    };
    if let Some(text) = text {
        let text = Look::of_stderr().paragraph("bryo: ", &text);
        // There is nobody left to tell that stderr is closed.
        io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
    }
}

/// Whether all that it changed was asked for.
fn is_shown_whole(selected: &Selected) -> bool {
    selected.selection.paths.is_empty() && selected.selection.exclude.is_empty()
}

/// A path that is written wrongly looks like one in which nothing changed. That there is nothing at all, a person
/// is told, and a program sees.
fn say_where_nothing_changed(shown: &Shown, whole: bool) {
    let at = |path| format!("sandbox {} changed nothing at or below `{path}`", shown.id);
    let nothing = whole && shown.counts.total() == 0 && io::stderr().is_terminal();
    let nothing = nothing.then(|| format!("sandbox {} changed nothing", shown.id));
    for text in shown.unchanged.iter().map(at).chain(nothing) {
        let text = Look::of_stderr().paragraph("bryo: ", &text);
        // There is nobody left to tell that stderr is closed.
        io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
    }
}

fn form(matches: &ArgMatches) -> Form {
    let content = is_set(matches, "content");
    match () {
        () if is_set(matches, "json") && content => Form::JsonContent,
        () if is_set(matches, "json") => Form::Json,
        () if is_set(matches, "null") && is_set(matches, "name-status") => Form::NulStatus,
        () if is_set(matches, "null") => Form::NulNames,
        () if is_set(matches, "name-only") => Form::Names,
        () if is_set(matches, "name-status") => Form::Status,
        () if is_set(matches, "stat") => Form::Stat,
        () if content => Form::Content,
        () => Form::List,
    }
}
