//! Routing netlink, `rtnetlink(7)`: interfaces, addresses and routes, several changes in one message.
//!
//! # Decisions
//! - Written here and not taken from `netlink-packet-route`: four messages with a dozen attributes are
//!   less than its build.
//! - All requests go in one `sendmsg`. The kernel answers an error for each that fails, and for the last
//!   one always: so the first answer that is an error, or the last one, is the outcome.

mod bridge;
mod filter;

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice,
};

use super::errno::{Errno, Result};
pub use bridge::{Mac, Veth, only_sources};
pub use filter::{Filters, cannot_filter};

/// A change of the network namespace that the socket was opened in.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    count: u32,
    /// Where the flags of the last one stand.
    last_flags: usize,
}

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
/// None asked for: an error is told all the same.
const ACKNOWLEDGE_NONE: u16 = 0;
const EXCLUSIVE_CREATE: u16 = 0x200 | 0x400;

/// What `RTM_NEWLINK` changes of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkChange {
    /// Which.
    pub index: u32,
    /// The longest packet.
    pub mtu: u32,
    /// Packets that may wait.
    pub queue: u32,
}

pub(super) fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).unwrap_or(0)
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// One attribute: its length, its type, its value, padded to four bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

impl Changes {
    fn push(&mut self, kind: u16, flags: u16, body: &[u8], attributes: &[Vec<u8>]) {
        let attributes = attributes.concat();
        let length = u32::try_from(16 + body.len() + attributes.len()).unwrap_or(u32::MAX);
        self.count += 1;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.last_flags = self.bytes.len();
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(body);
        self.bytes.extend(attributes);
    }

    /// Changes an interface and brings it up. Of IPv6 addresses it makes none by itself.
    #[must_use]
    pub fn bring_up(mut self, link: LinkChange, ipv6: bool) -> Self {
        const MTU: u16 = 4;
        const QUEUE: u16 = 13;
        const FAMILIES: u16 = 26;
        const ADDRESS_MODE: u16 = 8;
        const MODE_NONE: u8 = 1;
        // struct ifinfomsg
        let body = |flags: u32| {
            let fields = [0, link.index, flags, flags];
            fields.into_iter().flat_map(u32::to_ne_bytes).collect::<Vec<u8>>()
        };
        let mut attributes = vec![
            attribute(MTU, &link.mtu.to_ne_bytes()),
            attribute(QUEUE, &link.queue.to_ne_bytes()),
        ];
        if ipv6 {
            let of_v6 = u16::try_from(libc::AF_INET6).unwrap_or(0);
            let mode = attribute(ADDRESS_MODE, &[MODE_NONE]);
            attributes.push(attribute(FAMILIES, &attribute(of_v6, &mode)));
        }
        // The kernel brings it up before it looks at the families: hence two.
        self.push(NEW_LINK, 0, &body(0), &attributes);
        self.push(NEW_LINK, 0, &body(libc::IFF_UP.cast_unsigned()), &[]);
        self
    }

