//! `bryo system df` and `bryo system prune`: what the stores take of the disk, and what can go.
//!
//! # Decisions
//! - What a sandbox wrote goes only when somebody chose it: by `--all`, an age or a filter. Without, what goes is
//!   what nobody can miss: sandboxes that changed nothing, trash, and what the next runs make again.
//! - Sizes are measured now, file by file, and not taken from records: this is asked for when the disk is full.

use std::time::Duration;

use serde::Serialize;

use super::discard::{self, is_older};
use super::error::OpsError;
use super::ps::{self, PsRow, PsState, Scope};
use super::sweep::sweep;
use crate::report::amount::size;
use crate::report::table::Table;
use crate::spec::HostPath;
use crate::state::{Part, Stores, Timestamp, Usage};

/// What the stores hold.
#[derive(Debug, Clone, Serialize)]
pub struct Disk {
    /// Of this form.
    version: u32,
    /// Every sandbox, newest first.
    sandboxes: Vec<SandboxDisk>,
    /// What stores hold beside them.
    stores: Vec<StoreDisk>,
}

/// One sandbox.
#[derive(Debug, Clone, Serialize)]
struct SandboxDisk {
    #[serde(flatten)]
    row: PsRow,
    usage: Amount,
}

/// One store.
#[derive(Debug, Clone, Serialize)]
struct StoreDisk {
    store: HostPath,
    spare: Amount,
    trash: Amount,
    masks: Amount,
    policies: Amount,
}

/// As much, or at least as much where something could not be read.
#[derive(Debug, Clone, Copy, Serialize)]
struct Amount {
    bytes: u64,
    entries: u64,
    complete: bool,
}

impl From<Usage> for Amount {
    fn from(Usage { bytes, entries, complete }: Usage) -> Self {
        Self { bytes, entries, complete }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = if self.complete { "" } else { "+" };
        write!(f, "{}{more}", size(self.bytes))
    }
}

/// Measures every sandbox and every part of every store.
pub fn disk(stores: &Stores) -> Result<Disk, OpsError> {
    let rows = ps::list(stores, Scope::All)?;
    let found = stores.list()?;
    let mut sandboxes = Vec::new();
    for row in rows {
        let Some(found) = found.iter().find(|found| found.id() == row.id) else { continue };
        let usage = match found.usage() {
            Err(error) if error.is_no_sandbox() => continue,
            other => other?,
        };
        sandboxes.push(SandboxDisk { usage: usage.into(), row });
    }
    let mut parts = Vec::new();
    for store in stores.iter() {
        let of = |part| store.usage(part).map(Amount::from);
        parts.push(StoreDisk {
            store: store.path().clone(),
            spare: of(Part::Spare)?,
            trash: of(Part::Trash)?,
            masks: of(Part::Masks)?,
            policies: of(Part::Policies)?,
        });
    }
    Ok(Disk { version: 1, sandboxes, stores: parts })
}

impl Disk {
    /// For people; of so many columns, where they look at a screen.
    pub fn table(&self, screen: Option<usize>) -> String {
        let mut table = Table::new(["WHAT", "NAME", "STATE", "SIZE"]);
        let nothing = || "-".to_owned();
        for SandboxDisk { row, usage } in &self.sandboxes {
            let name = row.name.clone().unwrap_or_else(nothing);
            table.row([row.id.to_string(), name, ps::state_text(row.state), usage.to_string()]);
        }
        let sum = |of: &dyn Fn(&StoreDisk) -> Amount| self.stores.iter().map(of).fold(NONE, add);
        let parts: [(&str, Amount); 4] = [
            ("spare directories", sum(&|store| store.spare)),
            ("trash", sum(&|store| store.trash)),
            ("masks", sum(&|store| store.masks)),
            ("compiled policies", sum(&|store| store.policies)),
        ];
        let sandboxes = self.sandboxes.iter().map(|sandbox| sandbox.usage).fold(NONE, add);
        let total = parts.iter().map(|(_, amount)| *amount).fold(sandboxes, add);
        for (name, amount) in parts.into_iter().chain([("all", total)]) {
            table.row([name.to_owned(), nothing(), nothing(), amount.to_string()]);
        }
        if let Some(screen) = screen {
            table.fit(screen, &["STATE", "NAME"]);
        }
        table.to_string()
    }
}

const NONE: Amount = Amount { bytes: 0, entries: 0, complete: true };

fn add(one: Amount, other: Amount) -> Amount {
    Amount {
        bytes: one.bytes.saturating_add(other.bytes),
        entries: one.entries.saturating_add(other.entries),
        complete: one.complete && other.complete,
    }
}

/// Which sandboxes are pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Also those that changed something, where nothing below chooses.
    pub all: bool,
    /// Those that ended so long ago.
    pub age: Option<Duration>,
    /// Those that ended so.
    pub state: Option<EndState>,
    /// The one with this name.
    pub name: Option<String>,
}

/// How a sandbox ended, as a filter tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndState {
    /// By itself, or by a limit.
    Exited,
    /// Its launcher was killed.
    Killed,
}

/// The sandboxes that a prune would remove.
pub fn prunable(stores: &Stores, filter: &Filter) -> Result<Vec<PsRow>, OpsError> {
    let now = Timestamp::now();
    let mut rows = ps::list(stores, Scope::All)?;
    rows.retain(|row| filter.takes(row, now));
    Ok(rows)
}

impl Filter {
    fn takes(&self, row: &PsRow, now: Timestamp) -> bool {
        let chooses = self.age.is_some() || self.state.is_some() || self.name.is_some();
        let is_empty = row.changes.is_some_and(|counts| counts.total() == 0);
        let state = match row.state {
            PsState::Exited(_) => Some(EndState::Exited),
            PsState::Killed => Some(EndState::Killed),
            PsState::Running | PsState::Paused | PsState::Restarting | PsState::Unreadable => None,
        };
        // What cannot be read is for `bryo rm`: nobody knows what it holds.
        state.is_some()
            && is_older(row, self.age, now)
            && self.state.is_none_or(|wanted| state == Some(wanted))
            && self.name.as_ref().is_none_or(|name| row.name.as_ref() == Some(name))
            && (self.all || chooses || is_empty)
    }
}

/// What was pruned.
#[derive(Debug)]
pub struct Pruned {
    /// For each sandbox: whether it is gone.
    pub sandboxes: Vec<Result<(), OpsError>>,
    /// Bytes that the stores take less.
    pub freed: u64,
    /// What could not be removed beside them.
    pub failed: Vec<OpsError>,
}

/// Removes these sandboxes, trash, and what the next runs make again.
pub fn prune(stores: &Stores, rows: &[PsRow]) -> Result<Pruned, OpsError> {
    let total = |stores: &Stores| -> Result<u64, OpsError> {
        let disk = disk(stores)?;
        let sandboxes = disk.sandboxes.iter().map(|sandbox| sandbox.usage);
        let parts = disk.stores.iter().flat_map(|s| [s.spare, s.trash, s.masks, s.policies]);
        Ok(sandboxes.chain(parts).fold(NONE, add).bytes)
    };
    let before = total(stores)?;
    let sandboxes = rows.iter().map(|row| discard::whole(stores, row)).collect();
    let mut failed = Vec::new();
    for store in stores.iter() {
        failed.extend(store.remove_remakeable().err().map(OpsError::from));
    }
    failed.extend(sweep(stores)?.failed.into_iter().map(OpsError::from));
    let freed = before.saturating_sub(total(stores)?);
    Ok(Pruned { sandboxes, freed, failed })
}
