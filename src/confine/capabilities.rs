//! Capabilities of the calling thread: what is not kept leaves every set, for ever.

use std::collections::HashSet;

use caps::CapSet;

use super::Failure;
use crate::spec::Capability;
use crate::sys::caps as by_number;
use crate::sys::errno::Errno;
use crate::sys::process::{SecureBits, set_secure_bits};

/// Keeps exactly `keep`, in the permitted, effective, inheritable, ambient, and bounding sets.
///
/// Capabilities that are newer than this program are dropped from the bounding set by number: the
/// kernel says `EINVAL` beyond its last. The ambient set is what lets a kept capability survive the
/// exec of a program without file capabilities. Read back afterwards: `EPERM` when a set is not what
/// it should be.
pub fn irrevocably_drop_capabilities(keep: &[Capability]) -> Result<(), Failure> {
    irrevocably_drop_bounding(keep)?;
    let wanted: HashSet<caps::Capability> = caps::all()
        .into_iter()
        .filter(|known| keep.iter().any(|kept| kept.number() == known.index()))
        .collect();
    caps::clear(None, CapSet::Ambient).map_err(|error| refused(&error))?;
    // Inheritable first: it may only hold what is permitted.
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &wanted).map_err(|error| refused(&error))?;
    }
    if !wanted.is_empty() {
        caps::set(None, CapSet::Ambient, &wanted).map_err(|error| refused(&error))?;
        read_back(CapSet::Ambient, &wanted)?;
    }
    // Nothing can be ambient that is not permitted, so an empty set needs no look of its own.
    [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted]
        .into_iter()
        .try_for_each(|set| read_back(set, &wanted))
}

/// Keeps none in the permitted, effective, inheritable and ambient sets, of whoever it may be: an ordinary
/// user cannot change the bounding set. `no_new_privs` has to make that one mean nothing.
pub fn irrevocably_drop_held() -> Result<(), Failure> {
    caps::clear(None, CapSet::Ambient).map_err(|error| refused(&error))?;
    let none = HashSet::new();
    [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted].into_iter().try_for_each(|set| {
        caps::set(None, set, &none).map_err(|error| refused(&error))?;
        read_back(set, &none)
    })
}

/// Drops all but `keep` from the bounding set: also of what the caller forks, which has less to do then.
pub fn irrevocably_drop_bounding(keep: &[Capability]) -> Result<(), Failure> {
    for number in 0..64 {
        if keep.iter().any(|capability| u32::from(capability.number()) == number) {
            continue;
        }
        // Looking costs a tenth of dropping.
        let dropped = match by_number::bounding_contains(number) {
            Ok(true) => by_number::irrevocably_drop_bounding(number),
            other => other.map(drop),
        };
        match dropped {
            Ok(()) => {}
            Err(Errno::EINVAL) if number > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn read_back(set: CapSet, wanted: &HashSet<caps::Capability>) -> Result<(), Failure> {
    if caps::read(None, set).map_err(|error| refused(&error))? == *wanted {
        Ok(())
    } else {
        Err(Failure { errno: Errno::EPERM, said: format!("{set:?} set differs") })
    }
}

/// The crate keeps no errno; the text says which call refused.
fn refused(error: &caps::errors::CapsError) -> Failure {
    Failure { errno: Errno::EPERM, said: error.to_string() }
}

/// Locks: user 0 gets nothing by being user 0.
///
/// `KEEP_CAPS` stays free: it keeps what a process has, and nobody gets more by it. `ping` of iputils sets it whether it
/// has capabilities or not, and gives up where it cannot.
pub fn irrevocably_lock_securebits() -> Result<(), Failure> {
    let bits = SecureBits::NOROOT
        .union(SecureBits::NOROOT_LOCKED)
        .union(SecureBits::NO_SETUID_FIXUP_LOCKED);
    Ok(set_secure_bits(bits)?)
}
