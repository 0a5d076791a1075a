//! The bridge of a network of several sandboxes, and the cables to its members.
//!
//! # Decisions
//! - A port is bound to its member's link address: the kernel drops what comes from any other, and floods nothing
//!   but broadcasts, so a member gets what is for it and sends as itself.
//! - Who has which address is known for good at both ends of what leaves and comes in: an answer to ARP or neighbour
//!   discovery that somebody made up leads nobody astray.
//! - Between members nothing is known for good. Each port drops what is from, or tells of, another address than its member's,
//!   where no power over the member's own namespace changes it. A kernel without such filters is good enough for who is on one
//!   network alone, whose kernel has no other address and whose program has no power over it; not for who is on several,
//!   whose kernel would send from the others.
//! - Longest packets as long as those of the netstack's link: nothing is cut on the way out, and a cable within one
//!   machine has no reason for less.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use crate::plan::step::Link;
use crate::spec::net::Segment;
use crate::spec::net::segment::mac_of;
use crate::sys::errno::{Errno, Result};
use crate::sys::netlink::{self, Changes, Filters, LinkChange, Veth};

const NAME: &str = "br0";

/// Packets that may wait at an interface.
const QUEUE: u32 = 1000;

/// Makes the bridge with the gateway's addresses; its index.
pub fn make(segment: &Segment, ipv6: bool) -> Result<u32> {
    let mtu = u32::from(Link::usual(ipv6).mtu);
    Changes::default().new_bridge(NAME, mac_of(segment.gateway), mtu).apply()?;
    let index = netlink::index(NAME)?;
    let up = Changes::default().bring_up(LinkChange { index, mtu, queue: QUEUE }, ipv6);
    let v4 = (IpAddr::V4(segment.gateway), segment.subnet.length());
    let v6 = ipv6.then(|| (segment.v6_of(segment.gateway).into(), segment.subnet6.length()));
    let all = [v4].into_iter().chain(v6);
    all.fold(up, |up, (address, prefix)| up.add_address(index, address, prefix)).apply()?;
    Ok(index)
}

/// Whether packets go from one interface of this network namespace to another.
pub fn forward(passes: bool, ipv6: bool) -> Result<()> {
    let value = if passes { "1" } else { "0" };
    set("ipv4/ip_forward", value)?;
    if ipv6 { set("ipv6/conf/all/forwarding", value) } else { Ok(()) }
}

/// Has this network namespace, which is on several networks, tell and take on each what is of its address there: ARP
/// asks and answers so, and no sender leads a packet on to another address of it.
pub fn keep_apart() -> Result<()> {
    for (name, value) in [("arp_ignore", "1"), ("arp_announce", "2"), ("accept_source_route", "0")]
    {
        set(&format!("ipv4/conf/all/{name}"), value)?;
    }
    Ok(())
}

fn set(name: &str, value: &str) -> Result<()> {
    std::fs::write(format!("/proc/sys/net/{name}"), value)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// What a cable to a member is like.
#[derive(Debug, Clone, Copy)]
pub struct Cable {
    /// The member's address.
    pub v4: Ipv4Addr,
    /// Of IPv6.
    pub v6: Option<Ipv6Addr>,
    /// The number of its interface.
    pub port: u8,
    /// The longest packet.
    pub mtu: u32,
}

/// Lays a cable between a new port and a member's network namespace; the port's index.
pub fn connect(bridge: u32, cable: &Cable, namespace: BorrowedFd<'_>) -> Result<u32> {
    let Cable { v4, v6, mtu, .. } = *cable;
    let name = port_of(v4);
    let mac = mac_of(v4);
    let mut port_mac = mac;
    // The other end's, told apart by the second byte.
    port_mac[1] = !mac[1];
    let inside = Link::port(cable.port);
    let veth = Veth { port: &name, bridge, name: &inside, mac, port_mac, namespace, mtu };
    Changes::default().new_veth(veth).apply()?;
    let index = netlink::index(&name)?;
    let bound = Changes::default()
        .bind_port(index, mac)
        .bring_up(LinkChange { index, mtu, queue: QUEUE }, false);
    // Where the bridge leads it stays said when the member has left: its link address is a part of the address.
    let all = [IpAddr::V4(v4)].into_iter().chain(v6.map(IpAddr::V6));
    let bound = all.fold(bound, |known, at| known.know_neighbour(bridge, at, mac)).apply();
    if bound.is_err() {
        disconnect(index).unwrap_or(());
    }
    bound.map(|()| index)
}

/// The name of a member's port.
fn port_of(v4: Ipv4Addr) -> String {
    format!("p{:08x}", v4.to_bits())
}

/// Which addresses members may send from, by the port that each is at.
#[derive(Debug)]
pub struct Sources(Filters);

impl Sources {
    /// Nobody is kept to any yet.
    pub fn open() -> Result<Self> {
        Filters::open().map(Self)
    }

    /// Lets a member send from its addresses on this network alone, whatever its kernel would.
    pub fn keep_to(&self, v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Result<()> {
        self.0.keep(&port_of(v4), mac_of(v4), v4, v6)
    }

    /// Forgets that of a port that was taken away.
    pub fn forget(&self, v4: Ipv4Addr) -> Result<()> {
        self.0.forget(&port_of(v4))
    }
}

/// Whether an error says that this kernel can keep nobody to its addresses.
pub fn cannot_filter(errno: Errno) -> bool {
    netlink::cannot_filter(errno)
}

/// Takes a port away, and with it the other end.
pub fn disconnect(port: u32) -> Result<()> {
    Changes::default().delete_link(port).apply()
}
