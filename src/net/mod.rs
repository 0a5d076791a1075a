//! Performs the network's steps inside the new network namespace; beside it lies the netstack.
//!
//! # Not here
//! Which network a sandbox has (`plan`); the netstack's process (`launch::netstack`).

pub mod bridge;
pub mod dns;
pub mod egress;
pub mod fair;
pub mod interface;
pub mod publish;
mod settings;
pub mod user;

use std::os::fd::OwnedFd;

use crate::plan::step::NetStep;
use crate::sys::beside::Uplink;
use crate::sys::errno::{Errno, Result};
use crate::sys::namespace;

/// What makes these steps' interface while something else is done.
pub fn uplink(steps: impl Iterator<Item = NetStep>) -> Result<Option<Uplink>> {
    let (mut link, mut settings) = (None, Vec::new());
    for step in steps {
        match step {
            NetStep::Tun(wanted) => link = Some(wanted),
            NetStep::Settings { echo_group } => settings = settings::all(echo_group),
            NetStep::LoopbackUp | NetStep::HandOver | NetStep::Port(_) => {}
        }
    }
    link.map(|link| interface::plan_beside(&link, settings)).transpose()
}

/// Takes one step; gives the netstack's end of the interface, if one was made.
pub fn apply(step: NetStep) -> Result<Option<OwnedFd>> {
    match step {
        NetStep::LoopbackUp => namespace::bring_loopback_up().map(|()| None),
        NetStep::Tun(link) => interface::make(&link).map(Some),
        NetStep::Settings { echo_group } => settings::write(echo_group).map(|()| None),
        // The namespaces are the sandbox process's to give.
        NetStep::HandOver => Err(Errno::EINVAL),
        NetStep::Port(link) => interface::configure_first(&link).map(|()| None),
    }
}
