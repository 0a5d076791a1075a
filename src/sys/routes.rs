//! Where this machine's routes lead: `RTM_GETROUTE` of `rtnetlink(7)`, one question for one flow.
//!
//! # Decisions
//! - The kernel is asked and no table read: an address can be the machine's own by a route of any table
//!   (`ip route add local 192.0.2.0/24 dev lo`), which a rule picks by address, protocol, port or user. The kernel
//!   answers as it will when the same process dials.

use std::cell::Cell;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::errno::{Errno, Result};
use super::interfaces::{half, word};
use super::netlink::{attribute, family, octets};

/// Of `rtm_type`: an address of this machine, and one that the nearest of several machines has.
const LOCAL: u8 = 2;
const ANYCAST: u8 = 4;

/// Whether a route of this type (`rtm_type`) leads to this machine itself.
pub(super) fn is_own(kind: u8) -> bool {
    matches!(kind, LOCAL | ANYCAST)
}

/// The routes of the network namespace it was opened in.
#[derive(Debug)]
pub struct Routes {
    socket: OwnedFd,
    asked: Cell<u32>,
}

impl Routes {
    /// Opens what asks.
    pub fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is 0.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        Ok(Self { socket, asked: Cell::new(0) })
    }

    /// Whether what is sent to an address, of a protocol and with its port if it has any, stays on this machine.
    ///
    /// An errno is the kernel's, also when no route leads there.
    pub fn lead_home(&self, to: IpAddr, protocol: u8, port: Option<u16>) -> Result<bool> {
        let number = self.asked.get().wrapping_add(1);
        self.asked.set(number);
        rustix::net::send(&self.socket, &question(number, to, protocol, port), SendFlags::empty())?;
        loop {
            // The answer is there once the question was sent.
            let mut room = [0; 1024];
            let (length, _) = rustix::net::recv(&self.socket, &mut room, RecvFlags::empty())?;
            if let Some(home) = answer(room.get(..length).unwrap_or_default(), number)? {
                return Ok(home);
            }
        }
    }
}

fn question(number: u32, to: IpAddr, protocol: u8, port: Option<u16>) -> Vec<u8> {
    const GET_ROUTE: u16 = 26;
    const REQUEST: u16 = 1;
    const TO: u16 = 1;
    const PROTOCOL: u16 = 27;
    const PORT: u16 = 29;
    let octets = octets(to);
    let bits = u8::try_from(octets.len() * 8).unwrap_or(0);
    // struct rtmsg, of which the rest is to be found out.
    let mut body = vec![family(to), bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend(attribute(TO, &octets));
    body.extend(attribute(PROTOCOL, &[protocol]));
    body.extend(port.iter().flat_map(|port| attribute(PORT, &port.to_be_bytes())));
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let kinds = [GET_ROUTE.to_ne_bytes(), REQUEST.to_ne_bytes()].concat();
    [&length.to_ne_bytes()[..], &kinds, &number.to_ne_bytes(), &[0; 4], &body].concat()
}

/// What the kernel says to a question; nothing where it is about another one.
fn answer(bytes: &[u8], number: u32) -> Result<Option<bool>> {
    const ERROR: u16 = 2;
    const ROUTE: u16 = 24;
    if word(bytes, 8)? != number {
        return Ok(None);
    }
    match half(bytes, 4)? {
        ROUTE => bytes.get(23).map(|kind| Some(is_own(*kind))).ok_or(Errno::EPROTO),
        ERROR => Err(Errno::from_raw(word(bytes, 16)?.cast_signed().wrapping_neg())),
        _ => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::CloneFlags;
    use crate::sys::namespace;
    use crate::sys::netlink::Changes;
    use crate::sys::pidfd::Exit;
    use crate::sys::testing::{alone, mapped, ordinary_user};
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_kernel_says_what_stays_on_the_machine() {
        alone(module_path!(), "the_kernel_says_what_stays_on_the_machine", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET, 0, || {
                let routes = Routes::open().unwrap();
                let (tcp, udp, icmp) = (6, 17, 1);
                assert_eq!(
                    routes.lead_home(ip("192.0.2.1"), tcp, Some(80)),
                    Err(Errno::ENETUNREACH)
                );
                namespace::bring_loopback_up().unwrap();
                assert_eq!(routes.lead_home(ip("127.0.0.1"), tcp, Some(80)), Ok(true));
                assert_eq!(routes.lead_home(ip("::1"), udp, Some(80)), Ok(true));
                assert_eq!(routes.lead_home(ip("192.0.2.1"), icmp, None), Err(Errno::ENETUNREACH));
                let own = Changes::default().add_address(1, ip("192.0.2.1"), 32);
                own.add_address(1, ip("2001:db8::1"), 128).apply().unwrap();
                assert_eq!(routes.lead_home(ip("192.0.2.1"), icmp, None), Ok(true));
                // Its route the kernel makes a little later.
                let later = || routes.lead_home(ip("2001:db8::1"), 58, None) == Ok(true);
                let wait = || std::thread::sleep(std::time::Duration::from_millis(10));
                assert!((0..1000).any(|_| later() || {
                    wait();
                    false
                }));
                assert!(routes.lead_home(ip("2001:db8::2"), tcp, Some(1)).is_err());
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn an_answer_is_the_kind_of_a_route_or_an_error() {
        let message = |kind: u16, rest: &[u8]| {
            [&[0; 4][..], &kind.to_ne_bytes(), &[0; 2], &7_u32.to_ne_bytes(), &[0; 4], rest]
                .concat()
        };
        let route = |to: u8| message(24, &[0, 0, 0, 0, 0, 0, 0, to]);
        for (to, leads_home) in [(LOCAL, true), (ANYCAST, true), (1, false), (3, false), (5, false)]
        {
            assert_eq!(answer(&route(to), 7), Ok(Some(leads_home)), "{to}");
        }
        assert_eq!(answer(&message(24, &[0; 7]), 7), Err(Errno::EPROTO));
        let unreachable = (-Errno::ENETUNREACH.raw()).to_ne_bytes();
        assert_eq!(answer(&message(2, &unreachable), 7), Err(Errno::ENETUNREACH));
        assert_eq!(answer(&route(LOCAL), 8), Ok(None));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_an_answer_or_not(mut bytes in proptest::collection::vec(any::<u8>(), 16..64), kind in 0_u8..40) {
            bytes[4..6].copy_from_slice(&u16::from(kind).to_ne_bytes());
            bytes[8..12].copy_from_slice(&7_u32.to_ne_bytes());
            let expected = match (kind, bytes.get(23)) {
                (24, Some(to)) => Some(Ok(Some(matches!(*to, LOCAL | ANYCAST)))),
                // An error of the kernel's, or one that cannot be read.
                (2, _) => None,
                _ => Some(Err(Errno::EPROTO)),
            };
            let said = answer(&bytes, 7);
            match expected {
                Some(expected) => prop_assert_eq!(said, expected),
                None => prop_assert!(said.is_err()),
            }
            prop_assert_eq!(answer(&bytes, 8), Ok(None));
        }
    }
}
