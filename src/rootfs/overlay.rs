//! Overlays by the kernel's mount API.
//!
//! # Decisions
//! - Layers are handed to the kernel as `/proc/self/fd/N`: the very directories that were opened and
//!   checked, whatever their names are meanwhile; no name has to be escaped (`:`, `,`, `\`), none is
//!   too long for fsconfig(2)'s 256 bytes, and `/proc/self/mountinfo` shows the payload no path of the
//!   host. Descriptors themselves (`FSCONFIG_SET_FD`) are taken only since Linux 6.13.
//! - `userxattr` is what the kernel allows in a user namespace; redirects, metacopy and index are off
//!   with it.
//! - `volatile`: unmounting an overlay otherwise syncs the whole file system that the upper directory is
//!   on (`ovl_sync_fs`), at the end of each run. With 668 MB of somebody else's unwritten data that took
//!   half a second, and with none 1.5 ms on ext4 in memory, which is more than mounting and unmounting
//!   together. The price: fsync(2) by the payload does not reach the disk, so a power cut can cost what
//!   it wrote last, as it can with any file; and the kernel marks the work directory, so that `state`
//!   clears it before the next mount. `apply` syncs what it brings to the host.
//! - A lower directory of the host must be on the mount that the plan saw: one that was mounted over
//!   it since then is refused (`ESTALE`), because the plan did not decide about it. The launcher looks
//!   ([`check_lowers`]) just before the clone: in the sandbox's copy every mount has another number,
//!   and from then on nothing changes there.
//!
//! # Not here
//! The mount of an overlay that fuse-overlayfs serves (`fuse`).

use std::os::fd::{AsFd, OwnedFd};

use super::fuse::Wanted;
use super::{Builder, Failure, Layers, Outcome, attributes};
use crate::plan::step::{Action, FsStep, Lower, MountFlags, OverlayServer, Plan, Upper};
use crate::sys::errno::Errno;
use crate::sys::mount::{self, FsContext};
use crate::sys::open::{self, fd_path};

impl<L: Layers> Builder<'_, L> {
    /// Mounts it; returns what its server needs when the kernel does not serve it.
    pub(super) fn mount_overlay(&mut self, step: &FsStep) -> Outcome<Option<Wanted>> {
        let FsStep::Overlay { at, lower, upper, server, flags } = step else {
            return Err(Errno::EINVAL.into());
        };
        let target = self.target(at)?;
        let (detached, wanted) = match server {
            OverlayServer::Kernel => (self.kernel_overlay(lower, *upper, *flags)?, None),
            OverlayServer::Fuse { .. } => {
                let (detached, wanted) = self.fuse_overlay(lower, *upper, *flags)?;
                (detached, Some(wanted))
            }
        };
        mount::move_mount(&detached, &target)?;
        if at.is_root() {
            // What is built from here on, and the pivot, are on it: names below a descriptor of the
            // tmpfs do not lead to what lies over its root.
            self.replace_root(detached);
        }
        Ok(wanted)
    }

    fn kernel_overlay(
        &self,
        lower: &[Lower],
        upper: Option<Upper>,
        flags: MountFlags,
    ) -> Outcome<OwnedFd> {
        let lowers =
            lower.iter().map(|lower| self.open_lower(lower)).collect::<Outcome<Vec<_>>>()?;
        let names: Vec<String> = lowers.iter().map(fd_path).collect();
        let context = FsContext::open("overlay")?;
        context.set_flag("userxattr")?.set_string("source", "bryo")?;
        context.set_string("lowerdir", names.join(":"))?;
        // Held until the mount is made: before Linux 6.5 the names are looked up only then.
        let held = self.open_upper(upper)?;
        if let Some((upper, work)) = &held {
            context.set_flag("volatile")?;
            context.set_string("upperdir", fd_path(upper))?.set_string("workdir", fd_path(work))?;
        }
        Ok(context.mount(attributes(flags))?)
    }

    /// Upper and work directory.
    fn open_upper(&self, upper: Option<Upper>) -> Outcome<Option<(OwnedFd, OwnedFd)>> {
        match upper {
            Some(Upper::Layer(layer)) => {
                let (upper, work) = self.layers.directories(layer).ok_or(Errno::ENOENT)?;
                Ok(Some((open::open_host(upper.as_path())?, open::open_host(work.as_path())?)))
            }
            Some(Upper::Scratch { number, mode }) => {
                let scratch = self.scratch.as_ref().ok_or(Errno::EINVAL)?;
                let made = scratch.make_upper(number, mode)?;
                Ok(Some((made.upper, made.work)))
            }
            Some(Upper::Held(layer)) => {
                let made = self.take_held(layer)?;
                Ok(Some((made.upper, made.work)))
            }
            None => Ok(None),
        }
    }

    pub(super) fn open_lower(&self, lower: &Lower) -> Outcome<OwnedFd> {
        match lower {
            Lower::Host { path, .. } => Ok(open::open_host(path.as_path())?),
            Lower::Scratch(layer) => {
                if let Some(kept) = self.layers.mask(*layer) {
                    return Ok(open::open_host(kept.as_path())?);
                }
                let scratch = self.scratch.as_ref().ok_or(Errno::EINVAL)?;
                let directory = scratch.layer(*layer)?;
                Ok(rustix::io::fcntl_dupfd_cloexec(directory.as_fd(), 3)?)
            }
        }
    }
}

/// Makes sure, in the mount namespace of the host, that each lower directory of the plan is on the mount
/// that the plan saw; the step's index and why when one is not.
pub fn check_lowers(plan: &Plan) -> Result<(), (usize, Failure)> {
    for (number, step) in plan.steps.iter().enumerate() {
        let Action::Fs(FsStep::Overlay { lower, .. }) = &step.action else { continue };
        for lower in lower {
            let Lower::Host { path, mount } = lower else { continue };
            let found = open::open_host(path.as_path()).and_then(mount::mount_id);
            match found {
                Ok(id) if id == *mount => {}
                Ok(_) => return Err((number, Errno::ESTALE.into())),
                Err(errno) => return Err((number, errno.into())),
            }
        }
    }
    Ok(())
}
