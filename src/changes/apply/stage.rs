//! Prepares what is to be applied: beside its place on the host, under a random name, to be put there by one rename.
//!
//! # Theory of operation
//! A file of the layer is renamed there when it can become the host's as it is: nobody has it open for
//! writing, it carries no attribute or flag that a copy would not have, and it is on the same file system.
//! Else it is copied, its blocks shared where the file system can. Links and pipes are made anew.
//!
//! # Decisions
//! - What the layer has must be what was looked at. What was reviewed is hashed again: a copy while it is
//!   copied, a layer's own file when nobody can write to it any more.
//! - Set-id bits, capabilities and owners are never taken over. Owner and group of the file that is replaced
//!   are kept.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::IFlags;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags,
    chownat, fchmod, fchown, fremovexattr, fsetxattr, futimens, ioctl_getflags, linkat, mknodat,
    openat, readlinkat, renameat_with, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::action::{Conflict, Refusal, Why};
use super::bytes;
use super::places::Entry;
use super::seen::{Inode, Moment, Seen};
use crate::changes::compare::open_file;
use crate::changes::marks::{ESCAPED, Marks, is_any_overlays, is_compared, names};
use crate::changes::{Content, FileKind, Held, hash_file};
use crate::plan::step::Backend;
use crate::sys::lease::has_no_writer;

/// Flags of a file that say nothing about it: how ext4 keeps it.
const PLAIN_FLAGS: u32 = 0x0008_0000 | 0x1000_0000 | 0x0004_0000;
const ACL: &str = "system.posix_acl_access";

/// What is staged, and where.
pub(super) struct Order<'a> {
    /// In the layer.
    pub(super) source: &'a Entry,
    pub(super) backend: Backend,
    /// What stands there.
    pub(super) takes: Seen,
    /// In the host's directory.
    pub(super) host: &'a Entry,
    pub(super) temporary: &'a CStr,
    /// What the host's place has now.
    pub(super) replaces: Option<Seen>,
    /// What was reviewed.
    pub(super) held: Option<&'a Held>,
}

