//! `--pids-limit --ulimit --timeout`: how much the payload may use.

use std::ffi::OsStr;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, many, one_parsed, quoted, text, value, values};
use crate::profile::group::parse_ceiling;
use crate::profile::settings::Ceiling;
use crate::profile::value::{
    ValueError, parse_count, parse_duration, parse_limit, parse_resource, parse_size,
};
use crate::spec::group::Bound;
use crate::spec::limits::Resource;
use crate::spec::{Need, Rlimit, Spec};

pub(super) const HEADING: &str = "Limits";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value("pids-limit", "N", "At most so many processes and threads; -1 for any number")
            .allow_negative_numbers(true),
        value(
            "disk",
            "SIZE",
            "At most so much is written, to copies and private places; memory holds it until the end; -1 for any",
        )
        .allow_negative_numbers(true),
        values("ulimit", "NAME=SOFT[:HARD]", "A limit of setrlimit(2), as nofile=1024 or core=0"),
        value("timeout", "TIME", "Kill it after this time, as 90s or 1h30m; exit status 124"),
    ]
}

pub(super) fn apply(matches: &ArgMatches, spec: &mut Spec) -> Result<(), CliError> {
    let ceiling = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        count => parse_count(count).map(Some),
    };
    if let Some(processes) = one_parsed(matches, "pids-limit", "--pids-limit", ceiling)? {
        spec.limits.processes = processes;
        spec.limits.processes_need = Need::Required;
    }
    let size = |text: &str| parse_ceiling(text, parse_size);
    match one_parsed(matches, "disk", "--disk", size)? {
        Some(Ceiling::At(size)) => spec.limits.disk = Some(Bound::required(size)),
        Some(Ceiling::Unlimited) => spec.limits.disk = None,
        None => {}
    }
    let mut seen: Vec<Resource> = Vec::new();
    for text in many(matches, "ulimit") {
        let limit = ulimit(text)?;
        if seen.contains(&limit.resource) {
            return Err(CliError::Repeated(format!("--ulimit {}", limit.resource.name())));
        }
        seen.push(limit.resource);
        spec.limits.rlimits.retain(|known| known.resource != limit.resource);
        spec.limits.rlimits.push(limit);
    }
    if let Some(timeout) = one_parsed(matches, "timeout", "--timeout", parse_duration)? {
        spec.lifetime.timeout = Some(timeout);
    }
    Ok(())
}

fn ulimit(value: &OsStr) -> Result<Rlimit, CliError> {
    let whole = text("--ulimit", value)?;
    let wrong = |source| bad("--ulimit", value, source);
    let (name, bounds) = whole.split_once('=').ok_or_else(|| wrong(ValueError::NotALimit))?;
    let resource = parse_resource(name).map_err(wrong)?;
    if resource == Resource::Nproc {
        return Err(CliError::Unusable {
            flag: "--ulimit",
            value: quoted(whole),
            why: "processes are counted by `--pids-limit`, with the same limit of the kernel",
            instead: "write `--pids-limit N`",
        });
    }
    parse_limit(resource, bounds).map_err(wrong)
}
