//! The mount API by descriptors: `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`, `fsopen(2)`.
//!
//! # Theory of operation
//! A mount is made detached, given its attributes, and only then moved to a place that has been
//! opened before. No path is resolved twice, and no moment exists in which a mount is visible
//! with the wrong flags. All descriptors are close-on-exec.
//!
//! # Not here
//! The old `mount(2)`: nothing needs it. What to mount where: `rootfs`.

use std::fmt;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, StatxFlags};
use rustix::mount::UnmountFlags;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use rustix::path::Arg;

use super::errno::{Errno, Failure, Result, check};

super::flags! {
    /// Attributes of a mount, `MOUNT_ATTR_*` of `mount_setattr(2)`.
    MountAttr: u64 {
        /// Nothing below can be written.
        RDONLY = 0x1;
        /// Set-id bits and file capabilities mean nothing.
        NOSUID = 0x2;
        /// Device nodes cannot be opened.
        NODEV = 0x4;
        /// Nothing can be executed.
        NOEXEC = 0x8;
        /// Reading does not change access times.
        NOATIME = 0x10;
        /// Reading always changes access times.
        STRICTATIME = 0x20;
        /// Access times of directories do not change.
        NODIRATIME = 0x80;
        /// Symbolic links are not followed; since Linux 5.14.
        NOSYMFOLLOW = 0x0020_0000;
    }
}

/// The field of the attributes that holds how access times change: it is a value, not a bit, and
/// must be cleared as a whole before another value is set.
const ATIME_FIELD: u64 = 0x70;

/// How mounts made below a mount spread to its copies, `mount_namespaces(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither to nor from.
    Private,
    /// Both ways.
    Shared,
    /// From its master, not to it.
    Slave,
    /// Neither, and it cannot be bound elsewhere.
    Unbindable,
}

/// Whether a call is for one mount or for all below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This mount.
    One,
    /// This mount and every one below it.
    Recursive,
}

/// `open_tree(2)` with `OPEN_TREE_CLONE`, since Linux 5.2: a detached copy of the mount at `path`
/// (with an empty path, of what `dir` itself is), to be moved somewhere: a bind.
///
/// `EINVAL` for a descriptor that was opened in another mount namespace: whoever clones into a new
/// one opens there what is to be copied.
///
/// In a user namespace, a copy with [`Reach::One`] of a mount that has locked mounts below it is
/// `EINVAL`: the kernel does not show what they hide.
pub fn clone_tree(dir: impl AsFd, path: impl Arg, reach: Reach) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    if reach == Reach::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(dir, path, flags)?)
}

/// `move_mount(2)`, since Linux 5.2: attaches the detached mount `from` on what `to` is.
///
/// `to` is covered by it: the descriptor goes on naming what lies underneath. A directory goes on
/// directories, anything else on anything else; `EINVAL` when they do not match, and when `to` is
/// not in the calling mount namespace (from Linux 6.15 on it may also be in a detached tree).
pub fn move_mount(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(from, "", to, "", flags)?)
}

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountAttrArgs {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `mount_setattr(2)`, since Linux 5.12, on the mount at whose root `mount` is.
///
/// Recursively it is all or nothing: when one mount refuses (`EPERM`: a flag that is locked in
/// this user namespace would be cleared), none is changed. What is set here is locked only for
/// mount namespaces of user namespaces below: whoever has capabilities in this one can clear it.
pub fn mount_setattr(
    mount: impl AsFd,
    reach: Reach,
    set: MountAttr,
    clear: MountAttr,
    propagation: Option<Propagation>,
) -> Result<()> {
    let sets_atime = set.bits() & ATIME_FIELD != 0 || clear.bits() & ATIME_FIELD != 0;
    let args = MountAttrArgs {
        attr_set: set.bits(),
        attr_clr: if sets_atime { clear.bits() | ATIME_FIELD } else { clear.bits() },
        propagation: propagation.map_or(0, |kind| match kind {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        }),
        userns_fd: 0,
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if reach == Reach::Recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open during the call, the path is a constant C string, and `args`
    // is the kernel's structure with its size.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            &raw const args,
            size_of::<MountAttrArgs>(),
        )
    };
    check(ret).map(drop)
}

