//! The sandbox process: pid 1 of the new namespaces until the payload is forked.
//!
//! Its life is a chain of consumed values, so that no other order compiles: [`Unmapped`] (no ids yet:
//! may only wait) → [`Mapped`] (has every capability of its user namespace; takes the plan's steps) →
//! [`Rooted`] (the host's tree is gone; forks) → `init::Init` and `payload::Prepared`.
//!
//! # Decisions
//! - The network namespace is not the clone's: it takes longer than all the others together, so a helper
//!   makes it while the tree is built ([`NetworkBeside`]). It is entered before the first step that needs it,
//!   and before the host's tree is gone. What fails there is told as the clone's failure. So it is with the interface
//!   of a netstack, and the settings beside it: but for it there is a process to be forked, so it is asked for as soon
//!   as it is there.

mod network;
mod steps;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, Uid};
use rustix::process::Pid;

use network::Network;
use steps::{exec_step, needs_network, net_steps};

use super::channel::Inside;
use super::joinable::Joinable;
use super::wire::{FromSandbox, Note, ToSandbox};
use super::{Host, LayerDirectories, enter, fuse, init, payload};
use crate::confine::capabilities;
use crate::plan::step::{Action, ConfineStep, FsStep, INIT, Namespaces, Plan, ProcessStep, Stage};
use crate::rootfs::{self, Builder};
use crate::spec::Capability;
use crate::sys::beside::NetworkBeside;
use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::errno::Errno;
use crate::sys::process::{self, Dumpable, exit_now};
use crate::sys::processors::Processors;
use crate::sys::pty::{Likeness, Master};
use crate::sys::signal::SignalNumber;
use crate::{limits, net};

/// The ends that the processes inside hold.
pub(super) struct Sockets {
    /// Pid 1's.
    pub(super) control: Inside,
    /// The payload's process's.
    pub(super) report: Inside,
}

/// A step that failed.
pub(super) struct Failed {
    /// Its index.
    pub(super) step: usize,
    /// Why.
    pub(super) errno: Errno,
    /// What the kernel said besides.
    pub(super) said: String,
}

impl Failed {
    pub(super) fn new(step: usize, errno: Errno) -> Self {
        Self { step, errno, said: String::new() }
    }

    /// As a message; a plan has far fewer steps than 2^16.
    pub(super) fn message(&self) -> FromSandbox {
        FromSandbox::Failed {
            step: u16::try_from(self.step).unwrap_or(u16::MAX),
            errno: self.errno.raw(),
            note: Note::new(self.said.as_bytes()),
        }
    }
}

/// Runs the sandbox process to its end.
pub(super) fn run(
    plan: &Plan,
    host: &Host<'_>,
    payload: payload::Prepared<'_>,
    sockets: Sockets,
    processors: Processors,
) -> ! {
    if let Err(failed) = prepare() {
        give_up(&failed, &sockets.control);
    }
    let Some(mapped) = Unmapped(&sockets).wait(plan, processors) else { exit_now(1) };
    let rooted = match mapped.build(plan, host).and_then(|rooted| rooted.verify(plan)) {
        Ok(rooted) => rooted,
        Err(failed) => give_up(&failed, &sockets.control),
    };
    // None when the launcher is gone, or could not write the record.
    match sockets.control.order() {
        Ok(Some(ToSandbox::Recorded)) => rooted.fork((plan, host), payload, sockets, processors),
        Ok(_) | Err(_) => exit_now(1),
    }
}

/// Runs the process that enters a sandbox: like pid 1 of one, but nothing is made.
pub(super) fn run_entry(
    plan: &Plan,
    host: &Host<'_>,
    payload: payload::Prepared<'_>,
    sockets: Sockets,
    (namespaces, terminal): (&Joinable, Option<&Likeness>),
) -> ! {
    let built = prepare().and_then(|()| {
        Mapped { sockets: &sockets, namespaces: Some(namespaces), network: Network::Kept, terminal }
            .build(plan, host)
    });
    match built {
        Ok(rooted) => rooted.fork((plan, host), payload, sockets, Processors::all()),
        Err(failed) => give_up(&failed, &sockets.control),
    }
}

/// When the launcher is gone there is nobody to tell, and the exit is all there is.
fn give_up(failed: &Failed, control: &Inside) -> ! {
    let told = control.tell(&failed.message(), None);
    exit_now(u8::from(told.is_err()) + 1)
}

/// What needs no ids, nor any step before it.
fn prepare() -> Result<(), Failed> {
    let failed = |errno| Failed::new(0, errno);
    process::set_parent_death_signal(Some(SignalNumber::KILL)).map_err(failed)?;
    // Pid 1 would show the payload bryo's own command line.
    process::irrevocably_replace_arguments(INIT).map_err(failed)?;
    process::set_name(INIT).map_err(failed)?;
    // The modes of the plan hold; the payload gets a mask of its own.
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// Without ids: every capability, but nothing belongs to it yet.
struct Unmapped<'a>(&'a Sockets);

