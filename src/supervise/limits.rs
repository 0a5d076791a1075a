//! What ends a run from outside: its time, and the room left in the store.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::sys::errno::Result;
use crate::sys::event::Timer;
use crate::sys::stat::{self, Space};

/// How often the room is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The least room that the store's file system is to keep.
#[derive(Debug)]
pub struct Floor {
    /// Anything on that file system.
    pub store: OwnedFd,
    /// Per cent of its size, and of the files that it can hold.
    pub percent: u8,
}

/// The timer that goes off when the time is up.
pub(super) fn timer(timeout: Duration) -> Result<Timer> {
    let timer = Timer::new()?;
    timer.set_once(timeout)?;
    Ok(timer)
}

/// The timer that says when to look at the room.
pub(super) fn ticker() -> Result<Timer> {
    let timer = Timer::new()?;
    timer.set_interval(EVERY)?;
    Ok(timer)
}

impl Floor {
    /// Whether there is less room than there should be.
    pub(super) fn is_reached(&self) -> Result<bool> {
        let space = stat::space(&self.store)?;
        Ok(is_short(&space, self.percent))
    }
}

/// Where files are bounded they run out as bytes do, and a payload can make them faster: empty ones take no room.
fn is_short(space: &Space, percent: u8) -> bool {
    is_below(space.available, space.total, percent)
        || (space.files > 0 && is_below(space.files_available, space.files, percent))
}

fn is_below(available: u64, total: u64, percent: u8) -> bool {
    u128::from(available) * 100 < u128::from(total) * u128::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_per_cent_are_five_per_cent() {
        assert!(is_below(4, 100, 5));
        assert!(!is_below(5, 100, 5));
        assert!(!is_below(0, 0, 5));
        assert!(!is_below(u64::MAX, u64::MAX, 100));
        assert!(is_below(u64::MAX - 1, u64::MAX, 100));
    }

    #[test]
    fn files_run_out_as_bytes_do_where_they_are_bounded() {
        let space =
            |files, files_available| Space { total: 9, available: 9, files, files_available };
        assert!(is_short(&space(100, 4), 5));
        assert!(!is_short(&space(100, 5), 5));
        assert!(!is_short(&space(0, 0), 5));
        assert!(is_short(&Space { available: 0, ..space(100, 100) }, 5));
    }
}
