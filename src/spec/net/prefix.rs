//! Addresses and ranges of them, and how rules spell them.
//!
//! # Decisions
//! - Four decimal numbers without leading zeros, or the forms of RFC 4291. Whatever else
//!   `inet_aton(3)` takes (`127.1`, `0177.0.0.1`, `0x7f000001`, `2130706433`) is refused with the usual spelling
//!   in the hint: to some programs `0177` is 177.
//! - An IPv4-mapped IPv6 address is its IPv4 address. IPv6 forms that carry an IPv4 address in other ways
//!   (NAT64, 6to4, IPv4-compatible) are refused in rules: the IPv4 address is named, and holds for them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Addresses that begin with the same bits; with all of them, one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Prefix {
    /// The lowest one.
    address: IpAddr,
    /// How many bits are the same: at most 32, or 128.
    length: u8,
}

/// Why a text is no address and no range. Does not repeat the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither of the two families.
    #[error("it is not an address")]
    NotAnAddress,
    /// A number, or numbers, that only some programs read as this address.
    #[error("it is an unusual spelling of {0}")]
    Spelling(Ipv4Addr),
    /// An IPv4 address in an IPv6 one.
    #[error("it is an IPv6 form of the IPv4 address {0}")]
    Embedded(Ipv4Addr),
    /// A zone, as in `fe80::1%eth0`.
    #[error("an address has no zone there")]
    Zone,
    /// Not a number of bits.
    #[error("after `/` there is a number of bits, at most {0}")]
    Length(u8),
    /// Bits behind the prefix.
    #[error("it has bits set behind its first {}", .0.length)]
    HostBits(Prefix),
}

impl AddressError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Spelling(address) | Self::Embedded(address) => Some(format!("write `{address}`")),
            Self::HostBits(prefix) => {
                Some(format!("the range is `{prefix}`; one address is written alone"))
            }
            Self::NotAnAddress | Self::Zone | Self::Length(_) => None,
        }
    }
}

impl Prefix {
    /// One address.
    pub fn single(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, length: width(address) }
    }

    /// The first `length` bits of an address; all of them when it has no more.
    pub const fn of(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let length = if length > 32 { 32 } else { length };
                let bits = v4.to_bits() & mask_v4(length);
                Self { address: IpAddr::V4(Ipv4Addr::from_bits(bits)), length }
            }
            IpAddr::V6(v6) => {
                let length = if length > 128 { 128 } else { length };
                let bits = v6.to_bits() & mask_v6(length);
                Self { address: IpAddr::V6(Ipv6Addr::from_bits(bits)), length }
            }
        }
    }

    /// The lowest address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are the same.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether it is one address.
    pub fn is_single(self) -> bool {
        self.length == width(self.address)
    }

    /// Whether `address` is one of them; families never mix.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::of(address, self.length) == self
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }

    /// Whether any of it is the address of one host. Others are of many hosts at once, or of none.
    pub fn has_hosts(self) -> bool {
        const fn v4(first: u8, length: u8) -> Prefix {
            Prefix::of(IpAddr::V4(Ipv4Addr::new(first, 0, 0, 0)), length)
        }
        const NOBODY: [Prefix; 5] = [
            v4(0, 8),
            v4(224, 4),
            Prefix::of(IpAddr::V4(Ipv4Addr::BROADCAST), 32),
            Prefix::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
            Prefix::of(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
        ];
        !NOBODY.iter().any(|nobody| nobody.covers(self))
    }

    /// `ADDRESS` or `ADDRESS/BITS`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let Some((address, length)) = text.split_once('/') else {
            return parse_address(text).map(Self::single);
        };
        let written: IpAddr = parse_written(address)?;
        let bits = parse_bits(length, width(written))?;
        let prefix = Self::of(written, bits);
        if prefix.address != written {
            return Err(AddressError::HostBits(prefix.canonical()));
        }
        if let (IpAddr::V6(v6), true) = (written, bits >= 96)
            && let Some(v4) = embedded(v6)
        {
            return Err(AddressError::Embedded(v4));
        }
        Ok(prefix.canonical())
    }

    /// A range of IPv4-mapped addresses as the range of IPv4 addresses it is.
    fn canonical(self) -> Self {
        match (self.address.to_canonical(), self.address) {
            (IpAddr::V4(v4), IpAddr::V6(_)) if self.length >= 96 => {
                Self::of(IpAddr::V4(v4), self.length - 96)
            }
            _ => self,
        }
    }
}

