//! Reads the mount table: which mount stands where, and what is mounted below it.
//!
//! # Theory of operation
//! A line of the table says where a mount was put, not what is seen there: a later mount may lie over
//! it or over a directory above it. Resolution is followed instead: from the mount at `/` down, at each
//! step into the mount that stands at the name that was reached, and into the one on top of that.
//!
//! The kernel refuses an overlay over a directory when any mount has its mount point below that
//! directory *in the same mount*, seen or not: [`MountTable::children_below`] counts those too.

use std::collections::BTreeMap;

use super::error::PlanError;
use super::facts::{Facts, Mount};
use crate::spec::HostPath;
use crate::spec::order;

/// The mount table of the caller's namespace, by parent.
#[derive(Debug)]
pub(super) struct MountTable<'a> {
    root: &'a Mount,
    children: BTreeMap<u64, Vec<&'a Mount>>,
}

impl<'a> MountTable<'a> {
    /// From the facts. In a chroot the mount that holds `/` is not in the table; the kernel refuses a
    /// user namespace there, so nothing is lost by refusing it here with a reason.
    pub(super) fn new(facts: &'a Facts) -> Result<Self, PlanError> {
        let mut children: BTreeMap<u64, Vec<&Mount>> = BTreeMap::new();
        for mount in &facts.mounts {
            if mount.parent != mount.id {
                children.entry(mount.parent).or_default().push(mount);
            }
        }
        let is_listed = |id| facts.mounts.iter().any(|mount| mount.id == id);
        let root = facts
            .mounts
            .iter()
            .find(|m| m.at.is_root() && (m.parent == m.id || !is_listed(m.parent)))
            .ok_or(PlanError::NoRootMount)?;
        let table = Self { root, children };
        Ok(Self { root: table.top(root), children: table.children })
    }

    /// The mount on which a path lies: the one whose root it is, if it is a mount point.
    pub(super) fn mount_of(&self, path: &HostPath) -> &'a Mount {
        let mut mount = self.root;
        while let Some(next) = self.next_towards(mount, path) {
            mount = next;
        }
        mount
    }

    /// Whether a mount is seen at this very path.
    pub(super) fn mounted_at(&self, path: &HostPath) -> Option<&'a Mount> {
        Some(self.mount_of(path)).filter(|mount| mount.at == *path && !path.is_root())
    }

    /// Mounts whose mount point lies below `path` in the mount that `path` is on; each mount point
    /// once.
    pub(super) fn children_below(&self, path: &HostPath) -> impl Iterator<Item = &'a Mount> {
        let mount = self.mount_of(path);
        self.children_of(mount).iter().copied().filter(move |child| child.at.is_below(path))
    }

    /// Every mount seen below `path`.
    pub(super) fn seen_below(&self, path: &HostPath) -> Vec<&'a Mount> {
        let mut points: Vec<&HostPath> = self
            .children
            .values()
            .flatten()
            .map(|m| &m.at)
            .filter(|at| at.is_below(path))
            .collect();
        order::sort(&mut points);
        points.dedup();
        points.into_iter().filter_map(|at| self.mounted_at(at)).collect()
    }

    fn children_of(&self, mount: &Mount) -> &[&'a Mount] {
        self.children.get(&mount.id).map_or(&[], Vec::as_slice)
    }

    /// The mount that lies on top of a mount's own root.
    fn top(&self, mount: &'a Mount) -> &'a Mount {
        let mut top = mount;
        // Bounded, so that a table which leads in a circle does not.
        for _ in 0..self.children.len() {
            match self.children_of(top).iter().rev().find(|c| c.at == top.at) {
                Some(over) => top = over,
                None => break,
            }
        }
        top
    }

    /// The mount that the way from `mount` down to `path` crosses first.
    fn next_towards(&self, mount: &'a Mount, path: &HostPath) -> Option<&'a Mount> {
        self.children_of(mount)
            .iter()
            .rev()
            .filter(|child| child.at.is_below(&mount.at) && path.starts_with(&child.at))
            .min_by_key(|child| child.at.depth())
            .map(|child| self.top(child))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Text;

    fn facts(lines: &[(u64, u64, &str)]) -> Facts {
        let mounts = lines
            .iter()
            .map(|(id, parent, at)| Mount {
                id: *id,
                parent: *parent,
                at: HostPath::new(at).unwrap(),
                fs_type: Text::from("ext4"),
                read_only: false,
                enterable: true,
            })
            .collect();
        Facts { mounts, ..Facts::default() }
    }

    fn id_of(facts: &Facts, path: &str) -> u64 {
        MountTable::new(facts).unwrap().mount_of(&HostPath::new(path).unwrap()).id
    }

    #[test]
    fn a_path_lies_on_the_deepest_mount_above_it() {
        let facts = facts(&[(1, 0, "/"), (2, 1, "/home"), (3, 2, "/home/al")]);
        assert_eq!(id_of(&facts, "/"), 1);
        assert_eq!(id_of(&facts, "/usr/bin"), 1);
        assert_eq!(id_of(&facts, "/home"), 2);
        assert_eq!(id_of(&facts, "/home/al2"), 2);
        assert_eq!(id_of(&facts, "/home/al/x"), 3);
    }

    #[test]
    fn of_two_mounts_at_one_place_the_last_is_seen() {
        let facts = facts(&[(1, 0, "/"), (2, 1, "/mnt"), (3, 2, "/mnt"), (4, 2, "/mnt/a")]);
        assert_eq!(id_of(&facts, "/mnt"), 3);
        assert_eq!(id_of(&facts, "/mnt/a"), 3, "what was below the first is covered");
        let table = MountTable::new(&facts).unwrap();
        assert!(table.mounted_at(&HostPath::new("/mnt/a").unwrap()).is_none());
    }

    #[test]
    fn a_mount_below_a_covered_directory_is_not_seen_but_counts() {
        let facts = facts(&[(1, 0, "/"), (2, 1, "/a/b"), (3, 1, "/a")]);
        assert_eq!(id_of(&facts, "/a/b"), 3);
        let table = MountTable::new(&facts).unwrap();
        let root = HostPath::root();
        assert_eq!(table.children_below(&root).map(|m| m.id).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(table.seen_below(&root).iter().map(|m| m.id).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_chroot_has_no_root_in_its_table() {
        let facts = facts(&[(5, 1, "/proc")]);
        assert!(matches!(MountTable::new(&facts), Err(PlanError::NoRootMount)));
    }
}
