//! The payload's side of the link: a TUN device, or one end of a cable, with addresses and default routes.
//!
//! # Decisions
//! - The netstack's end is handed away and closed here: the payload never holds it.
//! - No IPv6 address is made of the interface's own accord, and none is looked for on the link: nobody else
//!   is there.
//! - A queue of a thousand packets: a packet is up to 64 KiB, and one that does not fit is lost, which costs a
//!   flow a moment.

use std::ffi::CString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use crate::plan::step::Link;
use crate::spec::net::segment::mac_of;
use crate::sys::beside::Uplink;
use crate::sys::errno::{Errno, Result};
use crate::sys::netlink::{self, Changes, LinkChange};
use crate::sys::tun;

/// Packets that may wait for the netstack.
const QUEUE: u32 = 1000;

/// Gives the end of a cable that is there already its addresses, and says who the gateway is. What has no other way
/// goes to the gateway of the first one there is.
pub fn configure(link: &Link, port: u8) -> Result<()> {
    let index = netlink::index(&Link::port(port))?;
    let gateway = mac_of(link.v4.gateway);
    let known = |changes: Changes, (_, _, at)| changes.know_neighbour(index, at, gateway);
    // The kernel takes 0 for 1024 where it is one of IPv6.
    let rank = if port == 0 { 0 } else { 1024 + u32::from(port) };
    let changes = link.families().fold(changes(link, index, rank), known);
    changes.apply()
}

/// The first interface of a network namespace.
pub fn configure_first(link: &Link) -> Result<()> {
    configure(link, 0)?;
    link.v6.map_or(Ok(()), |v6| netlink::only_sources(&[v6.own]))
}

/// Of IPv6, what leaves this network namespace comes from the addresses that it has now.
pub fn keep_sources() -> Result<()> {
    match std::fs::read_to_string("/proc/self/net/if_inet6") {
        Ok(text) => netlink::only_sources(&parse_addresses(&text)),
        // A kernel without IPv6.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
    }
}

/// Of the file that lists them: 32 digits, and the scope in the fourth word. Those of the whole machine and beyond.
fn parse_addresses(text: &str) -> Vec<Ipv6Addr> {
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == "00").then(|| Ipv6Addr::from(address))
    };
    text.lines().filter_map(of_line).collect()
}

/// Whatever is sent to a loopback address stays in this network namespace, also by a socket that is bound to the interface.
pub fn keep_loopback(name: &str) -> Result<()> {
    let index = netlink::index(name)?;
    Changes::default().keep_within(index, Ipv4Addr::new(127, 0, 0, 0).into(), 8).apply()?;
    match Changes::default().keep_within(index, Ipv6Addr::LOCALHOST.into(), 128).apply() {
        // No IPv6, or none at this interface: then nothing leaves there.
        Err(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EACCES | Errno::ENODEV) => Ok(()),
        done => done,
    }
}

/// Makes it; gives the other end.
pub fn make(link: &Link) -> Result<OwnedFd> {
    plan_beside(link, Vec::new())?.make()
}

/// What [`make`] does, and then writes.
pub(super) fn plan_beside(link: &Link, settings: Vec<(CString, String)>) -> Result<Uplink> {
    let name = CString::new(Link::NAME).map_err(|_| Errno::EINVAL)?;
    Ok(Uplink { name, changes: changes(link, tun::INDEX, 0).ready(), settings })
}

/// Up, with addresses and default routes, which come after those with a smaller number.
fn changes(link: &Link, index: u32, rank: u32) -> Changes {
    let change = LinkChange { index, mtu: u32::from(link.mtu), queue: QUEUE };
    let up = Changes::default().bring_up(change, link.v6.is_some());
    link.families().fold(up, |changes, (own, prefix, gateway)| {
        changes.add_address(index, own, prefix).add_default_route(index, gateway, rank)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_but_loopback_and_link_local_ones() {
        let text = "fd980001000200030000000000000007 03 40 00 82     eth0\n\
                    00000000000000000000000000000001 01 80 10 80       lo\n\
                    fe800000000000000000000000000001 03 40 20 80     eth0\nrubbish\n";
        assert_eq!(parse_addresses(text), ["fd98:1:2:3::7".parse::<Ipv6Addr>().unwrap()]);
        assert!(parse_addresses("").is_empty());
    }
}
