//! Watches over a run: answers, relays, forwards, and says how it ended.
//!
//! # Theory of operation
//! One thread and one `poll(2)` over everything that can happen; nothing ever waits anywhere else.
//!
//! ```text
//!   signals ──▶ ┌────────────┐ ──orders──▶ init ──signals──▶ payload
//!   keys ─────▶ │ supervisor │ ◀─stopped, exited, killed── init
//!   screen ◀─── │            │ ◀──▶ pty ◀──▶ payload
//!   pipes ◀───▶ │            │ ◀──▶ pipes ◀──▶ payload
//!   time, room ▶└────────────┘ ◀─refused calls── payload
//! ```
//! Where the run is detached there is neither screen nor keys: the `station` has their place.
//!
//! A run goes through two phases. *Running* lasts until init's pidfd says that every process of the
//! sandbox has ended, for one more program in it until init's last word. *Draining* writes what the payload had written until then, puts the terminal's
//! modes back, and ends; a signal that asks for an end cuts it short.
//!
//! **Stops.** Ctrl-Z becomes a signal in the pty and stops the payload; init tells; the supervisor writes
//! out what was written, restores the terminal and stops its own process group, as the shell that
//! started it expects. Continued in the foreground, it makes the terminal raw again and continues
//! the payload; in the background it leaves the terminal alone. While it is stopped a process stands
//! in for it: refused calls are answered, and time and room stay limited.
//!
//! **What is killed when.** The time is up, the store is full, somebody insists, or init says something
//! that means nothing: SIGKILL to init by its pidfd, and the kernel ends everything in its pid
//! namespace. If the supervisor itself dies, init asked for the same signal.
//!
//! # Not here
//! Starting the processes (`launch`); what init does (`launch::init`); words for people (`report`).

pub mod attach;
mod clipboard;
mod console;
mod control;
mod denials;
mod deputy;
pub mod errand;
mod event_loop;
mod health;
mod limits;
mod memory;
mod modes;
pub mod offer;
mod port;
pub mod protocol;
mod pump;
mod rate;
mod service;
mod signals;
mod stage;
mod standin;
pub mod station;
mod visits;
mod watch;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use denials::{Call, ErrnoFor};
pub use deputy::Deputy;
use event_loop::{Beside, Ports};
pub use health::Checkup;
pub use limits::Floor;
pub use signals::{KNOCK, Signals, block_signals};
pub use station::Station;
pub use visits::{Model, VisitError};

use crate::launch::fuse::End;
use crate::launch::holder::Membership;
use crate::launch::netstack;
use crate::launch::wire::Malformed;
use crate::launch::{Names, Running};
use crate::limits::group::{Group, Kills};
use crate::plan::step::{Action, Plan, ProcessStep, Stage, StdioPlan, WatchStep};
use crate::plan::traffic::Traffic;
use crate::spec::HostPath;
use crate::spec::service::Notify;
use crate::state::events::What;
use crate::sys::errno::Errno;
use crate::sys::pidfd::Exit;
use crate::sys::signal::SignalNumber;

/// What the supervisor is to do, as the plan has it.
pub struct Duties<'a> {
    /// What ends it.
    pub over: Over,
    /// Kill the run after this time.
    pub timeout: Option<Duration>,
    /// Kill the run when the store has less room.
    pub floor: Option<Floor>,
    /// What refused calls fail with.
    pub errno_for: &'a ErrnoFor<'a>,
    /// What the payload has at descriptors 0 to 2.
    pub stdio: [StdioPlan; 3],
    /// Whether the payload starts in the foreground of its pty.
    pub foreground: bool,
    /// Who has its descriptors in place of a caller.
    pub station: Option<&'a mut Station>,
    /// How to listen for orders once somebody knocks.
    pub open_door: Option<&'a OpenDoor<'a>>,
    /// The service manager that is told of the run, where one is.
    pub service: Option<&'a Notify>,
    /// What entries are made of; none where nothing can enter.
    pub model: Option<Model<'a>>,
    /// How it is asked whether it is well, if it is.
    pub checkup: Option<Checkup<'a>>,
    /// Who writes down what happens to it.
    pub witness: Option<&'a Witness<'a>>,
    /// Whether it ends when its network does.
    pub ends_with_network: bool,
    /// Its place on a network of several.
    pub place: Option<&'a Membership>,
    /// What is done for it beside.
    pub deputy: Option<&'a Deputy>,
}

