//! The sandbox process and its network: a namespace that is made beside, an interface, whose it is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::steps::{clone_step, net_steps};
use super::{Failed, Mapped};
use crate::launch::netstack;
use crate::launch::wire::FromSandbox;
use crate::net;
use crate::plan::step::{Action, NetStep, Plan};
use crate::sys::beside::NetworkBeside;
use crate::sys::errno::Errno;

/// The network namespace of pid 1.
pub(super) enum Network {
    /// It stays in the one it was cloned in.
    Kept,
    /// Its own is being made.
    Made(NetworkBeside),
    /// It is in its own.
    Entered {
        /// For those who join it later.
        namespace: Option<OwnedFd>,
        /// The interface that was asked for was made on the way, whichever step the plan is at.
        with_uplink: bool,
    },
}

impl Network {
    /// Whether this is done by who makes it, or was when it was entered.
    pub(super) fn makes(&self, action: &Action) -> bool {
        let with_uplink = match self {
            Self::Kept => return false,
            Self::Made(made) => made.has_uplink(),
            Self::Entered { with_uplink, .. } => *with_uplink,
        };
        match action {
            Action::Net(NetStep::LoopbackUp) => true,
            Action::Net(NetStep::Tun(_) | NetStep::Settings { .. }) => with_uplink,
            _ => false,
        }
    }

    /// Whether what was made is waited for by somebody else.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self, Self::Made(made) if made.has_uplink() && made.is_done())
    }
}

impl Mapped<'_> {
    /// Enters the network namespace that was being made, if there is one.
    pub(super) fn enter_network(&mut self, plan: &Plan) -> Result<(), Failed> {
        match std::mem::replace(&mut self.network, Network::Kept) {
            Network::Made(network) => {
                let with_uplink = network.has_uplink();
                let entered = network.enter();
                let entered = entered.map_err(|errno| Failed::new(clone_step(plan), errno))?;
                self.network = Network::Entered { namespace: entered.namespace, with_uplink };
                if with_uplink { self.take_uplink(plan, entered.device.as_ref()) } else { Ok(()) }
            }
            other => {
                self.network = other;
                Ok(())
            }
        }
    }

    /// Sends away what was made beside, or takes the steps that were to be.
    fn take_uplink(&self, plan: &Plan, device: Option<&OwnedFd>) -> Result<(), Failed> {
        for (number, step) in net_steps(plan) {
            let taken = match (step, device) {
                (NetStep::Tun(_), Some(device)) => self.tell_link(number, device.as_fd()),
                (NetStep::LoopbackUp, _) | (NetStep::Settings { .. }, Some(_)) => Ok(()),
                (other, _) => self.connect(number, other),
            };
            taken.map_err(|errno| Failed::new(number, errno))?;
        }
        Ok(())
    }

    fn tell_link(&self, number: usize, link: BorrowedFd<'_>) -> Result<(), Errno> {
        let step = u16::try_from(number).map_err(|_| Errno::EOVERFLOW)?;
        self.tell(&FromSandbox::Link { step }, Some(link))
    }

    /// Takes a step on the network, and sends the netstack's end of the interface away: nothing inside ever holds it.
    pub(super) fn connect(&self, number: usize, step: NetStep) -> Result<(), Errno> {
        if step == NetStep::HandOver {
            let Network::Entered { .. } = self.network else { return Err(Errno::EINVAL) };
            let number = u16::try_from(number).map_err(|_| Errno::EOVERFLOW)?;
            return netstack::hand_over(number, &self.sockets.control);
        }
        let Some(link) = net::apply(step)? else { return Ok(()) };
        self.tell_link(number, link.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_on_the_way_in_is_not_made_again() {
        let settings = Action::Net(NetStep::Settings { echo_group: 7 });
        let entered = |with_uplink| Network::Entered { namespace: None, with_uplink };
        assert!(entered(true).makes(&settings) && !entered(false).makes(&settings));
        assert!(entered(false).makes(&Action::Net(NetStep::LoopbackUp)));
        assert!(!entered(true).makes(&Action::Net(NetStep::HandOver)));
        assert!(!Network::Kept.makes(&settings));
    }
}
