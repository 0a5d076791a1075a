//! The keys of `[limits]` that take a control group, and their values as text.

use serde::{Deserialize, Serialize};

use super::error::Located;
use super::read::Cursor;
use super::settings::Ceiling;
use super::value::{ValueError, is_negative, parse_size};
use crate::spec::group::{Bound, CPU_PERIOD, CpuSet, Group, IoMax, IoRates};
use crate::spec::rootfs::Pattern;
use crate::spec::{Need, Text};

/// Who makes control groups: nobody, or the payload in one of its own.
pub const CGROUPS: &[&str] = &["none", "private"];

/// What a control group bounds, as far as a profile says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupBounds {
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Ceiling>,
    /// Bytes of memory and swap space together, as Docker counts.
    #[serde(rename = "memory-swap", skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<Ceiling>,
    /// Bytes.
    #[serde(rename = "memory-high", skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<Ceiling>,
    /// Microseconds of a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Ceiling>,
    /// 1 to 10000.
    #[serde(rename = "cpu-weight", skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u64>,
    /// Which processors.
    #[serde(rename = "cpuset-cpus", skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<CpuSet>,
    /// 1 to 10000.
    #[serde(rename = "io-weight", skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u64>,
    /// How fast the disks of places are used, each place once.
    #[serde(rename = "io-max", skip_serializing_if = "Option::is_none")]
    pub io_max: Option<Vec<(Pattern, IoRates)>>,
    /// Whether the payload makes groups of its own.
    #[serde(rename = "cgroup", skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// What happens where they cannot be enforced.
    #[serde(rename = "cgroup-need", skip_serializing_if = "Option::is_none")]
    pub need: Option<Need>,
}

impl GroupBounds {
    /// What holds when `later` extends it.
    pub(super) fn merge(self, later: Self) -> Self {
        Self {
            memory: later.memory.or(self.memory),
            memory_swap: later.memory_swap.or(self.memory_swap),
            memory_high: later.memory_high.or(self.memory_high),
            cpus: later.cpus.or(self.cpus),
            cpu_weight: later.cpu_weight.or(self.cpu_weight),
            cpuset_cpus: later.cpuset_cpus.or(self.cpuset_cpus),
            io_weight: later.io_weight.or(self.io_weight),
            io_max: later.io_max.or(self.io_max),
            private: later.private.or(self.private),
            need: later.need.or(self.need),
        }
    }

    /// The limits, complete: nobody bounds what nobody said.
    pub(super) fn finish(self) -> Group {
        let need = self.need.unwrap_or(Need::Required);
        let at = |ceiling: Option<Ceiling>| match ceiling {
            Some(Ceiling::At(at)) => Some(Bound { at, need }),
            Some(Ceiling::Unlimited) | None => None,
        };
        Group {
            memory: at(self.memory),
            swap: swap(at(self.memory).as_ref(), self.memory_swap, need),
            memory_high: at(self.memory_high),
            cpu_time: at(self.cpus),
            cpu_weight: self.cpu_weight.map(|at| Bound { at, need }),
            cpus: self.cpuset_cpus.map(|at| Bound { at, need }),
            io_weight: self.io_weight.map(|at| Bound { at, need }),
            io: self
                .io_max
                .into_iter()
                .flatten()
                .map(|(at, rates)| IoMax { at, rates, need })
                .collect(),
            private: (self.private == Some(true)).then_some(need),
        }
    }

    /// Reads a key of `[limits]` that nothing else there reads.
    pub(super) fn read(&mut self, at: Cursor<'_, '_>) -> Result<(), Located> {
        match at.key() {
            "memory" => self.memory = Some(at.number_or_text(|t| parse_ceiling(t, parse_memory))?),
            "memory-swap" => {
                self.memory_swap = Some(at.number_or_text(|t| parse_ceiling(t, parse_memory))?);
            }
            "memory-high" => {
                self.memory_high = Some(at.number_or_text(|t| parse_ceiling(t, parse_memory))?);
            }
            "cpus" => self.cpus = Some(at.number_or_text(|t| parse_ceiling(t, parse_cpus))?),
            "cpu-weight" => self.cpu_weight = Some(at.number_or_text(parse_weight)?),
            "io-weight" => self.io_weight = Some(at.number_or_text(parse_weight)?),
            "io-max" => self.io_max = Some(read_disks(at)?),
            "cgroup" => self.private = Some(at.choice(CGROUPS, &[false, true])?),
            "cpuset-cpus" => self.cpuset_cpus = Some(at.number_or_text(parse_cpu_set)?),
            _ => {
                let needs = [Need::Required, Need::IfAvailable];
                self.need = Some(at.choice(&["required", "if-available"], &needs)?);
            }
        }
        Ok(())
    }
}

