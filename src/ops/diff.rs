//! `bryo diff`: what a sandbox changed.
//!
//! # Decisions
//! - Letters as `docker diff` has them: `A` added, `C` changed, `D` deleted.
//! - JSON is one object, its `changes` written one by one: a layer may hold millions.
//! - A sandbox may run meanwhile. [`Shown::running`] says so; what is shown is what was met.

use std::io::Write;

use serde::Serialize;

use super::error::OpsError;
use super::sweep::sweep;
use crate::changes::{Change, Changes, Kind, Trouble};
pub use crate::changes::{Glob, Selection};
use crate::spec::text::escape_json;
use crate::state::record::ChangeCounts;
use crate::state::{SandboxId, Stores, Which};

/// How changes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `A /path`, one per line, escaped.
    Text,
    /// Escaped paths, one per line.
    Names,
    /// Paths as they are, each followed by a NUL byte.
    NulNames,
    /// One JSON object.
    Json,
}

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Of which sandbox.
    pub id: SandboxId,
    /// Whether it was running.
    pub running: bool,
    /// How many changes.
    pub counts: ChangeCounts,
}

/// Writes the changes of a sandbox: of those that are selected.
pub fn diff(
    stores: &Stores,
    which: Which<'_>,
    selection: &Selection,
    form: Form,
    out: &mut dyn Write,
) -> Result<Shown, OpsError> {
    sweep(stores)?;
    let found = stores.choose(which)?;
    let running = found.is_running()?;
    let record = found.record()?;
    let changes = Changes::open::<OpsError>(&record.layers, |n| Ok(found.open_upper(n)?))?;
    let mut writer = Writer { form, out, counts: ChangeCounts::default() };
    writer.begin(found.id(), running)?;
    for change in changes {
        let change = change?;
        if selection.takes(&change.path) {
            writer.change(&change)?;
        }
    }
    writer.end()?;
    Ok(Shown { id: found.id(), running, counts: writer.counts })
}

struct Writer<'a> {
    form: Form,
    out: &'a mut dyn Write,
    counts: ChangeCounts,
}

/// What stands before the changes, and is one object with them.
#[derive(Serialize)]
struct Head {
    version: u32,
    sandbox: SandboxId,
    running: bool,
}

/// Of the JSON form.
const VERSION: u32 = 1;

impl Writer<'_> {
    fn begin(&mut self, sandbox: SandboxId, running: bool) -> Result<(), OpsError> {
        if self.form != Form::Json {
            return Ok(());
        }
        let head = Head { version: VERSION, sandbox, running };
        let head = serde_json::to_string(&head).map_err(OpsError::Json)?;
        // The object goes on where this one ends.
        let open = head.strip_suffix('}').unwrap_or(&head);
        write!(self.out, "{open},\"changes\":[").map_err(OpsError::Write)
    }

    fn change(&mut self, change: &Change) -> Result<(), OpsError> {
        let first = self.counts.total() == 0;
        match change.kind {
            Kind::Added => self.counts.added += 1,
            Kind::Changed => self.counts.changed += 1,
            Kind::Deleted => self.counts.deleted += 1,
        }
        let out = &mut self.out;
        match self.form {
            Form::Text => {
                let remarks = remarks(change);
                writeln!(out, "{} {}{remarks}", change.kind.letter(), change.path)
            }
            Form::Names => writeln!(out, "{}", change.path),
            Form::NulNames => {
                out.write_all(change.path.as_bytes()).and_then(|()| out.write_all(b"\0"))
            }
            Form::Json => {
                out.write_all(if first { b"\n" } else { b",\n" }).map_err(OpsError::Write)?;
                let text = serde_json::to_string(change).map_err(OpsError::Json)?;
                out.write_all(escape_json(&text).as_bytes())
            }
        }
        .map_err(OpsError::Write)
    }

    fn end(&mut self) -> Result<(), OpsError> {
        match self.form {
            Form::Json => self.out.write_all(b"\n]}\n").map_err(OpsError::Write),
            _ => Ok(()),
        }
    }
}

/// What has to be said of a path, behind it.
fn remarks(change: &Change) -> String {
    let hidden = change.hidden.then_some("the sandbox was not shown what the host has there");
    let trouble = change.trouble.map(Trouble::remark);
    let all: Vec<&str> = hidden.into_iter().chain(trouble).collect();
    if all.is_empty() { String::new() } else { format!("  ({})", all.join("; ")) }
}
