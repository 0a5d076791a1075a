//! DNS messages, written plainly: names in full, but for the one asked for, which is pointed at.

use super::wire::{Code, HEADER, INTERNET, Question, WireName, kind};

/// A pointer to the name of the question, which stands behind the header.
const POINTER: u16 = 0xc00c;

/// Writes one message.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    counts: [u16; 4],
}

impl Writer {
    /// A message with this id and these flags.
    pub fn new(id: u16, flags: u16) -> Self {
        let mut writer = Self { bytes: Vec::with_capacity(512), counts: [0; 4] };
        writer.word(id);
        writer.word(flags);
        writer.bytes.extend_from_slice(&[0; 8]);
        writer
    }

    fn word(&mut self, word: u16) {
        self.bytes.extend_from_slice(&word.to_be_bytes());
    }

    /// Adds the question: first, and once.
    pub fn question(&mut self, question: &Question) {
        self.bytes.extend_from_slice(question.name.as_bytes());
        self.word(question.kind);
        self.word(question.class);
        self.counts[0] += 1;
    }

    /// Adds a record to the answers. Data of more than 64 KiB there are none.
    pub fn answer(&mut self, asked: &WireName, name: &WireName, kind: u16, ttl: u32, data: &[u8]) {
        if name == asked {
            self.word(POINTER);
        } else {
            self.bytes.extend_from_slice(name.as_bytes());
        }
        self.word(kind);
        self.word(INTERNET);
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.word(u16::try_from(data.len()).unwrap_or(0));
        self.bytes.extend_from_slice(data);
        self.counts[1] += 1;
    }

    /// Adds what says how large a datagram can be.
    pub fn edns(&mut self, size: u16) {
        self.edns_with(size, Code::NoError);
    }

    /// The same with the upper bits of a code, in version 0.
    pub fn edns_with(&mut self, size: u16, code: Code) {
        self.bytes.push(0);
        self.word(kind::OPT);
        self.word(size);
        self.word(code as u16 >> 4 << 8);
        self.bytes.extend_from_slice(&[0; 4]);
        self.counts[3] += 1;
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The message.
    pub fn finish(mut self) -> Vec<u8> {
        for (place, count) in self.bytes[4..HEADER].chunks_mut(2).zip(self.counts) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        self.bytes
    }
}
