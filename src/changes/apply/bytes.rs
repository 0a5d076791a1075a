//! The bytes of files: copied with their holes, shared where the file system can, hashed on the way.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{copy_file_range, ftruncate, ioctl_ficlone};
use rustix::io::{Errno, pread, pwrite, write};

use crate::archive::next_data;
use crate::changes::{ContentHash, ContentHasher};

/// Bytes that are read at once.
const CHUNK: usize = 128 * 1024;
/// Bytes that the kernel is asked to copy at once.
const RANGE: usize = 64 << 20;

/// Copies all of `from` into the empty file `to`.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    if size == 0 {
        return Ok(());
    }
    if size <= CHUNK as u64 {
        return copy_small(from, to, size);
    }
    match ioctl_ficlone(to, from) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {}
        Err(error) => return Err(error),
    }
    ftruncate(to, size)?;
    let mut offset = 0;
    while let Some((begin, end)) = next_data(from, offset, size)? {
        copy_range(from, to, (begin, end))?;
        offset = end;
    }
    Ok(())
}

/// A small file is read at once. One without a hole takes no call more.
fn copy_small(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(CHUNK)];
    let mut offset = 0;
    if next_data(from, 0, size)? != Some((0, size)) {
        ftruncate(to, size)?;
        while let Some((begin, end)) = next_data(from, offset, size)? {
            let part = &mut buffer[..usize::try_from(end - begin).unwrap_or(CHUNK)];
            let length = read_full(from, part, begin)?;
            write_at(to, &part[..length], begin)?;
            offset = end;
        }
        return Ok(());
    }
    let length = read_full(from, &mut buffer, 0)?;
    write_full(to, &buffer[..length])
}

fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    (mut at, end): (u64, u64),
) -> Result<(), Errno> {
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(RANGE).min(RANGE);
        let (mut read, mut written) = (at, at);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), most) {
            // It was cut short meanwhile.
            Ok(0) => return Ok(()),
            Ok(length) => at += length as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return each_chunk(from, (at, end), |offset, bytes| write_at(to, bytes, offset));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// As [`copy`], through our hands; gives the hash of exactly what was written.
pub(super) fn copy_hashed(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    size: u64,
) -> Result<ContentHash, Errno> {
    ftruncate(to, size)?;
    let mut hasher = ContentHasher::new();
    let mut offset = 0;
    while let Some((begin, end)) = next_data(from, offset, size)? {
        each_chunk(from, (begin, end), |at, bytes| {
            hasher.update(at, bytes);
            write_at(to, bytes, at)
        })?;
        offset = end;
    }
    Ok(hasher.finish(size))
}

fn each_chunk(
    from: BorrowedFd<'_>,
    (mut at, end): (u64, u64),
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut buffer = vec![0; CHUNK];
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let length = read_full(from, &mut buffer[..most], at)?;
        if length == 0 {
            return Ok(());
        }
        visit(at, &buffer[..length])?;
        at += length as u64;
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_full(from: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match pread(&from, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn write_at(to: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match pwrite(to, bytes, offset) {
            Ok(length) => {
                bytes = &bytes[length..];
                offset += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of it where the file stands.
pub(super) fn write_full(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
