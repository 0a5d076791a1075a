//! Reads the log while it is written.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::{BEFORE, CURRENT, ENTRY_HEAD, FILE_HEAD, Head, Position, Stream, open};
use crate::state::timestamp::Timestamp;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// How often to look again when files change places meanwhile.
const TRIES: u32 = 100;

/// What one read of the payload's pipe gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where it was written.
    pub stream: Stream,
    /// It goes on with a line whose beginning the stream wrote before.
    pub goes_on: bool,
    /// Entries between this and the one before were dropped before they were read.
    pub after_gap: bool,
    /// When it was read.
    pub time: Timestamp,
    /// What.
    pub bytes: &'a [u8],
}

/// Goes through a log from one entry to the next.
#[derive(Debug)]
pub struct Reader {
    directory: OwnedFd,
    file: Option<Opened>,
    buffer: Vec<u8>,
    /// Of the buffer, what was given out.
    at: usize,
    missed: bool,
    /// The same, and no entry was given out since.
    gap: bool,
    bound: Option<Bound>,
}

/// What a reader that is bound goes up to.
#[derive(Debug)]
struct Bound {
    end: Position,
    /// The file in which that is, open by now, where the reader is in the one before it.
    last: Option<(OwnedFd, u64)>,
}

#[derive(Debug)]
struct Opened {
    fd: OwnedFd,
    number: u64,
    /// Where in the file the buffer ends.
    offset: u64,
    broken: bool,
}

impl Opened {
    fn new((fd, number): (OwnedFd, u64)) -> Self {
        Self { fd, number, offset: FILE_HEAD as u64, broken: false }
    }
}

impl Reader {
    /// Begins with the oldest entry.
    pub(in crate::state) fn new(directory: OwnedFd) -> Result<Self, Errno> {
        let (buffer, at) = (Vec::new(), 0);
        let mut reader =
            Self { directory, file: None, buffer, at, missed: false, gap: false, bound: None };
        reader.file = reader.oldest()?.map(Opened::new);
        Ok(reader)
    }

    /// Begins with the oldest entry once more, and ends with what is there now, until [`Reader::unbind`]: what of that
    /// is dropped meanwhile is read all the same.
    pub fn bind(&mut self) -> Result<(), Errno> {
        (self.buffer, self.at, self.missed, self.gap) = (Vec::new(), 0, false, false);
        for _ in 0..TRIES {
            self.file = self.oldest()?.map(Opened::new);
            let Some(own) = self.file.as_ref().map(|file| file.number) else { return Ok(()) };
            let Some((fd, number)) = open(&self.directory, CURRENT)? else {
                // A writer that is between its two renames may stay there for as long as others keep the processors.
                if self.bind_to_last(own)? {
                    return Ok(());
                }
                continue;
            };
            let end = Position { file: number, offset: size(&fd)? };
            let last = (number != own).then_some((fd, number));
            self.bound = Some(Bound { end, last });
            // Else they changed places in between.
            if number == own || number == own + 1 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Binds to the end of the file that is open, if there is none after it yet; whether that is so.
    fn bind_to_last(&mut self, own: u64) -> Result<bool, Errno> {
        let before = open(&self.directory, BEFORE)?;
        let Some((fd, _)) = before.filter(|(_, number)| *number == own) else { return Ok(false) };
        let end = Position { file: own, offset: size(&fd)? };
        self.bound = Some(Bound { end, last: None });
        Ok(true)
    }

    /// Goes on with what was written after [`Reader::bind`].
    pub fn unbind(&mut self) {
        self.bound = None;
    }

    /// Another reader of the same open files, at the same place. Nothing was read yet.
    pub fn again(&self) -> Result<Self, Errno> {
        let same = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 0);
        let file = self.file.as_ref().map(|file| Ok(Opened { fd: same(&file.fd)?, ..*file }));
        let bound = self.bound.as_ref().map(|Bound { end, last }| {
            let last = last.as_ref().map(|(fd, number)| Ok((same(fd)?, *number))).transpose()?;
            Ok(Bound { end: *end, last })
        });
        Ok(Self {
            directory: same(&self.directory)?,
            file: file.transpose()?,
            buffer: Vec::new(),
            at: 0,
            missed: false,
            gap: false,
            bound: bound.transpose()?,
        })
    }

    /// Whether there is a log at all.
    pub fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// The directory with the files, to watch for changes.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Whether entries were dropped before they were read, since this was last asked.
    pub fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    /// Goes on with another place; with the oldest entry when that place is gone.
    pub fn seek(&mut self, to: Position) -> Result<(), Errno> {
        self.buffer.clear();
        self.at = 0;
        for name in [CURRENT, BEFORE] {
            if let Some((fd, number)) = open(&self.directory, name)?.filter(|(_, n)| *n == to.file)
            {
                self.file = Some(Opened { fd, number, offset: to.offset, broken: false });
                return Ok(());
            }
        }
        (self.missed, self.gap) = (true, true);
        self.file = self.oldest()?.map(Opened::new);
        Ok(())
    }

    /// The next entry; none when there is none yet.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, Errno> {
        loop {
            if let Some(head) = self.whole_entry() {
                let start = self.at + ENTRY_HEAD;
                self.at = start + head.length;
                let after_gap = std::mem::take(&mut self.gap);
                let bytes = self.buffer.get(start..self.at).unwrap_or_default();
                let Head { stream, goes_on, time, .. } = head;
                return Ok(Some(Entry { stream, goes_on, after_gap, time, bytes }));
            }
            if !(self.fill()? || self.turn()?) {
                return Ok(None);
            }
        }
    }

