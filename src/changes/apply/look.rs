//! Looks at both sides of each change: what the layer has, what the host has now, and since when.
//!
//! # Decisions
//! - Only where the host changed is anything read: most changes cost one look at a name on each side.
//! - A file of a layer that was made from one of the host's is marked by the overlay. When the host has
//!   none there any more, and its directory changed since, somebody removed it, and bringing it back is a
//!   conflict. (A payload that renames a file takes the mark along; so the directory counts too.)
//! - A directory that was renamed has a new change time and an old time of modification; what lies in it has
//!   old ones alone. So a directory above that changed in this way makes all in it conflicts. One in which
//!   something was written after it was renamed looks like any directory that was written in, and only of the
//!   directory that a layer lies over is it recorded which one it was: another in its place makes conflicts of
//!   all. (To record that of every directory below would take a walk of the host's tree at each start.)
//! - Directory times that an apply itself changed are in its journal, and do not count.

use std::collections::HashMap;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::action::Refusal;
use super::item::{HostSide, Item, Parent, Since, Spot, Tree};
use super::journal::Own;
use super::places::{Entry, Places, Side};
use super::seen::Seen;
use super::tree;
use crate::changes::compare::{open_file, same_content};
use crate::changes::marks::Marks;
use crate::changes::{Change, Changes, ChangesError, FileKind, Glob, Kind};
use crate::plan::step::{Backend, LayerNumber};
use crate::spec::HostPath;

/// Looks at what changes name.
pub(super) struct Looker<'a> {
    pub(super) places: &'a mut Places,
    pub(super) own: &'a Own,
    pub(super) excludes: &'a [Glob],
    /// Why other programs execute a path, if they do.
    pub(super) executed_later: &'a dyn Fn(&Change) -> Option<&'static str>,
    /// The directory that the host turned out not to have last, and what stands above it.
    pub(super) missing: Option<(LayerNumber, HostPath, Parent)>,
    /// Of directories of the host, by their paths from their layers' roots: whether they or one above were
    /// moved there since the sandbox started.
    pub(super) moved: HashMap<(LayerNumber, Vec<u8>), bool>,
}

