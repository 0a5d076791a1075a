//! Programs of others that carry packets between a network namespace and sockets of the host.

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// passt(1), as `pasta`.
    Pasta,
    /// slirp4netns(1).
    Slirp4netns,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pasta, Self::Slirp4netns];

    /// Its program, which is also what `--network` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// The package that brings it, called the same by every distribution.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Pasta => "passt",
            Self::Slirp4netns => "slirp4netns",
        }
    }
}
