//! Copies a layer exactly: between a tmpfs that holds it while its run lasts and the store that keeps it.
//!
//! # Theory of operation
//! Whiteouts, the marks of opaque directories and every other attribute of the payload's, hard links, holes, modes, owners,
//! and times come out as they were. Whoever calls has all rights on the files of both trees, and nobody else is in them.
//!
//! Two directories are open and one list of names for each level is held, however deep the tree is: the way up is `..`. A
//! file with several names is made once, under its number in the directory `links` beside the new tree, and linked from there:
//! no path gets too long, and no descriptor is kept for it.
//!
//! # Decisions
//! - What the new file system cannot hold (an attribute of 64 KiB, a file of 8 EiB with one byte in it) is left out and
//!   counted, and the rest goes on: otherwise a payload could have all that it wrote go lost. What means that nothing more can
//!   be written ends the copy.
//! - Of attributes the payload's own: labels of security modules are given by the system that files are on.

pub(super) mod lists;

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate, futimens,
    linkat, mkdirat, mknodat, openat, readlinkat, seek, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

pub use lists::Lists;
use lists::is_list;

/// What files with several names are linked from.
const LINKS: &str = "links";
/// Bytes that are copied at once; no attribute and no list of them is longer than 64 KiB.
const CHUNK: usize = 256 * 1024;
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many files and attributes.
    pub count: u64,
    /// The path of the first, relative to the tree.
    pub first: Option<Vec<u8>>,
}

/// Where a copy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Relative to the tree.
    pub at: Vec<u8>,
    /// Why.
    pub errno: Errno,
}

/// Makes the empty directory `to` what `from` is. `beside` is on the file system of `to`, and has no `links`.
pub fn carry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    beside: BorrowedFd<'_>,
    lists: Lists,
) -> Result<LeftOut, Stuck> {
    let top = |errno| Stuck { at: Vec::new(), errno };
    mkdirat(beside, LINKS, Mode::RWXU).map_err(top)?;
    let links = openat(beside, LINKS, DIRECTORY, Mode::empty()).map_err(top)?;
    let dup = |fd| openat(fd, ".", DIRECTORY, Mode::empty()).map_err(top);
    let (from, to) = (dup(from)?, dup(to)?);
    let root = Level::new(CString::default(), &from, &to).map_err(top)?;
    let mut copy = Copy {
        from,
        to,
        levels: vec![root],
        links,
        linked: HashSet::new(),
        left_out: LeftOut::default(),
        lists,
        buffer: vec![0; CHUNK],
    };
    copy.run()?;
    copy.remove_links().map_err(top)?;
    unlinkat(beside, LINKS, AtFlags::REMOVEDIR).map_err(top)?;
    Ok(copy.left_out)
}

/// A directory that is being copied.
struct Level {
    name: CString,
    /// What is still to be copied.
    rest: Vec<CString>,
    is: Stat,
    /// Its copy.
    copy: Stat,
}

impl Level {
    fn new(name: CString, from: &OwnedFd, to: &OwnedFd) -> Result<Self, Errno> {
        let mut rest = Vec::new();
        for entry in rustix::fs::Dir::read_from(from)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                rest.push(entry.file_name().to_owned());
            }
        }
        Ok(Self { name, rest, is: fstat(from)?, copy: fstat(to)? })
    }
}

struct Copy {
    from: OwnedFd,
    to: OwnedFd,
    levels: Vec<Level>,
    links: OwnedFd,
    /// Numbers of the files in it.
    linked: HashSet<u64>,
    left_out: LeftOut,
    lists: Lists,
    buffer: Vec<u8>,
}

impl Copy {
    fn run(&mut self) -> Result<(), Stuck> {
        while let Some(level) = self.levels.last_mut() {
            let done = match level.rest.pop() {
                Some(name) => match self.entry(&name) {
                    Err(errno) if is_out_of_reach(errno) => {
                        self.leave_out(&name);
                        Ok(())
                    }
                    other => other.map_err(|errno| Stuck { at: self.path(&name), errno }),
                },
                None => self.leave().map_err(|errno| Stuck { at: self.path(c""), errno }),
            };
            done?;
        }
        Ok(())
    }

