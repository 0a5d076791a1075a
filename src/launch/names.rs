//! The servers that the host asks for names, and who is told when they are others.
//!
//! # Theory of operation
//! A netstack opens no file. While its payload asks for names it asks whoever watches over the run, every few seconds, to
//! look; `/etc/resolv.conf` is read, and its servers are told when they are others than those told last. The netstack of
//! a network of several asks by way of its holder, which passes the question to one member after another: none of them knows
//! what another has told, so each tells what there is.
//!
//! # Decisions
//! - Read, and not watched: the file is often a link, to one that is replaced as the machine changes networks, on other
//!   mounts, by links that change too; and each user has so many watches for everything. The C library looks at
//!   each question, too.
//! - A file that names no server is just being written, or gone: the servers stay.
//! - Nobody is asked to look more often than is good for who looks.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::holder::Membership;
use super::netstack::Netstack;
use crate::net::dns::files::parse_servers;
use crate::plan::traffic::{Flow, Traffic};
use crate::sys::errno::Result;
use crate::sys::netlink;

/// Most that is read of a file.
const MOST: u64 = 8 << 20;
/// Whatever lies there: who watches over a run waits for no fifo.
const WITHOUT_WAITING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// How often the servers are looked at, at most.
const OFTEN: Duration = Duration::from_secs(1);

/// What a file holds; nothing when it is not there.
pub(super) fn text(path: &str) -> String {
    let mut bytes = Vec::new();
    let open = rustix::fs::open(path, OFlags::RDONLY | WITHOUT_WAITING, Mode::empty());
    let open = open.map_err(std::io::Error::from).map(File::from);
    let read = open.and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    read.map_or(String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// The servers that the host's resolv.conf(5) names.
pub(super) fn servers() -> Vec<SocketAddr> {
    let zone = |name: &str| netlink::index(name).ok().or_else(|| name.parse().ok());
    parse_servers(&text("/etc/resolv.conf"), zone)
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// To look which servers the host asks.
    Look,
    /// That this flow was let out, or was not.
    Flow(Box<Flow>),
    /// That nothing leaves the network any more.
    Cut,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
enum Asker<'a> {
    Netstack(&'a Netstack),
    Network(&'a Membership),
}

/// See the module.
#[derive(Debug)]
pub struct Names<'a> {
    asker: Asker<'a>,
    told: Vec<SocketAddr>,
    looked: Option<Instant>,
    /// Nobody will ask any more.
    over: bool,
    /// What was refused by a network of several, when it is over; none where nobody could tell.
    pub traffic: Option<Traffic>,
}

impl<'a> Names<'a> {
    /// For the netstack of a run, or of the network it is on; none without either, and none for a program of others.
    pub fn new(netstack: Option<&'a Netstack>, network: Option<&'a Membership>) -> Option<Self> {
        let netstack = netstack.filter(|netstack| netstack.asks());
        let asker = netstack.map(Asker::Netstack).or(network.map(Asker::Network))?;
        Some(Self { asker, told: Vec::new(), looked: None, over: false, traffic: None })
    }

    /// Readable when somebody asks, or is gone; none once that was heard.
    pub fn asks(&self) -> Option<BorrowedFd<'_>> {
        let asks = match self.asker {
            Asker::Netstack(netstack) => netstack.control(),
            Asker::Network(network) => network.connection(),
        };
        (!self.over).then_some(asks)
    }

    /// Hears what is asked, and looks; or what else is said. An error when nobody will ask any more.
    pub fn hear(&mut self) -> Result<Said> {
        let said = match self.asker {
            Asker::Netstack(netstack) => netstack.hear_said(),
            Asker::Network(network) => network.hear_said(),
        };
        let answered = said.and_then(|said| {
            if said == Said::Look {
                self.look()?;
            }
            Ok(said)
        });
        self.over |= answered.is_err();
        answered
    }

    /// Whether a connection of a member ended with what carried it, by its own address and the other one. A netstack of
    /// its own is watched otherwise.
    pub fn has_lost(&self, own: IpAddr, other: IpAddr) -> bool {
        match self.asker {
            Asker::Netstack(_) => false,
            Asker::Network(network) => network.has_lost(own, other),
        }
    }

    /// Whether the network of several ended, or its way out, and nobody took the place on it away.
    pub fn is_lost(&self) -> bool {
        match self.asker {
            Asker::Network(network) => network.is_lost() || network.is_cut(),
            Asker::Netstack(_) => false,
        }
    }

    /// The addresses of a member whose network is gone.
    pub fn lost_addresses(&self) -> Vec<IpAddr> {
        match self.asker {
            Asker::Network(network) if network.is_over() => {
                network.lease().link.families().map(|(own, ..)| own).collect()
            }
            Asker::Network(_) | Asker::Netstack(_) => Vec::new(),
        }
    }

    /// Hears what a network of several has to tell of a member whose processes have ended.
    pub fn hear_last(&mut self) -> Vec<Flow> {
        let Asker::Network(network) = self.asker else { return Vec::new() };
        let (flows, traffic) = network.last_told();
        self.traffic = traffic;
        flows
    }

    fn look(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.looked.is_some_and(|last| now.saturating_duration_since(last) < OFTEN) {
            return Ok(());
        }
        self.looked = Some(now);
        let servers = servers();
        if servers.is_empty() {
            return Ok(());
        }
        match self.asker {
            Asker::Network(network) => return network.servers_are(&servers),
            Asker::Netstack(_) if servers == self.told => return Ok(()),
            Asker::Netstack(netstack) => netstack.servers_are(&servers)?,
        }
        self.told = servers;
        Ok(())
    }
}
