//! `--health-cmd` and what belongs to it: whether the sandbox is well.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{is_set, one, one_parsed, switch, text, value};
use crate::profile::health::{Checks, parse_period, parse_retries};
use crate::profile::value::parse_duration;
use crate::spec::Spec;

/// Flags that say more of a check.
const MORE: [(&str, &str); 5] = [
    ("health-interval", "--health-interval"),
    ("health-timeout", "--health-timeout"),
    ("health-retries", "--health-retries"),
    ("health-start-period", "--health-start-period"),
    ("health-start-interval", "--health-start-interval"),
];

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "health-cmd",
            "COMMAND",
            "Run this in its shell from time to time: it is healthy while that ends with 0",
        ),
        value("health-interval", "TIME", "From one check to the next; 30s otherwise"),
        value("health-timeout", "TIME", "A check that takes longer has failed; 30s otherwise"),
        value("health-retries", "N", "So many failures in a row make it unhealthy; 3 otherwise"),
        value(
            "health-start-period",
            "TIME",
            "So long failures do not count, until a success; 0 otherwise",
        ),
        value(
            "health-start-interval",
            "TIME",
            "From one check to the next in that time; 5s otherwise",
        ),
        switch("no-healthcheck", "Do not ask, whatever the profile says"),
    ]
}

/// `profile` is what the profile says of it.
pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    profile: Checks,
) -> Result<(), CliError> {
    let command = one(matches, "health-cmd");
    let more = MORE.iter().find(|(id, _)| matches.contains_id(id)).map(|(_, flag)| *flag);
    if is_set(matches, "no-healthcheck") {
        let other = command.map(|_| "--health-cmd").or(more);
        return match other {
            Some(other) => Err(CliError::Contradiction {
                one: "--no-healthcheck".to_owned(),
                other: other.to_owned(),
            }),
            None => Ok(()),
        };
    }
    let command =
        command.map(|given| text("--health-cmd", given).map(str::to_owned)).transpose()?;
    let [interval, timeout, retries, period, start] = MORE;
    let time =
        |(id, flag): (&'static str, &'static str)| one_parsed(matches, id, flag, parse_duration);
    let checks = profile.merge(Checks {
        // Who asks for one has one.
        disable: command.is_some().then_some(false),
        command,
        interval: time(interval)?,
        timeout: time(timeout)?,
        start_period: one_parsed(matches, period.0, period.1, parse_period)?,
        start_interval: time(start)?,
        retries: one_parsed(matches, retries.0, retries.1, parse_retries)?,
    });
    spec.lifetime.health = checks.finish();
    match more.filter(|_| spec.lifetime.health.is_none()) {
        Some(flag) => Err(CliError::Alone { flag, needs: "--health-cmd" }),
        None => Ok(()),
    }
}
