//! What a netstack that serves is told, and tells: JSON, one message each.
//!
//! Decoding is total; what means nothing ends the netstack, as a supervisor that is gone does.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};

use crate::net::egress::Tell;
use crate::plan::traffic::Flow;
use crate::sys::errno::Result;

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::launch) enum Order {
    /// The payload has ended: end once the last bytes have left.
    Finish,
    /// The host asks these servers for names now.
    Servers(Vec<SocketAddr>),
}

/// From the netstack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::launch) enum Said {
    /// The payload asks for names: does the host still ask the same servers?
    Look,
    /// This flow of who has this address was let out, or was not.
    Flow(IpAddr, Box<Flow>),
}

/// What says [`Said::Look`] over a socket. Where nobody listens, nobody is told.
pub(super) fn looker(to: BorrowedFd<'_>) -> Result<Box<dyn FnMut()>> {
    let to = rustix::io::fcntl_dupfd_cloexec(to, 3)?;
    Ok(Box::new(move || say(&to, &Said::Look)))
}

/// What says [`Said::Flow`], the same way.
pub(super) fn teller(to: BorrowedFd<'_>) -> Result<Tell> {
    let to = rustix::io::fcntl_dupfd_cloexec(to, 3)?;
    Ok(Rc::new(move |from, flow| say(&to, &Said::Flow(from, Box::new(flow.clone())))))
}

fn say(to: &OwnedFd, what: &Said) {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let bytes = serde_json::to_vec(what).unwrap_or_default();
    rustix::net::send(to, &bytes, flags).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::holder::{receive, send};
    use crate::plan::traffic::Protocol;
    use crate::sys::errno::Errno;
    use crate::sys::socket;
    use std::os::fd::AsFd;

    #[test]
    fn an_order_is_read_as_it_was_told_and_nonsense_is_an_error() {
        let (ours, theirs) = socket::pair().unwrap();
        let servers = ["192.0.2.53:53", "[fe80::53%7]:53"].map(|text| text.parse().unwrap());
        for order in [Order::Finish, Order::Servers(servers.into())] {
            send(&ours, &order, None).unwrap();
            assert_eq!(receive::<Order>(&theirs).unwrap().unwrap().0, order);
        }
        for text in ["{}", "7", "\"look\"", "{\"servers\":[7]}", "\"finish\"x", "\u{0}"] {
            socket::send(&ours, text.as_bytes(), &[]).unwrap();
            assert_eq!(receive::<Order>(&theirs).unwrap_err(), Errno::EPROTO, "{text}");
        }
        let mut look = looker(theirs.as_fd()).unwrap();
        look();
        assert_eq!(receive::<Said>(&ours).unwrap().unwrap().0, Said::Look);
        let name = crate::spec::net::HostName::parse("a.test").ok();
        let refused = Some("no rule allows it".to_owned());
        let flow = Flow { refused, ..Flow::new(name, Protocol::Dns, None) };
        let from = [10, 0, 2, 100].into();
        teller(theirs.as_fd()).unwrap()(from, &flow);
        let said = receive::<Said>(&ours).unwrap().unwrap().0;
        assert_eq!(said, Said::Flow(from, Box::new(flow)));
        // Nobody reads: nobody waits.
        (0..100_000).for_each(|_| look());
        drop(ours);
        look();
    }
}
