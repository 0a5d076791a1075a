//! `bryo top`.

use clap::{ArgMatches, Command};

use crate::ops::stores::Here;
use crate::ops::top::{json, table, top};
use crate::report::{Failure, Look};
use crate::spec::Text;

use super::flag::{is_set, one, sandbox, switch};
use super::output::Answer;

/// `bryo top`, as clap knows it.
pub fn command() -> Command {
    Command::new("top")
        .about("List the processes in a sandbox that runs")
        .after_help(
            "PID is its number inside, HOST PID the one here, TIME the processor time of its own. A command line is \
             what the process has in its memory: it may have written something else there.",
        )
        .arg(sandbox())
        .arg(switch("json", "Answer as JSON"))
}

/// Answers `bryo top`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let named: Option<Text> = one(matches, "sandbox").map(Into::into);
    let rows = Here::look().and_then(|here| top(&here.stores, here.which(named.as_ref())?));
    let rows = rows?;
    if is_set(matches, "json") {
        return json(&rows).map(Answer::bytes).map_err(Failure::from);
    }
    Ok(Answer::text(table(&rows, Look::of_stdout().width)))
}
