//! What a detached payload wrote: kept with its stream and its time, as much of it as was asked for.
//!
//! # Theory of operation
//! ```text
//! live/ID/log       what is written to now     live/ID/log.old    what was full before it
//! file:  magic, 8 bytes · number of the file, 8 bytes · entries
//! entry: length, 4 bytes · stream, 1 byte · 1 within a line, 1 byte · zero, 2 bytes · nanoseconds since 1970, 8 bytes
//!        · data
//! ```
//! Numbers are little-endian. Data is what one read of the payload's pipe gave, in the order in which it came,
//! [`MOST`] bytes at most. A file that would be larger than the bound is renamed over the one before it, and the
//! next is begun: so at least the last *bound* bytes of entries are there, heads included, and twice as many at
//! most. A program that writes byte by byte keeps a seventeenth of that as text; what the bound is for is the disk.
//!
//! Files are numbered: a reader that comes to the end of one knows the next by its number, and knows when one
//! was replaced before it had come to it.
//!
//! # Decisions
//! - A reader reads files and nothing else. However slow it is, the payload is not held up by it, and the
//!   supervisor keeps nothing for it.
//! - What cannot be written (the disk is full) is dropped and counted; the payload is not held up by that either.
//! - The payload's bytes are data: nothing it writes can look like an entry of its own.

mod follow;
mod reader;
mod writer;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

pub use follow::Follow;
pub use reader::{Entry, Reader};
pub use writer::Writer;

use super::timestamp::Timestamp;

/// The most data in one entry, in bytes.
pub const MOST: usize = 64 << 10;

const CURRENT: &str = "log";
const BEFORE: &str = "log.old";
const MAGIC: [u8; 8] = *b"bryolog1";
const FILE_HEAD: usize = 16;
const ENTRY_HEAD: usize = 16;

/// Where the payload wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1, or its terminal.
    Output,
    /// Descriptor 2.
    Errors,
}

impl Stream {
    fn byte(self) -> u8 {
        match self {
            Self::Output => 1,
            Self::Errors => 2,
        }
    }
}

/// A place between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The file's number.
    pub file: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// What stands before data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    stream: Stream,
    /// It goes on with a line that this stream was in.
    goes_on: bool,
    time: Timestamp,
    length: usize,
}

impl Head {
    fn encode(self) -> [u8; ENTRY_HEAD] {
        let mut bytes = [0; ENTRY_HEAD];
        let length = u32::try_from(self.length).unwrap_or(u32::MAX).to_le_bytes();
        let time = self.time.nanoseconds().to_le_bytes();
        let all =
            length.into_iter().chain([self.stream.byte(), self.goes_on.into(), 0, 0]).chain(time);
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
        bytes
    }

    /// None for what is no head: the file is broken there.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let ([stream, goes_on @ (0 | 1), 0, 0], rest) = rest.split_first_chunk()? else {
            return None;
        };
        let (time, _) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let stream = match stream {
            1 => Stream::Output,
            2 => Stream::Errors,
            _ => return None,
        };
        let time = Timestamp::from_nanoseconds(u64::from_le_bytes(*time));
        let goes_on = *goes_on == 1;
        (1..=MOST).contains(&length).then_some(Self { stream, goes_on, time, length })
    }
}

/// The most bytes of one file of a log with a bound.
pub fn largest(bound: u64) -> u64 {
    bound.max(MOST as u64).saturating_add((FILE_HEAD + ENTRY_HEAD) as u64)
}

fn file_head(number: u64) -> [u8; FILE_HEAD] {
    let mut bytes = [0; FILE_HEAD];
    for (to, from) in bytes.iter_mut().zip(MAGIC.into_iter().chain(number.to_le_bytes())) {
        *to = from;
    }
    bytes
}

/// The number of an open file; none when it is no log.
fn number_of(file: impl AsFd) -> Result<Option<u64>, Errno> {
    let mut head = [0; FILE_HEAD];
    if rustix::io::pread(file, &mut head, 0)? < FILE_HEAD {
        return Ok(None);
    }
    let Some((magic, number)) = head.split_first_chunk::<8>() else { return Ok(None) };
    let number = number.try_into().map(u64::from_le_bytes).ok();
    Ok(number.filter(|_| *magic == MAGIC))
}

/// Opens one of the files for reading; none if it is not there. Errors: `EBADMSG` for what is no log, as each
/// file appears with its head; those of the system.
fn open(directory: impl AsFd, name: &str) -> Result<Option<(OwnedFd, u64)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => number_of(&file)?.map(|number| Some((file, number))).ok_or(Errno::BADMSG),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
