//! Values that profiles and flags write as text: sizes, durations, users, limits, names.
//!
//! # Decisions
//! - Units of sizes are binary, as Docker's: `k` is 1,024. `kB` and `KiB` are taken too.
//! - A duration without a unit is seconds.
//!
//! Long because there are so many kinds of values, and what can be wrong with one, what to write instead, and what reads it
//! belong together.

use std::time::Duration;

use crate::spec::confine::UnknownCapability;
use crate::spec::ids::User;
use crate::spec::limits::{Resource, Rlimit};
use crate::spec::net::lookup::NotADnsOption;
use crate::spec::net::{NotPublishable, RateError, RuleError};
use crate::spec::path::PathError;

/// Why some text is no value of the wanted kind. Does not repeat the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// A value without a name.
    #[error("there is no name before the `=`")]
    NoName,
    /// Not a number with an optional unit.
    #[error("it is not a size")]
    NotASize,
    /// A size that does not fit.
    #[error("it is too large")]
    TooLarge,
    /// A size or count of nothing.
    #[error("it must be more than 0")]
    Zero,
    /// A limit of memory in which nothing could start.
    #[error("it is less than 6 MiB")]
    TooLittleMemory,
    /// Memory and swap space together less than memory alone.
    #[error("it is less than the memory that `--memory` allows")]
    LessThanMemory,
    /// Not a number of processors.
    #[error("it is not a number of processors")]
    NotCpus,
    /// Less than the kernel takes.
    #[error("it is less than 0.01")]
    TooFewCpus,
    /// Not how fast a disk may be used.
    #[error("it is not a list of rates")]
    NotRates,
    /// Not a share.
    #[error("it is not between 1 and 10000")]
    NotAWeight,
    /// Not a list of processors.
    #[error("it is not a list of processors")]
    NotACpuSet,
    /// Not a duration.
    #[error("it is not a duration")]
    NotADuration,
    /// Not a place in a sandbox that runs, where nothing here leads to.
    #[error("it is not absolute")]
    RelativeInside,
    /// Not a whole number.
    #[error("it is not a whole number")]
    NotANumber,
    /// Not octal, or more than 0777.
    #[error("it is not a file mode creation mask")]
    NotAUmask,
    /// Neither a word for a user nor numbers.
    #[error("it is neither `root` nor a numeric id")]
    NotAUser,
    /// Neither a name nor a number of a signal.
    #[error("it is no signal")]
    NotASignal,
    /// Not a moment.
    #[error("it is neither a moment nor a time before now")]
    NotAMoment,
    /// Not a template.
    #[error("it is no template such as `{{{{.ID}}}} {{{{.Names}}}}`")]
    NotATemplate,
    /// Not a list of keys.
    #[error("it is no list of keys such as `ctrl-p,ctrl-q`")]
    NotKeys,
    /// Nothing a sandbox can be called.
    #[error("it is not a name")]
    NotAName,
    /// -1 means "unchanged" to the kernel.
    #[error("4294967295 is no id")]
    NoSuchId,
    /// Not `SOFT[:HARD]`.
    #[error("it is not a limit")]
    NotALimit,
    /// The soft limit is higher.
    #[error("the soft limit is above the hard one")]
    SoftAboveHard,
    /// No such resource.
    #[error("there is no such limit")]
    UnknownLimit {
        /// The nearest there is.
        nearest: Option<&'static str>,
    },
    /// None of the words that can stand there.
    #[error("it is none of {}", quoted(.choices))]
    UnknownChoice {
        /// The nearest.
        nearest: Option<&'static str>,
        /// All.
        choices: &'static [&'static str],
    },
    /// Not a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Not a capability.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// Not a rule of who may be talked to.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Not an option of a resolver.
    #[error(transparent)]
    DnsOption(#[from] NotADnsOption),
    /// Not a port to publish.
    #[error(transparent)]
    Publish(#[from] NotPublishable),
    /// Not how fast a network may be used.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// Not `NAME:ADDRESS`.
    #[error("it is not a name, a colon and an address")]
    NotAHostEntry,
    /// Not the name of a network.
    #[error("it is not the name of a network")]
    NotANetwork,
    /// The word for one of another kind.
    #[error("that word means another network")]
    ReservedNetwork,
    /// Of the other family.
    #[error("it is no address of IPv4")]
    NotV4,
    /// So too.
    #[error("it is no address of IPv6")]
    NotV6,
    /// Not a name that a sandbox can be found by.
    #[error("it is no name to be found by on a network")]
    NotAnAlias,
    /// Not the name of a variable.
    #[error("it is not the name of a variable")]
    NotAVariable,
    /// Not where a variable leads programs.
    #[error("it is not a variable, `=` and a place below `~`")]
    NotMoved,
    /// Not a host name.
    #[error("it is not a host name")]
    NotAHostname,
    /// A wildcard where it would be taken literally.
    #[error("`*` and `?` mean nothing there")]
    Wildcard,
    /// A NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
    /// Bytes that are not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// A number of a descriptor that is not above 2.
    #[error("it is not a descriptor above 2")]
    NotADescriptor,
}

fn quoted(choices: &[&str]) -> String {
    choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
}

impl ValueError {
    /// A word that is none of these.
    pub fn unknown(word: &str, choices: &'static [&'static str]) -> Self {
        Self::UnknownChoice { nearest: nearest(word, choices.iter().copied()), choices }
    }

    /// No place in a sandbox.
    pub fn inside(error: PathError) -> Self {
        if matches!(error, PathError::Relative(_)) {
            Self::RelativeInside
        } else {
            Self::Path(error)
        }
    }

    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::NotASize => "a size is a number of bytes, or has a unit: 512k, 64m, 2g",
            Self::NotADuration => {
                "a duration is a number of seconds, or has units: 90s, 1h30m, 0.5s, 7d"
            }
            Self::NotCpus => "a number with at most five digits behind the point: 2, 0.5, 1.25",
            Self::NotACpuSet => "numbers and ranges: 0-3,8",
            Self::NotRates => "as rbps=10m,wbps=5m,riops=100,wiops=100, or some of them",
            Self::NotAWeight => "everybody else has 100; twice as much is 200",
            Self::NotAUmask => "a mask has octal digits: 022, 077",
            Self::NotAUser => "write `root`, `1000`, or `1000:1000`",
            Self::NotALimit => {
                "a limit is a name and SOFT or SOFT:HARD, numbers or `unlimited`, as in nofile=1024:4096"
            }
            Self::NotAVariable => "letters, digits and `_`, not beginning with a digit",
            Self::NotMoved => "as in `CARGO_HOME=~/.cargo`, or `VARIABLE/NAME=~/PLACE`",
            Self::NotAnAlias => {
                "letters, digits, `-`, `_` and `.`; nothing that reads as an address, nor `localhost`"
            }
            Self::NotAHostname => {
                "letters, digits, `-` and `.`, at most 64, beginning with a letter or digit"
            }
            Self::RelativeInside => "a place in a sandbox begins with `/`, as in /srv/app",
            Self::Path(PathError::Relative(_)) => {
                "begin with `/`, `~/` (the home directory) or `./` (the current directory)"
            }
            Self::NotASignal => "as in TERM, SIGUSR1 or 15",
            Self::NotAMoment => "as in 2026-01-31T12:00:00Z, or 10m for ten minutes ago",
            Self::NotAName => {
                "letters, digits, `_`, `.` and `-`, at most 63, beginning with a letter or digit"
            }
            Self::NotANetwork => "letters, digits, `_`, `.` and `-`, at most 63",
            Self::ReservedNetwork => {
                "`--network` and listings know it: take another name; `bridge` needs no making"
            }
            Self::NotAHostEntry => "as in `db.example.org:192.0.2.7`",
            Self::Rule(error) => return error.hint(),
            Self::Publish(error) => return error.hint(),
            Self::Rate(error) => error.hint(),
            Self::UnknownLimit { nearest: None } => return Some(all_limits()),
            Self::UnknownChoice { nearest: Some(nearest), .. }
            | Self::UnknownLimit { nearest: Some(nearest) } => {
                return Some(format!("did you mean `{nearest}`?"));
            }
            _ => return None,
        };
        Some(fixed.to_owned())
    }
}

