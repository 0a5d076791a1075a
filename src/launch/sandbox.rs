//! The sandbox process: pid 1 of the new namespaces until the payload is forked.
//!
//! Its life is a chain of consumed values, so that no other order compiles: [`Unmapped`] (no ids yet:
//! may only wait) → [`Mapped`] (has every capability of its user namespace; takes the plan's steps) →
//! [`Rooted`] (the host's tree is gone; forks) → `init::Init` and `payload::Prepared`.

use std::os::fd::AsFd;

use rustix::process::Pid;

use super::channel::Inside;
use super::joinable::Joinable;
use super::wire::{FromSandbox, Note, ToSandbox};
use super::{Host, LayerDirectories, fuse, init, payload};
use crate::plan::step::{Action, NetStep, Plan, ProcessStep, Stage};
use crate::rootfs::{self, Builder};
use crate::sys::clone::{self, Cloned};
use crate::sys::errno::Errno;
use crate::sys::process::{self, Dumpable, exit_now};
use crate::sys::pty::Master;
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
) -> ! {
    let Some(mapped) = Unmapped(&sockets).wait() else { exit_now(1) };
    let rooted = match mapped.build(plan, host).and_then(|rooted| rooted.verify(plan, &sockets)) {
        Ok(rooted) => rooted,
        Err(failed) => give_up(&failed, &sockets.control),
    };
    // None when the launcher is gone, or could not write the record.
    match sockets.control.order() {
        Ok(Some(ToSandbox::Recorded)) => rooted.fork(plan, host, payload, sockets),
        Ok(_) | Err(_) => exit_now(1),
    }
}

/// Runs the process that enters a sandbox: like pid 1 of one, but nothing is made.
pub(super) fn run_entry(
    plan: &Plan,
    host: &Host<'_>,
    payload: payload::Prepared<'_>,
    sockets: Sockets,
    namespaces: &Joinable,
) -> ! {
    match (Mapped { sockets: &sockets, namespaces: Some(namespaces) }).build(plan, host) {
        Ok(rooted) => rooted.fork(plan, host, payload, sockets),
        Err(failed) => give_up(&failed, &sockets.control),
    }
}

/// When the launcher is gone there is nobody to tell, and the exit is all there is.
fn give_up(failed: &Failed, control: &Inside) -> ! {
    let told = control.tell(&failed.message(), None);
    exit_now(u8::from(told.is_err()) + 1)
}

/// Without ids: every capability, but nothing belongs to it yet.
struct Unmapped<'a>(&'a Sockets);

impl<'a> Unmapped<'a> {
    /// Waits for the id maps; none when the launcher is gone or says anything else.
    fn wait(self) -> Option<Mapped<'a>> {
        match self.0.control.order() {
            Ok(Some(ToSandbox::Go)) => Some(Mapped { sockets: self.0, namespaces: None }),
            Ok(_) | Err(_) => None,
        }
    }
}

/// With ids: takes the steps.
struct Mapped<'a> {
    sockets: &'a Sockets,
    /// Those of a sandbox that runs, for an entry.
    namespaces: Option<&'a Joinable>,
}

