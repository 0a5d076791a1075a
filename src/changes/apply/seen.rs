//! What stood at a name when it was looked at, so that it can be told later whether it is still the same.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat, fstat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::changes::FileKind;
use crate::state::Timestamp;

/// Device and number of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Inode {
    /// The file system's.
    pub device: u64,
    /// Its number there.
    pub number: u64,
}

/// A point in time as file systems keep it: seconds since 1970, which may be negative, and nanoseconds.
pub type Moment = (i64, u64);

/// A file, directory or link, as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which it is.
    pub inode: Inode,
    /// Type and permission bits, as `st_mode` has them.
    pub mode: u32,
    /// User.
    pub owner: u32,
    /// Group.
    pub group: u32,
    /// Names.
    pub links: u64,
    /// Bytes.
    pub size: u64,
    /// When its content changed last; can be set.
    pub modified: Moment,
    /// When anything of it changed last; cannot be set.
    pub changed: Moment,
}

impl Seen {
    /// What `stat` found.
    pub fn new(stat: &Stat) -> Self {
        Self {
            inode: Inode { device: stat.st_dev, number: stat.st_ino },
            mode: stat.st_mode,
            owner: stat.st_uid,
            group: stat.st_gid,
            links: stat.st_nlink,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// What stands at a name; none if nothing. No link is followed and nothing mounted.
    pub fn at(directory: impl AsFd, name: &CStr) -> Result<Option<Self>, Errno> {
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => Ok(Some(Self::new(&stat))),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a descriptor names.
    pub fn of(file: impl AsFd) -> Result<Self, Errno> {
        fstat(file).map(|stat| Self::new(&stat))
    }

    /// What kind of file it is.
    pub fn kind(&self) -> FileKind {
        match FileType::from_raw_mode(self.mode) {
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Link,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
            FileType::RegularFile | FileType::Unknown => FileKind::File,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind() == FileKind::Directory
    }

    /// Permission bits, the set-id and sticky bits among them.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// When anything of it changed last.
    pub fn changed_at(&self) -> Timestamp {
        Timestamp::from_parts(self.changed.0, self.changed.1)
    }

    /// Whether `now` is this one, and nobody wrote to it meanwhile. Its change time does not count: it is
    /// set when a file is renamed. Of a directory, what is in it does not count either.
    pub fn is_still(&self, now: &Self) -> bool {
        let same = |of: &Self| (of.inode, of.mode, of.owner, of.group);
        let written = |of: &Self| (of.size, of.modified);
        same(self) == same(now) && (self.is_directory() || written(self) == written(now))
    }
}
