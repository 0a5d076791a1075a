//! Opening paths without being led astray: `openat2(2)`, and the calls that create by descriptor.
//!
//! # Theory of operation
//! A path is resolved once, by the kernel, under rules that say where it may lead; what comes out
//! is an `O_PATH` descriptor, and everything later goes by that descriptor. Every descriptor is
//! close-on-exec.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::path::Arg;

use super::errno::{Errno, Result};

/// How often an `EAGAIN` of `openat2` is tried again.
const TRIES: u32 = 64;

/// `openat2(2)`, since Linux 5.6, with `O_CLOEXEC`.
///
/// With `RESOLVE_IN_ROOT` or `RESOLVE_BENEATH` the kernel answers `EAGAIN` when anything on the
/// machine was renamed or mounted while it walked over a `..`; it is then tried again, a bounded
/// number of times, so that somebody who renames without end cannot hold us.
pub fn openat2(
    dir: impl AsFd,
    path: impl Arg,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let path = path.into_c_str()?;
    let dir = dir.as_fd();
    for _ in 0..TRIES {
        match rustix::fs::openat2(dir, &*path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(rustix::io::Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::EAGAIN)
}

/// Opens `path` as a process whose root is `root` would: absolute links and `..` stay inside.
pub fn open_path_in_root(root: impl AsFd, path: impl Arg) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH, Mode::empty(), resolve)
}

/// Opens `path` below `dir` and nothing else: no link, no `..` out of it, no other mount.
///
/// `ELOOP` for a link, `EXDEV` for a way out or another mount.
pub fn open_path_beneath(dir: impl AsFd, path: impl Arg) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    openat2(dir, path, OFlags::PATH, Mode::empty(), resolve)
}

/// Opens a path of the host that is already canonical; a link anywhere in it is `ELOOP`.
pub fn open_host(path: impl Arg) -> Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, OFlags::PATH, Mode::empty(), resolve)
}

/// What is in a file of a procfs, whose size it does not say: `expected` bytes are room for nearly all of them,
/// and then it takes two reads.
pub fn read_whole(path: impl Arg, expected: usize) -> Result<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut whole = Vec::with_capacity(expected);
    loop {
        if whole.spare_capacity_mut().is_empty() {
            whole.reserve(whole.len());
        }
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut whole)) {
            Ok(0) => return Ok(whole),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Opens what an `O_PATH` descriptor names once more, for reading or writing.
///
/// A directory is opened as its own `.`. Anything else goes through `/proc/self/fd`, and since
/// that may be masked or a forgery, the result must be the same inode: `ESTALE` if not.
pub fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
    let before = rustix::fs::fstat(&fd)?;
    let flags = flags | OFlags::CLOEXEC;
    if FileType::from_raw_mode(before.st_mode) == FileType::Directory {
        return Ok(rustix::fs::openat(&fd, ".", flags | OFlags::DIRECTORY, Mode::empty())?);
    }
    let opened = rustix::fs::open(fd_path(&fd), flags & !OFlags::NOFOLLOW, Mode::empty())?;
    let after = rustix::fs::fstat(&opened)?;
    if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino) {
        return Err(Errno::ESTALE);
    }
    Ok(opened)
}

/// `/proc/self/fd/N`: the descriptor as a path, for calls that take nothing else.
pub fn fd_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Makes the directory `name` in `dir` and opens it; an existing directory is opened as it is.
///
/// `name` is one component; a link in its place is `ELOOP`, any other file `ENOTDIR`.
pub fn create_dir(dir: impl AsFd, name: impl Arg, mode: Mode) -> Result<OwnedFd> {
    let name = one_component(name)?;
    match rustix::fs::mkdirat(&dir, &*name, mode) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(dir, &*name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), resolve)
}

/// Makes the empty regular file `name` in `dir`, which must not exist, and opens it `O_PATH`.
pub fn create_file(dir: impl AsFd, name: impl Arg, mode: Mode) -> Result<OwnedFd> {
    let name = one_component(name)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    drop(rustix::fs::openat(&dir, &*name, flags, mode)?);
    open_path_beneath(dir, &*name)
}

/// Makes the symbolic link `name` in `dir`, which must not exist.
pub fn create_symlink(dir: impl AsFd, name: impl Arg, target: impl Arg) -> Result<()> {
    let name = one_component(name)?;
    Ok(rustix::fs::symlinkat(target, dir, &*name)?)
}

/// Makes an overlay whiteout: the character device 0:0, which hides `name` in the layers below.
///
/// Since Linux 5.8 no capability is needed for it; on a filesystem mounted `nodev` it works too.
pub fn create_whiteout(dir: impl AsFd, name: impl Arg) -> Result<()> {
    let name = one_component(name)?;
    let mode = Mode::from_raw_mode(0o000);
    Ok(rustix::fs::mknodat(dir, &*name, FileType::CharacterDevice, mode, 0)?)
}

