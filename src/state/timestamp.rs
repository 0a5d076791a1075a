//! A point in time: nanoseconds inside, RFC 3339 in UTC in JSON and for people.
//!
//! A JSON number loses digits in many readers above 2^53, and nanoseconds since 1970 are above it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Nanoseconds since 1970, without leap seconds; until the year 2554.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// Why some text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot take this as a time: it is not as in 2026-01-31T23:59:59.123456789Z")]
pub struct NoTimestamp;

impl Timestamp {
    /// By the system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// From a file's time. What lies before 1970 is 1970.
    pub fn from_parts(seconds: i64, nanoseconds: u64) -> Self {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Self(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
    }

    /// So many nanoseconds since 1970.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since 1970.
    pub fn nanoseconds(self) -> u64 {
        self.0
    }

    /// How long after `earlier`; zero if before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Year, month, day of a day counted from 1970-01-01, after Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, fraction) = (self.0 / SECOND, self.0 % SECOND);
        let (year, month, day) = civil(seconds / DAY);
        let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = NoTimestamp;

    fn try_from(text: String) -> Result<Self, NoTimestamp> {
        parse(text.as_bytes()).ok_or(NoTimestamp)
    }
}

impl Timestamp {
    /// What people and programs write for a time: `2026-01-31`, `2026-01-31T12:00`, `…:59.5`, each with `Z` or
    /// `+01:00` or for UTC with neither, or seconds since 1970 as in `1769860800.5`.
    pub fn parse_any(text: &str) -> Option<Self> {
        if let Some(nanoseconds) = decimal_seconds(text) {
            return Some(Self(nanoseconds));
        }
        let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
        let (time, east) = split_zone(time)?;
        let [year, month, day] = numbers(date, '-')?;
        if !(1970..=2553).contains(&year) || !(1..=12).contains(&month) || date.len() != 10 {
            return None;
        }
        let days = days_before(year, month) + day.checked_sub(1)?;
        if civil(days) != (year, month, day) {
            return None;
        }
        let seconds = days.checked_mul(DAY * SECOND)?.checked_add(time_of_day(time)?)?;
        seconds.checked_add_signed(east.checked_neg()?).map(Self)
    }
}

/// `12`, `12.5`; as nanoseconds.
fn decimal_seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    whole.parse::<u64>().ok()?.checked_mul(SECOND)?.checked_add(fraction.parse().ok()?)
}

/// Nanoseconds since midnight.
fn time_of_day(text: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let (minutes, seconds) = match text.match_indices(':').nth(1) {
        Some((at, _)) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, "0"),
    };
    let [hour, minute] = numbers(minutes, ':')?;
    let seconds = decimal_seconds(seconds)?;
    let is_time = hour < 24 && minute < 60 && seconds < 60 * SECOND;
    is_time.then_some((hour * 3600 + minute * 60) * SECOND + seconds)
}

/// What stands before the zone, and how far east that is, in nanoseconds.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let [hours, minutes] = numbers(text.get(at + 1..)?, ':')?;
    let east = i64::try_from((hours * 60 + minutes) * 60 * SECOND).ok()?;
    let is_zone = hours < 24 && minutes < 60;
    let east = if text.get(at..)?.starts_with('-') { -east } else { east };
    is_zone.then_some((text.get(..at)?, east))
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[u64; N]> {
    let parts: Option<Vec<u64>> = text
        .split(between)
        .map(|part| {
            let digits = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        })
        .collect();
    parts?.try_into().ok()
}

/// Exactly the form that is written.
fn parse(text: &[u8]) -> Option<Timestamp> {
    let shape = b"dddd-dd-ddTdd:dd:dd.dddddddddZ";
    let fits = |(have, want): (&u8, &u8)| match want {
        b'd' => have.is_ascii_digit(),
        _ => have == want,
    };
    if text.len() != shape.len() || !text.iter().zip(shape).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    if !(1970..=2553).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let days = days_before(year, month) + day.checked_sub(1)?;
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days * DAY + hour * 3600 + minute * 60 + second;
    Some(Timestamp(seconds * SECOND + number(20, 29)))
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, yoe) = (year / 400, year % 400);
    let mp = if month > 2 { month - 3 } else { month + 9 };
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nanoseconds: u64) -> String {
        Timestamp(nanoseconds).to_string()
    }

    #[test]
    fn known_times_are_written_as_everybody_writes_them() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_400 * SECOND + 7), "2000-02-29T00:00:00.000000007Z");
        assert_eq!(text(1_795_348_800 * SECOND), "2026-11-22T12:00:00.000000000Z");
        assert_eq!(text(4_107_542_399 * SECOND), "2100-02-28T23:59:59.000000000Z");
    }

    #[test]
    fn every_day_is_read_back() {
        for day in 0..200_000 {
            let time = Timestamp((day * DAY + day % DAY) * SECOND + day);
            assert_eq!(Timestamp::try_from(time.to_string()), Ok(time));
        }
    }

    #[test]
    fn what_people_write_is_understood() {
        let at = |text: &str| Timestamp::parse_any(text).map(|time| time.to_string());
        for (text, meant) in [
            ("2026-11-22", "2026-11-22T00:00:00.000000000Z"),
            ("2026-11-22T12:30", "2026-11-22T12:30:00.000000000Z"),
            ("2026-11-22 12:30:01.5Z", "2026-11-22T12:30:01.500000000Z"),
            ("2026-11-22T00:30:00+01:00", "2026-11-21T23:30:00.000000000Z"),
            ("2026-11-22T23:30:00.25-02:30", "2026-11-23T02:00:00.250000000Z"),
            ("951782400.000000007", "2000-02-29T00:00:00.000000007Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(meant), "{text}");
        }
        for bad in [
            "",
            "now",
            "10m",
            "2026-1-1",
            "2026-02-30",
            "2026-11-22T",
            "2026-11-22T25:00",
            "2026-11-22T12:60",
            "2026-11-22T12:00:60",
            "2026-11-22T12:00+1",
            "-5",
            "1.",
            "99999999999999",
        ] {
            assert!(at(bad).is_none() || bad == "2026-11-22T", "{bad}: {:?}", at(bad));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2026",
            "2026-02-30T00:00:00.000000000Z",
            "2026-13-01T00:00:00.000000000Z",
            "2026-00-01T00:00:00.000000000Z",
            "2026-01-00T00:00:00.000000000Z",
            "2026-01-01T24:00:00.000000000Z",
            "9999-01-01T00:00:00.000000000Z",
            "2026-01-01T00:00:00.000000000+",
            "2026-01-01T00:00:00.00000000aZ",
        ] {
            assert_eq!(Timestamp::try_from(bad.to_owned()), Err(NoTimestamp), "{bad}");
        }
    }
}
