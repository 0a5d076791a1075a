//! Writes the log.

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ftruncate, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::{BEFORE, CURRENT, ENTRY_HEAD, FILE_HEAD, Head, MOST, Position, Stream, number_of};
use crate::state::directory;
use crate::state::timestamp::Timestamp;

/// The one writer of a log.
#[derive(Debug)]
pub struct Writer {
    directory: OwnedFd,
    file: OwnedFd,
    number: u64,
    length: u64,
    bound: u64,
    failed: Option<Errno>,
    /// Which streams are within a line.
    within: [bool; 2],
}

impl Writer {
    /// Goes on with the log in a sandbox's directory, or begins one. `bound` is in bytes.
    pub(in crate::state) fn open(directory: BorrowedFd<'_>, bound: u64) -> Result<Self, Errno> {
        // A description of its own: a copy would hold the sandbox's lock for as long as the log is open.
        let directory = directory::open(directory, ".")?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match openat(&directory, CURRENT, flags, Mode::empty()) {
            Ok(file) => number_of(&file)?.map(|number| (file, number)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        let (file, number, length) = if let Some((file, number)) = found {
            let length = whole_entries(&file)?;
            // The last one was cut short when the supervisor was killed.
            ftruncate(&file, length)?;
            (file, number, length)
        } else {
            // Killed between the two renames of a turn, or the first.
            let number = match super::open(&directory, BEFORE) {
                Err(Errno::BADMSG) => 1,
                before => before?.map_or(1, |(_, before)| before + 1),
            };
            (begin(&directory, number)?, number, FILE_HEAD as u64)
        };
        Ok(Self { directory, file, number, length, bound, failed: None, within: [false; 2] })
    }

    /// Adds what the payload wrote just now.
    pub fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let time = Timestamp::now();
        for part in bytes.chunks(MOST) {
            if let Err(errno) = self.add(stream, time, part) {
                self.failed.get_or_insert(errno);
            }
        }
    }

    /// Where the next entry will be.
    pub fn end(&self) -> Position {
        Position { file: self.number, offset: self.length }
    }

    /// Why something is missing, if anything is.
    pub fn failure(&self) -> Option<Errno> {
        self.failed
    }

    fn add(&mut self, stream: Stream, time: Timestamp, data: &[u8]) -> Result<(), Errno> {
        let size = (ENTRY_HEAD + data.len()) as u64;
        if self.length + size > super::largest(self.bound) {
            self.turn()?;
        }
        let within = match stream {
            Stream::Output => &mut self.within[0],
            Stream::Errors => &mut self.within[1],
        };
        let goes_on = std::mem::replace(within, data.last() != Some(&b'\n'));
        let head = Head { stream, goes_on, time, length: data.len() }.encode();
        let slices = [IoSlice::new(&head), IoSlice::new(data)];
        let written = loop {
            match rustix::io::pwritev(&self.file, &slices, self.length) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        match written {
            Ok(written) if written as u64 == size => {
                self.length += size;
                Ok(())
            }
            // The disk is full in the middle of it: half an entry would be in the way of the next.
            Ok(_) => ftruncate(&self.file, self.length).and(Err(Errno::NOSPC)),
            Err(error) => Err(error),
        }
    }

    /// Begins the next file.
    fn turn(&mut self) -> Result<(), Errno> {
        renameat(&self.directory, CURRENT, &self.directory, BEFORE)?;
        self.file = begin(&self.directory, self.number + 1)?;
        self.number += 1;
        self.length = FILE_HEAD as u64;
        Ok(())
    }
}

/// Makes a file. It appears with its head: a reader never sees one without.
fn begin(directory: &OwnedFd, number: u64) -> Result<OwnedFd, Errno> {
    const NEW: &str = "log.new";
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match unlinkat(directory, NEW, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let file = openat(directory, NEW, flags, Mode::RUSR | Mode::WUSR)?;
    if rustix::io::pwrite(&file, &super::file_head(number), 0)? < FILE_HEAD {
        return Err(Errno::NOSPC);
    }
    renameat(directory, NEW, directory, CURRENT)?;
    Ok(file)
}

/// How much of a file is whole entries, its head counted.
fn whole_entries(file: &OwnedFd) -> Result<u64, Errno> {
    let size = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
    let mut end = FILE_HEAD as u64;
    loop {
        let mut head = [0; ENTRY_HEAD];
        if rustix::io::pread(file, &mut head, end)? < ENTRY_HEAD {
            return Ok(end);
        }
        let Some(head) = Head::decode(&head) else { return Ok(end) };
        let next = end + (ENTRY_HEAD + head.length) as u64;
        if next > size {
            return Ok(end);
        }
        end = next;
    }
}
