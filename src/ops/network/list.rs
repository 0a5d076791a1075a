//! What networks there are, and who is on them.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::error::NetworksError;
use crate::launch::holder::{self, Member};
use crate::report::table::Table;
use crate::spec::net::{Egress, NetworkName, Prefix};
use crate::state::{LockedNetwork, NetworkError, Store, Timestamp};

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
    /// Who is on it, in the order they came.
    members: Vec<Member>,
}

/// All networks by name.
pub fn list(store: &Store) -> Result<Vec<NetworkRow>, NetworksError> {
    let mut rows = Vec::new();
    for name in store.networks()? {
        // Removed meanwhile.
        let Some(network) = store.lock_network(&name)? else { continue };
        rows.push(detail(&network)?.row);
    }
    Ok(rows)
}

/// One network.
pub fn inspect(store: &Store, name: &NetworkName) -> Result<NetworkDetail, NetworksError> {
    let network = store.lock_network(name)?.ok_or_else(|| NetworkError::Missing(name.clone()))?;
    detail(&network)
}

fn detail(network: &LockedNetwork) -> Result<NetworkDetail, NetworksError> {
    let record = network.record()?;
    let segment = record.segment;
    let members = match holder::connect(network.name(), network)? {
        Some(connection) => holder::members(network.name(), &connection)?,
        None => Vec::new(),
    };
    let row = NetworkRow {
        name: segment.name,
        subnet: segment.subnet,
        subnet6: segment.subnet6,
        gateway: segment.gateway,
        internal: segment.egress.closed,
        sandboxes: members.len(),
        created: record.created,
    };
    Ok(NetworkDetail { row, egress: segment.egress, members })
}

/// For people.
pub fn table(rows: &[NetworkRow]) -> String {
    let mut table = Table::new(["NAME", "SUBNET", "GATEWAY", "UPLINK", "SANDBOXES"]);
    for row in rows {
        table.row([
            row.name.to_string(),
            row.subnet.to_string(),
            row.gateway.to_string(),
            if row.internal { "none" } else { "user" }.to_owned(),
            row.sandboxes.to_string(),
        ]);
    }
    table.to_string()
}
