//! The scratch file system: lower layers of our own making, and empty things to cover others with.
//!
//! It is mounted over `/` before the new root and disappears with the pivot; the payload never has a
//! path to it. Everything in it is made by the sandbox process before any untrusted code runs, with a
//! file mode creation mask of 0, so that the plan's modes are what comes out.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timestamps};

use super::fuse::{UPPER, WORK};
use super::{Outcome, make_directory_at, pseudo, relative, seal_detached};
use crate::plan::step::{ScratchEntry, ScratchLayer};
use crate::spec::{HostPath, SandboxPath};
use crate::sys::errno::Errno;
use crate::sys::mount::{self, MountAttr, Reach};
use crate::sys::open;

/// Where what is written to an overlay goes.
pub(super) struct UpperDirectories {
    /// Holds the two others.
    pub(super) directory: OwnedFd,
    /// The layer itself.
    pub(super) upper: OwnedFd,
    /// What an overlay needs beside it.
    pub(super) work: OwnedFd,
}

/// The whiteout that all others are links to.
const WHITEOUT: &str = "whiteout";

/// The mounted scratch file system.
pub(super) struct Scratch {
    root: OwnedFd,
    layers: BTreeMap<ScratchLayer, OwnedFd>,
    /// Whether [`WHITEOUT`] was made.
    has_whiteout: bool,
    files: u32,
    empty_directory: Option<OwnedFd>,
    empty_file: Option<OwnedFd>,
}

impl Scratch {
    /// Mounts it over `/`.
    pub(super) fn mount() -> Outcome<Self> {
        let root =
            pseudo::tmpfs(pseudo::Size::Default, 0o700, MountAttr::NOSUID.union(MountAttr::NODEV))?;
        mount::move_mount(&root, open::open_host("/")?)?;
        Ok(Self {
            root,
            layers: BTreeMap::new(),
            has_whiteout: false,
            files: 0,
            empty_directory: None,
            empty_file: None,
        })
    }

    /// The directory of a layer.
    pub(super) fn layer(&self, layer: ScratchLayer) -> Outcome<BorrowedFd<'_>> {
        self.layers.get(&layer).map(AsFd::as_fd).ok_or_else(|| Errno::ENOENT.into())
    }

    /// Makes a layer with its entries.
    pub(super) fn make_layer(
        &mut self,
        layer: ScratchLayer,
        mode: u32,
        entries: &[ScratchEntry],
    ) -> Outcome {
        let name = format!("layer-{}", layer.0);
        make_directory_at(self.root.as_fd(), Path::new(&name), mode)?;
        let directory = open::open_path_beneath(&self.root, name.as_str())?;
        // Most entries are whiteouts in few directories: each directory is opened once in a row.
        let mut opened: Option<(SandboxPath, OwnedFd)> = None;
        for entry in entries {
            let (Some(parent), Some(name)) = (entry.path().parent(), entry.path().file_name())
            else {
                // The root of a layer is a directory of its own; an entry `/` would be that.
                return Err(Errno::EEXIST.into());
            };
            let here = match &opened {
                Some((path, fd)) if *path == parent => fd.as_fd(),
                _ if parent.is_root() => directory.as_fd(),
                _ => {
                    let fd = open::open_path_beneath(&directory, relative(&parent))?;
                    opened.insert((parent, fd)).1.as_fd()
                }
            };
            match entry {
                ScratchEntry::Whiteout { .. } => self.make_whiteout(here, Path::new(name))?,
                other => make_entry(here, Path::new(name), other)?,
            }
        }
        self.layers.insert(layer, directory);
        Ok(())
    }

    /// One inode serves them all: a link costs a third of a node of its own, and a default start has
    /// some two hundred.
    fn make_whiteout(&mut self, parent: BorrowedFd<'_>, name: &Path) -> Outcome {
        if !self.has_whiteout {
            open::create_whiteout(&self.root, WHITEOUT)?;
            self.has_whiteout = true;
        }
        let flags = AtFlags::empty();
        Ok(rustix::fs::linkat(&self.root, WHITEOUT, parent, name, flags)?)
    }

    /// `upper` and `work` of an overlay that no store holds, in a directory of their own: a server
    /// that gets it gets nothing else.
    pub(super) fn make_upper(&self, number: u16, mode: u32) -> Outcome<UpperDirectories> {
        let directory = open::create_dir(&self.root, format!("overlay-{number}"), Mode::RWXU)?;
        make_directory_at(directory.as_fd(), Path::new(UPPER), mode)?;
        let upper = open::open_path_beneath(&directory, UPPER)?;
        let work = open::create_dir(&directory, WORK, Mode::RWXU)?;
        Ok(UpperDirectories { directory, upper, work })
    }

    /// An empty directory for a mount.
    pub(super) fn directory(&self, name: &str) -> Outcome<OwnedFd> {
        Ok(open::create_dir(&self.root, name, Mode::RWXU)?)
    }

    /// Makes an ordinary file and opens it.
    pub(super) fn make_file(&mut self, content: &[u8], mode: u32) -> Outcome<OwnedFd> {
        let name = format!("file-{}", self.files);
        self.files += 1;
        write_new(self.root.as_fd(), Path::new(&name), content, mode)?;
        Ok(open::open_path_beneath(&self.root, name.as_str())?)
    }

    /// A detached, read-only copy of an empty directory.
    pub(super) fn empty_directory(&mut self) -> Outcome<OwnedFd> {
        if self.empty_directory.is_none() {
            let mode = Mode::from_raw_mode(0o555);
            self.empty_directory = Some(open::create_dir(&self.root, "empty", mode)?);
        }
        sealed_copy(self.empty_directory.as_ref())
    }

    /// A detached, read-only copy of an empty file.
    pub(super) fn empty_file(&mut self) -> Outcome<OwnedFd> {
        if self.empty_file.is_none() {
            self.empty_file =
                Some(open::create_file(&self.root, "nothing", Mode::from_raw_mode(0o444))?);
        }
        sealed_copy(self.empty_file.as_ref())
    }
}

