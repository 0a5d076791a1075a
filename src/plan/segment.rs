//! Plans a sandbox on a network that several share.
//!
//! # Theory of operation
//! The network's holder has a user namespace, in which it has the bridge. An end of a virtual cable can be put into
//! a network namespace below that user namespace and into no other, so pid 1 is cloned inside it: in a user
//! namespace of its own, as any sandbox. The ids are those of the host: the holder maps the caller's to itself, and
//! so its subordinate ones, where it can have them. Helpers map nothing in there: the kernel takes a map only from the
//! user namespace above, where they have no privilege; who writes it, has.
//!
//! # Decisions
//! - What a member may send is decided by its kernel and by the port it is behind, and both hold as long as it has
//!   no power over its own network namespace. So it keeps neither `CAP_NET_ADMIN` nor `CAP_NET_RAW` nor
//!   `CAP_SYS_ADMIN`: the run is refused.
//! - The policy is the network's: its uplink serves all members, and knows them by addresses only.
//! - Ports are the member's own: its run opens them, and the network's netstack takes them over. An internal
//!   network has none.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Lease};
use super::step::{EnterStep, FilterProgram, IdsStep, NetStep, Stage};
use crate::spec::net::NetworkName;
use crate::spec::seccomp::{Notifications, PolicyVariant};
use crate::spec::{Capability, Network, Spec};

/// Why a sandbox cannot be on a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// It could take another's address.
    #[error(
        "cannot keep the capability `{capability}` on the network `{network}`: it could take another's address"
    )]
    Capable {
        /// Which.
        capability: String,
        /// On which network.
        network: NetworkName,
    },
    /// Nobody is to come in.
    #[error("cannot publish a port on the network `{0}`: it is internal, nothing comes or leaves")]
    Internal(NetworkName),
    /// Ids that the holder does not map.
    #[error("cannot map subordinate ids on the network `{0}`: its holder could not have them")]
    Subids(NetworkName),
}

impl MemberError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Capable { .. } => "leave out `--cap-add`, or take `--network user`".to_owned(),
            Self::Internal(network) => format!(
                "leave out `--publish`, or make another: `bryo network create NAME` without `--internal` (`bryo network inspect {network}`)"
            ),
            Self::Subids(network) => format!(
                "end the sandboxes on it (`bryo network inspect {network}`): who comes first starts another holder"
            ),
        }
    }
}

/// The place on a network that a sandbox has; none for one that is on none.
pub(super) fn lease<'a>(spec: &Spec, facts: &'a Facts) -> Result<Option<&'a Lease>, PlanError> {
    match spec.network {
        Network::Bridge(_) => facts.lease.as_ref().ok_or(PlanError::Unprobed("lease")).map(Some),
        _ => Ok(None),
    }
}

/// The capability that the payload keeps and that gives it power over its network namespace, if it keeps one.
pub(super) fn rules_network(spec: &Spec) -> Option<String> {
    const POWERS: [&str; 3] = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"];
    let kept = spec.confine.capabilities.iter().map(Capability::to_string);
    kept.into_iter().find(|name| POWERS.contains(&name.as_str()))
}

/// Appends the way into the holder's user namespace.
pub(super) fn plan_enter(spec: &Spec, lease: &Lease, draft: &mut Draft) -> Result<(), PlanError> {
    let network = || lease.network.clone();
    if let Some(capability) = rules_network(spec) {
        return Err(MemberError::Capable { capability, network: network() }.into());
    }
    draft.push(Stage::Launch, EnterStep::Network(network()));
    Ok(())
}

/// The step that maps ids: written by who enters the holder's user namespace, for a member.
pub(super) fn plan_map(
    spec: &Spec,
    facts: &Facts,
    by_helper: IdsStep,
) -> Result<IdsStep, PlanError> {
    match (lease(spec, facts)?, by_helper) {
        (Some(lease), _) if !lease.subids => Err(MemberError::Subids(lease.network.clone()).into()),
        (Some(_), IdsStep::RunHelper { kind, map, .. }) => Ok(IdsStep::WriteMap { kind, map }),
        (_, step) => Ok(step),
    }
}

/// Appends what connects it: on the outside, and inside.
pub(super) fn plan_port(spec: &Spec, facts: &Facts, draft: &mut Draft) -> Result<(), PlanError> {
    let lease = facts.lease.as_ref().ok_or(PlanError::Unprobed("lease"))?;
    if lease.internal && !spec.publish.is_empty() {
        return Err(MemberError::Internal(lease.network.clone()).into());
    }
    draft.push(Stage::Launch, EnterStep::Attach(lease.network.clone()));
    draft.push(Stage::Sandbox, NetStep::LoopbackUp);
    draft.push(Stage::Sandbox, NetStep::Port(lease.link));
    Ok(())
}

/// The filters of a network's holder and of its netstack.
pub fn seccomp_of_network() -> [FilterProgram; 2] {
    let variant = PolicyVariant { notify: Notifications::Off, ..PolicyVariant::default() };
    ["holder", "netstack"].map(|name| FilterProgram::Builtin { name: name.to_owned(), variant })
}

/// The Landlock that both are confined with: as much as the host has.
pub fn landlock_of_network(facts: &Facts) -> Option<u32> {
    let abi = facts.landlock_abi.filter(|abi| *abi > 0)?;
    Some(abi.min(super::landlock::NEWEST))
}
