//! Plans trees of the host that are seen as they are, and the covers on what must not be seen in them.
//!
//! # Decisions
//! - A bare read-only bind takes a tree with all its submounts in two calls, and reading through it
//!   costs nothing. It does not stop connect(2) to a socket or writing into a FIFO below it: so only trees that root alone
//!   writes are bound, of those the ones that hold no services (not `/opt`), and the sockets known below them are
//!   covered. `/etc` is no overlay, in which what the host replaces by rename(2) may be seen old; `/boot` often has
//!   a mount in it, and would be copied in parts.
//! - Where something has to be mounted on a name that such a tree does not have, it becomes a read-only
//!   overlay, which brings the mount point along.
//! - What is hidden below a directory that is written straight to the host is kept in its place: the directories on
//!   the way to it are bound onto themselves, as no mount point can be renamed or removed. Renaming across them
//!   answers `EXDEV`. What later runs trust, the store and bryo's settings, is made first where it is missing.
//! - An automount point below is covered: to look at it would have the host mount something.

use std::collections::BTreeSet;

use super::super::error::PlanError;
use super::super::facts::{Kind, Match, Mount, StoreCandidate, StoreState};
use super::super::step::{Cover, FsStep, MountAccess, MountFlags, Notice, Stage, StoreStep};
use super::super::view::{Rank, View};
use super::{Ground, Node, Trees, is_directory, on_host};
use crate::spec::{HostPath, SandboxPath};

