//! Whether the host's routes lead an address to the host itself.

use std::fmt;
use std::net::IpAddr;

use super::policy::Service;
use crate::net::user::packet::protocol;
use crate::sys::errno::Errno;
use crate::sys::routes::Routes;

/// Knows the host's routes.
pub trait Ways: fmt::Debug {
    /// Whether what is sent there stays on the host. Without a service, a connection to no port is meant.
    fn lead_home(&self, to: IpAddr, service: Option<Service>) -> bool;
}

impl Ways for Routes {
    fn lead_home(&self, to: IpAddr, service: Option<Service>) -> bool {
        let (protocol, port) = match (service, to) {
            (None, _) => (protocol::TCP, None),
            (Some(Service::Tcp(port)), _) => (protocol::TCP, Some(port)),
            (Some(Service::Udp(port)), _) => (protocol::UDP, Some(port)),
            (Some(Service::Echo), IpAddr::V4(_)) => (protocol::ICMP, None),
            (Some(Service::Echo), IpAddr::V6(_)) => (protocol::ICMPV6, None),
        };
        // Where no route leads, nothing gets to the host either. Not to know it is no reason to let it out.
        self.lead_home(to, protocol, port).unwrap_or_else(|errno| {
            !matches!(
                errno,
                Errno::ENETUNREACH
                    | Errno::EHOSTUNREACH
                    | Errno::EACCES
                    | Errno::EINVAL
                    | Errno::EAFNOSUPPORT
                    | Errno::EOPNOTSUPP
            )
        })
    }
}
