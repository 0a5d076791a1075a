//! `bryo discard`: drops what sandboxes wrote, wholly or at some paths.
//!
//! # Theory of operation
//! First it is decided what goes ([`choose`], [`look`]), which changes nothing and is what a dry run and a
//! question show; then it goes ([`whole`], [`paths`]), each sandbox locked. What somebody agreed to lose is
//! what they saw: a sandbox that ran again meanwhile is left as it is.
//!
//! # Decisions
//! - A sandbox whose whole layer is dropped goes with its record and its name: nothing refers to it any more.
//! - Of one of which paths are dropped the rest stays. When nothing is left of it, it goes too, unless it has a
//!   name, by which the next run may go on with it.
//! - What runs is never touched: named, it is refused, and whatever is named beside it stays too; else it is passed
//!   over.

use std::time::Duration;

use serde::Serialize;

use super::error::OpsError;
use super::foreign;
use super::measure::measure;
use super::ps::{self, PsRow, Scope};
use super::removal::{self, Unfinished};
use super::sweep::sweep;
use crate::changes::apply::was_interrupted;
use crate::changes::{self, Changes, Forgot};
use crate::spec::text::pretty_json;
use crate::spec::{HostPath, Text};
use crate::state::record::ChangeCounts;
use crate::state::{Found, Record, SandboxId, StateError, Stores, Timestamp, Which};

