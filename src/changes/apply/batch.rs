//! Files that are put in their places, and paths that are removed: in batches, each synced as a whole.
//!
//! # Theory of operation
//! A batch is announced, prepared beside its places, synced, said to be ready, renamed, synced; then what
//! was copied leaves the layer. What stands in a place goes by an exchange of names: it is looked at once
//! more under a name that nobody else knows, and goes back when it is not what the plan saw. So nothing is
//! lost that somebody puts there between the look and the rename. (Where names cannot be exchanged: `replace`.)

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;

use super::ApplyError;
use super::action::{Action, Conflict, Source, What, Why};
use super::execute::{Executor, is_first_of_several};
use super::journal::{How, Intent, Line};
use super::places::{Entry, Side};
use super::rename::{appear, examine, exchange, is_unknown, random_name, rename_to_free};
use super::seen::{Inode, Seen};
use super::stage::Order;
use super::{surgery, tree};
use crate::changes::FileKind;
use crate::plan::step::LayerNumber;
use crate::spec::HostPath;

/// Paths of one batch.
pub(super) const PATHS: usize = 1000;
/// Bytes of one batch.
const BYTES: u64 = 256 << 20;
/// Directories that one batch holds open, on each side.
const DIRECTORIES: usize = 200;

/// Where a file stands that may get other names.
pub(super) struct Placed {
    pub(super) entry: Entry,
    pub(super) inode: Inode,
}

/// One action of a batch.
pub(super) struct Slot {
    pub(super) index: usize,
    pub(super) host: Entry,
    source: Entry,
    pub(super) temporary: CString,
    inode: Option<Inode>,
    moved: bool,
}

