//! Reads a tar archive that somebody else made: ustar, PAX, and GNU's long names and sparse form 1.0.
//!
//! # Theory of operation
//! Total and bounded: whatever comes is a member, the end, or an error that says what is wrong. Nothing that the archive says
//! about sizes is believed further than it is read, and no number makes room in memory but for names, records and
//! the map of a sparse file, which have a largest size each. Whether a name is one to use is not decided here
//! (`unpack`).
//!
//! # Decisions
//! - An archive without an end mark was cut off: an error, however complete it looks.
//! - Global records say nothing that a copy needs, and are passed over.

use std::io::{self, Read};

use super::header::{Header, decimal, pad, time, until_nul};
use super::write::{BLOCK, Extent, Kind};

/// Bytes of the records of one member, of a long name, and of the map of a sparse file.
const LONGEST: u64 = 1 << 20;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading it.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// There is no end mark.
    #[error("cannot read the archive: it was cut off")]
    CutOff,
    /// A block is not what it should be.
    #[error("cannot read the archive: {0}")]
    Malformed(&'static str),
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// Something that can be unpacked.
    Plain(Kind),
    /// A device.
    Device,
}

/// One member, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As it is written: anything.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits, set-id bits among them.
    pub mode: u32,
    /// Owner and group, as numbers.
    pub owner: (u32, u32),
    /// Seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// Where a link leads, or the name of the same file.
    pub target: Vec<u8>,
    /// Extended attributes.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of a file.
    pub size: u64,
    /// Of a sparse file, where its data goes: ascending, apart from each other, within its size.
    pub extents: Option<Vec<Extent>>,
}

/// An archive that is being read.
pub struct Reader<'a> {
    input: &'a mut dyn Read,
    /// Of the current member.
    rest: u64,
    padding: u64,
}

/// What records said about the next member.
#[derive(Debug, Default)]
struct Said {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    owner: Option<u32>,
    group: Option<u32>,
    modified: Option<(i64, u32)>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Sparse,
}

#[derive(Debug, Default)]
struct Sparse {
    major: bool,
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<'a> Reader<'a> {
    /// From its beginning.
    pub fn new(input: &'a mut dyn Read) -> Self {
        Self { input, rest: 0, padding: 0 }
    }

    /// The next member; none at the end. What is left of the last one's data is passed over.
    pub fn next_member(&mut self) -> Result<Option<Member>, ReadError> {
        self.skip()?;
        let mut said = Said::default();
        loop {
            let block = self.block()?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header::parse(&block)?;
            match header.flag {
                b'x' => {
                    let records = self.text(header.size)?;
                    said.take_all(&records)?;
                }
                b'g' => drop(self.text(header.size)?),
                b'L' => said.name = Some(until_nul(&self.text(header.size)?).to_vec()),
                b'K' => said.target = Some(until_nul(&self.text(header.size)?).to_vec()),
                _ => return self.member(header, said).map(Some),
            }
        }
    }

    fn member(&mut self, header: Header, said: Said) -> Result<Member, ReadError> {
        let mut kind = match header.flag {
            0 | b'0' | b'7' => MemberKind::Plain(Kind::File),
            b'1' => MemberKind::Plain(Kind::HardLink),
            b'2' => MemberKind::Plain(Kind::Link),
            b'3' | b'4' => MemberKind::Device,
            b'5' => MemberKind::Plain(Kind::Directory),
            b'6' => MemberKind::Plain(Kind::Fifo),
            b'S' => return Err(ReadError::Malformed("a sparse file of the old GNU form")),
            _ => return Err(ReadError::Malformed("a member of no kind that there is")),
        };
        let name = said.sparse.name.or(said.name).unwrap_or(header.name);
        // So wrote archivers that knew no other mark of a directory.
        if header.flag == 0 && name.ends_with(b"/") {
            kind = MemberKind::Plain(Kind::Directory);
        }
        let is_file = kind == MemberKind::Plain(Kind::File);
        let stored = said.size.unwrap_or(header.size);
        // Some archivers write the size of a directory, or of what a link leads to: nothing follows.
        (self.rest, self.padding) = if is_file { (stored, pad(stored)) } else { (0, 0) };
        let mut member = Member {
            name,
            kind,
            mode: header.mode,
            owner: (said.owner.unwrap_or(header.owner), said.group.unwrap_or(header.group)),
            modified: said.modified.unwrap_or((header.modified, 0)),
            target: said.target.unwrap_or(header.target),
            attributes: said.attributes,
            size: if is_file { stored } else { 0 },
            extents: None,
        };
        if said.sparse.major && is_file {
            let size = said.sparse.size;
            member.size = size.ok_or(ReadError::Malformed("a sparse file without its size"))?;
            member.extents = Some(self.map(member.size)?);
        }
        Ok(member)
    }

    /// Reads data of the current member, at most as much as there is room; 0 at its end.
    pub fn data(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let most = usize::try_from(self.rest).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..most).filter(|into| !into.is_empty()) else {
            return Ok(0);
        };
        match read(self.input, into)? {
            0 => Err(ReadError::CutOff),
            length => {
                self.rest -= length as u64;
                Ok(length)
            }
        }
    }

