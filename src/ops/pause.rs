//! `bryo pause`, `unpause`: nothing in a sandbox runs for a while.
//!
//! # Theory of operation
//! Its supervisor freezes its control group, and this command sees by the group that nothing runs any more. What
//! cannot be frozen in time goes on. A sandbox without a group of its own is refused: signals that stop processes
//! are seen by them, and by who waits for them.
//!
//! # Not here
//! What else a paused sandbox does not take, and what lets it go on: `supervise::station`. `ps` asks the group.

use std::time::Duration;

use super::control::{Heard, lost, reach};
use super::error::OpsError;
use super::stop::{Results, ask};
use super::sweep::sweep;
pub use crate::limits::group::Motion;
use crate::limits::group::wait_until_frozen;
use crate::spec::Text;
use crate::state::events::What;
use crate::state::{Found, Stores};
use crate::supervise::protocol::Request;

/// How long processes may be busy in the kernel, as with a slow disk.
const FREEZING: Duration = Duration::from_secs(10);

/// Lets no process of each that is named run, or lets them run again.
pub fn set_motion(stores: &Stores, wanted: &[Text], motion: Motion) -> Results<()> {
    sweep(stores)?;
    let each = |name: &Text| set(&stores.find(name.as_bytes())?, motion);
    Ok(wanted.iter().map(each).collect())
}

fn set(found: &Found, motion: Motion) -> Result<(), OpsError> {
    let (verb, request, what) = match motion {
        Motion::Frozen => ("pause", Request::Pause, What::Pause),
        Motion::Free => ("unpause", Request::Unpause, What::Unpause),
    };
    if !found.is_running()? {
        return Err(OpsError::NotRunning { verb, id: found.id() });
    }
    let group = match found.summary()? {
        Some(summary) => Some(summary.cgroup.ok_or(OpsError::NoGroup(found.id(), motion))?),
        // It is about to start: its supervisor knows.
        None => None,
    };
    let supervisor = reach(found, verb, None)?;
    if ask(found, &supervisor, &request, verb)? == Heard::Gone {
        return Err(lost(found, &supervisor, verb));
    }
    let group = group.filter(|_| motion == Motion::Frozen);
    // Where the group cannot be seen from here, its supervisor is believed.
    if group.is_some_and(|group| wait_until_frozen(&group, FREEZING) == Ok(false)) {
        ask(found, &supervisor, &Request::Unpause, verb)?;
        return Err(OpsError::NotFrozen(found.id()));
    }
    found.tell_as_called(what, &[]);
    Ok(())
}