fn sealed_copy(of: Option<&OwnedFd>) -> Outcome<OwnedFd> {
    let tree = mount::clone_tree(of.ok_or(Errno::ENOENT)?, "", Reach::One)?;
    seal_detached(tree.as_fd())?;
    Ok(tree)
}

fn make_entry(parent: BorrowedFd<'_>, name: &Path, entry: &ScratchEntry) -> Outcome {
    match entry {
        ScratchEntry::Directory { mode, .. } => {
            make_directory_at(parent, name, *mode)?;
        }
        ScratchEntry::Whiteout { .. } => return Err(Errno::EINVAL.into()),
        ScratchEntry::Link { target, .. } => {
            rustix::fs::symlinkat(target.as_os_str(), parent, name)?;
        }
        ScratchEntry::Copy { from, .. } => copy(parent, name, from)?,
        ScratchEntry::Placeholder { .. } => {
            open::create_file(parent, name, Mode::from_raw_mode(0o444))?;
        }
    }
    Ok(())
}

/// Copies a regular file of the host: its bytes, mode, and times as they are now.
fn copy(parent: BorrowedFd<'_>, name: &Path, from: &HostPath) -> Outcome {
    let source = open::reopen(open::open_host(from.as_path())?, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let stat = rustix::fs::fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::ESTALE.into());
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let target = rustix::fs::openat(parent, name, flags, Mode::RWXU)?;
    std::io::copy(
        &mut std::fs::File::from(source),
        &mut std::fs::File::from(target.try_clone().map_err(|error| errno(&error))?),
    )
    .map_err(|error| errno(&error))?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    let time = |tv_sec, nanoseconds: u64| rustix::fs::Timespec {
        tv_sec,
        tv_nsec: nanoseconds.cast_signed(),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(&target, &times)?)
}

/// Makes a file that must not exist yet. (The sandbox process has no file mode creation mask.)
pub(super) fn write_new(parent: BorrowedFd<'_>, name: &Path, content: &[u8], mode: u32) -> Outcome {
    if content.is_empty() && mode & 0o6000 == 0 {
        let mode = Mode::from_raw_mode(mode);
        return Ok(rustix::fs::mknodat(parent, name, FileType::RegularFile, mode, 0)?);
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(parent, name, flags, Mode::RWXU)?;
    let mut file = std::fs::File::from(file);
    std::io::Write::write_all(&mut file, content).map_err(|error| errno(&error))?;
    Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO.raw()))
}
