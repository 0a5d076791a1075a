//! Brings what a layer holds to the host: all of it or some, so that nothing is lost on either side.
//!
//! # Theory of operation
//! ```text
//! Apply::begin     the journal; what an interrupted apply left is put in order
//!                  every change, with what stands on both sides now        [`look`]
//!      .plan       pure: what is done, in which order, and what stays      [`plan`]
//!      .carry_out  no choices left: batches, renames, the layer's surgery  [`execute`]
//! ```
//! The sandbox is locked by whoever has its [`SandboxDirectory`], so nothing in it runs.
//!
//! What an apply leaves behind when it is killed is found by its journal: temporary names beside the
//! targets, files of the layer that were moved there, directories without their times. The next apply of
//! the sandbox settles that first, then looks afresh.
//!
//! # Decisions
//! - A path that the host changed since the sandbox started is never touched unless somebody says so.
//! - Where the layer and the host lie on one file system a file is moved: it costs a rename.
//! - What is replaced or removed is looked at once more under a name that nobody else knows.
//!
//! # Not here
//! What a change is (`changes`), who is asked (`front`), which sandbox is meant (`ops`).

mod action;
mod batch;
mod bytes;
mod choices;
mod directories;
mod execute;
mod item;
mod journal;
mod look;
mod places;
mod plan;
mod recover;
mod rename;
mod replace;
mod seen;
mod stage;
mod surgery;
mod tree;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

pub use action::{Action, Conflict, Finish, Left, Note, Refusal, Source, What, Why, verb};
pub use choices::{Choices, ExecutedLater, Resolve, Selection};
pub use execute::Outcome;
pub use item::{HostSide, Item, Parent, Since, Spot, Tree};
pub use plan::{Applier, ApplyPlan, plan};
pub use recover::PutAside;
pub use seen::{Inode, Moment, Seen};

use super::{Change, Changes, ChangesError, Digest, Digester, FileKind, Glob, Sources};
use crate::spec::HostPath;
use crate::state::{Record, SandboxDirectory, StateError};
use execute::Executor;
use journal::{Journal, Line, Own, Pending};
use look::Looker;
use places::Places;
use surgery::Unsealed;

