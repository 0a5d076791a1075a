//! Opens what changes name, in the layers they are in.
//!
//! # Theory of operation
//! A change has a path of the host; its layer's root is taken off, and what remains is opened beneath the
//! layer: no link followed in any part, no way out of it. The directory that was opened last is kept, for
//! changes come sorted.
//!
//! # Decisions
//! - Only regular files and directories are opened. A sandbox that runs may put a pipe in a file's place:
//!   it is opened without waiting, looked at, and closed.
//! - Where a file lies under another name than the host's (a copy of a single file), the layer's is used.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use super::ChangesError;
use super::change::{Change, FileKind, Node};
use super::compare::open_file;
use super::content::{ContentHash, hash_file};
use super::directory::OPAQUE_NAME;
use super::entry::stat;
use super::layer::{OpenLayer, split};
use super::marks::Marks;
use super::walk::{LOOK_UP, READ, open_beneath};
use crate::plan::step::{Backend, LayerNumber};
use crate::state::record::LayerRecord;

/// An extended attribute: its name, as the payload gave it, and its value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// What a layer holds for a change, beside what the change itself tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The bytes of a file.
    pub content: Content,
    /// The payload's own attributes, access control lists among them, sorted by name; none when they cannot
    /// be read.
    pub attributes: Option<Vec<Attribute>>,
}

/// The bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It is no regular file, or not there.
    None,
    /// It was read.
    Hashed {
        /// How many there are.
        size: u64,
        /// What they are.
        hash: ContentHash,
    },
    /// It cannot be read.
    Unreadable,
}

impl Held {
    /// What something holds that is neither a file nor a directory.
    pub const NOTHING: Self = Self { content: Content::None, attributes: Some(Vec::new()) };
}

