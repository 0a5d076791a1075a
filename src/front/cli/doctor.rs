//! `bryo doctor`.

use clap::{ArgMatches, Command};

use crate::ops::doctor::{examine, fix_script, render_json, render_text};
use crate::report::{Failure, Look};

use super::flag::{is_set, switch};
use super::output::Answer;

/// The exit status when no default run works here.
const EXIT_BROKEN: u8 = 1;

/// `bryo doctor`, as clap knows it.
pub fn command() -> Command {
    Command::new("doctor")
        .about("Say what this machine offers, what each missing piece costs, and how to get it")
        .after_help("The exit status is 0 when a default run works here, 1 when it does not.")
        .arg(switch("json", "Answer as JSON"))
        .arg(
            switch("fix-script", "Print a script for an administrator that adds what is missing")
                .conflicts_with("json"),
        )
}

/// Answers `bryo doctor`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let report = examine();
    let code = if report.default_run_works { 0 } else { EXIT_BROKEN };
    if is_set(matches, "fix-script") {
        // Printed to be piped into a shell, which reads the script's own status.
        return Ok(Answer::bytes(fix_script(&report).into_bytes()));
    }
    if is_set(matches, "json") {
        let bytes = render_json(&report)?;
        return Ok(Answer::bytes(bytes).with_code(code));
    }
    // Names of the machine are escaped where they are put in; the colours are ours.
    Ok(Answer::text(render_text(&report, &Look::of_stdout())).with_code(code))
}
