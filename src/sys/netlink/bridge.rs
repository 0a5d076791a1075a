//! Messages about a bridge, its ports and what is behind them.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::super::errno::{Errno, Result};
use super::{ACKNOWLEDGE_NONE, Changes, EXCLUSIVE_CREATE, NEW_LINK, NEW_NEIGHBOUR, attribute};

const DELETE_LINK: u16 = 17;
const SET_LINK: u16 = 19;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;

/// `NLA_F_NESTED`, which some of these messages must say.
const NESTED: u16 = 0x8000;

/// An address of a link of Ethernet.
pub type Mac = [u8; 6];

/// A pair of interfaces, of which one end is the port of a bridge and the other a member's.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// The port's name.
    pub port: &'a str,
    /// Of which bridge, by its index.
    pub bridge: u32,
    /// The member's name of its end.
    pub name: &'a str,
    /// The member's address.
    pub mac: Mac,
    /// The port's own address.
    pub port_mac: Mac,
    /// The member's network namespace.
    pub namespace: BorrowedFd<'a>,
    /// The longest packet.
    pub mtu: u32,
}

/// `struct ifinfomsg`.
fn link_body(family: u8, index: u32) -> Vec<u8> {
    let mut body = vec![family, 0, 0, 0];
    for field in [index, 0, 0] {
        body.extend(field.to_ne_bytes());
    }
    body
}

/// A name as the kernel wants it, with its end.
fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

mod link {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const NAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const MASTER: u16 = 10;
    pub(super) const PROTOCOL: u16 = 12;
    pub(super) const INFO: u16 = 18;
    pub(super) const NAMESPACE: u16 = 28;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
}

impl Changes {
    /// Makes a bridge that forwards at once, speaks no protocol of bridges, and passes on every multicast. With
    /// its own address it does not take one of its ports'.
    #[must_use]
    pub fn new_bridge(mut self, name: &str, mac: Mac, mtu: u32) -> Self {
        const FORWARD_DELAY: u16 = 1;
        const STP: u16 = 5;
        const MULTICAST_SNOOPING: u16 = 23;
        let data = [
            attribute(FORWARD_DELAY, &0_u32.to_ne_bytes()),
            attribute(STP, &0_u32.to_ne_bytes()),
            attribute(MULTICAST_SNOOPING, &[0]),
        ]
        .concat();
        let info = [attribute(link::INFO_KIND, b"bridge"), attribute(link::INFO_DATA, &data)];
        let attributes = [
            attribute(link::NAME, &text(name)),
            attribute(link::ADDRESS, &mac),
            attribute(link::MTU, &mtu.to_ne_bytes()),
            attribute(link::INFO, &info.concat()),
        ];
        self.push(NEW_LINK, EXCLUSIVE_CREATE, &link_body(0, 0), &attributes);
        self
    }

    /// Makes such a pair: the other end appears in the member's network namespace.
    #[must_use]
    pub fn new_veth(mut self, veth: Veth<'_>) -> Self {
        const PEER: u16 = 1;
        let namespace = veth.namespace.as_fd().as_raw_fd().to_ne_bytes();
        let mtu = attribute(link::MTU, &veth.mtu.to_ne_bytes());
        let mut peer = link_body(0, 0);
        peer.extend(attribute(link::NAME, &text(veth.name)));
        peer.extend(attribute(link::ADDRESS, &veth.mac));
        peer.extend(&mtu);
        peer.extend(attribute(link::NAMESPACE, &namespace));
        let data = attribute(PEER, &peer);
        let info = [attribute(link::INFO_KIND, b"veth"), attribute(link::INFO_DATA, &data)];
        let attributes = [
            attribute(link::NAME, &text(veth.port)),
            attribute(link::ADDRESS, &veth.port_mac),
            mtu,
            attribute(link::MASTER, &veth.bridge.to_ne_bytes()),
            attribute(link::INFO, &info.concat()),
        ];
        self.push(NEW_LINK, EXCLUSIVE_CREATE, &link_body(0, 0), &attributes);
        self
    }