    /// Passes over what an archiver fills its last block with; of more than that nobody waits for the end.
    pub fn pass_rest(&mut self) -> Result<(), ReadError> {
        let mut scratch = [0; 4096];
        for _ in 0..LONGEST / 4096 {
            if read(self.input, &mut scratch)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Where the data of a sparse file goes: a list at its beginning, in decimal lines.
    fn map(&mut self, size: u64) -> Result<Vec<Extent>, ReadError> {
        const BAD: ReadError = ReadError::Malformed("the map of a sparse file");
        let mut text = Vec::new();
        let mut lines = Numbers::default();
        loop {
            let mut block = [0; BLOCK];
            if self.rest < BLOCK as u64 || text.len() as u64 > LONGEST {
                return Err(BAD);
            }
            self.exactly(&mut block)?;
            self.rest -= BLOCK as u64;
            text.extend_from_slice(&block);
            if lines.read(&text).ok_or(BAD)? {
                break;
            }
        }
        let mut extents = Vec::new();
        let (mut end, mut stored) = (0, 0_u64);
        for pair in lines.found.get(1..).unwrap_or_default().chunks(2) {
            let &[offset, length] = pair else { return Err(BAD) };
            let next = offset.checked_add(length).filter(|next| *next <= size && offset >= end);
            end = next.ok_or(BAD)?;
            stored += length;
            if length > 0 {
                extents.push((offset, length));
            }
        }
        if stored == self.rest { Ok(extents) } else { Err(BAD) }
    }

    fn skip(&mut self) -> Result<(), ReadError> {
        let mut rest = self.rest.checked_add(std::mem::take(&mut self.padding));
        let rest = rest.as_mut().ok_or(ReadError::CutOff)?;
        self.rest = 0;
        let mut scratch = [0; 4096];
        while *rest > 0 {
            let most = usize::try_from(*rest).unwrap_or(usize::MAX).min(scratch.len());
            match read(self.input, scratch.get_mut(..most).unwrap_or_default())? {
                0 => return Err(ReadError::CutOff),
                length => *rest -= length as u64,
            }
        }
        Ok(())
    }

    /// The data of a member that speaks of another.
    fn text(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        if size > LONGEST {
            return Err(ReadError::Malformed("records or a name that are too long"));
        }
        let mut text = vec![0; usize::try_from(size + pad(size)).unwrap_or(0)];
        self.exactly(&mut text)?;
        text.truncate(usize::try_from(size).unwrap_or(0));
        Ok(text)
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ReadError> {
        let mut block = [0; BLOCK];
        self.exactly(&mut block)?;
        Ok(block)
    }

    fn exactly(&mut self, into: &mut [u8]) -> Result<(), ReadError> {
        self.input.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::CutOff,
            _ => ReadError::Read(error),
        })
    }
}

/// The numbers of a map, as far as they are there.
#[derive(Default)]
struct Numbers {
    found: Vec<u64>,
    at: usize,
}

impl Numbers {
    /// Goes on in what has come; whether all are there. None for what is no number.
    fn read(&mut self, text: &[u8]) -> Option<bool> {
        loop {
            if let Some(count) = self.found.first()
                && self.found.len() as u64 == count.checked_mul(2)?.checked_add(1)?
            {
                return Some(true);
            }
            let rest = text.get(self.at..)?;
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                return Some(false);
            };
            self.found.push(decimal(rest.get(..length)?)?);
            self.at += length + 1;
        }
    }
}

impl Said {
    fn take_all(&mut self, mut records: &[u8]) -> Result<(), ReadError> {
        const BAD: ReadError = ReadError::Malformed("a record that is none");
        while !records.is_empty() {
            let digits = records.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let length = decimal(records.get(..digits).unwrap_or_default()).ok_or(BAD)?;
            let length = usize::try_from(length).map_err(|_| BAD)?;
            let record = records.get(digits + 1..length).and_then(|text| text.strip_suffix(b"\n"));
            let record = record.ok_or(BAD)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            let (keyword, value) = record.split_at(equals);
            self.take(keyword, value.get(1..).unwrap_or_default()).ok_or(BAD)?;
            records = records.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// None for a value that means nothing. An empty one takes back what was said.
    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Option<()> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        let number = |value: &[u8]| decimal(value).map(Some);
        let id = |value: &[u8]| u32::try_from(decimal(value)?).ok().map(Some);
        match keyword {
            b"path" => self.name = text(),
            b"linkpath" => self.target = text(),
            b"size" => self.size = number(value)?,
            b"uid" => self.owner = id(value)?,
            b"gid" => self.group = id(value)?,
            b"mtime" => self.modified = Some(time(value)?),
            b"GNU.sparse.major" if value == b"1" => self.sparse.major = true,
            b"GNU.sparse.minor" if value == b"0" => {}
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.realsize" => self.sparse.size = number(value)?,
            // An older form of the same, which would be read as something else.
            _ if keyword.starts_with(b"GNU.sparse.") => return None,
            _ => {
                if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

fn read(input: &mut dyn Read, into: &mut [u8]) -> Result<usize, ReadError> {
    loop {
        match input.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(ReadError::Read),
        }
    }
}
