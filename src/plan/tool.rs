//! Plans a network that a program of others connects: `pasta`, `slirp4netns`.
//!
//! # Theory of operation
//! The network namespace is the sandbox's own, as for the netstack. The program gets it and the user namespace by
//! descriptor, makes the interface and configures it, and turns packets into sockets of the host.
//!
//! # Decisions
//! - It reaches what this machine reaches. Nobody here could hold it to rules, names, a rate or a file of packets: they
//!   are refused. What the programs can close is closed: the gateway as the host's loopback, ports of the host
//!   that open by themselves, and the name server in their midst, behind which lies whatever listens at the host's own.
//! - The host's loopback as a destination is refused by no switch of theirs, and a socket that is bound to the interface
//!   (`SO_BINDTODEVICE`, `IP_PKTINFO`) sends it there. A route that refuses is no fence: the kernel then takes the
//!   destination for a neighbour, and `pasta` answers for every neighbour. So a route that leads there fences: by
//!   that interface, too, loopback is the sandbox's own. Who could take it away or send without asking routes,
//!   by a capability, is refused.
//! - `pasta` gives the sandbox the addresses of this machine's first way out, which so lead nowhere else; others of the
//!   machine can be reached, and with `slirp4netns` all. That is said at every start.
//! - Each program has a root file system of its own in any case (`launch`); what `slirp4netns` calls its sandbox, which would
//!   show it `/etc` and `/run`, gives up its capabilities besides, and is for root alone.
//! - Names are asked of the host's servers directly. One on loopback is another one inside: what systemd-resolved
//!   asks stands in for it, and where there is nobody else, one has to be named.

use core::net::{IpAddr, SocketAddr};

use super::draft::Draft;
use super::error::PlanError;
use super::facts::Facts;
use super::ids;
use super::net::plan_settings;
use super::segment;
use super::step::{NetStep, NetstackStep, Notice, Stage};
use crate::spec::Spec;
use crate::spec::net::{Egress, Lookup, Tool};

/// Where the program finds the network namespace, in its own root.
pub const NAMESPACE: &str = "/net";

/// The interface that the program makes.
const INTERFACE: &str = "tap0";

/// The port that resolv.conf(5) means.
const DNS: u16 = 53;

/// Why a program of others cannot connect a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("cannot find `{}`, which is to connect the network", _0.name())]
    Missing(Tool),
    /// What only the netstack does.
    #[error("cannot enforce `{flag}` with `--network {}`: it passes on everything", tool.name())]
    Unenforced {
        /// Which program.
        tool: Tool,
        /// What was asked for.
        flag: &'static str,
    },
    /// It would have power over routes, or go past them.
    #[error(
        "cannot keep the capability `{capability}` with `--network {}`: it could reach this machine's loopback",
        tool.name()
    )]
    Capable {
        /// Which program.
        tool: Tool,
        /// The capability.
        capability: String,
    },
    /// A server that a resolv.conf cannot name.
    #[error("cannot ask the name server `{server}` with `--network {}`: its port is not 53", tool.name())]
    Port {
        /// Which program.
        tool: Tool,
        /// The server.
        server: SocketAddr,
    },
    /// Nobody to ask for names.
    #[error(
        "cannot ask for names with `--network {}`: this machine's name server is on its loopback",
        _0.name()
    )]
    NoServer(Tool),
}

impl ToolError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing(tool) => format!(
                "install it: `sudo apt install {}`, or take `--network user`, which needs no program",
                tool.package()
            ),
            Self::Unenforced { .. } => "`--network user` enforces it".to_owned(),
            Self::Capable { .. } => "leave out `--cap-add`, or take `--network user`".to_owned(),
            Self::Port { .. } => "take `--network user`, which asks at any port".to_owned(),
            Self::NoServer(_) => {
                "name one that is elsewhere: `--dns ADDRESS`; `--network user` needs none"
                    .to_owned()
            }
        }
    }
}

/// Appends the program, and what it needs.
pub(super) fn plan_tool(
    tool: Tool,
    spec: &Spec,
    facts: &Facts,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    let found = facts.network_tool.as_ref().ok_or(PlanError::Unprobed("network_tool"))?;
    let program = found.program.clone().ok_or(ToolError::Missing(tool))?;
    if !facts.tun.ok_or(PlanError::Unprobed("tun"))? {
        return Err(PlanError::NoTun);
    }
    refuse_unenforced(tool, &spec.egress)?;
    if let Some(capability) = segment::rules_network(spec) {
        return Err(ToolError::Capable { tool, capability }.into());
    }
    if servers(&spec.egress, facts.lookup.as_ref()).is_empty() {
        return Err(ToolError::NoServer(tool).into());
    }
    draft.push(Stage::Sandbox, NetStep::LoopbackUp);
    draft.push(Stage::Sandbox, NetStep::HandOver);
    plan_settings(spec, facts, draft);
    let arguments = arguments(tool, ids::inside(spec, facts).0 == 0);
    draft.push(Stage::Netstack, NetstackStep::Tool { tool, program, arguments });
    draft.push(Stage::Netstack, NetstackStep::KeepLoopback(INTERFACE.into()));
    draft.notice(Notice::ToolReaches(tool));
    Ok(())
}

/// What flags, or a profile, ask for and nobody would do. Rules and a rate are refused with every such network.
fn refuse_unenforced(tool: Tool, egress: &Egress) -> Result<(), ToolError> {
    let asked = [(egress.capture.is_some(), "--pcap"), (egress.learn, "--learn-network")];
    if let Some((_, flag)) = asked.into_iter().find(|(asked, _)| *asked) {
        return Err(ToolError::Unenforced { tool, flag });
    }
    match egress.dns.iter().find(|server| server.port() != DNS) {
        Some(server) => Err(ToolError::Port { tool, server: *server }),
        None => Ok(()),
    }
}

/// Who is asked for names: those of the flags, else the host's.
pub(super) fn servers(egress: &Egress, host: Option<&Lookup>) -> Vec<IpAddr> {
    match (egress.dns.as_slice(), host) {
        ([], Some(lookup)) => lookup.servers.clone(),
        (given, _) => given.iter().map(SocketAddr::ip).collect(),
    }
}

/// The safest that the program has.
fn arguments(tool: Tool, is_root: bool) -> Vec<String> {
    let words: &[&str] = match tool {
        Tool::Pasta => &[
            // Ends when it is killed, and not by becoming another process.
            "--foreground",
            "--quiet",
            // Addresses and routes of the host's first way out.
            "--config-net",
            "--ns-ifname",
            INTERFACE,
            // The gateway is the gateway, and not the host's loopback.
            "--no-map-gw",
            // No port of either side opens on the other by itself.
            "--tcp-ports",
            "none",
            "--udp-ports",
            "none",
            "--tcp-ns",
            "none",
            "--udp-ns",
            "none",
            "--netns",
            NAMESPACE,
        ],
        Tool::Slirp4netns => &[
            "--configure",
            "--mtu=65520",
            "--disable-host-loopback",
            // At any port, its name server is the host's: what else listens there would be reached.
            "--disable-dns",
            "--enable-seccomp",
            "--netns-type=path",
            NAMESPACE,
            INTERFACE,
        ],
    };
    // It becomes root of the user namespace for that, and so must be able to.
    let own = (tool == Tool::Slirp4netns && is_root).then_some(&"--enable-sandbox");
    own.into_iter().chain(words).map(|word| (*word).to_owned()).collect()
}
