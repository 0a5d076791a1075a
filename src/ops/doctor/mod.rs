//! `bryo doctor`: what this machine offers, what each missing piece costs, and how to get it.
//!
//! # Theory of operation
//! [`Machine::look`] reads and tries everything once; [`diagnose`] turns that into findings and is
//! pure, so that machines nobody has at hand are tested too. A finding that is not well carries what it
//! costs and one remedy; from the remedies, [`fix_script`] makes a script that an administrator can
//! read before running it.
//!
//! # Not here
//! What a run asks of the machine: `plan::needs`. How to try: `host::trial`.

mod around;
mod findings;
mod machine;
mod remedy;
mod script;
#[cfg(test)]
mod tests;
mod text;

use serde::Serialize;

use crate::spec::text::pretty_json;

pub use machine::{Machine, Where};
pub use remedy::{Fix, PackageManager, Remedy};
pub use script::fix_script;
pub use text::render_text;

/// Version of the JSON form; a later one only adds.
const VERSION: u32 = 1;

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub version: u32,
    /// Whether `bryo run -- CMD` works here: the exit status.
    pub default_run_works: bool,
    /// Whether this was found out in a sandbox of bryo's.
    pub in_sandbox: bool,
    /// In the order in which a run needs them.
    pub findings: Vec<Finding>,
}

/// One thing a run may need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A name that stays the same.
    pub id: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What does not work without it; none when all is well.
    pub cost: Option<String>,
    /// What to do about it, when something can be done.
    pub remedy: Option<Remedy>,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Well.
    Ok,
    /// Not there, and a default run does without.
    Missing,
    /// It could not be tried, for what is said of another thing.
    Unknown,
    /// No default run works.
    Broken,
}

impl State {
    /// The word of JSON and text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Broken => "broken",
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// An answer that is no JSON.
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
}

impl crate::report::Explain for DoctorError {}

/// The report for programs.
pub fn render_json(report: &Report) -> Result<Vec<u8>, DoctorError> {
    pretty_json(report).map(String::into_bytes).map_err(DoctorError::Json)
}

/// Looks at this machine.
pub fn examine() -> Report {
    diagnose(&Machine::look())
}

/// What follows from what was seen.
pub fn diagnose(machine: &Machine) -> Report {
    let mut findings = findings::all(machine);
    let in_sandbox = machine.place == Where::Sandbox;
    if in_sandbox {
        findings = findings.into_iter().map(around::turned).collect();
        findings.insert(0, around::told());
    }
    let default_run_works = findings.iter().all(|finding| finding.state != State::Broken);
    Report { version: VERSION, default_run_works, in_sandbox, findings }
}

impl Finding {
    fn ok(id: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { id, title, state: State::Ok, detail, cost: None, remedy: None }
    }

    /// The same, with this state and what it costs.
    fn but(self, state: State, cost: impl Into<String>) -> Self {
        Self { state, cost: Some(cost.into()), ..self }
    }

    /// What was found could not be tried.
    fn unknown(self) -> Self {
        Self { state: State::Unknown, ..self }
    }

    fn remedy(self, remedy: impl Into<Option<Remedy>>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}