    /// Binds a port to one address (since Linux 5.16): nothing is learnt from what comes in, what comes from any
    /// other address is dropped, and what is for that address goes there alone.
    #[must_use]
    pub fn bind_port(mut self, index: u32, mac: Mac) -> Self {
        const LEARNING: u16 = 8;
        const UNICAST_FLOOD: u16 = 9;
        // Kernels take the number of another setting without a word; `network::spoof` shows that it is this one.
        const LOCKED: u16 = 39;
        const LINK_ADDRESS: u16 = 2;
        const NO_ARP: u16 = 0x40;
        const OF_MASTER: u8 = 4;
        let family = u8::try_from(libc::AF_BRIDGE).unwrap_or(0);
        let flags =
            [attribute(LEARNING, &[0]), attribute(UNICAST_FLOOD, &[0]), attribute(LOCKED, &[1])];
        let protocol = attribute(link::PROTOCOL | NESTED, &flags.concat());
        self.push(SET_LINK, ACKNOWLEDGE_NONE, &link_body(family, index), &[protocol]);
        // struct ndmsg
        let mut body = vec![family, 0, 0, 0];
        body.extend(index.to_ne_bytes());
        body.extend(NO_ARP.to_ne_bytes());
        body.extend([OF_MASTER, 0]);
        self.push(NEW_NEIGHBOUR, EXCLUSIVE_CREATE, &body, &[attribute(LINK_ADDRESS, &mac)]);
        self
    }

    /// Removes an interface.
    #[must_use]
    pub fn delete_link(mut self, index: u32) -> Self {
        self.push(DELETE_LINK, ACKNOWLEDGE_NONE, &link_body(0, index), &[]);
        self
    }

    fn rule(
        mut self,
        kind: u16,
        priority: u32,
        source: Option<(Ipv6Addr, u8)>,
        to: [u8; 2],
    ) -> Self {
        const SOURCE: u16 = 2;
        const PRIORITY: u16 = 6;
        let family = u8::try_from(libc::AF_INET6).unwrap_or(0);
        let [table, action] = to;
        // struct fib_rule_hdr
        let mut body = vec![family, 0, source.map_or(0, |(_, bits)| bits), 0, table, 0, 0, action];
        body.extend(0_u32.to_ne_bytes());
        let mut attributes = vec![attribute(PRIORITY, &priority.to_ne_bytes())];
        attributes.extend(source.map(|(source, _)| attribute(SOURCE, &source.octets())));
        self.push(kind, if kind == NEW_RULE { EXCLUSIVE_CREATE } else { 0 }, &body, &attributes);
        self
    }
}