/// Which sandboxes are meant.
#[derive(Debug, Clone, Copy)]
pub enum Meant<'a> {
    /// These.
    Named(&'a [Text]),
    /// The newest one that was started from a directory.
    One(Which<'a>),
    /// Every one that ended, so long ago at least.
    Ended(Option<Duration>),
}

/// What may go: the sandboxes, and why others that were named cannot.
#[derive(Debug)]
pub struct Chosen {
    /// As `bryo ps -a` shows them.
    pub rows: Vec<PsRow>,
    /// One for each that was named and runs, or is not there.
    pub refused: Vec<OpsError>,
}

/// Chooses sandboxes that do not run. Nothing is changed.
pub fn choose(stores: &Stores, meant: Meant<'_>) -> Result<Chosen, OpsError> {
    let all = ps::list(stores, Scope::All)?;
    let row = |found: &Found| all.iter().find(|row| row.id == found.id()).cloned();
    let mut chosen = Chosen { rows: Vec::new(), refused: Vec::new() };
    let mut take = |found: Result<Found, StateError>| match found {
        Err(error) => chosen.refused.push(error.into()),
        Ok(found) => match row(&found) {
            Some(row) if row.state.is_alive() => {
                chosen.refused.push(StateError::Running(row.id).into());
            }
            Some(row) if !chosen.rows.contains(&row) => chosen.rows.push(row),
            // Named twice, or gone meanwhile.
            _ => {}
        },
    };
    match meant {
        Meant::Named(names) => {
            for name in names {
                take(stores.find_to_remove(name.as_bytes()));
            }
        }
        Meant::One(which) => take(stores.choose(which)),
        Meant::Ended(age) => {
            let now = Timestamp::now();
            chosen.rows.extend(all.iter().filter(|row| is_older(row, age, now)).cloned());
        }
    }
    Ok(chosen)
}

/// Whether a sandbox ended, at least so long ago.
pub(super) fn is_older(row: &PsRow, age: Option<Duration>, now: Timestamp) -> bool {
    let since = row.ended.or(row.created);
    let old_enough = match (age, since) {
        (None, _) => true,
        (Some(age), Some(since)) => now.since(since) >= age,
        // Nobody knows how old it is.
        (Some(_), None) => false,
    };
    !row.state.is_alive() && old_enough
}

/// Removes the sandbox of a row with all it holds, unless it ran again since or its apply was interrupted.
pub fn whole(stores: &Stores, row: &PsRow) -> Result<(), OpsError> {
    let found = stores.find(row.id.as_str().as_bytes())?;
    let sandbox = found.lock()?;
    if row.ended.is_some() {
        let now = found.summary()?.and_then(|summary| summary.outcome.ended());
        if now != row.ended {
            return Err(OpsError::RanAgain(row.id));
        }
    }
    removal::remove(stores, sandbox, Unfinished::Refuse)
}

/// What is at and below some paths of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtPaths {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Each path, with the number of changes at and below it.
    pub paths: Vec<AtPath>,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtPath {
    /// Where on the host.
    pub path: HostPath,
    /// Changes at and below it.
    pub changes: u64,
}

/// Counts the changes at and below paths of a sandbox that does not run. Nothing is changed.
pub fn look(stores: &Stores, which: Which<'_>, paths: &[HostPath]) -> Result<AtPaths, OpsError> {
    sweep(stores)?;
    let found = match which {
        Which::Named(name) => stores.find_to_remove(name.as_bytes())?,
        newest @ Which::NewestFrom(_) => stores.choose(newest)?,
    };
    if found.is_running()? {
        return Err(StateError::Running(found.id()).into());
    }
    let mut counted: Vec<AtPath> =
        paths.iter().map(|path| AtPath { path: path.clone(), changes: 0 }).collect();
    let record = found.record()?;
    for change in Changes::open::<OpsError>(&record.layers, |n| Ok(found.open_upper(n)?))? {
        let change = change?;
        for at in counted.iter_mut().filter(|at| change.path.starts_with(&at.path)) {
            at.changes += 1;
        }
    }
    Ok(AtPaths { sandbox: found.id(), paths: counted })
}

/// What was dropped of a sandbox, and what is left of it.
#[derive(Debug)]
pub struct Dropped {
    /// For each path: what became of it.
    pub paths: Vec<Result<(), OpsError>>,
    /// What its layers hold now.
    pub left: ChangeCounts,
    /// Whether nothing was left, and it is gone.
    pub gone: bool,
}

/// Drops what a sandbox changed at and below paths; the rest stays as it is.
pub fn paths(stores: &Stores, id: SandboxId, wanted: &[HostPath]) -> Result<Dropped, OpsError> {
    let sandbox = stores.find(id.as_str().as_bytes())?.lock()?;
    if was_interrupted(&sandbox)? {
        return Err(OpsError::ApplyInterrupted(id));
    }
    let mut record = sandbox.record()?;
    let bin = sandbox.bin()?;
    let forgot = changes::forget::<OpsError>(
        &record.layers,
        |number| Ok(sandbox.open_upper(number)?),
        wanted,
        &bin,
    );
    // Also after an error: what went, went.
    let emptied = foreign::settle(stores, bin.empty());
    let measured = measure(&sandbox, &mut record);
    let forgot = forgot?;
    emptied?;
    measured?;
    let left = record.changes.unwrap_or_default();
    let gone = left.total() == 0 && record.name.is_none();
    if gone {
        removal::remove(stores, sandbox, Unfinished::Refuse)?;
    } else {
        sandbox.replace_record(&record)?;
    }
    let paths = wanted.iter().zip(forgot).map(|(path, forgot)| result(path, forgot, &record));
    Ok(Dropped { paths: paths.collect(), left, gone })
}

fn result(path: &HostPath, forgot: Forgot, record: &Record) -> Result<(), OpsError> {
    let (path, id) = (path.clone(), record.id);
    match forgot {
        Forgot::Path => Ok(()),
        Forgot::Nothing => {
            let meant = shown_at(&path, record);
            Err(OpsError::NotChanged { path, id, meant })
        }
        Forgot::Within(above) => Err(OpsError::Within { path, above }),
    }
}

/// What of the host a copy-on-write volume showed at a path inside.
fn shown_at(path: &HostPath, record: &Record) -> Option<HostPath> {
    let layers = record.layers.iter().map(|layer| &layer.layer);
    let mut volumes =
        layers.filter_map(|layer| Some((layer.at.same_on_host(), layer.over.as_ref()?)));
    volumes.find_map(|(at, over)| path.moved(&at, over).filter(|meant| meant != path))
}

/// One sandbox, in the answer for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Whole {
    /// As it was.
    #[serde(flatten)]
    pub row: PsRow,
    /// Whether it is gone.
    pub discarded: bool,
}

/// What became of paths, for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    sandbox: SandboxId,
    paths: Vec<PartPath>,
    /// What the sandbox holds now.
    left: ChangeCounts,
    /// Nothing was left, and it is gone.
    gone: bool,
}

#[derive(Debug, Clone, Serialize)]
struct PartPath {
    #[serde(flatten)]
    at: AtPath,
    discarded: bool,
}

impl Part {
    /// From what was there and what became of it.
    pub fn of(looked: &AtPaths, dropped: &Dropped) -> Self {
        let path = |(at, result): (&AtPath, &Result<(), OpsError>)| PartPath {
            at: at.clone(),
            discarded: result.is_ok(),
        };
        Self {
            sandbox: looked.sandbox,
            paths: looked.paths.iter().zip(&dropped.paths).map(path).collect(),
            left: dropped.left,
            gone: dropped.gone,
        }
    }
}

/// For programs: indented, a newline at its end.
pub fn json(value: &impl Serialize) -> Result<Vec<u8>, OpsError> {
    pretty_json(value).map(String::into_bytes).map_err(OpsError::Json)
}