/// One address in its usual spelling; an IPv4-mapped one is the IPv4 address.
pub fn parse_address(text: &str) -> Result<IpAddr, AddressError> {
    let address = parse_written(text)?.to_canonical();
    match address {
        IpAddr::V6(v6) => embedded(v6).map_or(Ok(address), |v4| Err(AddressError::Embedded(v4))),
        IpAddr::V4(_) => Ok(address),
    }
}

/// Whether a text can only be meant as an address: no name of a host looks so.
pub fn looks_like_address(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or(text);
    host.contains(':') || legacy(host).is_some() || is_dotted_number(host)
}

fn is_dotted_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The IPv4 address that an IPv6 one of another kind than *mapped* carries: NAT64 (RFC 6052), 6to4
/// (RFC 3056), IPv4-compatible and IPv4-translated.
pub fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let words = address.segments();
    let at = |at: usize| {
        Some(Ipv4Addr::from_bits(u32::from(words[at]) << 16 | u32::from(words[at + 1])))
    };
    match words {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => at(6),
        [0x2002, ..] => at(1),
        // `::` and `::1` are not IPv4 addresses.
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => at(6),
        _ => None,
    }
}

fn parse_written(text: &str) -> Result<IpAddr, AddressError> {
    if text.contains('%') {
        return Err(AddressError::Zone);
    }
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => Err(legacy(text).map_or(AddressError::NotAnAddress, AddressError::Spelling)),
    }
}

fn parse_bits(text: &str, width: u8) -> Result<u8, AddressError> {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    let bits = text.parse().ok().filter(|bits| plain && *bits <= width);
    bits.ok_or(AddressError::Length(width))
}

/// What `inet_aton(3)` makes of a text.
fn legacy(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(legacy_number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let free = 8 * (4 - u32::try_from(first.len()).ok()?);
    if free < 32 && *last >> free != 0 {
        return None;
    }
    let high = first.iter().zip([24, 16, 8]).fold(0, |bits, (part, shift)| bits | part << shift);
    Some(Ipv4Addr::from_bits(high | last))
}

fn legacy_number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return if digits.is_empty() { Some(0) } else { digits_in(digits, 16) };
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => digits_in(digits, 8),
        _ => digits_in(text, 10),
    }
}

/// `from_str_radix` takes a sign.
fn digits_in(text: &str, radix: u32) -> Option<u32> {
    let plain = text.chars().all(|c| c.is_digit(radix));
    u32::from_str_radix(text, radix).ok().filter(|_| plain)
}

const fn mask_v4(length: u8) -> u32 {
    if length == 0 { 0 } else { u32::MAX << (32 - length as u32) }
}

const fn mask_v6(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - length as u32) }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_in_one_way() {
        for (text, shown) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
            ("::1", "::1"),
        ] {
            assert_eq!(Prefix::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn other_spellings_of_an_address_are_refused_and_named() {
        let loopback = Ipv4Addr::LOCALHOST;
        for text in [
            "127.1",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "2130706433",
            "0x7f000001",
            "127.0.1",
            "017700000001",
        ] {
            assert_eq!(Prefix::parse(text), Err(AddressError::Spelling(loopback)), "{text}");
            assert!(looks_like_address(text), "{text}");
        }
        for text in ["64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "::ffff:0:127.0.0.1"] {
            assert_eq!(Prefix::parse(text), Err(AddressError::Embedded(loopback)), "{text}");
        }
        assert_eq!(Prefix::parse("fe80::1%eth0"), Err(AddressError::Zone));
        for text in ["", "1.2.3.4.5", "256.0.0.1", "+1.2.3.4", "1.2.3.", "x", "::g", "08.0.0.1"] {
            assert_eq!(Prefix::parse(text), Err(AddressError::NotAnAddress), "{text}");
        }
    }

    #[test]
    fn a_range_ends_where_its_bits_do() {
        let range = Prefix::of(Ipv4Addr::new(10, 1, 0, 0).into(), 16);
        assert_eq!(Prefix::parse("10.1.2.3/16"), Err(AddressError::HostBits(range)));
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/8/8"] {
            assert_eq!(Prefix::parse(text), Err(AddressError::Length(32)), "{text}");
        }
        assert_eq!(Prefix::parse("::/129"), Err(AddressError::Length(128)));
        assert!(range.contains("10.1.255.255".parse().unwrap()));
        assert!(!range.contains("10.2.0.0".parse().unwrap()));
        assert!(!Prefix::parse("0.0.0.0/0").unwrap().contains("::".parse().unwrap()));
        assert!(Prefix::parse("10.0.0.0/8").unwrap().covers(range));
        assert!(!range.covers(Prefix::parse("10.0.0.0/8").unwrap()));
    }
}
