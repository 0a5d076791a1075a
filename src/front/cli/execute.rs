//! `bryo run` and `bryo shell`, carried out: the plan shown, or the run, its report and its footer.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};

use crate::ops::detach::{self, Cause, Outcome};
use crate::ops::run::{self as op, Finished};
use crate::report::footer::{notices, steps};
use crate::report::{Detail, Explain, Failure, Kept, Look, footer};
use crate::spec::Spec;

use super::apply;
use super::output::Answer;
use super::report_file::ReportFile;
use super::run::{Input, Kind, Run, Show, parse};
use super::surroundings::Surroundings;
use super::usage::Asked;

/// The record is no JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the record as JSON")]
struct EncodeError(#[source] serde_json::Error);

impl Explain for EncodeError {}

/// Standard input cannot be replaced.
#[derive(Debug, thiserror::Error)]
#[error("cannot put `/dev/null` in the place of standard input")]
pub(super) struct InputError(#[source] std::io::Error);

impl Explain for InputError {}

/// `bryo run`.
pub(super) fn run(arguments: &[OsString]) -> Result<Answer, Failure> {
    execute(Kind::Run, arguments)
}

/// `bryo shell`.
pub(super) fn shell(arguments: &[OsString]) -> Result<Answer, Failure> {
    execute(Kind::Shell, arguments)
}

fn execute(kind: Kind, arguments: &[OsString]) -> Result<Answer, Failure> {
    let asked = parse(kind, arguments, &Surroundings::of_process())?;
    let run = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(run) => run,
    };
    match run.show {
        Show::Plan { json } => show_plan(&run.spec, json),
        Show::Nothing | Show::Summary | Show::Everything
            if run.spec.lifetime.detached.is_some() =>
        {
            detach(&run)
        }
        Show::Nothing | Show::Summary | Show::Everything => carry_out(&run),
    }
}

fn show_plan(spec: &Spec, json: bool) -> Result<Answer, Failure> {
    let form = if json { op::PlanForm::Json } else { op::PlanForm::Text };
    Ok(Answer::text(op::plan_only(spec, form)?))
}

fn carry_out(run: &Run) -> Result<Answer, Failure> {
    if run.input == Input::Null {
        disconnect_input()?;
    }
    let report = match &run.spec.lifetime.report {
        Some(path) => {
            let passed = &run.spec.command.descriptors.pass;
            Some(ReportFile::open(path, passed)?)
        }
        None => None,
    };
    let finished = op::run(&run.spec)?;
    let code = finished.ended.how.exit_code();
    let applies = run.apply_on_success && code == 0 && finished.kept;
    tell(&finished, if applies { Kept::AndApplied } else { kept(&finished) }, run.show);
    if let Some(report) = report {
        let json = finished.record.to_pretty_json();
        let json = json.map_err(|e| Failure::new(&EncodeError(e)))?;
        report.write(&json)?;
    }
    if applies {
        let code = apply::after_success(finished.record.id.as_str())?;
        return Ok(Answer::text("").with_code(code));
    }
    Ok(Answer::text("").with_code(code))
}

/// A sandbox that ran before, once more and here.
pub(super) fn started(spec: &Spec) -> Result<Answer, Failure> {
    let finished = op::run(spec)?;
    tell(&finished, kept(&finished), Show::Summary);
    Ok(Answer::text("").with_code(finished.ended.how.exit_code()))
}

/// Starts it and leaves it alone.
fn detach(run: &Run) -> Result<Answer, Failure> {
    let started = match detach::start(&run.spec, None, None, Cause::Start)? {
        Outcome::Started(started) => started,
        Outcome::Busy(failure) => return Err(failure),
    };
    if run.show != Show::Nothing {
        let look = Look::of_stderr();
        let warning = started.warning().map(|text| look.paragraph("bryo: ", text));
        let text = notices(&started.notices, &look) + &warning.unwrap_or_default();
        // There is nobody left to tell that stderr is closed.
        std::io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
    }
    Ok(Answer::text(format!("{}\n", started.id)))
}

/// Puts `/dev/null` in the place of standard input.
pub(super) fn disconnect_input() -> Result<(), InputError> {
    let null = std::fs::File::open("/dev/null").map_err(InputError)?;
    rustix::stdio::dup2_stdin(&null).map_err(|errno| InputError(errno.into()))
}

fn kept(finished: &Finished) -> Kept {
    if finished.kept { Kept::Yes } else { Kept::No }
}

/// Most of it only a person wants to hear: on a terminal, or when asked for.
fn tell(finished: &Finished, kept: Kept, show: Show) {
    let mut stderr = std::io::stderr().lock();
    let detail = match show {
        Show::Everything => Detail::All,
        Show::Summary if stderr.is_terminal() => Detail::Usual,
        Show::Summary => Detail::Least,
        Show::Nothing | Show::Plan { .. } => return,
    };
    let mut text = footer(&finished.record, kept, detail, &Look::of_stderr());
    if detail == Detail::All {
        text.insert_str(0, &steps(&finished.record));
    }
    // There is nobody left to tell that stderr is closed.
    stderr.write_all(text.as_bytes()).unwrap_or_default();
}
