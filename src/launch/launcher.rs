//! The launcher's side: clone, id maps, go, and listening until the payload is executed.
//!
//! Long because a start is one sequence, and every way in which it can end belongs to it.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::process::Pid;

use super::channel::{self, Heard, Inside};
use super::fuse::{self, Server};
use super::group::Grouping;
use super::joinable::Joinable;
use super::netstack::Netstack;
use super::wire::{FromSandbox, ToSandbox};
use super::{
    Enforced, Host, LaunchError, Relay, Running, StepError, action, enter, payload, pipes, sandbox,
};
use crate::plan::entry;
use crate::plan::step::{
    Action, FsStep, Namespaces, OverlayServer, Plan, ProcessStep, Stage, StdioPlan,
};
use crate::rootfs;
use crate::spec::HostPath;
use crate::spec::text::escape;
use crate::state::StateError;
use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::errno::Errno;
use crate::sys::event::Poller;
use crate::sys::processors::{Apart, Processors};
use crate::sys::pty::Master;
use crate::sys::seccomp::Listener;
use crate::sys::signal::SignalNumber;
use crate::sys::{heap, pidfd, socket};

/// Starts the sandbox of `plan` and returns when its payload was executed.
///
/// `record` writes the run's record, which names the control group where there is one, and is done before the payload
/// is forked; `meanwhile` is done while the sandbox prepares itself. The signals that the supervisor wants must be
/// blocked already; the payload unblocks all. On an error everything that was started has been killed and reaped.
pub fn launch(
    plan: &Plan,
    host: &Host<'_>,
    record: impl FnOnce(Option<&HostPath>) -> Result<(), StateError>,
    meanwhile: impl FnOnce(),
) -> Result<Running, LaunchError> {
    clone::assert_single_threaded().map_err(LaunchError::Threads)?;
    rootfs::check_lowers(plan).map_err(|(step, failure)| {
        step_failed(plan, step, StepError { errno: failure.errno, said: failure.said })
    })?;
    let (control, inside_control) = socket::pair().map_err(LaunchError::Connect)?;
    let (report, inside_report) = socket::pair().map_err(LaunchError::Connect)?;
    let (relays, inside_relays) = relays(plan).map_err(LaunchError::Connect)?;
    let payload = payload::Prepared::new(plan, host, inside_relays);
    let processors = Processors::all();
    heap::leave_used();
    let group = Grouping::before(plan, host.id)?;
    let cloned = match cloned(plan, host, group.as_ref().and_then(Grouping::directory)) {
        Ok(cloned) => cloned,
        Err(error) => return Err(given_up(group, error)),
    };
    match cloned {
        Cloned::Child => {
            drop((control, report, relays));
            sandbox::run(
                plan,
                host,
                payload,
                sandbox::Sockets { control: Inside(inside_control), report: Inside(inside_report) },
                processors,
            )
        }
        Cloned::Parent { pid, pidfd } => {
            drop((inside_control, inside_report, payload));
            let mut start = Start::new(Cow::Borrowed(plan), host, (pid, pidfd), (control, report));
            start.group = group;
            match start.carry_through(processors.apart(pid), record, meanwhile) {
                Ok(()) => Ok(start.into_running(relays)),
                Err(error) => Err(start.give_up(error)),
            }
        }
    }
}

/// The plan's clone, here or in the namespaces that it enters.
fn cloned(
    plan: &Plan,
    host: &Host<'_>,
    group: Option<BorrowedFd<'_>>,
) -> Result<Cloned, LaunchError> {
    let enters = enter::enters(plan);
    match host.door {
        Some(door) if enters => enter::clone_within(door, flags(plan), |pid| enter::map(plan, pid)),
        None if !enters => clone::clone3(flags(plan), group).map_err(LaunchError::Clone),
        // A plan without its door, or a door without a plan.
        Some(_) | None => Err(LaunchError::Enter(Errno::EINVAL)),
    }
}

/// Whether the network namespace is made after the clone.
fn is_made_beside(plan: &Plan) -> bool {
    entry::namespaces(plan).net && !enter::is_attached(plan)
}

