//! The end of a run: its record completed, its layers kept or removed.

use std::os::fd::AsFd;
use std::time::Duration;

use super::{Finished, RunError};
use crate::changes::{self, Changes};
use crate::confine::seccomp::syscall_name;
use crate::launch;
use crate::limits::group::Kills;
use crate::plan::step::{Action, Plan, ProcessStep, Stage};
use crate::plan::traffic::NetworkLoss;
use crate::spec::command::Keep;
use crate::spec::order;
use crate::spec::{Spec, Text};
use crate::state::record::{DeniedCall, MemoryKills};
use crate::state::{Enforced, Exit, Outcome, Record, SandboxDirectory, Timestamp};
use crate::supervise::{Call, Ended, How};
use crate::sys::pidfd;
use crate::sys::pty::Likeness;

/// Changes counted at the end of a run: beyond that the record says "at least".
const MOST_COUNTED: u64 = 20_000;

/// What the processes of the run told.
pub(super) struct Told<'a> {
    /// The steps that were carried out, with their titles.
    pub(super) enforced: Vec<Enforced>,
    pub(super) ended: &'a Ended,
    /// What became of a network that others have too.
    pub(super) lost: Option<NetworkLoss>,
    pub(super) duration: Duration,
}

/// A run that is over, and its sandbox as it left it, still locked.
pub(super) struct Over {
    pub(super) directory: Option<SandboxDirectory>,
    pub(super) record: Record,
    pub(super) ended: Ended,
    /// How long it took.
    pub(super) ran: Duration,
}

/// The record with everything that is known at the end.
pub(super) fn complete(record: Record, told: Told<'_>, errno_for: &dyn Fn(Call) -> i32) -> Record {
    let exit = match told.ended.how {
        How::Exited(code) => Exit::Code(code),
        How::Killed(signal) | How::Insisted(signal) => Exit::Signal(signal.raw()),
        How::TimedOut => Exit::Timeout,
        How::NoSpace => Exit::NoSpace,
        How::OutOfMemory => Exit::OutOfMemory,
        How::InitLost(_) => Exit::Lost,
        How::ServerLost => Exit::ServerLost,
        How::NetworkLost => Exit::NetworkLost,
    };
    let duration_us = u64::try_from(told.duration.as_micros()).unwrap_or(u64::MAX);
    Record {
        outcome: Outcome::Exited { ended: Timestamp::now(), duration_us, exit },
        enforced: told.enforced,
        denied: denied(told.ended, errno_for),
        traffic: told.ended.traffic.clone(),
        network_loss: told.ended.network.and_then(loss).or(told.lost),
        // It is gone by now.
        cgroup: None,
        memory_kills: told.ended.memory_kills.map(memory_kills),
        ..record
    }
}

fn memory_kills(kills: Kills) -> MemoryKills {
    MemoryKills { count: kills.count, own_limit: kills.own_limit }
}

/// What was carried out of a plan, as a record says it.
pub(super) fn enforced(plan: &Plan, done: &launch::Enforced) -> Vec<Enforced> {
    let titled = |index: &usize| {
        let step = plan.steps.get(*index)?;
        let number = u32::try_from(*index).ok()?.checked_add(1)?;
        let detail = done.detail(*index).map(Text::from);
        Some(Enforced { step: number, title: Text::from(step.action.to_string()), detail })
    };
    done.steps().iter().filter_map(titled).collect()
}

/// What is to be said about the end of a netstack.
fn loss(end: launch::netstack::End) -> Option<NetworkLoss> {
    match end {
        launch::netstack::End::Complete => None,
        launch::netstack::End::Lost(pidfd::Exit::Code(code)) => Some(NetworkLoss::Exited(code)),
        launch::netstack::End::Lost(pidfd::Exit::Signal { number, .. }) => {
            Some(NetworkLoss::Killed(number.raw()))
        }
        launch::netstack::End::Killed => Some(NetworkLoss::Unfinished),
    }
}

/// Most frequent first.
fn denied(ended: &Ended, errno_for: &dyn Fn(Call) -> i32) -> Vec<DeniedCall> {
    let call = |(call, count): (&Call, &u64)| DeniedCall {
        name: syscall_name(call.arch, call.number)
            .map_or_else(|| format!("syscall_{}", call.number), str::to_owned),
        number: i64::from(call.number),
        count: *count,
        errno: errno_for(*call),
    };
    let mut denied: Vec<DeniedCall> = ended.denials.iter().map(call).collect();
    order::sort_by_key(&mut denied, |call| std::cmp::Reverse(call.count));
    denied
}

/// Keeps the sandbox when something was written, removes it otherwise and where nothing is to stay.
pub(super) fn shelve(spec: &Spec, over: Over) -> Result<Finished, RunError> {
    let Over { directory, mut record, ended, .. } = over;
    let Some(directory) = directory else { return Ok(Finished { record, kept: false, ended }) };
    let apart = record.is_apart();
    let to_stay = record.stays(directory.name_now().as_deref());
    if apart {
        directory.close_line()?;
    }
    // To be told when it is gone or kept, by the name that it has as long as it is there.
    let farewell = if to_stay { directory.ending() } else { directory.farewell() };
    // The end of one that ran apart was told before it was known whether another run follows.
    let farewell = if apart { farewell } else { farewell.of_end(ended.how.exit_code()) };
    let left = if to_stay || apart { Some(directory) } else { directory.remove_if_untouched()? };
    let Some(directory) = left else {
        record.changes = Some(crate::state::record::ChangeCounts::default());
        farewell.tell_removal();
        return Ok(Finished { record, kept: false, ended });
    };
    let changes = Changes::open_briefly::<RunError>(&record.layers, |number| {
        Ok(directory.open_upper(number)?)
    })?;
    let (counts, size) = changes::measure(changes, MOST_COUNTED);
    record.changes = Some(counts);
    record.size = size;
    let keep = match spec.lifetime.keep {
        Keep::Nothing => false,
        Keep::IfWritten => counts.total() > 0 || to_stay,
    };
    if keep {
        directory.keep(&record)?;
        farewell.tell_end();
    } else {
        directory.remove()?;
        farewell.tell_removal();
    }
    Ok(Finished { record, kept: keep, ended })
}

/// The caller's terminal, whichever of 0 to 2 it is, where the payload gets one of its own.
pub(super) fn terminal(plan: &Plan) -> Option<Likeness> {
    let is_session =
        |action: &Action| matches!(action, Action::Process(ProcessStep::Session { pty: true }));
    if !plan.of(Stage::Sandbox).any(|(_, action)| is_session(action)) {
        return None;
    }
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [input.as_fd(), output.as_fd(), errors.as_fd()].into_iter().find_map(|fd| Likeness::of(fd).ok())
}
