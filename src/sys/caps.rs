//! What the `caps` crate lacks: capabilities by number, so that those newer than it are dropped too.

use super::errno::{Errno, Result, check};

/// Numbers of capabilities: the kernel's sets have 64 bits.
const MOST: u32 = 63;

/// The highest capability this kernel knows, found by asking for one after the other: it needs no
/// `/proc`. The kernel answers `EINVAL` beyond the last.
pub fn cap_last_cap() -> Result<u32> {
    let mut last = None;
    for capability in 0..=MOST {
        match bounding_contains(capability) {
            Ok(_) => last = Some(capability),
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    last.ok_or(Errno::EINVAL)
}

/// `PR_CAPBSET_READ`: whether the bounding set of this thread holds a capability.
pub fn bounding_contains(capability: u32) -> Result<bool> {
    prctl(libc::PR_CAPBSET_READ, capability).map(|held| held == 1)
}

/// `PR_CAPBSET_DROP`: takes a capability out of the bounding set of this thread for ever. Wants
/// `CAP_SETPCAP`.
pub fn irrevocably_drop_bounding(capability: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability).map(drop)
}

fn prctl(operation: libc::c_int, capability: u32) -> Result<libc::c_long> {
    let zero: libc::c_ulong = 0;
    // SAFETY: both operations take one integer; the others are unused.
    check(unsafe { libc::prctl(operation, libc::c_ulong::from(capability), zero, zero, zero) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{CloneFlags, unshare};
    use crate::sys::testing::{alone, ordinary_user};

    #[test]
    fn the_last_capability_is_the_one_in_proc() {
        let listed = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(cap_last_cap().unwrap().to_string(), listed.trim());
    }

    #[test]
    fn every_capability_can_be_dropped_in_an_own_user_namespace() {
        alone(module_path!(), "every_capability_can_be_dropped_in_an_own_user_namespace", || {
            ordinary_user();
            assert_eq!(irrevocably_drop_bounding(0), Err(Errno::EPERM));
            unshare(CloneFlags::NEW_USER).unwrap();
            for capability in 0..=cap_last_cap().unwrap() {
                assert_eq!(bounding_contains(capability), Ok(true));
                irrevocably_drop_bounding(capability).unwrap();
                assert_eq!(bounding_contains(capability), Ok(false));
            }
        });
    }
}
