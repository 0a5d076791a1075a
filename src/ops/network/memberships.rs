//! Which networks a sandbox that runs is on now, and whether the ports that its record has are open.
//!
//! Its record has the network it was started on, and the ports that were open then. `bryo network connect` and
//! `disconnect` change the one, the end of a place or of the way out the other, and the record is not written again
//! before the run ends.

use std::collections::BTreeMap;

use super::error::NetworksError;
use super::open;
use crate::launch::holder::{self, Member, Until};
use crate::spec::Network;
use crate::spec::net::NetworkName;
use crate::state::Store;

type Members = BTreeMap<NetworkName, Option<Vec<Member>>>;

/// Who is on which network; asked when it is wanted first. Those that do not answer soon are left open.
#[derive(Debug, Default)]
pub struct Memberships(Option<Members>);

impl Memberships {
    /// Whether the ports of the one with this id are open, which was started on `network`. Where that cannot be asked,
    /// they are what its record says.
    pub fn has_ports(&mut self, network: &Network, id: &str) -> bool {
        let Network::Bridge(name) = network else { return true };
        let is_it = |member: &Member| is(member, id) && member.published > 0;
        match self.all().get(name) {
            Some(Some(members)) => members.iter().any(is_it),
            Some(None) => true,
            None => false,
        }
    }

    /// The networks that the one with this id is on, which runs and was started on `network`: that one first. One that
    /// cannot be asked has it still.
    pub fn of(&mut self, network: &Network, id: &str) -> Vec<String> {
        let Network::Bridge(first) = network else { return vec![network.called()] };
        let is_on = |(name, members): &(&NetworkName, &Option<Vec<Member>>)| match members {
            Some(members) => members.iter().any(|member| is(member, id)),
            None => *name == first,
        };
        let (own, others): (Vec<_>, Vec<_>) =
            self.all().iter().filter(is_on).map(|(name, _)| name).partition(|name| *name == first);
        own.into_iter().chain(others).map(NetworkName::to_string).collect()
    }

    fn all(&mut self) -> &Members {
        // What cannot be listed has nobody on it.
        self.0.get_or_insert_with(|| ask_all().unwrap_or_default())
    }
}

fn is(member: &Member, id: &str) -> bool {
    member.id.as_deref() == Some(id)
}

fn ask_all() -> Result<Members, NetworksError> {
    let (store, until) = (open()?, Until::after(Until::BRIEFLY));
    let ask = |name: NetworkName| {
        let members = members(&store, &name, until).ok();
        (name, members)
    };
    Ok(store.networks()?.into_iter().map(ask).collect())
}

fn members(store: &Store, name: &NetworkName, until: Until) -> Result<Vec<Member>, NetworksError> {
    let Some(directory) = store.look_at_network(name)? else { return Ok(Vec::new()) };
    let holder = holder::connect_until(until, name, &directory)?;
    Ok(holder.map_or(Ok(Vec::new()), |holder| holder::members(name, &holder, until))?)
}
