//! Packs a tree of files into an archive.
//!
//! # Theory of operation
//! Names are read and looked at as they come, and everything by the descriptor of its directory. A regular file is opened
//! without waiting, looked at again, and read to the size that it had then: one that grows without end does not keep
//! us, and one that shrinks ends in zeros. What goes meanwhile is passed over.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    FileType, Mode, OFlags, RawDir, SeekFrom, Stat, fgetxattr, flistxattr, fstat, openat,
    readlinkat, seek,
};
use rustix::io::{Errno, pread};

use super::resolve::{Found, is_made_up, look};
use super::write::{Archive, Attribute, Entry, Extent, Kind};
use super::{Told, Why};
use crate::plan::errand::Keep;

/// Directories below each other: one descriptor each.
const DEEPEST: usize = 256;
/// Bytes of a name.
const LONGEST: usize = 4095;
const CHUNK: usize = 256 << 10;
/// A hole that is shorter is written as zeros.
const HOLE: u64 = 64 << 10;
/// Of one file.
const MOST_EXTENTS: usize = 8192;

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Why there is no archive, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Reading what it is to hold.
    #[error("cannot read it")]
    Read(#[source] Errno),
    /// Neither a file, a directory nor a link.
    #[error("it is neither a file, a directory nor a link")]
    NoFile,
    /// The kernel's own.
    #[error("the kernel makes it up for whoever asks")]
    Kernel,
    /// Writing the archive.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

/// Writes what was found, under this name.
pub fn pack(
    found: &Found,
    name: &[u8],
    keep: Keep,
    archive: Archive<'_>,
    told: &mut Told,
) -> Result<(), PackError> {
    let Some((node, stat)) = &found.node else { return Err(PackError::Read(Errno::NOENT)) };
    if is_made_up(node).map_err(PackError::Read)? {
        return Err(PackError::Kernel);
    }
    let mut packing = Packing {
        archive,
        keep,
        told,
        links: HashMap::new(),
        name: name.to_vec(),
        buffer: vec![0; CHUNK],
    };
    let parent = found.parent.as_fd();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let opened =
                openat(parent, found.name.as_slice(), READ | OFlags::DIRECTORY, Mode::empty());
            packing.directory(&opened.map_err(PackError::Read)?, stat, 0)?;
        }
        FileType::RegularFile => {
            let opened = openat(parent, found.name.as_slice(), READ, Mode::empty());
            packing.file(&opened.map_err(PackError::Read)?)?;
        }
        FileType::Symlink => packing.link(readlinkat(node, "", Vec::new()), stat)?,
        _ => return Err(PackError::NoFile),
    }
    packing.archive.finish().map_err(PackError::Write)
}

struct Packing<'a, 't> {
    archive: Archive<'a>,
    keep: Keep,
    told: &'t mut Told,
    /// Files with several names that are in it already.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Of what is being packed.
    name: Vec<u8>,
    buffer: Vec<u8>,
}

impl Packing<'_, '_> {
    fn leave(&mut self, why: Why) {
        self.told.leave(&self.name, why);
    }

