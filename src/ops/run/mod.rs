//! `bryo run`: from a spec to the record of a finished run.
//!
//! # Theory of operation
//! Probe, plan, check, prepare the store, launch, supervise, write the record. When a step refutes an assumed fact, the
//! run is planned again with that fact refuted: the only retry there is. Each fact can be refuted once, so a host that
//! lacks two things (a container that masks `/proc` and listens to system calls itself) is met with three attempts, and
//! there are never more than there are facts. A mount that appears between the look at the host and the clone makes the
//! plan stale: the host is looked at once more. What a failed start leaves in the store is removed by the attempt itself.
//!
//! # Not here
//! Flags and profiles (`front`, `profile`), what is printed about a run (`report`).
//!
//! Long because all that a run can fail at is one list.

mod again;
mod attempt;
mod capture;
mod end;
mod explain;
mod foresee;
mod held;
mod join;
mod preview;
mod refute;
mod size;
mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::changes::ChangesError;
use again::Again;
use attempt::{Failed, Others};
use end::Over;
use join::Joined;
pub use preview::{PlanForm, plan_only};

use crate::host::missing::MissingCall;
use crate::host::userns::UsernsProblem;
use crate::host::{self, FactsError, HostError, Probe, ProcessStatus};
use crate::launch::{LaunchError, StepError};
use crate::ops::image::{self, ImageError};

use crate::ops::asked::AskedError;
use crate::plan::check::CheckError;
use crate::plan::facts::Refuted;
use crate::plan::{Facts, Plan, PlanError};
use crate::spec::{Spec, Text};
use crate::state::{Record, SandboxDirectory, SandboxId, StateError};
use crate::supervise::{self, Ended, Station, SuperviseError};
use crate::sys::errno::Errno;
use crate::sys::heap;
use crate::sys::process::{is_open, leads_into_a_tree};

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    /// Everything known of it.
    pub record: Record,
    /// Whether record and layers stay in the store.
    pub kept: bool,
    /// What the supervisor saw.
    pub ended: Ended,
}

