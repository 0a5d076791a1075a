//! Plans the scratch layer that lies over a host's tree in its overlay: whiteouts for what is hidden,
//! and mount points that the tree does not have.
//!
//! # Decisions
//! - A whiteout hides what is there and what may appear later. Where a directory above is missing too,
//!   the whiteout takes its place: to make the directory would show one that is not on the host.
//! - A directory that is named only to reach something below it shows this layer's attributes, so it
//!   carries the host's permission bits. Its owner is the caller, whoever it is on the host: whether
//!   anything can be read or written there is still decided by the host's own directory.
//! - There are some hundred secrets, most of them beside each other: the way to one is looked at once
//!   for all that share it.

use std::collections::BTreeMap;

use super::super::error::PlanError;
use super::super::facts::Kind;
use super::super::step::ScratchEntry;
use super::super::view::View;
use super::overlay::Tree;
use super::{Node, Trees, is_directory, on_host};
use crate::spec::order;
use crate::spec::{HostPath, SandboxPath};

/// The entries of one layer.
#[derive(Default)]
pub(super) struct Entries {
    all: Vec<ScratchEntry>,
    /// What stands where, but for whiteouts that nothing else can meet.
    known: BTreeMap<SandboxPath, Stands>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Directory,
    Whiteout,
    Other,
}

impl Entries {
    /// Adds an entry unless something stands there.
    pub(super) fn add(&mut self, entry: ScratchEntry) {
        let stands = match &entry {
            ScratchEntry::Directory { .. } => Stands::Directory,
            ScratchEntry::Whiteout { .. } => Stands::Whiteout,
            _ => Stands::Other,
        };
        let path = place_of(&entry);
        if !self.known.contains_key(path) {
            self.known.insert(path.clone(), stands);
            self.all.push(entry);
        }
    }

    /// All of them, parents first.
    pub(super) fn sorted(mut self) -> Vec<ScratchEntry> {
        order::sort_by(&mut self.all, |one, two| place_of(one).cmp(place_of(two)));
        self.all
    }
}

fn place_of(entry: &ScratchEntry) -> &SandboxPath {
    match entry {
        ScratchEntry::Directory { path, .. }
        | ScratchEntry::Whiteout { path }
        | ScratchEntry::Link { path, .. }
        | ScratchEntry::Copy { path, .. }
        | ScratchEntry::Placeholder { path } => path,
    }
}

impl Trees<'_> {
    /// The mask of a tree of the host; empty when it needs none.
    pub(super) fn mask(&self, tree: &Tree<'_>) -> Result<Vec<ScratchEntry>, PlanError> {
        let mut entries = Entries::default();
        for child in tree.children.iter().filter(|child| child.is_seen()) {
            self.mount_point(tree, child, &mut entries)?;
        }
        let hidden = tree.children.iter().filter(|child| !child.is_seen());
        let mut last: Option<(&[u8], bool)> = None;
        for child in hidden {
            let parent = above(&child.rule.at);
            let path = inside(tree, &child.rule.at);
            let is_open = match last {
                Some((known, is_open)) if known == parent => is_open,
                _ => self.open_way(tree, &path, child.rule.kind != Kind::Absent, &mut entries)?,
            };
            last = Some((parent, is_open));
            if is_open {
                entries.all.push(ScratchEntry::Whiteout { path });
            }
        }
        Ok(entries.sorted())
    }

    /// The skeleton of a private tree: mount points and the way to them, nothing else.
    pub(super) fn points_only(&self, tree: &Tree<'_>) -> Result<Entries, PlanError> {
        let mut entries = Entries::default();
        for child in tree.children.iter().filter(|child| child.is_seen()) {
            let path = inside(tree, &child.rule.at);
            self.add_point(tree, child, &path, &mut entries)?;
        }
        Ok(entries)
    }

    fn mount_point(
        &self,
        tree: &Tree<'_>,
        child: &Node<'_>,
        entries: &mut Entries,
    ) -> Result<(), PlanError> {
        let at = &child.rule.at;
        let point = on_host(&tree.rule, at)?;
        let kind = if child.rule.from == point && child.rule.view != View::Hidden {
            child.rule.kind.clone()
        } else {
            super::point_kind(self.facts, &point)?
        };
        match kind {
            Kind::Absent => self.add_point(tree, child, &inside(tree, at), entries),
            Kind::Directory if is_directory(child) => Ok(()),
            Kind::File | Kind::Socket | Kind::Fifo | Kind::Device if !is_directory(child) => Ok(()),
            kind => Err(PlanError::WrongMountPoint { at: at.clone(), kind }),
        }
    }

    /// A mount point, or a link of ours, with the directories above it.
    pub(super) fn add_point(
        &self,
        tree: &Tree<'_>,
        child: &Node<'_>,
        path: &SandboxPath,
        entries: &mut Entries,
    ) -> Result<(), PlanError> {
        self.add_parents(tree, path, entries)?;
        entries.add(match &child.rule.view {
            View::Link(target) => ScratchEntry::Link { path: path.clone(), target: target.clone() },
            _ if is_directory(child) => ScratchEntry::Directory { path: path.clone(), mode: 0o755 },
            _ => ScratchEntry::Placeholder { path: path.clone() },
        });
        Ok(())
    }

    /// The directories above a place.
    pub(super) fn add_parents(
        &self,
        tree: &Tree<'_>,
        path: &SandboxPath,
        entries: &mut Entries,
    ) -> Result<(), PlanError> {
        for above in path.ancestors().filter(|above| !above.is_root()) {
            let mode = self.mode(&host_of(tree, &above)?).unwrap_or(0o755);
            entries.add(ScratchEntry::Directory { path: above, mode });
        }
        Ok(())
    }

    /// Names the directories above a place that is to be hidden. False when one of them is hidden
    /// instead, because it is not there. What is above something that is there, is there.
    fn open_way(
        &self,
        tree: &Tree<'_>,
        path: &SandboxPath,
        is_there: bool,
        entries: &mut Entries,
    ) -> Result<bool, PlanError> {
        let mut way: Vec<SandboxPath> = path.ancestors().filter(|above| !above.is_root()).collect();
        way.reverse();
        for above in way {
            match entries.known.get(&above) {
                Some(Stands::Directory) => {}
                Some(Stands::Whiteout | Stands::Other) => return Ok(false),
                None => {
                    let mode = self.mode(&host_of(tree, &above)?);
                    let Some(mode) = mode.or(is_there.then_some(0o755)) else {
                        entries.add(ScratchEntry::Whiteout { path: above });
                        return Ok(false);
                    };
                    entries.add(ScratchEntry::Directory { path: above, mode });
                }
            }
        }
        Ok(true)
    }
}

/// The bytes of the directory that a place stands in.
fn above(path: &SandboxPath) -> &[u8] {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    bytes.get(..end).unwrap_or_default()
}

/// Where `at` is in the layer of a tree.
pub(super) fn inside(tree: &Tree<'_>, at: &SandboxPath) -> SandboxPath {
    at.moved(&tree.rule.at, &SandboxPath::root()).unwrap_or_else(SandboxPath::root)
}

/// What a place in the layer of a tree is on the host.
fn host_of(tree: &Tree<'_>, path: &SandboxPath) -> Result<HostPath, PlanError> {
    let on_host = path.moved(&SandboxPath::root(), &tree.rule.from);
    on_host.ok_or_else(|| PlanError::NoMountPoint(path.clone()))
}
