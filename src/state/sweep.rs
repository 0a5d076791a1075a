//! Puts in order what a killed launcher or an interrupted removal left.
//!
//! # Theory of operation
//! A sandbox on the `live` side whose lock is free has no process any more. If its record says that it
//! ended, its launcher was killed between writing that and moving it: it is moved. If its record says
//! that it runs, the run was interrupted: where it stays whatever it wrote ([`Record::stays`]), or has
//! changes, it is kept, with [`Outcome::Killed`] in its record, and else removed. Without a record no
//! payload ever started, so it is removed; unless there is something in a layer, because then a power
//! cut took the record.
//! What a killed `bryo cp` had begun on the host goes too ([`super::copying`]).
//!
//! # Decisions
//! - `bryo run` sweeps while the sandbox builds its tree, `bryo exec` while its program runs, so that neither waits for
//!   it; every other command that takes a sandbox sweeps first. It costs one directory with an entry per *running* sandbox and
//!   one lock attempt each. What a run removes meanwhile is limited: the rest is left in `trash`.
//! - What cannot be understood (a newer bryo's record) or removed is left as it is, for `bryo rm`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::bin::unlink_if_file;
use super::directory;
use super::error::StateError;
use super::farewell::{Farewell, KILLED};
use super::found::{Found, read_json};
use super::held::HeldState;
use super::id::SandboxId;
use super::record::{Outcome, Record};
use super::remove::{make_accessible, remove_tree};
use super::sandbox::{SandboxDirectory, try_lock};
use super::spare;
use super::store::{NAMES, Place, Store, TRASH};
use super::timestamp::Timestamp;
use crate::spec::HostPath;

/// How much a sweep, or a look at layers, may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Some milliseconds: a payload is running and its terminal is waiting.
    Brief,
    /// Everything.
    Whole,
}

impl Effort {
    /// How many entries a sweep may remove.
    fn entries(self) -> u64 {
        match self {
            Self::Brief => 1000,
            Self::Whole => u64::MAX,
        }
    }

    /// The sandboxes to look at: of many a brief sweep takes some, each command others, so that what it costs does not
    /// grow with what runs.
    fn part<T>(self, mut all: Vec<T>) -> Vec<T> {
        const BRIEFLY: usize = 32;
        if self == Self::Brief && all.len() > BRIEFLY {
            let from = usize::try_from(std::process::id()).unwrap_or(0) % all.len();
            all.rotate_left(from);
            all.truncate(BRIEFLY);
        }
        all
    }
}

/// Tells whether the layers of a sandbox hold changes. Given by the caller, as reading layers is not
/// the store's business.
pub type HoldsChanges<'a> = &'a dyn Fn(&SandboxDirectory, &Record) -> bool;

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Interrupted runs whose changes are kept.
    pub killed: Vec<SandboxId>,
    /// Sandboxes that were removed.
    pub removed: Vec<SandboxId>,
    /// Control groups of runs whose launcher was killed: whoever swept has them removed.
    pub groups: Vec<HostPath>,
    /// What could not be put in order.
    pub failed: Vec<StateError>,
}

impl Store {
    /// Sweeps. Errors only when the store cannot be listed; what else fails is in [`Swept::failed`].
    pub fn sweep(
        &self,
        holds_changes: HoldsChanges<'_>,
        effort: Effort,
    ) -> Result<Swept, StateError> {
        let mut swept = Swept::default();
        let mut budget = effort.entries();
        for id in effort.part(self.ids(Place::Live)?) {
            if let Err(error) = self.sweep_one(id, holds_changes, &mut swept, &mut budget)
                && !matches!(
                    error,
                    StateError::Running(_) | StateError::AtWork { .. } | StateError::NotFound(_)
                )
            {
                swept.failed.push(error);
            }
        }
        self.empty_trash(&mut swept, &mut budget);
        if effort == Effort::Whole {
            match self.sweep_copies() {
                Ok(failed) => swept.failed.extend(failed),
                Err(source) => {
                    swept.failed.push(StateError::List { store: self.path().clone(), source });
                }
            }
        }
        if let Err(source) = spare::clean(self) {
            swept.failed.push(StateError::List { store: self.path().clone(), source });
        }
        Ok(swept)
    }

