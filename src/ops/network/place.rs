//! A sandbox's place on a network: with the holder that is there, or the first one starts it.

use super::error::NetworksError;
use super::{ANSWER, Wanted, create, open, segment};
use crate::confine::seccomp::{self, Program};
use crate::host::Probe;
use crate::launch::holder::{self, Membership, Space, Start, Until};
use crate::plan::facts::{Facts, Lease};
use crate::plan::step::{IdsStep, Link};
use crate::plan::{plan_same_ids, seccomp_of_network};
use crate::spec::net::{NetworkName, Seat, Segment};
use crate::state::{LockedNetwork, NetworkError, Store};
use crate::sys::errno::Errno;

/// A place that lasts until this is dropped.
pub type Place = Membership;

/// Takes a place for a sandbox of this name, as `seat` wants it.
pub fn place(
    network: &NetworkName,
    sandbox: Option<&str>,
    seat: &Seat,
    facts: &Facts,
) -> Result<Place, NetworksError> {
    let store = open()?;
    let locked = find_or_make(&store, network)?;
    let segment = locked.record()?.segment;
    let mut connection = holder::connect(network, &locked)?;
    if connection.is_none() {
        start(&store, &segment, &locked, facts)?;
        connection = holder::connect(network, &locked)?;
    }
    let lost = || NetworksError::Start { name: network.clone(), source: Errno::ECONNREFUSED };
    let connection = connection.ok_or_else(lost)?;
    drop(locked);
    Ok(holder::join(network, connection, sandbox, seat)?)
}

/// The place that the first one on a network would get: nothing is started or made.
pub fn preview(network: &NetworkName, seat: &Seat, facts: &Facts) -> Result<Lease, NetworksError> {
    let store = open()?;
    let segment = match store.lock_network(network)? {
        Some(locked) => locked.record()?.segment,
        None if network.as_str() == NetworkName::DEFAULT => {
            segment(&store, &Wanted::plain(network.clone()))?
        }
        None => return Err(NetworkError::Missing(network.clone()).into()),
    };
    let placed = segment.place(seat, has_ipv6(), None, |_| false);
    let (v4, v6) = placed.map_err(|why| holder::no_place(network, why))?;
    let link = Link::member(&segment, v4, v6);
    let subids = plan_same_ids(facts).is_some();
    Ok(Lease { network: network.clone(), link, internal: segment.egress.closed, subids })
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

fn start(
    store: &Store,
    segment: &Segment,
    locked: &LockedNetwork,
    facts: &Facts,
) -> Result<(), NetworksError> {
    if facts.tun == Some(false) {
        return Err(crate::plan::PlanError::NoTun.into());
    }
    let [holder_filter, netstack_filter] = seccomp_of_network();
    let instructions = |wanted| -> Result<_, NetworksError> {
        let program: Program = seccomp::program(&wanted, None)?;
        Ok(program.instructions())
    };
    // One after the other: who comes second finds the first one's user namespace.
    let _turn = store.take_turn()?;
    let space = space(store, &segment.name)?;
    let order = Start {
        segment,
        uplink: Link::usual(has_ipv6()),
        ids: if space.is_some() { Vec::new() } else { subids(facts).unwrap_or_default() },
        space,
        landlock_abi: crate::plan::landlock_of_network(facts),
        holder_filter: &instructions(holder_filter)?,
        netstack_filter: &instructions(netstack_filter)?,
    };
    holder::start(&order, locked)
        .map_err(|source| NetworksError::Start { name: segment.name.clone(), source })
}

/// The user namespace that all networks are to be in, if there is one already: that of any holder who can be joined.
///
/// A holder that ends meanwhile gives none, nor what cannot be opened, and one that was started in a user namespace which
/// this process has no power over, none that is of use: the next one is asked. So it is where one does not answer: then no
/// sandbox is on both.
fn space(store: &Store, besides: &NetworkName) -> Result<Option<Space>, NetworksError> {
    for name in store.networks()?.iter().filter(|name| *name != besides) {
        let Ok(Some(directory)) = store.look_at_network(name) else { continue };
        let until = Until::after(ANSWER);
        let connection = holder::connect_until(until, name, &directory).ok().flatten();
        let space = connection.as_ref().and_then(|holder| holder::space(holder, until));
        if let Some(space) = space
            && space.may_be_entered()
        {
            return Ok(Some(space));
        }
    }
    Ok(None)
}

/// Who comes after the first may want subordinate ids, whatever that one has. None where there are none.
fn subids(facts: &Facts) -> Option<Vec<IdsStep>> {
    if facts.subids.is_some() {
        return plan_same_ids(facts);
    }
    let mut probe = Probe::begin().ok()?;
    probe.account(facts.caller.uid, facts.caller.gid).ok()?;
    probe.subids().ok()?;
    plan_same_ids(&probe.finish())
}

/// A kernel without it has no such directory.
fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}
