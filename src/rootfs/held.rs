//! The tmpfs of a given size that holds everything a run writes (`--disk`): its layers, and the private file systems.
//!
//! # Theory of operation
//! What is written takes memory instead of disk space, and ends at the size of that tmpfs: whoever writes beyond
//! it gets `ENOSPC`, whatever it tries. The tmpfs is mounted in the scratch file system, so no path of the sandbox
//! leads to it. The launcher holds a descriptor of it: when every process of the sandbox has ended, the layers
//! are brought into the store. Each begins as what the store has of it, which is nothing for a new one.
//!
//! # Not here
//! Bringing them (`ops::run::held`), and the copy itself ([`carry`](super::carry)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};

use super::carry::{Lists, carry};
use super::fuse::{UPPER, WORK};
use super::scratch::UpperDirectories;
use super::{Outcome, make_directory_at, pseudo};
use crate::plan::step::LayerNumber;
use crate::spec::HostPath;
use crate::sys::errno::Errno;
use crate::sys::mount::{self, MountAttr, Reach};
use crate::sys::open;

/// The tmpfs.
pub(super) struct Held {
    root: OwnedFd,
    places: u16,
}

/// Where the upper directory of a layer is in it.
pub fn upper_in_held(layer: LayerNumber) -> String {
    format!("{}/{UPPER}", layer.0)
}

impl Held {
    /// Mounts it in a directory.
    pub(super) fn mount(on: BorrowedFd<'_>, size: u64) -> Outcome<Self> {
        let attr = MountAttr::NOSUID.union(MountAttr::NODEV);
        let root = pseudo::tmpfs(pseudo::Size::Whole(size), 0o700, attr)?;
        mount::move_mount(&root, on)?;
        Ok(Self { root, places: 0 })
    }

    /// For whoever brings the layers into the store.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// An empty directory of it as a detached mount. It shares nothing with the others but the room.
    pub(super) fn place(&mut self, mode: u32, attr: MountAttr) -> Outcome<OwnedFd> {
        let name = format!("place-{}", self.places);
        self.places += 1;
        make_directory_at(self.root.as_fd(), Path::new(&name), mode)?;
        let tree = mount::clone_tree(&self.root, name.as_str(), Reach::One)?;
        mount::mount_setattr(&tree, Reach::One, attr, MountAttr::empty(), None)?;
        Ok(tree)
    }

    /// The directories of a layer, with what the store has in `upper` of it.
    pub(super) fn take(&self, layer: LayerNumber, upper: &HostPath) -> Outcome<UpperDirectories> {
        let directory = open::create_dir(&self.root, layer.0.to_string(), Mode::RWXU)?;
        let made = open::create_dir(&directory, UPPER, Mode::RWXU)?;
        let work = open::create_dir(&directory, WORK, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let kept = open::reopen(open::open_host(upper.as_path())?, flags)?;
        let to = openat(&made, ".", flags, Mode::empty())?;
        let beside = openat(&directory, ".", flags, Mode::empty())?;
        let left_out = carry(kept.as_fd(), to.as_fd(), beside.as_fd(), Lists::Short)
            .map_err(|stuck| Errno::from(stuck.errno))?;
        // What a store holds a tmpfs holds too, but for long access lists. The payload must not go on without it.
        if left_out.count > 0 {
            return Err(Errno::EOVERFLOW.into());
        }
        Ok(UpperDirectories { directory, upper: made, work })
    }
}