impl Order<'_> {
    /// Moves the layer's file, if that can be done; gives whether it was.
    pub(super) fn move_file(&self) -> Result<Option<Inode>, Why> {
        let file = self.open()?;
        let Some(marks) = self.removable_marks(&file).map_err(Why::Failed)? else {
            return Ok(None);
        };
        let flags = match ioctl_getflags(&file) {
            Ok(flags) => flags,
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => IFlags::empty(),
            Err(error) => return Err(Why::Failed(error)),
        };
        if flags.bits() & !PLAIN_FLAGS != 0 || has_no_writer(&file) != Ok(true) {
            return Ok(None);
        }
        self.check_reviewed_file(&file)?;
        let (from, to) = (self.source, self.host);
        let moved = renameat_with(
            &*from.directory,
            &*from.name,
            &*to.directory,
            self.temporary,
            RenameFlags::NOREPLACE,
        );
        match moved {
            Ok(()) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(Why::Failed(error)),
        }
        self.adapt(&file, &marks).map_err(Why::Failed)?;
        Ok(Some(self.takes.inode))
    }

    /// Makes a moved file the host's.
    fn adapt(&self, file: &OwnedFd, marks: &[Vec<u8>]) -> Result<(), Errno> {
        let closed = self.takes.mode & 0o200 == 0 && !marks.is_empty();
        if closed {
            // Attributes can be taken away only from what can be written.
            fchmod(file, Mode::from_raw_mode(self.takes.permissions() | 0o200))?;
        }
        for mark in marks {
            fremovexattr(file, mark.as_slice())?;
        }
        if let Some(old) = self.replaced_file()
            && old.group != self.takes.group
        {
            fchown(file, None, Some(Gid::from_raw(old.group)))?;
        }
        if closed || self.takes.mode & 0o6000 != 0 {
            fchmod(file, self.mode())?;
        }
        Ok(())
    }

    /// The overlay's own marks, which can be taken away; none when there is something that a copy
    /// would not have.
    fn removable_marks(&self, file: &OwnedFd) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let mut marks = Vec::new();
        for name in names(file)? {
            if name.starts_with(ESCAPED) && self.backend == Backend::Kernel {
                return Ok(None);
            }
            if is_any_overlays(&name) {
                marks.push(name);
            } else if !is_compared(&name) && name != b"security.selinux" {
                return Ok(None);
            }
        }
        Ok(Some(marks))
    }

    /// Opens the layer's file; it must be what was looked at.
    fn open(&self) -> Result<OwnedFd, Why> {
        let file = match open_file((self.source.directory.as_fd(), &self.source.name)) {
            Err(Errno::ACCESS | Errno::PERM) => return Err(Why::Refused(Refusal::Unreadable)),
            other => other.map_err(Why::Failed)?,
        };
        self.verify(&Seen::of(&file).map_err(Why::Failed)?)?;
        Ok(file)
    }

    fn verify(&self, now: &Seen) -> Result<(), Why> {
        if self.takes.is_still(now) {
            return Ok(());
        }
        Err(Why::Conflict(Conflict::Meanwhile))
    }

    /// Copies the layer's file; its content from `merged`, where there is one.
    pub(super) fn copy_file(&self, merged: Option<&OwnedFd>) -> Result<Inode, Why> {
        let file = self.open()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let to = openat(&*self.host.directory, self.temporary, flags | OFlags::RDWR, mode)
            .map_err(Why::Failed)?;
        self.fill(&file, &to, merged)?;
        Ok(Seen::of(&to).map_err(Why::Failed)?.inode)
    }

    fn fill(&self, file: &OwnedFd, to: &OwnedFd, merged: Option<&OwnedFd>) -> Result<(), Why> {
        let failed = Why::Failed;
        let size = self.takes.size;
        match (merged, self.held) {
            (Some(merged), _) => {
                let size = Seen::of(merged).map_err(failed)?.size;
                bytes::copy(merged.as_fd(), to.as_fd(), size).map_err(failed)?;
            }
            (None, None) => bytes::copy(file.as_fd(), to.as_fd(), size).map_err(failed)?,
            (None, Some(held)) => {
                let hash = bytes::copy_hashed(file.as_fd(), to.as_fd(), size).map_err(failed)?;
                if held.content != (Content::Hashed { size, hash }) {
                    return Err(Why::Refused(Refusal::NotReviewed));
                }
            }
        }
        self.own(to).map_err(failed)?;
        let attributes = Marks::of_upper(file, self.backend).and_then(|marks| marks.values(file));
        let attributes = attributes.map_err(failed)?;
        self.check_reviewed_attributes(&attributes)?;
        set_attributes(to, &attributes).map_err(failed)?;
        fchmod(to, self.mode()).map_err(failed)?;
        if merged.is_none() {
            futimens(to, &self.times(file).map_err(failed)?).map_err(failed)?;
            // Whoever wrote to it meanwhile wrote to something that was not looked at.
            self.verify(&Seen::of(file).map_err(failed)?)?;
        }
        Ok(())
    }

    /// Makes a link or pipe as the layer has one.
    pub(super) fn make_special(&self) -> Result<Inode, Why> {
        let failed = Why::Failed;
        let (from, to) = (self.source, &self.host.directory);
        let now = Seen::at(&*from.directory, &from.name).map_err(failed)?;
        self.verify(&now.ok_or(Why::Conflict(Conflict::Meanwhile))?)?;
        match self.takes.kind() {
            FileKind::Link => {
                let target =
                    readlinkat(&*from.directory, &*from.name, Vec::new()).map_err(failed)?;
                symlinkat(&*target, &**to, self.temporary).map_err(failed)?;
            }
            FileKind::Fifo => {
                mknodat(&**to, self.temporary, FileType::Fifo, self.mode(), 0).map_err(failed)?;
            }
            _ => return Err(Why::Refused(Refusal::Device)),
        }
        self.adapt_special(&now.unwrap_or(self.takes))
    }

    /// Gives the link or FIFO that has been made its bits, owner and times, through one descriptor: whoever may write
    /// in that directory can see its name, and put something else there.
    fn adapt_special(&self, source: &Seen) -> Result<Inode, Why> {
        let failed = Why::Failed;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&*self.host.directory, self.temporary, flags, Mode::empty());
        let file = file.map_err(failed)?;
        let made = Seen::of(&file).map_err(failed)?;
        let is_ours = made.owner == rustix::process::geteuid().as_raw() && made.links == 1;
        if made.kind() != self.takes.kind() || !is_ours {
            return Err(Why::Conflict(Conflict::Meanwhile));
        }
        if made.kind() == FileKind::Fifo {
            // The umask took some bits away.
            chmod(&file, self.mode().as_raw_mode()).map_err(failed)?;
        }
        if let Some(old) = self.replaces.filter(|old| old.kind() == self.takes.kind())
            && (made.group != old.group || made.owner != old.owner)
        {
            let (user, group) = owners(&old);
            chownat(&file, c"", user, group, AtFlags::EMPTY_PATH).map_err(failed)?;
        }
        utimensat(&file, c"", &times_of(source), AtFlags::EMPTY_PATH).map_err(failed)?;
        Ok(made.inode)
    }

    /// Makes another name of a file that stands on the host already.
    pub(super) fn link(&self, first: &Entry, inode: Inode) -> Result<Inode, Why> {
        let to = &self.host.directory;
        linkat(&*first.directory, &*first.name, &**to, self.temporary, AtFlags::empty())
            .map_err(Why::Failed)?;
        let made = Seen::at(&**to, self.temporary).map_err(Why::Failed)?;
        if made.is_some_and(|made| made.inode == inode) {
            return Ok(inode);
        }
        Err(Why::Conflict(Conflict::Meanwhile))
    }

    /// Takes away what was staged.
    pub(super) fn unstage(&self) -> Result<(), Errno> {
        match unlinkat(&*self.host.directory, self.temporary, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                unlinkat(&*self.host.directory, self.temporary, AtFlags::REMOVEDIR)
            }
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.takes.mode & 0o1777)
    }

    /// The file that goes, if it is one: whose owner is kept.
    fn replaced_file(&self) -> Option<Seen> {
        self.replaces.filter(|old| old.kind() == FileKind::File)
    }

    fn own(&self, to: &OwnedFd) -> Result<(), Errno> {
        let Some(old) = self.replaced_file() else { return Ok(()) };
        let made = Seen::of(to)?;
        if (made.owner, made.group) == (old.owner, old.group) {
            return Ok(());
        }
        let (user, group) = owners(&old);
        fchown(to, user.filter(|_| made.owner != old.owner), group)
    }

    fn times(&self, file: &OwnedFd) -> Result<Timestamps, Errno> {
        let stat = rustix::fs::fstat(file)?;
        Ok(timestamps((stat.st_atime, stat.st_atime_nsec), self.takes.modified))
    }

    fn check_reviewed_file(&self, file: &OwnedFd) -> Result<(), Why> {
        let Some(held) = self.held else { return Ok(()) };
        let hash = hash_file(file, &mut Vec::new()).map_err(Why::Failed)?;
        if held.content != (Content::Hashed { size: self.takes.size, hash }) {
            return Err(Why::Refused(Refusal::NotReviewed));
        }
        let values = Marks::of_upper(file, self.backend).and_then(|marks| marks.values(file));
        self.check_reviewed_attributes(&values.map_err(Why::Failed)?)
    }

    fn check_reviewed_attributes(&self, attributes: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Why> {
        match self.held {
            Some(held) if held.attributes.as_deref() != Some(attributes) => {
                Err(Why::Refused(Refusal::NotReviewed))
            }
            _ => Ok(()),
        }
    }
}

