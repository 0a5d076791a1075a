//! Trees as tar archives: written, read, packed and unpacked.
//!
//! # Theory of operation
//! ```text
//! pack:   a place (`resolve`) ──▶ members (`write`) ──▶ a pipe ──▶ members (`read`) ──▶ a place   :unpack
//! ```
//! `bryo cp` has one half of this inside the sandbox and one outside, whichever way it goes. The half inside
//! ([`errand`]) runs in a process that has given up everything that the payload has not, but executes nothing:
//! what the payload put into its tree is never run, and nothing but its memory, which nobody inside may look at,
//! tells it from any other process there. Where a link leads it, or a name that is swapped, it finds what the payload could have found.
//!
//! The half outside trusts none of this: it follows no link that it made or found below the place that the user
//! named, takes no name that leads up, makes nothing but files, directories and links, and no file that runs as
//! somebody else. Every name is one part at a time, by the descriptor of its directory.

pub mod errand;
mod header;
mod pack;
mod place;
mod read;
mod resolve;
#[cfg(test)]
mod tests;
mod unpack;
mod write;

pub use pack::{PackError, extents, next_data, pack};
pub use place::{Note, Place, UnpackError, locate};
pub use read::{Member, MemberKind, ReadError, Reader};
pub use resolve::{Found, Last, Shared, Start, Stop, resolve};
pub use unpack::{Owners, unpack};
pub use write::{Archive, Attribute, Entry, Extent, Kind};

use serde::{Deserialize, Serialize};

use crate::spec::Text;

/// Names that are told; of more their number is.
const MOST_TOLD: usize = 100;

/// Something that a copy does not hold, or not wholly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// Its name below what is copied; empty for that itself.
    pub name: Text,
    /// Why.
    pub why: Why,
}

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A unix socket, a named pipe.
    NoFile,
    /// A device.
    Device,
    /// It cannot be read.
    Unreadable,
    /// Its path is too long, or it lies too deep.
    TooDeep,
    /// The kernel makes it up: `/proc`, `/sys`.
    Kernel,
    /// The rest is there.
    SetId,
    /// The rest is there.
    Owner,
    /// The rest is there.
    Attributes,
}

impl Why {
    /// As a sentence behind the name.
    pub fn remark(self) -> &'static str {
        match self {
            Self::NoFile => "a socket or a pipe, left out",
            Self::Device => "a device, left out",
            Self::Unreadable => "cannot be read, left out",
            Self::TooDeep => "lies too deep, left out",
            Self::Kernel => "the kernel's own, left out",
            Self::SetId => "without its set-id bits",
            Self::Owner => "without its owner",
            Self::Attributes => "without its attributes",
        }
    }
}

/// What is told of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// What is not in it: the first ones.
    pub left: Vec<Left>,
    /// How many more there are.
    pub more: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Told {
    /// Adds something. A payload may have made any number of it: what is kept is bounded, in bytes too.
    pub fn leave(&mut self, name: &[u8], why: Why) {
        if self.left.len() < MOST_TOLD {
            let shown = name.get(..name.len().min(256)).unwrap_or_default();
            let name = Text::from(
                <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(shown).to_owned(),
            );
            self.left.push(Left { name, why });
        } else {
            self.more += 1;
        }
    }

    /// With what the other half told.
    pub fn add(&mut self, other: Self) {
        self.more += other.more;
        for left in other.left {
            self.leave(left.name.as_bytes(), left.why);
        }
    }
}