    /// Adds an address with the length of its network's prefix. One of IPv6 is used at once.
    #[must_use]
    pub fn add_address(mut self, index: u32, address: IpAddr, prefix: u8) -> Self {
        const ADDRESS: u16 = 1;
        const LOCAL: u16 = 2;
        const FLAGS: u16 = 8;
        const NO_DETECTION: u32 = 2;
        // struct ifaddrmsg
        let mut body = vec![family(address), prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        let octets = octets(address);
        let mut attributes = vec![attribute(LOCAL, &octets), attribute(ADDRESS, &octets)];
        if address.is_ipv6() {
            attributes.push(attribute(FLAGS, &NO_DETECTION.to_ne_bytes()));
        }
        self.push(NEW_ADDRESS, EXCLUSIVE_CREATE, &body, &attributes);
        self
    }

    /// Sends everything of a family that has no other way to `gateway`, unless a route of a smaller rank does.
    #[must_use]
    pub fn add_default_route(mut self, index: u32, gateway: IpAddr, rank: u32) -> Self {
        const INTERFACE: u16 = 4;
        const GATEWAY: u16 = 5;
        const PRIORITY: u16 = 6;
        const MAIN: u8 = 254;
        const BOOT: u8 = 3;
        const UNICAST: u8 = 1;
        // struct rtmsg
        let mut body = vec![family(gateway), 0, 0, 0, MAIN, BOOT, 0, UNICAST];
        body.extend(0_u32.to_ne_bytes());
        let attributes = [
            attribute(INTERFACE, &index.to_ne_bytes()),
            attribute(GATEWAY, &octets(gateway)),
            attribute(PRIORITY, &rank.to_ne_bytes()),
        ];
        self.push(NEW_ROUTE, EXCLUSIVE_CREATE, &body, &attributes);
        self
    }

    /// Leads what is sent by this interface to `network/prefix` to the sockets of this very namespace, behind every other
    /// route there. A socket that is bound to an interface is led by no other route, and without one goes out all the
    /// same, an unreachable destination included (`ip_route_output_key_hash_rcu`, tried on 6.18).
    #[must_use]
    pub fn keep_within(mut self, index: u32, network: IpAddr, prefix: u8) -> Self {
        const DESTINATION: u16 = 1;
        const INTERFACE: u16 = 4;
        const PRIORITY: u16 = 6;
        const LAST: u32 = 1024;
        const TABLE_LOCAL: u8 = 255;
        const BOOT: u8 = 3;
        const SCOPE_HOST: u8 = 254;
        const LOCAL: u8 = 2;
        // struct rtmsg
        let mut body = vec![family(network), prefix, 0, 0, TABLE_LOCAL, BOOT, SCOPE_HOST, LOCAL];
        body.extend(0_u32.to_ne_bytes());
        let attributes = [
            attribute(DESTINATION, &octets(network)),
            attribute(INTERFACE, &index.to_ne_bytes()),
            attribute(PRIORITY, &LAST.to_ne_bytes()),
        ];
        self.push(NEW_ROUTE, EXCLUSIVE_CREATE, &body, &attributes);
        self
    }

    /// Says for good which link address has an address: nobody is asked, and nobody's word changes it.
    #[must_use]
    pub fn know_neighbour(mut self, index: u32, address: IpAddr, mac: Mac) -> Self {
        const ADDRESS: u16 = 1;
        const LINK_ADDRESS: u16 = 2;
        const PERMANENT: u16 = 0x80;
        const REPLACE_CREATE: u16 = 0x100 | 0x400;
        // struct ndmsg
        let mut body = vec![family(address), 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend(PERMANENT.to_ne_bytes());
        body.extend([0, 0]);
        let attributes = [attribute(ADDRESS, &octets(address)), attribute(LINK_ADDRESS, &mac)];
        self.push(NEW_NEIGHBOUR, REPLACE_CREATE, &body, &attributes);
        self
    }

    /// Has the kernel make the changes of the calling network namespace, in order. After an error, those
    /// behind it were made all the same.
    pub fn apply(self) -> Result<()> {
        self.ready().apply()
    }

    /// What is sent, from which nothing is missing any more.
    pub fn ready(mut self) -> Ready {
        let last = self.acknowledge_last();
        Ready { bytes: self.bytes, last }
    }

    /// Has the kernel answer the last one; its number.
    fn acknowledge_last(&mut self) -> Option<u32> {
        let flags = self.bytes.get_mut(self.last_flags..self.last_flags + 2)?;
        let last = u16::from_ne_bytes([*flags.first()?, *flags.get(1)?]) | ACKNOWLEDGE;
        flags.copy_from_slice(&last.to_ne_bytes());
        Some(self.count)
    }
}

/// Changes as bytes.
#[derive(Debug)]
pub struct Ready {
    bytes: Vec<u8>,
    /// The number of the one that is answered, if there are any.
    last: Option<u32>,
}

impl Ready {
    /// As [`Changes::apply`]. Nothing is allocated.
    pub fn apply(&self) -> Result<()> {
        // NETLINK_ROUTE is 0.
        self.last.map_or(Ok(()), |last| exchange(&open(None)?, &self.bytes, last))
    }
}

fn open(protocol: Option<Protocol>) -> Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?)
}

/// An answer has the request's first bytes in it.
const ANSWER: usize = 1 << 12;

