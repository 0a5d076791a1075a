//! File systems that no disk holds: tmpfs, proc, sysfs, devpts, mqueue, cgroup2.

use std::os::fd::OwnedFd;

use super::{Builder, Layers, Outcome, attributes};
use crate::plan::step::{MountFlags, Room};
use crate::spec::SandboxPath;
use crate::sys::errno::Errno;
use crate::sys::mount::{self, FsContext, MountAttr};

/// A tmpfs has a file for each page that it may hold, and never less than this.
const FEWEST_FILES: u64 = 16_384;
/// What the kernel counts for a file, be it empty, and for each name of it after the first; what its attributes
/// take is counted in the same room (`BOGO_INODE_SIZE`, Linux 6.6).
const FILE: u64 = 1024;
/// What the kernel keeps of two access lists, which it does not count: those of a directory, each as long as the filter
/// `attributes` lets it be.
const LISTS: u64 = 2 * 512;
/// What is left for files of a tmpfs of which all is counted, if that is no more than a quarter.
const LEAST_FOR_FILES: u64 = 256 << 10;
const PAGE: u64 = 4096;

/// How much a tmpfs may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// The kernel's default: half of the memory.
    Default,
    /// So many bytes of content. Files take more, each of them a little.
    Content(u64),
    /// So many bytes of content, files, attributes and access lists together.
    Whole(u64),
}

impl Size {
    /// Bytes of content, and how many files. Neither is 0, which would be no limit.
    fn limits(self) -> Option<(u64, u64)> {
        match self {
            Self::Default => None,
            Self::Content(bytes) => Some((bytes, (bytes / PAGE).max(FEWEST_FILES))),
            Self::Whole(bytes) => {
                let files = (bytes / 9).max(LEAST_FOR_FILES.min(bytes / 4)) / FILE;
                let content = bytes.saturating_sub(files * (FILE + LISTS)) / PAGE * PAGE;
                Some((content.max(PAGE), files.max(1)))
            }
        }
    }
}

/// A detached, empty tmpfs.
pub(super) fn tmpfs(size: Size, mode: u32, attr: MountAttr) -> Outcome<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set_string("mode", format!("{mode:o}"))?;
    if let Some((bytes, files)) = size.limits() {
        context.set_string("size", bytes.to_string())?;
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
            (Room::Own(None), _) => tmpfs(Size::Default, mode, attr)?,
            // It is taken off what all that is written may take.
            (Room::Own(Some(size)), Some(_)) => tmpfs(Size::Whole(size), mode, attr)?,
            (Room::Own(Some(size)), None) => tmpfs(Size::Content(size), mode, attr)?,
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

#[cfg(test)]
mod tests {
    use super::super::carry::lists::SHORT_LIST;
    use super::*;
    use crate::spec::seccomp::{Call, Operator, Rule, file};

    #[test]
    fn the_longest_access_list_that_the_filter_passes_takes_what_is_reckoned_for_it() {
        let policy = file::builtin("attributes").unwrap().unwrap();
        let sets = |rule: &&Rule| rule.calls.contains(&Call::Name("setxattr".to_owned()));
        let rule = policy.rules.iter().find(sets).unwrap();
        assert_eq!(rule.args[0].operator(), Operator::Greater);
        assert_eq!(rule.args[0].value(), SHORT_LIST as u64);
        // `struct posix_acl`: 28 bytes, and 8 for each entry, as in the attribute behind its first 4.
        let kept = 28 + (SHORT_LIST as u64 - 4);
        assert_eq!(2 * kept.next_power_of_two(), LISTS);
    }

    #[test]
    fn content_and_files_together_are_no_more_than_the_whole_and_neither_is_without_limit() {
        for shift in 0..44 {
            for bytes in [1_u64 << shift, (1 << shift) + 1, 3 << shift, (1 << shift) - 1] {
                let (content, files) = Size::Whole(bytes).limits().unwrap();
                assert!(content > 0 && content % PAGE == 0 && files > 0, "{bytes}");
                let taken = content + files * (FILE + LISTS);
                assert!(taken <= bytes.max(PAGE + FILE + LISTS), "{bytes}");
                assert!(content + PAGE >= bytes / 2, "{bytes}: {content}");
            }
        }
        assert_eq!(Size::Whole(1 << 20).limits(), Some((512 << 10, 256)));
        assert_eq!(Size::Whole(9 << 30).limits(), Some((7 << 30, 1 << 20)));
        assert_eq!(Size::Content(1 << 20).limits(), Some((1 << 20, 16_384)));
    }
}
