//! Memory straight from the kernel: zero at first, and the kernel's again when it is dropped.
//!
//! For what is large, comes in waves, and is held by a process that goes on for long: a heap keeps what lies below
//! anything that is still in use.

use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

/// Bytes in whole pages.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    length: usize,
}

impl Pages {
    /// So many bytes, which are not 0; none when the kernel has no more for this process.
    pub fn new(length: usize) -> Option<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing that is there.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        NonNull::new(start.cast()).map(|start| Self { start, length })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is that long, readable, initialised by the kernel, and ours until the drop.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and writable; the borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole, to which nobody has a reference any more. It cannot fail.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_zero_at_first_and_hold_what_is_written() {
        let mut pages = Pages::new(70_000).unwrap();
        assert!(pages.len() == 70_000 && pages.iter().all(|byte| *byte == 0));
        pages.fill(7);
        assert!(pages.iter().all(|byte| *byte == 7));
        assert!(Pages::new(usize::MAX / 2).is_none());
    }
}