/// Sends requests by a socket that nothing is left in; the outcome is the first error, or the answer to `last`.
fn exchange(socket: &OwnedFd, bytes: &[u8], last: u32) -> Result<()> {
    rustix::net::send(socket, bytes, SendFlags::empty())?;
    loop {
        let mut answer = [0; ANSWER];
        let (length, _) = rustix::net::recv(socket, &mut answer, RecvFlags::empty())?;
        if outcome(answer.get(..length).unwrap_or_default())? == last {
            return Ok(());
        }
    }
}

/// The number of the request that an answer is about; its error, if it is one.
fn outcome(answer: &[u8]) -> Result<u32> {
    const ERROR: u16 = 2;
    let number = |at: usize| {
        let bytes = answer.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(Errno::EPROTO)
    };
    let kind = answer.get(4..).and_then(|rest| rest.first_chunk::<2>()).ok_or(Errno::EPROTO)?;
    let (about, errno) = (number(8)?, number(16)?.cast_signed());
    match (u16::from_ne_bytes(*kind), errno) {
        (ERROR, 0) => Ok(about),
        (ERROR, errno) => Err(Errno::from_raw(-errno)),
        _ => Err(Errno::EPROTO),
    }
}

/// The index of an interface.
pub fn index(name: &str) -> Result<u32> {
    let socket: OwnedFd = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok(netdevice::name_to_index(&socket, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::CloneFlags;
    use crate::sys::namespace;
    use crate::sys::pidfd::Exit;
    use crate::sys::testing::{alone, mapped, ordinary_user};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn bind_to_device(socket: &UdpSocket, name: &str) {
        let (fd, length) = (socket.as_raw_fd(), libc::socklen_t::try_from(name.len()).unwrap());
        // SAFETY: the value is read, as many bytes as it has.
        let done = unsafe {
            let value = name.as_ptr().cast();
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, value, length)
        };
        assert_eq!(done, 0);
    }

    #[test]
    fn an_interface_gets_addresses_and_a_route_in_one_go() {
        alone(module_path!(), "an_interface_gets_addresses_and_a_route_in_one_go", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET, 0, || {
                namespace::bring_loopback_up().unwrap();
                let _tun = crate::sys::tun::create(c"tun0").unwrap();
                let index = index("tun0").unwrap();
                let link = LinkChange { index, mtu: 65_520, queue: 1_000 };
                let (v4, v6) = ("192.0.2.100".parse().unwrap(), "2001:db8::100".parse().unwrap());
                let changes = Changes::default()
                    .bring_up(link, true)
                    .add_address(index, v4, 24)
                    .add_address(index, v6, 64)
                    .add_default_route(index, "192.0.2.2".parse().unwrap(), 0)
                    .add_default_route(index, "2001:db8::2".parse().unwrap(), 0);
                changes.apply().unwrap();
                for (own, other) in [
                    (v4, "198.51.100.1:9"),
                    ("2001:db8::100".parse().unwrap(), "[2001:db8:1::1]:9"),
                ] {
                    let socket = UdpSocket::bind((own, 0)).unwrap();
                    socket.connect(other).unwrap();
                    assert_eq!(socket.local_addr().unwrap().ip(), own);
                }
                // Bound to the interface, what is for loopback stays within all the same.
                let server = UdpSocket::bind("127.0.0.1:0").unwrap();
                server.set_nonblocking(true).unwrap();
                let heard = || {
                    let client = UdpSocket::bind("0.0.0.0:0").unwrap();
                    bind_to_device(&client, "tun0");
                    client.send_to(b"x", server.local_addr().unwrap()).unwrap();
                    server.recv(&mut [0]).is_ok()
                };
                assert!(!heard());
                let keep = |to: &str, prefix| {
                    Changes::default().keep_within(index, to.parse().unwrap(), prefix).apply()
                };
                keep("127.0.0.0", 8).unwrap();
                keep("::1", 128).unwrap();
                assert!(heard());
                let mtu = std::fs::read_to_string("/proc/self/net/dev").unwrap();
                assert!(mtu.contains("tun0"), "{mtu}");
                let again =
                    Changes::default().add_address(index, v4, 24).add_default_route(1, v4, 0);
                assert_eq!(again.apply(), Err(Errno::EEXIST));
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn an_answer_that_means_nothing_is_an_error() {
        for length in 0..20 {
            assert_eq!(outcome(&vec![0; length]), Err(Errno::EPROTO));
        }
        assert_eq!(outcome(&[0; 40]), Err(Errno::EPROTO));
    }
}
