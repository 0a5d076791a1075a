//! Walks one layer in step with the directory of the host that it lies over.
//!
//! # Theory of operation
//! A frame per directory from the layer's root to where the walk is, each with its sorted names. The
//! host's side of a frame is there as long as the sandbox saw the host's directory *merged* with the
//! layer's, or *replaced* by it: then what only the host has was deleted. Below something that is new,
//! the host is not looked at any more.
//!
//! # Decisions
//! - Only the lowest [`OPEN`] frames hold descriptors; what is closed is opened again by its path from
//!   the layer's root, no link followed. A path that is longer than a system call takes is told once
//!   and not followed.
//! - The layer may be in use. What vanishes between two looks at it was not there.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::ChangesError;
use super::allocated::Allocated;
use super::change::{Aspects, Change, Kind, Trouble};
use super::directory::{Entry, Names};
use super::layer::{OpenLayer, Why};
use crate::spec::HostPath;
use crate::spec::path::PATH_MAX;

/// Frames whose directories are open.
const OPEN: usize = 24;

/// How a directory of the layer is opened.
pub(super) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How a directory of the host is opened: names can be looked up in it.
pub(super) const LOOK_UP: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// One directory on the way.
pub(super) struct Frame {
    pub(super) names: Names,
    pub(super) next: usize,
    /// None when it is the root, or closed for now.
    pub(super) upper: Option<OwnedFd>,
    pub(super) host: HostSide,
    /// Nothing of the host's directory was seen through the layer's.
    pub(super) replaced: bool,
    /// Below a place where the host has something that the sandbox was not shown.
    pub(super) hidden: bool,
    /// Bytes of the path of this directory.
    pub(super) length: usize,
    /// Places below this directory, as indices.
    pub(super) places: Vec<usize>,
    /// Whether it was told that something in it has too long a path.
    pub(super) too_deep: bool,
}

/// The host's side of a frame.
pub(super) enum HostSide {
    /// The host has no such directory, or the sandbox was not shown it.
    Absent,
    /// It has; no descriptor when it is the root, or closed for now.
    There(Option<OwnedFd>),
}

/// What one step of a walk gave.
pub(super) enum Progress {
    /// A difference, or that the walk cannot go on.
    Found(Box<Result<Change, ChangesError>>),
    /// One more name, no difference.
    Nothing,
    /// The end.
    End,
}

/// A walk over one layer.
pub(super) struct Walk {
    pub(super) layer: OpenLayer,
    pub(super) stack: Vec<Frame>,
    path: Vec<u8>,
    /// Bytes of the path of the layer's root; 0 for `/`.
    root: usize,
    /// Bytes that may still be read to compare contents.
    pub(super) budget: u64,
    pub(super) allocated: Allocated,
    started: bool,
    failed: bool,
}

impl Walk {
    pub(super) fn new(layer: OpenLayer, budget: u64, allocated: Allocated) -> Self {
        let path = match layer.root.as_bytes() {
            b"/" => Vec::new(),
            root => root.to_vec(),
        };
        let root = path.len();
        Self {
            layer,
            stack: Vec::new(),
            path,
            root,
            budget,
            allocated,
            started: false,
            failed: false,
        }
    }

    /// Looks at one more name.
    pub(super) fn step(&mut self) -> Progress {
        if self.failed {
            return Progress::End;
        }
        let first = !std::mem::replace(&mut self.started, true);
        let step = if first { self.enter_root() } else { self.step_inside() };
        match step {
            Ok(Some(change)) => Progress::Found(Box::new(Ok(change))),
            Ok(None) if self.stack.is_empty() => Progress::End,
            Ok(None) => Progress::Nothing,
            Err(source) => {
                self.failed = true;
                let path = self.here().unwrap_or_else(|| self.layer.root.clone());
                Progress::Found(Box::new(Err(ChangesError::Compare { path, source })))
            }
        }
    }

    fn step_inside(&mut self) -> Result<Option<Change>, Errno> {
        let Some(frame) = self.stack.last_mut() else { return Ok(None) };
        let Some((name, entry)) = frame.names.get(frame.next) else {
            return self.leave().map(|()| None);
        };
        let name = name.to_owned();
        frame.next += 1;
        let length = frame.length;
        let (exact, places) = self.places_of(&name);
        if exact == Some(Why::Covered) {
            return Ok(None);
        }
        if length + 1 + name.to_bytes().len() >= PATH_MAX {
            return Ok(self.too_deep());
        }
        self.path.truncate(length);
        self.path.push(b'/');
        self.path.extend_from_slice(name.to_bytes());
        let masked = exact == Some(Why::Masked);
        match entry {
            Entry::Host | Entry::Whiteout if masked => Ok(None),
            Entry::Host | Entry::Whiteout => self.deleted(&name, &places),
            Entry::Upper => self.upper_entry(&name, masked, places),
        }
    }

