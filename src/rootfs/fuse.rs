//! Overlays that fuse-overlayfs serves: the mount, made here, and what its server needs of this
//! process.
//!
//! # Theory of operation
//! The sandbox process opens `/dev/fuse` and makes the mount itself, through the mount API: so the
//! file system belongs to the sandbox's user namespace, gets its flags before it is visible anywhere,
//! and no fusermount and no mount point of the host are involved. The server inherits the opened
//! device as a session that is mounted already (`/dev/fd/N` to libfuse ≥ 3.3).
//!
//! Layers of the scratch file system are handed over as detached trees. Those of the host are not:
//! the server has a copy of the host's mounts of its own, while here scratch and the new root lie over
//! `/` by now, and a copy of `/` would show them.
//!
//! The mount is put in its place at once. Whoever looks below it waits in the kernel until the server
//! has answered its first request, so the server starts while other steps are taken; [`Served`]
//! makes sure of it before the pivot. When the server ends, or never comes up, every access fails
//! (`ENOTCONN`, `ECONNABORTED`) instead of waiting, because this process keeps no descriptor of the
//! device.
//!
//! # Decisions
//! - `default_permissions`: the kernel checks modes and owners as for any file system, with the ids
//!   that the server shows. What the server may do on the host is bounded by its own ids.
//! - `allow_other`, which in a user namespace means: those in it. The payload may have another id than
//!   this process (`--ids subid`).
//!
//! # Not here
//! Starting, confining and ending the server (`launch::fuse`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::{Builder, Layers, Outcome, attributes};
use crate::plan::step::{Lower, MountFlags, Upper};
use crate::sys::errno::Errno;
use crate::sys::mount::{self, FsContext, MountAttr, Propagation, Reach};

/// Name of the upper directory in what [`Wanted::layer`] is.
pub const UPPER: &str = "upper";
/// Name of the work directory beside it.
pub const WORK: &str = "work";

/// What the server of one overlay needs of the sandbox process.
#[derive(Debug)]
pub struct Wanted {
    /// The opened device, already mounted.
    pub device: OwnedFd,
    /// A detached tree that holds [`UPPER`] and [`WORK`], for an upper in the scratch file system or held.
    pub layer: Option<OwnedFd>,
    /// A detached, read-only tree for each lower layer of the scratch file system, in their order.
    pub lowers: Vec<OwnedFd>,
}

/// The overlays that wait for their servers.
#[derive(Debug, Default)]
pub(super) struct Served(Vec<OwnedFd>);

impl Served {
    /// Waits until every server has answered.
    pub(super) fn wait(&mut self) -> Outcome {
        for overlay in self.0.drain(..) {
            rustix::fs::fstatfs(&overlay)?;
        }
        Ok(())
    }

    fn add(&mut self, overlay: BorrowedFd<'_>) -> Outcome {
        self.0.push(rustix::io::fcntl_dupfd_cloexec(overlay, 3)?);
        Ok(())
    }
}

impl<L: Layers> Builder<'_, L> {
    /// The detached mount, and what its server needs.
    pub(super) fn fuse_overlay(
        &mut self,
        lower: &[Lower],
        upper: Option<Upper>,
        flags: MountFlags,
    ) -> Outcome<(OwnedFd, Wanted)> {
        let scratch = || self.scratch.as_ref().ok_or(Errno::EINVAL);
        let mut lowers = Vec::new();
        for lower in lower {
            if let Lower::Scratch(layer) = lower {
                lowers.push(tree(scratch()?.layer(*layer)?, MountAttr::RDONLY)?);
            }
        }
        let layer = match upper {
            Some(Upper::Scratch { number, mode }) => {
                let made = scratch()?.make_upper(number, mode)?;
                Some(tree(made.directory.as_fd(), MountAttr::empty())?)
            }
            Some(Upper::Held(layer)) => {
                Some(tree(self.take_held(layer)?.directory.as_fd(), MountAttr::empty())?)
            }
            Some(Upper::Layer(_)) | None => None,
        };
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let overlay = mount_device(&device, flags)?;
        self.served.add(overlay.as_fd())?;
        Ok((overlay, Wanted { device, layer, lowers }))
    }
}

/// A detached copy of a directory of the scratch file system.
fn tree(directory: BorrowedFd<'_>, set: MountAttr) -> Outcome<OwnedFd> {
    let tree = mount::clone_tree(directory, "", Reach::One)?;
    let set = set.union(MountAttr::NOSUID).union(MountAttr::NODEV);
    let none = MountAttr::empty();
    mount::mount_setattr(&tree, Reach::One, set, none, Some(Propagation::Private))?;
    Ok(tree)
}

fn mount_device(device: &OwnedFd, flags: MountFlags) -> Outcome<OwnedFd> {
    let context = FsContext::open("fuse")?;
    context
        .set_string("source", "bryo")?
        .set_string("subtype", "fuse-overlayfs")?
        // By its number, not as a descriptor: that every kernel takes.
        .set_string("fd", device.as_raw_fd().to_string())?
        .set_string("rootmode", "40000")?
        .set_string("user_id", rustix::process::geteuid().as_raw().to_string())?
        .set_string("group_id", rustix::process::getegid().as_raw().to_string())?
        .set_flag("default_permissions")?
        .set_flag("allow_other")?;
    Ok(context.mount(attributes(flags))?)
}