/// Makes the directory `new_root` the root of the calling process and takes the old root away.
///
/// `pivot_root(".", ".")` puts the old root over the new one, and detaching `.` removes it again:
/// no directory for the old root is needed (`pivot_root(2)`). `new_root` must be the root of an
/// attached mount. The current directory is the new `/` afterwards.
pub fn pivot_root(new_root: impl AsFd) -> Result<()> {
    rustix::process::fchdir(new_root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount_detach(".")?;
    Ok(rustix::process::chdir("/")?)
}

/// `umount2(2)` with `MNT_DETACH`: takes the mount at `path`, and all below it, out of the tree.
///
/// Those who have something open in it keep it.
pub fn unmount_detach(path: impl Arg) -> Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// The id of the mount in which `fd` is, as in the first column of `/proc/self/mountinfo`.
///
/// By `statx(2)` with `STATX_MNT_ID`, since Linux 5.8; `ENOSYS` before.
pub fn mount_id(fd: impl AsFd) -> Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(fd, "", flags, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(Errno::ENOSYS);
    }
    Ok(stat.stx_mnt_id)
}

/// A filesystem refused to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsError {
    /// What the call answered.
    pub errno: Errno,
    /// What the filesystem said about it, a line each, such as `overlay: Unknown parameter 'x'`.
    /// Often empty: much of what overlay has to say goes to the kernel's own log only.
    pub log: Vec<String>,
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self { errno: error.errno, said: error.log.join("; ") }
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        for line in &self.log {
            write!(f, "; {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FsError {}

/// A filesystem being configured, from `fsopen(2)` (Linux 5.2) to `fsmount(2)`.
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
}

impl FsContext {
    /// Begins with a filesystem type such as `tmpfs`; `ENODEV` when the kernel has none of that
    /// name.
    pub fn open(fs_type: &str) -> std::result::Result<Self, FsError> {
        match rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd }),
            Err(errno) => Err(FsError { errno: errno.into(), log: Vec::new() }),
        }
    }

    /// Sets `key=value`; at most 255 bytes of value, `EINVAL` if there are more. For overlay that
    /// is a dozen layers by descriptor path; from Linux 6.7 on each can be set by `lowerdir+`.
    pub fn set_string(&self, key: &str, value: impl Arg) -> std::result::Result<&Self, FsError> {
        self.explain(rustix::mount::fsconfig_set_string(&self.fd, key, value))?;
        Ok(self)
    }

    /// Sets an option without a value.
    pub fn set_flag(&self, key: &str) -> std::result::Result<&Self, FsError> {
        self.explain(rustix::mount::fsconfig_set_flag(&self.fd, key))?;
        Ok(self)
    }

    /// Sets an option to an open descriptor. Overlay takes layers so (`lowerdir+`, `upperdir`,
    /// `workdir`) since Linux 6.13, and says `EINVAL` before.
    pub fn set_fd(&self, key: &str, value: impl AsFd) -> std::result::Result<&Self, FsError> {
        self.explain(rustix::mount::fsconfig_set_fd(&self.fd, key, value))?;
        Ok(self)
    }

    /// Makes the filesystem and a detached mount of it, to be moved by [`move_mount`].
    pub fn mount(self, attr: MountAttr) -> std::result::Result<OwnedFd, FsError> {
        self.explain(rustix::mount::fsconfig_create(&self.fd))?;
        let attr = u32::try_from(attr.bits())
            .map_err(|_| FsError { errno: Errno::EINVAL, log: Vec::new() })?;
        let attr = MountAttrFlags::from_bits_retain(attr);
        self.explain(rustix::mount::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attr))
    }

    /// Adds to a failure what the filesystem logged.
    fn explain<T>(&self, result: rustix::io::Result<T>) -> std::result::Result<T, FsError> {
        result.map_err(|errno| FsError { errno: errno.into(), log: self.read_log() })
    }

    /// Each read(2) gives one message, `e ` before an error, `w ` a warning, `i ` a note; then
    /// `ENODATA`. The kernel keeps eight of them.
    fn read_log(&self) -> Vec<String> {
        let mut log = Vec::new();
        let mut line = [0_u8; 1024];
        while let Ok(length) = rustix::io::read(&self.fd, &mut line) {
            let text = String::from_utf8_lossy(&line[..length]);
            let text = text.trim_end();
            log.push(text.split_once(' ').map_or(text, |(_, message)| message).to_owned());
        }
        log
    }
}

impl AsFd for FsContext {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests;