/// The namespaces of the plan's clone, as flags; but for that of the network, which the sandbox process has
/// made beside, where nobody has to find it there at once.
fn flags(plan: &Plan) -> CloneFlags {
    let mut flags = CloneFlags::NEW_MOUNT;
    for (_, action) in plan.of(Stage::Launch) {
        if let Action::Clone(Namespaces { user, pid, net, ipc, uts, cgroup }) = action {
            let net = &(*net && enter::is_attached(plan));
            for (wanted, flag) in [
                (net, CloneFlags::NEW_NET),
                (user, CloneFlags::NEW_USER),
                (pid, CloneFlags::NEW_PID),
                (ipc, CloneFlags::NEW_IPC),
                (uts, CloneFlags::NEW_UTS),
                (cgroup, CloneFlags::NEW_CGROUP),
            ] {
                flags = if *wanted { flags.union(flag) } else { flags };
            }
        }
    }
    flags
}

/// Pipes for the descriptors that are relayed: our ends, and the payload's. Those of the caller that are kept are opened
/// once more for it.
fn relays(plan: &Plan) -> Result<(Vec<Relay>, Vec<Relay>), Errno> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (_, action) in plan.of(Stage::Payload) {
        let Action::Process(ProcessStep::Stdio { number, with }) = action else { continue };
        match with {
            StdioPlan::Relay => {}
            StdioPlan::Keep => {
                let end = pipes::standard(*number).and_then(pipes::open_again);
                theirs.extend(end.map(|end| Relay { number: *number, end }));
                continue;
            }
            StdioPlan::Null | StdioPlan::Pty => continue,
        }
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (our_end, their_end) = if *number == 0 { (write, read) } else { (read, write) };
        ours.push(Relay { number: *number, end: our_end });
        theirs.push(Relay { number: *number, end: their_end });
    }
    Ok((ours, theirs))
}

/// How long an entry that failed may take to end.
const LEAVING: Duration = Duration::from_secs(2);

/// What was heard so far.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each thing that is waited for")]
struct Progress {
    pty: Option<Master>,
    notify: Option<OwnedFd>,
    listener: Option<Listener>,
    servers: Vec<Server>,
    held: Option<OwnedFd>,
    netstack: Option<Netstack>,
    /// The netstack is confined, or there is none.
    netstack_ready: bool,
    init_ready: bool,
    confined: bool,
    executed: bool,
}

/// A start that is under way.
pub(super) struct Start<'a> {
    plan: Cow<'a, Plan>,
    host: &'a Host<'a>,
    pid: Pid,
    pidfd: OwnedFd,
    group: Option<Grouping>,
    control: OwnedFd,
    report: OwnedFd,
    heard: Progress,
    namespaces: Option<Joinable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Control,
    Report,
    Netstack,
}

impl<'a> Start<'a> {
    fn new(
        plan: Cow<'a, Plan>,
        host: &'a Host<'a>,
        (pid, pidfd): (Pid, OwnedFd),
        (control, report): (OwnedFd, OwnedFd),
    ) -> Self {
        let heard = Progress::default();
        Start { plan, host, pid, pidfd, group: None, control, report, heard, namespaces: None }
    }

    /// That of an entry: there is no netstack of its own to wait for.
    pub(super) fn of_entry(
        plan: Cow<'a, Plan>,
        host: &'a Host<'a>,
        process: (Pid, OwnedFd),
        sockets: (OwnedFd, OwnedFd),
    ) -> Self {
        let mut start = Self::new(plan, host, process, sockets);
        start.heard.netstack_ready = true;
        start
    }

    /// Whether the payload is executed, and everything beside it confined.
    pub(super) fn is_complete(&self) -> bool {
        self.heard.executed && self.heard.init_ready && self.heard.netstack_ready
    }

