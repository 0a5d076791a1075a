//! `--memory --cpus …`: how much the payload may use, as far as it takes a control group.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, choice, many, one, one_parsed, parsed, value, values};
use crate::front::cli::surroundings::Surroundings;
use crate::profile::group::{
    CGROUPS, parse_ceiling, parse_cpu_set, parse_cpus, parse_memory, parse_rates, parse_weight,
    swap,
};
use crate::profile::settings::Ceiling;
use crate::profile::value::ValueError;
use crate::spec::group::{Bound, Group, IoMax};
use crate::spec::{Need, Spec};

pub(super) fn flags() -> Vec<Arg> {
    let negative = |arg: Arg| arg.allow_negative_numbers(true);
    vec![
        negative(value("memory", "SIZE", "At most so much memory; what takes more is killed"))
            .short('m'),
        negative(value(
            "memory-swap",
            "SIZE",
            "Memory and swap space together; twice --memory otherwise, -1 for any",
        )),
        negative(value("memory-high", "SIZE", "Beyond so much memory it is slowed down")),
        negative(value("cpus", "N", "Processor time, as 1.5; -1 for any")),
        value("cpu-weight", "N", "Share where processors are short: 1 to 10000, others have 100"),
        value("io-weight", "N", "Share where disks are short: 1 to 10000, others have 100"),
        values("io-max", "PLACE:RATES", "How fast the disk of a place is used: rbps=10m,wiops=50"),
        value(
            "cgroup",
            "WHOSE",
            "private: it makes control groups of its own, in /sys/fs/cgroup; none, if not said",
        ),
        value("cpuset-cpus", "LIST", "Run on these processors alone, as 0-3,8"),
    ]
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    let group = &mut spec.limits.group;
    apply_memory(matches, group)?;
    if let Some(time) = ceiling(matches, "cpus", "--cpus", parse_cpus)? {
        group.cpu_time = bound(time);
    }
    if let Some(weight) = one_parsed(matches, "cpu-weight", "--cpu-weight", parse_weight)? {
        group.cpu_weight = Some(Bound::required(weight));
    }
    let own = choice(CGROUPS, &[None, Some(Need::Required)]);
    if let Some(own) = one_parsed(matches, "cgroup", "--cgroup", own)? {
        group.private = own;
    }
    if let Some(cpus) = one_parsed(matches, "cpuset-cpus", "--cpuset-cpus", parse_cpu_set)? {
        group.cpus = Some(Bound::required(cpus));
    }
    if let Some(weight) = one_parsed(matches, "io-weight", "--io-weight", parse_weight)? {
        group.io_weight = Some(Bound::required(weight));
    }
    for (number, text) in many(matches, "io-max").enumerate() {
        if number == 0 {
            // Two places can be on one disk, so flags do not add to what the profile says.
            group.io.clear();
        }
        let io = io_max(text, caller)?;
        if group.io.iter().any(|known| known.at == io.at) {
            return Err(CliError::Repeated(format!("--io-max {}", io.at)));
        }
        group.io.push(io);
    }
    Ok(())
}

/// What stands behind the last colon are rates: a place may have colons in it.
fn io_max(value: &OsStr, caller: &Surroundings) -> Result<IoMax, CliError> {
    let flag = "--io-max";
    let at = value.as_bytes().iter().rposition(|byte| *byte == b':');
    let (place, rates) = at
        .and_then(|at| value.as_bytes().split_at_checked(at))
        .ok_or_else(|| bad(flag, value, ValueError::NotRates))?;
    let rates = parsed(flag, OsStr::from_bytes(&rates[1..]), parse_rates)?;
    let at = caller.place(flag, OsStr::from_bytes(place))?;
    Ok(IoMax { at, rates, need: Need::Required })
}

fn apply_memory(matches: &ArgMatches, group: &mut Group) -> Result<(), CliError> {
    if let Some(high) = ceiling(matches, "memory-high", "--memory-high", parse_memory)? {
        group.memory_high = bound(high);
    }
    let memory = ceiling(matches, "memory", "--memory", parse_memory)?;
    if let Some(memory) = memory {
        group.memory = bound(memory);
    }
    let both = ceiling(matches, "memory-swap", "--memory-swap", parse_memory)?;
    match (&group.memory, both) {
        (None, Some(Ceiling::At(_))) => {
            return Err(CliError::Alone { flag: "--memory-swap", needs: "--memory" });
        }
        (Some(memory), Some(Ceiling::At(both))) if both < memory.at => {
            let text = one(matches, "memory-swap").unwrap_or_default();
            return Err(bad("--memory-swap", text, ValueError::LessThanMemory));
        }
        _ => {}
    }
    if memory.is_some() || both.is_some() {
        group.swap = swap(group.memory.as_ref(), both, Need::Required);
    }
    Ok(())
}

fn bound(ceiling: Ceiling) -> Option<Bound<u64>> {
    match ceiling {
        Ceiling::Unlimited => None,
        Ceiling::At(at) => Some(Bound::required(at)),
    }
}

fn ceiling(
    matches: &ArgMatches,
    id: &'static str,
    flag: &'static str,
    parse: fn(&str) -> Result<u64, ValueError>,
) -> Result<Option<Ceiling>, CliError> {
    one_parsed(matches, id, flag, |text| parse_ceiling(text, parse))
}
