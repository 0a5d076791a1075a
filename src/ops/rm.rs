//! `bryo rm`: removes sandboxes with their records and layers.

use std::time::Duration;

use super::error::OpsError;
use super::foreign::remove_group;
use super::removal::{self, Unfinished};
use super::sweep::sweep;
use crate::spec::Text;
use crate::state::events::What;
use crate::state::{Outcome, StateError, Stores};
use crate::sys::signal::SignalNumber;

/// How long its processes may take to end.
const GROUP: Duration = Duration::from_secs(2);

/// What happens to a sandbox that runs, or whose apply was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// It is refused.
    Refuse,
    /// It is killed first; what an apply left on the host stays there (`--force`).
    Kill,
}

/// Removes each that is named, and goes on with the next when one fails. Gives for each, in
/// their order, the word that it was named by, as Docker does; none for one that is not there and was to be removed in any case.
pub fn remove(
    stores: &Stores,
    wanted: &[Text],
    running: Running,
) -> Result<Vec<Result<Text, OpsError>>, OpsError> {
    sweep(stores)?;
    let remove = |name: &Text| {
        let found = stores.find_to_remove(name.as_bytes())?;
        let (sandbox, unfinished) = match running {
            Running::Refuse => match found.lock() {
                Err(StateError::Running(id)) => return Err(OpsError::StillRuns(id)),
                locked => (locked?, Unfinished::Refuse),
            },
            Running::Kill => {
                let group = found.summary().ok().flatten().and_then(|summary| summary.cgroup);
                let ran = found.is_running()?;
                let locked = found.kill_and_lock()?;
                if let Ok(record) = locked.record() {
                    if ran && record.outcome == Outcome::Running {
                        let signal = SignalNumber::KILL.to_string();
                        found.tell_as_called(What::Kill, &[("signal", signal)]);
                    }
                    locked.tell_lost(&record);
                }
                if let Some(group) = group {
                    // Its supervisor does not, and no record will be there to tell the next command.
                    remove_group(&group, GROUP).unwrap_or_default();
                }
                (locked, Unfinished::Remove)
            }
        };
        removal::remove(stores, sandbox, unfinished)?;
        Ok(name.clone())
    };
    let is_absent = |removed: &Result<Text, OpsError>| {
        matches!(removed, Err(OpsError::State(StateError::NotFound(_))))
    };
    let removed = wanted.iter().map(remove);
    Ok(removed.filter(|one| running == Running::Refuse || !is_absent(one)).collect())
}
