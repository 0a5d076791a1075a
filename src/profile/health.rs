//! `[health]`: how a sandbox is asked whether it is well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Located;
use super::read::{Cursor, each_key};
use super::settings::Settings;
use super::value::{ValueError, is_negative, parse_count, parse_duration};
use crate::spec::Health;

/// What was said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Checks {
    /// Whether there are none, whatever else is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
    /// For the sandbox's `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// From the end of one to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How long one may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long failures do not count after the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Duration>,
    /// From one to the next in that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Duration>,
    /// How many failures in a row are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

const KEYS: &[&str] =
    &["disable", "command", "interval", "timeout", "start-period", "start-interval", "retries"];

impl Checks {
    /// What holds when `later` is said after it.
    #[must_use]
    pub fn merge(self, later: Self) -> Self {
        Self {
            disable: later.disable.or(self.disable),
            command: later.command.or(self.command),
            interval: later.interval.or(self.interval),
            timeout: later.timeout.or(self.timeout),
            start_period: later.start_period.or(self.start_period),
            start_interval: later.start_interval.or(self.start_interval),
            retries: later.retries.or(self.retries),
        }
    }

    /// Completes it; none without a command, or where there is to be none.
    pub fn finish(self) -> Option<Health> {
        let command = self.command.filter(|_| self.disable != Some(true))?;
        Some(Health {
            command: command.as_str().into(),
            interval: self.interval.unwrap_or(Health::INTERVAL),
            timeout: self.timeout.unwrap_or(Health::TIMEOUT),
            start_period: self.start_period.unwrap_or_default(),
            start_interval: self.start_interval.unwrap_or(Health::START_INTERVAL),
            retries: self.retries.unwrap_or(Health::RETRIES),
        })
    }
}

/// How many failures; at least 1.
pub fn parse_retries(text: &str) -> Result<u32, ValueError> {
    parse_count(text)?.try_into().map_err(|_| ValueError::TooLarge)
}

/// As a duration, and 0.
pub fn parse_period(text: &str) -> Result<Duration, ValueError> {
    match parse_duration(text) {
        Err(ValueError::Zero) if !is_negative(text) => Ok(Duration::ZERO),
        other => other,
    }
}

pub(super) fn read_health(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    let checks = &mut settings.health;
    each_key(at.table()?, "in `[health]`", KEYS, |at| {
        match at.key() {
            "disable" => checks.disable = Some(at.boolean()?),
            "command" => {
                let command = |text: &str| match text {
                    "" => Err(ValueError::Empty),
                    text => Ok(text.to_owned()),
                };
                checks.command = Some(at.parsed(command)?);
            }
            "interval" => checks.interval = Some(at.number_or_text(parse_duration)?),
            "timeout" => checks.timeout = Some(at.number_or_text(parse_duration)?),
            "start-period" => checks.start_period = Some(at.number_or_text(parse_period)?),
            "start-interval" => checks.start_interval = Some(at.number_or_text(parse_duration)?),
            _ => checks.retries = Some(at.number_or_text(parse_retries)?),
        }
        Ok(())
    })
}