fn all_limits() -> String {
    format!("there are: {}", Resource::ALL.map(Resource::name).join(", "))
}

/// The nearest of some words, when one is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no slips of the hand, and the comparison takes the product of both lengths.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (likeness(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1. Two letters of a short word in the wrong order are a slip of the hand too: the measure finds nothing
/// that they have in common.
fn likeness(word: &str, candidate: &str) -> f64 {
    let sorted = |word: &str| {
        let mut letters = word.as_bytes().to_vec();
        letters.sort_unstable();
        letters
    };
    if word.len() > 2
        && strsim::osa_distance(word, candidate) == 1
        && sorted(word) == sorted(candidate)
    {
        return 0.9;
    }
    strsim::jaro_winkler(word, candidate)
}

/// Whether it is written as a number below 0, whatever its unit.
pub(super) fn is_negative(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or_default();
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

/// Bytes: `1048576`, `1024k`, `1m`, `1MiB`.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    if is_negative(text) {
        return Err(ValueError::Zero);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(ValueError::NotASize),
    };
    if number.is_empty() {
        return Err(ValueError::NotASize);
    }
    let number: u64 = number.parse().map_err(|_| ValueError::TooLarge)?;
    // The kernel takes sizes as signed numbers.
    let size = number.checked_mul(1 << shift).filter(|size| i64::try_from(*size).is_ok());
    match size {
        Some(0) => Err(ValueError::Zero),
        Some(size) => Ok(size),
        None => Err(ValueError::TooLarge),
    }
}

