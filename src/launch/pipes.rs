//! The caller's pipes at descriptors 0 to 2: what a payload does to one stays within its run.
//!
//! # Theory of operation
//! Whether a descriptor waits (`O_NONBLOCK`) is a flag of the open file, which every process has that got the descriptor
//! from the same shell: one that made it not wait would have a `cat` after it fail with `EAGAIN`. So the payload gets the pipe
//! opened once more, with flags of its own. How much a pipe holds (`F_SETPIPE_SZ`) is the pipe's own: that is put back
//! at the end of the run, as far as what is in it then allows it.
//!
//! # Decisions
//! - FIFOs that have a name are not opened again: it could wait for whoever is at the other end. Nor are pipes of others, which
//!   cannot be, and those that keep packets apart. Their flags are put back at the end too.
//! - What another process of the caller changed meanwhile is put back as well: nobody can know who it was.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat, fstatfs};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use crate::sys::open;

/// The file system of pipes without a name.
const PIPEFS: u64 = 0x5049_5045;
/// Flags that the payload's own gets.
const KNOWN: OFlags = OFlags::RWMODE.union(OFlags::NONBLOCK).union(OFlags::APPEND);
/// What a 64-bit kernel adds to every file that is opened.
const LARGEFILE: u32 = 0o100_000 | 0o400_000;

/// Opens a pipe once more; none where that cannot be, or would be something else.
pub fn open_again(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    if !is_pipe(fd) || u64::try_from(fstatfs(fd).ok()?.f_type) != Ok(PIPEFS) {
        return None;
    }
    let flags = fcntl_getfl(fd).ok()?;
    let others = flags.bits() & !KNOWN.bits() & !LARGEFILE;
    if others == 0 { open::reopen(fd, flags & KNOWN).ok() } else { None }
}

/// What this process has at 0 to 2.
pub(super) fn standard(number: u8) -> Option<BorrowedFd<'static>> {
    match number {
        0 => Some(rustix::stdio::stdin()),
        1 => Some(rustix::stdio::stdout()),
        2 => Some(rustix::stdio::stderr()),
        _ => None,
    }
}

/// How those of this process are; put back when it is dropped.
#[must_use]
pub struct Pipes([Option<Pipe>; 3]);

struct Pipe {
    fd: BorrowedFd<'static>,
    flags: OFlags,
    size: usize,
}

impl Pipes {
    /// Looks at them, before anybody else gets them.
    pub fn look() -> Self {
        let all = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        Self(all.map(|fd| {
            let (flags, size) = (fcntl_getfl(fd).ok()?, fcntl_getpipe_size(fd).ok()?);
            Some(Pipe { fd, flags, size })
        }))
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        for Pipe { fd, flags, size } in self.0.iter().flatten() {
            if fcntl_getfl(fd).is_ok_and(|now| now != *flags) {
                fcntl_setfl(fd, *flags).unwrap_or_default();
            }
            // It holds more than that now, or the limits of the user do not allow it any more: then it stays.
            if fcntl_getpipe_size(fd).is_ok_and(|now| now != *size) {
                fcntl_setpipe_size(fd, *size).unwrap_or_default();
            }
        }
    }
}

fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}
