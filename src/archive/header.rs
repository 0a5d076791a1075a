//! The block that every member of a tar archive begins with, and the numbers in archives.

use super::read::ReadError;
use super::write::BLOCK;

/// What a header says.
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) flag: u8,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) target: Vec<u8>,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, ReadError> {
        const BAD: ReadError = ReadError::Malformed("a number that is none");
        let field = |at: usize, length: usize| block.get(at..at + length).unwrap_or_default();
        let is_sum = |(at, _): &(usize, &u8)| (148..156).contains(at);
        let counted = |(at, byte): (usize, &u8)| if is_sum(&(at, byte)) { 32 } else { *byte };
        let sum: u64 = block.iter().enumerate().map(|pair| u64::from(counted(pair))).sum();
        if number(field(148, 8)) != i64::try_from(sum).ok() {
            return Err(ReadError::Malformed("a check sum does not match"));
        }
        let number = |at, length| number(field(at, length)).ok_or(BAD);
        // An id that no field holds is nobody's.
        let id = |at| number(at, 8).map(|id| u32::try_from(id).unwrap_or(u32::MAX));
        let mut name = until_nul(field(0, 100)).to_vec();
        let prefix = until_nul(field(345, 155));
        if field(257, 6) == b"ustar\0" && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        Ok(Self {
            name,
            flag: *block.get(156).unwrap_or(&0),
            mode: u32::try_from(number(100, 8)?).map_err(|_| BAD)? & 0o7777,
            owner: id(108)?,
            group: id(116)?,
            size: u64::try_from(number(124, 12)?).map_err(|_| BAD)?,
            modified: number(136, 12)?,
            target: until_nul(field(157, 100)).to_vec(),
        })
    }
}

pub(super) fn pad(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between blanks; or, marked by the highest bit, a binary number.
fn number(field: &[u8]) -> Option<i64> {
    if let [first @ (0x80 | 0xff), rest @ ..] = field {
        let start = if *first == 0xff { -1_i64 } else { 0 };
        return rest.iter().try_fold(start, |number, byte| {
            number.checked_mul(256)?.checked_add(i64::from(*byte))
        });
    }
    let digits = until_nul(field).trim_ascii();
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = char::from(*digit).to_digit(8)?;
        number.checked_mul(8)?.checked_add(i64::from(digit))
    })
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with any number of digits behind the point.
pub(super) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (whole, part) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, &b""[..]),
    };
    let is_negative = whole.first() == Some(&b'-');
    let seconds = i64::try_from(decimal(whole.strip_prefix(b"-").unwrap_or(whole))?).ok()?;
    if !part.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = part.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    match (is_negative, nanoseconds) {
        (false, _) => Some((seconds, nanoseconds)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}