/// What is watched over, and so when it is at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A sandbox: when every process in it has ended.
    Sandbox,
    /// One more program in it: with the last word of who started it, who ends and is reaped without us.
    Entry,
}

/// Writes down what happened, and what else is to be known of it.
pub type Witness<'a> = dyn Fn(What, &[(&str, String)]) + 'a;

/// Listens for orders; none where that failed.
pub type OpenDoor<'a> = dyn Fn() -> Option<Station> + 'a;

impl<'a> Duties<'a> {
    /// The duties of a plan; `store` is any descriptor on the store's file system.
    pub fn of(
        plan: &Plan,
        store: Option<OwnedFd>,
        errno_for: &'a ErrnoFor<'a>,
    ) -> Result<Self, SuperviseError> {
        let mut duties = Self {
            over: Over::Sandbox,
            timeout: None,
            floor: None,
            errno_for,
            stdio: [StdioPlan::Keep; 3],
            foreground: false,
            station: None,
            open_door: None,
            service: None,
            model: None,
            checkup: None,
            witness: None,
            ends_with_network: false,
            place: None,
            deputy: None,
        };
        let mut percent = None;
        for (_, action) in plan.of(Stage::Supervise) {
            match action {
                Action::Watch(WatchStep::Timeout(time)) => duties.timeout = Some(*time),
                Action::Watch(WatchStep::FreeSpace { floor }) => percent = Some(*floor),
                Action::Watch(WatchStep::Network) => duties.ends_with_network = true,
                // Whatever comes to the listener is answered.
                _ => {}
            }
        }
        if let Some(percent) = percent {
            let store = store.ok_or(SuperviseError::NoStore)?;
            duties.floor = Some(Floor { store, percent });
        }
        for (_, action) in plan.of(Stage::Payload) {
            match action {
                Action::Process(ProcessStep::Stdio { number, with }) => {
                    if let Some(place) = duties.stdio.get_mut(usize::from(*number)) {
                        *place = *with;
                    }
                }
                Action::Process(ProcessStep::ProcessGroup { foreground }) => {
                    duties.foreground = *foreground;
                }
                _ => {}
            }
        }
        Ok(duties)
    }
}

/// How a run ended, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: How,
    /// Refused calls, and how often each was.
    pub denials: BTreeMap<Call, u64>,
    /// How often the payload tried to write the caller's clipboard.
    pub clipboard: u64,
    /// How the servers of overlays ended.
    pub servers: Vec<End>,
    /// How the netstack ended, where there was one.
    pub network: Option<netstack::End>,
    /// What it told of the run.
    pub traffic: Option<Traffic>,
    /// Processes that were killed for want of memory; none where that is not counted.
    pub memory_kills: Option<Kills>,
    /// Output that could not be written, and not because its reader went away.
    pub lost: Vec<Lost>,
    /// Its control group, where others own what is in it: it is still there, and the supervisor may not remove it.
    pub group_left: Option<HostPath>,
}

impl Ended {
    /// Whether it had a netstack, and lost it.
    fn has_lost_network(&self) -> bool {
        matches!(self.network, Some(netstack::End::Lost(_)))
    }
}

/// Output that could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The caller's descriptor: 1 or 2; 0 where the terminal is there alone.
    pub number: u8,
    /// Why.
    pub errno: Errno,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The payload ended with this status.
    Exited(u8),
    /// A signal ended the payload.
    Killed(SignalNumber),
    /// Its time was up.
    TimedOut,
    /// The store's file system was nearly full.
    NoSpace,
    /// Killed because this signal came again and again.
    Insisted(SignalNumber),
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// A server of an overlay ended before the sandbox, which then had no files there.
    ServerLost,
    /// Its network ended before it, which it was not to outlive.
    NetworkLost,
    /// Init ended without saying how the payload did: it was killed from outside, or ran into an
    /// error.
    InitLost(Option<Exit>),
}

impl How {
    /// The status that bryo ends with.
    pub fn exit_code(self) -> u8 {
        let by_signal =
            |signal: SignalNumber| u8::try_from(signal.raw()).map_or(u8::MAX, |n| n | 0x80);
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) | Self::Insisted(signal) => by_signal(signal),
            Self::TimedOut => 124,
            // As SIGKILL, by which it ended: with pid 1 everything does.
            Self::OutOfMemory | Self::InitLost(_) => 137,
            Self::NoSpace | Self::ServerLost | Self::NetworkLost => 125,
        }
    }

    /// The same of a run that was not to outlive its network, and lost it. A payload sees that before anybody else does, and
    /// may end by itself, with whatever status: what it was to do is not known to be done.
    fn for_lost_network(self) -> Self {
        match self {
            Self::Exited(_) | Self::Killed(_) | Self::InitLost(_) => Self::NetworkLost,
            how => how,
        }
    }
}

