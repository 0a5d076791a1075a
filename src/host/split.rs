//! Directories that no overlay can take whole, as something is mounted below them.
//!
//! # Theory of operation
//! A tree that is wanted copy-on-write and has mounts below is served in pieces: each directory
//! between its root and a mount point is listed, and its other entries are served one by one.

use std::collections::BTreeSet;

use rustix::fs::{Access, AtFlags, CWD};

use crate::plan::facts::{Kind, Mount, SplitDirectory, SplitEntry};
use crate::spec::HostPath;

use super::HostError;
use super::place::list;
use super::resolve::{Resolver, Seen, kind_of, look};

/// Most entries of one such directory: each may become a mount.
const MOST_ENTRIES: usize = 10_000;

/// Every directory at or below one of `trees` with a mount below it; sorted.
pub(super) fn directories_to_split(mounts: &[Mount], trees: &[HostPath]) -> Vec<HostPath> {
    let mut found = BTreeSet::new();
    for mount in mounts {
        for above in mount.at.ancestors() {
            if trees.iter().any(|tree| above.starts_with(tree)) {
                found.insert(above);
            }
        }
    }
    found.into_iter().collect()
}

/// One of them, with its entries. A directory that cannot be listed has none that could be shown.
pub(super) fn probe(
    path: &HostPath,
    resolver: &mut Resolver,
) -> Result<Option<SplitDirectory>, HostError> {
    let Some(mode) = resolver.directory_mode(path) else { return Ok(None) };
    let entries = match list(path, MOST_ENTRIES) {
        Err(HostError::List { source: rustix::io::Errno::ACCESS, .. }) => Vec::new(),
        other => other?,
    };
    let entries = entries.into_iter().filter_map(probe_entry).collect();
    Ok(Some(SplitDirectory { path: path.clone(), mode, entries }))
}

/// One entry; none when it went away meanwhile.
fn probe_entry(path: HostPath) -> Option<SplitEntry> {
    match look(CWD, path.as_path()) {
        Seen::There(status) => {
            let kind = kind_of(&status, &path);
            let readable = is_readable(&path, &kind);
            Some(SplitEntry { kind, size: status.size, readable, path })
        }
        Seen::Forbidden => {
            Some(SplitEntry { path, kind: Kind::Forbidden, size: 0, readable: false })
        }
        Seen::Absent => None,
    }
}

/// A link can be read whatever it leads to.
fn is_readable(path: &HostPath, kind: &Kind) -> bool {
    let access =
        || rustix::fs::accessat(CWD, path.as_path(), Access::READ_OK, AtFlags::EACCESS).is_ok();
    matches!(kind, Kind::Link(_)) || access()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(path: &str) -> HostPath {
        HostPath::new(path).unwrap()
    }

    fn mounts(points: &[&str]) -> Vec<Mount> {
        points
            .iter()
            .zip(30..)
            .map(|(at, id)| Mount {
                id,
                parent: 27,
                at: host(at),
                fs_type: "ext4".into(),
                read_only: false,
                enterable: true,
            })
            .collect()
    }

    fn to_split(points: &[&str], trees: &[&str]) -> Vec<String> {
        let trees: Vec<HostPath> = trees.iter().map(|tree| host(tree)).collect();
        let found = directories_to_split(&mounts(points), &trees);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_tree_is_split_down_to_the_mount_and_no_further() {
        assert_eq!(
            to_split(&["/", "/home", "/home/al/mnt/nfs"], &["/home/al"]),
            ["/home/al", "/home/al/mnt"]
        );
        assert_eq!(to_split(&["/", "/home/al"], &["/home/al"]), Vec::<String>::new());
        assert_eq!(to_split(&["/home/al2/x"], &["/home/al"]), Vec::<String>::new());
        assert_eq!(to_split(&["/a/b", "/a/b/c/d"], &["/a"]), ["/a", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn a_split_directory_tells_its_entries() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o1750))
            .unwrap();
        std::fs::write(root.join("f"), "four").unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        std::os::unix::fs::symlink("f", root.join("l")).unwrap();
        let path = HostPath::new(&root).unwrap();
        let split = probe(&path, &mut Resolver::default()).unwrap().unwrap();
        assert_eq!((split.path, split.mode), (path, 0o1750));
        let entries: Vec<_> = split.entries.iter().map(|e| (e.kind.clone(), e.readable)).collect();
        let expected =
            [(Kind::Directory, true), (Kind::File, true), (Kind::Link("f".into()), true)];
        assert_eq!(entries, expected);
        assert_eq!(split.entries[1].size, 4);
        assert_eq!(probe(&host("/proc/version"), &mut Resolver::default()), Ok(None));
    }
}
