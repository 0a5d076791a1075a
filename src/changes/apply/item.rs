//! A change together with what stands on both sides now: what a plan is made from.

use super::action::Refusal;
use super::seen::Seen;
use crate::changes::{Change, Held};
use crate::spec::HostPath;

/// A change and both its sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The change.
    pub change: Change,
    /// What the layer has there; none if it was deleted.
    pub layer: Option<Seen>,
    /// What the host has.
    pub host: HostSide,
    /// What was reviewed, where that was asked for.
    pub held: Option<Held>,
    /// Where the host has the same file already: another of its names was applied before.
    pub linked: Option<HostPath>,
    /// The content that both sides became together, by number.
    pub merged: Option<usize>,
    /// Why other programs will execute it.
    pub executed_later: Option<&'static str>,
    /// It matches a pattern of paths that stay.
    pub excluded: bool,
}

/// What the host has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSide {
    /// The directory it stands in.
    pub parent: Parent,
    /// What stands there; none if nothing.
    pub seen: Option<Seen>,
    /// Whether that changed since the sandbox started.
    pub since: Since,
    /// It is what the layer has, but for times.
    pub equal: bool,
    /// What the layer has was made from something of the host's in this place, which is gone.
    pub gone: bool,
    /// What speaks against removing it, when it is a directory that would have to go.
    pub tree: Option<Tree>,
}

/// The directory a path stands in, on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// It is there.
    There(Spot),
    /// It is not, and the nearest one above it that is. What is new in the layer makes it.
    Missing(Spot),
    /// There is something else, or a link in the way.
    NoDirectory,
    /// Another file system is mounted on the way.
    Mounted,
}

/// What a directory means for what is made in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The device of its file system.
    pub device: u64,
    /// The group of what is made in it, if it is not the caller's.
    pub group: Option<u32>,
}

/// Whether something of the host's changed since the sandbox started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// It did not, or there is nothing.
    Unchanged,
    /// It did.
    Changed,
    /// It cannot be told.
    Unknown,
}

/// Why a directory of the host must not be removed with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Something in it changed since.
    Newer(HostPath, Since),
    /// Something in it must never go.
    Refused(Refusal),
}