/// Sets an extended attribute of what `fd` names, which may be `O_PATH`.
///
/// `fsetxattr(2)` refuses `O_PATH` descriptors (`EBADF`), so those go through `/proc/self/fd`.
pub fn set_xattr(fd: impl AsFd, name: &str, value: &[u8]) -> Result<()> {
    match rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty()) {
        Err(rustix::io::Errno::BADF) => {
            Ok(rustix::fs::setxattr(fd_path(fd), name, value, XattrFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// An extended attribute of what `fd` names, which may be `O_PATH`; `None` when it has none.
pub fn get_xattr(fd: impl AsFd, name: &str) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0_u8; 256];
    loop {
        let read = match rustix::fs::fgetxattr(&fd, name, value.as_mut_slice()) {
            Err(rustix::io::Errno::BADF) => {
                rustix::fs::getxattr(fd_path(&fd), name, value.as_mut_slice())
            }
            other => other,
        };
        match read {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(rustix::io::Errno::NODATA) => return Ok(None),
            // 64 KiB is the kernel's limit for one value.
            Err(rustix::io::Errno::RANGE) if value.len() < 65_536 => value.resize(65_536, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A name that cannot lead anywhere else than into its directory.
fn one_component(name: impl Arg) -> Result<CString> {
    let name = name.into_c_str()?.into_owned();
    match name.to_bytes() {
        b"" | b"." | b".." => Err(Errno::EINVAL),
        bytes if bytes.contains(&b'/') => Err(Errno::EINVAL),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{Scratch, alone, ordinary_user};
    use std::os::unix::fs::symlink;

    fn dir(scratch: &Scratch) -> OwnedFd {
        open_host(scratch.0.canonicalize().unwrap()).unwrap()
    }

    #[test]
    fn an_absolute_link_stays_in_the_root_it_is_opened_in() {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.0.join("etc")).unwrap();
        std::fs::write(scratch.0.join("etc/passwd"), "ours").unwrap();
        symlink("/etc/passwd", scratch.0.join("link")).unwrap();
        symlink("../../../etc/passwd", scratch.0.join("up")).unwrap();
        let root = dir(&scratch);
        for name in ["link", "up", "/etc/../../etc/passwd"] {
            let file = open_path_in_root(&root, name).unwrap();
            let mut text = [0_u8; 16];
            let length =
                rustix::io::read(reopen(file, OFlags::RDONLY).unwrap(), &mut text).unwrap();
            assert_eq!(&text[..length], b"ours");
        }
    }

    #[test]
    fn beneath_refuses_links_and_ways_out() {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.0.join("a")).unwrap();
        symlink("a", scratch.0.join("link")).unwrap();
        let root = dir(&scratch);
        assert!(open_path_beneath(&root, "a").is_ok());
        assert_eq!(open_path_beneath(&root, "link").unwrap_err(), Errno::ELOOP);
        assert_eq!(open_path_beneath(&root, "a/../..").unwrap_err(), Errno::EXDEV);
        assert_eq!(open_path_beneath(&root, "/etc").unwrap_err(), Errno::EXDEV);
    }

    #[test]
    fn open_host_refuses_a_link_in_any_component() {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.0.join("a/b")).unwrap();
        symlink("a", scratch.0.join("link")).unwrap();
        let base = scratch.0.canonicalize().unwrap();
        assert!(open_host(base.join("a/b")).is_ok());
        assert_eq!(open_host(base.join("link/b")).unwrap_err(), Errno::ELOOP);
    }

    #[test]
    fn creating_takes_one_component_and_follows_no_link() {
        let scratch = Scratch::new();
        symlink("/etc", scratch.0.join("link")).unwrap();
        let root = dir(&scratch);
        let mode = Mode::from_raw_mode(0o700);
        assert_eq!(create_dir(&root, "a/b", mode).unwrap_err(), Errno::EINVAL);
        assert_eq!(create_dir(&root, "..", mode).unwrap_err(), Errno::EINVAL);
        assert_eq!(create_dir(&root, "link", mode).unwrap_err(), Errno::ELOOP);
        let dir = create_dir(&root, "d", mode).unwrap();
        create_dir(&root, "d", mode).unwrap();
        create_file(&dir, "f", mode).unwrap();
        create_symlink(&dir, "to", "f").unwrap();
        assert_eq!(create_symlink(&dir, "../to", "f"), Err(Errno::EINVAL));
        assert_eq!(std::fs::read_link(scratch.0.join("d/to")).unwrap(), std::path::Path::new("f"));
        assert_eq!(create_file(&dir, "f", mode).unwrap_err(), Errno::EEXIST);
        assert!(scratch.0.join("d/f").is_file());
    }

    #[test]
    fn attributes_go_through_a_path_descriptor() {
        let scratch = Scratch::new();
        std::fs::write(scratch.0.join("f"), "").unwrap();
        let file = open_path_beneath(dir(&scratch), "f").unwrap();
        assert_eq!(get_xattr(&file, "user.bryo").unwrap(), None);
        let value = vec![b'x'; 1000];
        set_xattr(&file, "user.bryo", &value).unwrap();
        assert_eq!(get_xattr(&file, "user.bryo").unwrap(), Some(value));
    }

    #[test]
    fn an_ordinary_user_can_make_a_whiteout() {
        alone(module_path!(), "an_ordinary_user_can_make_a_whiteout", || {
            use std::os::unix::fs::{FileTypeExt, MetadataExt};
            ordinary_user();
            let scratch = Scratch::new();
            create_whiteout(dir(&scratch), "gone").unwrap();
            let made = std::fs::symlink_metadata(scratch.0.join("gone")).unwrap();
            assert!(made.file_type().is_char_device());
            assert_eq!(made.rdev(), 0);
        });
    }
}