    /// What [`Self::listen`] waits for, but for the netstack.
    pub(super) fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        let report = if self.heard.executed { &self.control } else { &self.report };
        [self.control.as_fd(), report.as_fd()]
    }

    fn carry_through(
        &mut self,
        apart: Apart,
        record: impl FnOnce(Option<&HostPath>) -> Result<(), StateError>,
        meanwhile: impl FnOnce(),
    ) -> Result<(), LaunchError> {
        if let Some(group) = &mut self.group {
            group.after(&self.plan, self.pid)?;
        }
        // Later the new process is undumpable, and nobody may.
        let joined = entry::joined(&self.plan);
        let is_there = joined.net && !is_made_beside(&self.plan);
        self.namespaces = Joinable::open(self.pid, Namespaces { net: is_there, ..joined }).ok();
        if !enter::enters(&self.plan) {
            enter::map(&self.plan, self.pid)?;
        }
        enter::attach(&self.plan, self.host, self.pid)?;
        channel::send(&self.control, ToSandbox::Go).map_err(|_| LaunchError::Lost)?;
        // Not before it has been woken where it is, and before it may fork the payload.
        apart.end().map_err(LaunchError::Clone)?;
        // While the sandbox builds its tree. The payload is forked when it is done: what a payload wrote
        // must never be without a record.
        let group = self.group.as_ref().and_then(Grouping::path);
        record(group).map_err(|error| LaunchError::Record(Box::new(error)))?;
        self.heard.netstack_ready = self.plan.of(Stage::Netstack).next().is_none();
        while Netstack::is_waited_for(&self.plan) && !self.heard.netstack_ready {
            let patience = self.heard.netstack.as_ref().and_then(Netstack::patience);
            self.listen(patience)?;
        }
        // What serves the payload is bounded with it, and so in the group before there is one.
        while self.group.is_some() && self.awaits_helpers() {
            self.listen(None)?;
        }
        // A sandbox that has ended meanwhile has said why: that is heard below.
        channel::send(&self.control, ToSandbox::Recorded).unwrap_or_default();
        meanwhile();
        while !self.is_complete() {
            self.listen(None)?;
        }
        if self.heard.confined { Ok(()) } else { Err(LaunchError::Lost) }
    }

    /// Whether the sandbox has still to ask for a process that serves it.
    fn awaits_helpers(&self) -> bool {
        let is_served = |(_, action): &(usize, &Action)| {
            let Action::Fs(FsStep::Overlay { server, .. }) = action else { return false };
            matches!(server, OverlayServer::Fuse { .. })
        };
        let servers = self.plan.of(Stage::Sandbox).filter(is_served).count();
        let netstack = self.plan.of(Stage::Netstack).next().is_some();
        self.heard.servers.len() < servers || netstack && self.heard.netstack.is_none()
    }

    fn admit_helper(&self, pid: Pid) -> Result<(), LaunchError> {
        self.group.as_ref().map_or(Ok(()), |group| group.admit_helper(pid))
    }

    /// Waits for the next message of either socket.
    pub(super) fn listen(&mut self, patience: Option<Duration>) -> Result<(), LaunchError> {
        let mut poller = Poller::new();
        // A short payload may have ended before the netstack is ready: what init says then is for the supervisor.
        if !(self.heard.executed && self.heard.init_ready) {
            poller.readable(From::Control, self.control.as_fd());
        }
        if !self.heard.executed {
            poller.readable(From::Report, self.report.as_fd());
        }
        if let Some(netstack) = self.heard.netstack.as_ref().filter(|_| !self.heard.netstack_ready)
        {
            poller.readable(From::Netstack, netstack.control());
        }
        let ready = match poller.wait(patience) {
            Err(Errno::EINTR) => return Ok(()),
            other => other.map_err(LaunchError::Connect)?,
        };
        if ready.is_empty() && self.heard.netstack.is_none() {
            return Ok(());
        }
        if ready.is_empty() || ready.iter().any(|(from, _)| *from == From::Netstack) {
            return self.hear_netstack();
        }
        let is_ready = |wanted| ready.iter().any(|(from, _)| *from == wanted);
        // What the payload's process says comes first: when both have ended, it knows why.
        let from = if is_ready(From::Report) { From::Report } else { From::Control };
        let socket = if from == From::Report { &self.report } else { &self.control };
        let mut heard = channel::hear(socket).map_err(LaunchError::Connect)?;
        if from == From::Report && self.heard.confined && matches!(heard, Heard::End) {
            self.heard.executed = true;
            return Ok(());
        }
        // It ended before it spoke, or was never forked: then pid 1 knows.
        if from == From::Report && is_ready(From::Control) && matches!(heard, Heard::End) {
            heard = channel::hear(&self.control).map_err(LaunchError::Connect)?;
        }
        match heard {
            Heard::Message(message, fds) => self.take(&message, fds),
            // Closed by init's fork before the payload's process spoke, or by a death.
            Heard::End => Err(self.lost()),
            Heard::Malformed(malformed) => Err(LaunchError::Malformed(malformed)),
        }
    }

    /// The netstack is confined, or failed to be.
    fn hear_netstack(&mut self) -> Result<(), LaunchError> {
        let Some(netstack) = &self.heard.netstack else { return Err(LaunchError::Lost) };
        if let Some(heard) = netstack.hear_tool(&self.plan) {
            self.heard.netstack_ready = true;
            return heard;
        }
        match channel::hear(netstack.control()).map_err(LaunchError::Connect)? {
            Heard::Message(FromSandbox::Confined { .. }, _) => {
                self.heard.netstack_ready = true;
                Ok(())
            }
            Heard::Message(FromSandbox::Failed { step, errno, note }, _) => {
                Err(self.failed(usize::from(step), errno, note.text()))
            }
            Heard::Message(..) | Heard::End => Err(LaunchError::Lost),
            Heard::Malformed(malformed) => Err(LaunchError::Malformed(malformed)),
        }
    }

    fn take(&mut self, message: &FromSandbox, mut fds: Vec<OwnedFd>) -> Result<(), LaunchError> {
        match message {
            FromSandbox::Failed { step, errno, note } => {
                return Err(self.failed(usize::from(*step), *errno, note.text()));
            }
            FromSandbox::Pty => {
                self.heard.pty = Some(Master::from_fd(fds.pop().ok_or(LaunchError::Lost)?));
            }
            FromSandbox::Notify => self.heard.notify = fds.pop(),
            FromSandbox::Rooted => self.add_network(fds.pop()),
            FromSandbox::Held => self.heard.held = Some(fds.pop().ok_or(LaunchError::Lost)?),
            FromSandbox::Detail { .. } => {}
            FromSandbox::InitReady => self.heard.init_ready = true,
            FromSandbox::Confined { listener } => {
                self.heard.confined = true;
                self.heard.listener = fds.pop().filter(|_| *listener).map(Listener::new);
            }
            FromSandbox::FuseWanted { step } => {
                let server = Server::start(&self.plan, self.host, usize::from(*step), fds)?;
                let pid = server.pid();
                self.heard.servers.push(server);
                self.admit_helper(pid)?;
            }
            FromSandbox::Link { .. } => {
                let netstack = Netstack::start(&self.plan, self.host, fds)?;
                let pid = netstack.pid();
                self.heard.netstack = Some(netstack);
                self.admit_helper(pid)?;
            }
            // Init says that it is ready first, so none of these belongs to this phase.
            FromSandbox::Stopped { .. }
            | FromSandbox::Exited { .. }
            | FromSandbox::Killed { .. } => return Err(LaunchError::Lost),
        }
        Ok(())
    }

    /// Holds the network namespace, of which the sandbox process sends a descriptor when it is a new one. Without
    /// it nobody may join: a process that kept the host's network would not be in the sandbox.
    fn add_network(&mut self, network: Option<OwnedFd>) {
        if !is_made_beside(&self.plan) {
            return;
        }
        self.namespaces = self
            .namespaces
            .take()
            .zip(network)
            .map(|(namespaces, network)| namespaces.with_network(network));
    }

    /// A last word may have been said on the other socket.
    fn lost(&mut self) -> LaunchError {
        for socket in [&self.report, &self.control] {
            let mut poller = Poller::new();
            poller.readable((), socket.as_fd());
            let something = poller.wait(Some(Duration::ZERO)).is_ok_and(|ready| !ready.is_empty());
            if something
                && let Ok(Heard::Message(FromSandbox::Failed { step, errno, note }, _)) =
                    channel::hear(socket)
            {
                return self.failed(usize::from(step), errno, note.text());
            }
        }
        LaunchError::Lost
    }

    fn failed(&self, step: usize, errno: i32, note: &[u8]) -> LaunchError {
        let errno = Errno::from_raw(errno);
        if let Some(error) = fuse::failure(&self.heard.servers, errno) {
            return error;
        }
        match action(&self.plan, step) {
            Some(Action::Process(ProcessStep::Exec { argv, .. })) => {
                let program = argv.first().cloned().unwrap_or_default();
                match errno {
                    Errno::ENOENT if !note.is_empty() => {
                        let interpreter = String::from_utf8_lossy(note).into_owned().into();
                        LaunchError::NoInterpreter { program, interpreter }
                    }
                    Errno::ENOENT => LaunchError::NotFound(program),
                    source => LaunchError::Exec { program, source },
                }
            }
            Some(Action::Clone(_)) => LaunchError::Clone(errno),
            _ => step_failed(&self.plan, step, StepError { errno, said: escape(note) }),
        }
    }

    /// Every step but those of the supervisor was reported, by message or by what followed it.
    pub(super) fn into_running(self, relays: Vec<Relay>) -> Running {
        let done = |step: &crate::plan::step::Step| step.stage != Stage::Supervise;
        let steps = self
            .plan
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| done(step))
            .map(|(n, _)| n)
            .collect();
        let (group, details) = self.group.map(Grouping::finish).unzip();
        Running {
            pidfd: self.pidfd,
            control: self.control,
            listener: self.heard.listener,
            pty: self.heard.pty,
            notify: self.heard.notify,
            relays,
            servers: self.heard.servers,
            held: self.heard.held,
            netstack: self.heard.netstack,
            namespaces: self.namespaces,
            group,
            enforced: Enforced { steps, details: details.unwrap_or_default() },
        }
    }

    /// Has an entry end by itself, as it reaps its payload: what a process leaves that is killed waits for the host's
    /// pid 1, and the pid namespace of the sandbox for that.
    pub(super) fn leave(self, error: LaunchError) -> LaunchError {
        drop((self.control, self.report));
        let ended = match pidfd::has_ended(&self.pidfd, LEAVING) {
            Ok(true) => Ok(()),
            _ => pidfd::send_signal(&self.pidfd, SignalNumber::KILL),
        };
        match ended.and_then(|()| pidfd::wait(&self.pidfd)) {
            Ok(_) => error,
            Err(errno) => LaunchError::Connect(errno),
        }
    }

    /// Kills and reaps what was started; the error is what the caller hears.
    pub(super) fn give_up(self, error: LaunchError) -> LaunchError {
        let killed = match pidfd::send_signal(&self.pidfd, SignalNumber::KILL) {
            // It ended by itself already.
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        };
        // Servers first: what waits for an answer of one cannot be killed.
        let servers = self.heard.servers.into_iter().map(Server::kill).fold(killed, Result::and);
        let ended = pidfd::wait(&self.pidfd).map(drop);
        let netstack = self.heard.netstack.map_or(Ok(()), Netstack::kill);
        let error = match servers.and(ended).and(netstack) {
            Ok(()) => error,
            Err(errno) => LaunchError::Connect(errno),
        };
        given_up(self.group, error)
    }
}

fn given_up(group: Option<Grouping>, error: LaunchError) -> LaunchError {
    match group {
        Some(group) => group.give_up(error),
        None => error,
    }
}

pub(super) fn step_failed(plan: &Plan, step: usize, source: StepError) -> LaunchError {
    match action(plan, step) {
        Some(Action::Process(ProcessStep::Workdir(path))) => {
            LaunchError::Workdir { path: path.clone(), source: source.errno }
        }
        Some(action) => LaunchError::Step { step, what: action.to_string(), source },
        None => LaunchError::Lost,
    }
}
