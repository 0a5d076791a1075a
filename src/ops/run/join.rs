//! The network that is there before the run: another sandbox's, or one of several.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::RunError;
use crate::launch::holder::Membership;
use crate::launch::{Below, Door, LaunchError};
use crate::ops::network::{Place, place, preview};
use crate::ops::stores::Here;
use crate::ops::sweep::sweep;
use crate::plan::Facts;
use crate::plan::facts::Target;
use crate::plan::traffic::NetworkLoss;
use crate::spec::{Network, Spec, Text};
use crate::state::{Found, Record};

/// What a run joins.
pub(super) enum Joined {
    /// The network of a sandbox.
    Sandbox(Box<Shared>),
    /// One of several sandboxes, by the place that is held on it.
    Network(Place),
}

impl Joined {
    /// Finds the sandbox, or takes the place; none for a run with a network of its own.
    pub(super) fn find(spec: &Spec, facts: &Facts) -> Result<Option<Self>, RunError> {
        match &spec.network {
            Network::Sandbox(wanted) => Ok(Some(Self::Sandbox(Shared::find(wanted)?.into()))),
            Network::Bridge(network) => {
                let name = spec.name.as_deref();
                Ok(Some(Self::Network(place(network, name, &spec.seat, facts)?)))
            }
            _ => Ok(None),
        }
    }

    /// Adds to the facts what a plan has to know of it.
    pub(super) fn tell(&self, facts: &mut Facts) {
        match self {
            Self::Sandbox(shared) => facts.target = Some(shared.target.clone()),
            Self::Network(place) => facts.lease = Some(place.lease().clone()),
        }
    }
}

/// Adds to the facts what a plan would have to know, and joins nothing.
pub(super) fn look(spec: &Spec, facts: &mut Facts) -> Result<(), RunError> {
    match &spec.network {
        Network::Sandbox(wanted) => facts.target = Some(Shared::find(wanted)?.target),
        Network::Bridge(network) => facts.lease = Some(preview(network, &spec.seat, facts)?),
        _ => {}
    }
    Ok(())
}

/// A sandbox that ran when it was looked for.
pub(super) struct Shared {
    found: Found,
    target: Target,
}

impl Shared {
    /// Finds it.
    ///
    /// Errors: there is none of that name, it does not run, its record cannot be read.
    fn find(wanted: &Text) -> Result<Self, RunError> {
        let here = Here::look().map_err(|error| RunError::Look(Box::new(error)))?;
        sweep(&here.stores)?;
        let found = here.stores.find(wanted.as_bytes())?;
        if !found.is_running()? {
            return Err(RunError::NotRunning(wanted.clone()));
        }
        let target = target(&found.record()?);
        Ok(Self { found, target })
    }

    /// The way into its namespaces.
    fn door(&self) -> Result<Door, RunError> {
        let sandbox = || self.target.sandbox.clone();
        let (pid, process) = self.found.launcher()?;
        let below = match self.target.network {
            Network::Bridge(_) => Below::Holder,
            _ => Below::Ours,
        };
        let door = Door::of_sandbox(pid, below)
            .map_err(|source| RunError::Processes { sandbox: sandbox(), source })?
            .ok_or_else(|| RunError::NoProgram(sandbox()))?;
        // Had it ended meanwhile, its number could have been another's whose sandbox this is.
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        let ended = poll(&mut ended, Some(&Timespec::default()));
        if ended != Ok(0) {
            return Err(RunError::NotRunning(sandbox()));
        }
        Ok(door)
    }
}

/// The way into namespaces that are there before.
pub(super) enum Way<'a> {
    /// None: they are all new.
    Here,
    /// A sandbox's.
    Sandbox(Door),
    /// A network's.
    Network(&'a Membership),
}

impl<'a> Way<'a> {
    pub(super) fn into(joined: Option<&'a Joined>) -> Result<Self, RunError> {
        match joined {
            None => Ok(Self::Here),
            Some(Joined::Sandbox(shared)) => shared.door().map(Self::Sandbox),
            Some(Joined::Network(place)) => Ok(Self::Network(place)),
        }
    }

    /// Lets those on the same network know the sandbox by its id.
    pub(super) fn know(&self, record: &Record) -> Result<(), LaunchError> {
        self.membership().map_or(Ok(()), |membership| {
            let known = membership.know(record.id.as_str());
            known.map_err(|error| LaunchError::Holder(Box::new(error)))
        })
    }

    /// Gives up the ports that are open on a network.
    pub(super) fn withdraw(&self) {
        if let Some(membership) = self.membership() {
            membership.withdraw();
        }
    }

    /// Whether a network was lost.
    pub(super) fn loss(&self) -> Option<NetworkLoss> {
        let network = self.membership()?;
        let cut = network.is_cut().then_some(NetworkLoss::Uplink);
        network.is_lost().then_some(NetworkLoss::Holder).or(cut)
    }

    pub(super) fn door(&self) -> Option<&Door> {
        match self {
            Self::Here => None,
            Self::Sandbox(door) => Some(door),
            Self::Network(membership) => Some(membership.door()),
        }
    }

    pub(super) fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Network(membership) => Some(membership),
            Self::Here | Self::Sandbox(_) => None,
        }
    }
}

/// Of one that shares another's network it is that one's.
fn target(record: &Record) -> Target {
    let sandbox = Text::from(record.id.as_str());
    let spec = &record.spec;
    match &record.target {
        Some(target) => Target { sandbox, ..target.clone() },
        None => Target {
            sandbox,
            ids: spec.ids,
            network: spec.network.clone(),
            egress: spec.egress.clone(),
            capable: !spec.confine.capabilities.is_empty(),
            nests: spec.confine.nesting,
        },
    }
}
