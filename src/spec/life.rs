//! How a sandbox lives without its caller: detached, stopped, started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A sandbox that goes on when the command that started it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detached {
    /// Whether its standard input stays open, for those who attach; empty otherwise.
    pub input: bool,
    /// Bytes of output that are kept at least; the log takes twice as much of the disk at most.
    pub log: u64,
}

impl Detached {
    /// What is kept of the output unless told otherwise: 16 MiB.
    pub const LOG: u64 = 16 << 20;
    /// The least that can be asked for: 64 KiB, as much as is written at once.
    pub const LEAST_LOG: u64 = 64 << 10;
}

impl Default for Detached {
    fn default() -> Self {
        Self { input: false, log: Self::LOG }
    }
}

/// How it is asked to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// The signal, 1 to 64; SIGTERM if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it may take before it is killed; [`StopOrder::PATIENCE`] if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl StopOrder {
    /// As Docker's.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How long it may take.
    pub fn patience(&self) -> Duration {
        self.timeout.unwrap_or(Self::PATIENCE)
    }
}

/// When a detached sandbox is started once more by its supervisor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When it failed, so many times at most.
    OnFailure {
        /// Any number of times if none.
        most: Option<u32>,
    },
    /// Whenever it ended, unless somebody stopped it.
    Always,
    /// The same: there is no daemon that would start again what was stopped before.
    UnlessStopped,
}

/// The shortest time between an end and the next start.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_mins(1);
/// A run of this length was a good one: the time begins anew with the shortest.
const GOOD: Duration = Duration::from_secs(10);

impl Restart {
    /// Whether it is never started again.
    pub fn is_no(self) -> bool {
        self == Self::No
    }

    /// Whether a run that ended with `code` is followed by another, after `count` restarts.
    pub fn is_due(self, code: u8, count: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { most } => code != 0 && most.is_none_or(|most| count < most),
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// How long to wait before the next start, when the last wait was `before` and the run took `ran`.
    pub fn pause(before: Duration, ran: Duration) -> Duration {
        if ran >= GOOD || before.is_zero() { SHORTEST } else { (before * 2).min(LONGEST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_are_followed_by_another_run_when_that_was_asked() {
        let policy = Restart::OnFailure { most: Some(2) };
        assert!(policy.is_due(1, 0) && policy.is_due(137, 1));
        assert!(!policy.is_due(1, 2) && !policy.is_due(0, 0));
        assert!(Restart::OnFailure { most: None }.is_due(1, u32::MAX));
        assert!(Restart::Always.is_due(0, 9) && Restart::UnlessStopped.is_due(0, 9));
        assert!(!Restart::No.is_due(1, 0));
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_begins_anew_after_a_good_run() {
        let bad = Duration::from_millis(5);
        let mut pause = Duration::ZERO;
        let pauses: Vec<u128> = (0..12)
            .map(|_| {
                pause = Restart::pause(pause, bad);
                pause.as_millis()
            })
            .collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[10..], [60_000, 60_000]);
        assert_eq!(Restart::pause(pause, Duration::from_secs(10)), SHORTEST);
    }
}