    /// Relative to the tree.
    fn path(&self, name: &CStr) -> Vec<u8> {
        let above = self.levels.iter().skip(1).map(|level| level.name.to_bytes());
        let last = Some(name.to_bytes()).filter(|name| !name.is_empty());
        above.chain(last).collect::<Vec<_>>().join(&b'/')
    }

    fn leave_out(&mut self, name: &CStr) {
        self.left_out.count += 1;
        if self.left_out.first.is_none() {
            self.left_out.first = Some(self.path(name));
        }
    }

    fn entry(&mut self, name: &CStr) -> Result<(), Errno> {
        let stat = statat(&self.from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return self.enter(name);
        }
        if stat.st_nlink < 2 {
            let to = self.to.try_clone().map_err(|_| Errno::MFILE)?;
            return self.make(name, &stat, &to, name);
        }
        let number = CString::new(stat.st_ino.to_string()).unwrap_or_default();
        if self.linked.contains(&stat.st_ino) {
            match self.link(&number, name) {
                // As many names as the file system allows.
                Err(Errno::MLINK) => {}
                other => return other,
            }
            unlinkat(&self.links, &number, AtFlags::empty())?;
            self.linked.remove(&stat.st_ino);
        }
        let links = self.links.try_clone().map_err(|_| Errno::MFILE)?;
        self.make(name, &stat, &links, &number)?;
        self.linked.insert(stat.st_ino);
        self.link(&number, name)
    }

    fn link(&self, number: &CStr, name: &CStr) -> Result<(), Errno> {
        linkat(&self.links, number, &self.to, name, AtFlags::empty())
    }

    fn enter(&mut self, name: &CStr) -> Result<(), Errno> {
        mkdirat(&self.to, name, Mode::RWXU)?;
        let from = openat(&self.from, name, DIRECTORY, Mode::empty())?;
        let to = openat(&self.to, name, DIRECTORY, Mode::empty())?;
        self.levels.push(Level::new(name.to_owned(), &from, &to)?);
        (self.from, self.to) = (from, to);
        Ok(())
    }

    /// A directory is whole: what it is itself, and back to the one above.
    fn leave(&mut self) -> Result<(), Errno> {
        let up = |fd: &OwnedFd, is: &Stat| {
            let above = openat(fd, "..", DIRECTORY, Mode::empty())?;
            let found = fstat(&above)?;
            let same = found.st_ino == is.st_ino && found.st_dev == is.st_dev;
            if same { Ok(above) } else { Err(Errno::STALE) }
        };
        let above = match self.levels.iter().rev().nth(1) {
            Some(above) => Some((up(&self.from, &above.is)?, up(&self.to, &above.copy)?)),
            None => None,
        };
        let is = self.levels.last().map(|level| level.is);
        if let Some(is) = is {
            let (from, to) = (dup(&self.from)?, dup(&self.to)?);
            self.attributes(&from, &to, c"")?;
            become_like(&to, &is)?;
        }
        self.levels.pop();
        if let Some((from, to)) = above {
            (self.from, self.to) = (from, to);
        }
        Ok(())
    }

    /// Makes a copy of what is no directory.
    fn make(
        &mut self,
        name: &CStr,
        stat: &Stat,
        to: &OwnedFd,
        as_name: &CStr,
    ) -> Result<(), Errno> {
        let made = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(name, stat, to, as_name),
            FileType::Symlink => {
                let target = readlinkat(&self.from, name, Vec::new())?;
                symlinkat(&target, to, as_name)?;
                name_like(to, as_name, stat)
            }
            // A whiteout is a device without a number. Others cannot be made, which tells itself.
            kind => {
                mknodat(to, as_name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?;
                name_like(to, as_name, stat)
            }
        };
        made.inspect_err(|_| {
            // Half a file must not pass for a whole one; what was not made is not there.
            unlinkat(to, as_name, AtFlags::empty()).unwrap_or_default();
        })
    }