fn owners(old: &Seen) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(old.owner)), Some(Gid::from_raw(old.group)))
}

/// Sets a file's or directory's own attributes, and takes away those it has beside them: what it got from
/// the directory it was made in.
pub(super) fn set_attributes(
    to: impl AsFd,
    attributes: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), Errno> {
    for name in names(&to)? {
        let wanted = attributes.iter().any(|(own, _)| *own == name);
        if is_compared(&name) && !is_any_overlays(&name) && !wanted {
            fremovexattr(&to, name.as_slice())?;
        }
    }
    for (name, value) in attributes {
        // Nothing that an overlay would take for its own mark, wherever it came from.
        if is_any_overlays(name) {
            continue;
        }
        match fsetxattr(&to, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // An access list on a file system without them: the permission bits say as much as it can.
            Err(Errno::OPNOTSUPP) if name.starts_with(ACL.as_bytes()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn times_of(seen: &Seen) -> Timestamps {
    timestamps(seen.modified, seen.modified)
}

/// Times as the kernel takes them.
pub(super) fn timestamps(accessed: Moment, modified: Moment) -> Timestamps {
    let time = |(seconds, nanoseconds): Moment| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps { last_access: time(accessed), last_modification: time(modified) }
}

/// Gives a directory or FIFO permission bits through a descriptor that may only be for looking up.
pub(super) fn chmod(file: impl AsFd, mode: u32) -> Result<(), Errno> {
    let path = crate::sys::open::fd_path(file);
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())
}
