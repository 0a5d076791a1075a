//! The connections of a network namespace, listed and ended: `sock_diag(7)`.
//!
//! # Decisions
//! - `SOCK_DESTROY` (`CONFIG_INET_DIAG_DESTROY`, in every distribution's kernel; elsewhere `EOPNOTSUPP`) asks for
//!   `CAP_NET_ADMIN` over the network namespace, whoever owns the socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::errno::{Errno, Result};

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;

/// TCP states with a peer, as bits: established to last-ack and closing, but for time-wait, which nobody waits for.
const WITH_PEER: u32 = 0b1011_0011_1110;

/// Bytes of `struct inet_diag_sockid`, which stands behind four others in every answer.
const ID: usize = 48;
type Id = [u8; ID];

/// Bytes of one answer.
const ROOM: usize = 32 << 10;

/// Aborts every TCP connection of the calling process's network namespace that leads out of it and that `is_lost`, by its
/// own address and the other one: whoever reads, writes or connects gets `ECONNABORTED`.
pub fn abort_connections(is_lost: impl Fn(IpAddr, IpAddr) -> bool) -> Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let family = u8::try_from(family).unwrap_or(0);
        ask(&socket, BY_FAMILY, DUMP, family, WITH_PEER, &[0; ID])?;
        let goes = |id: &&Id| {
            let (own, other) = ends(family, id);
            leads_out(own, other) && is_lost(own, other)
        };
        for id in listed(&socket)?.iter().filter(goes) {
            ask(&socket, DESTROY, ACKNOWLEDGE, family, 0, id)?;
            match listed(&socket) {
                // It has ended meanwhile.
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// One question: `struct nlmsghdr`, `struct inet_diag_req_v2`.
fn ask(socket: &OwnedFd, kind: u16, flags: u16, family: u8, states: u32, id: &Id) -> Result<()> {
    const LENGTH: u32 = 16 + 8 + 48;
    let tcp = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
    let question = [
        &LENGTH.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        &(REQUEST | flags).to_ne_bytes(),
        &[0; 8],
        &[family, tcp, 0, 0],
        &states.to_ne_bytes(),
        id,
    ];
    rustix::net::send(socket, &question.concat(), SendFlags::empty())?;
    Ok(())
}

/// What is answered, to its end.
fn listed(socket: &OwnedFd) -> Result<Vec<Id>> {
    let mut found = Vec::new();
    let mut room = vec![0; ROOM];
    loop {
        let (length, _) = rustix::net::recv(socket, &mut room[..], RecvFlags::empty())?;
        if read(room.get(..length).unwrap_or_default(), &mut found)? {
            return Ok(found);
        }
    }
}

/// One datagram of the kernel's, messages one after another; whether it was the last.
fn read(mut bytes: &[u8], found: &mut Vec<Id>) -> Result<bool> {
    while let Some(head) = bytes.first_chunk::<16>() {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
        let length = usize::try_from(length).map_err(|_| Errno::EPROTO)?;
        let body = bytes.get(16..length).ok_or(Errno::EPROTO)?;
        match u16::from_ne_bytes([head[4], head[5]]) {
            DONE => return Ok(true),
            ERROR => {
                let errno = body.first_chunk::<4>().ok_or(Errno::EPROTO)?;
                return match i32::from_ne_bytes(*errno) {
                    0 => Ok(true),
                    errno => Err(Errno::from_raw(errno.wrapping_neg())),
                };
            }
            BY_FAMILY => {
                let id = body.get(4..).and_then(|rest| rest.first_chunk::<ID>());
                found.push(*id.ok_or(Errno::EPROTO)?);
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The addresses of the own end and the other one.
fn ends(family: u8, id: &Id) -> (IpAddr, IpAddr) {
    let address = |at: usize| -> IpAddr {
        let bytes = id.get(at..).unwrap_or_default();
        let v4 = bytes.first_chunk::<4>().map_or(Ipv4Addr::UNSPECIFIED, |b| Ipv4Addr::from(*b));
        let v6 = bytes.first_chunk::<16>().map_or(Ipv6Addr::UNSPECIFIED, |b| Ipv6Addr::from(*b));
        if i32::from(family) == libc::AF_INET { v4.into() } else { v6.to_canonical() }
    };
    (address(4), address(20))
}

/// Whether they are in different places. Two of this namespace are both on loopback, or the same.
fn leads_out(own: IpAddr, other: IpAddr) -> bool {
    own != other && !other.is_loopback()
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
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_leads_out_is_aborted_and_nothing_else() {
        alone(module_path!(), "what_leads_out_is_aborted_and_nothing_else", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET, 0, || {
                namespace::bring_loopback_up().unwrap();
                let add = |to: &str| Changes::default().add_address(1, to.parse().unwrap(), 32);
                add("192.0.2.1").apply().unwrap();
                add("192.0.2.2").apply().unwrap();
                let connected = |server: &TcpListener| {
                    let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
                    (client, server.accept().unwrap().0)
                };
                // Both families: a socket of IPv6 speaks IPv4, too.
                let out = TcpListener::bind("192.0.2.2:0").unwrap();
                let both = TcpListener::bind("[::]:0").unwrap();
                let within = TcpListener::bind("127.0.0.1:0").unwrap();
                let (mut own, mut own_server) = connected(&within);
                let from = |from: &str, to: &TcpListener| {
                    let port = to.local_addr().unwrap().port();
                    let socket =
                        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
                    let at = |ip: &str, port| std::net::SocketAddr::new(ip.parse().unwrap(), port);
                    rustix::net::bind(&socket, &at(from, 0)).unwrap();
                    rustix::net::connect(&socket, &at("192.0.2.2", port)).unwrap();
                    (TcpStream::from(socket), to.accept().unwrap().0)
                };
                let (mut one, mut one_server) = from("192.0.2.1", &out);
                let (mut two, mut two_server) = from("192.0.2.1", &both);
                let at: IpAddr = "192.0.2.1".parse().unwrap();
                abort_connections(|from, to| from == at && to == at).unwrap();
                one.write_all(b"x").unwrap();
                one_server.read_exact(&mut [0]).unwrap();
                abort_connections(|_, _| true).unwrap();
                for stream in [&mut one, &mut one_server, &mut two, &mut two_server] {
                    let told = stream.read(&mut [0]).map_err(|error| error.kind());
                    // Who was aborted second got a reset of the first before.
                    let told = told.unwrap_err();
                    let kinds = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
                    assert!(kinds.contains(&told), "{told}");
                }
                own.write_all(b"x").unwrap();
                own_server.read_exact(&mut [0]).unwrap();
                connected(&out);
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut found = Vec::new();
            read(&bytes, &mut found).unwrap_or_default();
        }
    }
}
