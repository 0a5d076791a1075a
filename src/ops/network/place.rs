//! A sandbox's place on a network: with the holder that is there, or the first one starts it.

use super::error::NetworksError;
use super::{Wanted, create, open, segment};
use crate::confine::seccomp::{self, Program};
use crate::launch::holder::{self, Membership, Start};
use crate::plan::facts::{Facts, Lease};
use crate::plan::seccomp_of_network;
use crate::plan::step::Link;
use crate::spec::net::{NetworkName, Segment};
use crate::state::{LockedNetwork, NetworkError, Store};
use crate::sys::errno::Errno;

/// A place that lasts until this is dropped.
pub type Place = Membership;

/// Takes a place for a sandbox of this name.
pub fn place(
    network: &NetworkName,
    sandbox: Option<&str>,
    facts: &Facts,
) -> Result<Place, NetworksError> {
    let store = open()?;
    let locked = find_or_make(&store, network)?;
    let segment = locked.record()?.segment;
    let mut connection = holder::connect(network, &locked)?;
    if connection.is_none() {
        start(&segment, &locked, facts)?;
        connection = holder::connect(network, &locked)?;
    }
    let lost = || NetworksError::Start { name: network.clone(), source: Errno::ECONNREFUSED };
    Ok(holder::join(network, connection.ok_or_else(lost)?, sandbox)?)
}

/// The place that the first one on a network would get: nothing is started or made.
pub fn preview(network: &NetworkName) -> Result<Lease, NetworksError> {
    let store = open()?;
    let segment = match store.lock_network(network)? {
        Some(locked) => locked.record()?.segment,
        None if network.as_str() == NetworkName::DEFAULT => {
            segment(&store, &Wanted::plain(network.clone()))?
        }
        None => return Err(NetworkError::Missing(network.clone()).into()),
    };
    let first = segment.next_free(None, |_| false).unwrap_or(segment.gateway);
    Ok(Lease { network: network.clone(), link: Link::member(&segment, first, has_ipv6()) })
}

fn find_or_make(store: &Store, network: &NetworkName) -> Result<LockedNetwork, NetworksError> {
    loop {
        if let Some(locked) = store.lock_network(network)? {
            return Ok(locked);
        }
        if network.as_str() != NetworkName::DEFAULT {
            return Err(NetworkError::Missing(network.clone()).into());
        }
        match create(store, &Wanted::plain(network.clone())) {
            // Another sandbox was as quick.
            Err(NetworksError::Network(NetworkError::Exists(_))) => {}
            other => return other,
        }
    }
}

fn start(segment: &Segment, locked: &LockedNetwork, facts: &Facts) -> Result<(), NetworksError> {
    if facts.tun == Some(false) {
        return Err(crate::plan::PlanError::NoTun.into());
    }
    let [holder_filter, netstack_filter] = seccomp_of_network();
    let instructions = |wanted| -> Result<_, NetworksError> {
        let program: Program = seccomp::program(&wanted, None)?;
        Ok(program.instructions())
    };
    let order = Start {
        segment,
        uplink: Link::usual(has_ipv6()),
        landlock_abi: crate::plan::landlock_of_network(facts),
        holder_filter: &instructions(holder_filter)?,
        netstack_filter: &instructions(netstack_filter)?,
    };
    holder::start(&order, locked)
        .map_err(|source| NetworksError::Start { name: segment.name.clone(), source })
}

/// A kernel without it has no such directory.
fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}
