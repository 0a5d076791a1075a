//! Overlays that fuse-overlayfs serves: the mount, made here, and what its server needs.
//!
//! # Theory of operation
//! The sandbox process opens `/dev/fuse` and makes the mount itself, through the mount API: so the
//! file system belongs to the sandbox's user namespace, gets its flags before it is visible anywhere,
//! and no fusermount and no mount point of the host are involved. The server inherits the opened
//! device as a session that is mounted already (`/dev/fd/N` to libfuse ≥ 3.3).
//!
//! The layers are handed over as detached trees, copies of the very directories that were opened and
//! checked here: the lower ones read-only with everything mounted below, the layer directory with
//! `upper` and `work` on one mount, because the server renames from the one to the other.
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
use crate::sys::open;

/// Name of the upper directory in what [`Wanted::layer`] is.
pub const UPPER: &str = "upper";
/// Name of the work directory beside it.
pub const WORK: &str = "work";

/// What the server of one overlay needs.
#[derive(Debug)]
pub struct Wanted {
    /// The opened device, already mounted.
    pub device: OwnedFd,
    /// A detached, writable tree that holds [`UPPER`] and [`WORK`].
    pub layer: Option<OwnedFd>,
    /// Detached, read-only trees, uppermost first.
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
        let lowers = lower
            .iter()
            .map(|lower| lower_tree(self.open_lower(lower)?.as_fd()))
            .collect::<Outcome<Vec<_>>>()?;
        let layer = upper.map(|upper| self.layer_tree(upper)).transpose()?;
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let overlay = mount_device(&device, flags)?;
        self.served.add(overlay.as_fd())?;
        Ok((overlay, Wanted { device, layer, lowers }))
    }

    fn layer_tree(&self, upper: Upper) -> Outcome<OwnedFd> {
        let directory = match upper {
            Upper::Layer(layer) => {
                let (upper, work) = self.layers.directories(layer).ok_or(Errno::ENOENT)?;
                let parent = upper.parent().ok_or(Errno::EINVAL)?;
                let named = |path: &crate::spec::HostPath, name: &str| {
                    path.parent().as_ref() == Some(&parent)
                        && path.file_name() == Some(std::ffi::OsStr::new(name))
                };
                if !named(upper, UPPER) || !named(work, WORK) {
                    return Err(Errno::EINVAL.into());
                }
                open::open_host(parent.as_path())?
            }
            Upper::Scratch { number, mode } => {
                self.scratch.as_ref().ok_or(Errno::EINVAL)?.make_upper(number, mode)?.directory
            }
        };
        let tree = mount::clone_tree(&directory, "", Reach::One)?;
        set_attributes(tree.as_fd(), MountAttr::NOSUID.union(MountAttr::NODEV))?;
        Ok(tree)
    }
}

/// A read-only copy with everything that is mounted below: what is there cannot be left out, since
/// mounts of the host are locked in this namespace.
fn lower_tree(directory: BorrowedFd<'_>) -> Outcome<OwnedFd> {
    let tree = mount::clone_tree(directory, "", Reach::Recursive)?;
    let quiet = MountAttr::RDONLY.union(MountAttr::NOSUID).union(MountAttr::NODEV);
    set_attributes(tree.as_fd(), quiet)?;
    Ok(tree)
}

fn set_attributes(tree: BorrowedFd<'_>, set: MountAttr) -> Outcome {
    let none = MountAttr::empty();
    Ok(mount::mount_setattr(tree, Reach::Recursive, set, none, Some(Propagation::Private))?)
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
