//! What the sandbox process looks for in its plan.

use crate::plan::step::{Action, FsStep, NetStep, OverlayServer, Plan, Stage};

/// Whether it can be taken in the sandbox's own network namespace alone: a sysfs shows that of its mounter,
/// the server of an overlay joins that of who asks for it, and after the pivot the host's must be left.
pub(super) fn needs_network(action: &Action) -> bool {
    let served = |server: &OverlayServer| matches!(server, OverlayServer::Fuse { .. });
    match action {
        Action::Net(step) => {
            matches!(step, NetStep::Tun(_) | NetStep::HandOver | NetStep::Port(_))
        }
        Action::Fs(FsStep::Overlay { server, .. }) => served(server),
        Action::Fs(step) => matches!(step, FsStep::Sysfs { .. } | FsStep::Pivot),
        _ => false,
    }
}

/// The steps on the network, each with its index.
pub(super) fn net_steps(plan: &Plan) -> impl Iterator<Item = (usize, NetStep)> {
    plan.of(Stage::Sandbox).filter_map(|(step, action)| match action {
        Action::Net(net) => Some((step, *net)),
        _ => None,
    })
}

/// The index of the step that says which namespaces there are.
pub(super) fn clone_step(plan: &Plan) -> usize {
    let mut steps = plan.of(Stage::Launch);
    steps.find(|(_, action)| matches!(action, Action::Clone(_))).map_or(0, |(step, _)| step)
}

/// A fork that fails is told as the exec that it was for.
pub(super) fn exec_step(plan: &Plan) -> usize {
    plan.of(Stage::Payload).last().map_or(0, |(step, _)| step)
}
