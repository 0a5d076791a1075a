//! The pathname sockets of this network namespace, from `/proc/net/unix`.
//!
//! # Theory of operation
//! A read-only bind does not stop `connect(2)`, so a socket below a tree that is bound bare is
//! covered one by one. The table is the kernel's, but the names in it are anybody's: one that holds a
//! newline breaks its line, and the parser takes what still looks like an absolute path. A name too
//! many is looked at and found to be no socket.
//!
//! # Not here
//! Sockets of other network namespaces, and those bound by a relative name: neither is found below
//! trees that only root writes, unless root put it there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::plan::facts::Kind;
use crate::spec::HostPath;

use super::HostError;
use super::bounded::{self, TABLE};
use super::resolve::{Last, Resolver};

/// Sockets that exist below one of `trees`; sorted.
pub(super) fn probe(
    trees: &[HostPath],
    resolver: &mut Resolver,
) -> Result<Vec<HostPath>, HostError> {
    // Missing when the procfs is restricted, or the kernel has no unix sockets.
    let table = bounded::read_optional("/proc/net/unix", TABLE)?.unwrap_or_default();
    let found: BTreeSet<HostPath> = parse(&table)
        .into_iter()
        .map(|path| resolver.resolve(&path, Last::Keep))
        .filter(|found| found.kind == Kind::Socket)
        .map(|found| found.real)
        .filter(|path| trees.iter().any(|tree| path.starts_with(tree)))
        .collect();
    Ok(found.into_iter().collect())
}

/// Names of the table that are absolute paths.
pub(super) fn parse(table: &[u8]) -> Vec<HostPath> {
    table.split(|b| *b == b'\n').filter_map(path_of).collect()
}

/// `Num: RefCount Protocol Flags Type St Inode Path`; the path is the rest of the line and may hold
/// blanks.
fn path_of(line: &[u8]) -> Option<HostPath> {
    let mut rest = line;
    for _ in 0..7 {
        let start = rest.iter().position(|b| *b != b' ')?;
        let end = start + rest[start..].iter().position(|b| *b == b' ')?;
        rest = &rest[end..];
    }
    let path = rest.strip_prefix(b" ").filter(|path| path.starts_with(b"/"))?;
    HostPath::new(OsStr::from_bytes(path)).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000012345678: 00000002 00000000 00010000 0001 01 18323 /run/dbus/system_bus_socket\n\
        0000000012345678: 00000003 00000000 00000000 0001 03 18324\n\
        0000000012345678: 00000002 00000000 00010000 0001 01 18325 @/tmp/abstract\n\
        0000000012345678: 00000002 00000000 00010000 0005 01 18326 relative\n\
        0000000012345678: 00000002 00000000 00010000 0001 01     7 /with a blank\n\
        0000000012345678: 00000002 00000000 00000000 0002 01 18328 /\xff\n\
        broken\n";

    #[test]
    fn only_absolute_names_are_taken_whole() {
        let paths: Vec<Vec<u8>> = parse(TABLE).iter().map(|p| p.as_bytes().to_vec()).collect();
        assert_eq!(paths, [&b"/run/dbus/system_bus_socket"[..], b"/with a blank", b"/\xff"]);
    }

    #[test]
    fn a_socket_is_found_below_the_trees_that_are_asked_for_only() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("in")).unwrap();
        let _inside = UnixListener::bind(root.join("in/s")).unwrap();
        let _outside = UnixListener::bind(root.join("out")).unwrap();
        let gone = UnixListener::bind(root.join("in/gone")).unwrap();
        std::fs::remove_file(root.join("in/gone")).unwrap();
        let tree = HostPath::new(root.join("in")).unwrap();
        let found = probe(&[tree], &mut Resolver::default()).unwrap();
        assert_eq!(found, [HostPath::new(root.join("in/s")).unwrap()]);
        drop(gone);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse(&bytes);
        }
    }
}
