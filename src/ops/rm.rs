//! `bryo rm`: removes sandboxes with their records and layers.

use super::error::OpsError;
use super::foreign;
use super::sweep::sweep;
use crate::spec::Text;
use crate::state::{SandboxId, Stores};

/// What happens to a sandbox that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// It is refused.
    Refuse,
    /// It is killed first (`--force`).
    Kill,
}

/// Removes each that is named, and goes on with the next when one fails. Gives a result for each, in
/// their order.
pub fn remove(
    stores: &Stores,
    wanted: &[Text],
    running: Running,
) -> Result<Vec<Result<SandboxId, OpsError>>, OpsError> {
    sweep(stores)?;
    let remove = |name: &Text| {
        let found = stores.find(name.as_bytes())?;
        let sandbox = match running {
            Running::Refuse => found.lock()?,
            Running::Kill => found.kill_and_lock()?,
        };
        foreign::settle(stores, sandbox.remove())?;
        Ok(found.id())
    };
    Ok(wanted.iter().map(remove).collect())
}