    fn sweep_one(
        &self,
        id: SandboxId,
        holds_changes: HoldsChanges<'_>,
        swept: &mut Swept,
        budget: &mut u64,
    ) -> Result<(), StateError> {
        let mut directory = Found::new(self, id).lock_now()?;
        let record: Option<Record> = read_json(directory.descriptor(), id)?;
        let Some(mut record) = record else {
            if !directory.all_uppers_are_empty()? {
                return Err(StateError::ReadRecord { id, source: Errno::NOENT });
            }
            if directory.remove_some(budget)? {
                swept.removed.push(id);
            }
            return Ok(());
        };
        let held = record.held.as_mut().filter(|held| held.state == HeldState::Memory);
        let was_held = held.is_some();
        if let Some(held) = held {
            held.state = directory.recover_held()?;
        }
        if record.outcome == Outcome::Running {
            swept.groups.extend(record.cgroup.clone());
        }
        match record.outcome {
            Outcome::Exited { .. } | Outcome::Killed { .. } => directory.shelve(),
            Outcome::Running
                // Of what memory held nobody knows any more whether it was anything, and who was killed told
                // nobody that it is gone.
                if record.stays(directory.name_now().as_deref())
                    || (was_held && record.may_stay())
                    || holds_changes(&directory, &record) =>
            {
                let lost = directory.as_lost(&record);
                record.outcome = Outcome::Killed { found: Timestamp::now() };
                // Told once it is written, or the next sweep would tell it again.
                directory.keep(&record)?;
                lost.into_iter().for_each(Farewell::tell_end);
                swept.killed.push(id);
                Ok(())
            }
            Outcome::Running => {
                let gone = directory.farewell().of_end(KILLED);
                if directory.remove_some(budget)? {
                    swept.removed.push(id);
                }
                gone.tell_removal();
                Ok(())
            }
        }
    }

    /// Removes everything in the trash that nobody else removes just now; what could not be removed.
    pub fn empty_trash_wholly(&self) -> Vec<StateError> {
        let mut swept = Swept::default();
        self.empty_trash(&mut swept, &mut u64::from(u32::MAX));
        swept.failed
    }

    /// Goes on with removals that were interrupted.
    fn empty_trash(&self, swept: &mut Swept, budget: &mut u64) {
        let failed = |source| StateError::List { store: self.path().clone(), source };
        let trash = match directory::open_if_there(&self.0.root, TRASH) {
            Ok(Some(trash)) => trash,
            Ok(None) => return,
            Err(error) => return swept.failed.push(failed(error)),
        };
        let names = match directory::names_in(&trash) {
            Ok(names) => names,
            Err(error) => return swept.failed.push(failed(error)),
        };
        for id in names.iter().filter_map(|name| SandboxId::parse(name.to_bytes()).ok()) {
            match remove_trash(trash.as_fd(), id, budget) {
                Ok(true) => swept.removed.push(id),
                Ok(false) => {}
                Err(error) => swept.failed.push(error),
            }
        }
    }

    /// The names that are kept.
    pub(super) fn names(&self) -> Result<Vec<String>, Errno> {
        let Some(names) = directory::open_if_there(&self.0.root, NAMES)? else {
            return Ok(Vec::new());
        };
        let names = directory::names_in(&names)?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }
}

/// Removes one of them, unless another command is about to: that one holds the lock.
fn remove_trash(
    trash: BorrowedFd<'_>,
    id: SandboxId,
    budget: &mut u64,
) -> Result<bool, StateError> {
    let failed = |source| StateError::Lock { id, source };
    if unlink_if_file(trash, id)? {
        return Ok(true);
    }
    let opened = match directory::open_if_there(trash, id.as_str()) {
        // A payload's own, as it was.
        Err(Errno::ACCESS) => {
            let name = CString::new(id.as_str()).unwrap_or_default();
            make_accessible(trash, &name)
                .and_then(|()| directory::open_if_there(trash, id.as_str()))
        }
        opened => opened,
    };
    let Some(directory) = opened.map_err(failed)? else {
        return Ok(false);
    };
    if !try_lock(&directory).map_err(failed)? {
        return Ok(false);
    }
    remove_tree(trash, id, budget)
}
