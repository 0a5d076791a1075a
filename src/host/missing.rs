//! System calls that a run cannot do without, and that this kernel may not have.
//!
//! # Decisions
//! A run does not ask: it makes its calls. Only when one of them was answered with `ENOSYS` it is worth
//! finding out which, since the sentence of a step says what was wanted and not by which call.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::sys::mount::{MountAttr, Reach, mount_setattr};

/// A call that is not there: the kernel is too old, or a filter says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingCall {
    /// Its name.
    pub name: &'static str,
    /// The release of Linux that brought it.
    pub since: &'static str,
}

/// A call that changes nothing.
type Try<'a> = &'a dyn Fn() -> Result<(), Errno>;

/// Makes each call in a way that changes nothing, and gives the first that is not known.
pub fn probe_missing_call() -> Option<MissingCall> {
    let root = || rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let openat2: Try<'_> = &|| {
        let nothing = ResolveFlags::empty();
        rustix::fs::openat2(CWD, "", OFlags::PATH, Mode::empty(), nothing).map(drop)
    };
    let open_tree: Try<'_> =
        &|| rustix::mount::open_tree(CWD, "", OpenTreeFlags::empty()).map(drop);
    let move_mount: Try<'_> =
        &|| rustix::mount::move_mount(CWD, "", CWD, "", MoveMountFlags::empty());
    let fsopen: Try<'_> = &|| rustix::mount::fsopen("", FsOpenFlags::empty()).map(drop);
    let fsconfig: Try<'_> = &|| rustix::mount::fsconfig_create(root()?);
    let fsmount: Try<'_> = &|| {
        let (flags, attributes) = (FsMountFlags::empty(), MountAttrFlags::empty());
        rustix::mount::fsmount(root()?, flags, attributes).map(drop)
    };
    let setattr: Try<'_> = &|| {
        let nothing = MountAttr::empty();
        let done = mount_setattr(root()?, Reach::One, nothing, nothing, None);
        done.map_err(|errno| Errno::from_raw_os_error(errno.raw()))
    };
    let all = [
        ("openat2", "5.6", openat2),
        ("open_tree", "5.2", open_tree),
        ("move_mount", "5.2", move_mount),
        ("fsopen", "5.2", fsopen),
        ("fsconfig", "5.2", fsconfig),
        ("fsmount", "5.2", fsmount),
        ("mount_setattr", "5.12", setattr),
    ];
    let missing = all.into_iter().find(|(_, _, call)| call() == Err(Errno::NOSYS));
    missing.map(|(name, since, _)| MissingCall { name, since })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_kernel_that_runs_the_tests_has_them_all() {
        assert_eq!(super::probe_missing_call(), None);
    }
}