/// Why a run could not be watched over. It was killed, and nothing of it is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperviseError {
    /// Blocking, reading or passing on signals.
    #[error("cannot take signals")]
    Signals(#[source] Errno),
    /// The plan watches a store that there is not.
    #[error("cannot watch the free space of a store that is not open")]
    NoStore,
    /// A timer or the look at the free space.
    #[error("cannot watch the limits of the run")]
    Limits(#[source] Errno),
    /// Waiting for events.
    #[error("cannot wait for the sandbox")]
    Wait(#[source] Errno),
    /// Speaking with init.
    #[error("cannot speak with the sandbox")]
    Control(#[source] Errno),
    /// Init said something that means nothing.
    #[error("cannot go on with the sandbox")]
    Malformed(#[source] Malformed),
    /// Answering refused calls.
    #[error("cannot answer refused system calls")]
    Denials(#[source] Errno),
    /// The caller's terminal or the pty.
    #[error("cannot use the terminal")]
    Terminal(#[source] Errno),
    /// Keeping output, or taking orders.
    #[error("cannot go on without a caller")]
    Station(#[source] Errno),
    /// Telling the service manager.
    #[error("cannot speak with the service manager")]
    Service(#[source] Errno),
    /// Having somebody watch while we are stopped.
    #[error("cannot watch over the sandbox while stopped")]
    StandIn(#[source] Errno),
    /// Waiting for the servers of overlays, or killing them.
    #[error("cannot end the servers of the overlays")]
    Servers(#[source] Errno),
    /// Looking at the control group, or removing it.
    #[error("cannot look after the control group of the sandbox")]
    Group(#[source] Errno),
    /// Ending the netstack.
    #[error("cannot end the netstack")]
    Netstack(#[source] Errno),
    /// Killing or reaping init.
    #[error("cannot end the sandbox")]
    End(#[source] Errno),
}

impl SuperviseError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Terminal(_) => {
                Some("run it with its input and output redirected, then no terminal is needed")
            }
            _ => None,
        }
    }
}

/// Watches over a run until nothing of it is left.
pub fn supervise(
    mut running: Running,
    duties: Duties<'_>,
    signals: Signals,
) -> Result<Ended, SuperviseError> {
    // The last to end: what the payload wrote may still have to leave.
    let netstack = running.netstack.take();
    // Gone with whatever is in it.
    let group = running.group.take();
    let names = Names::new(netstack.as_ref(), duties.place);
    // Without: connections over a network that is taken away last until the payload's kernel gives them up.
    let ports = running.namespaces.as_ref().filter(|_| duties.place.is_some()).and_then(Ports::of);
    let beside = Beside { group: group.as_ref(), netstack: netstack.as_ref(), names, ports };
    let (ends_with_network, member) = (duties.ends_with_network, duties.place);
    let ended = event_loop::run(running, duties, signals, beside);
    let ended = end_netstack(netstack, ended);
    let place = group.as_ref().and_then(Group::path).cloned();
    let removed = group.map_or(Ok(()), Group::remove);
    let mut ended = ended?;
    if ends_with_network && (ended.has_lost_network() || member.is_some_and(is_lost)) {
        ended.how = ended.how.for_lost_network();
    }
    match removed {
        Err(Errno::EACCES | Errno::EPERM) => ended.group_left = place,
        removed => removed.map_err(SuperviseError::Group)?,
    }
    Ok(ended)
}

/// Whether a place on a network is no way out any more, and nobody took it away.
fn is_lost(place: &Membership) -> bool {
    place.is_lost() || place.is_cut()
}

fn end_netstack(
    netstack: Option<netstack::Netstack>,
    ended: Result<Ended, SuperviseError>,
) -> Result<Ended, SuperviseError> {
    let Some(netstack) = netstack else { return ended };
    match ended {
        Ok(ended) => {
            let (network, traffic) =
                netstack.end(watch::WRITE_BACK).map_err(SuperviseError::Netstack)?;
            Ok(Ended { network: Some(network), traffic, ..ended })
        }
        Err(error) => netstack.kill().map_err(SuperviseError::Netstack).and(Err(error)),
    }
}

#[cfg(test)]
mod tests;
