//! What may come in by a port of a bridge: netfilter's netlink, `nf_tables`.
//!
//! # Theory of operation
//! Each port that is filtered has a chain of its own, at the ingress of that interface and so before the bridge, which
//! drops what no rule of it accepts. Messages come in one batch, of which the kernel takes all or nothing.
//!
//! What is taken out, the kernel frees later; who closes a socket of this kind meanwhile waits for that, 10 ms on Linux
//! 6.18 where the rest takes 0.2 ms. So [`Filters`] keeps its own.
//!
//! # Decisions
//! - Who is behind a port tells of its own addresses alone: ARP by its sender's pair, neighbour discovery by the address that is
//!   advertised. It is no router: advertisements and redirects of such are dropped.
//! - Of IPv6 only headers that stand first are let in which the rules can read, or which no kernel takes neighbour discovery
//!   behind (fragments: RFC 6980).
//!
//! # Not here
//! Which link address may come in: that is the bridge's own to know (`bind_port`).

use std::net::{Ipv4Addr, Ipv6Addr};

use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, netlink};

use super::super::errno::{Errno, Result};
use super::{ANSWER, Changes, Mac, attribute, exchange, open};

const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES`.
const TABLES: u8 = 10;
const NEW_TABLE: u16 = 0xa00;
const NEW_CHAIN: u16 = 0xa03;
const DELETE_CHAIN: u16 = 0xa05;
const NEW_RULE: u16 = 0xa06;

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const TABLE: &str = "bryo";

/// `struct nfgenmsg`: the family, which is that of devices, and for the marks of a batch whose it is.
const OF_DEVICES: [u8; 4] = [5, 0, 0, 0];
const OF_TABLES: [u8; 4] = [0, 0, 0, TABLES];

/// A name as the kernel wants it, with its end.
fn text(kind: u16, name: &str) -> Vec<u8> {
    attribute(kind, &[name.as_bytes(), &[0]].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn nested(kind: u16, all: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind, &all.concat())
}

/// One expression of a rule.
fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[text(1, name), nested(2, data)])
}

/// Goes on where the first register has this.
fn equals(value: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, 1), number(2, 0), nested(3, &[attribute(1, value)])])
}

const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// Bytes at an offset from the network header.
type Field<'a> = (u32, &'a [u8]);

/// What becomes of packets of this protocol of Ethernet that have all these.
fn rule(port: &str, verdict: u32, protocol: u16, fields: &[Field<'_>]) -> [Vec<u8>; 3] {
    const PROTOCOL: u32 = 1;
    const NETWORK_HEADER: u32 = 1;
    let mut expressions = vec![
        expression("meta", &[number(1, 1), number(2, PROTOCOL)]),
        equals(&protocol.to_be_bytes()),
    ];
    for (offset, value) in fields {
        let length = u32::try_from(value.len()).unwrap_or(0);
        let at = [number(1, 1), number(2, NETWORK_HEADER), number(3, *offset), number(4, length)];
        expressions.extend([expression("payload", &at), equals(value)]);
    }
    let verdict = nested(2, &[nested(2, &[number(1, verdict)])]);
    expressions.push(expression("immediate", &[number(1, 0), verdict]));
    [text(1, TABLE), text(2, port), nested(4, &expressions)]
}

/// Those for IPv6.
fn rules_of_v6(port: &str, own: Ipv6Addr) -> Vec<[Vec<u8>; 3]> {
    const V6: u16 = 0x86dd;
    const NEXT_HEADER: u32 = 6;
    const SOURCE: u32 = 8;
    const TYPE: u32 = 40;
    const TARGET: u32 = 48;
    const OF_ROUTERS: [u8; 2] = [134, 137];
    const ADVERTISEMENT: u8 = 136;
    // TCP, UDP, ICMP, and fragments of them.
    const TAKEN: [u8; 4] = [6, 17, 58, 44];
    let own = own.octets();
    let icmp = (NEXT_HEADER, &[58_u8][..]);
    let advertised = [icmp, (TYPE, &[ADVERTISEMENT]), (SOURCE, &own), (TARGET, &own)];
    let mut rules = vec![rule(port, ACCEPT, V6, &advertised)];
    for kind in OF_ROUTERS.into_iter().chain([ADVERTISEMENT]) {
        rules.push(rule(port, DROP, V6, &[icmp, (TYPE, &[kind])]));
    }
    for next in TAKEN {
        rules.push(rule(port, ACCEPT, V6, &[(SOURCE, &own), (NEXT_HEADER, &[next])]));
    }
    rules
}

/// What may come in by which interface of the network namespace that this was opened in.
#[derive(Debug)]
pub struct Filters(OwnedFd);

impl Filters {
    /// None yet. [`cannot_filter`] tells a kernel without, here or later.
    pub fn open() -> Result<Self> {
        open(Some(netlink::NETFILTER)).map(Self)
    }

    /// From now on, what comes in by this interface comes from these addresses, also as ARP and neighbour discovery have
    /// them, and everything else is dropped.
    pub fn keep(&self, port: &str, mac: Mac, v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Result<()> {
        const INGRESS: u32 = 0;
        let hook = [number(1, INGRESS), number(2, 0), text(3, port)];
        let policy = [nested(4, &hook), number(5, DROP), text(7, "filter")];
        let chain = [&[text(1, TABLE), text(3, port)][..], &policy].concat();
        let mut batch = Changes::default();
        batch.push(BEGIN, 0, &OF_TABLES, &[]);
        batch.push(NEW_TABLE, CREATE, &OF_DEVICES, &[text(1, TABLE)]);
        batch.push(NEW_CHAIN, CREATE, &OF_DEVICES, &chain);
        let mut rules = vec![
            rule(port, ACCEPT, 0x800, &[(12, &v4.octets())]),
            rule(port, ACCEPT, 0x806, &[(8, &mac), (14, &v4.octets())]),
        ];
        rules.extend(v6.into_iter().flat_map(|v6| rules_of_v6(port, v6)));
        for rule in rules {
            batch.push(NEW_RULE, CREATE | APPEND, &OF_DEVICES, &rule);
        }
        self.finish(batch)
    }

    /// Forgets what may come in by an interface, which may be gone already.
    pub fn forget(&self, port: &str) -> Result<()> {
        let mut batch = Changes::default();
        batch.push(BEGIN, 0, &OF_TABLES, &[]);
        batch.push(DELETE_CHAIN, 0, &OF_DEVICES, &[text(1, TABLE), text(3, port)]);
        match self.finish(batch) {
            // The kernel may do that itself when an interface goes.
            Err(Errno::ENOENT) => Ok(()),
            done => done,
        }
    }

    fn finish(&self, mut batch: Changes) -> Result<()> {
        let last = batch.acknowledge_last().ok_or(Errno::EINVAL)?;
        batch.push(END, 0, &OF_TABLES, &[]);
        // Of a batch before that failed at several places, all but the first are there still.
        while rustix::net::recv(&self.0, &mut [0; ANSWER], RecvFlags::DONTWAIT).is_ok() {}
        exchange(&self.0, &batch.bytes, last)
    }
}

/// Whether an error says that the kernel has no such filters.
pub fn cannot_filter(errno: Errno) -> bool {
    [Errno::EOPNOTSUPP, Errno::EPROTONOSUPPORT, Errno::EAFNOSUPPORT].contains(&errno)
}
