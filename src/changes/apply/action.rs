//! What an apply is made of: actions on the host, and changes that stay in their layer, with the reason.

use std::fmt;

use rustix::io::Errno;
use serde::Serialize;

use super::seen::{Moment, Seen};
use crate::changes::{Change, Kind};
use crate::plan::step::LayerNumber;
use crate::spec::HostPath;

/// One thing to do. Nothing in it is left to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Where on the host.
    pub path: HostPath,
    /// The layer it comes from, and leaves.
    pub layer: LayerNumber,
    /// What.
    pub what: What,
    /// What the host has there and loses; the action is not done when something else stands there by then.
    pub replaces: Option<Seen>,
    /// What the layer has there.
    pub takes: Option<Seen>,
    /// Somebody chose that it goes whatever became of it.
    pub overrides: bool,
    /// What is not taken over.
    pub notes: Vec<Note>,
    /// Which change of the list it carries out.
    pub change: usize,
}

/// What is done at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A directory is made.
    Directory,
    /// A directory is made that nobody asked for, only for what is in it: as any new one of the caller's,
    /// with nothing of the layer's. That stays in the layer.
    Parent,
    /// An existing directory gets permission bits and attributes.
    Adjust,
    /// A file, link or pipe is put there.
    Put(Source),
    /// What is there is removed.
    Remove,
    /// The host's stays, and the layer's goes.
    Drop,
}

/// Where a new file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The layer's own file, where that can be had; else a copy.
    Move,
    /// A copy of the layer's.
    Copy,
    /// Another name of the file that an earlier action puts at this path.
    Link(HostPath),
    /// A copy of a file of ours that holds what both sides became together.
    Merged(usize),
}

/// What is not taken over from the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// Set-user-id or set-group-id.
    SetId,
    /// Another user or group.
    Owner,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SetId => "without its set-user-id and set-group-id bits",
            Self::Owner => "without its owner and group",
        })
    }
}

/// A change that stays in its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Which change of the list.
    pub change: usize,
    /// Why.
    pub why: Why,
}

/// Why a change is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Both sides changed it; somebody has to choose.
    Conflict(Conflict),
    /// It is never applied.
    Refused(Refusal),
    /// Other programs will execute it, and nobody said yes to that.
    ExecutedLater(&'static str),
    /// A directory above it is not applied.
    Above(HostPath),
    /// A system call failed.
    Failed(Errno),
}

/// How the host differs from what the sandbox saw at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// What the host has there was made or changed since.
    Changed,
    /// Whether it was, this file system does not tell.
    Unknown,
    /// The host has it no more.
    Gone,
    /// It is a directory in which this was made or changed since.
    Below(HostPath),
    /// The directory it belongs into is there no more.
    NoDirectory,
    /// Found out when it was about to be applied.
    Meanwhile,
}

/// What is never applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A device.
    Device,
    /// A socket: nobody listens behind it any more.
    Socket,
    /// A file that fuse-overlayfs left when it was to copy a pipe, a socket or a device of the host.
    Miscopied,
    /// Marks in the layer that no overlay makes.
    Forged,
    /// It cannot be read, or what is below cannot.
    Unreadable,
    /// What lies deeper has paths that no system call takes.
    TooDeep,
    /// The host has something there that the sandbox was not shown.
    Hidden,
    /// It, or something below, belongs to another user, who would lose it.
    Foreign(u32),
    /// Another file system is mounted there or below.
    Mounted(HostPath),
    /// It would remove this, which is to stay.
    Excluded(HostPath),
    /// It is not what was reviewed.
    NotReviewed,
    /// It puts a directory where the host has a file, and only something in it was asked for.
    NamesOnlyBelow(HostPath),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("changed on the host since the sandbox started"),
            Self::Unknown => f.write_str(
                "the host's file system does not tell whether it changed since the sandbox started",
            ),
            Self::Gone => f.write_str("removed on the host since the sandbox started"),
            Self::Below(path) => {
                write!(f, "`{path}` in it changed on the host since the sandbox started")
            }
            Self::NoDirectory => f.write_str("the host has no such directory any more"),
            Self::Meanwhile => f.write_str("changed on the host while it was being applied"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("devices are never applied"),
            Self::Socket => f.write_str("sockets are never applied"),
            Self::Miscopied => f.write_str(
                "the host has a pipe, a socket or a device there, which fuse-overlayfs cannot copy: it left a file",
            ),
            Self::Forged => f.write_str("it has forged overlay marks"),
            Self::Unreadable => f.write_str("it cannot be read"),
            Self::TooDeep => f.write_str("what lies deeper has no path"),
            Self::Hidden => f.write_str("the sandbox was not shown what the host has there"),
            Self::Foreign(owner) => write!(
                f,
                "what the host has there belongs to user {owner}, and put in its place it would be yours"
            ),
            Self::Mounted(path) => write!(f, "another file system is mounted at `{path}`"),
            Self::Excluded(path) => write!(f, "`{path}` in it is excluded"),
            Self::NotReviewed => f.write_str("it is not what was reviewed"),
            Self::NamesOnlyBelow(path) => {
                write!(f, "`{path}` is a file on the host; name that path too")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(conflict) => conflict.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::ExecutedLater(what) => f.write_str(what),
            Self::Above(path) => write!(f, "`{path}` is not applied"),
            Self::Failed(errno) => write!(f, "{}", crate::sys::errno::Errno::from(*errno)),
        }
    }
}

/// The final attributes of a directory that was made, which it gets when everything in it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finish {
    /// Permission bits, without set-id bits.
    pub mode: u32,
    /// Time of the last modification.
    pub modified: Moment,
}

/// A word for an action, as it is shown.
pub fn verb(action: &Action, change: &Change) -> &'static str {
    match (&action.what, change.kind) {
        (What::Drop, _) => "keep the host's",
        (What::Remove, _) => "remove",
        (What::Adjust, _) => "change",
        (What::Put(Source::Merged(_)), _) => "merge",
        (_, Kind::Added) => "add",
        (..) => "replace",
    }
}
