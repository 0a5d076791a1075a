//! `--dry-run --json --quiet --verbose`: what is shown.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{is_set, switch};

pub(super) const HEADING: &str = "Output";

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The plan, and nothing is run.
    Plan {
        /// As JSON.
        json: bool,
    },
    /// Nothing but errors.
    Nothing,
    /// What changed and what was denied.
    Summary,
    /// Also what was planned and what each step enforced.
    Everything,
}

pub(super) fn flags() -> Vec<Arg> {
    vec![
        switch("dry-run", "Print the plan and run nothing"),
        switch("json", "With --dry-run: as JSON"),
        switch("quiet", "Print nothing but errors").short('q'),
        switch(
            "verbose",
            "Print also, at the end, what each step did and what of little weight there is to know",
        ),
    ]
}

pub(super) fn read(matches: &ArgMatches) -> Result<Show, CliError> {
    let json = is_set(matches, "json");
    if is_set(matches, "quiet") && is_set(matches, "verbose") {
        return Err(CliError::Contradiction {
            one: "--quiet".to_owned(),
            other: "--verbose".to_owned(),
        });
    }
    match () {
        () if is_set(matches, "dry-run") => Ok(Show::Plan { json }),
        () if json => Err(CliError::Alone { flag: "--json", needs: "--dry-run" }),
        () if is_set(matches, "quiet") => Ok(Show::Nothing),
        () if is_set(matches, "verbose") => Ok(Show::Everything),
        () => Ok(Show::Summary),
    }
}
