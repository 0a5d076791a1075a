//! What stands where on the host.

use serde::{Deserialize, Serialize};

use crate::spec::{HostPath, Text};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Mount id.
    pub id: u64,
    /// Id of the mount it stands on.
    pub parent: u64,
    /// Where, in the caller's view; unescaped.
    pub at: HostPath,
    /// File system type, as `ext4` or `fuse.sshfs`.
    pub fs_type: Text,
    /// `ro` among its own options.
    pub read_only: bool,
    /// Whether the caller can enter its root: statx on it succeeded. True when not tried.
    pub enterable: bool,
}

/// Something that is seen at two places, as a mount shows it at the second: `/data/home` that is `/home` too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twin {
    /// Its place.
    pub of: HostPath,
    /// The other one.
    pub at: HostPath,
}

impl Twin {
    /// The other place of `path`, if it lies in this; that of this, if it lies in `path`.
    pub fn name_of(&self, path: &HostPath) -> Option<HostPath> {
        let around = || self.of.is_below(path).then(|| self.at.clone());
        path.moved(&self.of, &self.at).or_else(around)
    }
}

/// A way through links to something that later runs trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// What is trusted, by the name that a later run knows.
    pub name: HostPath,
    /// The links that are followed, in their order; none stands below another link.
    pub links: Vec<HostPath>,
    /// What it ends at, where nothing else keeps that: a profile, or the folder of profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<HostPath>,
}

/// One entry of `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootEntry {
    /// Its path.
    pub path: HostPath,
    /// What it is.
    pub kind: Kind,
    /// Owned by root and writable by nobody else.
    pub only_root_writes: bool,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, with its target.
    Link(Text),
    /// A unix socket.
    Socket,
    /// A FIFO.
    Fifo,
    /// A device node.
    Device,
    /// The caller may not look.
    Forbidden,
}

/// A path of the host after links were resolved, and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// As it was asked for.
    pub asked: HostPath,
    /// After links.
    pub real: HostPath,
    /// What stands at `real`.
    pub kind: Kind,
    /// Whether owner and permission bits let the caller write there, be its mount read-only or not:
    /// a copy-on-write view of it can be written all the same.
    pub writable: bool,
    /// Whether it, or an entry to a bounded depth, belongs to an id that one mapped id cannot show
    /// and that the caller may write by a group: then copying up fails in the kernel's overlay.
    pub foreign_writable: bool,
    /// Which: the first that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<HostPath>,
    /// Magic number of its file system (`statfs`), 0 when unknown.
    pub fs_magic: u64,
    /// Bytes, for a file.
    #[serde(default)]
    pub size: u64,
    /// The number that a directory has on its file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The links that were followed to it, in their order; none stands below another link. Left out where nobody is known
    /// who could have put them there ([`Facts::written`](super::Facts::written)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<HostPath>,
}

/// The directories of the host that a run could write straight, links resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Which.
    pub places: Vec<HostPath>,
}

/// A path a pattern matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Links of its parents resolved, the last name not followed.
    pub path: HostPath,
    /// What is there.
    pub kind: Kind,
}

/// A directory of the host, as far as a merged one must look like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostDirectory {
    /// Where; links resolved.
    pub path: HostPath,
    /// Permission bits, `S_ISVTX` and the like included.
    pub mode: u32,
}

/// A directory that has a mount below it, so that no overlay can take it whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitDirectory {
    /// Where.
    pub path: HostPath,
    /// Permission bits.
    pub mode: u32,
    /// Its entries, sorted.
    pub entries: Vec<SplitEntry>,
}

/// One entry of such a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitEntry {
    /// Its path.
    pub path: HostPath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Bytes, for a file.
    pub size: u64,
    /// Whether the caller can read it; for a directory, enter it too.
    pub readable: bool,
    /// As [`Place::writable`].
    pub writable: bool,
}