    /// The head of the next entry, if all of it is in the buffer.
    fn whole_entry(&mut self) -> Option<Head> {
        let rest = self.buffer.get(self.at..)?;
        if rest.len() < ENTRY_HEAD {
            return None;
        }
        let Some(head) = Head::decode(rest) else {
            // Nobody writes such a thing: what follows means nothing.
            if let Some(file) = self.file.as_mut().filter(|file| !file.broken) {
                file.broken = true;
                self.missed = true;
            }
            return None;
        };
        (rest.len() >= ENTRY_HEAD + head.length).then_some(head)
    }

    /// Reads on; whether there was more.
    fn fill(&mut self) -> Result<bool, Errno> {
        let Some(file) = self.file.as_mut().filter(|file| !file.broken) else { return Ok(false) };
        let end = self.bound.as_ref().map(|bound| bound.end).filter(|end| end.file == file.number);
        let left = end.map_or(u64::MAX, |end| end.offset.saturating_sub(file.offset));
        self.buffer.drain(..self.at);
        self.at = 0;
        let have = self.buffer.len();
        self.buffer.resize(have + CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)), 0);
        let room = self.buffer.get_mut(have..).unwrap_or_default();
        let read =
            rustix::io::retry_on_intr(|| rustix::io::pread(&file.fd, &mut *room, file.offset));
        self.buffer.truncate(have + read.unwrap_or(0));
        let read = read?;
        file.offset += read as u64;
        Ok(read > 0)
    }

    /// Goes on with the next file, if there is one.
    fn turn(&mut self) -> Result<bool, Errno> {
        let Some(own) = self.file.as_ref().map(|file| file.number) else {
            self.file = self.oldest()?.map(Opened::new);
            return Ok(self.file.is_some());
        };
        let current = match &mut self.bound {
            Some(bound) if bound.end.file == own => return Ok(false),
            Some(bound) => bound.last.take(),
            None => open(&self.directory, CURRENT)?,
        };
        let Some(current) = current.filter(|(_, number)| *number != own) else { return Ok(false) };
        // It was full before the next one was made: what came in between is read first.
        if self.fill()? {
            if let Some(bound) = &mut self.bound {
                bound.last = Some(current);
            }
            return Ok(true);
        }
        let next = if current.1 == own + 1 { Some(current) } else { self.oldest()? };
        let Some(next) = next else { return Ok(false) };
        let has_gap = next.1 != own + 1;
        self.missed |= has_gap;
        self.gap |= has_gap;
        self.file = Some(Opened::new(next));
        self.buffer.clear();
        self.at = 0;
        Ok(true)
    }

    /// The older of the two files.
    fn oldest(&self) -> Result<Option<(OwnedFd, u64)>, Errno> {
        for _ in 0..TRIES {
            let current = open(&self.directory, CURRENT)?;
            let before = match open(&self.directory, BEFORE) {
                // What there is besides is shown.
                Err(Errno::BADMSG) if current.is_some() => None,
                before => before?,
            };
            match (before, current) {
                (Some(before), Some(current)) if before.1 + 1 == current.1 => {
                    return Ok(Some(before));
                }
                (None, Some(current)) => return Ok(Some(current)),
                (Some(before), None) if self.is_half_turned()? => return Ok(Some(before)),
                (None, None) => return Ok(None),
                // They changed places in between.
                _ => {}
            }
        }
        open(&self.directory, BEFORE)
    }

    /// Whether a writer was killed between its two renames, for all one sees.
    fn is_half_turned(&self) -> Result<bool, Errno> {
        Ok(open(&self.directory, CURRENT)?.is_none())
    }
}

fn size(file: &OwnedFd) -> Result<u64, Errno> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}