/// The longest duration: timerfd counts seconds as a signed number; a century is enough.
pub const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);

/// `90`, `90s`, `1h30m`, `500ms`, `0.5s`, `2d`; more than 0.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    if is_negative(text) {
        return Err(ValueError::Zero);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(letters);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "" if digits == text.len() => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(ValueError::NotADuration),
        };
        total = total.checked_add(times(number, milliseconds)?).ok_or(ValueError::TooLarge)?;
        rest = after;
    }
    match () {
        () if text.is_empty() => Err(ValueError::Empty),
        () if total.is_zero() => Err(ValueError::Zero),
        () if total > LONGEST => Err(ValueError::TooLarge),
        () => Ok(total),
    }
}

/// So many times so many milliseconds, for a number that may have digits behind a point; what is less than a nanosecond
/// is nothing.
fn times(number: &str, milliseconds: u64) -> Result<Duration, ValueError> {
    let (whole, behind) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || behind.is_empty() || behind.contains('.') {
        return Err(ValueError::NotADuration);
    }
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(milliseconds));
    let behind: u64 = format!("{behind:0<9.9}").parse().map_err(|_| ValueError::NotADuration)?;
    let part = u128::from(behind) * u128::from(milliseconds) / 1000;
    let part = u64::try_from(part).ok().map(Duration::from_nanos);
    let whole = whole.map(Duration::from_millis).ok_or(ValueError::TooLarge)?;
    part.and_then(|part| whole.checked_add(part)).ok_or(ValueError::TooLarge)
}

/// Octal, at most 0777.
pub fn parse_umask(text: &str) -> Result<u32, ValueError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotAUmask);
    }
    u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777).ok_or(ValueError::NotAUmask)
}

/// `caller`, `root`, `UID`, `UID:GID`. Without a group, the same number.
pub fn parse_user(text: &str) -> Result<User, ValueError> {
    match text {
        "caller" => return Ok(User::Caller),
        "root" | "root:root" => return Ok(User::Root),
        _ => {}
    }
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    match (parse_id(uid)?, parse_id(gid)?) {
        (0, 0) => Ok(User::Root),
        (uid, gid) => Ok(User::Numeric { uid, gid }),
    }
}

fn parse_id(text: &str) -> Result<u32, ValueError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotAUser);
    }
    match text.parse() {
        Ok(u32::MAX) => Err(ValueError::NoSuchId),
        Ok(id) => Ok(id),
        Err(_) => Err(ValueError::TooLarge),
    }
}

/// `SOFT[:HARD]`, each a number, `-1` or `unlimited`; without HARD, the same.
pub fn parse_limit(resource: Resource, text: &str) -> Result<Rlimit, ValueError> {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let (soft, hard) = (parse_bound(soft)?, parse_bound(hard)?);
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        return Err(ValueError::SoftAboveHard);
    }
    Ok(Rlimit { resource, soft, hard })
}

fn parse_bound(text: &str) -> Result<Option<u64>, ValueError> {
    if matches!(text, "-1" | "unlimited") {
        return Ok(None);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotALimit);
    }
    // The kernel's own word for "unlimited" is u64::MAX.
    match text.parse() {
        Ok(u64::MAX) | Err(_) => Err(ValueError::TooLarge),
        Ok(number) => Ok(Some(number)),
    }
}

/// The resource of a `--ulimit` or of `[limits] ulimits`.
pub fn parse_resource(name: &str) -> Result<Resource, ValueError> {
    Resource::from_name(name).ok_or_else(|| ValueError::UnknownLimit {
        nearest: nearest(name, Resource::ALL.map(Resource::name)),
    })
}

/// A whole number, 0 too.
pub fn parse_whole(text: &str) -> Result<u64, ValueError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotANumber);
    }
    text.parse().map_err(|_| ValueError::TooLarge)
}

/// A count of processes, at least 1.
pub fn parse_count(text: &str) -> Result<u64, ValueError> {
    if is_negative(text) {
        return Err(ValueError::Zero);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotANumber);
    }
    match text.parse::<u64>() {
        Ok(0) => Err(ValueError::Zero),
        // What RLIMIT_NPROC can hold beside its "unlimited"; no kernel has more pids than 2^22.
        Ok(count) if count <= 1 << 22 => Ok(count),
        _ => Err(ValueError::TooLarge),
    }
}