impl Trees<'_> {
    /// A tree that only root writes.
    pub(super) fn system(&mut self, node: &Node<'_>, ground: Ground) -> Result<(), PlanError> {
        for child in node.children.iter().filter(|child| child.is_seen()) {
            if self.child_kind(node, child)? == Kind::Absent {
                if self.table.children_below(&node.rule.from).next().is_some() {
                    return Err(PlanError::NoMountPoint(child.rule.at.clone()));
                }
                return self.overlay_of(node, ground);
            }
        }
        self.bind_tree(node, ground, MountFlags::READ_ONLY)
    }

    /// A tree as it is.
    pub(super) fn bind_tree(
        &mut self,
        node: &Node<'_>,
        ground: Ground,
        flags: MountFlags,
    ) -> Result<(), PlanError> {
        let rule = &node.rule;
        self.point(node, ground);
        self.draft.fs(FsStep::Bind { from: rule.from.clone(), at: rule.at.clone(), flags });
        if flags.access == MountAccess::Writable {
            self.keep_in_place(node, flags)?;
        }
        for child in &node.children {
            if child.is_seen() {
                self.point_exists(node, child)?;
                self.place(child, Ground::There)?;
            } else if let Some(with) = self.cover(child, flags) {
                self.draft.fs(FsStep::Cover { at: child.rule.at.clone(), with });
            }
        }
        self.cover_sockets(node);
        let automounts = self.table.seen_below(&rule.from);
        let is_automount = |mount: &&Mount| mount.fs_type.as_bytes() == b"autofs";
        let automounts = automounts.into_iter().filter(is_automount);
        for mount in automounts.filter(|_| rule.view == View::System) {
            if let Some(at) = own_place(node, &mount.at) {
                self.draft.fs(FsStep::Cover { at, with: Cover::Directory });
            }
        }
        Ok(())
    }

    /// Covers the sockets that are known below a bind.
    pub(super) fn cover_sockets(&mut self, node: &Node<'_>) {
        for at in self.facts.sockets.iter().filter_map(|path| own_place(node, path)) {
            self.draft.fs(FsStep::Cover { at, with: Cover::IfThere });
        }
    }

    /// Makes every directory on the way to what is hidden or read-only a mount of its own, so that it cannot be
    /// renamed with what it holds, and another be put in its place.
    fn keep_in_place(&mut self, node: &Node<'_>, flags: MountFlags) -> Result<(), PlanError> {
        let mut kept = BTreeSet::new();
        for child in &node.children {
            let is_kept = match child.rule.view {
                View::Hidden => self.cover(child, flags).is_some(),
                _ => matches!(child.rule.view, View::Read | View::System),
            };
            if !is_kept {
                continue;
            }
            if self.is_ours_to_make(child) {
                let path = child.rule.from.clone();
                if self.facts.settings.iter().any(|found| found.path == path) {
                    self.draft.notice(Notice::MadeSettings(path.clone()));
                }
                self.draft.push(Stage::Prepare, StoreStep::Directory { path });
            }
            let way = child.rule.at.ancestors().take_while(|above| above.is_below(&node.rule.at));
            kept.extend(way);
        }
        // Sorted by names: what lies in another comes after it.
        for at in kept {
            let from = on_host(node.rule, &at)?;
            self.draft.fs(FsStep::Bind { from, at, flags });
        }
        Ok(())
    }

    /// Whether what is hidden is bryo's own, and has to be there to be covered: a name that is free could be taken
    /// for it. A store is made at the latest when it is used.
    fn is_ours_to_make(&self, child: &Node<'_>) -> bool {
        let is_settings = |found: &Match| found.path == child.rule.from;
        child.rule.rank == Rank::Store
            || child.rule.kind == Kind::Absent && self.facts.settings.iter().any(is_settings)
    }

    /// What covers a hidden place in a bind with these flags.
    fn cover(&self, child: &Node<'_>, flags: MountFlags) -> Option<Cover> {
        if flags.access == MountAccess::Writable && self.is_ours_to_make(child) {
            return Some(Cover::Directory);
        }
        let is_store = |store: &&StoreCandidate| store.path == child.rule.from;
        let store = self.facts.stores.iter().find(is_store);
        // One that the caller cannot make need not be there: `XDG_DATA_HOME=/etc`.
        if store.is_some_and(|store| store.state == StoreState::Unwritable) {
            return Some(Cover::IfThere);
        }
        cover(&child.rule.kind)
    }

    /// What stands at the mount point of a child, on the host.
    pub(super) fn child_kind(&self, node: &Node<'_>, child: &Node<'_>) -> Result<Kind, PlanError> {
        let point = on_host(node.rule, &child.rule.at)?;
        if child.rule.from == point && child.rule.view != View::Hidden {
            return Ok(child.rule.kind.clone());
        }
        super::point_kind(self.facts, &point)
    }

    /// Refuses a child whose mount point is missing or of the wrong kind.
    pub(super) fn point_exists(&self, node: &Node<'_>, child: &Node<'_>) -> Result<(), PlanError> {
        let at = child.rule.at.clone();
        match self.child_kind(node, child)? {
            Kind::Absent => Err(PlanError::NoMountPoint(at)),
            Kind::Directory if is_directory(child) => Ok(()),
            Kind::File | Kind::Socket | Kind::Fifo | Kind::Device if !is_directory(child) => Ok(()),
            kind => Err(PlanError::WrongMountPoint { at, kind }),
        }
    }
}

/// What covers a hidden thing; nothing where nothing is. A link is not covered: that would cover what
/// it leads to, which is listed by itself.
fn cover(kind: &Kind) -> Option<Cover> {
    match kind {
        Kind::Absent | Kind::Link(_) => None,
        Kind::Directory => Some(Cover::Directory),
        Kind::Forbidden => Some(Cover::IfThere),
        Kind::File | Kind::Socket | Kind::Fifo | Kind::Device => Some(Cover::File),
    }
}

/// Where a path of the host is seen in this tree, and in no other tree mounted on it.
fn own_place(node: &Node<'_>, path: &HostPath) -> Option<SandboxPath> {
    let at = path.moved(&node.rule.from, &node.rule.at).filter(|at| *at != node.rule.at)?;
    let is_elsewhere = node.children.iter().any(|child| at.starts_with(&child.rule.at));
    (!is_elsewhere).then_some(at)
}