impl Executor<'_> {
    /// Puts files, links and pipes in their places.
    pub(super) fn put_all(&mut self, actions: Vec<(usize, &Action)>) -> Result<(), ApplyError> {
        let mut slots = Vec::new();
        let (mut bytes, mut directories) = (0, BTreeSet::new());
        for (index, action) in actions {
            let Some(slot) = self.slot(index, action)? else { continue };
            bytes += action.takes.map_or(0, |takes| takes.size);
            directories.insert(slot.host.directory.as_raw_fd());
            slots.push(slot);
            if slots.len() >= PATHS || bytes >= BYTES || directories.len() >= DIRECTORIES {
                self.put(std::mem::take(&mut slots))?;
                directories.clear();
                bytes = 0;
            }
        }
        if slots.is_empty() { Ok(()) } else { self.put(slots) }
    }

    /// Removes what the sandbox removed.
    pub(super) fn remove_all(&mut self, actions: &[(usize, &Action)]) -> Result<(), ApplyError> {
        for chunk in actions.chunks(DIRECTORIES) {
            let mut slots = Vec::new();
            for (index, action) in chunk {
                slots.extend(self.slot(*index, action)?);
            }
            if !slots.is_empty() {
                self.remove(slots)?;
            }
        }
        Ok(())
    }

    /// Makes an action ready to be prepared; none when it stays.
    fn slot(&mut self, index: usize, action: &Action) -> Result<Option<Slot>, ApplyError> {
        match self.enter(action)? {
            Ok((host, source)) => slot_of(index, host, source).map(Some),
            Err(why) => self.leave(index, why).map(|()| None),
        }
    }

    fn announce(&mut self, slots: &[Slot]) -> Result<(), ApplyError> {
        let intent = |slot: &Slot| {
            let action = &self.plan.actions[slot.index];
            Intent {
                path: action.path.clone(),
                layer: action.layer,
                temporary: std::ffi::OsString::from_vec(slot.temporary.as_bytes().to_vec()).into(),
                how: match action.what {
                    What::Put(Source::Move) => How::Moved,
                    What::Remove => How::Aside,
                    _ => How::New,
                },
                replaces: action.replaces,
                linked: linked(action),
                mode: action.takes.map_or(0, |takes| takes.permissions()),
                quiet: self.is_quiet(action),
            }
        };
        let batch = slots.iter().map(intent).collect();
        self.journal.add(&Line::Batch(batch)).map_err(ApplyError::Journal)
    }

    /// Prepares, commits and forgets one batch.
    pub(super) fn put(&mut self, mut slots: Vec<Slot>) -> Result<(), ApplyError> {
        self.announce(&slots)?;
        for slot in &mut slots {
            self.step()?;
            match self.stage(slot) {
                Ok(inode) => slot.inode = Some(inode),
                Err(why) => {
                    self.take_back(slot)?;
                    self.leave(slot.index, why)?;
                }
            }
        }
        self.step()?;
        self.sync()?;
        let inodes = slots.iter().map(|slot| slot.inode).collect();
        self.journal.add(&Line::Ready(inodes)).map_err(ApplyError::Journal)?;
        let mut committed = Vec::new();
        for slot in slots.into_iter().filter(|slot| slot.inode.is_some()) {
            self.step()?;
            match self.commit(&slot)? {
                Ok(()) => committed.push(slot),
                Err(why) => {
                    self.take_back(&slot)?;
                    self.leave(slot.index, why)?;
                }
            }
        }
        if committed.iter().any(|slot| !slot.moved) {
            self.step()?;
            self.sync()?;
        }
        for slot in committed {
            self.forget(&slot)?;
        }
        self.journal.add_lazily(&Line::Done).map_err(ApplyError::Journal)
    }

    /// A slot's order, for what is done with it.
    fn order<'s>(&'s self, slot: &'s Slot) -> Result<Order<'s>, Errno> {
        let action = &self.plan.actions[slot.index];
        Ok(Order {
            source: &slot.source,
            backend: self.places.backend(action.layer)?,
            takes: action.takes.ok_or(Errno::INVAL)?,
            host: &slot.host,
            temporary: &slot.temporary,
            replaces: action.replaces,
            held: self.items[action.change].held.as_ref(),
        })
    }

    /// Puts one under its temporary name.
    fn stage(&mut self, slot: &mut Slot) -> Result<Inode, Why> {
        let action = &self.plan.actions[slot.index];
        let inode = match &action.what {
            What::Put(Source::Link(first)) => {
                // What the host has at that path is the file only where an earlier apply put it there: the
                // one of this plan may have stayed in the layer.
                let known = self.items[action.change].linked.as_ref() == Some(first);
                if known && !self.placed.contains_key(first) {
                    self.find_placed(action.layer, first)?;
                }
                let first = self.placed.get(first).ok_or(Why::Above(first.clone()))?;
                self.order(slot).map_err(Why::Failed)?.link(&first.entry, first.inode)?
            }
            What::Put(Source::Merged(number)) => {
                let merged = self.merged.get(*number);
                self.order(slot).map_err(Why::Failed)?.copy_file(merged)?
            }
            What::Put(Source::Move) => {
                let order = self.order(slot).map_err(Why::Failed)?;
                if let Some(inode) = order.move_file()? {
                    slot.moved = true;
                    return Ok(inode);
                }
                order.copy_file(None)?
            }
            What::Put(Source::Copy) => match action.takes.map(|takes| takes.kind()) {
                Some(FileKind::File) => self.order(slot).map_err(Why::Failed)?.copy_file(None)?,
                _ => self.order(slot).map_err(Why::Failed)?.make_special()?,
            },
            What::Directory => {
                let directory = slot.host.directory.clone();
                let host = Entry { directory, name: slot.temporary.clone() };
                self.make_in(&host, &slot.source, action)?;
                let made = Seen::at(&*host.directory, &host.name).map_err(Why::Failed)?;
                made.ok_or(Why::Conflict(Conflict::Meanwhile))?.inode
            }
            // One that nobody asked for takes nothing's place.
            What::Parent | What::Adjust | What::Remove | What::Drop => {
                return Err(Why::Failed(Errno::INVAL));
            }
        };
        if is_first_of_several(action) {
            let entry =
                Entry { directory: slot.host.directory.clone(), name: slot.temporary.clone() };
            self.placed.insert(action.path.clone(), Placed { entry, inode });
        }
        Ok(inode)
    }

    /// Finds a file that an earlier apply put on the host.
    fn find_placed(&mut self, layer: LayerNumber, path: &HostPath) -> Result<(), Why> {
        let entry = self.places.entry(Side::Host, layer, path).map_err(super::execute::no_way)?;
        if let Some(seen) = Seen::at(&*entry.directory, &entry.name).map_err(Why::Failed)? {
            self.placed.insert(path.clone(), Placed { entry, inode: seen.inode });
        }
        Ok(())
    }

    /// Renames one into its place.
    fn commit(&mut self, slot: &Slot) -> Result<Result<(), Why>, ApplyError> {
        let action = &self.plan.actions[slot.index];
        let committed = match action.replaces {
            None => appear(slot),
            Some(old) => match exchange(slot) {
                Ok(()) => {
                    self.step()?;
                    self.discard_old(slot, &old)
                }
                Err(Why::Failed(error)) if is_unknown(error) => self.replace(slot, &old)?,
                Err(why) => Err(why),
            },
        };
        match (&committed, self.placed.get_mut(&action.path)) {
            (Ok(()), Some(placed)) => placed.entry.name = slot.host.name.clone(),
            (Err(_), Some(_)) => _ = self.placed.remove(&action.path),
            (_, None) => {}
        }
        Ok(committed)
    }

    /// Removes what stood in a place, now under the temporary name; puts it back when it is not what the
    /// plan saw.
    fn discard_old(&mut self, slot: &Slot, old: &Seen) -> Result<(), Why> {
        let action = &self.plan.actions[slot.index];
        let at = (&*slot.host.directory, &*slot.temporary);
        let found = examine(self.places, self.own, action, at, old);
        let removed = match found {
            Ok(true) => tree::remove(&*slot.host.directory, &slot.temporary).map_err(Why::Failed),
            Ok(false) => Err(Why::Conflict(Conflict::Meanwhile)),
            Err(error) => Err(Why::Failed(error)),
        };
        removed.or_else(|why| {
            exchange(slot)?;
            Err(why)
        })
    }

    /// Takes back what was prepared: a file that was moved returns to the layer.
    fn take_back(&mut self, slot: &Slot) -> Result<(), ApplyError> {
        let action = &self.plan.actions[slot.index];
        let failed = |source| ApplyError::Path { path: action.path.clone(), source };
        if slot.moved {
            let (from, to) = (&slot.host.directory, &slot.source);
            let flags = RenameFlags::NOREPLACE;
            return renameat_with(&**from, &*slot.temporary, &*to.directory, &*to.name, flags)
                .map_err(failed);
        }
        self.order(slot).and_then(|order| order.unstage()).map_err(failed)
    }

    /// Takes what was applied out of the layer.
    fn forget(&mut self, slot: &Slot) -> Result<(), ApplyError> {
        let action = &self.plan.actions[slot.index];
        if let Some(old) = action.replaces.filter(|old| old.links > 1 && !old.is_directory()) {
            self.own.links.insert(old.inode, old.modified);
        }
        if let Some(inode) = linked(action) {
            self.own.names.insert(inode, action.path.clone());
        }
        if !slot.moved {
            self.step()?;
            let failed = |source| ApplyError::Path { path: action.path.clone(), source };
            let backend = self.places.backend(action.layer).map_err(failed)?;
            surgery::forget(&slot.source, backend).map_err(failed)?;
        }
        self.done(slot.index);
        Ok(())
    }

    /// Removes the paths of one batch: each is renamed, looked at, and gone.
    fn remove(&mut self, slots: Vec<Slot>) -> Result<(), ApplyError> {
        self.announce(&slots)?;
        let mut removed = Vec::new();
        for slot in slots {
            let Some(old) = self.plan.actions[slot.index].replaces else { continue };
            self.step()?;
            match self.put_aside(&slot, &old)? {
                Ok(()) => removed.push(slot),
                Err(why) => self.leave(slot.index, why)?,
            }
        }
        self.step()?;
        self.sync()?;
        for slot in removed {
            self.forget(&slot)?;
        }
        self.journal.add_lazily(&Line::Done).map_err(ApplyError::Journal)
    }

    fn put_aside(&mut self, slot: &Slot, old: &Seen) -> Result<Result<(), Why>, ApplyError> {
        let directory = &*slot.host.directory;
        let aside = |from: &CString, to: &CString| rename_to_free(directory, from, to);
        match aside(&slot.host.name, &slot.temporary) {
            Ok(()) => {}
            // Somebody removed it too.
            Err(Errno::NOENT) => return Ok(Ok(())),
            Err(error) => return Ok(Err(Why::Failed(error))),
        }
        self.step()?;
        let action = &self.plan.actions[slot.index];
        let found = examine(self.places, self.own, action, (directory, &slot.temporary), old);
        let why = match found {
            Ok(true) => match tree::remove(directory, &slot.temporary) {
                Ok(()) => return Ok(Ok(())),
                Err(error) => Why::Failed(error),
            },
            Ok(false) => Why::Conflict(Conflict::Meanwhile),
            Err(error) => Why::Failed(error),
        };
        match aside(&slot.temporary, &slot.host.name) {
            Ok(()) => Ok(Err(why)),
            Err(source) => Err(ApplyError::Path { path: action.path.clone(), source }),
        }
    }
}

/// The layer's inode of an action that is the first for a file with several names.
fn linked(action: &Action) -> Option<Inode> {
    let takes = action.takes.filter(|takes| takes.links > 1 && takes.kind() == FileKind::File)?;
    matches!(action.what, What::Put(Source::Copy)).then_some(takes.inode)
}

/// A place in a batch, with a temporary name.
pub(super) fn slot_of(index: usize, host: Entry, source: Entry) -> Result<Slot, ApplyError> {
    let temporary = random_name().map_err(ApplyError::Random)?;
    Ok(Slot { index, host, source, temporary, inode: None, moved: false })
}
