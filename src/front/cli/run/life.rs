//! `-d --stop-signal --stop-timeout --restart --label --log-max-size`: a sandbox without its caller.

use std::ffi::OsStr;
use std::time::Duration;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{
    bad, is_set, many, one_parsed, switch, text, toggled, value, values,
};
use crate::ops::stop::SignalNumber;
use crate::profile::health::parse_period;
use crate::profile::value::{LONGEST, ValueError, parse_count, parse_size};
use crate::spec::command::Keep;
use crate::spec::{Detached, Restart, Spec};

pub(super) const HEADING: &str = "Without you";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        switch(
            "detach",
            "Print its id once it runs, and leave it alone; `bryo logs` shows what it wrote",
        )
        .short('d'),
        value("restart", "WHEN", "Run it again: no, on-failure[:N], always, unless-stopped"),
        value("stop-signal", "SIGNAL", "What asks it to end; TERM otherwise"),
        value(
            "stop-timeout",
            "TIME",
            "How long it may take then before it is killed; 10s otherwise, -1 for ever",
        ),
        value(
            "log-max-size",
            "SIZE",
            "Keep at least so much of what it writes, 16 bytes more for each write included; 16m otherwise",
        ),
        values("label", "NAME[=VALUE]", "Write this on it, for `bryo ps --filter label=…`")
            .short('l'),
    ]
}

/// How long is waited for the end; Docker's word for never is a century.
fn patience(text: &str) -> Result<Duration, ValueError> {
    if text == "-1" { Ok(LONGEST) } else { parse_period(text) }
}

/// Flags that mean something for a detached sandbox alone.
const APART: &[(&str, &str)] = &[("restart", "--restart"), ("log-max-size", "--log-max-size")];

/// Flags that the one who waits for the end carries out.
const WAITING: &[&str] = &["report", "apply-on-success", "learn-network"];

pub(super) fn apply(matches: &ArgMatches, spec: &mut Spec) -> Result<(), CliError> {
    let life = &mut spec.lifetime;
    life.stop.signal =
        one_parsed(matches, "stop-signal", "--stop-signal", parse_signal)?.map(SignalNumber::raw);
    life.stop.timeout = one_parsed(matches, "stop-timeout", "--stop-timeout", patience)?;
    for given in many(matches, "label") {
        let (name, label) = read_label(given)?;
        life.labels.insert(name, label);
    }
    if !is_set(matches, "detach") {
        return match APART.iter().find(|(id, _)| matches.contains_id(id)) {
            Some((_, flag)) => Err(CliError::Alone { flag, needs: "--detach" }),
            None => Ok(()),
        };
    }
    let typed = |id: &str| matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    if let Some(other) = WAITING.iter().chain(&super::service::IDS).find(|id| typed(id)) {
        let (one, other) = ("--detach".to_owned(), format!("--{other}"));
        return Err(CliError::Contradiction { one, other });
    }
    life.detached = Some(Detached {
        input: toggled(matches, "interactive", "--interactive")? == Some(true),
        log: one_parsed(matches, "log-max-size", "--log-max-size", parse_log_size)?
            .unwrap_or(Detached::LOG),
    });
    life.restart = one_parsed(matches, "restart", "--restart", parse_restart)?.unwrap_or_default();
    if life.restart != Restart::No && life.keep == Keep::Nothing {
        let (one, other) = ("--restart".to_owned(), "--rm".to_owned());
        return Err(CliError::Contradiction { one, other });
    }
    Ok(())
}

/// `NAME=VALUE`, or `NAME` with nothing.
pub(in crate::front::cli) fn read_label(given: &OsStr) -> Result<(String, String), CliError> {
    let whole = text("--label", given)?;
    let (name, value) = whole.split_once('=').unwrap_or((whole, ""));
    if name.is_empty() {
        return Err(bad("--label", given, ValueError::Empty));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// A name or a number.
pub(in crate::front::cli) fn parse_signal(text: &str) -> Result<SignalNumber, ValueError> {
    text.parse().map_err(|_| ValueError::NotASignal)
}

fn parse_log_size(text: &str) -> Result<u64, ValueError> {
    parse_size(text).map(|size| size.max(Detached::LEAST_LOG))
}

fn parse_restart(text: &str) -> Result<Restart, ValueError> {
    const WORDS: &[&str] = &["no", "on-failure", "on-failure:N", "always", "unless-stopped"];
    match text.split_once(':').map_or((text, None), |(word, most)| (word, Some(most))) {
        ("no", None) => Ok(Restart::No),
        ("on-failure", most) => {
            let most = most.map(parse_count).transpose()?;
            let most = most.map(|most| u32::try_from(most).map_err(|_| ValueError::TooLarge));
            Ok(Restart::OnFailure { most: most.transpose()? })
        }
        ("always", None) => Ok(Restart::Always),
        ("unless-stopped", None) => Ok(Restart::UnlessStopped),
        (word, _) => Err(ValueError::unknown(word, WORDS)),
    }
}
