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
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::holder::Membership;
use super::netstack::Netstack;
use crate::net::dns::files::parse_servers;
use crate::plan::traffic::Flow;
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
}

impl<'a> Names<'a> {
    /// For the netstack of a run, or of the network it is on; none without either, and none for a program of others.
    pub fn new(netstack: Option<&'a Netstack>, network: Option<&'a Membership>) -> Option<Self> {
        let netstack = netstack.filter(|netstack| netstack.asks());
        let asker = netstack.map(Asker::Netstack).or(network.map(Asker::Network))?;
        Some(Self { asker, told: Vec::new(), looked: None })
    }

    /// Readable when somebody asks, or is gone.
    pub fn asks(&self) -> BorrowedFd<'_> {
        match self.asker {
            Asker::Netstack(netstack) => netstack.control(),
            Asker::Network(network) => network.connection(),
        }
    }

    /// Hears what is asked, and looks; or of a flow. An error when nobody will ask any more.
    pub fn hear(&mut self) -> Result<Option<Flow>> {
        let flow = match self.asker {
            Asker::Netstack(netstack) => netstack.hear_said()?,
            Asker::Network(network) => network.hear_look().map(|()| None)?,
        };
        if flow.is_none() {
            self.look()?;
        }
        Ok(flow)
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
