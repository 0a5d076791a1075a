//! What stands at a path that was asked for, and what the caller may do there.

use std::collections::BTreeSet;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::plan::facts::{Caller, Kind, Place, RootEntry};
use crate::spec::HostPath;

use super::HostError;
use super::resolve::{Found, Last, Resolver, Seen, Status, kind_of, look};

/// How many entries of a tree are looked at for ids that cannot be mapped.
const MOST_FOREIGN_LOOKS: usize = 256;
/// Most entries of `/`.
const MOST_ROOT_ENTRIES: usize = 4096;

/// One path. `look_into` says whether its entries are looked at for foreign ids: what is not
/// copy-on-write needs no answer.
pub(super) fn probe(
    asked: &HostPath,
    caller: &Caller,
    look_into: LookInto,
    resolver: &mut Resolver,
) -> Place {
    let found = resolver.resolve(asked, Last::Follow);
    let there = found.status.is_some();
    let writer = Writer::from(caller);
    let foreign_writable = there
        && look_into == LookInto::Entries
        && found.is_directory()
        && tree_is_foreign(&found, &writer);
    Place {
        asked: asked.clone(),
        writable: found.status.is_some_and(|status| writer.may_write(&found.real, &status)),
        foreign_writable,
        size: found.status.map_or(0, |status| status.size),
        fs_magic: if there { fs_magic(&found.real) } else { 0 },
        kind: found.kind,
        real: found.real,
    }
}

/// Whether the entries of a directory matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookInto {
    /// They do.
    Entries,
    /// They do not.
    Nothing,
}

/// Magic number of the file system a path is on; 0 when it cannot be asked.
pub(super) fn fs_magic(path: &HostPath) -> u64 {
    // The kernel's word is signed on some architectures; the magic numbers have 32 bits.
    rustix::fs::statfs(path.as_path())
        .map_or(0, |fs| u64::try_from(fs.f_type & 0xffff_ffff).unwrap_or(0))
}

/// Who would write, as far as permission bits tell.
pub(super) struct Writer {
    uid: u32,
    gid: u32,
    groups: BTreeSet<u32>,
}

impl From<&Caller> for Writer {
    fn from(caller: &Caller) -> Self {
        let mut groups: BTreeSet<u32> = caller.groups.iter().copied().collect();
        groups.insert(caller.gid);
        Self { uid: caller.uid, gid: caller.gid, groups }
    }
}

impl Writer {
    /// Whether owner and permission bits let the caller write. An ordinary user's access(2) knows of
    /// access control lists too; it stops at a read-only mount, over which a copy-on-write view can
    /// be written all the same. Root's privilege does not count: the payload has none.
    pub(super) fn may_write(&self, path: &HostPath, status: &Status) -> bool {
        if self.uid == 0 {
            return self.bits_allow(status);
        }
        match rustix::fs::accessat(CWD, path.as_path(), Access::WRITE_OK, AtFlags::EACCESS) {
            Ok(()) => true,
            Err(Errno::ROFS) => self.bits_allow(status),
            Err(_) => false,
        }
    }

    fn bits_allow(&self, status: &Status) -> bool {
        if status.uid == self.uid {
            status.mode & 0o200 != 0
        } else if self.groups.contains(&status.gid) {
            status.mode & 0o020 != 0
        } else {
            status.mode & 0o002 != 0
        }
    }

    /// Whether the caller may write a file that one mapped id cannot show: copying it up, or making
    /// something in it, then fails with `EOVERFLOW`.
    fn finds_foreign(&self, status: &Status) -> bool {
        let matters = matches!(status.file_type, FileType::Directory | FileType::RegularFile);
        let foreign = status.uid != self.uid || status.gid != self.gid;
        matters && foreign && self.bits_allow(status)
    }
}

/// Looks at a directory and its entries, [`MOST_FOREIGN_LOOKS`] at most: a project directory of a
/// group carries its group on itself and on what is in it.
fn tree_is_foreign(found: &Found, writer: &Writer) -> bool {
    if found.status.is_some_and(|status| writer.finds_foreign(&status)) {
        return true;
    }
    let Ok(dir) = open_directory(&found.real) else { return false };
    let Ok(entries) = rustix::fs::Dir::read_from(&dir) else { return false };
    entries
        .take(MOST_FOREIGN_LOOKS)
        .map_while(Result::ok)
        .filter(|entry| !is_dot(entry.file_name().to_bytes()))
        .filter(|entry| {
            matches!(
                entry.file_type(),
                FileType::Directory | FileType::RegularFile | FileType::Unknown
            )
        })
        .any(|entry| match look(&dir, entry.file_name()) {
            Seen::There(status) => writer.finds_foreign(&status),
            Seen::Absent | Seen::Forbidden => false,
        })
}

pub(super) fn open_directory(path: &HostPath) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path.as_path(), flags, Mode::empty())
}

pub(super) fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// The names in a directory, sorted; more than `limit` is an error.
pub(super) fn list(path: &HostPath, limit: usize) -> Result<Vec<HostPath>, HostError> {
    let failed = |source| HostError::List { path: path.clone(), source };
    let dir = open_directory(path).map_err(failed)?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if is_dot(name) {
            continue;
        }
        if found.len() == limit {
            return Err(HostError::TooManyEntries { path: path.clone(), limit });
        }
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
        // Only a path too long for the kernel is not taken: nobody can ask for it either.
        found.extend(path.join(name));
    }
    found.sort();
    Ok(found)
}

