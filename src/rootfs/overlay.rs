//! Overlays: the kernel's by its mount API, and fuse-overlayfs' by what its server mounted.
//!
//! # Decisions
//! - Layers are handed to the kernel as `/proc/self/fd/N`: the very directories that were opened and
//!   checked, whatever their names are meanwhile; no name has to be escaped (`:`, `,`, `\`), none is
//!   too long for fsconfig(2)'s 256 bytes, and `/proc/self/mountinfo` shows the payload no path of the
//!   host. Descriptors themselves (`FSCONFIG_SET_FD`) are taken only since Linux 6.13.
//! - `userxattr` is what the kernel allows in a user namespace; redirects, metacopy and index are off
//!   with it.
//! - A lower directory of the host must be on the mount that the plan saw: one that was mounted over
//!   it since then is refused (`ESTALE`), because the plan did not decide about it.

use std::os::fd::{AsFd, OwnedFd};

use super::{Builder, Layers, Outcome, attributes};
use crate::plan::step::{FsStep, Lower, MountFlags, OverlayServer, Upper};
use crate::sys::errno::Errno;
use crate::sys::mount::{self, FsContext};
use crate::sys::open::{self, fd_path};

impl<L: Layers> Builder<'_, L> {
    pub(super) fn mount_overlay(&self, step: &FsStep) -> Outcome {
        let FsStep::Overlay { at, lower, upper, server, flags } = step else {
            return Err(Errno::EINVAL.into());
        };
        let target = self.target(at)?;
        let detached = match server {
            OverlayServer::Kernel => self.kernel_overlay(lower, *upper, *flags)?,
            OverlayServer::Fuse { .. } => return Err(Errno::ENOSYS.into()),
        };
        Ok(mount::move_mount(&detached, &target)?)
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
        match upper {
            Some(Upper::Layer(layer)) => {
                let (upper, work) = self.layers.directories(layer).ok_or(Errno::ENOENT)?;
                let open = |path: &crate::spec::HostPath| open::open_host(path.as_path());
                set_upper(&context, open(upper)?, open(work)?)?;
            }
            Some(Upper::Scratch { number, mode }) => {
                let scratch = self.scratch.as_ref().ok_or(Errno::EINVAL)?;
                let (upper, work) = scratch.make_upper(number, mode)?;
                set_upper(&context, upper, work)?;
            }
            None => {}
        }
        Ok(context.mount(attributes(flags))?)
    }

    fn open_lower(&self, lower: &Lower) -> Outcome<OwnedFd> {
        match lower {
            Lower::Host { path, mount } => {
                let directory = open::open_host(path.as_path())?;
                if mount::mount_id(&directory)? == *mount {
                    Ok(directory)
                } else {
                    Err(Errno::ESTALE.into())
                }
            }
            Lower::Scratch(layer) => {
                let scratch = self.scratch.as_ref().ok_or(Errno::EINVAL)?;
                let directory = scratch.layer(*layer)?;
                Ok(rustix::io::fcntl_dupfd_cloexec(directory.as_fd(), 3)?)
            }
        }
    }
}

fn set_upper(context: &FsContext, upper: impl AsFd, work: impl AsFd) -> Outcome {
    context.set_string("upperdir", fd_path(&upper))?.set_string("workdir", fd_path(&work))?;
    Ok(())
}
