//! What stands at a path that was asked for, and what the caller may do there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use crate::plan::facts::{Caller, Kind, Place, RootEntry};
use crate::spec::HostPath;

use super::HostError;
use super::entries::{each_entry, list, open_directory};
use super::resolve::{Found, Last, Resolver, Seen, Status, look};

/// How many entries of a tree are looked at for ids that cannot be mapped.
const MOST_FOREIGN_LOOKS: usize = 64;
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
    let mut place = Place {
        asked: asked.clone(),
        real: found.real.clone(),
        kind: found.kind.clone(),
        writable: false,
        foreign_writable: false,
        foreign: None,
        size: 0,
        fs_magic: 0,
        number: found.status.filter(|_| found.is_directory()).map(|status| status.id.1),
        links: Vec::new(),
    };
    if let Some(status) = found.status {
        let writer = Writer::from(caller);
        place.writable = writer.may_write(&found.real, &status);
        if look_into == LookInto::Entries && found.is_directory() {
            place.foreign = foreign_in(&found, &status, &writer);
            place.foreign_writable = place.foreign.is_some();
        }
        place.size = status.size;
        if look_into == LookInto::Entries {
            place.fs_magic = fs_magic(&found.real);
        }
    }
    place
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

/// Looks at a directory and its entries, [`MOST_FOREIGN_LOOKS`] at most, for one that is foreign: a project
/// directory of a group carries its group on itself and on what is in it.
fn foreign_in(found: &Found, status: &Status, writer: &Writer) -> Option<HostPath> {
    if writer.finds_foreign(status) {
        return Some(found.real.clone());
    }
    let dir = open_directory(&found.real).ok()?;
    let mut looks = 0;
    let mut foreign = None;
    let listed = each_entry(&dir, |name, file_type| {
        looks += 1;
        let matters =
            matches!(file_type, FileType::Directory | FileType::RegularFile | FileType::Unknown);
        if matters
            && matches!(look(&dir, name), Seen::There(status) if writer.finds_foreign(&status))
        {
            let name = OsStr::from_bytes(name.to_bytes());
            // No path is too long to be foreign.
            foreign = Some(found.real.join(name).unwrap_or_else(|_| found.real.clone()));
        }
        if foreign.is_some() || looks == MOST_FOREIGN_LOOKS {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    // What cannot be listed is not copied up either.
    listed.ok().and(foreign)
}

/// The entries of `/`, sorted.
pub(super) fn probe_root_entries(resolver: &mut Resolver) -> Result<Vec<RootEntry>, HostError> {
    let root = HostPath::root();
    let entries = list(&root, MOST_ROOT_ENTRIES)?;
    Ok(resolver
        .look_at_all(&root, entries)
        .into_iter()
        .filter(|found| found.kind != Kind::Absent)
        .map(|found| RootEntry {
            only_root_writes: found.status.is_some_and(|status| only_root_writes(&status)),
            path: found.real,
            kind: found.kind,
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
        let asked = HostPath::new("/proc").unwrap();
        let place = probe(&asked, &caller(), LookInto::Nothing, &mut Resolver::default());
        assert_eq!((place.kind, place.fs_magic), (Kind::Directory, 0));
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
        let place = probe_path(&root, &other);
        assert!(place.foreign_writable && place.foreign.unwrap().as_path() == root.join("open"));
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
        let entries = probe_root_entries(&mut Resolver::default()).unwrap();
        assert!(entries.is_sorted_by_key(|entry| entry.path.clone()));
        let of = |path: &str| {
            let path = HostPath::new(path).unwrap();
            entries.iter().find(|entry| entry.path == path).unwrap()
        };
        assert!(of("/usr").only_root_writes && of("/usr").kind == Kind::Directory);
        assert!(!of("/tmp").only_root_writes);
    }
}