impl<'a> Unmapped<'a> {
    /// Waits for the id maps; none when the launcher is gone or says anything else.
    fn wait(self, plan: &Plan, processors: Processors) -> Option<Mapped<'a>> {
        match self.0.control.order() {
            Ok(Some(ToSandbox::Go)) => Some(Mapped::with_own_network(self.0, plan, processors)),
            Ok(_) | Err(_) => None,
        }
    }
}

/// With ids: takes the steps.
struct Mapped<'a> {
    sockets: &'a Sockets,
    /// Those of a sandbox that runs, for an entry.
    namespaces: Option<&'a Joinable>,
    network: Network,
    /// What the pty of an entry is to be like.
    terminal: Option<&'a Likeness>,
}

impl<'a> Mapped<'a> {
    /// In the namespaces of the plan's clone. The helper begins now and not earlier: where it has no processor
    /// of its own it would be in the way of whoever waits for the maps.
    fn with_own_network(sockets: &'a Sockets, plan: &Plan, processors: Processors) -> Self {
        let is_new =
            |action: &Action| matches!(action, Action::Clone(Namespaces { net: true, .. }));
        let is_new = plan.of(Stage::Launch).any(|(_, action)| is_new(action));
        let network = if is_new && !enter::is_attached(plan) {
            // What there is to say about it, its step says.
            let uplink = net::uplink(net_steps(plan).map(|(_, step)| step)).unwrap_or(None);
            Network::Made(NetworkBeside::begin(&processors, uplink))
        } else {
            Network::Kept
        };
        Self { sockets, namespaces: None, network, terminal: None }
    }

    fn build(mut self, plan: &Plan, host: &Host<'_>) -> Result<Rooted, Failed> {
        let mut tree: Builder<'_, LayerDirectories> = Builder::new(host.layers);
        let mut slave = None;
        for (step, action) in plan.of(Stage::Sandbox) {
            let failed = |errno| Failed::new(step, errno);
            if self.network.makes(action) {
                continue;
            }
            if needs_network(action) || self.network.is_wanted() {
                self.enter_network(plan)?;
            }
            match action {
                Action::Fs(fs) => self.take_tree(plan, (step, fs), &mut tree)?,
                Action::Net(net) => {
                    self.connect(step, *net).map_err(failed)?;
                }
                Action::Limit(limit) => limits::apply(limit).map_err(failed)?,
                Action::Process(process) => {
                    slave = slave.or(self.take(process, host).map_err(failed)?);
                }
                Action::Store(_)
                | Action::Group(_)
                | Action::Enter(_)
                | Action::Publish(_)
                | Action::Clone(_)
                | Action::Ids(_)
                | Action::Confine(_)
                | Action::Netstack(_)
                | Action::Watch(_) => {
                    return Err(failed(Errno::EINVAL));
                }
            }
        }
        self.enter_network(plan)?;
        let network = match self.network {
            Network::Entered { namespace, .. } => namespace,
            Network::Kept | Network::Made(_) => None,
        };
        Ok(Rooted { slave, network, enters: self.namespaces.is_some() })
    }

    /// Takes a step on the tree, and sends away what belongs outside.
    fn take_tree(
        &self,
        plan: &Plan,
        (step, fs): (usize, &FsStep),
        tree: &mut Builder<'_, LayerDirectories>,
    ) -> Result<(), Failed> {
        let failed = |errno| Failed::new(step, errno);
        let wanted = tree.take(fs).map_err(|failure| Failed {
            step,
            errno: failure.errno,
            said: failure.said,
        })?;
        if let Some(socket) = tree.take_socket() {
            self.tell(&FromSandbox::Notify, Some(socket.as_fd())).map_err(failed)?;
        }
        if let (FsStep::Hold { .. }, held) = (fs, tree.held()) {
            self.tell(&FromSandbox::Held, held).map_err(failed)?;
        }
        match wanted {
            Some(wanted) => {
                fuse::want_server(plan, step, wanted, &self.sockets.control).map_err(failed)
            }
            None => Ok(()),
        }
    }

    fn tell(&self, message: &FromSandbox, with: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        self.sockets.control.tell(message, with)
    }

