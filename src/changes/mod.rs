//! What a payload changed: its copy-on-write layers, read as one sorted tree of host paths.
//!
//! # Theory of operation
//! Each layer is walked in step with the directory of the host that it lies over ([`walk`]), one name
//! at a time, both sides by descriptors and no link followed. What differs comes out as a [`Change`].
//! The streams of all layers, each sorted, are merged. The time depends on what the layers hold and not
//! on the host's tree; the memory on the largest directory.
//!
//! # What counts as a change
//! - *Added*: the host has nothing there. Everything below a new directory is listed.
//! - *Deleted*: the sandbox removed it. What was below it is not listed.
//! - *Changed*: type, size, permission bits, owner, time of modification, content, link target, extended
//!   attributes or access control list differ.
//! - A directory is changed only by permission bits, owner and attributes: the overlay copies the
//!   directories above whatever was written, and their times change with their entries.
//! - A file whose size, permissions and time of modification are the host's is compared by content.
//!   The overlay copies a file, with its time, when it is only opened for writing; and a payload can set
//!   the time back. So neither is a harmless file listed nor a changed one hidden. A file whose time
//!   differs is listed without being read: `make` goes by it.
//! - What the sandbox was not shown (a hidden secret, another tree mounted there) is never deleted. What
//!   the sandbox made in such a place is *added* and marked [`Change::hidden`].
//!
//! # Decisions
//! - Nothing in a layer is modified to read it. A directory that its owner may not read is told as
//!   [`Trouble::Unreadable`].
//! - Attributes are read of directories, and of files that are compared by content: an `apply` opens each
//!   file anyway and sees them all; reading them here for all would cost more than everything else.
//!
//! # Not here
//! Which sandboxes there are and their locks (`state`); what is printed (`ops::diff`).

mod ahead;
mod alias;
mod allocated;
pub mod apply;
mod change;
mod compare;
mod content;
mod digest;
mod directory;
mod entry;
mod executed;
mod forget;
mod layer;
mod marks;
mod selection;
mod source;
mod standing;
mod walk;

pub use ahead::InBackground;
pub use content::{BLOCK, ContentHash, ContentHasher, hash_file};
pub use digest::{Digest, Digester, Fingerprint, Links, NoDigest};
pub use executed::{Executed, Later};
pub use selection::{Glob, Selection};
pub use source::{Attribute, Content, Held, Sources};
pub use standing::{Standing, standing};

pub use change::{Aspect, Aspects, Change, FileKind, Kind, Node, Trouble};

pub use forget::{Forgot, forget, take_origins};

use std::os::fd::OwnedFd;

use alias::aliases;
use allocated::Allocated;
use layer::OpenLayer;
use rustix::io::Errno;

use crate::plan::step::LayerNumber;
use crate::spec::HostPath;
use crate::state::Effort;
use crate::state::record::{ChangeCounts, LayerRecord};
use walk::{Progress, Walk};

/// How many names [`written`] looks at, and how many bytes of each layer it compares.
const fn limits(effort: Effort) -> (u32, u64) {
    match effort {
        Effort::Brief => (2000, 1 << 20),
        Effort::Whole => (100_000, 64 << 20),
    }
}

/// How many bytes of each layer are compared at the end of a run.
const BYTES_AT_THE_END: u64 = 64 << 20;

