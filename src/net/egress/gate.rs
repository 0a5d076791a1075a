//! The policy as the netstack asks it.

use std::net::{IpAddr, SocketAddr};

use super::policy::{Check, Policy, Ruling, Service};
use super::{Destination, Egress, Verdict};
use crate::spec::net::Egress as Rules;

/// See the module.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
}

impl Gate {
    /// For rules on a host that has the addresses `own`.
    pub fn new(rules: &Rules, own: Vec<IpAddr>) -> Self {
        Self { policy: Policy::new(rules, own) }
    }
}

impl Egress for Gate {
    fn open(&mut self, to: Destination) -> Verdict {
        let (service, port) = match to {
            Destination::Tcp(to) => (Service::Tcp(to.port()), to.port()),
            Destination::Udp(to) => (Service::Udp(to.port()), to.port()),
            Destination::Echo(_) => (Service::Echo, 0),
        };
        match self.policy.decide(to.address(), service, &[]) {
            Ruling::Dial { address, check: Check::Nothing } => {
                Verdict::Allow(SocketAddr::new(address, port))
            }
            // What has to be looked at is not let through unseen.
            Ruling::Dial { .. } | Ruling::Refuse(_) => Verdict::Deny,
        }
    }
}
