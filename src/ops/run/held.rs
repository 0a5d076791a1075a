//! Copies layers that were in memory during a run (`--disk`) into the store when the run has ended.
//!
//! # Theory of operation
//! Every process of the sandbox has ended, so nobody writes there any more. A process of our own in a user
//! namespace with the run's ids has all rights on the files of both sides, whatever modes the payload gave them;
//! it copies, and says through a pipe how it went. Signals stay blocked meanwhile: who waits for the end of a run
//! does not throw its results away with one more key.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::pipe::{PipeFlags, pipe_with};

use super::RunError;
use crate::launch::{LaunchError, within};
use crate::plan::facts::Facts;
use crate::plan::plan_all_ids;
use crate::plan::step::{Action, FsStep, IdMapping, IdsStep, Plan, Upper};
use crate::rootfs::carry::{LeftOut, Lists, Stuck, carry};
use crate::rootfs::upper_in_held;
use crate::spec::command::Keep;
use crate::spec::{IdMode, Spec, Text};
use crate::state::{HeldState, Record, SandboxDirectory, StateError, Store};
use crate::sys::errno::Errno;
use crate::sys::{open, stat};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes of what holds all that is written.
fn limit(plan: &Plan) -> Option<u64> {
    plan.steps.iter().find_map(|step| match step.action {
        Action::Fs(FsStep::Hold { size }) => Some(size),
        _ => None,
    })
}

/// The same where there are layers to be held.
fn size(plan: &Plan) -> Option<u64> {
    limit(plan).filter(|_| !plan.layers.is_empty())
}

/// Refuses what the store could not take in at the end.
pub(super) fn verify_room(plan: &Plan, store: Option<&Store>) -> Result<(), RunError> {
    let Some((size, store)) = size(plan).zip(store) else { return Ok(()) };
    let there = open::open_host(store.path().as_path()).map_err(RunError::Descriptor)?;
    let room = stat::space(there).map_err(RunError::Descriptor)?.available;
    if room >= size { Ok(()) } else { Err(RunError::Room { room, size }) }
}

/// Why a step failed that writes to what holds everything. Only a sandbox that ran before has layers that could be too
/// large; of a new one it is the empty places that it begins with.
pub(super) fn refusal(
    plan: &Plan,
    action: Option<&Action>,
    errno: Errno,
    ran_before: bool,
) -> Option<RunError> {
    let Some(Action::Fs(step)) = action else { return None };
    let of_layer = matches!(step, FsStep::Overlay { upper: Some(Upper::Held(_)), .. });
    match errno {
        Errno::ENOSPC if of_layer && ran_before => size(plan).map(|size| RunError::Fuller { size }),
        Errno::ENOSPC => limit(plan).map(|size| RunError::TooLittle { size }),
        Errno::EOVERFLOW if of_layer => Some(RunError::TooLong),
        _ => None,
    }
}

/// Brings everything, and has the record say so.
pub(super) fn bring(
    spec: &Spec,
    facts: &Facts,
    held: Option<(OwnedFd, &SandboxDirectory)>,
    record: &mut Record,
) -> Result<(), RunError> {
    let Some((held, directory)) = held else { return Ok(()) };
    if let Some(told) = &mut record.held {
        let left = stat::space(&held).map_err(RunError::Descriptor)?;
        told.full = left.available == 0 || left.files_available == 0;
    }
    if spec.lifetime.keep == Keep::Nothing || record.held.is_none() {
        record.held.iter_mut().for_each(|told| told.state = HeldState::Gone);
        return Ok(());
    }
    let coming = directory.receive()?;
    let maps = maps(spec, facts)?;
    let (hear, say) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| RunError::Descriptor(e.into()))?;
    let bringer = |error| RunError::Bringer(Box::new(error));
    let copy = || said(&say, carry_all(&held, directory, &coming));
    let whole = within(&maps, copy).map_err(bringer)?;
    drop(say);
    let mut heard = Vec::new();
    let read = std::fs::File::from(hear).read_to_end(&mut heard);
    let lost = || bringer(LaunchError::Lost);
    read.map_err(|_| lost())?;
    let (number, at) = heard.split_first_chunk::<8>().ok_or_else(lost)?;
    let number = u64::from_le_bytes(*number);
    if !whole {
        let errno = i32::try_from(number).map_or(Errno::EIO, Errno::from_raw);
        return Err(RunError::Bring { at: Text::from(OsStr::from_bytes(at)), source: errno });
    }
    directory.settle()?;
    if let Some(told) = &mut record.held {
        (told.state, told.left_out) = (HeldState::Kept, number);
        told.first_left_out = (number > 0).then(|| Text::from(OsStr::from_bytes(at)));
    }
    // Before the last that shows it is removed: from here on only the record knows.
    directory.replace_record(record)?;
    match directory.clear_received() {
        Err(StateError::ForeignIds { .. }) => {
            within(&maps, || directory.clear_received().is_ok()).map_err(bringer)?;
        }
        other => other?,
    }
    Ok(())
}

/// The ids of the run's files, whatever they are called there.
fn maps(spec: &Spec, facts: &Facts) -> Result<Vec<IdsStep>, RunError> {
    if spec.ids.mode == IdMode::Subid {
        return Ok(plan_all_ids(facts)?);
    }
    let own = |id| IdMapping { inside: id, outside: id, count: 1 };
    let (uid, gid) = (own(facts.caller.uid), own(facts.caller.gid));
    Ok(vec![IdsStep::DenySetgroups, IdsStep::WriteMaps { uid, gid }])
}

fn carry_all(
    held: &OwnedFd,
    directory: &SandboxDirectory,
    coming: &OwnedFd,
) -> Result<LeftOut, Stuck> {
    let stuck = |errno| Stuck { at: Vec::new(), errno };
    let mut all = LeftOut::default();
    for number in directory.layer_numbers() {
        let name = number.0.to_string();
        let from = openat(held, upper_in_held(number), DIRECTORY, Mode::empty()).map_err(stuck)?;
        mkdirat(coming, &name, Mode::RWXU).map_err(stuck)?;
        let to = openat(coming, &name, DIRECTORY, Mode::empty()).map_err(stuck)?;
        let left_out = carry(from.as_fd(), to.as_fd(), coming.as_fd(), Lists::Any)?;
        all.count += left_out.count;
        all.first = all.first.or(left_out.first);
    }
    Ok(all)
}

/// Tells the launcher: a number and a path. Whether all of it was copied.
fn said(say: &OwnedFd, copied: Result<LeftOut, Stuck>) -> bool {
    /// Fits into a pipe at once.
    const LONGEST: usize = 3000;
    let (number, at, whole) = match copied {
        Ok(left_out) => (left_out.count, left_out.first.unwrap_or_default(), true),
        Err(stuck) => (u64::from(stuck.errno.raw_os_error().unsigned_abs()), stuck.at, false),
    };
    let path = at.get(..at.len().min(LONGEST)).unwrap_or_default();
    let message = [&number.to_le_bytes()[..], path].concat();
    rustix::io::write(say, &message).is_ok_and(|written| written == message.len()) && whole
}