/// Why layers cannot be read to their end.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The directory that a layer lies over.
    #[error("cannot open `{path}`, over which the sandbox wrote")]
    OpenHost {
        /// Which.
        path: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// Something in a layer, or the same path on the host.
    #[error("cannot compare `{path}` with the host")]
    Compare {
        /// Which.
        path: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// Something that is to leave its layer.
    #[error("cannot take `{path}` out of the layer")]
    Forget {
        /// Which.
        path: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
}

/// The changes of all layers of a run, sorted by path.
pub struct Changes {
    allocated: Allocated,
    streams: Vec<Ahead>,
}

/// A stream and what comes next in it.
struct Ahead {
    stream: Box<dyn Iterator<Item = Result<Change, ChangesError>> + Send>,
    head: Option<Result<Change, ChangesError>>,
}

impl Changes {
    /// Over these layers. `open` gives the upper directory of each; none where it is empty.
    ///
    /// Errors: `open`'s, and [`ChangesError::OpenHost`].
    pub fn open<E: From<ChangesError>>(
        layers: &[LayerRecord],
        open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, E>,
    ) -> Result<Self, E> {
        Ok(Self::of(open_layers(layers, open)?, u64::MAX))
    }

    /// As [`Changes::open`], for counting at the end of a run: a payload that only opens large files for
    /// writing must not make the run's end take as long as reading them. Where the bytes that are
    /// compared do not suffice, files are held to differ.
    pub fn open_briefly<E: From<ChangesError>>(
        layers: &[LayerRecord],
        open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, E>,
    ) -> Result<Self, E> {
        Ok(Self::of(open_layers(layers, open)?, BYTES_AT_THE_END))
    }

    fn of(layers: Vec<OpenLayer>, budget: u64) -> Self {
        let mut streams = Vec::new();
        let allocated = Allocated::default();
        for layer in layers {
            streams.push(Ahead::new(aliases(&layer).into_iter()));
            streams.push(Ahead::new(Walk::new(layer, budget, allocated.clone())));
        }
        streams.retain(|ahead| ahead.head.is_some());
        Self { allocated, streams }
    }
}

impl Ahead {
    fn new(
        mut stream: impl Iterator<Item = Result<Change, ChangesError>> + Send + 'static,
    ) -> Self {
        let head = stream.next();
        Self { stream: Box::new(stream), head }
    }
}

impl Iterator for Changes {
    type Item = Result<Change, ChangesError>;

    fn next(&mut self) -> Option<Self::Item> {
        // The first error, else the smallest path. There are few layers.
        let path = |ahead: &&mut Ahead| match &ahead.head {
            Some(Ok(change)) => Some(change.path.clone()),
            _ => None,
        };
        let ahead = match &mut self.streams[..] {
            [one] => Some(one),
            many => many.iter_mut().filter(|ahead| ahead.head.is_some()).min_by_key(path),
        }?;
        std::mem::replace(&mut ahead.head, ahead.stream.next())
    }
}

/// Opens the layers that are not empty.
fn open_layers<E: From<ChangesError>>(
    layers: &[LayerRecord],
    mut open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, E>,
) -> Result<Vec<OpenLayer>, E> {
    let mut opened = Vec::new();
    for (number, record) in (0..).map(LayerNumber).zip(layers) {
        if let Some(upper) = open(number)? {
            opened.push(OpenLayer::new(number, record, upper)?);
        }
    }
    Ok(opened)
}

/// Whether these layers hold any change: what decides whether a run is kept.
///
/// Always with a bounded effort: where that does not suffice to tell, and on any error, the answer is yes.
pub fn written<E: From<ChangesError>>(
    layers: &[LayerRecord],
    open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, E>,
    effort: Effort,
) -> bool {
    open_layers(layers, open).map_or(true, |layers| any_change(layers, limits(effort)))
}

fn any_change(layers: Vec<OpenLayer>, (most, bytes): (u32, u64)) -> bool {
    if layers.iter().any(|layer| !aliases(layer).is_empty()) {
        return true;
    }
    let mut names = 0_u32;
    for mut walk in layers.into_iter().map(|layer| Walk::new(layer, bytes, Allocated::default())) {
        loop {
            names += 1;
            match walk.step() {
                Progress::Found(_) => return true,
                Progress::Nothing if names > most => return true,
                Progress::Nothing => {}
                Progress::End => break,
            }
        }
    }
    false
}

/// Counts changes, at most `most` of them; errors are counted as changes.
pub fn count(changes: Changes, most: u64) -> ChangeCounts {
    measure(changes, most).0
}

/// As [`count`]; and how many bytes of the disk the layers take, where all was counted.
pub fn measure(mut changes: Changes, most: u64) -> (ChangeCounts, Option<u64>) {
    let mut counts = ChangeCounts::default();
    let mut all = true;
    for change in &mut changes {
        if counts.total() >= most {
            counts.at_least = true;
            break;
        }
        all &= change.is_ok();
        match change.map(|change| change.kind) {
            Ok(Kind::Added) => counts.added += 1,
            Ok(Kind::Deleted) => counts.deleted += 1,
            Ok(Kind::Changed) | Err(_) => counts.changed += 1,
        }
    }
    let is_known = all && !counts.at_least;
    (counts, is_known.then(|| changes.allocated.bytes()))
}
