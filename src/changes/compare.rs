//! Whether two files are the same, one in a layer and one of the host.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::{Errno, pread};
use rustix::process::{getegid, geteuid};

use super::change::{Aspect, Aspects, FileKind};
use super::marks::Marks;
use crate::archive::next_data;
use crate::plan::step::Backend;

/// Bytes that are read of each file at once.
const CHUNK: usize = 64 * 1024;

/// A file in two directories, each with its name.
pub(super) struct Pair<'a> {
    pub(super) upper: (BorrowedFd<'a>, &'a CStr),
    pub(super) host: (BorrowedFd<'a>, &'a CStr),
    pub(super) backend: Backend,
}

/// What `stat` tells to differ.
pub(super) fn by_stat(now: &Stat, was: &Stat, backend: Backend) -> Aspects {
    let mut differs = Aspects::default();
    let (kind, old) = (FileKind::of(now), FileKind::of(was));
    if kind != old {
        differs.set(Aspect::Type, true);
        return differs;
    }
    let modes = (now.st_mode ^ was.st_mode) & 0o7777 & !lost_bits(kind, now, backend);
    differs.set(Aspect::Mode, kind != FileKind::Link && modes != 0);
    differs.set(Aspect::Owner, backend == Backend::Kernel && owner_differs(now, was));
    if kind == FileKind::File {
        let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
        differs.set(Aspect::Size, now.st_size != was.st_size);
        differs.set(Aspect::Time, time(now) != time(was));
    }
    differs.set(Aspect::Type, kind == FileKind::Device && now.st_rdev != was.st_rdev);
    differs
}

/// Mode bits whose absence says nothing: fuse-overlayfs (1.10 tried) copies a directory up with mkdir(2)
/// alone, which takes no set-id bits.
fn lost_bits(kind: FileKind, now: &Stat, backend: Backend) -> u32 {
    match (kind, backend) {
        (FileKind::Directory, Backend::Fuse) => 0o6000 & !now.st_mode,
        _ => 0,
    }
}

/// Whether the payload gave it away.
///
/// A directory that was made so that something below could be covered is the caller's, as the layer's own
/// root; and a payload can give files only to other ids that were mapped. So what became the caller's
/// says nothing. Nor does any owner with fuse-overlayfs, which can show every file as one user's.
fn owner_differs(now: &Stat, was: &Stat) -> bool {
    now.st_uid != was.st_uid && now.st_uid != geteuid().as_raw()
        || now.st_gid != was.st_gid && now.st_gid != getegid().as_raw()
}

impl Pair<'_> {
    /// Reads what `stat` cannot tell of two files of the same type. The bytes that are read of each
    /// side are taken from `budget`; where it does not suffice, they are held to differ.
    pub(super) fn look_inside(
        &self,
        now: &Stat,
        differs: &mut Aspects,
        budget: &mut u64,
    ) -> Result<(), Errno> {
        match FileKind::of(now) {
            FileKind::Link => {
                let now = readlinkat(self.upper.0, self.upper.1, Vec::new())?;
                let was = readlinkat(self.host.0, self.host.1, Vec::new())?;
                differs.set(Aspect::Target, now != was);
            }
            FileKind::File if !differs.has(Aspect::Size) && !differs.has(Aspect::Time) => {
                let upper = open_file(self.upper)?;
                let host = open_file(self.host)?;
                let size = u64::try_from(now.st_size).unwrap_or(0);
                differs.set(Aspect::Attributes, !self.same_attributes(&upper, &host)?);
                differs.set(Aspect::Content, !same_content(&upper, &host, size, budget)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn same_attributes(&self, upper: &OwnedFd, host: &OwnedFd) -> Result<bool, Errno> {
        let now = Marks::of_upper(upper, self.backend)?;
        now.same_as(upper, &Marks::of_host(host)?, host)
    }
}

/// Opens a regular file for reading, never waiting for the other end of what took its place.
pub(super) fn open_file((directory, name): (BorrowedFd<'_>, &CStr)) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(directory, name, flags | OFlags::CLOEXEC, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        // It was exchanged meanwhile.
        _ => Err(Errno::STALE),
    }
}

/// Of files of one size. What is a hole in both is not read.
pub(super) fn same_content(
    a: impl AsFd,
    b: impl AsFd,
    size: u64,
    budget: &mut u64,
) -> Result<bool, Errno> {
    let mut chunks = (vec![0_u8; CHUNK], vec![0_u8; CHUNK]);
    let mut offset = 0;
    while offset < size {
        if size > CHUNK as u64 {
            let next = (next_data(&a, offset, size)?, next_data(&b, offset, size)?);
            let begin = |next: Option<(u64, u64)>| next.map_or(size, |(begin, _)| begin);
            offset = begin(next.0).min(begin(next.1));
        }
        let read = (fill(&a, &mut chunks.0, offset)?, fill(&b, &mut chunks.1, offset)?);
        if chunks.0[..read.0] != chunks.1[..read.1] {
            return Ok(false);
        }
        if read.0 < CHUNK {
            return Ok(true);
        }
        offset += CHUNK as u64;
        match budget.checked_sub(CHUNK as u64) {
            Some(rest) => *budget = rest,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Reads until the buffer is full or the file ends.
fn fill(file: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match pread(&file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
