//! Plans the network: an empty one of its own, one with a netstack, or the host's.
//!
//! # Not here
//! That of another sandbox (`share`), one that several share (`segment`); what the sandbox is told of names (`resolver`).

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Refuted};
use super::ids;
use super::landlock;
use super::publish;
use super::resolver;
use super::segment;
use super::step::{ConfineStep, FilterProgram, Link, NetStep, NetstackStep, Notice, Stage};
use super::tool;
use crate::spec::net::{OnLoss, SearchDomain, Tool};
use crate::spec::seccomp::{Notifications, PolicyVariant};
use crate::spec::{Network, Spec};

/// The built-in policy that the netstack lives under.
const NETSTACK_POLICY: &str = "netstack";

/// Landlock's first ABI.
const LANDLOCK: u32 = 1;

/// Appends what the network needs.
pub(super) fn plan_network(spec: &Spec, facts: &Facts, draft: &mut Draft) -> Result<(), PlanError> {
    refuse_unenforced(spec)?;
    match &spec.network {
        Network::None => draft.push(Stage::Sandbox, NetStep::LoopbackUp),
        Network::User => {
            if !facts.tun.ok_or(PlanError::Unprobed("tun"))? {
                return Err(PlanError::NoTun);
            }
            draft.push(Stage::Sandbox, NetStep::LoopbackUp);
            draft.push(Stage::Sandbox, NetStep::Tun(link(facts)));
            plan_settings(spec, facts, draft);
            plan_netstack(spec, facts, draft);
            if let Some(flag) = spec.egress.opened_by() {
                draft.notice(Notice::OpenNetwork(flag.clone()));
            }
            publish::plan_published(spec, draft)?;
        }
        Network::Host => draft.notice(Notice::LoopbackReachable),
        // It is up already, and whatever else there is.
        Network::Sandbox(_) => {}
        Network::Pasta => tool::plan_tool(Tool::Pasta, spec, facts, draft)?,
        Network::Slirp4netns => tool::plan_tool(Tool::Slirp4netns, spec, facts, draft)?,
        Network::Bridge(_) => {
            segment::plan_port(spec, facts, draft)?;
            plan_settings(spec, facts, draft);
            publish::plan_published(spec, draft)?;
        }
    }
    Ok(())
}

/// A profile's rules and ports belong to a network of the run's own, and ports also to its place on one of several.
/// Without any network they hold by themselves; elsewhere nobody would enforce them.
fn refuse_unenforced(spec: &Spec) -> Result<(), PlanError> {
    let rules = !spec.egress.allow.is_empty() || !spec.egress.deny.is_empty();
    let ports = !spec.publish.is_empty() && !matches!(spec.network, Network::Bridge(_));
    match &spec.network {
        Network::None | Network::User => Ok(()),
        network if spec.egress.rate.is_some() => Err(PlanError::RateElsewhere(network.mode())),
        Network::Sandbox(_) if spec.egress.on_loss == OnLoss::End => Err(PlanError::LossElsewhere),
        network if rules || ports => Err(PlanError::PolicyElsewhere(network.mode())),
        _ => Ok(()),
    }
}

pub(super) fn plan_settings(spec: &Spec, facts: &Facts, draft: &mut Draft) {
    if !facts.is_refuted(Refuted::NetworkSettings) {
        let (_, echo_group) = ids::inside(spec, facts);
        draft.push(Stage::Sandbox, NetStep::Settings { echo_group });
    }
}

/// What the sandbox sees of its network. Whether the kernel has IPv6, the step tells.
pub(super) fn link(facts: &Facts) -> Link {
    Link::usual(!facts.is_refuted(Refuted::Ipv6))
}

/// The netstack is our own program: it is confined as far as the host can, whatever the payload is.
fn plan_netstack(spec: &Spec, facts: &Facts, draft: &mut Draft) {
    let landlock_abi = facts.landlock_abi.filter(|abi| *abi >= LANDLOCK);
    let landlock_abi = landlock_abi.map(|abi| abi.min(landlock::NEWEST));
    draft.push(Stage::Netstack, NetstackStep::Confine { landlock_abi });
    let variant = PolicyVariant { notify: Notifications::Off, ..PolicyVariant::default() };
    let program = FilterProgram::Builtin { name: NETSTACK_POLICY.to_owned(), variant };
    draft.push(Stage::Netstack, ConfineStep::Seccomp { program, listen: false });
    let mut egress = spec.egress.clone();
    // What of a refused name was a program's doing, and what its resolver's.
    let search = resolver::search(spec, facts);
    egress.dns_search = search.into_iter().map(SearchDomain::from).collect();
    draft.push(Stage::Netstack, NetstackStep::Serve(egress));
}
