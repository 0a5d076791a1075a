//! What is said between the holder of a network, who wants to be on it, and its netstack: JSON, one message each.
//!
//! Nobody but the caller's own processes reaches the socket, and none of them runs a payload; still everything is
//! bounded and decoded totally.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::plan::facts::Lease;
use crate::plan::traffic::Flow;
use crate::spec::net::{HostName, NoPlace, Seat, Transport};
use crate::sys::errno::{Errno, Result};
use crate::sys::socket;

/// Of these messages: raised when one means something else.
pub(super) const VERSION: u32 = 7;

/// Longest message: addresses of all members there can be, or [`PAGE`] of them with all names they can have.
const LONGEST: usize = 192 << 10;

/// Most members that one answer lists.
pub(super) const PAGE: usize = 16;

/// What a launcher, or a command, asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Ask {
    /// For a place on the network. It lasts as long as the connection. The socket that comes along is told what was
    /// refused to its sandbox, as JSON, when somebody takes the place away.
    Join {
        /// [`VERSION`].
        version: u32,
        /// The sandbox's name, if it has one.
        name: Option<String>,
        /// What it asks of its place.
        seat: Seat,
    },
    /// To be known by this name too: the sandbox's id, which is made after its place.
    Known(String),
    /// To connect the network namespace whose descriptor comes along, with an interface of this number.
    Attach(u8),
    /// To keep the place for as long as the process whose descriptor comes along, and not the connection.
    Stay,
    /// To take its place from who has this id.
    Disconnect(String),
    /// That who has this id sends from its addresses here alone: it is on other networks too.
    Bind(String),
    /// For the user namespace, to make another network in it.
    Space,
    /// To let clients in by the port whose socket comes along.
    Publish {
        /// The member's port.
        port: u16,
        /// Of which protocol.
        transport: Transport,
    },
    /// To let nobody in any more. What comes along is closed when that is done.
    Withdraw,
    /// How many are there, and whether there is a way out.
    State,
    /// Who is there: those behind the one with this number.
    Members(Option<u64>),
    /// What went out and was refused: told, as JSON, to the socket that comes along. Who has a place hears of itself.
    Traffic,
    /// Nothing: the host asks these servers for names now. There is no answer.
    Servers(Vec<SocketAddr>),
}

/// What the holder answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Answer {
    /// A place; the holder's user namespace comes along.
    Lease(Lease),
    /// There is no such place.
    NoPlace(NoPlace),
    /// The user namespace comes along.
    Space {
        /// Whether it has the caller's subordinate ids.
        subids: bool,
    },
    /// Nobody has this id.
    Absent,
    /// Unasked: the place was taken away on purpose, and the connection ends.
    Dismissed,
    /// Somebody has this name.
    Taken(String),
    /// It is done.
    Done,
    /// The kernel did not want to.
    Failed(Failure),
    /// Of the network as a whole.
    State {
        /// How many are on it.
        members: usize,
        /// Whether the netstack has ended.
        uplink_is_lost: bool,
    },
    /// Who is there, by their numbers: at most [`PAGE`].
    Members(Vec<(u64, Member)>),
    /// Nobody asked: the netstack wants to know whether the host asks the same servers for names.
    Look,
    /// Nobody asked: this flow of the member's was let out, or was not.
    Flow(Box<Flow>),
    /// Nobody asked: the netstack has ended, and nothing leaves the network any more.
    Cut,
    /// The question is of another version, or comes at the wrong time.
    Unknown,
}

/// What failed, as words that follow *cannot*, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    pub(super) what: String,
    pub(super) errno: i32,
}

/// A sandbox on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its id; none while it is being made.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Names that others may have too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<HostName>,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its address of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Ipv6Addr>,
    /// How many ports of the host are open for it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub published: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// What the holder tells the netstack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::launch) enum Tell {
    /// This name has these addresses.
    Here(String, Vec<IpAddr>),
    /// This one has none any more.
    Gone(String),
    /// Clients of the port whose socket comes along are let in to this member.
    Open {
        /// Its address.
        v4: Ipv4Addr,
        /// Its address of IPv6.
        v6: Option<IpAddr>,
        /// Its port.
        port: u16,
        /// Of which protocol.
        transport: Transport,
    },
    /// Nobody is let in any more to who had these addresses. A descriptor that comes along is closed when that is done.
    Left(Vec<IpAddr>),
    /// To tell what went out and was refused to the socket that comes along: of who has these addresses, or with none
    /// of all.
    Report(Vec<IpAddr>),
    /// The host asks these servers for names now.
    Servers(Vec<SocketAddr>),
}

/// Sends one.
pub(in crate::launch) fn send(
    to: impl AsFd,
    message: &impl Serialize,
    fd: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::EINVAL)?;
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    socket::send(to, &bytes, &fds)
}

/// Receives one with at most one descriptor; none at the end.
///
/// `EPROTO` for what is no message.
pub(in crate::launch) fn receive<T: DeserializeOwned>(
    from: impl AsFd,
) -> Result<Option<(T, Option<OwnedFd>)>> {
    let mut bytes = vec![0; LONGEST];
    let (length, mut fds) = socket::receive(from, &mut bytes)?;
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(bytes.get(..length).unwrap_or_default());
    Ok(Some((message.map_err(|_| Errno::EPROTO)?, fds.pop())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_an_error() {
        let (a, b) = socket::pair().unwrap();
        for text in ["", "{}", "\"join\"", "{\"join\":{\"version\":1}}x", "\u{0}", "{\"known\":1}"]
        {
            if text.is_empty() {
                continue;
            }
            socket::send(&a, text.as_bytes(), &[]).unwrap();
            assert_eq!(receive::<Ask>(&b).unwrap_err(), Errno::EPROTO, "{text}");
        }
        let name = Some("a".to_owned());
        let ask = Ask::Join { version: VERSION, name, seat: Seat::default() };
        send(&a, &ask, None).unwrap();
        assert_eq!(receive::<Ask>(&b).unwrap().unwrap().0, ask);
        drop(a);
        assert!(receive::<Ask>(&b).unwrap().is_none());
    }
}
