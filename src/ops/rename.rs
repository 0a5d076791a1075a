//! `bryo rename`: gives a sandbox another name, or one.

use super::error::OpsError;
use super::sweep::sweep;
use crate::spec::Text;
use crate::state::events::What;
use crate::state::{SandboxId, Stores};

/// Calls a sandbox `new`, whether it runs or not.
pub fn rename(stores: &Stores, wanted: &Text, new: &str) -> Result<SandboxId, OpsError> {
    sweep(stores)?;
    let found = stores.find(wanted.as_bytes())?;
    let old = stores.names()?.remove(&found.id());
    if old.as_deref() == Some(new) {
        return Err(OpsError::SameName(new.to_owned()));
    }
    found.rename(new)?;
    let old: Vec<(&str, String)> = old.into_iter().map(|old| ("old", old)).collect();
    found.tell(What::Rename, Some(new), &old);
    Ok(found.id())
}
