//! Plans the scratch layer that lies over a host's tree in its overlay: whiteouts for what is hidden,
//! and mount points that the tree does not have.
//!
//! # Decisions
//! - A whiteout hides what is there and what may appear later. Where a directory above is missing too,
//!   the whiteout takes its place: to make the directory would show one that is not on the host.
//! - A directory that is named only to reach something below it shows this layer's attributes, so it
//!   carries the host's permission bits. Its owner is the caller, whoever it is on the host: whether
//!   anything can be read or written there is still decided by the host's own directory.

use std::collections::BTreeMap;

use super::super::error::PlanError;
use super::super::facts::Kind;
use super::super::step::ScratchEntry;
use super::super::view::View;
use super::overlay::Tree;
use super::{Node, Trees, is_directory, on_host};
use crate::spec::{HostPath, SandboxPath};

/// The entries by their place in the layer; a map, so that parents come first.
pub(super) type Entries = BTreeMap<SandboxPath, ScratchEntry>;

impl Trees<'_> {
    /// The mask of a tree of the host; empty when it needs none.
    pub(super) fn mask(&self, tree: &Tree<'_>) -> Result<Vec<ScratchEntry>, PlanError> {
        let mut entries = Entries::new();
        let (seen, hidden): (Vec<&Node>, Vec<&Node>) =
            tree.children.iter().partition(|child| child.is_seen());
        for child in seen {
            self.mount_point(tree, child, &mut entries)?;
        }
        for child in hidden {
            self.whiteout(tree, child, &mut entries)?;
        }
        Ok(entries.into_values().collect())
    }

    /// The skeleton of a private tree: mount points and the way to them, nothing else.
    pub(super) fn points_only(&self, tree: &Tree<'_>) -> Result<Entries, PlanError> {
        let mut entries = Entries::new();
        for child in tree.children.iter().filter(|child| child.is_seen()) {
            let path = inside(tree, &child.rule.at);
            self.add_point(tree, child, &path, &mut entries)?;
        }
        Ok(entries)
    }

    fn mount_point(
        &self,
        tree: &Tree<'_>,
        child: &Node,
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
        child: &Node,
        path: &SandboxPath,
        entries: &mut Entries,
    ) -> Result<(), PlanError> {
        self.add_parents(tree, path, entries)?;
        let entry = match &child.rule.view {
            View::Link(target) => ScratchEntry::Link { path: path.clone(), target: target.clone() },
            _ if is_directory(child) => ScratchEntry::Directory { path: path.clone(), mode: 0o755 },
            _ => ScratchEntry::Placeholder { path: path.clone() },
        };
        entries.entry(path.clone()).or_insert(entry);
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
            let host = host_of(tree, &above)?;
            let mode = self.facts.directory_mode(&host).unwrap_or(0o755);
            let directory = ScratchEntry::Directory { path: above.clone(), mode };
            entries.entry(above).or_insert(directory);
        }
        Ok(())
    }

    fn whiteout(
        &self,
        tree: &Tree<'_>,
        child: &Node,
        entries: &mut Entries,
    ) -> Result<(), PlanError> {
        let path = inside(tree, &child.rule.at);
        let mut way: Vec<SandboxPath> = path.ancestors().filter(|above| !above.is_root()).collect();
        way.reverse();
        way.push(path.clone());
        for step in way {
            let host = host_of(tree, &step)?;
            match entries.get(&step) {
                Some(ScratchEntry::Directory { .. }) if step != path => continue,
                Some(_) => return Ok(()),
                None => {}
            }
            // What is above something that is there, is there.
            let known = self.facts.directory_mode(&host);
            let mode = known.or((child.rule.kind != Kind::Absent).then_some(0o755));
            let Some(mode) = mode.filter(|_| step != path) else {
                entries.insert(step.clone(), ScratchEntry::Whiteout { path: step });
                return Ok(());
            };
            entries.insert(step.clone(), ScratchEntry::Directory { path: step, mode });
        }
        Ok(())
    }
}

/// Where `at` is in the layer of a tree.
pub(super) fn inside(tree: &Tree<'_>, at: &SandboxPath) -> SandboxPath {
    at.relative_to(&tree.rule.at)
        .and_then(|rest| SandboxPath::root().join(rest).ok())
        .unwrap_or_else(SandboxPath::root)
}

/// What a place in the layer of a tree is on the host.
fn host_of(tree: &Tree<'_>, path: &SandboxPath) -> Result<HostPath, PlanError> {
    let rest = path.relative_to(&SandboxPath::root()).unwrap_or(path.as_path());
    tree.rule.from.join(rest).map_err(|_| PlanError::NoMountPoint(path.clone()))
}