/// Lets packets of IPv6 leave the calling network namespace from these sources alone, whichever they could leave from
/// before. Those that stay can be used meanwhile. One at a time.
///
/// Any program may bind a socket to an IPv6 address that the machine does not have (`IPV6_FREEBIND`) and send
/// from it; with IPv4 the kernel then finds no route. A look-up without a source yet, as for a socket
/// that is bound to none, matches no rule that names one.
pub fn only_sources(own: &[Ipv6Addr]) -> Result<()> {
    const MAIN: [u8; 2] = [254, 1];
    const UNREACHABLE: [u8; 2] = [0, 7];
    const MEANWHILE: u32 = 9;
    const FOR_GOOD: u32 = 10;
    let make = |priority, source, bits, to| match Changes::default()
        .rule(NEW_RULE, priority, Some((source, bits)), to)
        .apply()
    {
        Err(Errno::EEXIST) => Ok(()),
        done => done,
    };
    let upper = Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0);
    for (add, remove) in [(MEANWHILE, FOR_GOOD), (FOR_GOOD, MEANWHILE)] {
        own.iter().try_for_each(|own| make(add, *own, 128, MAIN))?;
        make(11, Ipv6Addr::UNSPECIFIED, 1, UNREACHABLE)?;
        make(12, upper, 1, UNREACHABLE)?;
        // Each time the first of that priority; `ENOENT` when there is none.
        loop {
            match Changes::default().rule(DELETE_RULE, remove, None, [0; 2]).apply() {
                Ok(()) => {}
                Err(Errno::ENOENT) => break,
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{CloneFlags, Cloned, clone3};
    use crate::sys::namespace::{self, Namespace};
    use crate::sys::netlink::{LinkChange, index};
    use crate::sys::pidfd::Exit;
    use crate::sys::process::exit_now;
    use crate::sys::testing::{alone, mapped, ordinary_user};

    #[test]
    fn a_member_is_behind_a_port_that_is_bound_to_it() {
        alone(module_path!(), "a_member_is_behind_a_port_that_is_bound_to_it", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET, 0, || {
                let (mac, mtu) = ([2, 0, 0, 0, 0, 1], 9000);
                Changes::default().new_bridge("br0", mac, mtu).apply().unwrap();
                let bridge = index("br0").unwrap();
                let (read, write) = rustix::pipe::pipe().unwrap();
                let both = CloneFlags::NEW_USER | CloneFlags::NEW_NET;
                let Cloned::Parent { pid, .. } = clone3(both, None).unwrap() else {
                    drop(write);
                    let mut byte = [0];
                    rustix::io::read(&read, &mut byte).unwrap();
                    let link = LinkChange { index: index("eth0").unwrap(), mtu, queue: 1 };
                    let own = "fd00::2".parse().unwrap();
                    let up = Changes::default().bring_up(link, true).apply();
                    exit_now(u8::from(up.and_then(|()| only_sources(&[own])).is_err()));
                };
                let member = namespace::open_proc_dir(pid).unwrap();
                let member = namespace::open_ns(member, Namespace::Net).unwrap();
                let veth = Veth {
                    port: "p2",
                    bridge,
                    name: "eth0",
                    mac: [2, 0, 0, 0, 0, 2],
                    port_mac: [6, 0, 0, 0, 0, 2],
                    namespace: member.as_fd(),
                    mtu,
                };
                Changes::default().new_veth(veth).apply().unwrap();
                let port = index("p2").unwrap();
                Changes::default().bind_port(port, veth.mac).apply().unwrap();
                for _ in 0..2 {
                    let known = "fd00::2".parse().unwrap();
                    Changes::default().know_neighbour(bridge, known, veth.mac).apply().unwrap();
                }
                assert_eq!(Changes::default().new_veth(veth).apply(), Err(Errno::EEXIST));
                drop(write);
                let ended =
                    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                assert_eq!(ended.unwrap().unwrap().1.exit_status(), Some(0));
                Changes::default().delete_link(port).apply().unwrap();
                assert_eq!(index("p2"), Err(Errno::ENODEV));
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn what_is_no_source_any_more_is_forgotten() {
        alone(module_path!(), "what_is_no_source_any_more_is_forgotten", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET, 0, || {
                let _tun = crate::sys::tun::create(c"tun0").unwrap();
                let link = LinkChange { index: index("tun0").unwrap(), mtu: 9000, queue: 1 };
                let all = ["fd00::2", "fd00::3", "fd00::4"];
                let parsed = |at: &&str| at.parse::<Ipv6Addr>().unwrap();
                let up = Changes::default().bring_up(link, true);
                let add = |up: Changes, at| up.add_address(link.index, parsed(at).into(), 64);
                all.iter().fold(up, add).apply().unwrap();
                let goes = |from: &&str| {
                    let socket = std::net::UdpSocket::bind((parsed(from), 0)).unwrap();
                    socket.connect("[fd00::9]:9").is_ok()
                };
                assert!(all.iter().all(goes));
                for sources in [&all[..2], &[all[0], all[2]], &all[2..]] {
                    let own: Vec<_> = sources.iter().map(parsed).collect();
                    for _ in 0..3 {
                        only_sources(&own).unwrap();
                    }
                    for at in &all {
                        assert_eq!(goes(at), sources.contains(at), "{at} {sources:?}");
                    }
                }
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }
}
