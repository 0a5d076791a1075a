//! Performs the network's steps inside the new network namespace.
//!
//! # Not here
//! Which network a sandbox has (`plan`).

pub mod dns;
pub mod egress;
pub mod user;

use crate::plan::step::NetStep;
use crate::sys::errno::Result;
use crate::sys::namespace;

/// Takes one step.
pub fn apply(step: NetStep) -> Result<()> {
    match step {
        NetStep::LoopbackUp => namespace::bring_loopback_up(),
    }
}
