//! Whether the ports that a sandbox's record has are open.
//!
//! Those of a member are its network's: they are closed when it is disconnected, or when the way out ends, and the
//! record is not written again before the run ends.

use std::collections::BTreeMap;

use super::error::NetworksError;
use super::open;
use crate::launch::holder::{self, Member};
use crate::spec::Network;
use crate::spec::net::NetworkName;

/// What the networks that were asked so far have said.
#[derive(Debug, Default)]
pub struct OpenPorts(BTreeMap<NetworkName, Option<Vec<Member>>>);

impl OpenPorts {
    /// Whether those of the one with this id are, which was started on `network`. Where that cannot be asked, they are
    /// what its record says.
    pub fn has(&mut self, network: &Network, id: &str) -> bool {
        let Network::Bridge(name) = network else { return true };
        let members = self.0.entry(name.clone()).or_insert_with(|| members(name).ok());
        let is_it = |member: &Member| member.id.as_deref() == Some(id) && member.published > 0;
        members.as_ref().is_none_or(|all| all.iter().any(is_it))
    }
}

fn members(network: &NetworkName) -> Result<Vec<Member>, NetworksError> {
    let Some(locked) = open()?.lock_network(network)? else { return Ok(Vec::new()) };
    let holder = holder::connect(network, &locked)?;
    Ok(holder.map_or(Ok(Vec::new()), |holder| holder::members(network, &holder))?)
}
