//! Writes a tar archive: ustar with PAX records, GNU's sparse form 1.0. Knows nothing of where it comes from.
//!
//! # Decisions
//! - The same entries give the same bytes: nothing of this machine or of now is in it.
//! - A PAX record stands only where ustar's fields do not suffice.
//! - Names that are not UTF-8 are written as they are, and announced with `hdrcharset=BINARY`.

use std::io::{self, Write};

pub(super) const BLOCK: usize = 512;

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// One more name of a file.
    HardLink,
    /// A symbolic link.
    Link,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

impl Kind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Link => b'2',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// One entry, without its data.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Relative; of directories with a slash at the end.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Its owner's number.
    pub owner: u32,
    /// Its group's.
    pub group: u32,
    /// Nanoseconds since 1970.
    pub modified: u64,
    /// Where a link leads, or the name of the same file.
    pub target: &'a [u8],
    /// Extended attributes.
    pub attributes: &'a [Attribute],
}

/// An extended attribute: its name and its value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// A run of data in a sparse file: offset and length.
pub type Extent = (u64, u64);

/// An archive that is being written.
pub struct Archive<'a> {
    out: &'a mut dyn Write,
    /// Bytes of data that the current entry still wants.
    wanted: u64,
    /// Zeros that follow them.
    padding: usize,
}

impl<'a> Archive<'a> {
    /// Into this.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, wanted: 0, padding: 0 }
    }

    /// Begins an entry of `size` bytes, which [`Archive::data`] gives.
    pub fn entry(&mut self, entry: &Entry<'_>, size: u64) -> io::Result<()> {
        let records = records(entry, entry.name, size);
        self.with_records(entry, entry.name, &records, size)
    }

    /// Begins a file of which only some extents have data; they follow by [`Archive::data`], one behind the
    /// other.
    pub fn sparse(&mut self, entry: &Entry<'_>, size: u64, extents: &[Extent]) -> io::Result<()> {
        let mut map = format!("{}\n", extents.len() + 1).into_bytes();
        // The last one says where the file ends.
        for (offset, length) in extents.iter().chain([&(size, 0)]) {
            map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
        }
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        let data: u64 = extents.iter().map(|(_, length)| length).sum();
        let stored = map.len() as u64 + data;
        let name = [b"GNUSparseFile.0/", entry.name].concat();
        let mut records = vec![
            record(b"GNU.sparse.major", b"1"),
            record(b"GNU.sparse.minor", b"0"),
            record(b"GNU.sparse.name", entry.name),
            record(b"GNU.sparse.realsize", size.to_string().as_bytes()),
        ];
        records.extend(records_of(entry, stored));
        self.with_records(entry, &name, &records.concat(), stored)?;
        self.data(&map)
    }

    fn with_records(
        &mut self,
        entry: &Entry<'_>,
        name: &[u8],
        records: &[u8],
        size: u64,
    ) -> io::Result<()> {
        self.complete()?;
        if !records.is_empty() {
            let header = Header {
                name: b"PaxHeaders/record",
                flag: b'x',
                mode: 0o644,
                owner: 0,
                group: 0,
                size: records.len() as u64,
                modified: 0,
                target: b"",
            };
            self.out.write_all(&header.encode())?;
            self.out.write_all(records)?;
            self.out.write_all(&[0; BLOCK][..padding(records.len() as u64)])?;
        }
        let header = Header {
            name,
            flag: entry.kind.flag(),
            mode: entry.mode,
            owner: entry.owner,
            group: entry.group,
            size,
            modified: entry.modified / 1_000_000_000,
            target: entry.target,
        };
        self.out.write_all(&header.encode())?;
        self.wanted = size;
        self.padding = padding(size);
        Ok(())
    }

    /// Gives data of the current entry. What is more than was announced is left out.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let most = usize::try_from(self.wanted).unwrap_or(usize::MAX).min(bytes.len());
        self.wanted -= most as u64;
        self.out.write_all(&bytes[..most])
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<()> {
        self.complete()?;
        self.out.write_all(&[0; 2 * BLOCK])
    }

    /// Ends the current entry, with zeros for data that did not come.
    fn complete(&mut self) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), self.wanted), self.out)?;
        self.wanted = 0;
        self.out.write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }
}

fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0)
}

fn records(entry: &Entry<'_>, name: &[u8], size: u64) -> Vec<u8> {
    let mut records = records_of(entry, size);
    if name.len() > NAME {
        records.insert(0, record(b"path", name));
    }
    let binary = [name, entry.target].iter().any(|text| std::str::from_utf8(text).is_err());
    if binary && !records.is_empty() {
        records.insert(0, record(b"hdrcharset", b"BINARY"));
    }
    records.concat()
}

/// What the fields of the header do not hold, but for the name.
fn records_of(entry: &Entry<'_>, size: u64) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    if entry.target.len() > NAME {
        records.push(record(b"linkpath", entry.target));
    }
    let number = |keyword: &[u8], value: u64| record(keyword, value.to_string().as_bytes());
    if size > LARGEST {
        records.push(number(b"size", size));
    }
    for (keyword, id) in [(&b"uid"[..], entry.owner), (b"gid", entry.group)] {
        if id > LARGEST_ID {
            records.push(number(keyword, id.into()));
        }
    }
    let (seconds, rest) = (entry.modified / 1_000_000_000, entry.modified % 1_000_000_000);
    if rest != 0 || seconds > LARGEST {
        records.push(record(b"mtime", format!("{seconds}.{rest:09}").as_bytes()));
    }
    for (name, value) in entry.attributes {
        records.push(record(&[b"SCHILY.xattr.", &name[..]].concat(), value));
    }
    records
}

/// `LENGTH KEYWORD=VALUE\n`, where the length counts its own digits.
fn record(keyword: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", keyword, b"=", value, b"\n"].concat()
}

/// Bytes of a name or target in the header.
const NAME: usize = 100;
/// The largest number in eleven octal digits.
const LARGEST: u64 = 0o777_7777_7777;
/// The largest number in seven octal digits.
const LARGEST_ID: u32 = 0o777_7777;

struct Header<'a> {
    name: &'a [u8],
    flag: u8,
    mode: u32,
    owner: u32,
    group: u32,
    size: u64,
    modified: u64,
    target: &'a [u8],
}

impl Header<'_> {
    fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, &self.name[..self.name.len().min(NAME)]);
        let id = |id: u32| if id > LARGEST_ID { 0 } else { id };
        let number = |value: u64| if value > LARGEST { 0 } else { value };
        put(100, format!("{:07o}", self.mode & 0o7777).as_bytes());
        put(108, format!("{:07o}", id(self.owner)).as_bytes());
        put(116, format!("{:07o}", id(self.group)).as_bytes());
        put(124, format!("{:011o}", number(self.size)).as_bytes());
        put(136, format!("{:011o}", number(self.modified)).as_bytes());
        // Counted as blanks while the sum is made.
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, &self.target[..self.target.len().min(NAME)]);
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record(b"path", b"a"), b"9 path=a\n");
        // The digits of the length make it longer.
        assert_eq!(record(b"path", b"abcde"), b"14 path=abcde\n");
        for length in 0..2000 {
            let record = record(b"k", &vec![b'v'; length]);
            let digits = record.split(|byte| *byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(digits).unwrap(), record.len().to_string());
        }
    }

    #[test]
    fn data_that_does_not_come_is_zeros_and_what_is_too_much_is_left_out() {
        let mut out = Vec::new();
        let mut archive = Archive::new(&mut out);
        let entry = Entry {
            name: b"f",
            kind: Kind::File,
            mode: 0o644,
            owner: 0,
            group: 0,
            modified: 0,
            target: b"",
            attributes: &[],
        };
        archive.entry(&entry, 3).unwrap();
        archive.data(b"a").unwrap();
        archive.entry(&entry, 2).unwrap();
        archive.data(b"abc").unwrap();
        archive.finish().unwrap();
        assert_eq!(out.len(), 4 * BLOCK + 2 * BLOCK);
        assert_eq!(&out[BLOCK..BLOCK + 4], b"a\0\0\0");
        assert_eq!(&out[3 * BLOCK..3 * BLOCK + 4], b"ab\0\0");
    }
}
