//! The pathname sockets of this network namespace, from `/proc/net/unix`.
//!
//! # Theory of operation
//! A read-only bind does not stop `connect(2)`, so a socket below a tree that is bound bare is
//! covered one by one. The table is the kernel's, but the names in it are anybody's: one that holds a
//! newline breaks its line, and the parser takes what still looks like an absolute path. A name too
//! many is looked at and found to be no socket.
//!
//! # Decisions
//! - Anybody makes the table as long as he likes, with names that lead nowhere: so it has no bound, and is read line by
//!   line. What is bounded is what is found, of which each takes a mount.
//!
//! # Not here
//! Sockets of other network namespaces, those bound by a relative name, and those made later. Trees that are shown by an
//! overlay need none of this; in the rest they are named in README, *What it does not protect against*.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::plan::facts::Kind;
use crate::spec::HostPath;

use super::HostError;
use super::bounded;
use super::resolve::{Last, Resolver};

const TABLE: &str = "/proc/net/unix";
/// Most sockets that are covered.
const MOST: usize = 4096;

/// Sockets that exist below one of `trees`; sorted.
pub(super) fn probe(
    trees: &[HostPath],
    resolver: &mut Resolver,
) -> Result<Vec<HostPath>, HostError> {
    let mut found = Found { trees, resolver, sockets: BTreeSet::new(), last: None };
    // Missing when the procfs is restricted, or the kernel has no unix sockets.
    bounded::each_line_optional(TABLE, |line| found.take(line, MOST))?;
    Ok(found.sockets.into_iter().collect())
}

/// What the lines that were read tell.
struct Found<'a> {
    trees: &'a [HostPath],
    resolver: &'a mut Resolver,
    sockets: BTreeSet<HostPath>,
    /// The name of the line before: every connection that a service has taken stands there with the service's.
    last: Option<HostPath>,
}

impl Found<'_> {
    fn take(&mut self, line: &[u8], most: usize) -> Result<(), HostError> {
        let Some(path) = path_of(line).filter(|path| self.last.as_ref() != Some(path)) else {
            return Ok(());
        };
        let found = self.resolver.resolve(&path, Last::Keep);
        self.last = Some(path);
        let is_below = || self.trees.iter().any(|tree| found.real.starts_with(tree));
        if found.kind == Kind::Socket && is_below() {
            self.sockets.insert(found.real);
        }
        if self.sockets.len() > most { Err(HostError::TooManySockets { most }) } else { Ok(()) }
    }
}

/// `Num: RefCount Protocol Flags Type St Inode Path`; the path is the rest of the line and may hold
/// blanks. None of what is no absolute path.
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

    const LINES: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000012345678: 00000002 00000000 00010000 0001 01 18323 /run/dbus/system_bus_socket\n\
        0000000012345678: 00000003 00000000 00000000 0001 03 18324\n\
        0000000012345678: 00000002 00000000 00010000 0001 01 18325 @/tmp/abstract\n\
        0000000012345678: 00000002 00000000 00010000 0005 01 18326 relative\n\
        0000000012345678: 00000002 00000000 00010000 0001 01     7 /with a blank\n\
        0000000012345678: 00000002 00000000 00000000 0002 01 18328 /\xff\n\
        broken\n";

    #[test]
    fn only_absolute_names_are_taken_whole() {
        let lines = LINES.split(|byte| *byte == b'\n');
        let paths: Vec<Vec<u8>> =
            lines.filter_map(path_of).map(|path| path.as_bytes().to_vec()).collect();
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

    #[test]
    fn sockets_are_bounded_by_those_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let _listeners = ["a", "b", "c"].map(|name| UnixListener::bind(root.join(name)).unwrap());
        let trees = [HostPath::new(&root).unwrap()];
        let mut resolver = Resolver::default();
        let mut found =
            Found { trees: &trees, resolver: &mut resolver, sockets: BTreeSet::new(), last: None };
        let mut take = |name: &str| {
            let at = root.join(name);
            found.take(format!("0: 2 0 10000 1 01 1 {}", at.display()).as_bytes(), 2)
        };
        for name in ["a", "x", "y", "z", "a", "a", "b", "w", "a"] {
            assert_eq!(take(name), Ok(()), "{name}");
        }
        assert_eq!(take("c"), Err(HostError::TooManySockets { most: 2 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            path_of(&bytes);
        }
    }
}
