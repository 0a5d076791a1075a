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
//! - A relative name does not tell where the socket is. Where there is one, trees that are written straight to the host
//!   are searched for sockets of that name, the upper directories first, up to a number of names. What is left after that is
//!   told in README.
//!
//! # Not here
//! Sockets of other network namespaces, those that were renamed, and those made later. Trees that are shown by an
//! overlay need none of this; in the rest they are named in README, *What it does not protect against*.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;

use crate::plan::facts::Kind;
use crate::spec::HostPath;

use super::HostError;
use super::bounded;
use super::entries::{each_entry, open_directory};
use super::resolve::{Last, Resolver, Seen, look};

const TABLE: &str = "/proc/net/unix";
/// Most sockets that are covered.
const MOST: usize = 4096;
/// Most names that are searched, of all trees: a tenth of a second.
const SEARCHED: usize = 100_000;

/// Sockets that exist below one of `trees`; sorted. `written` are searched for those whose place nobody tells.
pub(super) fn probe(
    trees: &[HostPath],
    written: &[HostPath],
    resolver: &mut Resolver,
) -> Result<Vec<HostPath>, HostError> {
    let mut found = Found::new(trees, resolver);
    // Missing when the procfs is restricted, or the kernel has no unix sockets.
    bounded::each_line_optional(TABLE, |line| found.take(line, MOST))?;
    if !found.relative.is_empty() && !written.is_empty() {
        found.search(written, SEARCHED, MOST)?;
    }
    Ok(found.sockets.into_iter().collect())
}

/// What the lines that were read tell.
struct Found<'a> {
    trees: &'a [HostPath],
    resolver: &'a mut Resolver,
    sockets: BTreeSet<HostPath>,
    /// The name of the line before: every connection that a service has taken stands there with the service's.
    last: Option<HostPath>,
    /// The last names of relative paths.
    relative: BTreeSet<Vec<u8>>,
}

impl<'a> Found<'a> {
    fn new(trees: &'a [HostPath], resolver: &'a mut Resolver) -> Self {
        Self { trees, resolver, sockets: BTreeSet::new(), last: None, relative: BTreeSet::new() }
    }

    fn take(&mut self, line: &[u8], most: usize) -> Result<(), HostError> {
        let Some(name) = name_of(line).filter(|name| !name.starts_with(b"@")) else {
            return Ok(());
        };
        if !name.starts_with(b"/") {
            let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            if self.relative.len() < SEARCHED {
                self.relative.insert(last.to_vec());
            }
            return Ok(());
        }
        let path = HostPath::new(OsStr::from_bytes(name)).ok();
        let Some(path) = path.filter(|path| self.last.as_ref() != Some(path)) else {
            return Ok(());
        };
        let found = self.resolver.resolve(&path, Last::Keep);
        self.last = Some(path);
        let is_below = || self.trees.iter().any(|tree| found.real.starts_with(tree));
        if found.kind == Kind::Socket && is_below() {
            self.sockets.insert(found.real);
        }
        self.bounded(most)
    }

    fn bounded(&self, most: usize) -> Result<(), HostError> {
        if self.sockets.len() > most { Err(HostError::TooManySockets { most }) } else { Ok(()) }
    }

    /// Adds the sockets below directories that have one of the relative names. A directory that cannot be read is passed
    /// over.
    fn search(
        &mut self,
        below: &[HostPath],
        mut left: usize,
        most: usize,
    ) -> Result<(), HostError> {
        let mut directories: VecDeque<HostPath> = below.iter().cloned().collect();
        while let Some(directory) = directories.pop_front() {
            let Ok(open) = open_directory(&directory) else { continue };
            let listed = each_entry(&open, |name, kind| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                let name = name.to_bytes();
                let kind = if kind == FileType::Unknown { type_of(&open, name) } else { kind };
                // In the table a name ends with its first line.
                let line = name.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let is_sought = kind == FileType::Socket && self.relative.contains(line);
                if let (true, Ok(path)) = (
                    is_sought || kind == FileType::Directory,
                    directory.join(OsStr::from_bytes(name)),
                ) {
                    if is_sought {
                        self.sockets.insert(path);
                    } else {
                        directories.push_back(path);
                    }
                }
                ControlFlow::Continue(())
            });
            // What was listed before an error counts.
            listed.unwrap_or_default();
            self.bounded(most)?;
        }
        Ok(())
    }
}

/// What a name is, where the directory does not say.
fn type_of(directory: impl std::os::fd::AsFd, name: &[u8]) -> FileType {
    match look(directory, name) {
        Seen::There(status) => status.file_type,
        Seen::Absent | Seen::Forbidden => FileType::Unknown,
    }
}

/// `Num: RefCount Protocol Flags Type St Inode Path`; the path is the rest of the line and may hold
/// blanks.
fn name_of(line: &[u8]) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..7 {
        let start = rest.iter().position(|b| *b != b' ')?;
        let end = start + rest[start..].iter().position(|b| *b == b' ')?;
        rest = &rest[end..];
    }
    rest.strip_prefix(b" ")
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
    fn names_are_taken_whole() {
        let lines = LINES.split(|byte| *byte == b'\n');
        let names: Vec<&[u8]> = lines.skip(1).filter_map(name_of).collect();
        let expected: [&[u8]; 5] = [
            b"/run/dbus/system_bus_socket",
            b"@/tmp/abstract",
            b"relative",
            b"/with a blank",
            b"/\xff",
        ];
        assert_eq!(names, expected);
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
        let found = probe(&[tree], &[], &mut Resolver::default()).unwrap();
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
        let mut found = Found::new(&trees, &mut resolver);
        let mut take = |name: &str| {
            let at = root.join(name);
            found.take(format!("0: 2 0 10000 1 01 1 {}", at.display()).as_bytes(), 2)
        };
        for name in ["a", "x", "y", "z", "a", "a", "b", "w", "a"] {
            assert_eq!(take(name), Ok(()), "{name}");
        }
        assert_eq!(take("c"), Err(HostError::TooManySockets { most: 2 }));
    }

    #[test]
    fn a_socket_of_a_relative_name_is_searched_for_in_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        let _sockets = ["a/b/app.sock", "a/line\nend", "a/other.sock"]
            .map(|name| UnixListener::bind(root.join(name)).unwrap());
        std::fs::write(root.join("app.sock"), "").unwrap();
        std::os::unix::fs::symlink("..", root.join("a/up")).unwrap();
        let trees = [HostPath::new(&root).unwrap()];
        let search = |left| {
            let mut resolver = Resolver::default();
            let mut found = Found::new(&trees, &mut resolver);
            for name in ["run/app.sock", "line", "@other.sock"] {
                found.take(format!("0: 2 0 10000 1 01 1 {name}").as_bytes(), 9).unwrap();
            }
            found.search(&trees, left, 9).unwrap();
            found.sockets.into_iter().collect::<Vec<_>>()
        };
        let path = |name: &str| HostPath::new(root.join(name)).unwrap();
        assert_eq!(search(100), [path("a/b/app.sock"), path("a/line\nend")]);
        assert_eq!(search(2), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            name_of(&bytes);
        }
    }
}