/// The number of a descriptor above 2.
pub fn parse_descriptor(text: &str) -> Result<u32, ValueError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotADescriptor);
    }
    // The kernel's own numbers are signed.
    match text.parse::<u32>() {
        Ok(number) if number > 2 && i32::try_from(number).is_ok() => Ok(number),
        _ => Err(ValueError::NotADescriptor),
    }
}

/// A host name: labels of letters, digits and `-`, at most 64 bytes as `sethostname(2)` takes.
pub fn check_hostname(name: &str) -> Result<(), ValueError> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.len() <= 64 && name.split('.').all(label) {
        Ok(())
    } else {
        Err(ValueError::NotAHostname)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_binary_units() {
        assert_eq!(parse_size("64m"), Ok(64 << 20));
        assert_eq!(parse_size("1KiB"), Ok(1024));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "m", "1.5g", "1x", " 1", "1 m", "0x10"] {
            assert_eq!(parse_size(bad), Err(ValueError::NotASize), "{bad}");
        }
        for none in ["0", "-1", "-5k", "-.5"] {
            assert_eq!(parse_size(none), Err(ValueError::Zero), "{none}");
        }
        assert_eq!(parse_size("9223372036854775808"), Err(ValueError::TooLarge));
        assert_eq!(parse_size("99999999999999999999"), Err(ValueError::TooLarge));
        assert_eq!(parse_size("8388608t"), Err(ValueError::TooLarge));
    }

    #[test]
    fn a_duration_has_units_or_is_seconds() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1h1.5m"), Ok(Duration::from_secs(3690)));
        assert_eq!(parse_duration("0.0000000019s"), Ok(Duration::from_nanos(1)));
        assert_eq!(parse_duration("0.0s"), Err(ValueError::Zero));
        for bad in ["s", "1h30", "1 h", "1.s", ".5s", ".", "1..5s", "1.5.5s", "5S", "1y"] {
            assert_eq!(parse_duration(bad), Err(ValueError::NotADuration), "{bad}");
        }
        assert_eq!(parse_duration(""), Err(ValueError::Empty));
        assert_eq!(parse_duration("0"), Err(ValueError::Zero));
        assert_eq!(parse_duration("-1h"), Err(ValueError::Zero));
        assert_eq!(parse_duration("99999999999999999999d"), Err(ValueError::TooLarge));
        assert_eq!(parse_duration("9999999d"), Err(ValueError::TooLarge));
    }

    #[test]
    fn a_user_is_a_word_or_numbers() {
        assert_eq!(parse_user("root"), Ok(User::Root));
        assert_eq!(parse_user("0"), Ok(User::Root));
        assert_eq!(parse_user("0:5"), Ok(User::Numeric { uid: 0, gid: 5 }));
        assert_eq!(parse_user("1000"), Ok(User::Numeric { uid: 1000, gid: 1000 }));
        for bad in ["", ":", "1:", "alice", "1:2:3", "+1", "-1", "1 "] {
            assert_eq!(parse_user(bad), Err(ValueError::NotAUser), "{bad}");
        }
        assert_eq!(parse_user("4294967295"), Err(ValueError::NoSuchId));
        assert_eq!(parse_user("4294967296"), Err(ValueError::TooLarge));
    }

    #[test]
    fn a_limit_has_a_soft_and_a_hard_bound() {
        let limit = |soft, hard| Ok(Rlimit { resource: Resource::Nofile, soft, hard });
        let parse = |text| parse_limit(Resource::Nofile, text);
        assert_eq!(parse("1024"), limit(Some(1024), Some(1024)));
        assert_eq!(parse("10:unlimited"), limit(Some(10), None));
        assert_eq!(parse("-1"), limit(None, None));
        assert_eq!(parse("unlimited:10"), Err(ValueError::SoftAboveHard));
        assert_eq!(parse("10:"), Err(ValueError::NotALimit));
        assert_eq!(parse("-2"), Err(ValueError::NotALimit));
        assert_eq!(parse("18446744073709551615"), Err(ValueError::TooLarge));
    }

    #[test]
    fn masks_and_names_are_bounded() {
        assert_eq!(parse_umask("022"), Ok(0o22));
        for bad in ["", "8", "1000", "0o22", "-1", "+7"] {
            assert_eq!(parse_umask(bad), Err(ValueError::NotAUmask), "{bad}");
        }
        assert!(check_hostname("a.b-c").is_ok());
        for bad in ["", "-a", "a-", "a..b", "a_b", "a\nb", &"a".repeat(65)] {
            assert!(check_hostname(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_count("4096"), Ok(4096));
        assert_eq!(parse_count("0"), Err(ValueError::Zero));
        assert_eq!(parse_count("-2"), Err(ValueError::Zero));
        assert_eq!(parse_count("99999999"), Err(ValueError::TooLarge));
        assert_eq!(parse_count("1e3"), Err(ValueError::NotANumber));
    }
}
