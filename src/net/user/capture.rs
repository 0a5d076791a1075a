//! `--pcap`: the packets on the link, in a file that others read (`tcpdump -r`, Wireshark).
//!
//! # Theory of operation
//! The file comes open and empty: the netstack opens none. Each packet is one record, written at once, so that
//! what was captured is there however a run ends. The file has a bound, since a payload decides how many packets
//! there are: what comes when it is full is counted and left out, and the end of the run says so. Sums of TCP and UDP
//! are the link's: not finished, as on every link inside one machine.
//!
//! # Decisions
//! - The classic format of libpcap with nanoseconds: every tool reads it, and a record is one write.
//! - Raw IP (`LINKTYPE_RAW`): there is no Ethernet on this link.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of the file's own header, and of a record's.
const HEADER: usize = 24;
const RECORD: usize = 16;

/// The first bytes of such a file: nanoseconds, in the order of this machine.
const MAGIC: u32 = 0xa1b2_3c4d;

/// Whether a file that begins so is a capture as bryo or tcpdump writes it.
pub fn is_capture(start: [u8; 4]) -> bool {
    const MICROSECONDS: u32 = 0xa1b2_c3d4;
    [MAGIC, MICROSECONDS].contains(&u32::from_ne_bytes(start))
}

/// See the module.
#[derive(Debug)]
pub struct Capture {
    file: OwnedFd,
    /// Bytes that there is still room for.
    room: u64,
    left_out: u64,
}

impl Capture {
    /// For an open and empty file, which will have at most so many bytes.
    pub fn new(file: OwnedFd, most: u64) -> Self {
        let mut capture = Self { file, room: most, left_out: 0 };
        let mut header = [0; HEADER];
        for (at, word) in [(0, MAGIC), (16, 0x4_0000), (20, 101)] {
            header[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        header[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        header[6..8].copy_from_slice(&4_u16.to_ne_bytes());
        capture.write(&[&header]);
        capture
    }

    /// Adds a packet that comes in pieces.
    pub fn add(&mut self, packet: [&[u8]; 3]) {
        let length: usize = packet.iter().map(|piece| piece.len()).sum();
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut header = [0; RECORD];
        // Wireshark reads the seconds as unsigned: until 2106.
        let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        header[..4].copy_from_slice(&seconds.to_ne_bytes());
        header[4..8].copy_from_slice(&now.subsec_nanos().to_ne_bytes());
        header[8..12].copy_from_slice(&length);
        header[12..].copy_from_slice(&length);
        let [first, second, third] = packet;
        if !self.write(&[&header, first, second, third]) {
            self.left_out += 1;
        }
    }

    /// Packets that are not in the file.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes a record if it fits. After one that did not, none is written: a capture has no gaps.
    fn write(&mut self, pieces: &[&[u8]]) -> bool {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let fits = u64::try_from(length).is_ok_and(|length| length <= self.room);
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = fits && rustix::io::writev(&self.file, &pieces) == Ok(length);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.room = if written { self.room.saturating_sub(length) } else { 0 };
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_full_file_ends_with_a_whole_packet_and_the_rest_is_counted() {
        let mut file = tempfile::tempfile().unwrap();
        let most = HEADER + 2 * (RECORD + 5) + RECORD;
        let mut capture = Capture::new(file.try_clone().unwrap().into(), most as u64);
        for _ in 0..3 {
            capture.add([b"ab", b"cde", b""]);
        }
        // One that would fit comes too late.
        capture.add([b"", b"", b""]);
        assert_eq!(capture.left_out(), 2);
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), HEADER + 2 * (RECORD + 5));
        assert_eq!(bytes[HEADER + 8..HEADER + RECORD], [5_u32.to_ne_bytes(); 2].concat());
        assert_eq!(bytes[HEADER + RECORD..][..5], *b"abcde");
    }
}