fn read_disks(at: Cursor<'_, '_>) -> Result<Vec<(Pattern, IoRates)>, Located> {
    let mut disks: Vec<(Pattern, IoRates)> = Vec::new();
    for item in at.list()? {
        let disk = item.parsed(|text| {
            // What stands behind the last colon are rates: a place may have colons in it.
            let (place, rates) = text.rsplit_once(':').ok_or(ValueError::NotRates)?;
            if place.contains(['*', '?']) {
                return Err(ValueError::Wildcard);
            }
            Ok((Pattern::new(place)?, parse_rates(rates)?))
        })?;
        if disks.iter().any(|(known, _)| *known == disk.0) {
            return Err(item.twice(Text::from(disk.0), at.key()));
        }
        disks.push(disk);
    }
    Ok(disks)
}

/// The swap space that goes with a limit of memory: as much as the memory unless said otherwise, and that only
/// where it can be counted.
pub fn swap(memory: Option<&Bound<u64>>, both: Option<Ceiling>, need: Need) -> Option<Bound<u64>> {
    let memory = memory?;
    match both {
        Some(Ceiling::Unlimited) => None,
        Some(Ceiling::At(both)) => Some(Bound { at: both.saturating_sub(memory.at), need }),
        None => Some(Bound { at: memory.at, need: Need::IfAvailable }),
    }
}

/// A value, or none at all on purpose.
pub fn parse_ceiling(
    text: &str,
    parse: impl FnOnce(&str) -> Result<u64, ValueError>,
) -> Result<Ceiling, ValueError> {
    match text {
        "unlimited" | "-1" => Ok(Ceiling::Unlimited),
        value => parse(value).map(Ceiling::At),
    }
}

/// A size that a sandbox can start in: as Docker, not less than 6 MiB.
pub fn parse_memory(text: &str) -> Result<u64, ValueError> {
    const LEAST: u64 = 6 << 20;
    match parse_size(text)? {
        size if size < LEAST => Err(ValueError::TooLittleMemory),
        size => Ok(size),
    }
}

/// A number of processors, as `1.5`: microseconds of each [`CPU_PERIOD`].
pub fn parse_cpus(text: &str) -> Result<u64, ValueError> {
    /// The kernel takes no less.
    const LEAST: u64 = CPU_PERIOD / 100;
    const MOST: u64 = 8192 * CPU_PERIOD;
    /// Digits behind the point that make a microsecond.
    const DIGITS: usize = 5;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if is_negative(text) {
        return Err(ValueError::Zero);
    }
    if whole.is_empty() && part.is_empty() || !digits(whole) || !digits(part) || part.len() > DIGITS
    {
        return Err(ValueError::NotCpus);
    }
    let whole: u64 = format!("0{whole}").parse().map_err(|_| ValueError::TooLarge)?;
    let part: u64 = format!("{part:0<DIGITS$}").parse().map_err(|_| ValueError::NotCpus)?;
    match whole.checked_mul(CPU_PERIOD).and_then(|time| time.checked_add(part)) {
        Some(0) => Err(ValueError::Zero),
        Some(time) if time < LEAST => Err(ValueError::TooFewCpus),
        Some(time) if time <= MOST => Ok(time),
        Some(_) | None => Err(ValueError::TooLarge),
    }
}

/// Processors as a profile writes them again.
pub(super) fn cpus(time: u64) -> String {
    let text = format!("{}.{:05}", time / CPU_PERIOD, time % CPU_PERIOD);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `rbps=10m,wbps=5m,riops=100,wiops=100`, at least one of them and each at most once.
pub fn parse_rates(text: &str) -> Result<IoRates, ValueError> {
    let mut rates = IoRates::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or(ValueError::NotRates)?;
        let (place, rate) = match name {
            "rbps" => (&mut rates.rbps, parse_size(value)?),
            "wbps" => (&mut rates.wbps, parse_size(value)?),
            "riops" => (&mut rates.riops, parse_requests(value)?),
            "wiops" => (&mut rates.wiops, parse_requests(value)?),
            _ => return Err(ValueError::NotRates),
        };
        if place.replace(rate).is_some() {
            return Err(ValueError::NotRates);
        }
    }
    Ok(rates)
}