/// The layers of a sandbox, to open what changes name.
#[derive(Debug)]
pub struct Sources {
    layers: Vec<Option<OpenLayer>>,
    /// The directory that was opened last: its layer, and its path from that layer's root.
    last: Option<(LayerNumber, Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

impl Sources {
    /// Over these layers. `open` gives the upper directory of each; none where it is empty.
    ///
    /// Errors: `open`'s, and [`ChangesError::OpenHost`].
    pub fn open<E: From<ChangesError>>(
        layers: &[LayerRecord],
        mut open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, E>,
    ) -> Result<Self, E> {
        let mut opened = Vec::new();
        for (number, record) in (0..).map(LayerNumber).zip(layers) {
            let upper = open(number)?;
            opened.push(upper.map(|upper| OpenLayer::new(number, record, upper)).transpose()?);
        }
        Ok(Self { layers: opened, last: None, buffer: Vec::new() })
    }

    /// The kind of overlay that a change was made through.
    pub fn backend(&self, change: &Change) -> Option<Backend> {
        Some(self.layer(change.layer)?.backend)
    }

    fn layer(&self, number: LayerNumber) -> Option<&OpenLayer> {
        self.layers.get(usize::from(number.0))?.as_ref()
    }

    /// The directory of the layer that a change lies in, and its name there; `.` for the layer's own root.
    ///
    /// Errors: `ENOENT` when nothing of the layer can be there, else those of `openat2(2)`.
    pub fn place(&mut self, change: &Change) -> Result<(BorrowedFd<'_>, CString), Errno> {
        let layer = self.layers.get(usize::from(change.layer.0)).and_then(Option::as_ref);
        let layer = layer.ok_or(Errno::NOENT)?;
        let relative = layer.relative(&change.path).ok_or(Errno::NOENT)?;
        let (above, name) = split(&relative)?;
        if above.is_empty() {
            return Ok((layer.upper.as_fd(), name));
        }
        let known = self.last.as_ref().is_some_and(|(n, p, _)| *n == change.layer && p == above);
        if !known {
            let directory = open_beneath(&layer.upper, OsStr::from_bytes(above), LOOK_UP)?;
            self.last = Some((change.layer, above.to_vec(), directory));
        }
        let (_, _, directory) = self.last.as_ref().ok_or(Errno::NOENT)?;
        Ok((directory.as_fd(), name))
    }

    /// Opens the regular file of a change for reading. `ESTALE` when it is none any more.
    pub fn file(&mut self, change: &Change) -> Result<OwnedFd, Errno> {
        let (directory, name) = self.place(change)?;
        open_file((directory, &name))
    }

    /// Opens the directory of a change for reading.
    pub fn directory(&mut self, change: &Change) -> Result<OwnedFd, Errno> {
        let (directory, name) = self.place(change)?;
        openat(directory, &*name, READ, Mode::empty())
    }

    /// The payload's own attributes of an open file or directory of a change.
    pub fn attributes(&self, change: &Change, file: impl AsFd) -> Result<Vec<Attribute>, Errno> {
        let backend = self.backend(change).ok_or(Errno::NOENT)?;
        Marks::of_upper(&file, backend)?.values(&file)
    }

    /// Whether the directory that a change lies in, in the layer, replaced one that the host has: then nothing
    /// of that one was seen.
    pub fn replaces(&mut self, change: &Change) -> Result<bool, Errno> {
        let Some(parent) = change.path.parent() else { return Ok(false) };
        let Some(backend) = self.backend(change) else { return Ok(false) };
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(CWD, parent.as_path(), LOOK_UP, Mode::empty(), resolve) {
            Ok(_) => {}
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Ok(false),
            Err(error) => return Err(error),
        }
        let (directory, name) = self.place(change)?;
        if name.as_bytes() == b"." {
            return Ok(false);
        }
        let directory = openat(directory, c".", READ, Mode::empty())?;
        let by_name = backend == Backend::Fuse && stat(&directory, OPAQUE_NAME)?.is_some();
        Ok(by_name || Marks::of_upper(&directory, backend)?.opaque)
    }

    /// Opens the regular file that the host has where a change is; `ESTALE` when it is no more the one the
    /// change tells of.
    pub fn host_file(change: &Change) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = change.path.as_path();
        let file = openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        let found = Node::new(&fstat(&file)?, None);
        let is_meant = |was: &Node| was.kind == FileKind::File && was.inode == found.inode;
        if found.kind == FileKind::File && change.was.as_ref().is_some_and(is_meant) {
            Ok(file)
        } else {
            Err(Errno::STALE)
        }
    }

    /// The attributes of an open file or directory of the host, as those of a layer's are given.
    pub fn host_attributes(file: impl AsFd) -> Result<Vec<Attribute>, Errno> {
        Marks::of_host(&file)?.values(&file)
    }

    /// The hash of an open file's content, and its size.
    pub fn content(&mut self, file: &OwnedFd) -> Result<Content, Errno> {
        let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        let hash = hash_file(file, &mut self.buffer)?;
        Ok(Content::Hashed { size, hash })
    }

    /// Reads all that a change would bring to the host.
    ///
    /// Errors are those of a layer that changes while it is read; what the payload closed to its owner is
    /// [`Content::Unreadable`].
    pub fn hold(&mut self, change: &Change) -> Result<Held, Errno> {
        let closed = |error: Errno| matches!(error, Errno::ACCESS | Errno::PERM);
        match change.now.as_ref().map(|now| now.kind) {
            Some(FileKind::File) => match self.file(change) {
                Ok(file) => self.hold_file(change, &file),
                Err(error) if closed(error) => {
                    Ok(Held { content: Content::Unreadable, attributes: None })
                }
                Err(error) => Err(error),
            },
            Some(FileKind::Directory) => match self.directory(change) {
                Ok(directory) => {
                    let attributes = Some(self.attributes(change, directory)?);
                    Ok(Held { content: Content::None, attributes })
                }
                Err(error) if closed(error) => {
                    Ok(Held { content: Content::None, attributes: None })
                }
                Err(error) => Err(error),
            },
            _ => Ok(Held::NOTHING),
        }
    }

    /// As [`Sources::hold`], of a file that is open.
    pub fn hold_file(&mut self, change: &Change, file: &OwnedFd) -> Result<Held, Errno> {
        let attributes = Some(self.attributes(change, file)?);
        Ok(Held { content: self.content(file)?, attributes })
    }
}