    fn take(&self, step: &ProcessStep, host: &Host<'_>) -> Result<Option<OwnedFd>, Errno> {
        match step {
            ProcessStep::Undumpable => process::set_dumpable(Dumpable::No)?,
            ProcessStep::JoinNamespaces => self.namespaces.ok_or(Errno::EINVAL)?.join()?,
            ProcessStep::CgroupNamespace => clone::unshare(CloneFlags::NEW_CGROUP)?,
            ProcessStep::Hostname(name) => nix::unistd::sethostname(name)?,
            ProcessStep::TakeIds { uid, gid, drop_groups } => {
                process::take_ids(Uid::from_raw(*uid), Gid::from_raw(*gid), *drop_groups)?;
            }
            ProcessStep::Session { pty } => {
                rustix::process::setsid()?;
                if *pty {
                    return self.open_pty(host).map(Some);
                }
            }
            ProcessStep::ProcessGroup { .. }
            | ProcessStep::EndWithParent
            | ProcessStep::Stdio { .. }
            | ProcessStep::CloseDescriptors { .. }
            | ProcessStep::Umask(_)
            | ProcessStep::Workdir(_)
            | ProcessStep::OwnNumber(_)
            | ProcessStep::Exec { .. }
            | ProcessStep::Errand(_) => return Err(Errno::EINVAL),
        }
        Ok(None)
    }

    /// Opens a pty of the sandbox's own devpts, makes it the session's terminal, and sends the master
    /// away: nothing inside ever holds it.
    fn open_pty(&self, host: &Host<'_>) -> Result<OwnedFd, Errno> {
        let devpts = crate::sys::open::open_host("/dev/pts")?;
        let master = Master::open(devpts)?;
        let slave = master.open_slave()?;
        if let Some(terminal) = self.terminal.or(host.terminal.as_ref()) {
            terminal.give(&slave)?;
        }
        rustix::process::ioctl_tiocsctty(&slave)?;
        self.sockets.control.tell(&FromSandbox::Pty, Some(master.as_fd()))?;
        Ok(slave)
    }
}

/// The host's tree is gone.
struct Rooted {
    /// The pty's other end.
    slave: Option<OwnedFd>,
    /// The network namespace, if it is a new one.
    network: Option<OwnedFd>,
    /// It is somebody else's sandbox.
    enters: bool,
}

impl Rooted {
    /// Looks at the tree that was built.
    fn verify(self, plan: &Plan) -> Result<Self, Failed> {
        let last = plan.of(Stage::Sandbox).last().map_or(0, |(step, _)| step);
        rootfs::verify(plan).map_err(|failure| Failed {
            step: last,
            errno: failure.errno,
            said: failure.said,
        })?;
        Ok(self)
    }

    /// Forks the payload's process; this one goes on as init.
    fn fork(
        self,
        (plan, host): (&Plan, &Host<'_>),
        payload: payload::Prepared<'_>,
        sockets: Sockets,
        processors: Processors,
    ) -> ! {
        let Sockets { control, report } = sockets;
        // Before the fork, so that neither has to drop each of them: their own steps verify, and drop what is left.
        if let Some((step, keep)) = kept(plan)
            && let Err(failure) = capabilities::irrevocably_drop_bounding(keep)
        {
            let failed = Failed { step, errno: failure.errno, said: failure.said };
            give_up(&failed, &control);
        }
        // Who made the network beside had the first number after pid 1's.
        let forked = match &self.network {
            Some(_) => clone::fork_as(PAYLOAD),
            None => clone::fork(),
        };
        match forked {
            Ok(Cloned::Child) => {
                drop(control);
                payload.run(self.slave.as_ref().map(AsFd::as_fd), &report)
            }
            Ok(Cloned::Parent { pid, pidfd }) => {
                drop((report, payload, pidfd));
                // It has more to do.
                processors.leave();
                let network = self.network.as_ref().map(AsFd::as_fd);
                let told = control.tell(&FromSandbox::Rooted, network);
                drop(self.network);
                let init = init::Init::new(pid, control, self.slave);
                match told {
                    Ok(()) => init.run(plan, host),
                    Err(_) => init.abandon(1),
                }
            }
            // So it is where the pid namespace has lost its init: nobody hears of a start that there is not.
            Err(Errno::ENOMEM) if self.enters => exit_now(1),
            Err(errno) => {
                let told = control.tell(&Failed::new(exec_step(plan), errno).message(), None);
                exit_now(u8::from(told.is_err()) + 1)
            }
        }
    }
}

/// The capabilities that the payload keeps, and the step that says so; init keeps none.
fn kept(plan: &Plan) -> Option<(usize, &[Capability])> {
    plan.of(Stage::Payload).find_map(|(step, action)| match action {
        Action::Confine(ConfineStep::Capabilities { keep }) => Some((step, keep.as_slice())),
        _ => None,
    })
}

/// The number of the payload's process.
const PAYLOAD: PayloadPid = match Pid::from_raw(2) {
    Some(pid) => pid,
    None => Pid::INIT,
};

/// The payload's process, as its init numbers it.
pub(super) type PayloadPid = Pid;