impl Mapped<'_> {
    fn build(self, plan: &Plan, host: &Host<'_>) -> Result<Rooted, Failed> {
        process::set_parent_death_signal(Some(SignalNumber::KILL))
            .map_err(|errno| Failed::new(0, errno))?;
        // Pid 1 would show the payload bryo's own command line.
        process::irrevocably_clear_arguments().map_err(|errno| Failed::new(0, errno))?;
        // The modes of the plan hold; the payload gets a mask of its own.
        rustix::process::umask(rustix::fs::Mode::empty());
        let mut tree: Builder<'_, LayerDirectories> = Builder::new(host.layers);
        let mut slave = None;
        for (step, action) in plan.of(Stage::Sandbox) {
            let failed = |errno| Failed::new(step, errno);
            match action {
                Action::Fs(fs) => {
                    let wanted = tree.take(fs).map_err(|failure| Failed {
                        step,
                        errno: failure.errno,
                        said: failure.said,
                    })?;
                    if let Some(wanted) = wanted {
                        fuse::want_server(plan, step, wanted, &self.sockets.control)
                            .map_err(failed)?;
                    }
                }
                Action::Net(net) => {
                    self.connect(step, *net).map_err(failed)?;
                }
                Action::Limit(limit) => limits::apply(limit).map_err(failed)?,
                Action::Process(process) => {
                    slave = slave.or(self.take(process, host).map_err(failed)?);
                }
                Action::Store(_)
                | Action::Enter(_)
                | Action::Clone(_)
                | Action::Ids(_)
                | Action::Confine(_)
                | Action::Netstack(_)
                | Action::Watch(_) => {
                    return Err(failed(Errno::EINVAL));
                }
            }
        }
        Ok(Rooted { slave })
    }

    /// Takes a step on the network, and sends the netstack's end of the interface away: nothing inside ever holds it.
    fn connect(&self, number: usize, step: NetStep) -> Result<(), Errno> {
        let Some(link) = net::apply(step)? else { return Ok(()) };
        let step = u16::try_from(number).map_err(|_| Errno::EOVERFLOW)?;
        self.sockets.control.tell(&FromSandbox::Link { step }, Some(link.as_fd()))
    }

    fn take(
        &self,
        step: &ProcessStep,
        host: &Host<'_>,
    ) -> Result<Option<std::os::fd::OwnedFd>, Errno> {
        match step {
            ProcessStep::Undumpable => process::set_dumpable(Dumpable::No)?,
            ProcessStep::JoinNamespaces => self.namespaces.ok_or(Errno::EINVAL)?.join()?,
            ProcessStep::Hostname(name) => nix::unistd::sethostname(name)?,
            ProcessStep::TakeIds { uid, gid, drop_groups } => take_ids(*uid, *gid, *drop_groups)?,
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
            | ProcessStep::Exec { .. } => return Err(Errno::EINVAL),
        }
        Ok(None)
    }

    /// Opens a pty of the sandbox's own devpts, makes it the session's terminal, and sends the master
    /// away: nothing inside ever holds it.
    fn open_pty(&self, host: &Host<'_>) -> Result<std::os::fd::OwnedFd, Errno> {
        let devpts = crate::sys::open::open_host("/dev/pts")?;
        let master = Master::open(devpts)?;
        let slave = master.open_slave()?;
        if let Some(terminal) = &host.terminal {
            terminal.give(&slave)?;
        }
        rustix::process::ioctl_tiocsctty(&slave)?;
        self.sockets.control.tell(&FromSandbox::Pty, Some(master.as_fd()))?;
        Ok(slave)
    }
}

fn take_ids(uid: u32, gid: u32, drop_groups: bool) -> Result<(), Errno> {
    if drop_groups {
        process::set_groups(&[])?;
    }
    process::set_gids(rustix::fs::Gid::from_raw(gid))?;
    process::set_uids(rustix::fs::Uid::from_raw(uid))
}

/// The host's tree is gone.
struct Rooted {
    /// The pty's other end.
    slave: Option<std::os::fd::OwnedFd>,
}

impl Rooted {
    /// Looks at the tree that was built, and tells that it stands.
    fn verify(self, plan: &Plan, sockets: &Sockets) -> Result<Self, Failed> {
        let last = plan.of(Stage::Sandbox).last().map_or(0, |(step, _)| step);
        rootfs::verify(plan).map_err(|failure| Failed {
            step: last,
            errno: failure.errno,
            said: failure.said,
        })?;
        sockets
            .control
            .tell(&FromSandbox::Rooted, None)
            .map_err(|errno| Failed::new(last, errno))?;
        Ok(self)
    }

    /// Forks the payload's process; this one goes on as init.
    fn fork(
        self,
        plan: &Plan,
        host: &Host<'_>,
        payload: payload::Prepared<'_>,
        sockets: Sockets,
    ) -> ! {
        let Sockets { control, report } = sockets;
        match clone::fork() {
            Ok(Cloned::Child) => {
                drop(control);
                payload.run(self.slave.as_ref().map(AsFd::as_fd), &report)
            }
            Ok(Cloned::Parent { pid, pidfd }) => {
                drop((report, payload, pidfd));
                init::Init::new(pid, control, self.slave).run(plan, host)
            }
            Err(errno) => {
                let told = control.tell(&Failed::new(exec_step(plan), errno).message(), None);
                exit_now(u8::from(told.is_err()) + 1)
            }
        }
    }
}

/// A fork that fails is told as the exec that it was for.
fn exec_step(plan: &Plan) -> usize {
    plan.of(Stage::Payload).last().map_or(0, |(step, _)| step)
}

/// The payload's process, as its init numbers it.
pub(super) type PayloadPid = Pid;
