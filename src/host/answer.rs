//! Answers what the planner wants to know, in its two rounds.

use crate::plan::needs::{Needs, TreeNeeds};
use crate::plan::{Facts, PlanError};
use crate::spec::Spec;

use super::place::LookInto;
use super::{HostError, Own, Probe};

/// Why there are no facts for a spec.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// This machine could not be looked at.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What is known already rules a plan out.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl FactsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Host(error) => error.hint(),
            Self::Plan(error) => error.hint(),
        }
    }
}

impl Probe {
    /// Every fact that a plan for this spec asks for, and no other.
    pub fn facts_for(mut self, spec: &Spec) -> Result<Facts, FactsError> {
        self.answer(&crate::plan::needs(spec))?;
        let needs = crate::plan::tree_needs(spec, self.facts())?;
        self.answer_tree(&needs)?;
        Ok(self.finish())
    }

    /// The first round.
    pub fn answer(&mut self, needs: &Needs) -> Result<(), HostError> {
        if needs.mounts {
            self.mounts()?;
        }
        if needs.root_entries {
            self.root_entries()?;
        }
        self.answer_paths(needs)?;
        if needs.settings {
            self.settings()?;
            self.ways()?;
            self.commands();
        }
        if needs.other_homes {
            self.other_homes()?;
        }
        if let Some(ids) = needs.account {
            let caller = &self.facts().caller;
            let (uid, gid) = (ids.uid.unwrap_or(caller.uid), ids.gid.unwrap_or(caller.gid));
            self.account(uid, gid)?;
        }
        if needs.stores {
            self.stores()?;
            self.links()?;
        }
        if needs.landlock_abi {
            self.landlock_abi();
        }
        if needs.seccomp_notify {
            self.seccomp_notify();
        }
        if needs.kernel_overlay {
            self.kernel_overlay();
        }
        if needs.fuse {
            self.fuse();
        }
        if needs.groups {
            self.answer_groups(needs)?;
        }
        if needs.subids {
            self.subids()?;
        }
        self.answer_network(needs);
        self.ceilings(&needs.ceilings);
        Ok(())
    }

    fn answer_network(&mut self, needs: &Needs) {
        if needs.tun {
            self.tun();
        }
        if let Some(tool) = needs.network_tool {
            self.network_tool(tool);
        }
        if needs.lookup {
            self.lookup();
        }
    }

    /// Only what takes a group needs to know of disks.
    fn answer_groups(&mut self, needs: &Needs) -> Result<(), HostError> {
        self.groups(if needs.own_group { Own::Delegated } else { Own::AsSeen })?;
        if needs.weighers {
            self.weighers();
        }
        for place in &needs.disks {
            let caller = &self.facts().caller;
            let place = place.resolve(caller.home.as_ref(), caller.workdir.path());
            if let Some(place) = place {
                self.disk(place);
            }
        }
        Ok(())
    }

    fn answer_paths(&mut self, needs: &Needs) -> Result<(), HostError> {
        for wanted in &needs.places {
            let caller = &self.facts().caller;
            let asked = wanted.path.resolve(caller.home.as_ref(), caller.workdir.path());
            if let Some(asked) = asked {
                let look_into = if wanted.entries { LookInto::Entries } else { LookInto::Nothing };
                self.place(&asked, look_into);
            }
        }
        self.patterns(&needs.secrets, &needs.hidden, &needs.warned)?;
        self.directories();
        Ok(())
    }

    /// The second round.
    pub fn answer_tree(&mut self, needs: &TreeNeeds) -> Result<(), HostError> {
        self.split(&needs.split)?;
        for point in &needs.points {
            self.place(point, LookInto::Nothing);
        }
        if !needs.sockets.is_empty() {
            self.sockets(&needs.sockets, &needs.written)?;
        }
        if needs.fuse {
            self.fuse();
        }
        Ok(())
    }
}
