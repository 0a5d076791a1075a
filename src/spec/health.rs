//! How a sandbox is asked whether it is well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text::Text;

/// A command that is run in the sandbox again and again: its status 0 says that all is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// For the sandbox's `/bin/sh -c`.
    pub command: Text,
    /// From the end of one check to the next.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// So long after the start failures do not count, unless a check succeeded before.
    pub start_period: Duration,
    /// From one check to the next in that time.
    pub start_interval: Duration,
    /// So many failures in a row are an ill sandbox; at least 1.
    pub retries: u32,
}

impl Health {
    /// As Docker's, as all that follow.
    pub const INTERVAL: Duration = Duration::from_secs(30);
    /// See there.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// See there.
    pub const START_INTERVAL: Duration = Duration::from_secs(5);
    /// See there.
    pub const RETRIES: u32 = 3;
}
