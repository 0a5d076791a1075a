//! The caller's umask, and the one that bryo itself works with.
//!
//! # Decisions
//! - A umask may take rights from the owner too (`umask 777`). The payload gets that as it is; what bryo makes for itself,
//!   in its store and beside what it writes, it has to open again, and nobody but `chmod` could remove the rest.

use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::umask;

static CALLERS: OnceLock<u32> = OnceLock::new();

/// Sees to it that what this process makes is its own to read, write and enter. To be called once, while there is one
/// thread.
pub fn keep_own_rights() {
    let was = umask(Mode::RWXG | Mode::RWXO);
    // The kernel tells it to who sets it alone.
    umask(was - Mode::RWXU);
    // A second call would take our own for the caller's.
    CALLERS.get_or_init(|| was.as_raw_mode() & 0o777);
}

/// The caller's, where [`keep_own_rights`] was called.
pub fn of_caller() -> Option<u32> {
    CALLERS.get().copied()
}