/// The entries of `/`, sorted.
pub(super) fn probe_root_entries() -> Result<Vec<RootEntry>, HostError> {
    let entries = list(&HostPath::root(), MOST_ROOT_ENTRIES)?;
    Ok(entries
        .into_iter()
        .filter_map(|path| match look(CWD, path.as_path()) {
            Seen::There(status) => {
                let kind = kind_of(&status, &path);
                Some(RootEntry { kind, only_root_writes: only_root_writes(&status), path })
            }
            Seen::Absent => None,
            Seen::Forbidden => {
                Some(RootEntry { path, kind: Kind::Forbidden, only_root_writes: false })
            }
        })
        .collect())
}

/// The bits of a link say nothing: it can be replaced by who writes its directory. With an access
/// control list the group's bits bound what it grants.
fn only_root_writes(status: &Status) -> bool {
    status.uid == 0 && (status.file_type == FileType::Symlink || status.mode & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::*;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        (dir, root)
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn caller() -> Caller {
        Caller {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            ..Caller::default()
        }
    }

    fn probe_path(path: &Path, caller: &Caller) -> Place {
        let asked = HostPath::new(path).unwrap();
        probe(&asked, caller, LookInto::Entries, &mut Resolver::default())
    }

    #[test]
    fn a_place_says_what_is_there_and_where_links_led() {
        let (_dir, root) = scratch();
        std::fs::create_dir(root.join("d")).unwrap();
        std::os::unix::fs::symlink("d", root.join("l")).unwrap();
        let place = probe_path(&root.join("l"), &caller());
        assert_eq!(place.real.as_path(), root.join("d"));
        assert_eq!(
            (place.kind, place.writable, place.foreign_writable),
            (Kind::Directory, true, false)
        );
        assert_ne!(place.fs_magic, 0);
        let gone = probe_path(&root.join("l/x"), &caller());
        assert_eq!((gone.kind, gone.writable, gone.fs_magic), (Kind::Absent, false, 0));
        assert_eq!(probe_path(Path::new("/proc"), &caller()).fs_magic, 0x9fa0);
        assert_eq!(probe_path(Path::new("/dev/null"), &caller()).kind, Kind::Device);
    }

    #[test]
    fn write_permission_is_by_owner_and_bits_even_for_root() {
        let (_dir, root) = scratch();
        set_mode(&root, 0o555);
        assert!(!probe_path(&root, &caller()).writable);
        set_mode(&root, 0o755);
        assert!(probe_path(&root, &caller()).writable);
    }

    #[test]
    fn a_group_tree_is_foreign_by_its_root_or_by_an_entry() {
        let (_dir, root) = scratch();
        std::fs::create_dir(root.join("sub")).unwrap();
        let own = caller();
        assert!(!probe_path(&root, &own).foreign_writable);
        // To a caller of another group, which has ours as a supplementary one, it is.
        let member = Caller { gid: own.gid + 1, groups: vec![own.gid], ..own.clone() };
        assert!(probe_path(&root, &member).foreign_writable);
        // Of somebody else's tree, only what a group or everybody may write matters.
        let other = Caller { uid: own.uid + 1, gid: own.gid + 1, ..own.clone() };
        assert!(!probe_path(&root, &other).foreign_writable);
        std::fs::write(root.join("open"), "").unwrap();
        set_mode(&root.join("open"), 0o666);
        assert!(probe_path(&root, &other).foreign_writable);
        let asked = HostPath::new(&root).unwrap();
        let place = probe(&asked, &other, LookInto::Nothing, &mut Resolver::default());
        assert!(!place.foreign_writable);
    }

    #[test]
    fn a_link_and_a_socket_with_open_bits_are_not_foreign() {
        let (_dir, root) = scratch();
        std::os::unix::fs::symlink("x", root.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        set_mode(&root.join("socket"), 0o777);
        let own = caller();
        let other = Caller { uid: own.uid + 1, gid: own.gid + 1, ..own };
        assert!(!probe_path(&root, &other).foreign_writable);
    }

    #[test]
    fn the_entries_of_the_root_are_sorted_and_usr_is_roots() {
        let entries = probe_root_entries().unwrap();
        assert!(entries.is_sorted_by_key(|entry| entry.path.clone()));
        let of = |path: &str| {
            let path = HostPath::new(path).unwrap();
            entries.iter().find(|entry| entry.path == path).unwrap()
        };
        assert!(of("/usr").only_root_writes && of("/usr").kind == Kind::Directory);
        assert!(!of("/tmp").only_root_writes);
    }

    #[test]
    fn a_directory_with_too_many_entries_is_an_error() {
        let (_dir, root) = scratch();
        for n in 0..5 {
            std::fs::write(root.join(n.to_string()), "").unwrap();
        }
        let path = HostPath::new(&root).unwrap();
        assert_eq!(list(&path, 5).unwrap().len(), 5);
        assert_eq!(list(&path, 4), Err(HostError::TooManyEntries { path: path.clone(), limit: 4 }));
    }
}
