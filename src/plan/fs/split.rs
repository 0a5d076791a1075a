//! Plans a tree with mounts below it: no overlay of the kernel's takes it whole.
//!
//! # Theory of operation
//! The directory itself becomes an overlay over a *shadow* in scratch, which has its entries: empty
//! directories to mount on, links, small files as copies. Each subdirectory without mounts below gets
//! an overlay of its own over the host's; one with mounts below is split in turn. A nested mount's root
//! is a tree like any other.
//!
//! # Decisions
//! - A file too large to copy stands as a placeholder under a read-only bind; in a copy-on-write tree
//!   that is told.
//! - What the caller cannot read is left out, an automount point or a mount that cannot be entered stays
//!   an empty directory, whatever is mounted in it. A file of such a mount, as of a namespace that is kept by a
//!   name (`ip netns`), stays an empty file: there is nothing in it to read.

use std::borrow::Cow;

use super::super::error::PlanError;
use super::super::facts::{Kind, SplitDirectory, SplitEntry};
use super::super::step::{FsStep, Lower, MountFlags, Notice, OverlayServer, ScratchEntry};
use super::super::view::{Rule, View, can_be_shown};
use super::mask::{Entries, inside};
use super::overlay::{Stack, Tree};
use super::{Ground, Node, Trees};
use crate::spec::SandboxPath;

/// The largest file that is copied, in bytes.
pub(super) const LARGEST_COPY: u64 = 1 << 20;
/// All of them together.
const ALL_COPIES: u64 = 16 << 20;

/// What is mounted on the shadow once it stands.
enum Mount<'n> {
    Subtree(Tree<'n>),
    Place(&'n Node<'n>),
    File(Rule),
}

impl Trees<'_> {
    pub(super) fn split(
        &mut self,
        tree: &Tree<'_>,
        server: OverlayServer,
    ) -> Result<(), PlanError> {
        let facts = self.facts;
        let split = facts
            .split
            .iter()
            .find(|split| split.path == tree.rule.from)
            .ok_or(PlanError::Unprobed("split"))?;
        let mut entries = Entries::default();
        let mut mounts = Vec::new();
        for entry in &split.entries {
            self.shadow(tree, entry, &mut entries, &mut mounts)?;
        }
        self.strangers(tree, split, &mut entries, &mut mounts)?;
        let covered = mounts.iter().map(|mount| inside(tree, place_of(mount))).collect();
        let entries = entries.sorted();
        let shadow = Lower::Scratch(self.scratch_layer(split.mode, entries));
        let over = Some(split.path.clone());
        let stack =
            Stack { lower: vec![shadow], over, mode: split.mode, covered, copied: Vec::new() };
        self.mount(tree, stack, server);
        for mount in mounts {
            match mount {
                Mount::Subtree(tree) => self.overlay(&tree)?,
                Mount::Place(node) => self.place(node, Ground::There)?,
                Mount::File(Rule { from, at, .. }) => {
                    self.draft.fs(FsStep::Bind { from, at, flags: MountFlags::READ_ONLY });
                }
            }
        }
        Ok(())
    }

    /// One entry of the directory in its shadow.
    fn shadow<'n>(
        &mut self,
        tree: &Tree<'n>,
        entry: &SplitEntry,
        entries: &mut Entries,
        mounts: &mut Vec<Mount<'n>>,
    ) -> Result<(), PlanError> {
        let Some(name) = entry.path.file_name() else { return Ok(()) };
        let (Ok(at), Ok(path)) = (tree.rule.at.join(name), SandboxPath::root().join(name)) else {
            return Ok(());
        };
        if let Some(node) = tree.children.iter().find(|child| child.rule.at == at) {
            if node.is_seen() {
                self.add_point(tree, node, &path, entries)?;
                mounts.push(Mount::Place(node));
            }
            return Ok(());
        }
        match &entry.kind {
            Kind::Directory => {
                let mode = entry.mode;
                entries.add(ScratchEntry::Directory { path, mode });
                self.subtree(tree, entry, at, entries, mounts)?;
            }
            Kind::Link(target) => {
                let target = target.clone();
                entries.add(ScratchEntry::Link { path, target });
            }
            Kind::File if !can_be_shown(self.table, &entry.path) => {
                entries.add(ScratchEntry::Placeholder { path });
            }
            Kind::File if entry.readable => {
                let from = entry.path.clone();
                if entry.size <= LARGEST_COPY && self.copied + entry.size <= ALL_COPIES {
                    self.copied += entry.size;
                    entries.add(ScratchEntry::Copy { path, from });
                } else {
                    if tree.rule.view == View::Cow {
                        self.draft.notice(Notice::ReadOnlyFile(from.clone()));
                    }
                    entries.add(ScratchEntry::Placeholder { path });
                    let rule =
                        Rule { at, from, kind: Kind::File, ..tree.rule.clone().into_owned() };
                    mounts.push(Mount::File(rule));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A subdirectory: a tree of its own, or an empty directory with what is asked for in it.
    fn subtree<'n>(
        &mut self,
        tree: &Tree<'n>,
        entry: &SplitEntry,
        at: SandboxPath,
        entries: &mut Entries,
        mounts: &mut Vec<Mount<'n>>,
    ) -> Result<(), PlanError> {
        let below: Vec<&'n Node<'n>> =
            tree.children.iter().copied().filter(|child| child.rule.at.is_below(&at)).collect();
        if entry.readable && can_be_shown(self.table, &entry.path) {
            let view = match tree.rule.view {
                View::Cow if !entry.writable => View::Read,
                ref view => view.clone(),
            };
            let from = entry.path.clone();
            let rule = Cow::Owned(Rule { at, view, from, ..tree.rule.clone().into_owned() });
            mounts.push(Mount::Subtree(Tree { rule, children: below }));
            return Ok(());
        }
        for node in below.into_iter().filter(|node| node.is_seen()) {
            self.add_point(tree, node, &inside(tree, &node.rule.at), entries)?;
            mounts.push(Mount::Place(node));
        }
        Ok(())
    }

    /// What is asked for below names that the directory does not have.
    fn strangers<'n>(
        &mut self,
        tree: &Tree<'n>,
        split: &SplitDirectory,
        entries: &mut Entries,
        mounts: &mut Vec<Mount<'n>>,
    ) -> Result<(), PlanError> {
        for node in tree.children.iter().copied().filter(|node| node.is_seen()) {
            let path = inside(tree, &node.rule.at);
            let first = path.names().next();
            if split.entries.iter().any(|entry| entry.path.file_name() == first) {
                continue;
            }
            self.add_point(tree, node, &path, entries)?;
            mounts.push(Mount::Place(node));
        }
        Ok(())
    }
}

fn place_of<'m>(mount: &'m Mount<'_>) -> &'m SandboxPath {
    match mount {
        Mount::Subtree(tree) => &tree.rule.at,
        Mount::Place(node) => &node.rule.at,
        Mount::File(rule) => &rule.at,
    }
}
