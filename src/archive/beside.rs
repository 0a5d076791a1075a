//! What is made beside its place until it is whole, and what a killed copy left of that.
//!
//! # Theory of operation
//! A name is `.bryo-cp-` with sixteen random hexadecimal digits. Who makes a file or a directory under one holds a
//! lock on it (`flock`) until it has its place: what nobody holds was left, and the next copy to that directory
//! removes it. Between making and locking a copy of somebody else's may have taken it for left, which shows: it has
//! no name any more, or is locked.
//!
//! A link cannot be locked, and neither is one more name of a file. Those have their place at once; left are such that
//! are older than that ever takes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, mkdirat, openat,
    unlinkat,
};
use rustix::io::Errno;

use super::place::enter;
use super::resolve::look;

const PREFIX: &[u8] = b".bryo-cp-";
const DIGITS: usize = 16;
/// The time after which a link, or a second name, was left.
const OLD: Duration = Duration::from_mins(1);
/// How often another copy may be so unlucky as to take what is being made for left.
const TRIES: usize = 5;

/// A name nobody knows.
pub(super) fn beside() -> Result<String, Errno> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".bryo-cp-{:016x}", u64::from_ne_bytes(random)))
}

/// A new file under such a name, held.
pub(super) fn make_file(parent: BorrowedFd<'_>) -> Result<(String, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    make(|name| openat(parent, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR))
}

/// A new directory under such a name, held.
pub(super) fn make_directory(parent: &OwnedFd) -> Result<(String, OwnedFd), Errno> {
    make(|name| {
        mkdirat(parent, name, Mode::RWXU)?;
        enter(parent, name.as_bytes())
    })
}

fn make(new: impl Fn(&str) -> Result<OwnedFd, Errno>) -> Result<(String, OwnedFd), Errno> {
    let mut why = Errno::AGAIN;
    for _ in 0..TRIES {
        let name = beside()?;
        let made = match new(&name) {
            Err(Errno::NOENT) => {
                why = Errno::NOENT;
                continue;
            }
            other => other?,
        };
        match flock(&made, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {}
            // A file system without locks has nobody that would take it for left either.
            Ok(()) | Err(_) if fstat(&made)?.st_nlink > 0 => return Ok((name, made)),
            Ok(()) | Err(_) => {}
        }
    }
    Err(why)
}

/// Removes a tree of ours that is not in its place.
pub(super) fn remove(parent: impl AsFd, name: &str) -> io::Result<()> {
    // A directory without its permissions is not in it: those are set last.
    std::fs::remove_dir_all(format!("{}/{name}", crate::sys::open::fd_path(&parent)))
}

/// Removes what killed copies left in a directory. What cannot be removed stays.
pub(super) fn sweep(directory: &OwnedFd) {
    // It may be open for its path alone.
    let Ok(entries) = enter(directory, b".").and_then(Dir::new) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_bytes();
        let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == DIGITS);
        if digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            sweep_one(directory, name).unwrap_or_default();
        }
    }
}

fn sweep_one(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let Some(stat) = look(parent, name)? else { return Ok(()) };
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Symlink || kind == FileType::RegularFile && stat.st_nlink > 1 {
        return if age(&stat) > OLD { unlinkat(parent, name, AtFlags::empty()) } else { Ok(()) };
    }
    if kind != FileType::RegularFile && kind != FileType::Directory {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let left = openat(parent, name, flags, Mode::empty())?;
    flock(&left, FlockOperation::NonBlockingLockExclusive)?;
    // It may have got its place meanwhile, and another the name.
    let (is, was) = (fstat(&left)?, look(parent, name)?.ok_or(Errno::NOENT)?);
    if (is.st_dev, is.st_ino) != (was.st_dev, was.st_ino) {
        return Ok(());
    }
    match kind {
        FileType::Directory => {
            remove(parent, std::str::from_utf8(name).unwrap_or_default()).unwrap_or_default();
            Ok(())
        }
        _ => unlinkat(parent, name, AtFlags::empty()),
    }
}

/// Since it was made, or changed in any way; nothing for what is not told.
fn age(stat: &Stat) -> Duration {
    let changed = u64::try_from(stat.st_ctime).map(Duration::from_secs).unwrap_or_default();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.saturating_sub(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let parent =
            rustix::fs::open(folder.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
                .unwrap();
        let (file, held_file) = make_file(parent.as_fd()).unwrap();
        let (directory, held_directory) = make_directory(&parent).unwrap();
        std::fs::create_dir_all(at(&directory).join("a/b")).unwrap();
        std::fs::write(at("target"), "").unwrap();
        let named = [".bryo-cp-0123", ".bryo-cp-0123456789abcdeg", "x.bryo-cp-0123456789abcdef"];
        for name in named {
            std::fs::write(at(name), "").unwrap();
        }
        // Young, and no lock tells whose they are.
        let (link, second) = (beside().unwrap(), beside().unwrap());
        std::os::unix::fs::symlink("target", at(&link)).unwrap();
        std::fs::hard_link(at("target"), at(&second)).unwrap();
        sweep(&parent);
        for name in [&file, &directory, &link, &second] {
            assert!(at(name).symlink_metadata().is_ok(), "{name}");
        }
        drop((held_file, held_directory));
        sweep(&parent);
        assert!(!at(&file).exists() && !at(&directory).exists());
        for name in named.into_iter().chain([&*link, &second, "target"]) {
            assert!(at(name).symlink_metadata().is_ok(), "{name}");
        }
    }
}
