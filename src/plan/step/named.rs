//! A place that was asked for by its path.

use serde::{Deserialize, Serialize};

use crate::spec::HostPath;

/// Where a path led that a flag or a profile named, or where the run was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The path, before links.
    pub asked: HostPath,
    /// After links.
    pub real: HostPath,
    /// The number that a directory has on its file system. The device is left out: that of many file systems is
    /// another after each boot, and what a payload can put in a place lies on the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<u64>,
    /// Whether it is a directory that is written straight to the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub written: bool,
}
