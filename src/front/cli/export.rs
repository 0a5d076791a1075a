//! `bryo export`.

use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use clap::{ArgMatches, Command};

use crate::ops::OpsError;
use crate::ops::export::{Destination, Exported, Form, Packing, export};
use crate::ops::stores::Here;
use crate::report::{Failure, Look};
use crate::spec::HostPath;

use super::error::CliError;
use super::flag::{is_set, one, switch, value};
use super::output::Answer;
use super::selection::{self, Selected};
use super::surroundings::Surroundings;

/// `bryo export`, as clap knows it.
pub fn command() -> Command {
    selection::arguments(Command::new("export"))
        .about("Write what a sandbox changed as a layer of an image, or as a patch")
        .arg(
            value(
                "output",
                "FILE",
                "To this file; packed when it ends in .zst; else to standard output",
            )
            .short('o'),
        )
        .arg(switch("patch", "As a patch that `git apply` takes: texts, links, executable bits"))
        .arg(
            value(
                "base",
                "DIR",
                "With --patch: paths are relative to this; otherwise to where it was started",
            )
            .requires("patch"),
        )
        .after_help(AFTER)
}

const AFTER: &str = "\
A layer is a tar archive in which `.wh.NAME` says that NAME was deleted. What an archive or a patch cannot \
hold is left out and told, and the status is 1. A sandbox that runs is refused.

  bryo export -o changes.tar.zst         everything
  bryo export --patch src/ | git apply   the texts below src/, in another checkout";

/// The status when something was left out.
const INCOMPLETE: u8 = 1;

/// Answers `bryo export`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let caller = Surroundings::of_process();
    let asked = asked(matches, &caller)?;
    let is_text = matches!(asked.form, Form::Patch(_));
    let mut shown = Answer::bytes(Vec::new());
    let result = match &asked.output {
        Some(path) => run(&asked, Destination::File(path)),
        // A terminal gets what others wrote escaped, and that is done with the whole of it.
        None if is_text && io::stdout().is_terminal() => {
            run(&asked, Destination::Stream(&mut shown.bytes))
        }
        None => {
            let mut out = BufWriter::with_capacity(256 * 1024, io::stdout().lock());
            let result = run(&asked, Destination::Stream(&mut out));
            // What is left in the buffer of a failure has no reader.
            drop(out.into_parts());
            result
        }
    };
    match result {
        Err(error) if error.is_broken_pipe() => Ok(Answer::text("")),
        Err(error) => Err(Failure::new(&error)),
        Ok(exported) => {
            tell(&exported);
            let code = if exported.left_out.is_empty() { 0 } else { INCOMPLETE };
            Ok(shown.with_code(code))
        }
    }
}

/// What was asked for.
struct Request {
    selected: Selected,
    form: Form,
    output: Option<HostPath>,
}

fn asked(matches: &ArgMatches, caller: &Surroundings) -> Result<Request, CliError> {
    let selected = selection::read(matches, caller)?;
    let path = |id, flag| one(matches, id).map(|path| caller.host_path(flag, path)).transpose();
    let output = match one(matches, "output") {
        Some(dash) if dash == OsStr::new("-") => None,
        _ => one(matches, "output").map(|path| caller.file("--output", path)).transpose()?,
    };
    let form = if is_set(matches, "patch") {
        Form::Patch(path("base", "--base")?)
    } else {
        let zst = output
            .as_ref()
            .is_some_and(|path| path.as_path().as_os_str().as_bytes().ends_with(b".zst"));
        Form::Layer(if zst { Packing::Zstd } else { Packing::Plain })
    };
    if output.is_none() && !matches!(form, Form::Patch(_)) && io::stdout().is_terminal() {
        return Err(CliError::Missing {
            what: "a file: an archive is nothing for a terminal",
            example: "as in `bryo export -o changes.tar`, or `bryo export --patch`",
        });
    }
    Ok(Request { selected, form, output })
}

fn run(request: &Request, to: Destination<'_>) -> Result<Exported, OpsError> {
    let here = Here::look()?;
    let Selected { sandbox, selection } = &request.selected;
    export(&here.stores, here.which(sandbox.as_ref())?, selection, &request.form, to)
}

/// Says what is not in it.
fn tell(exported: &Exported) {
    let look = Look::of_stderr();
    let mut text = String::new();
    for left in &exported.left_out {
        let line = format!("`{}`: {}", left.path, left.why.remark());
        text.push_str(&look.paragraph("bryo: ", &line));
    }
    if exported.elsewhere > 0 {
        let changes =
            crate::report::amount::count(exported.elsewhere, "change lies", "changes lie");
        let line =
            format!("{changes} elsewhere and not in the patch: `--base` names the directory");
        text.push_str(&look.paragraph("bryo: ", &line));
    }
    // There is nobody left to tell that stderr is closed.
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}
