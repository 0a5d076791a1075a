//! Datagrams of a socket that many clients talk to: who sent each, to which of our addresses, and answers from there.
//!
//! A socket that is bound to every address would else answer from the one that the routing table prefers,
//! and a client takes no answer from another address than the one it asked: `IP_PKTINFO` of ip(7),
//! `IPV6_PKTINFO` of ipv6(7).

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};

use super::errno::{Errno, Result};

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Its length.
    pub length: usize,
    /// Who sent it.
    pub client: SocketAddr,
    /// Our address that it was sent to; none where the kernel does not say.
    pub to: Option<IpAddr>,
}

/// Has [`receive`] tell which address a datagram was sent to.
pub fn tell_addresses(socket: impl AsFd, is_v4: bool) -> Result<()> {
    let set = if is_v4 {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)
    };
    Ok(set?)
}

/// The next datagram; `EAGAIN` when there is none. What does not fit into `room` is cut off.
pub fn receive(socket: impl AsFd, room: &mut [u8]) -> Result<Came> {
    let mut space = cmsg_space!(libc::in6_pktinfo);
    let mut pieces = [IoSliceMut::new(room)];
    let fd = socket.as_fd().as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(fd, &mut pieces, Some(&mut space), MsgFlags::empty())?;
    let to = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()))
        }
        _ => None,
    });
    let client = message.address.as_ref().and_then(client_of).ok_or(Errno::EAFNOSUPPORT)?;
    Ok(Came { length: message.bytes, client, to })
}

fn client_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    let v6 = || address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()));
    v4().or_else(v6)
}

/// Sends a datagram to `client`, from our address `from` where one is named.
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    client: SocketAddr,
    from: Option<IpAddr>,
) -> Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let pieces = [IoSlice::new(bytes)];
    let to = SockaddrStorage::from(client);
    let say = |control: &[ControlMessage<'_>]| {
        sendmsg(fd, &pieces, control, MsgFlags::MSG_NOSIGNAL, Some(&to))
    };
    let sent = match from {
        Some(IpAddr::V4(from)) => {
            let spec = libc::in_addr { s_addr: u32::from(from).to_be() };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: spec,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            say(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(IpAddr::V6(from)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: from.octets() },
                // A link-local client names its link itself.
                ipi6_ifindex: 0,
            };
            say(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
        None => say(&[]),
    };
    Ok(sent.map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        for (bound, asked) in [("0.0.0.0:0", "127.0.0.7"), ("[::1]:0", "::1")] {
            let server = UdpSocket::bind(bound).unwrap();
            tell_addresses(&server, bound.starts_with('0')).unwrap();
            let at = SocketAddr::new(asked.parse().unwrap(), server.local_addr().unwrap().port());
            let client =
                UdpSocket::bind((if at.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).unwrap();
            // Connected: nothing comes in from any other address.
            client.connect(at).unwrap();
            client.send(b"question").unwrap();
            let mut room = [0; 4];
            let came = receive(&server, &mut room).unwrap();
            assert_eq!((came.length, &room), (4, b"ques"));
            assert_eq!((came.client, came.to), (client.local_addr().unwrap(), Some(at.ip())));
            send(&server, b"answer", came.client, came.to).unwrap();
            let mut back = [0; 16];
            assert_eq!(client.recv(&mut back).unwrap(), 6);
        }
    }
}