    fn directory(&mut self, opened: &OwnedFd, stat: &Stat, depth: usize) -> Result<(), PackError> {
        let length = self.name.len();
        self.name.push(b'/');
        let attributes = self.attributes(opened);
        self.entry(Kind::Directory, stat, b"", &attributes, 0)?;
        let mut buffer = vec![MaybeUninit::uninit(); 16 << 10];
        let mut names = RawDir::new(opened, &mut buffer);
        while let Some(entry) = names.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // It was removed: then nothing is in it any more.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(PackError::Read(errno)),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            self.name.extend_from_slice(name);
            self.node(opened.as_fd(), name, stat.st_dev, depth)?;
            self.name.truncate(length + 1);
        }
        self.name.truncate(length);
        Ok(())
    }

    /// One name of a directory.
    fn node(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        device: u64,
        depth: usize,
    ) -> Result<(), PackError> {
        if self.name.len() > LONGEST || depth >= DEEPEST {
            self.leave(Why::TooDeep);
            return Ok(());
        }
        let stat = match look(parent, name) {
            Ok(Some(stat)) => stat,
            Ok(None) | Err(Errno::STALE) => return Ok(()),
            Err(errno) => return Err(PackError::Read(errno)),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let opened = match kind {
            FileType::Directory => openat(parent, name, READ | OFlags::DIRECTORY, Mode::empty()),
            FileType::RegularFile => openat(parent, name, READ, Mode::empty()),
            FileType::Symlink => {
                return match readlinkat(parent, name, Vec::new()) {
                    Err(Errno::NOENT | Errno::INVAL) => Ok(()),
                    target => self.link(target, &stat),
                };
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                self.leave(Why::Device);
                return Ok(());
            }
            _ => {
                self.leave(Why::NoFile);
                return Ok(());
            }
        };
        let Some(opened) = self.opened(opened)? else { return Ok(()) };
        let now = fstat(&opened).map_err(PackError::Read)?;
        if now.st_dev != device && is_made_up(&opened).map_err(PackError::Read)? {
            self.leave(Why::Kernel);
            return Ok(());
        }
        match (kind, FileType::from_raw_mode(now.st_mode)) {
            (_, FileType::Directory) => self.directory(&opened, &now, depth + 1),
            (_, FileType::RegularFile) => self.file(&opened),
            _ => Ok(()),
        }
    }

    /// What could be opened; none for what went, or has another's name now, and for what is left out.
    fn opened(&mut self, opened: Result<OwnedFd, Errno>) -> Result<Option<OwnedFd>, PackError> {
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::STALE) => {
                Ok(None)
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                self.leave(Why::Unreadable);
                Ok(None)
            }
            Err(Errno::MFILE) => {
                self.leave(Why::TooDeep);
                Ok(None)
            }
            Err(errno) => Err(PackError::Read(errno)),
        }
    }

    fn link(
        &mut self,
        target: Result<std::ffi::CString, Errno>,
        stat: &Stat,
    ) -> Result<(), PackError> {
        let target = target.map_err(PackError::Read)?;
        self.entry(Kind::Link, stat, target.as_bytes(), &[], 0)
    }

    /// A regular file; what is none any more is passed over.
    fn file(&mut self, file: &OwnedFd) -> Result<(), PackError> {
        let stat = fstat(file).map_err(PackError::Read)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        if self.keep == Keep::All && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode).cloned() {
                return self.entry(Kind::HardLink, &stat, &first, &[], 0);
            }
            self.links.insert(inode, self.name.clone());
        }
        if stat.st_mode & 0o6000 != 0 {
            self.leave(Why::SetId);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let attributes = self.attributes(file);
        if let Some(extents) = extents(file, size).map_err(PackError::Read)? {
            let name = self.name.clone();
            let entry = as_entry(&name, Kind::File, &stat, b"", &attributes);
            self.archive.sparse(&entry, size, &extents).map_err(PackError::Write)?;
            extents.iter().try_for_each(|extent| self.content(file, *extent))
        } else {
            self.entry(Kind::File, &stat, b"", &attributes, size)?;
            self.content(file, (0, size))
        }
    }

    fn content(&mut self, file: &OwnedFd, (mut offset, length): Extent) -> Result<(), PackError> {
        let end = offset + length;
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
            let into = self.buffer.get_mut(..most).unwrap_or_default();
            let length = match pread(file, &mut *into, offset) {
                Ok(0) => {
                    // What was there is gone: zeros, so that what follows stands where it should.
                    into.fill(0);
                    most
                }
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(PackError::Read(errno)),
            };
            self.archive
                .data(self.buffer.get(..length).unwrap_or_default())
                .map_err(PackError::Write)?;
            offset += length as u64;
            self.told.bytes += length as u64;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        kind: Kind,
        stat: &Stat,
        target: &[u8],
        attributes: &[Attribute],
        size: u64,
    ) -> Result<(), PackError> {
        let entry = as_entry(&self.name, kind, stat, target, attributes);
        self.archive.entry(&entry, size).map_err(PackError::Write)
    }

    /// Those that a user sets. What cannot be read is not there.
    fn attributes(&mut self, file: &OwnedFd) -> Vec<Attribute> {
        if self.keep == Keep::Some {
            return Vec::new();
        }
        let mut names = vec![0; 64 << 10];
        let Ok(length) = flistxattr(file, names.as_mut_slice()) else { return Vec::new() };
        let names = names.get(..length).unwrap_or_default().split(|byte| *byte == 0);
        let value = |name: &[u8]| {
            let mut value = vec![0; 64 << 10];
            let length = fgetxattr(file, name, value.as_mut_slice()).ok()?;
            value.truncate(length);
            Some((name.to_vec(), value))
        };
        names.filter(|name| name.starts_with(b"user.")).filter_map(value).collect()
    }
}

fn as_entry<'a>(
    name: &'a [u8],
    kind: Kind,
    stat: &Stat,
    target: &'a [u8],
    attributes: &'a [Attribute],
) -> Entry<'a> {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanoseconds = stat.st_mtime_nsec;
    let modified = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    let (mode, owner, group) = (stat.st_mode & 0o777, stat.st_uid, stat.st_gid);
    Entry { name, kind, mode, owner, group, modified, target, attributes }
}

/// Where a file has data, when it has holes worth leaving out.
pub fn extents(file: impl AsFd, size: u64) -> Result<Option<Vec<Extent>>, Errno> {
    let mut extents: Vec<Extent> = Vec::new();
    let (mut offset, mut data, mut hole) = (0, 0, HOLE);
    while let Some((begin, end)) = next_data(&file, offset, size)? {
        join(&mut extents, (begin, end - begin), hole);
        // A payload makes files of any number of holes; the list of them has a longest size.
        if extents.len() > MOST_EXTENTS {
            hole = hole.saturating_mul(4);
            for extent in std::mem::take(&mut extents) {
                join(&mut extents, extent, hole);
            }
        }
        data += end - begin;
        offset = end;
    }
    Ok((size - data.min(size) >= HOLE && extents != [(0, size)]).then_some(extents))
}

/// Adds what follows, as a part of the last one where the hole between them is short.
fn join(extents: &mut Vec<Extent>, (begin, more): Extent, hole: u64) {
    match extents.last_mut() {
        Some((last, length)) if begin - (*last + *length) < hole => *length = begin + more - *last,
        _ => extents.push((begin, more)),
    }
}

/// Where a file has data, from `offset` on: begin and end. None where there is none before `size`.
///
/// On a file system that knows no holes all of it is data.
pub fn next_data(file: impl AsFd, offset: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    if offset >= size {
        return Ok(None);
    }
    let begin = match seek(&file, SeekFrom::Data(offset)) {
        Ok(begin) => begin,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((offset, size))),
        Err(error) => return Err(error),
    };
    if begin >= size {
        return Ok(None);
    }
    let end = match seek(&file, SeekFrom::Hole(begin)) {
        Ok(end) => end.min(size),
        Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => size,
        Err(error) => return Err(error),
    };
    Ok(Some((begin, end)))
}