    fn file(
        &mut self,
        name: &CStr,
        stat: &Stat,
        to: &OwnedFd,
        as_name: &CStr,
    ) -> Result<(), Errno> {
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = openat(&self.from, name, read, Mode::empty())?;
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let to = openat(to, as_name, write, Mode::RUSR | Mode::WUSR)?;
        self.content(&from, &to, stat)?;
        self.attributes(&from, &to, name)?;
        become_like(&to, stat)
    }

    fn content(&mut self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut at = 0;
        while at < size {
            at = match seek(from, SeekFrom::Data(at)) {
                Err(Errno::NXIO) => break,
                other => other?,
            };
            let hole = seek(from, SeekFrom::Hole(at))?.min(size);
            while at < hole {
                let most = usize::try_from(hole - at).unwrap_or(CHUNK).min(CHUNK);
                let part = self.buffer.get_mut(..most).unwrap_or_default();
                let count = rustix::io::pread(from, &mut *part, at)?;
                if count == 0 {
                    return ftruncate(to, size);
                }
                write_at(to, part.get(..count).unwrap_or_default(), at)?;
                at += count as u64;
            }
        }
        ftruncate(to, size)
    }

    /// Gives a copy the payload's attributes.
    fn attributes(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        let length = match flistxattr(from, &mut self.buffer[..]) {
            Err(Errno::OPNOTSUPP) => return Ok(()),
            other => other?,
        };
        let list = self.buffer.get(..length).unwrap_or_default().to_vec();
        for attribute in list.split(|byte| *byte == 0).filter(|name| is_the_payloads(name)) {
            let length = fgetxattr(from, attribute, &mut self.buffer[..])?;
            if !self.lists.take(attribute, length) {
                self.leave_out(name);
                continue;
            }
            let value = self.buffer.get(..length).unwrap_or_default();
            match fsetxattr(to, attribute, value, XattrFlags::empty()) {
                Ok(()) => {}
                // Every one of these means that this one is too much, or not for this file system.
                Err(
                    Errno::NOSPC
                    | Errno::TOOBIG
                    | Errno::RANGE
                    | Errno::OPNOTSUPP
                    | Errno::PERM
                    | Errno::INVAL,
                ) => self.leave_out(name),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn remove_links(&self) -> Result<(), Errno> {
        for number in &self.linked {
            unlinkat(&self.links, number.to_string(), AtFlags::empty())?;
        }
        Ok(())
    }
}

fn dup(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Whether it means that this one thing cannot be on the new file system, and others can.
fn is_out_of_reach(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::FBIG
            | Errno::NAMETOOLONG
            | Errno::MLINK
            | Errno::PERM
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::OVERFLOW
    )
}

fn is_the_payloads(attribute: &[u8]) -> bool {
    attribute.starts_with(b"user.") || is_list(attribute) || attribute == b"security.capability"
}

fn write_at(to: impl AsFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = rustix::io::pwrite(&to, bytes, at)?;
        bytes = bytes.get(count..).unwrap_or_default();
        at += count as u64;
    }
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanoseconds: u64| Timespec { tv_sec, tv_nsec: nanoseconds.cast_signed() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Owner, mode and times: in this order, as each changes the next.
fn become_like(to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let is = fstat(to)?;
    if (is.st_uid, is.st_gid) != (stat.st_uid, stat.st_gid) {
        fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    }
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    futimens(to, &times(stat))
}

/// The same for what is not opened; nobody puts anything else in its place.
fn name_like(to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (flags, is) = (AtFlags::SYMLINK_NOFOLLOW, statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?);
    if (is.st_uid, is.st_gid) != (stat.st_uid, stat.st_gid) {
        chownat(
            to,
            name,
            Some(Uid::from_raw(stat.st_uid)),
            Some(Gid::from_raw(stat.st_gid)),
            flags,
        )?;
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    utimensat(to, name, &times(stat), flags)
}

#[cfg(test)]
mod tests;
