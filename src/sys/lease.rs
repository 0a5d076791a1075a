//! What others do with an open file: leases, which tell whether anybody has it open for writing, and shared locks of
//! open file descriptions, which directories have too; `fcntl(2)`.

use std::os::fd::{AsFd, AsRawFd};

use super::errno::{Result, check};

/// `F_SETSIG` of `<linux/fcntl.h>`, which the libc crate lacks.
const F_SETSIG: libc::c_int = 10;

/// Whether no descriptor and no mapping anywhere can write to the regular file that `file` has open for
/// reading. The caller must own the file.
///
/// A read lease is given only then; it is given back at once. Who opens the file for writing in that
/// moment waits for it. `EAGAIN` when there is a writer is `false`; other errors say that this file system,
/// or this caller, has no leases.
pub fn has_no_writer(file: impl AsFd) -> Result<bool> {
    let fd = file.as_fd().as_raw_fd();
    // Breaking the lease would send SIGIO, which kills; SIGURG is ignored unless somebody asks for it.
    // SAFETY: F_SETSIG takes an integer, and the descriptor is borrowed for the call.
    check(unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) })?;
    // SAFETY: F_SETLEASE takes an integer, and the descriptor is borrowed for the call.
    match check(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) }) {
        Ok(_) => {}
        Err(super::errno::Errno::EAGAIN) => return Ok(false),
        Err(error) => return Err(error),
    }
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) })?;
    Ok(true)
}

/// A shared lock on all of a file or directory that is open for reading, until this open description of it is closed
/// everywhere.
pub fn share(file: impl AsFd) -> Result<()> {
    lock(file, libc::F_OFD_SETLK, libc::F_RDLCK).map(drop)
}

/// Whether another open description has such a lock.
pub fn is_shared(file: impl AsFd) -> Result<bool> {
    // What only asks needs no descriptor that can be written to, which there is none of for a directory.
    Ok(lock(file, libc::F_OFD_GETLK, libc::F_WRLCK)? != libc::F_UNLCK)
}

fn lock(file: impl AsFd, command: libc::c_int, kind: libc::c_int) -> Result<libc::c_int> {
    let fd = file.as_fd().as_raw_fd();
    let short = |value: libc::c_int| libc::c_short::try_from(value).unwrap_or_default();
    let mut wanted = libc::flock {
        l_type: short(kind),
        l_whence: short(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: both commands take a `struct flock`, which is ours alone, and the descriptor is borrowed for the call.
    check(unsafe { libc::fcntl(fd, command, &raw mut wanted) })?;
    Ok(wanted.l_type.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::Scratch;
    use std::fs::{File, OpenOptions};

    #[test]
    fn a_writer_is_seen_as_long_as_it_has_the_file_open() {
        let scratch = Scratch::new();
        let path = scratch.0.join("f");
        std::fs::write(&path, "x").unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(has_no_writer(&reader), Ok(true));
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        assert_eq!(has_no_writer(&reader), Ok(false));
        drop(writer);
        let other = File::open(&path).unwrap();
        assert_eq!(has_no_writer(&reader), Ok(true));
        drop(other);
    }
}
