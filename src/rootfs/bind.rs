//! Trees of the host put into the sandbox's, and covers over what must not be seen.

use std::os::fd::AsFd;

use rustix::fs::FileType;

use super::{Builder, Layers, Outcome, attributes};
use crate::plan::step::{Cover, MountFlags};
use crate::spec::{HostPath, SandboxPath};
use crate::sys::errno::Errno;
use crate::sys::mount::{self, MountAttr, Propagation, Reach};
use crate::sys::open;

impl<L: Layers> Builder<'_, L> {
    /// Clones a tree with everything mounted below, sets the flags on all of it at once, and puts it
    /// in place. Flags that the host has set stay: in a user namespace they are locked.
    pub(super) fn bind(&self, from: &HostPath, at: &SandboxPath, flags: MountFlags) -> Outcome {
        let target = self.target(at)?;
        let tree = mount::clone_tree(open::open_host(from.as_path())?, "", Reach::Recursive)?;
        let none = MountAttr::empty();
        mount::mount_setattr(
            &tree,
            Reach::Recursive,
            attributes(flags),
            none,
            Some(Propagation::Private),
        )?;
        Ok(mount::move_mount(&tree, &target)?)
    }

    pub(super) fn cover(&mut self, at: &SandboxPath, with: Cover) -> Outcome {
        match with {
            Cover::Directory => self.cover_with(at, FileType::Directory),
            Cover::File => self.cover_with(at, FileType::RegularFile),
            Cover::IfThere => match self.file_type(at)? {
                Some(FileType::Directory) => self.cover_with(at, FileType::Directory),
                Some(_) => self.cover_with(at, FileType::RegularFile),
                None => Ok(()),
            },
            Cover::ReadOnlyIfThere => self.make_read_only(at),
        }
    }

    fn cover_with(&mut self, at: &SandboxPath, kind: FileType) -> Outcome {
        let target = self.target(at)?;
        let scratch = self.scratch()?;
        let empty = match kind {
            FileType::Directory => scratch.empty_directory()?,
            _ => scratch.empty_file()?,
        };
        Ok(mount::move_mount(&empty, &target)?)
    }

    /// Puts what stands at `at` over itself, read-only.
    fn make_read_only(&self, at: &SandboxPath) -> Outcome {
        let target = match self.target(at) {
            Ok(target) => target,
            Err(failure) if failure.errno == Errno::ENOENT => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let tree = mount::clone_tree(&target, "", Reach::Recursive)?;
        let none = MountAttr::empty();
        mount::mount_setattr(tree.as_fd(), Reach::Recursive, MountAttr::RDONLY, none, None)?;
        Ok(mount::move_mount(&tree, &target)?)
    }

    fn file_type(&self, at: &SandboxPath) -> Outcome<Option<FileType>> {
        match self.target(at) {
            Ok(target) => Ok(Some(FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode))),
            Err(failure) if failure.errno == Errno::ENOENT => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
