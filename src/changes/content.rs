//! The hash of a file's content, which holes and the pieces it is read in do not change.
//!
//! # Theory of operation
//! A file is cut into blocks of [`BLOCK`] bytes, counted from its beginning. Of each block that holds a
//! byte other than zero, three things go into a SHA-256: its offset (64 bits, little-endian), its length
//! without the zeros at its end (the same), and that many bytes. At the end go 64 set bits and the file's
//! size. So a hole and the zeros it stands for give the same hash, and what reads, copies or moves a
//! file may do so by its extents: a payload that makes a file of eight exbibytes without data costs nothing.
//!
//! It is not what `sha256sum` prints, which would have to read every hole.

use std::fmt;
use std::os::fd::AsFd;

use crate::archive::next_data;
use rustix::fs::fstat;
use rustix::io::{Errno, pread};
use sha2::{Digest as _, Sha256};

/// Bytes that are left out together when all of them are zero.
pub const BLOCK: usize = 64 * 1024;

/// What a file holds, as 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub(super) [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a [`ContentHash`] of what is read or copied in any pieces, from the beginning to the end.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    hash: Sha256,
    /// Offset of the block that is being collected.
    begin: u64,
    /// What is known of it: from its beginning on.
    block: Vec<u8>,
}

impl ContentHasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in bytes that stand at `offset`. What lies between two calls is zero; no call goes back.
    pub fn update(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - within));
            let begin = offset - within as u64;
            if begin != self.begin {
                self.end_block();
                self.begin = begin;
            }
            if within == 0 && now.len() == BLOCK {
                self.add(begin, now);
            } else {
                self.block.resize(within, 0);
                self.block.extend_from_slice(now);
            }
            offset += now.len() as u64;
            bytes = later;
        }
    }

    /// The hash of a file of `size` bytes.
    #[must_use]
    pub fn finish(mut self, size: u64) -> ContentHash {
        self.end_block();
        self.hash.update(u64::MAX.to_le_bytes());
        self.hash.update(size.to_le_bytes());
        ContentHash(self.hash.finalize().into())
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.add(self.begin, &block);
        self.block = block;
        self.block.clear();
    }

    fn add(&mut self, offset: u64, block: &[u8]) {
        let Some(last) = block.iter().rposition(|byte| *byte != 0) else { return };
        let bytes = &block[..=last];
        self.hash.update(offset.to_le_bytes());
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }
}

/// The hash of an open regular file, of the size that it has now. `buffer` is used for reading, and grown
/// to [`BLOCK`] bytes.
///
/// When the file shrinks meanwhile, what is gone counts as zeros.
pub fn hash_file(file: impl AsFd, buffer: &mut Vec<u8>) -> Result<ContentHash, Errno> {
    let size = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
    buffer.resize(BLOCK, 0);
    let mut hasher = ContentHasher::new();
    if size <= BLOCK as u64 {
        read_range(&file, (0, size), buffer, &mut hasher)?;
        return Ok(hasher.finish(size));
    }
    let mut offset = 0;
    while let Some((begin, end)) = next_data(&file, offset, size)? {
        read_range(&file, (begin, end), buffer, &mut hasher)?;
        offset = end;
    }
    Ok(hasher.finish(size))
}

fn read_range(
    file: impl AsFd,
    (mut offset, end): (u64, u64),
    buffer: &mut [u8],
    hasher: &mut ContentHasher,
) -> Result<(), Errno> {
    while offset < end {
        // Up to the end of a block, so that whole blocks are hashed where they lie.
        let within = offset % BLOCK as u64;
        let most = usize::try_from((end - offset).min(BLOCK as u64 - within)).unwrap_or(BLOCK);
        match pread(&file, &mut buffer[..most], offset) {
            Ok(0) => break,
            Ok(length) => {
                hasher.update(offset, &buffer[..length]);
                offset += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use proptest::prelude::*;

    use super::*;

    fn in_pieces(bytes: &[u8], cuts: &[usize]) -> ContentHash {
        let mut hasher = ContentHasher::new();
        let mut at = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let end = (at + cut).min(bytes.len());
            hasher.update(at as u64, &bytes[at..end]);
            at = end;
        }
        hasher.finish(bytes.len() as u64)
    }

    #[test]
    fn the_hash_of_a_small_file_is_what_the_header_says() {
        let mut hash = Sha256::new();
        hash.update(0_u64.to_le_bytes());
        hash.update(5_u64.to_le_bytes());
        hash.update(b"hello");
        hash.update([0xff; 8]);
        hash.update(7_u64.to_le_bytes());
        assert_eq!(in_pieces(b"hello\0\0", &[]).0, <[u8; 32]>::from(hash.finalize()));
    }

    #[test]
    fn what_is_different_hashes_differently() {
        let mut hashes = Vec::new();
        let large = |at: usize, byte: u8| {
            let mut bytes = vec![0; 3 * BLOCK];
            bytes[at] = byte;
            bytes
        };
        for bytes in [
            b"".to_vec(),
            b"\0".to_vec(),
            b"\0\0".to_vec(),
            b"a".to_vec(),
            b"a\0".to_vec(),
            b"\0a".to_vec(),
            large(0, 1),
            large(BLOCK - 1, 1),
            large(BLOCK, 1),
            large(2 * BLOCK, 1),
            large(2 * BLOCK, 2),
        ] {
            hashes.push(in_pieces(&bytes, &[]).to_string());
        }
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), 11);
    }

    #[test]
    fn holes_are_not_read_and_hash_as_the_zeros_they_are() {
        let mut sparse = tempfile::tempfile().unwrap();
        sparse.set_len(3 * BLOCK as u64 + 17).unwrap();
        sparse.seek(std::io::SeekFrom::Start(BLOCK as u64 + 100)).unwrap();
        sparse.write_all(b"data").unwrap();
        let mut full = vec![0; 3 * BLOCK + 17];
        full[BLOCK + 100..BLOCK + 104].copy_from_slice(b"data");
        assert_eq!(hash_file(&sparse, &mut Vec::new()).unwrap(), in_pieces(&full, &[]));
        // It would take an hour to read this.
        let began = std::time::Instant::now();
        sparse.set_len(8 << 40).unwrap();
        hash_file(&sparse, &mut Vec::new()).unwrap();
        assert!(began.elapsed().as_secs() < 5);
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            runs in prop::collection::vec((0_usize..3, 1_usize..100_000), 0..5),
            cuts in prop::collection::vec(0_usize..90_000, 0..8),
        ) {
            let mut bytes = Vec::new();
            for (kind, length) in runs {
                let byte = |n: usize| if kind == 0 { 0 } else { n.to_le_bytes()[0] % 7 };
                bytes.extend((0..length).map(byte));
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let whole = in_pieces(&bytes, &[]);
            prop_assert_eq!(in_pieces(&bytes, &cuts), whole);
            prop_assert_eq!(hash_file(&file, &mut Vec::new()).unwrap(), whole);
        }
    }
}