/// Requests each second: the kernel counts them in 32 bits, and its own word for "any" is the highest.
fn parse_requests(text: &str) -> Result<u64, ValueError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(0) => Err(ValueError::Zero),
        Ok(count) if digits && count < u64::from(u32::MAX) => Ok(count),
        Ok(_) if digits => Err(ValueError::TooLarge),
        _ => Err(ValueError::NotRates),
    }
}

/// A share: 1 to 10000.
pub fn parse_weight(text: &str) -> Result<u64, ValueError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let weight: Option<u64> = text.parse().ok().filter(|_| digits);
    weight.filter(|weight| (1..=10_000).contains(weight)).ok_or(ValueError::NotAWeight)
}

/// Processors by number.
pub fn parse_cpu_set(text: &str) -> Result<CpuSet, ValueError> {
    text.parse().map_err(|_| ValueError::NotACpuSet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_hundred_thousandths() {
        for (text, time) in
            [("1", 100_000), ("1.5", 150_000), (".5", 50_000), ("0.01", 1000), ("2.", 200_000)]
        {
            assert_eq!(parse_cpus(text), Ok(time), "{text}");
            assert_eq!(parse_cpus(&cpus(time)), Ok(time), "{text}");
        }
        for bad in ["", ".", "1,5", "1e1", "1.000001", "a", " 1", "+1", "0x1", "1.5.0"] {
            assert_eq!(parse_cpus(bad), Err(ValueError::NotCpus), "{bad}");
        }
        assert_eq!(parse_cpus("0"), Err(ValueError::Zero));
        assert_eq!(parse_cpus("-1.5"), Err(ValueError::Zero));
        assert_eq!(parse_cpus("0.00999"), Err(ValueError::TooFewCpus));
        assert_eq!(parse_cpus("8192.1"), Err(ValueError::TooLarge));
        assert_eq!(parse_cpus("99999999999999999999"), Err(ValueError::TooLarge));
    }

    #[test]
    fn swap_space_is_counted_as_docker_does() {
        let memory = Bound::required(64);
        let swap = |both| swap(Some(&memory), both, Need::Required);
        assert_eq!(swap(None), Some(Bound { at: 64, need: Need::IfAvailable }));
        assert_eq!(swap(Some(Ceiling::At(64))), Some(Bound::required(0)));
        assert_eq!(swap(Some(Ceiling::At(100))), Some(Bound::required(36)));
        assert_eq!(swap(Some(Ceiling::Unlimited)), None);
    }

    #[test]
    fn rates_of_a_disk_have_names() {
        let rates = parse_rates("rbps=1m,wiops=7").unwrap();
        assert_eq!((rates.rbps, rates.wiops, rates.wbps), (Some(1 << 20), Some(7), None));
        assert_eq!(rates.to_string(), "rbps=1048576 wiops=7");
        for bad in
            ["", "rbps", "1m", "rbps=1m,", "rbps=1m,rbps=2m", "bps=1", "riops=1k", "riops=-1"]
        {
            assert_eq!(parse_rates(bad), Err(ValueError::NotRates), "{bad}");
        }
        assert_eq!(parse_rates("rbps=fast"), Err(ValueError::NotASize));
        assert_eq!(parse_rates("wiops=0"), Err(ValueError::Zero));
        assert_eq!(parse_rates("wiops=4294967295"), Err(ValueError::TooLarge));
    }

    #[test]
    fn weights_and_memory_have_bounds() {
        assert_eq!((parse_weight("1"), parse_weight("10000")), (Ok(1), Ok(10_000)));
        for bad in ["0", "10001", "", "-1", "+5", "1.5"] {
            assert_eq!(parse_weight(bad), Err(ValueError::NotAWeight), "{bad}");
        }
        assert_eq!(parse_memory("6m"), Ok(6 << 20));
        assert_eq!(parse_memory("5m"), Err(ValueError::TooLittleMemory));
    }
}
