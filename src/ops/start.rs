//! `bryo start`: runs a sandbox that ended once more, with its spec, on its layer, from where it was started.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::fcntl_dupfd_cloexec;

use super::attach::{Left, Wanted, attach, attach_from_start};
use super::detach::{self, Cause, DetachError, Outcome, Started};
use super::error::OpsError;
use super::run::RunError;
use super::sweep::sweep;
use crate::report::Failure;
use crate::spec::command::Keep;
use crate::spec::{HostPath, Restart, Spec, Text, service};
use crate::state::{SandboxId, Stores, Which};
use crate::sys::socket;

/// Where many start and stop the same one at once, each gets his turn within this time.
const CROWDED: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);

/// What there is to start.
#[derive(Debug, Clone, PartialEq)]
pub enum Startable {
    /// It runs already.
    Runs(SandboxId),
    /// It ended.
    Ended {
        /// What it is to be.
        spec: Box<Spec>,
        /// Where it was started from, if that is known.
        from: Option<HostPath>,
    },
}

/// Looks for a sandbox that can be started.
pub fn find(stores: &Stores, name: &Text) -> Result<Startable, OpsError> {
    let found = stores.find(name.as_bytes())?;
    if found.is_running()? {
        return Ok(Startable::Runs(found.id()));
    }
    let record = found.record()?;
    let mut spec = record.spec;
    spec.lifetime.continues = Some(found.id().as_str().into());
    spec.lifetime.detached.get_or_insert_default();
    // The run that was asked to leave nothing left something all the same.
    spec.lifetime.keep = Keep::IfWritten;
    spec.lifetime.report = None;
    // What a service manager handed over then is not there now.
    service::take_off(&mut spec);
    Ok(Startable::Ended { spec: Box::new(spec), from: record.from })
}

/// Whether it is there to be started again once it has ended; asked before it is ended for that.
pub fn verify_stays(stores: &Stores, name: &Text) -> Result<(), OpsError> {
    let found = stores.find(name.as_bytes())?;
    let goes = found.is_running()? && found.record()?.spec.lifetime.keep == Keep::Nothing;
    if goes { Err(OpsError::NotKept(found.id())) } else { Ok(()) }
}

/// What is to run for it to be started in the foreground, in the directory that it was started from.
pub fn here(stores: &Stores, name: &Text) -> Result<Spec, Failure> {
    sweep(stores).map_err(|error| Failure::new(&OpsError::from(error)))?;
    match find(stores, name)? {
        Startable::Runs(_) => Err(Failure::new(&RunError::Busy(name.clone()))),
        Startable::Ended { mut spec, from } => {
            spec.lifetime.detached = None;
            spec.lifetime.restart = Restart::No;
            if let Some(from) = from {
                detach::enter(&from).map_err(|error| Failure::new(&error))?;
            }
            Ok(*spec)
        }
    }
}

/// Starts it; none when it runs already, which is no error. Who holds the other end of `audience` is attached.
pub fn start(
    stores: &Stores,
    name: &Text,
    audience: Option<&OwnedFd>,
    cause: Cause,
) -> Result<Option<Started>, Failure> {
    sweep(stores).map_err(|error| Failure::new(&OpsError::from(error)))?;
    let until = Instant::now() + CROWDED;
    loop {
        let Startable::Ended { spec, from } = find(stores, name)? else { return Ok(None) };
        let ours = audience.map(|fd| fcntl_dupfd_cloexec(fd, 3)).transpose();
        let ours = ours.map_err(|errno| Failure::new(&DetachError::Fork(errno.into())))?;
        match detach::start(&spec, from.as_ref(), ours, cause) {
            Ok(Outcome::Started(started)) => return Ok(Some(started)),
            // Somebody else was faster. If it runs, that is what was wanted; it may have been stopped again by now.
            Ok(Outcome::Busy(failure)) if Instant::now() > until => return Err(failure),
            Ok(Outcome::Busy(_)) => std::thread::sleep(PAUSE),
            Err(_) if matches!(find(stores, name), Ok(Startable::Runs(_))) => return Ok(None),
            Err(failure) => return Err(failure),
        }
    }
}

/// Starts it, and stays attached from its first byte on, however soon it ends; to one that runs from now on.
pub fn start_attached(stores: &Stores, name: &Text, wanted: Wanted) -> Result<Left, Failure> {
    let pair = socket::pair().map_err(|errno| Failure::new(&DetachError::Fork(errno)))?;
    let (ours, theirs) = pair;
    let started = start(stores, name, Some(&theirs), Cause::Start)?;
    drop(theirs);
    let left = match started {
        Some(started) => attach_from_start(stores, started.id, ours, wanted),
        None => attach(stores, Which::Named(name), wanted),
    };
    left.map_err(Failure::from)
}