impl Looker<'_> {
    /// All changes with both their sides.
    pub(super) fn items(&mut self, changes: Changes) -> Result<Vec<Item>, ChangesError> {
        let mut items = Vec::new();
        for change in changes {
            let change = change?;
            let failed = |source| ChangesError::Compare { path: change.path.clone(), source };
            items.push(self.item(&change).map_err(failed)?);
        }
        Ok(items)
    }

    fn item(&mut self, change: &Change) -> Result<Item, Errno> {
        let layer = match change.kind {
            Kind::Deleted => None,
            Kind::Added | Kind::Changed => {
                let Entry { directory, name } =
                    self.places.entry(Side::Layer, change.layer, &change.path)?;
                Seen::at(&*directory, &name)?
            }
        };
        Ok(Item {
            host: self.host(change, layer.as_ref())?,
            excluded: self.is_excluded(&change.path),
            executed_later: (self.executed_later)(change),
            linked: layer
                .as_ref()
                .and_then(|layer| self.linked(change, layer).transpose())
                .transpose()?,
            held: None,
            merged: None,
            change: change.clone(),
            layer,
        })
    }

    /// Where the host has this file of the layer's already, by another of its names.
    fn linked(&mut self, change: &Change, layer: &Seen) -> Result<Option<HostPath>, Errno> {
        let Some(path) = self.own.names.get(&layer.inode).filter(|path| **path != change.path)
        else {
            return Ok(None);
        };
        let at = match self.places.entry(Side::Host, change.layer, path) {
            Ok(at) => at,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(seen) = Seen::at(&*at.directory, &at.name)? else { return Ok(None) };
        // A number of an inode may have come again.
        let same = seen.modified == layer.modified && self.is_equal(change, layer, &seen, &at)?;
        Ok(same.then(|| path.clone()))
    }

    fn is_excluded(&self, path: &HostPath) -> bool {
        self.excludes.iter().any(|exclude| exclude.matches(path))
    }

    fn host(&mut self, change: &Change, layer: Option<&Seen>) -> Result<HostSide, Errno> {
        let (parent, entry) = self.parent(change)?;
        let mut side = HostSide {
            parent,
            seen: None,
            since: Since::Unchanged,
            equal: false,
            gone: false,
            tree: None,
        };
        let Some(entry) = entry else { return Ok(side) };
        side.seen = Seen::at(&*entry.directory, &entry.name)?;
        match (side.seen, layer) {
            (Some(seen), _) => {
                side.since = self.since(change.layer, &seen);
                let moved = side.since == Since::Unchanged && self.is_moved(change)?;
                if moved {
                    side.since = Since::Changed;
                }
                let goes = layer.is_none_or(|layer| !layer.is_directory());
                if seen.is_directory() && goes {
                    // What is in it tells more than that it changed.
                    if !moved {
                        side.since = Since::Unchanged;
                    }
                    side.tree = self.objection(change, &entry)?;
                } else if side.since != Since::Unchanged
                    && let Some(layer) = layer
                {
                    side.equal = self.is_equal(change, layer, &seen, &entry)?;
                }
            }
            (None, Some(layer)) if change.path.file_name().is_some() => {
                let above = Seen::of(&*entry.directory)?;
                let changed = self.since(change.layer, &above) == Since::Changed;
                side.gone = changed && self.is_from_the_host(change, layer)?;
            }
            (None, _) => {}
        }
        Ok(side)
    }

    /// The directory of the host that a change belongs into.
    fn parent(&mut self, change: &Change) -> Result<(Parent, Option<Entry>), Errno> {
        if let Some((layer, missing, parent)) = &self.missing
            && *layer == change.layer
            && change.path.is_below(missing)
        {
            return Ok((parent.clone(), None));
        }
        match self.places.entry(Side::Host, change.layer, &change.path) {
            Ok(entry) => {
                let spot = spot(&Seen::of(&*entry.directory)?);
                Ok((Parent::There(spot), Some(entry)))
            }
            // What stands in the way may be replaced by a directory of the layer's.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let parent = self.nearest(change)?;
                let above = change.path.parent();
                self.missing = above.map(|above| (change.layer, above, parent.clone()));
                Ok((parent, None))
            }
            Err(Errno::XDEV) => Ok((Parent::Mounted, None)),
            Err(error) => Err(error),
        }
    }

    /// The nearest directory above that the host has.
    fn nearest(&mut self, change: &Change) -> Result<Parent, Errno> {
        let mut relative = self.places.relative(Side::Host, change.layer, &change.path)?;
        while let Some(slash) = relative.iter().rposition(|byte| *byte == b'/') {
            relative.truncate(slash);
            match self.places.directory(Side::Host, change.layer, &relative) {
                Ok(directory) => return Ok(Parent::Missing(spot(&Seen::of(&*directory)?))),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(Errno::XDEV) => return Ok(Parent::Mounted),
                Err(error) => return Err(error),
            }
        }
        match self.places.directory(Side::Host, change.layer, b"") {
            Ok(root) => Ok(Parent::Missing(spot(&Seen::of(&*root)?))),
            Err(Errno::NOENT) => Ok(Parent::NoDirectory),
            Err(error) => Err(error),
        }
    }

    /// Whether a directory above was put where it is since the sandbox started: then what it holds is not
    /// what the sandbox saw, however old it is.
    fn is_moved(&mut self, change: &Change) -> Result<bool, Errno> {
        let mut relative = self.places.relative(Side::Host, change.layer, &change.path)?;
        let mut asked = Vec::new();
        let moved = loop {
            relative.truncate(relative.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            let key = (change.layer, relative.clone());
            if let Some(moved) = self.moved.get(&key) {
                break *moved;
            }
            let directory = match self.places.directory(Side::Host, change.layer, &relative) {
                Ok(directory) => directory,
                // It is gone: what stands there now is looked at when something is done.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => break false,
                Err(error) => return Err(error),
            };
            asked.push(key);
            let seen = Seen::of(&*directory)?;
            if self.places.is_moved(self.own, change.layer, &seen) {
                break true;
            }
            if relative.is_empty() {
                break self.places.is_replaced(change.layer);
            }
        };
        self.moved.extend(asked.into_iter().map(|key| (key, moved)));
        Ok(moved)
    }

    fn since(&self, layer: LayerNumber, seen: &Seen) -> Since {
        self.places.since(self.own, layer, seen)
    }

    /// What speaks against removing a directory of the host's with all that is in it.
    fn objection(&mut self, change: &Change, entry: &Entry) -> Result<Option<Tree>, Errno> {
        let mut judge = |path: &HostPath, seen: &Seen| {
            if self.is_excluded(path) {
                return Some(Tree::Refused(Refusal::Excluded(path.clone())));
            }
            tree::newer(path, self.since(change.layer, seen))
        };
        tree::objection(&*entry.directory, &entry.name, &change.path, &mut judge)
    }

    /// Whether the host has the same, but for times.
    fn is_equal(
        &mut self,
        change: &Change,
        layer: &Seen,
        host: &Seen,
        at: &Entry,
    ) -> Result<bool, Errno> {
        let permissions = |seen: &Seen| seen.permissions() & 0o1777;
        if layer.kind() != host.kind() || layer.kind() == FileKind::Directory {
            return Ok(false);
        }
        let source = self.places.entry(Side::Layer, change.layer, &change.path)?;
        match layer.kind() {
            FileKind::Link => {
                let now = rustix::fs::readlinkat(&*source.directory, &*source.name, Vec::new())?;
                Ok(now == rustix::fs::readlinkat(&*at.directory, &*at.name, Vec::new())?)
            }
            FileKind::Fifo => Ok(permissions(layer) == permissions(host)),
            FileKind::File
                if layer.size == host.size && permissions(layer) == permissions(host) =>
            {
                let backend = self.places.backend(change.layer)?;
                let files = (
                    open_file((source.directory.as_fd(), &source.name)),
                    open_file((at.directory.as_fd(), &at.name)),
                );
                let (Ok(now), Ok(was)) = files else { return Ok(false) };
                let marks = Marks::of_upper(&now, backend)?;
                Ok(marks.same_as(&now, &Marks::of_host(&was)?, &was)?
                    && same_content(&now, &was, layer.size, &mut u64::MAX.clone())?)
            }
            _ => Ok(false),
        }
    }

    /// Whether the layer's was made from something that the host had in this place.
    fn is_from_the_host(&mut self, change: &Change, layer: &Seen) -> Result<bool, Errno> {
        let backend = self.places.backend(change.layer)?;
        let Entry { directory, name } =
            self.places.entry(Side::Layer, change.layer, &change.path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match layer.kind() {
            FileKind::File | FileKind::Directory => {
                match openat(&*directory, &*name, flags, Mode::empty()) {
                    Ok(file) => file,
                    Err(Errno::ACCESS | Errno::PERM) => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            _ => return Ok(false),
        };
        let marks = Marks::of_upper(&file, backend)?;
        Ok(match (backend, layer.is_directory()) {
            (Backend::Kernel, _) | (Backend::Fuse, false) => marks.copied,
            (Backend::Fuse, true) => !marks.opaque,
        })
    }
}

fn spot(directory: &Seen) -> Spot {
    let passes_its_group_on = directory.mode & 0o2000 != 0;
    Spot { device: directory.inode.device, group: passes_its_group_on.then_some(directory.group) }
}
