//! Directories that no overlay can take whole, as something is mounted below them.
//!
//! # Theory of operation
//! A tree that is wanted copy-on-write and has mounts below is served in pieces: each directory
//! between its root and a mount point is listed, and its other entries are served one by one.

use rustix::fs::{Access, AtFlags, CWD};

use crate::plan::facts::{Caller, Kind, SplitDirectory, SplitEntry};
use crate::spec::HostPath;

use super::HostError;
use super::entries::list;
use super::place::Writer;
use super::resolve::{Resolver, Seen, kind_of, look};

/// Most entries of one such directory: each may become a mount.
const MOST_ENTRIES: usize = 10_000;

/// A directory with its entries. A directory that cannot be listed has none that could be shown.
pub(super) fn probe(
    path: &HostPath,
    caller: &Caller,
    resolver: &mut Resolver,
) -> Result<Option<SplitDirectory>, HostError> {
    let Some(mode) = resolver.directory_mode(path) else { return Ok(None) };
    let entries = match list(path, MOST_ENTRIES) {
        Err(HostError::List { source: rustix::io::Errno::ACCESS, .. }) => Vec::new(),
        other => other?,
    };
    let writer = Writer::from(caller);
    let entries = entries.into_iter().filter_map(|path| probe_entry(path, &writer)).collect();
    Ok(Some(SplitDirectory { path: path.clone(), mode, entries }))
}

/// One entry; none when it went away meanwhile.
fn probe_entry(path: HostPath, writer: &Writer) -> Option<SplitEntry> {
    match look(CWD, path.as_path()) {
        Seen::There(status) => {
            let kind = kind_of(&status, &path);
            let readable = is_readable(&path, &kind);
            let writable = writer.may_write(&path, &status);
            let mode = status.mode & 0o7777;
            Some(SplitEntry { kind, mode, size: status.size, readable, writable, path })
        }
        Seen::Forbidden => Some(SplitEntry {
            path,
            kind: Kind::Forbidden,
            mode: 0,
            size: 0,
            readable: false,
            writable: false,
        }),
        Seen::Absent => None,
    }
}

/// A link can be read whatever it leads to; a directory has to be entered too.
fn is_readable(path: &HostPath, kind: &Kind) -> bool {
    let wanted = match kind {
        Kind::Link(_) => return true,
        Kind::Directory => Access::READ_OK | Access::EXEC_OK,
        _ => Access::READ_OK,
    };
    rustix::fs::accessat(CWD, path.as_path(), wanted, AtFlags::EACCESS).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(path: &str) -> HostPath {
        HostPath::new(path).unwrap()
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
        let split = probe(&path, &Caller::default(), &mut Resolver::default()).unwrap().unwrap();
        assert_eq!((split.path, split.mode), (path, 0o1750));
        let entries: Vec<_> = split.entries.iter().map(|e| (e.kind.clone(), e.readable)).collect();
        let expected =
            [(Kind::Directory, true), (Kind::File, true), (Kind::Link("f".into()), true)];
        assert_eq!(entries, expected);
        assert_eq!(split.entries[1].size, 4);
        assert_eq!(
            probe(&host("/proc/version"), &Caller::default(), &mut Resolver::default()),
            Ok(None)
        );
    }
}
