//! Who the payload is, inside and outside.

use serde::{Deserialize, Serialize};

/// The identity inside and how many ids exist there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// Who the payload is inside.
    pub user: User,
    /// How many ids are mapped.
    pub mode: IdMode,
}

/// The payload's user inside the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum User {
    /// The caller's own ids.
    #[default]
    Caller,
    /// 0:0. Over the host's tree this needs an overlay that shows every file as root's.
    Root,
    /// Given numbers. Without a group, the same number as the user.
    Numeric {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
    },
}

/// How ids inside relate to ids outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdMode {
    /// One id, the caller's: needs no helper. Supplementary groups stay and cannot be dropped.
    #[default]
    Single,
    /// The caller's ranges of `/etc/subuid` and `/etc/subgid` too, through `newuidmap` and
    /// `newgidmap`. Supplementary groups are dropped.
    Subid,
}
