//! One member of an archive as a file or a link that takes its place whole.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat,
    fchmod, fsetxattr, fstat, ftruncate, linkat, openat, renameat, stat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::{Errno, pwrite};

use super::super::Why;
use super::super::place::{UnpackError, beside, write_error};
use super::super::read::{Member, MemberKind, ReadError, Reader};
use super::super::write::{Extent, Kind};
use super::{CHUNK, Owners, Unpacking};
use crate::plan::errand::Keep;
use crate::sys::open::fd_path;

/// Zeros that are left as a hole.
const HOLE: usize = 32 << 10;

impl Unpacking<'_, '_> {
    /// Anything that takes its place whole.
    pub(super) fn node(
        &mut self,
        reader: &mut Reader<'_>,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
    ) -> Result<(), UnpackError> {
        match member.kind {
            MemberKind::Device => self.told.leave(&member.name, Why::Device),
            MemberKind::Plain(Kind::Fifo | Kind::Directory | Kind::HardLink) => {
                self.told.leave(&member.name, Why::NoFile);
            }
            MemberKind::Plain(Kind::Link) => {
                return self.beside(parent, name, member, |work, beside| {
                    symlinkat(member.target.as_slice(), parent, beside)?;
                    work.own((parent, beside.as_bytes(), AtFlags::SYMLINK_NOFOLLOW), member)?;
                    utimensat(parent, beside, &times(member), AtFlags::SYMLINK_NOFOLLOW)
                });
            }
            MemberKind::Plain(Kind::File) => match unnamed(parent) {
                Some(file) => {
                    self.file(reader, &file, member)?;
                    return self.link(parent, name, member, &file);
                }
                None => return self.named_file(reader, parent, name, member),
            },
        }
        Ok(())
    }

    /// Makes something under another name, and puts it in its place.
    fn beside(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
        act: impl FnOnce(&mut Self, &str) -> Result<(), Errno>,
    ) -> Result<(), UnpackError> {
        let failed = |source| write_error(&member.name, source);
        let beside = beside().map_err(failed)?;
        self.note(parent, &beside, None);
        let made = act(self, &beside).and_then(|()| renameat(parent, &beside, parent, name));
        if made.is_err() {
            // It may not have been made; the error is what has to be told.
            unlinkat(parent, &beside, AtFlags::empty()).unwrap_or_default();
        }
        made.map_err(failed)
    }

    pub(super) fn note(&mut self, parent: BorrowedFd<'_>, name: &str, inode: Option<u64>) {
        if !self.is_noted {
            (self.note)(parent, name, inode);
        }
    }

    /// Gives a file without a name its own.
    fn link(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
        file: &OwnedFd,
    ) -> Result<(), UnpackError> {
        let (from, follow) = (fd_path(file), AtFlags::SYMLINK_FOLLOW);
        match linkat(CWD, &from, parent, name, follow) {
            // No call replaces a name by a file without one.
            Err(Errno::EXIST) => self.beside(parent, name, member, |_, beside| {
                linkat(CWD, &from, parent, beside, follow)
            }),
            other => other.map_err(|source| write_error(&member.name, source)),
        }
    }

    /// As [`Self::file`], where a file has a name from its beginning.
    fn named_file(
        &mut self,
        reader: &mut Reader<'_>,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
    ) -> Result<(), UnpackError> {
        let mut failed = None;
        let moved = self.beside(parent, name, member, |work, beside| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let file = openat(parent, beside, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
            work.file(reader, &file, member).map_err(|error| {
                failed = Some(error);
                Errno::CANCELED
            })
        });
        failed.map_or(moved, Err)
    }

    fn file(
        &mut self,
        reader: &mut Reader<'_>,
        file: &OwnedFd,
        member: &Member,
    ) -> Result<(), UnpackError> {
        let failed = |source| write_error(&member.name, source);
        match &member.extents {
            None => self.content(reader, file, (0, member.size), member)?,
            Some(extents) => {
                for extent in extents {
                    self.content(reader, file, *extent, member)?;
                }
            }
        }
        ftruncate(file, member.size).map_err(failed)?;
        self.own((file.as_fd(), b"", AtFlags::EMPTY_PATH), member).map_err(failed)?;
        self.dress(file, member).map_err(failed)?;
        let stat = fstat(file).map_err(failed)?;
        self.made.insert((stat.st_dev, stat.st_ino));
        Ok(())
    }

    fn content(
        &mut self,
        reader: &mut Reader<'_>,
        file: &OwnedFd,
        (mut offset, length): Extent,
        member: &Member,
    ) -> Result<(), UnpackError> {
        let end = offset + length;
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
            let length = reader.data(self.buffer.get_mut(..most).unwrap_or_default())?;
            if length == 0 {
                return Err(ReadError::CutOff.into());
            }
            let mut bytes = self.buffer.get(..length).unwrap_or_default();
            // Not every overlay tells where a file has holes. What is skipped is zeros when the size is set.
            if bytes.len() >= HOLE && bytes.iter().all(|byte| *byte == 0) {
                offset += length as u64;
                self.told.bytes += length as u64;
                continue;
            }
            while !bytes.is_empty() {
                match pwrite(file, bytes, offset) {
                    Ok(0) => return Err(write_error(&member.name, Errno::IO)),
                    Ok(written) => {
                        bytes = bytes.get(written..).unwrap_or_default();
                        offset += written as u64;
                        self.told.bytes += written as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(write_error(&member.name, errno)),
                }
            }
        }
        Ok(())
    }

    /// Whose it is.
    pub(super) fn own(
        &mut self,
        (parent, name, flags): (BorrowedFd<'_>, &[u8], AtFlags),
        member: &Member,
    ) -> Result<(), Errno> {
        if self.owners == Owners::Ours {
            return Ok(());
        }
        let (owner, group) = (Uid::from_raw(member.owner.0), Gid::from_raw(member.owner.1));
        match chownat(parent, name, Some(owner), Some(group), flags) {
            // An id that is not mapped, or no right to give files away.
            Err(Errno::PERM | Errno::INVAL | Errno::NOSYS) => {
                self.told.leave(&member.name, Why::Owner);
                Ok(())
            }
            other => other,
        }
    }

    /// Attributes, permissions, times.
    pub(super) fn dress(&mut self, file: &OwnedFd, member: &Member) -> Result<(), Errno> {
        if self.keep == Keep::All {
            let wanted = member.attributes.iter().filter(|(name, _)| name.starts_with(b"user."));
            let mut all = true;
            for (name, value) in wanted {
                all &= fsetxattr(file, name.as_slice(), value, XattrFlags::empty()).is_ok();
            }
            if !all {
                self.told.leave(&member.name, Why::Attributes);
            }
        }
        if member.mode & 0o6000 != 0 {
            self.told.leave(&member.name, Why::SetId);
        }
        fchmod(file, Mode::from_raw_mode(member.mode & 0o777 & !self.mask))?;
        rustix::fs::futimens(file, &times(member))
    }
}

/// A file in a directory that has no name there yet; none where there is no such thing, or no way to name it later.
fn unnamed(parent: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = openat(parent, ".", flags, Mode::RUSR | Mode::WUSR).ok()?;
    // `/proc` may be masked.
    let (opened, named) = (fstat(&file).ok()?, stat(fd_path(&file)).ok()?);
    ((opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)).then_some(file)
}

fn times(member: &Member) -> Timestamps {
    let (seconds, nanoseconds) = member.modified;
    let nanoseconds = i64::from(nanoseconds);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    }
}
