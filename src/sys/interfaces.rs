//! The addresses of this machine, and that what leads to it changes: `RTM_GETADDR` and the groups of `rtnetlink(7)`.
//!
//! # Decisions
//! - A route can lead to the machine itself, too, and a rule to such a route: they are told of, and not listed
//!   ([`super::routes`]). Of other routes nothing is told, a machine may change them all day.
//! - What a change says is not read: the same address may be at two interfaces, and changes are lost when there are too
//!   many. Any change has all addresses listed anew.
//! - The socket needs no right but to be open: who has given up files and sockets of this kind can still listen to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::errno::{Errno, Result};
use super::event::Poller;
use super::routes::is_own;

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`; the same of routes; `RTMGRP_IPV4_RULE` and `RTNLGRP_IPV6_RULE`.
const GROUPS: u32 = 0x10 | 0x100 | 0x40 | 0x400 | 0x80 | 1 << 18;
/// Bytes of one answer: the kernel's own are of a page or two.
const ROOM: usize = 32 << 10;
/// How often a list that changes while it is told is asked for.
const TRIES: usize = 4;
/// Of the messages that answer the question; changes have none.
const QUESTION: u32 = 1;

/// The addresses of every interface in the network namespace it was opened in.
#[derive(Debug)]
pub struct Addresses(OwnedFd);

impl Addresses {
    /// Listens for changes, from now on.
    pub fn listen() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is 0.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self(socket))
    }

    /// One that somebody else has opened in another network namespace: it goes on to listen there.
    pub fn taken(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Whether they, or what leads to them, may have changed since this was asked last, or they were listed. The kernel
    /// tells of a new address before anything is led there.
    pub fn have_changed(&self) -> bool {
        let mut have = false;
        let mut start = [0; 24];
        loop {
            match rustix::net::recv(&self.0, &mut start, RecvFlags::empty()) {
                Err(rustix::io::Errno::AGAIN) => return have,
                Ok((length, _)) => have |= matters(start.get(..length).unwrap_or_default()),
                // That there were too many to keep is a change, too.
                Err(rustix::io::Errno::NOBUFS) => have = true,
                Err(_) => return true,
            }
        }
    }

    /// All of them.
    ///
    /// `EPROTO` when the kernel answers what means nothing.
    pub fn list(&self) -> Result<Vec<IpAddr>> {
        let mut found = Vec::new();
        for _ in 0..TRIES {
            let is_whole = self.ask(&mut found)?;
            if is_whole {
                break;
            }
        }
        Ok(found)
    }

    /// Lists them once; whether nothing changed meanwhile.
    fn ask(&self, found: &mut Vec<IpAddr>) -> Result<bool> {
        const GET_ADDRESS: u16 = 22;
        const REQUEST_DUMP: u16 = 1 | 0x300;
        let mut question = [0; 24];
        let parts = [&24_u32.to_ne_bytes()[..], &GET_ADDRESS.to_ne_bytes()];
        let rest = [&REQUEST_DUMP.to_ne_bytes()[..], &QUESTION.to_ne_bytes()];
        let bytes = parts.into_iter().chain(rest).flatten();
        question.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        rustix::net::send(&self.0, &question, SendFlags::empty())?;
        found.clear();
        let mut room = vec![0; ROOM];
        let mut is_whole = true;
        loop {
            match rustix::net::recv(&self.0, &mut room[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    let read = read(room.get(..length).unwrap_or_default(), found)?;
                    is_whole &= !read.changed;
                    if read.done {
                        return Ok(is_whole);
                    }
                }
                Err(rustix::io::Errno::NOBUFS) => is_whole = false,
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Addresses {
    /// Readable when they may have changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a message may be about an address, or about a way to the machine itself.
fn matters(message: &[u8]) -> bool {
    const ROUTES: std::ops::RangeInclusive<u16> = 24..=25;
    let is_route = half(message, 4).is_ok_and(|kind| ROUTES.contains(&kind));
    !is_route || message.get(23).is_none_or(|kind| is_own(*kind))
}

/// Waits until no interface of the calling process's network namespace has one of these addresses, so long at most.
pub fn wait_until_gone(addresses: &[IpAddr], most: Duration) -> Result<()> {
    let (listening, until) = (Addresses::listen()?, Instant::now() + most);
    while listening.list()?.iter().any(|one| addresses.contains(one)) {
        let mut poller = Poller::new();
        poller.readable((), listening.as_fd());
        let left = until.saturating_duration_since(Instant::now());
        // Other changes could go on for ever, and each of them is something to read.
        if left.is_zero() || poller.wait(Some(left))?.is_empty() {
            break;
        }
        listening.have_changed();
    }
    Ok(())
}

/// What was read of an answer.
#[derive(Debug, Default)]
struct Read {
    /// It was the last of it.
    done: bool,
    /// Something changed meanwhile.
    changed: bool,
}

/// The first four bytes at a place.
pub(super) fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    word.map(|word| u32::from_ne_bytes(*word)).ok_or(Errno::EPROTO)
}

/// The first two.
pub(super) fn half(bytes: &[u8], at: usize) -> Result<u16> {
    let half = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    half.map(|half| u16::from_ne_bytes(*half)).ok_or(Errno::EPROTO)
}

/// What follows a part of this length, with its padding.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

/// One datagram of the kernel's: messages one after another.
fn read(mut bytes: &[u8], found: &mut Vec<IpAddr>) -> Result<Read> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    const NEW_ADDRESS: u16 = 20;
    const INTERRUPTED: u16 = 0x10;
    let mut read = Read::default();
    while !bytes.is_empty() {
        let length = usize::try_from(word(bytes, 0)?).map_err(|_| Errno::EPROTO)?;
        let message = bytes.get(..length).filter(|_| length >= 16).ok_or(Errno::EPROTO)?;
        let is_answer = word(message, 8)? == QUESTION;
        read.changed |= !is_answer && matters(message) || half(message, 6)? & INTERRUPTED != 0;
        match half(message, 4)? {
            DONE if is_answer => read.done = true,
            ERROR if is_answer => {
                return Err(Errno::from_raw(word(message, 16)?.cast_signed().wrapping_neg()));
            }
            NEW_ADDRESS => found.extend(address(message)?),
            _ => {}
        }
        bytes = after(bytes, length);
    }
    Ok(read)
}

/// The address that an `RTM_NEWADDR` is about.
fn address(message: &[u8]) -> Result<Option<IpAddr>> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let mut attributes = message.get(24..).ok_or(Errno::EPROTO)?;
    let mut found = None;
    while !attributes.is_empty() {
        let length = usize::from(half(attributes, 0)?);
        let value = attributes.get(4..length).ok_or(Errno::EPROTO)?;
        let address = <[u8; 4]>::try_from(value)
            .map(|octets| Ipv4Addr::from(octets).into())
            .or_else(|_| <[u8; 16]>::try_from(value).map(|octets| Ipv6Addr::from(octets).into()));
        match half(attributes, 2)? {
            // Where both ends are said, the other one is that of the peer.
            LOCAL => found = address.ok().or(found),
            ADDRESS => found = found.or(address.ok()),
            _ => {}
        }
        attributes = after(attributes, length);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{self, CloneFlags, Cloned};
    use crate::sys::namespace;
    use crate::sys::netlink::Changes;
    use crate::sys::pidfd::{self, Exit};
    use crate::sys::process::exit_now;
    use crate::sys::testing::{alone, mapped, ordinary_user};
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_listed_and_a_change_is_told() {
        alone(module_path!(), "addresses_are_listed_and_a_change_is_told", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET, 0, || {
                namespace::bring_loopback_up().unwrap();
                let addresses = Addresses::listen().unwrap();
                let sorted = || {
                    let mut all = addresses.list().unwrap();
                    all.sort();
                    all
                };
                assert_eq!(sorted(), [ip("127.0.0.1"), ip("::1")]);
                assert!(!addresses.have_changed());
                let own = Changes::default().add_address(1, ip("192.0.2.1"), 32);
                own.add_address(1, ip("2001:db8::1"), 128).apply().unwrap();
                assert!(addresses.have_changed());
                assert!(!addresses.have_changed());
                let all = ["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"].map(ip);
                assert_eq!(sorted(), all);
                // More than fits into one answer, and into what is kept for who does not listen.
                for last in 0..4000_u16 {
                    let [high, low] = last.to_be_bytes();
                    let one = IpAddr::from([198, 18, high, low]);
                    Changes::default().add_address(1, one, 32).apply().unwrap();
                }
                assert_eq!(sorted().len(), 4004);
                assert!(!addresses.have_changed());
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    /// Gives the loopback one more address after the other, until it is killed.
    fn keep_changing(second: u8) -> OwnedFd {
        match clone::fork().unwrap() {
            Cloned::Parent { pidfd, .. } => pidfd,
            Cloned::Child => {
                for last in 0..=u16::MAX {
                    let [high, low] = last.to_be_bytes();
                    let one = IpAddr::from([198, second, high, low]);
                    Changes::default().add_address(1, one, 32).apply().unwrap();
                    std::thread::sleep(Duration::from_micros(100));
                }
                exit_now(0)
            }
        }
    }

    #[test]
    fn the_wait_for_an_address_to_go_ends_at_its_time_whatever_else_changes() {
        alone(
            module_path!(),
            "the_wait_for_an_address_to_go_ends_at_its_time_whatever_else_changes",
            || {
                ordinary_user();
                let exit = mapped(CloneFlags::NEW_NET, 0, || {
                    namespace::bring_loopback_up().unwrap();
                    let others = [18, 19].map(keep_changing);
                    let begun = Instant::now();
                    let most = Duration::from_millis(300);
                    wait_until_gone(&[ip("127.0.0.1")], most).unwrap();
                    let took = begun.elapsed();
                    for other in others {
                        pidfd::kill(&other).unwrap();
                        pidfd::wait(&other).unwrap();
                    }
                    assert!(took >= most && took < Duration::from_secs(3), "{took:?}");
                });
                assert_eq!(exit, Exit::Code(0));
            },
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&bytes, &mut Vec::new()));
            // A length that is right leads further in.
            let length = u32::try_from(bytes.len()).unwrap().to_ne_bytes();
            bytes.iter_mut().zip(length).for_each(|(to, from)| *to = from);
            if let Some(kind) = bytes.get_mut(4..6) {
                kind.copy_from_slice(&20_u16.to_ne_bytes());
            }
            drop(read(&bytes, &mut Vec::new()));
        }
    }
}
