//! What networks there are, and who is on them.
//!
//! # Decisions
//! - Nobody's lock is waited for: a holder that ends meanwhile has nobody on its network.
//! - One that does not answer is one line of the list, and keeps no other from being told. It is asked for nothing that its
//!   netstack has to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use serde::Serialize;

use super::ANSWER;
use super::error::NetworksError;
use crate::launch::holder::{self, Member, Until};
use crate::ops::stores::Here;
use crate::plan::traffic::Traffic;
use crate::report::table::Table;
use crate::spec::net::{Egress, NetworkName, Prefix};
use crate::state::{NetworkRecord, Store, Timestamp};

/// A network, as listings show it.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkRow {
    /// Its name.
    pub name: NetworkName,
    /// Its addresses of IPv4.
    pub subnet: Prefix,
    /// Its addresses of IPv6.
    pub subnet6: Prefix,
    /// The bridge.
    pub gateway: Ipv4Addr,
    /// Whether nothing leaves it.
    pub internal: bool,
    /// Those of IPv4 that are given to who asks for none; all without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<Prefix>,
    /// What was written on it.
    pub labels: BTreeMap<String, String>,
    /// How the way out is.
    pub uplink: Uplink,
    /// How many sandboxes are on it; none where nobody could tell.
    pub sandboxes: Option<usize>,
    /// When it was made.
    pub created: Timestamp,
}

/// A network with all that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct NetworkDetail {
    #[serde(flatten)]
    row: NetworkRow,
    /// What may leave.
    egress: Egress,
    /// What went out and was refused, by all of them, since the first one came; none where nobody could tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<Traffic>,
    /// Who is on it, in the order they came.
    members: Vec<Member>,
}

/// The way out of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uplink {
    /// There is none: it is internal.
    None,
    /// Nobody is there.
    Idle,
    /// It works.
    Up,
    /// Its netstack has ended before the members.
    Lost,
    /// Whoever holds the network does not answer.
    Unknown,
}

/// All networks by name, and what hinders looking at others.
pub fn list(store: &Store) -> Result<(Vec<NetworkRow>, Vec<NetworksError>), NetworksError> {
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for name in store.networks()? {
        let record = match store.read_network(&name) {
            Ok(Some(record)) => record,
            // Removed meanwhile.
            Ok(None) => continue,
            Err(error) => {
                failed.push(error.into());
                continue;
            }
        };
        let state =
            ask(store, &name).and_then(|holder| holder.map(|h| state(&name, &h)).transpose());
        rows.push(row(record, state.map_err(drop)));
    }
    Ok((rows, failed))
}

/// The names of the networks there are, for whoever types one: makes nothing, and where something is wrong there are
/// none.
pub fn names_there() -> Vec<NetworkName> {
    let Ok(here) = Here::look() else { return Vec::new() };
    let of_store = |store: &Store| store.networks().unwrap_or_default();
    let names: BTreeSet<NetworkName> = here.stores.iter().flat_map(of_store).collect();
    names.into_iter().collect()
}

/// One network.
pub fn inspect(store: &Store, name: &NetworkName) -> Result<NetworkDetail, NetworksError> {
    let record = store.read_network(name)?.ok_or_else(|| NetworksError::NotThere(name.clone()))?;
    let egress = record.segment.egress.clone();
    let Some(holder) = ask(store, name)? else {
        let row = row(record, Ok(None));
        return Ok(NetworkDetail { row, egress, traffic: None, members: Vec::new() });
    };
    let row = row(record, Ok(Some(state(name, &holder)?)));
    let members = holder::members(name, &holder, Until::after(ANSWER))?;
    // Its netstack may have ended, or be stopped: then all else is known.
    let traffic = holder::traffic(name, &holder, Until::after(ANSWER)).unwrap_or_default();
    Ok(NetworkDetail { row, egress, traffic, members })
}

fn ask(store: &Store, name: &NetworkName) -> Result<Option<OwnedFd>, NetworksError> {
    let Some(directory) = store.look_at_network(name)? else { return Ok(None) };
    Ok(holder::connect_until(Until::after(ANSWER), name, &directory)?)
}

type State = (usize, bool);

fn state(name: &NetworkName, holder: &OwnedFd) -> Result<State, NetworksError> {
    Ok(holder::state(name, holder, Until::after(ANSWER))?)
}

fn row(record: NetworkRecord, state: Result<Option<State>, ()>) -> NetworkRow {
    let segment = record.segment;
    let uplink = match state {
        Err(()) => Uplink::Unknown,
        Ok(Some((_, true))) => Uplink::Lost,
        _ if segment.egress.closed => Uplink::None,
        Ok(None) => Uplink::Idle,
        Ok(Some(_)) => Uplink::Up,
    };
    NetworkRow {
        uplink,
        name: segment.name,
        subnet: segment.subnet,
        subnet6: segment.subnet6,
        gateway: segment.gateway,
        internal: segment.egress.closed,
        ip_range: segment.range,
        labels: record.labels,
        sandboxes: state.ok().map(|state| state.map_or(0, |(members, _)| members)),
        created: record.created,
    }
}

/// Their names alone.
pub fn names(rows: &[NetworkRow]) -> String {
    rows.iter().fold(String::new(), |lines, row| lines + row.name.as_str() + "\n")
}

/// For people; of so many columns, where they look at a screen.
pub fn table(rows: &[NetworkRow], screen: Option<usize>) -> String {
    let mut table = Table::new(["NAME", "SUBNET", "GATEWAY", "UPLINK", "SANDBOXES"]);
    for row in rows {
        table.row([
            row.name.to_string(),
            row.subnet.to_string(),
            row.gateway.to_string(),
            match row.uplink {
                Uplink::None => "none",
                Uplink::Lost => "lost",
                Uplink::Unknown => "unknown",
                Uplink::Idle | Uplink::Up => "user",
            }
            .to_owned(),
            row.sandboxes.map_or_else(|| "-".to_owned(), |count| count.to_string()),
        ]);
    }
    if let Some(screen) = screen {
        table.fit(screen, &["GATEWAY", "UPLINK", "SUBNET"]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_screen_has_what_matters_most() {
        let row = NetworkRow {
            name: NetworkName::default(),
            subnet: Prefix::parse("10.102.135.0/24").unwrap(),
            subnet6: Prefix::parse("fd00::/64").unwrap(),
            gateway: "10.102.135.1".parse().unwrap(),
            internal: false,
            uplink: Uplink::Idle,
            ip_range: None,
            labels: BTreeMap::new(),
            sandboxes: Some(2),
            created: Timestamp::now(),
        };
        let titles = |screen| {
            let table = table(std::slice::from_ref(&row), screen);
            table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(titles(None), "NAME SUBNET GATEWAY UPLINK SANDBOXES");
        assert_eq!(titles(Some(80)), titles(None));
        assert_eq!(titles(Some(45)), "NAME SUBNET UPLINK SANDBOXES");
        assert_eq!(titles(Some(20)), "NAME SANDBOXES");
    }
}
