//! `bryo port`: at which ports of the host a sandbox is reached.

use serde::Serialize;

use super::error::OpsError;
use super::network::Memberships;
use crate::plan::publish::PublishedPort;
use crate::plan::step::Link;
use crate::spec::net::{Ports, Transport};
use crate::spec::order;
use crate::spec::text::pretty_json;
use crate::state::{SandboxId, Stores, Which};

/// A port of the sandbox, as asked for: TCP where no protocol is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortOf {
    /// Which.
    pub port: u16,
    /// Of which protocol.
    pub transport: Transport,
}

impl PortOf {
    /// `PORT[/tcp|udp]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (port, transport) = match text.split_once('/') {
            None => (text, Transport::Tcp),
            Some((port, "tcp")) => (port, Transport::Tcp),
            Some((port, "udp")) => (port, Transport::Udp),
            Some(_) => return None,
        };
        let port = Ports::parse(port).ok().filter(|ports| ports.count() == 1)?.first();
        Some(Self { port, transport })
    }
}

/// A port with what there is to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    #[serde(flatten)]
    published: PublishedPort,
    /// The address under which the payload sees clients on this machine's loopback. Others keep theirs.
    loopback_seen_as: std::net::IpAddr,
}

/// The open ports of a sandbox that runs; of one port of it, where that is named.
pub fn ports(
    stores: &Stores,
    which: Which<'_>,
    port: Option<PortOf>,
) -> Result<Vec<PublishedPort>, OpsError> {
    let found = stores.choose_running(which)?;
    let id: SandboxId = found.id();
    if !found.is_running()? {
        return Err(OpsError::NotRunning { verb: "tell the ports of", id });
    }
    let record = found.record()?;
    let mut published = record.published;
    if !published.is_empty() && !Memberships::default().has_ports(&record.spec.network, id.as_str())
    {
        published.clear();
    }
    if let Some(PortOf { port, transport }) = port {
        published.retain(|one| one.port == port && one.transport == transport);
        if published.is_empty() {
            return Err(OpsError::NotPublished { id, port, transport });
        }
    }
    order::sort(&mut published);
    Ok(published)
}

/// As Docker prints them: of all ports with the port, of one only where.
pub fn text(published: &[PublishedPort], port: Option<PortOf>) -> String {
    let line = |one: &PublishedPort| match port {
        None => format!("{}/{} -> {}\n", one.port, one.transport, one.at),
        Some(_) => format!("{}\n", one.at),
    };
    published.iter().map(line).collect()
}

/// As JSON, for programs.
pub fn json(published: &[PublishedPort]) -> Result<Vec<u8>, OpsError> {
    let link = Link::usual(true);
    let gateway = |one: &PublishedPort| match link.v6.filter(|_| one.at.is_ipv6()) {
        Some(v6) => v6.gateway.into(),
        None => link.v4.gateway.into(),
    };
    let row = |one: &PublishedPort| Row { published: *one, loopback_seen_as: gateway(one) };
    let rows: Vec<Row> = published.iter().map(row).collect();
    pretty_json(&rows).map(String::into_bytes).map_err(OpsError::Json)
}

/// In a listing: as Docker's `ps` has them.
pub fn short(published: &[PublishedPort]) -> String {
    let shown: Vec<String> =
        published.iter().map(|one| format!("{}->{}/{}", one.at, one.port, one.transport)).collect();
    shown.join(", ")
}
