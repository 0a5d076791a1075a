//! What networks there are, and who is on them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::error::NetworksError;
use super::find;
use crate::launch::holder::{self, Member};
use crate::plan::traffic::Traffic;
use crate::report::table::Table;
use crate::spec::net::{Egress, NetworkName, Prefix};
use crate::state::{LockedNetwork, Store, Timestamp};

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
    /// How many sandboxes are on it.
    pub sandboxes: usize,
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
    /// What went out and was refused, by all of them, since the first one came.
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
}

/// All networks by name, and what hinders looking at others.
pub fn list(store: &Store) -> Result<(Vec<NetworkRow>, Vec<NetworksError>), NetworksError> {
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for name in store.networks()? {
        match store.lock_network(&name).map_err(NetworksError::from) {
            Ok(Some(network)) => match look(&network) {
                Ok(detail) => rows.push(detail.row),
                Err(error) => failed.push(error),
            },
            // Removed meanwhile.
            Ok(None) => {}
            Err(error) => failed.push(error),
        }
    }
    Ok((rows, failed))
}

/// One network.
pub fn inspect(store: &Store, name: &NetworkName) -> Result<NetworkDetail, NetworksError> {
    let network = find(store, name)?;
    look(&network)
}

fn look(network: &LockedNetwork) -> Result<NetworkDetail, NetworksError> {
    let record = network.record()?;
    let segment = record.segment;
    let holder = holder::connect(network.name(), network)?;
    let members = match &holder {
        Some(holder) => holder::members(network.name(), holder)?,
        None => Vec::new(),
    };
    let traffic = match &holder {
        Some(holder) => holder::traffic(network.name(), holder)?,
        None => None,
    };
    let uplink = match (&holder, &traffic) {
        (Some(_), None) => Uplink::Lost,
        _ if segment.egress.closed => Uplink::None,
        (None, _) => Uplink::Idle,
        (Some(_), Some(_)) => Uplink::Up,
    };
    let row = NetworkRow {
        uplink,
        name: segment.name,
        subnet: segment.subnet,
        subnet6: segment.subnet6,
        gateway: segment.gateway,
        internal: segment.egress.closed,
        ip_range: segment.range,
        labels: record.labels,
        sandboxes: members.len(),
        created: record.created,
    };
    Ok(NetworkDetail { row, egress: segment.egress, traffic, members })
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
                Uplink::Idle | Uplink::Up => "user",
            }
            .to_owned(),
            row.sandboxes.to_string(),
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
            sandboxes: 2,
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
