//! The payload's command, environment, descriptors, terminal, and how long it may live.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::health::Health;
use super::life::{Detached, Restart, StopOrder};
use super::path::{HostPath, SandboxPath};
use super::service::Service;
use super::text::Text;

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments; never empty. A program without a slash is looked up in the
    /// sandbox's `PATH`, inside the sandbox.
    pub argv: Vec<Text>,
    /// Where it starts; the caller's own directory when none is given.
    pub workdir: Option<SandboxPath>,
    /// Exactly the variables it gets.
    pub environment: Vec<EnvironmentVariable>,
    /// Names of the caller's variables that were not passed, for the record.
    pub not_passed: Vec<Text>,
    /// Which descriptors it gets.
    pub descriptors: Descriptors,
    /// Whether it has a terminal of its own.
    pub terminal: Terminal,
    /// Permission bits taken from new files; the caller's when none is given.
    pub umask: Option<u32>,
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentVariable {
    /// Without `=` and NUL, not empty.
    pub name: Text,
    /// Without NUL.
    pub value: Text,
}

/// Descriptors beyond 0 to 2, which are classified at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptors {
    /// Numbers of open descriptors of the caller that the payload gets under the same numbers.
    pub pass: Vec<u32>,
}

/// Whether the payload gets a pseudo-terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Terminal {
    /// One in place of each of 0 to 2 that is a terminal of the caller.
    #[default]
    Auto,
    /// Always one, as `docker run -t`.
    Always,
    /// Never one: descriptors that are terminals are relayed through pipes.
    Never,
}

/// How the run ends and what stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetime {
    /// What happens to record and layer afterwards.
    pub keep: Keep,
    /// The payload is killed after this time, exit status 124.
    pub timeout: Option<Duration>,
    /// The sandbox whose layers the run goes on with: its name, its id, or the beginning of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Text>,
    /// Where the record is also written as JSON.
    pub report: Option<HostPath>,
    /// Without a caller, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detached: Option<Detached>,
    /// How it is asked to end.
    #[serde(default, skip_serializing_if = "StopOrder::is_default")]
    pub stop: StopOrder,
    /// Whether it is started once more.
    #[serde(default, skip_serializing_if = "is_no")]
    pub restart: Restart,
    /// How it is asked whether it is well, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What was written on it, `NAME=VALUE`: for those who look for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it is to a service manager that started it, if it is anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_no(restart: &Restart) -> bool {
    restart.is_no()
}

/// What stays after the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Record and layer when something was written, nothing otherwise.
    #[default]
    IfWritten,
    /// Nothing (`--rm`).
    Nothing,
}
