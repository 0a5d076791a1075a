//! `bryo network`: networks that several sandboxes share; and a sandbox's place on one.
//!
//! # Decisions
//! - The network called `bridge` needs no making: it is made when it is first asked for, as in Docker.
//! - Networks are in the store, in the first one that can be written: as sandboxes that keep nothing have none.

mod choose;
mod connect;
mod error;
mod list;
mod memberships;
mod place;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::host::{self, Probe};
use crate::launch::holder::{self, Until};
use crate::plan::facts::StoreState;
use crate::spec::net::segment::{default_subnet, default_subnet6, overlap};
use crate::spec::net::{Egress, NetworkName, Prefix, Segment};
use crate::state::{LockedNetwork, NetworkError, Store};

pub use choose::{FILTERS, Filter, formatted, is_wanted, parse_format};
pub use connect::{cannot_reconnect, connect, disconnect, reconnect};
pub use error::NetworksError;
pub use list::{NetworkDetail, NetworkRow, Uplink, inspect, list, names, names_there, table};
pub use memberships::Memberships;
pub use place::{Place, place, preview};

/// What a network is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: NetworkName,
    /// Its addresses of IPv4; a free range otherwise.
    pub subnet: Option<Prefix>,
    /// The address of the bridge; the first of the range otherwise.
    pub gateway: Option<Ipv4Addr>,
    /// Those of them that are given to who asks for none; all otherwise.
    pub range: Option<Prefix>,
    /// Its addresses of IPv6; a range of its own otherwise.
    pub subnet6: Option<Prefix>,
    /// What may leave.
    pub egress: Egress,
    /// What is written on it.
    pub labels: BTreeMap<String, String>,
}

impl Wanted {
    /// One that nothing is asked of but its name.
    pub fn plain(name: NetworkName) -> Self {
        Self {
            name,
            subnet: None,
            gateway: None,
            range: None,
            subnet6: None,
            egress: Egress::default(),
            labels: BTreeMap::new(),
        }
    }
}

/// Opens the store that networks are in, and makes it where it is missing.
pub fn open() -> Result<Store, NetworksError> {
    let mut probe = Probe::begin()?;
    probe.stores()?;
    let facts = probe.finish();
    let usable = facts.stores.iter().find(|store| store.state == StoreState::Usable);
    let store = usable.ok_or(NetworksError::NoStore)?;
    Ok(Store::open(&store.path)?)
}

/// Makes a network.
pub fn create(store: &Store, wanted: &Wanted) -> Result<LockedNetwork, NetworksError> {
    let _turn = store.take_turn()?;
    if store.networks()?.contains(&wanted.name) {
        return Err(NetworkError::Exists(wanted.name.clone()).into());
    }
    let segment = segment(store, wanted)?;
    Ok(store.make_network(&segment, &wanted.labels)?)
}

/// What it will be like: decided from what is asked and what is taken.
fn segment(store: &Store, wanted: &Wanted) -> Result<Segment, NetworksError> {
    let routes = host::routes::probe()?;
    let name = wanted.name.clone();
    let subnet = if let Some(subnet) = wanted.subnet {
        if let Some(route) = routes.into_iter().find(|route| overlap(*route, subnet)) {
            return Err(NetworksError::Overlap { subnet, route });
        }
        subnet
    } else {
        let theirs = others(store)?.into_iter().map(|other| other.subnet);
        let taken: Vec<Prefix> = routes.into_iter().chain(theirs).collect();
        default_subnet(&name, &taken).ok_or_else(|| NetworksError::NoRange(name.clone()))?
    };
    let subnet6 = wanted.subnet6.unwrap_or_else(|| default_subnet6(&name));
    let first = match subnet.address() {
        std::net::IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | 1),
        std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let segment = Segment {
        subnet,
        gateway: wanted.gateway.unwrap_or(first),
        range: wanted.range,
        subnet6,
        egress: wanted.egress.clone(),
        name: name.clone(),
    };
    segment.verify().map_err(|source| NetworksError::Segment { name, source })?;
    Ok(segment)
}

/// All networks that there are. One that cannot be read takes nothing.
fn others(store: &Store) -> Result<Vec<Segment>, NetworksError> {
    let names = store.networks()?;
    let records = names.iter().filter_map(|name| store.read_network(name).ok().flatten());
    Ok(records.map(|record| record.segment).collect())
}

/// Locks a network that has to be there.
fn find(store: &Store, name: &NetworkName) -> Result<LockedNetwork, NetworksError> {
    store.lock_network(name)?.ok_or_else(|| NetworksError::NotThere(name.clone()))
}

/// How long the holder of one network among others may take to tell what there is.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a holder that nobody needs may take to end.
const ENDING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(30);

/// Removes a network that no sandbox is on.
pub fn remove(store: &Store, name: &NetworkName) -> Result<(), NetworksError> {
    remove_within(Until::PATIENTLY, store, name)
}

/// The same, where its holder answers within so long.
fn remove_within(
    patience: Duration,
    store: &Store,
    name: &NetworkName,
) -> Result<(), NetworksError> {
    let end = Instant::now() + ENDING;
    loop {
        let network = find(store, name)?;
        let Some(connection) = holder::connect(name, &network)? else {
            return Ok(store.remove_network(&network)?);
        };
        drop(network);
        let members = holder::state(name, &connection, Until::after(patience))?.0;
        if members > 0 || Instant::now() > end {
            return Err(NetworksError::Busy { name: name.clone(), members });
        }
        // The last one has just left: its holder ends as soon as it has the lock.
        drop(connection);
        std::thread::sleep(PAUSE);
    }
}

/// Those that a prune would remove, as far as anybody knows before.
pub fn prunable(store: &Store) -> Result<Vec<NetworkName>, NetworksError> {
    store.sweep_networks()?;
    let (rows, _) = list(store)?;
    let has_members =
        |name: &NetworkName| rows.iter().any(|row| row.name == *name && row.sandboxes != Some(0));
    let mut names = store.networks()?;
    names.retain(|name| !has_members(name));
    Ok(names)
}

/// Removes every network that no sandbox is on, and says which, and which cannot be removed.
pub fn prune(store: &Store) -> Result<(Vec<NetworkName>, Vec<NetworksError>), NetworksError> {
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    store.sweep_networks()?;
    for name in store.networks()? {
        match remove_within(ANSWER, store, &name) {
            Ok(()) => gone.push(name),
            Err(NetworksError::Busy { .. } | NetworksError::NotThere(_)) => {}
            Err(error) => failed.push(error),
        }
    }
    Ok((gone, failed))
}
