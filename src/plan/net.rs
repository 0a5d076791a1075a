//! Plans the network: an empty one of its own, or the host's.

use super::draft::Draft;
use super::step::{NetStep, Notice, Stage};
use crate::spec::{Network, Spec};

/// Appends what the network needs.
pub(super) fn plan_network(spec: &Spec, draft: &mut Draft) {
    match spec.network {
        Network::None => draft.push(Stage::Sandbox, NetStep::LoopbackUp),
        Network::Host => draft.notice(Notice::LoopbackReachable),
    }
}
