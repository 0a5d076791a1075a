//! File systems that no disk holds: tmpfs, proc, sysfs, devpts, mqueue, cgroup2.

use std::os::fd::OwnedFd;

use super::{Builder, Layers, Outcome, attributes};
use crate::plan::step::{MountFlags, Room};
use crate::spec::SandboxPath;
use crate::sys::errno::Errno;
use crate::sys::mount::{self, FsContext, MountAttr};

/// A tmpfs has a file for each page that it may hold, and never less than this.
const FEWEST_FILES: u64 = 16_384;

/// A detached, empty tmpfs; `size` in bytes, the kernel's default (half of the memory) if none. What empty
/// files take of the memory does not count there, so they are counted too.
pub(super) fn tmpfs(size: Option<u64>, mode: u32, attr: MountAttr) -> Outcome<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set_string("mode", format!("{mode:o}"))?;
    if let Some(bytes) = size {
        context.set_string("size", bytes.to_string())?;
        let files = (bytes / 4096).max(FEWEST_FILES);
        context.set_string("nr_inodes", files.to_string())?;
    }
    Ok(context.mount(attr)?)
}

impl<L: Layers> Builder<'_, L> {
    pub(super) fn mount_tmpfs(
        &mut self,
        at: &SandboxPath,
        room: Room,
        mode: u32,
        flags: MountFlags,
    ) -> Outcome {
        let target = self.target(at)?;
        let attr = attributes(flags);
        let mount = match (room, &mut self.held) {
            (Room::Own(size), _) => tmpfs(size, mode, attr)?,
            (Room::Held, Some(held)) => held.place(mode, attr)?,
            (Room::Held, None) => return Err(Errno::EINVAL.into()),
        };
        Ok(mount::move_mount(mount, &target)?)
    }

    /// `proc`, `sysfs`, `devpts`, `mqueue`, or `cgroup2`, each of the new namespaces. A sysfs is read-only: its
    /// attributes are the machine's, not the sandbox's.
    pub(super) fn mount_pseudo(&self, fs_type: &str, at: &SandboxPath) -> Outcome {
        let target = self.target(at)?;
        let context = FsContext::open(fs_type)?;
        if fs_type == "devpts" {
            context.set_string("ptmxmode", "0666")?.set_string("mode", "0620")?;
        }
        let quiet = MountAttr::NOSUID.union(MountAttr::NOEXEC);
        let attr = match fs_type {
            "devpts" => quiet,
            "sysfs" => quiet.union(MountAttr::NODEV).union(MountAttr::RDONLY),
            _ => quiet.union(MountAttr::NODEV),
        };
        Ok(mount::move_mount(context.mount(attr)?, &target)?)
    }
}
