//! What may come in by a port of a bridge: netfilter's netlink, `nf_tables`.
//!
//! # Theory of operation
//! Each port that is filtered has a chain of its own, at the ingress of that interface and so before the bridge, which
//! drops what no rule of it accepts. Messages come in one batch, of which the kernel takes all or nothing.
//!
//! # Not here
//! Which link address may come in: that is the bridge's own to know (`bind_port`).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::errno::{Errno, Result};
use super::{Changes, attribute};

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

/// Accepts packets of this protocol of Ethernet that have `value` at an offset from their network header.
fn accept(port: &str, protocol: u16, offset: u32, value: &[u8]) -> [Vec<u8>; 3] {
    const PROTOCOL: u32 = 1;
    const NETWORK_HEADER: u32 = 1;
    const ACCEPT: u32 = 1;
    let length = u32::try_from(value.len()).unwrap_or(0);
    let payload = [number(1, 1), number(2, NETWORK_HEADER), number(3, offset), number(4, length)];
    let verdict = nested(2, &[nested(2, &[number(1, ACCEPT)])]);
    let expressions = [
        expression("meta", &[number(1, 1), number(2, PROTOCOL)]),
        equals(&protocol.to_be_bytes()),
        expression("payload", &payload),
        equals(value),
        expression("immediate", &[number(1, 0), verdict]),
    ];
    [text(1, TABLE), text(2, port), nested(4, &expressions)]
}

/// From now on, what comes in by this interface of the calling network namespace comes from these addresses, also as
/// ARP has them, and everything else is dropped. `EOPNOTSUPP`, `EPROTONOSUPPORT` or `EAFNOSUPPORT` from a kernel without.
pub fn filter_port(port: &str, v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Result<()> {
    const INGRESS: u32 = 0;
    const DROP: u32 = 0;
    let hook = [number(1, INGRESS), number(2, 0), text(3, port)];
    let policy = [nested(4, &hook), number(5, DROP), text(7, "filter")];
    let chain = [&[text(1, TABLE), text(3, port)][..], &policy].concat();
    let mut batch = Changes::default();
    batch.push(BEGIN, 0, &OF_TABLES, &[]);
    batch.push(NEW_TABLE, CREATE, &OF_DEVICES, &[text(1, TABLE)]);
    batch.push(NEW_CHAIN, CREATE, &OF_DEVICES, &chain);
    let sources = [
        Some(accept(port, 0x800, 12, &v4.octets())),
        // Who has which address is told by the sender's.
        Some(accept(port, 0x806, 14, &v4.octets())),
        v6.map(|v6| accept(port, 0x86dd, 8, &v6.octets())),
    ];
    for rule in sources.into_iter().flatten() {
        batch.push(NEW_RULE, CREATE | APPEND, &OF_DEVICES, &rule);
    }
    finish(batch)
}

/// Forgets what may come in by an interface, which may be gone already.
pub fn forget_port(port: &str) -> Result<()> {
    let mut batch = Changes::default();
    batch.push(BEGIN, 0, &OF_TABLES, &[]);
    batch.push(DELETE_CHAIN, 0, &OF_DEVICES, &[text(1, TABLE), text(3, port)]);
    match finish(batch) {
        // The kernel may do that itself when an interface goes.
        Err(Errno::ENOENT) => Ok(()),
        done => done,
    }
}

fn finish(mut batch: Changes) -> Result<()> {
    let last = batch.acknowledge_last().ok_or(Errno::EINVAL)?;
    batch.push(END, 0, &OF_TABLES, &[]);
    batch.exchange(Some(rustix::net::netlink::NETFILTER), last)
}
