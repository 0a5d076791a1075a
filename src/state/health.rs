//! Whether a sandbox is well: what its checks said, and what follows.
//!
//! # Theory of operation
//! `live/ID/health`, one JSON object, which the supervisor writes anew after each check; at the end of the run it goes
//! into the record. What a check wrote is kept as text of [`MOST_OUTPUT`] bytes at most, of the last [`MOST_CHECKS`].
//!
//! # Not here
//! Running the checks (`supervise`).
//!
//! # Decisions
//! - What cannot be written (the disk is full) is not: the next check writes it again, and the sandbox goes on.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use serde::{Deserialize, Serialize};

use super::error::StateError;
use super::found::Found;
use super::sandbox::{SandboxDirectory, write_all};
use super::timestamp::Timestamp;

const FILE: &str = "health";
const NEW: &str = "health.new";
/// The most that is read of it: the payload has no way to it, and what it holds is bounded.
const LONGEST: u64 = 1 << 20;

/// Checks of which the output is kept, as with Docker.
pub const MOST_CHECKS: usize = 5;
/// Bytes that are kept of what one wrote, as with Docker.
pub const MOST_OUTPUT: usize = 4096;

/// Whether it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody knows yet.
    Starting,
    /// It is.
    Healthy,
    /// It is not.
    Unhealthy,
}

impl Status {
    /// All of them, by their words.
    pub const ALL: &[(&str, Self)] =
        &[("starting", Self::Starting), ("healthy", Self::Healthy), ("unhealthy", Self::Unhealthy)];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, status)| *status == self).map_or("", |(word, _)| word)
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Its exit status; none when it was ended because it took too long.
    pub exit: Option<u8>,
    /// The beginning of what it wrote.
    pub output: String,
}

impl Check {
    fn succeeded(&self) -> bool {
        self.exit == Some(0)
    }
}

/// What is known of a sandbox's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it is well.
    pub status: Status,
    /// Failures since the last success.
    pub failing: u32,
    /// The last checks, oldest first.
    pub checks: Vec<Check>,
}

/// Whether a failure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// It began so long ago that it does.
    Over,
    /// It does not, in a sandbox that was never well.
    Lasts,
}

impl Health {
    /// Of a sandbox that begins.
    pub fn starting() -> Self {
        Self { status: Status::Starting, failing: 0, checks: Vec::new() }
    }

    /// What follows from a check, where `retries` failures in a row are too many.
    pub fn learn(&mut self, check: Check, retries: u32, grace: Grace) {
        let before = self.status;
        if check.succeeded() {
            (self.status, self.failing) = (Status::Healthy, 0);
        } else if before != Status::Starting || grace == Grace::Over {
            self.failing = self.failing.saturating_add(1);
            if self.failing >= retries {
                self.status = Status::Unhealthy;
            }
        }
        if self.checks.len() >= MOST_CHECKS {
            self.checks.remove(0);
        }
        self.checks.push(check);
    }
}

impl SandboxDirectory {
    /// Writes it beside the last one and over it.
    pub fn write_health(&self, health: &Health) -> Result<(), StateError> {
        let failed = |source| StateError::WriteRecord { id: self.id(), source };
        let text = serde_json::to_vec(health)
            .map_err(|source| StateError::EncodeRecord { id: self.id(), source })?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = self.descriptor();
        let file = openat(directory, NEW, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        write_all(&file, &text)
            .and_then(|()| renameat(directory, NEW, directory, FILE))
            .map_err(failed)
    }

    /// What was written last, which is not kept beside the record any longer; none where nothing was.
    pub fn take_health(&self) -> Option<Health> {
        let health = read(self.descriptor());
        for name in [FILE, NEW] {
            // What is left of it goes with the sandbox, or is written over by its next run.
            unlinkat(self.descriptor(), name, AtFlags::empty()).unwrap_or_default();
        }
        health
    }
}

impl Found {
    /// What the supervisor of one that runs wrote last.
    pub fn health(&self) -> Option<Health> {
        let (directory, _) = self.open().ok()??;
        read(&directory)
    }
}

/// None for what means nothing.
fn read(directory: impl AsFd) -> Option<Health> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, FILE, flags, Mode::empty()).ok()?;
    let mut text = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(exit: Option<u8>) -> Check {
        let now = Timestamp::from_nanoseconds(0);
        Check { began: now, ended: now, exit, output: String::new() }
    }

    #[test]
    fn failures_in_a_row_make_it_ill_and_one_success_well() {
        let mut health = Health::starting();
        let mut learn = |exit, grace| {
            health.learn(check(exit), 2, grace);
            health.status
        };
        // In the time of grace failures do not count, until something succeeded.
        assert_eq!(learn(Some(1), Grace::Lasts), Status::Starting);
        assert_eq!(learn(None, Grace::Lasts), Status::Starting);
        assert_eq!(learn(Some(0), Grace::Lasts), Status::Healthy);
        assert_eq!(learn(Some(1), Grace::Lasts), Status::Healthy);
        assert_eq!(learn(Some(0), Grace::Lasts), Status::Healthy);
        assert_eq!(learn(None, Grace::Lasts), Status::Healthy);
        assert_eq!(learn(Some(3), Grace::Over), Status::Unhealthy);
        assert_eq!(learn(Some(3), Grace::Over), Status::Unhealthy);
        assert_eq!(learn(Some(0), Grace::Over), Status::Healthy);
        assert_eq!(health.checks.len(), MOST_CHECKS);
        assert_eq!(health.failing, 0);
        let mut health = Health::starting();
        health.learn(check(Some(1)), 1, Grace::Over);
        assert_eq!(health.status, Status::Unhealthy);
    }
}
