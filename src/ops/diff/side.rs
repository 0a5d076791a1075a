//! One side of a file that changed, read so far as it can be shown.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::{Errno, pread};
use sha2::{Digest as _, Sha256};

use crate::changes::{Change, FileKind, Sources};
use crate::report::amount::size;

/// Longest text that is compared by lines.
const MOST_TEXT: u64 = 4 << 20;
/// Longest file whose digest is told: a hole is read as zeros.
const MOST_HASHED: u64 = 1 << 30;
/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// What stands on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// No regular file.
    Nothing,
    /// A text.
    Text(Vec<u8>),
    /// Something else, or a text that is too long to be shown.
    Other(Other),
    /// It cannot be read.
    Unreadable,
}

/// A file that is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) size: u64,
    /// What `sha256sum` says of it; none when it is too large.
    pub(crate) sha256: Option<[u8; 32]>,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.size <= MOST_TEXT { "binary" } else { "too large to be shown" };
        write!(f, "{why}, {}", size(self.size))?;
        match &self.sha256 {
            Some(hash) => {
                f.write_str(", sha256 ")?;
                hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            None => Ok(()),
        }
    }
}

/// Both sides of a change: the host's, and the layer's.
pub(crate) fn read_both(change: &Change, sources: &mut Sources) -> Result<(Side, Side), Errno> {
    let is_file = |node: &&crate::changes::Node| node.kind == FileKind::File;
    let old = match change.was.as_ref().filter(is_file) {
        Some(_) => read_file(Sources::host_file(change))?,
        None => Side::Nothing,
    };
    let new = match change.now.as_ref().filter(is_file) {
        Some(_) => read_file(sources.file(change))?,
        None => Side::Nothing,
    };
    Ok((old, new))
}

/// What an open file holds.
pub(crate) fn read_file(file: Result<OwnedFd, Errno>) -> Result<Side, Errno> {
    match file {
        Ok(file) => read_open(&file),
        Err(Errno::ACCESS | Errno::PERM | Errno::STALE | Errno::NOENT) => Ok(Side::Unreadable),
        Err(error) => Err(error),
    }
}

fn read_open(file: &OwnedFd) -> Result<Side, Errno> {
    let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    if size <= MOST_TEXT {
        let mut text = Vec::new();
        read_to_end(file, MOST_TEXT, |bytes| text.extend_from_slice(bytes))?;
        if !text.contains(&0) {
            return Ok(Side::Text(text));
        }
    }
    if size > MOST_HASHED {
        return Ok(Side::Other(Other { size, sha256: None }));
    }
    let mut hash = Sha256::new();
    read_to_end(file, MOST_HASHED, |bytes| hash.update(bytes))?;
    Ok(Side::Other(Other { size, sha256: Some(hash.finalize().into()) }))
}

fn read_to_end(file: impl AsFd, most: u64, mut take: impl FnMut(&[u8])) -> Result<(), Errno> {
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    while offset < most {
        match pread(&file, &mut chunk[..], offset) {
            Ok(0) => break,
            Ok(length) => {
                take(&chunk[..length]);
                offset += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
