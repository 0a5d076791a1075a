//! How fast a network may be used: `10M`, or `50M/5M` for the way in and the way out.
//!
//! # Decisions
//! - Bits per second, in thousands, as tc(8), systemd and every line that is sold count them. A download's bytes are an
//!   eighth of that. Whatever could mean bytes (`MB`, `Mb`, `Mbps`, which is bytes in tc) or has no unit is refused: an
//!   eighth or eight times what was meant looks right until somebody measures.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Bits per second each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// To the sandbox.
    pub down: u64,
    /// From it.
    pub up: u64,
}

/// Why some text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// No number with a unit, nor two.
    #[error("it is not a rate")]
    NotARate,
    /// A unit that there is not.
    #[error("its unit is none of k, M and G")]
    NoUnit,
    /// A unit that is bits to some and bytes to others, or none.
    #[error("it does not say whether it counts bits or bytes")]
    Ambiguous,
    /// Other programs' way to say that there is no bound.
    #[error("it lets nothing through")]
    Nothing,
    /// Less than anything works with.
    #[error("it is less than 16k")]
    TooSlow,
    /// More than can be counted out.
    #[error("it is more than 100G")]
    TooFast,
}

impl RateError {
    /// What to write instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Nothing => {
                "leave it out where there is to be no bound; `--network none` lets nothing through"
            }
            _ => {
                "bits per second, with k, M or G: 10M each way, or 50M/5M down and up; 10 megabytes per second are 80M"
            }
        }
    }
}

impl Rate {
    /// The slowest: a second for the packet of 1,500 bytes, and some.
    const LEAST: u64 = 16_000;
    /// The fastest.
    const MOST: u64 = 100_000_000_000;

    /// Reads `DOWN[/UP]`; one number holds each way.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let (down, up) = match text.split_once('/') {
            Some((down, up)) => (parse_one(down)?, parse_one(up)?),
            None => (parse_one(text)?, parse_one(text)?),
        };
        Ok(Self { down, up })
    }
}

fn parse_one(text: &str) -> Result<u64, RateError> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = !whole.is_empty() && !part.is_empty() && !part.contains('.');
    if !is_number || part.len() > 3 {
        return Err(RateError::NotARate);
    }
    if number.bytes().all(|digit| matches!(digit, b'0' | b'.')) {
        return Err(RateError::Nothing);
    }
    let scale = scale(unit)?;
    let digits = |text: &str| text.parse::<u64>().map_err(|_| RateError::TooFast);
    let thousandths = digits(&format!("{part:0<3}"))?;
    let bits = digits(whole)?
        .checked_mul(1000)
        .and_then(|whole| whole.checked_add(thousandths))
        .and_then(|number| number.checked_mul(scale / 1000))
        .ok_or(RateError::TooFast)?;
    match bits {
        ..Rate::LEAST => Err(RateError::TooSlow),
        Rate::LEAST..=Rate::MOST => Ok(bits),
        _ => Err(RateError::TooFast),
    }
}

/// Whether a unit is one of bits or bytes, whichever is meant: `b`, `MB`, `Mbps`, `KiB`.
fn counts_something(unit: &str) -> bool {
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix("ps").unwrap_or(&unit);
    let unit = unit.strip_prefix(['k', 'm', 'g', 't']).unwrap_or(unit);
    matches!(unit, "b" | "ib" | "bit" | "ibit" | "byte" | "bytes" | "bits")
}

fn scale(unit: &str) -> Result<u64, RateError> {
    match unit.strip_suffix("bit").unwrap_or(unit) {
        "k" | "K" => Ok(1_000),
        "m" | "M" => Ok(1_000_000),
        "g" | "G" => Ok(1_000_000_000),
        "" => Err(RateError::Ambiguous),
        _ if counts_something(unit) => Err(RateError::Ambiguous),
        _ if unit.chars().all(|c| c.is_ascii_alphabetic()) => Err(RateError::NoUnit),
        _ => Err(RateError::NotARate),
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_one(f, self.down)?;
        f.write_str("/")?;
        write_one(f, self.up)
    }
}

/// What [`parse_one`] reads: never less than a thousandth of a `k`.
fn write_one(f: &mut fmt::Formatter<'_>, bits: u64) -> fmt::Result {
    let (scale, unit) = match bits {
        1_000_000_000.. => (1_000_000_000, "G"),
        1_000_000.. => (1_000_000, "M"),
        _ => (1_000, "k"),
    };
    if bits.is_multiple_of(scale) {
        return write!(f, "{}{unit}", bits / scale);
    }
    if bits.is_multiple_of(scale / 1000) {
        let text = format!("{}.{:03}", bits / scale, bits % scale / (scale / 1000));
        return write!(f, "{}{unit}", text.trim_end_matches('0'));
    }
    // Finer than three digits: in the next unit below.
    if bits.is_multiple_of(1000) {
        return write!(f, "{}k", bits / 1000);
    }
    write!(f, "{}.{:03}k", bits / 1000, bits % 1000)
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        Self::parse(&text)
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_bits_per_second_each_way() {
        for (text, down, up) in [
            ("10M", 10_000_000, 10_000_000),
            ("10m/512k", 10_000_000, 512_000),
            ("1.5Gbit/2.25Mbit", 1_500_000_000, 2_250_000),
            ("16K/100G", 16_000, 100_000_000_000),
        ] {
            assert_eq!(Rate::parse(text), Ok(Rate { down, up }), "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in ["10", "1000000", "10MB", "10Mb", "10Mbps", "10MBps", "10b", "8bit", "10M/5"] {
            assert_eq!(Rate::parse(text), Err(RateError::Ambiguous), "{text}");
        }
        for text in [
            "", "M", "/", "10M/", "/5M", "-1M", "1e6M", ".5M", "1.M", "1.2.3M", "1.0005M", "10 M",
            "10Mü",
        ] {
            assert_eq!(Rate::parse(text), Err(RateError::NotARate), "{text}");
        }
        assert_eq!(Rate::parse("10M/5M/1M"), Err(RateError::NotARate));
        assert_eq!(Rate::parse("10MB/s"), Err(RateError::Ambiguous));
        for text in ["50X", "5T", "10Mx", "1M/2foo", "10mps"] {
            assert_eq!(Rate::parse(text), Err(RateError::NoUnit), "{text}");
        }
        for text in ["0", "0k", "0.0M", "0/5M", "5M/0"] {
            assert_eq!(Rate::parse(text), Err(RateError::Nothing), "{text}");
        }
        for text in ["0.001k", "15.999k", "10M/1k"] {
            assert_eq!(Rate::parse(text), Err(RateError::TooSlow), "{text}");
        }
        for text in ["100.001G", "99999999999999999999G", "18446744073709551615k"] {
            assert_eq!(Rate::parse(text), Err(RateError::TooFast), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(down in 16_000_u64..=100_000_000_000, up in 16_000_u64..=100_000_000_000) {
            let rate = Rate { down, up };
            prop_assert_eq!(Rate::parse(&rate.to_string()), Ok(rate), "{}", rate);
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,20}") {
            let _read: Result<Rate, RateError> = Rate::parse(&text);
        }
    }
}