    /// What is special about a name in the current directory, and the places below it.
    fn places_of(&self, name: &CStr) -> (Option<Why>, Vec<usize>) {
        let mut exact: Option<Why> = None;
        let mut below = Vec::new();
        let depth = self.stack.len().saturating_sub(1);
        for index in self.stack.last().map_or(&[][..], |frame| &frame.places) {
            let place = &self.layer.places[*index];
            if place.names.get(depth).is_some_and(|n| n.as_bytes() == name.to_bytes()) {
                if place.names.len() > depth + 1 {
                    below.push(*index);
                } else if exact.is_none_or(|exact| place.why < exact) {
                    exact = Some(place.why);
                }
            }
        }
        let otherwise = self.layer.only_shown.then_some(Why::Masked);
        (exact.or(otherwise), below)
    }

    /// Whether something of the host's lies below a directory that the sandbox was not shown.
    pub(super) fn hides(&self, places: &[usize]) -> bool {
        let hides = |index: &usize| self.layer.places[*index].why != Why::Shown;
        self.layer.only_shown || places.iter().any(hides)
    }

    fn too_deep(&mut self) -> Option<Change> {
        let frame = self.stack.last_mut()?;
        let (length, told) = (frame.length, std::mem::replace(&mut frame.too_deep, true));
        if told {
            return None;
        }
        self.path.truncate(length);
        self.change(Kind::Changed)
            .map(|change| Change { trouble: Some(Trouble::TooDeep), ..change })
    }

    /// A change at the current path, of which nothing more is known.
    pub(super) fn change(&self, kind: Kind) -> Option<Change> {
        Some(Change {
            path: self.here()?,
            kind,
            differs: Aspects::default(),
            now: None,
            was: None,
            hidden: false,
            stale: false,
            trouble: None,
            layer: self.layer.number,
        })
    }

    /// The current path. It is none of ours that does not fit.
    fn here(&self) -> Option<HostPath> {
        let path: &[u8] = if self.path.is_empty() { b"/" } else { &self.path };
        HostPath::new(OsStr::from_bytes(path)).ok()
    }

    /// The layer's directory that the walk is in.
    pub(super) fn upper(&self) -> BorrowedFd<'_> {
        let top = self.stack.last().and_then(|frame| frame.upper.as_ref());
        top.unwrap_or(&self.layer.upper).as_fd()
    }

    /// The host's directory that the walk is in, as far as the sandbox saw it.
    pub(super) fn host(&self) -> Option<BorrowedFd<'_>> {
        match &self.stack.last()?.host {
            HostSide::Absent => None,
            HostSide::There(directory) => {
                directory.as_ref().or(self.layer.below.as_ref()).map(AsFd::as_fd)
            }
        }
    }

    /// Bytes of the current path.
    pub(super) fn length(&self) -> usize {
        self.path.len()
    }

    /// Goes down, and closes what lies far above.
    pub(super) fn push(&mut self, frame: Frame) {
        self.stack.push(frame);
        let far = self.stack.len().checked_sub(OPEN + 1);
        if let Some(frame) = far.and_then(|index| self.stack.get_mut(index)) {
            frame.upper = None;
            if let HostSide::There(directory) = &mut frame.host {
                *directory = None;
            }
        }
    }

    /// Goes up, and opens again what was closed.
    fn leave(&mut self) -> Result<(), Errno> {
        self.stack.pop();
        let is_root = self.stack.len() <= 1;
        let begin = self.root + 1;
        let Some(frame) = self.stack.last_mut().filter(|f| !is_root && f.upper.is_none()) else {
            return Ok(());
        };
        let relative = OsStr::from_bytes(self.path[..frame.length].get(begin..).unwrap_or(b"."));
        match open_beneath(&self.layer.upper, relative, READ) {
            Ok(directory) => frame.upper = Some(directory),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {
                // A sandbox that runs has removed it.
                frame.next = usize::MAX;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if let (HostSide::There(directory), Some(below)) = (&mut frame.host, &self.layer.below) {
            match open_beneath(below, relative, LOOK_UP) {
                Ok(opened) => *directory = Some(opened),
                // The host has removed it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => frame.host = HostSide::Absent,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<Change, ChangesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Progress::Found(change) => return Some(*change),
                Progress::Nothing => {}
                Progress::End => return None,
            }
        }
    }
}

/// Opens a directory by its path from a root, no link followed.
pub(super) fn open_beneath(
    root: &OwnedFd,
    relative: &OsStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve)
}
