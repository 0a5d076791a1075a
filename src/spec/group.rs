//! What a control group bounds: memory, processors, the whole number of processes.
//!
//! # Decisions
//! Units are the kernel's own (bytes, microseconds of processor time in a period, weights), so that what
//! is wanted is what is read back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::confine::Need;
use super::rootfs::Pattern;

use crate::spec::order;

/// Everything that one control group bounds. What is not said is not bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// Bytes of memory; beyond that the kernel kills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bound<u64>>,
    /// Bytes of swap space beside the memory; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Bound<u64>>,
    /// Bytes of memory beyond which the payload is slowed down and has to give some back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<Bound<u64>>,
    /// Microseconds of processor time in each [`CPU_PERIOD`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Bound<u64>>,
    /// Share of the processors where others want them too: 1 to 10000, 100 for everybody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<Bound<u64>>,
    /// Which processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Bound<CpuSet>>,
    /// Share of the disks where others want them too: 1 to 10000, 100 for everybody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<Bound<u64>>,
    /// How fast disks may be used, each disk at most once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io: Vec<IoMax>,
    /// The payload may make groups of its own, within all that, and what happens where it cannot; if none it sees no
    /// group at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<Need>,
}

/// How fast the disk of a place may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IoMax {
    /// The disk itself, or any place on it.
    pub at: Pattern,
    /// How fast.
    pub rates: IoRates,
    /// A flag requires it.
    pub need: Need,
}

/// Bytes and requests each second; what is not said is not bounded, and something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IoRates {
    /// Bytes read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rbps: Option<u64>,
    /// Bytes written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wbps: Option<u64>,
    /// Reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub riops: Option<u64>,
    /// Writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wiops: Option<u64>,
}

impl IoRates {
    /// By the kernel's names, in its order.
    pub fn named(&self) -> [(&'static str, Option<u64>); 4] {
        [("rbps", self.rbps), ("wbps", self.wbps), ("riops", self.riops), ("wiops", self.wiops)]
    }
}

impl fmt::Display for IoRates {
    /// As `io.max` of a control group takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.named().into_iter().filter_map(|(name, rate)| Some((name, rate?)));
        said.enumerate().try_for_each(|(n, (name, rate))| {
            write!(f, "{}{name}={rate}", if n == 0 { "" } else { " " })
        })
    }
}

/// Microseconds in which [`Group::cpu_time`] may be used: the kernel's own default.
pub const CPU_PERIOD: u64 = 100_000;

/// A bound, and what happens where it cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound<T> {
    /// The bound.
    pub at: T,
    /// A flag requires it; a profile may go on without.
    pub need: Need,
}

impl<T> Bound<T> {
    /// What a flag asks for.
    pub fn required(at: T) -> Self {
        Self { at, need: Need::Required }
    }
}

impl Group {
    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Some processors, as `cpuset(7)` lists them: `0-3,8`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(Vec<(u16, u16)>);

/// The highest number of a processor: `CONFIG_NR_CPUS` is at most 8192.
const LAST_CPU: u16 = 8191;

/// Not a list of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a list of processors")]
pub struct NotACpuSet;

impl FromStr for CpuSet {
    type Err = NotACpuSet;

    fn from_str(text: &str) -> Result<Self, NotACpuSet> {
        let mut ranges = text.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
        order::sort(&mut ranges);
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Ok(Self(merged))
    }
}

fn range(text: &str) -> Result<(u16, u16), NotACpuSet> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u16> = text.parse().ok().filter(|number| *number <= LAST_CPU);
        number.filter(|_| digits).ok_or(NotACpuSet)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok((first, last)) } else { Err(NotACpuSet) }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuSet {
    type Error = NotACpuSet;

    fn try_from(text: String) -> Result<Self, NotACpuSet> {
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_processors_has_one_spelling() {
        for (text, expected) in
            [("0", "0"), ("3,1,2", "1-3"), ("0-3,8", "0-3,8"), ("0-4,2-9", "0-9"), ("7-7", "7")]
        {
            assert_eq!(text.parse::<CpuSet>().unwrap().to_string(), expected);
        }
        for bad in ["", ",", "1,", "-1", "1-", "3-1", "a", "8192", " 1", "+1", "0x1", "1--2"] {
            assert_eq!(bad.parse::<CpuSet>(), Err(NotACpuSet), "{bad}");
        }
    }
}