/// Why there was no run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// bryo's own file.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something else has to be finished first.
    #[error("cannot go on with sandbox `{0}`: an apply of it was interrupted")]
    ApplyInterrupted(SandboxId),
    /// The journal of an apply.
    #[error(transparent)]
    Apply(#[from] crate::changes::apply::ApplyError),
    /// A descriptor to pass that the caller has not opened.
    #[error("cannot pass descriptor {0}: it is not open")]
    NotOpen(u32),
    /// A descriptor to pass that is a directory's, or was opened with `O_PATH`.
    #[error("cannot pass descriptor {0}: it is a directory, which would open the host's tree")]
    LeadsOut(u32),
    /// Looking at this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Looking at what the spec names.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// No plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// User namespaces are not to be had.
    #[error("cannot make a sandbox: {problem}")]
    Namespaces {
        /// Why not, as this machine's settings tell.
        problem: UsernsProblem,
        /// What failed.
        #[source]
        source: Box<LaunchError>,
    },
    /// The kernel is too old, or a filter makes it look so.
    #[error(
        "cannot make a sandbox: the kernel has no `{}`, which Linux {} brought, or a filter hides it",
        missing.name, missing.since
    )]
    Kernel {
        /// What it does not know.
        missing: MissingCall,
        /// What failed.
        #[source]
        source: Box<RunError>,
    },
    /// A plan that breaks an invariant: a mistake of the planner, and nothing was started.
    #[error("cannot use the plan that was made")]
    Check(#[from] CheckError),
    /// The store.
    #[error(transparent)]
    State(#[from] StateError),
    /// A port of the host.
    #[error(transparent)]
    Publish(#[from] crate::net::publish::PublishError),
    /// The filter of system calls.
    #[error(transparent)]
    Seccomp(#[from] crate::confine::seccomp::SeccompError),
    /// A filter that is not one: a mistake of the build.
    #[error("cannot read a filter of system calls")]
    Filter,
    /// A plan as JSON.
    #[error("cannot write the plan as JSON")]
    Encode(#[source] serde_json::Error),
    /// No name for the sandbox.
    #[error("cannot get random numbers")]
    Random(#[source] rustix::io::Errno),
    /// The file of `--pcap`.
    #[error(transparent)]
    Capture(#[from] capture::CaptureError),
    /// The way to a file that is written for the caller.
    #[error(transparent)]
    Asked(#[from] AskedError),
    /// A descriptor.
    #[error("cannot duplicate a descriptor")]
    Descriptor(#[source] Errno),
    /// The start failed, and what had been prepared could not be removed.
    #[error("cannot remove what a start left that failed because bryo {launch}")]
    Left {
        /// Why it failed.
        launch: Box<LaunchError>,
        /// Why it could not be removed.
        #[source]
        source: Box<StateError>,
    },
    /// Looking for the sandbox to go on with.
    #[error(transparent)]
    Look(Box<crate::ops::OpsError>),
    /// The sandbox to go on with.
    #[error("cannot go on with sandbox `{0}`: it is running")]
    Busy(Text),
    /// The network of several sandboxes.
    #[error(transparent)]
    Networks(#[from] crate::ops::network::NetworksError),
    /// The sandbox whose network is to be shared.
    #[error("cannot share the network of sandbox `{0}`: it does not run")]
    NotRunning(Text),
    /// The way into it.
    #[error("cannot find a program of sandbox `{0}`, whose network is to be shared")]
    NoProgram(Text),
    /// Looking at its processes.
    #[error("cannot look at the processes of sandbox `{sandbox}`")]
    Processes {
        /// Which.
        sandbox: Text,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A plan that takes a sandbox, and none was looked for: a mistake of the planner.
    #[error("cannot take a sandbox that nobody looked for")]
    NothingToTake,
    /// A run that leaves nothing, with a layer that is there to stay.
    #[error(
        "cannot take `--rm` for a run that goes on with sandbox `{0}`: what it wrote before would go too"
    )]
    WouldRemove(Text),
    /// Other layers.
    #[error(transparent)]
    Again(#[from] crate::plan::again::AgainError),
    /// What is in them.
    #[error(transparent)]
    StillSeen(#[from] again::StillSeen),
    /// Reading what the payload wrote.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// What a detached run needs.
    #[error(transparent)]
    Detach(crate::ops::detach::DetachError),
    /// The start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What memory held could not be brought into the store.
    #[error("cannot bring `{at}` from memory into the store: what was written is gone")]
    Bring {
        /// Relative to its layer; the layer itself if empty.
        at: Text,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The process that brings it.
    #[error("cannot bring what was written from memory into the store: it is gone")]
    Bringer(#[source] Box<LaunchError>),
    /// The store has less room than was asked for.
    #[error(
        "cannot enforce `--disk`: the file system of the store has {room} bytes left, and {size} are asked for"
    )]
    Room {
        /// Bytes that the caller can write there.
        room: u64,
        /// Bytes.
        size: u64,
    },
    /// The layers that a run goes on with are larger than what is to hold them.
    #[error("cannot enforce `--disk`: what the sandbox wrote before takes more than {size} bytes")]
    Fuller {
        /// Bytes.
        size: u64,
    },
    /// Not even what is empty fits.
    #[error(
        "cannot enforce `--disk`: what a sandbox begins with, empty, takes more than {size} bytes"
    )]
    TooLittle {
        /// Bytes.
        size: u64,
    },
    /// The layers that a run goes on with have something that what is to hold them cannot hold.
    #[error(
        "cannot enforce `--disk`: what the sandbox wrote before has an access list or an attribute that is too \
         long to be held"
    )]
    TooLong,
    /// The caller's files may not be as large as what is kept of a run.
    #[error("cannot keep files of {least} bytes in the store")]
    Size {
        /// Bytes.
        least: u64,
        /// That they are too large.
        #[source]
        source: Errno,
    },
    /// The supervision.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

/// What has the place of the caller in a detached run.
pub trait Desk {
    /// The sandbox's directory is there, and nothing runs yet.
    fn settle(&mut self, directory: &SandboxDirectory) -> Result<(), StateError>;
    /// The payload was executed.
    fn started(&mut self, record: &Record);
    /// Who has the payload's descriptors.
    fn station(&mut self) -> Option<&mut Station>;
    /// A run is over, after so long; whether there is to be another. Waits until it is time for it.
    fn goes_on(&mut self, record: &Record, code: u8, ran: Duration) -> Result<bool, RunError>;
}

/// Runs `spec`. Returns when every process of the sandbox has ended.
pub fn run(spec: &Spec) -> Result<Finished, RunError> {
    image::protect(&spec.confine)?;
    try_run(spec, None).and_then(|over| end::shelve(spec, over)).map_err(explained)
}

/// Runs `spec`, and again for as long as `desk` wants that.
pub fn run_apart(spec: &Spec, desk: &mut dyn Desk) -> Result<Finished, RunError> {
    let mut over = try_run(spec, Some(&mut *desk)).map_err(explained)?;
    loop {
        let Some(directory) = over.directory.take() else { break };
        directory.replace_record(&over.record)?;
        if !desk.goes_on(&over.record, over.ended.how.exit_code(), over.ran)? {
            over.directory = Some(directory);
            break;
        }
        let again = Again::held(directory, over.record);
        over = run_with(spec, Some(&again), Some(&mut *desk)).map_err(explained)?;
    }
    end::shelve(spec, over).map_err(explained)
}

fn try_run(spec: &Spec, desk: Option<&mut dyn Desk>) -> Result<Over, RunError> {
    heap::warm_up();
    verify_descriptors(&spec.command.descriptors.pass)?;
    let again = Again::find(spec)?;
    run_with(spec, again.as_ref(), desk)
}

fn run_with(
    spec: &Spec,
    again: Option<&Again>,
    mut desk: Option<&mut dyn Desk>,
) -> Result<Over, RunError> {
    let known = again.map_or(&[][..], |again| &again.record.named);
    let probe = Probe::begin()?.knowing(known);
    let status = *probe.status();
    let mut facts = probe.facts_for(spec)?;
    let joined = Joined::find(spec, &facts)?;
    let tell = |facts: &mut Facts| joined.iter().for_each(|joined| joined.tell(facts));
    tell(&mut facts);
    let others = Others { again, joined: joined.as_ref() };
    let mut signals = supervise::block_signals()?;
    let mut looked_again = false;
    loop {
        let plan = checked_plan(spec, &facts, again)?;
        // A longer borrow than one attempt's cannot be given to it.
        let lent: Option<&mut dyn Desk> = match &mut desk {
            Some(desk) => Some(&mut **desk),
            None => None,
        };
        match attempt::carry_out(spec, &facts, &plan, others, (signals, lent)) {
            Ok(over) => return Ok(over),
            Err(Failed::Finally(error)) => return Err(*error),
            Err(Failed::Refuted { fact, error, signals: again }) => {
                // A fact that was refuted already cannot be what it rested on.
                if !facts.refuted.insert(fact) {
                    return Err(*error);
                }
                remember(&facts, &status);
                signals = *again;
            }
            Err(Failed::Stale { error, signals: again }) => {
                if looked_again {
                    return Err(*error);
                }
                looked_again = true;
                let refuted = std::mem::take(&mut facts.refuted);
                facts = Probe::begin()?.knowing(known).facts_for(spec)?;
                tell(&mut facts);
                facts.refuted.extend(refuted);
                signals = *again;
            }
        }
    }
}

/// Before anything of ours is opened: it would get the number of one that is not open, and the payload
/// would be handed the store.
fn verify_descriptors(numbers: &[u32]) -> Result<(), RunError> {
    for number in numbers {
        if !is_open(*number) {
            return Err(RunError::NotOpen(*number));
        }
        // From a directory of the host `..` leads to all of it, and relative names to its sockets.
        if leads_into_a_tree(*number).map_err(RunError::Descriptor)? {
            return Err(RunError::LeadsOut(*number));
        }
    }
    Ok(())
}

/// An errno of the clone has several causes each; the machine's settings tell them apart. One that says
/// that a call is not there does not say which.
fn explained(error: RunError) -> RunError {
    match error {
        RunError::Launch(source @ LaunchError::Clone(errno)) => {
            let problem = host::userns::explain_clone_error(errno);
            RunError::Namespaces { problem, source: Box::new(source) }
        }
        other if is_unknown_call(&other) => match host::missing::probe_missing_call() {
            Some(missing) => RunError::Kernel { missing, source: Box::new(other) },
            None => other,
        },
        other => other,
    }
}

/// Whether a call was answered as if the kernel did not have it.
fn is_unknown_call(error: &RunError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let step = error.downcast_ref::<StepError>().map(|error| error.errno);
        let ours = || error.downcast_ref::<Errno>().copied();
        let theirs = || error.downcast_ref::<rustix::io::Errno>().copied().map(Errno::from);
        if step.or_else(ours).or_else(theirs) == Some(Errno::ENOSYS) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn checked_plan(spec: &Spec, facts: &Facts, again: Option<&Again>) -> Result<Plan, RunError> {
    let mut plan = crate::plan::plan(spec, facts)?;
    if let Some(again) = again {
        plan = again.plan(plan, spec)?;
    }
    crate::plan::check::check(spec, facts, &plan)?;
    Ok(plan)
}

/// The memory only saves the next run an attempt: that it cannot be written is no error of this run.
fn remember(facts: &Facts, status: &ProcessStatus) {
    let refuted: &BTreeSet<Refuted> = &facts.refuted;
    for store in &facts.stores {
        if host::refuted::remember(&store.path, refuted, status).is_ok() {
            return;
        }
    }
}