/// Why an apply could not go on. What was begun is put in order by the next one.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The journal.
    #[error("cannot keep the journal of the apply")]
    Journal(#[source] Errno),
    /// What was written.
    #[error("cannot wait until the files are on the disk")]
    Sync(#[source] Errno),
    /// A temporary name.
    #[error("cannot get random numbers")]
    Random(#[source] Errno),
    /// Something that ends the apply as a whole.
    #[error("cannot apply `{path}`")]
    Path {
        /// Where it was met.
        path: HostPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The layers.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// The sandbox.
    #[error(transparent)]
    State(#[from] StateError),
    /// The caller did not want to go on.
    #[error("cannot go on: the apply was interrupted")]
    Interrupted,
}

/// What is needed to look at changes.
pub struct Wish<'a> {
    /// Patterns of paths that stay.
    pub excludes: &'a [Glob],
    /// Why other programs execute a path, if they do.
    pub executed_later: &'a dyn Fn(&Change) -> Option<&'static str>,
    /// Asked before each step that changes something; the apply ends at once when the answer is no.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

/// How an apply begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What an interrupted one left is put in order first.
    Do,
    /// Nothing is changed.
    Look,
}

/// Makes one text of two, where that can be done: of a change, from the host's text and the sandbox's.
pub type Merge<'m> = dyn FnMut(&Change, &[u8], &[u8]) -> Option<Vec<u8>> + 'm;

/// An apply of one sandbox.
pub struct Apply<'a> {
    sandbox: &'a SandboxDirectory,
    record: &'a Record,
    places: Places,
    own: Own,
    pending: Pending,
    items: Vec<Item>,
    merged: Vec<OwnedFd>,
    put_aside: Vec<PutAside>,
}

impl<'a> Apply<'a> {
    /// Puts in order what an interrupted apply left, and looks at all changes.
    pub fn begin(
        sandbox: &'a SandboxDirectory,
        record: &'a Record,
        mode: Mode,
        wish: &mut Wish<'_>,
    ) -> Result<Self, ApplyError> {
        let (pending, mut own) =
            Journal::read(sandbox.descriptor()).map_err(ApplyError::Journal)?;
        let open = |number| Ok::<_, ApplyError>(sandbox.open_upper(number)?);
        let mut places = Places::open(&record.layers, record.created, open)?;
        let mut put_aside = standing(&pending);
        if mode == Mode::Do && pending.interrupted {
            let journal = Journal::open(sandbox.descriptor()).map_err(ApplyError::Journal)?;
            let new = recover::recover(&mut places, &journal, &pending, &mut own, wish.go_on)?;
            put_aside.extend(new.into_iter().filter(|new| !pending.kept.contains(new)));
            for line in [Line::Done, Line::Closed] {
                journal.add_lazily(&line).map_err(ApplyError::Journal)?;
            }
        }
        let changes = Changes::open(&record.layers, open)?;
        let Wish { excludes, executed_later, .. } = wish;
        let mut looker = Looker {
            places: &mut places,
            own: &own,
            excludes,
            executed_later,
            missing: None,
            moved: HashMap::new(),
        };
        let items = looker.items(changes)?;
        Ok(Self { sandbox, record, places, own, pending, items, merged: Vec::new(), put_aside })
    }

    /// Whether an apply of this sandbox had been interrupted.
    pub fn was_interrupted(&self) -> bool {
        self.pending.interrupted
    }

    /// What of the host's an interrupted apply had put aside and could not be put back.
    pub fn put_aside(&self) -> &[PutAside] {
        &self.put_aside
    }

    /// All changes, with both their sides; sorted by path.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What will be done, and what stays.
    pub fn plan(&self, choices: &Choices) -> ApplyPlan {
        plan(&self.items, choices, applier())
    }

    /// Reads all that was selected; whether it is what was reviewed. From then on exactly that is applied.
    pub fn review(&mut self, selected: &Selection, digest: Digest) -> Result<bool, ApplyError> {
        let open = |number| Ok::<_, ApplyError>(self.sandbox.open_upper(number)?);
        let mut sources = Sources::open(&self.record.layers, open)?;
        let mut digester = Digester::default();
        for item in
            self.items.iter_mut().filter(|item| !item.excluded && selected.holds(&item.change))
        {
            let failed = |source| ChangesError::Compare { path: item.change.path.clone(), source };
            let held = sources.hold(&item.change).map_err(failed)?;
            digester.add(&item.change, &held);
            item.held = Some(held);
        }
        Ok(digester.finish() == digest)
    }

    /// Merges both sides of conflicts, where `merge` can; it is given the change, the host's text and the
    /// sandbox's. Whatever comes out is used when a plan asks for it.
    pub fn merge(&mut self, choices: &Choices, merge: &mut Merge<'_>) -> Result<(), ApplyError> {
        let plan = self.plan(choices);
        let open = |number| Ok::<_, ApplyError>(self.sandbox.open_upper(number)?);
        let mut sources = Sources::open(&self.record.layers, open)?;
        for Left { change, why } in plan.left {
            let item = &mut self.items[change];
            let is_file = |seen: Option<Seen>| {
                seen.is_some_and(|seen| seen.kind() == FileKind::File && seen.size <= MERGED)
            };
            let changed = why == Why::Conflict(Conflict::Changed);
            if !changed || !is_file(item.layer) || !is_file(item.host.seen) {
                continue;
            }
            let failed = |source| ChangesError::Compare { path: item.change.path.clone(), source };
            let theirs = text(&sources.file(&item.change).map_err(failed)?).map_err(failed)?;
            let ours = text(&Sources::host_file(&item.change).map_err(failed)?).map_err(failed)?;
            if let Some(merged) = merge(&item.change, &ours, &theirs) {
                let file = memory_file(&merged).map_err(failed)?;
                item.merged = Some(self.merged.len());
                self.merged.push(file);
            }
        }
        Ok(())
    }

    /// Does what was planned.
    pub fn carry_out(
        mut self,
        plan: &ApplyPlan,
        go_on: &mut dyn FnMut() -> bool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Outcome, ApplyError> {
        let sandbox = self.sandbox.descriptor();
        let nothing = plan.actions.is_empty() && !self.pending.interrupted;
        if nothing {
            return Ok(Outcome::default());
        }
        let executor = Executor {
            places: &mut self.places,
            items: &self.items,
            plan,
            sandbox,
            journal: Journal::open(sandbox).map_err(ApplyError::Journal)?,
            own: &mut self.own,
            unsealed: Unsealed::default(),
            merged: &self.merged,
            go_on,
            progress,
            finish: std::mem::take(&mut self.pending.made),
            opened: Vec::new(),
            placed: HashMap::new(),
            quiet: BTreeMap::new(),
            outcome: Outcome::default(),
        };
        executor.run(&self.pending.touched)
    }
}

/// Longest text that is merged.
const MERGED: u64 = 8 << 20;

fn text(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let size = Seen::of(file)?.size.min(MERGED);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let length = bytes::read_full(file, &mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// A file that only we have.
fn memory_file(content: &[u8]) -> Result<OwnedFd, Errno> {
    let file = rustix::fs::memfd_create("merged", rustix::fs::MemfdFlags::CLOEXEC)?;
    bytes::write_full(file.as_fd(), content)?;
    Ok(file)
}

/// Whether an apply of a sandbox was interrupted, and some of what its layers held may stand beside its place
/// on the host. Until another apply has put that in order, nothing else should go on with the layers.
pub fn was_interrupted(sandbox: &SandboxDirectory) -> Result<bool, ApplyError> {
    let (pending, _) = Journal::read(sandbox.descriptor()).map_err(ApplyError::Journal)?;
    Ok(pending.interrupted)
}

/// What of the host's stays where an interrupted apply of a sandbox had put it, for somebody who was not told: the
/// apply that found it did not come to its end.
pub fn put_aside(sandbox: &SandboxDirectory) -> Vec<PutAside> {
    Journal::read(sandbox.descriptor()).map(|(pending, _)| standing(&pending)).unwrap_or_default()
}

fn standing(pending: &Pending) -> Vec<PutAside> {
    let stands = |kept: &&PutAside| kept.at.as_path().symlink_metadata().is_ok();
    let mut kept: Vec<PutAside> = pending.kept.iter().filter(stands).cloned().collect();
    kept.dedup();
    kept
}

/// Who this process is.
fn applier() -> Applier {
    Applier {
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
    }
}
