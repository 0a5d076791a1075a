//! Holds every plan against what no plan may break, however it was made.
//!
//! # Theory of operation
//! The planner goes from rules to steps; this goes the other way. `order` looks at which process does
//! what when. `tree` carries the steps on the tree out on paper: which mount stands where, what is
//! sealed, covered, and whited out. `sight` then asks of the finished tree what of the host can be seen
//! and written through it, and compares with spec and facts. None of it uses a function of the planner's,
//! so that a mistake has to be made twice to pass.
//!
//! # Not here
//! Whether the plan does what was wanted (golden plans in `tests/plan`), whether steps were really done
//! (`Enforced`).

mod group;
mod layers;
mod mounting;
mod noted;
mod order;
mod sight;
mod tree;

use super::facts::Facts;
use super::step::{Plan, Stage};
use crate::spec::{HostPath, SandboxPath, Spec};

/// What a plan breaks. Step numbers are as shown: from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A process's steps are not together, or not in the order of processes.
    #[error("cannot accept step {0}: it is a step of an earlier process")]
    Stage(usize),
    /// A step that a process must take is not there.
    #[error("cannot accept a plan without `{what}` in {stage}")]
    Missing {
        /// The step, in words.
        what: &'static str,
        /// The process.
        stage: Stage,
    },
    /// A step stands where it must not.
    #[error("cannot accept step {number}: {rule}")]
    Order {
        /// Which.
        number: usize,
        /// What it breaks.
        rule: &'static str,
    },
    /// A step does something else than the spec says.
    #[error("cannot accept step {number}: the spec does not say so: {what}")]
    NotAsked {
        /// Which.
        number: usize,
        /// What.
        what: &'static str,
    },
    /// A mount or a file has no place.
    #[error("cannot accept step {number}: `{at}` {fault}")]
    Place {
        /// Which.
        number: usize,
        /// Where.
        at: SandboxPath,
        /// What is wrong there.
        fault: &'static str,
    },
    /// A number is used twice, or not defined.
    #[error("cannot accept step {number}: {what} is not numbered right")]
    Number {
        /// Which.
        number: usize,
        /// A layer, a scratch layer.
        what: &'static str,
    },
    /// An overlay that the kernel refuses, or that is not what it seems.
    #[error("cannot accept step {number}: the overlay at `{at}` {fault}")]
    Overlay {
        /// Which.
        number: usize,
        /// Where.
        at: SandboxPath,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Something of the host can be seen that must not be.
    #[error("cannot accept the plan: `{what}` is seen at `{at}`, and must not be")]
    Seen {
        /// On the host.
        what: HostPath,
        /// Inside.
        at: SandboxPath,
    },
    /// Something of the host can be written that must not be.
    #[error(
        "cannot accept the plan: `{what}` is written straight to the host, and nobody asked for it"
    )]
    Written {
        /// On the host.
        what: HostPath,
    },
    /// What is hidden could be moved to where it is not.
    #[error("cannot accept the plan: a directory that holds `{what}` could be renamed with it")]
    Movable {
        /// On the host.
        what: HostPath,
    },
    /// A tree is bound as it is that others than root write.
    #[error("cannot accept the plan: `{0}` is bound as it is, sockets and FIFOs included")]
    Bare(HostPath),
    /// The payload could undo the tree.
    #[error(
        "cannot accept step {number}: `CAP_SYS_ADMIN` stays, and no filter refuses mount calls"
    )]
    Mounting {
        /// Which.
        number: usize,
    },
    /// Landlock grants more than the mounts.
    #[error("cannot accept the plan: Landlock lets `{0}` be written, and no mount does")]
    Landlock(SandboxPath),
}

/// Refuses a plan that breaks an invariant.
pub fn check(spec: &Spec, facts: &Facts, plan: &Plan) -> Result<(), CheckError> {
    order::check_stages(plan)?;
    order::check_launch(spec, plan)?;
    order::check_sandbox(plan)?;
    order::check_netstack(spec, plan)?;
    order::check_init(plan)?;
    order::check_payload(spec, plan)?;
    mounting::check_mounting(plan)?;
    let tree = tree::built(plan)?;
    layers::check_layers(spec, facts, plan)?;
    sight::check_overlays(facts, &tree)?;
    sight::check_binds(spec, facts, &tree)?;
    sight::check_writes(spec, facts, &tree)?;
    noted::check_noted(facts, plan, &tree)?;
    sight::check_kept(facts, &tree)?;
    sight::check_hidden(spec, facts, &tree)?;
    sight::check_landlock(plan, &tree)
}
