//! What runs in the netstack's process: leaving the launcher, confinement, the engine.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::orders::{Order, teller};
use crate::confine::{Failure, capabilities, landlock};
use crate::launch::channel::Inside;
use crate::launch::holder::receive;
use crate::launch::sandbox::Failed;
use crate::launch::wire::FromSandbox;
use crate::net::egress::Gate;
use crate::net::user::Inside as InsideAddresses;
use crate::net::user::capture::Capture;
use crate::net::user::dial::Host;
use crate::net::user::engine::{Engine, Most, Order as Say};
use crate::net::user::link::{Gateway, Large, Link};
use crate::net::user::names::Named;
use crate::net::user::published::{Faces, Published};
use crate::plan::step::{
    Action, ConfineStep, Link as LinkPlan, NetStep, NetstackStep, Network6, Plan, Stage,
};
use crate::plan::traffic::Traffic;
use crate::spec::net::Prefix;
use crate::sys::errno::{Errno, Result};
use crate::sys::process::{self, Dumpable, exit_now};
use crate::sys::resource::{self, Resource};
use crate::sys::seccomp::{self, Instruction};
use crate::sys::signal::{self, SignalNumber};
use crate::sys::tun;

/// What the launcher gives along.
pub(super) struct Start<'a> {
    pub(super) plan: &'a Plan,
    /// The end of the interface.
    pub(super) link: OwnedFd,
    /// To the launcher.
    pub(super) control: Inside,
    /// Where to tell what was refused.
    pub(super) told: OwnedFd,
    /// Ports that are open for the sandbox.
    pub(super) published: Vec<Published>,
    /// The file of packets.
    pub(super) capture: Option<OwnedFd>,
    /// The filter of system calls.
    pub(super) filter: &'a [Instruction],
    /// Whose death is its own.
    pub(super) launcher: Pid,
}

/// Bytes of address space: its buffers are bounded far below.
const MEMORY: u64 = 1 << 30;

/// Descriptors, if the host lets us: each flow has one.
const DESCRIPTORS: u64 = 20_000;

/// Those that are not of flows.
const RESERVED: u64 = 32;

/// Runs the netstack to its end.
pub(super) fn run(order: Start<'_>) -> ! {
    let Start { plan, link, control, told, published, capture, filter, launcher } = order;
    let first = plan.of(Stage::Netstack).next().map_or(0, |(step, _)| step);
    let capture = capture.zip(served(plan).and_then(|egress| egress.capture.as_ref()));
    let written = capture.as_ref().map_or(0, |(_, capture)| capture.most);
    let mut keep = vec![link.as_fd(), control.as_fd(), told.as_fd()];
    keep.extend(published.iter().map(|published| published.socket.as_fd()));
    keep.extend(capture.iter().map(|(file, _)| file.as_fd()));
    let prepared = leave_launcher(&keep).and_then(|()| set_limits(written));
    let started = prepared
        .and_then(|bounds| {
            let capture = capture.map(|(file, _)| Capture::new(file, bounds.written));
            let link = open_link(plan, link, capture)?;
            let serving = engine(plan, link, published, &[], bounds.files, control.as_fd())?;
            serving.1.tell_with(teller(control.as_fd())?);
            Ok(serving)
        })
        .map_err(|errno| Failed::new(first, errno))
        .and_then(|engine| confine(plan, filter, Some(launcher)).map(|()| engine));
    let (mut engine, gate) = match started {
        Ok(engine) => engine,
        Err(failed) => {
            let told = control.tell(&failed.message(), None);
            exit_now(u8::from(told.is_err()) + 1)
        }
    };
    let ready = control.tell(&FromSandbox::Confined { listener: false }, None);
    let hear = |_| match receive::<Order>(&control) {
        Ok(Some((Order::Finish, None))) => Say::Finish,
        Ok(Some((Order::Servers(servers), None))) => {
            gate.servers_are(servers);
            Say::Go
        }
        // It is gone, or says something that means nothing.
        Ok(_) | Err(_) => Say::Stop,
    };
    let ran = ready.and_then(|()| engine.run(control.as_fd(), hear));
    let totals = Some(engine.totals());
    let traffic = Traffic { totals, not_captured: engine.not_captured(), ..gate.told(&[]) };
    match ran.and_then(|()| tell(&traffic, &told)) {
        Ok(()) => {
            // Where it fails, the end takes longer.
            tun::leave_to_namespace(engine.link()).unwrap_or(());
            exit_now(0)
        }
        Err(_) => exit_now(1),
    }
}

/// Tells what was refused and what went through, as JSON.
fn tell(traffic: &Traffic, told: &OwnedFd) -> Result<()> {
    let bytes = serde_json::to_vec(traffic).map_err(|_| Errno::EINVAL)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(told, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Keeps nothing of the launcher: descriptors, terminal, signals.
pub(super) fn leave_launcher(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    std::mem::forget(null);
    process::irrevocably_close_from(3, keep)?;
    // Keys typed at the terminal are for the payload.
    rustix::process::setsid()?;
    process::set_name(c"bryo-netstack")?;
    signal::reset_all()
}

/// What the limits leave.
pub(super) struct Bounds {
    /// Descriptors for flows.
    pub(super) files: u64,
    /// Bytes of a file; one more, and the kernel ends the process.
    written: u64,
}

/// Bounds memory, descriptors, and what is written to a file.
pub(super) fn set_limits(written: u64) -> Result<Bounds> {
    let old = resource::get_limit(None, Resource::OpenFiles)?;
    let files = old.hard.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    for (which, most) in [
        (Resource::OpenFiles, files),
        (Resource::AddressSpace, MEMORY),
        (Resource::Core, 0),
        (Resource::LockedMemory, 0),
        (Resource::FileSize, written),
    ] {
        resource::lower_limit(which, most)?;
    }
    let allowed = resource::get_limit(None, Resource::FileSize)?.soft;
    let written = allowed.map_or(written, |allowed| allowed.min(written));
    Ok(Bounds { files: files.saturating_sub(RESERVED), written })
}

pub(super) type Serving = (Engine<Named<Host>, Host>, Gate);

/// Where what does not get through is told from, and who cannot be shown.
fn sides(plan: &Plan) -> Result<(Gateway, Gateway)> {
    let at = link_plan(plan).ok_or(Errno::EINVAL)?;
    let none = Ipv6Addr::UNSPECIFIED;
    let side = |v4: Ipv4Addr, v6: fn(&Network6) -> Ipv6Addr| Gateway {
        v4: v4.into(),
        v6: at.v6.as_ref().map_or(none, v6).into(),
    };
    Ok((side(at.v4.gateway, |v6| v6.gateway), side(at.v4.stranger(), Network6::stranger)))
}

/// The link, and where its packets are written down.
pub(super) fn open_link(plan: &Plan, fd: OwnedFd, capture: Option<Capture>) -> Result<Link> {
    let mut link = Link::new(fd, sides(plan)?.0, large());
    if let Some(capture) = capture {
        link.capture(capture);
    }
    Ok(link)
}

pub(super) fn engine(
    plan: &Plan,
    link: Link,
    published: Vec<Published>,
    network: &[Prefix],
    files: u64,
    master: BorrowedFd<'_>,
) -> Result<Serving> {
    let (at, egress) = (link_plan(plan), served(plan));
    let (at, egress) = at.zip(egress).ok_or(Errno::EINVAL)?;
    let files = usize::try_from(files).map_err(|_| Errno::EOVERFLOW)?;
    let files = files.saturating_sub(published.len());
    // Most of them for connections; the rest for what has no end of its own.
    let datagrams = (files / 8).clamp(16, 2048);
    let streams = files.saturating_sub(datagrams);
    let most = Most { streams, dialling: streams.min(1024), datagrams };
    let (gateway, stranger) = sides(plan)?;
    let inside =
        InsideAddresses { v4: at.v4.own.into(), v6: at.v6.map(|v6| v6.own.into()), mtu: at.mtu };
    let mut secret = [0; 8];
    rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())?;
    let (named, gate) = super::gate::gate(egress, at, master)?;
    let secret = u64::from_ne_bytes(secret);
    let resolvers = at.resolvers().collect();
    let faces = Faces { inside, gateway, stranger, resolvers, network: network.to_vec() };
    let mut engine = Engine::new(link, inside, named, Host, most, secret)?;
    if let Some(rate) = egress.rate {
        engine.pace(rate);
    }
    engine.publish(faces, published)?;
    engine.also_from(network);
    Ok((engine, gate))
}

/// Whether the payload's kernel takes packets of several segments beyond 64 KiB: IPv4 since Linux 6.3.
fn large() -> Large {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (6, 3) => Large::Yes,
        _ => Large::No,
    }
}

fn link_plan(plan: &Plan) -> Option<LinkPlan> {
    plan.of(Stage::Sandbox).find_map(|(_, action)| match action {
        Action::Net(NetStep::Tun(link)) => Some(*link),
        _ => None,
    })
}

fn served(plan: &Plan) -> Option<&crate::spec::net::Egress> {
    plan.of(Stage::Netstack).find_map(|(_, action)| match action {
        Action::Netstack(NetstackStep::Serve(egress)) => Some(egress),
        _ => None,
    })
}

/// Takes the confining steps. Whose death is its own, if anybody's.
pub(super) fn confine(
    plan: &Plan,
    filter: &[Instruction],
    launcher: Option<Pid>,
) -> std::result::Result<(), Failed> {
    for (step, action) in plan.of(Stage::Netstack) {
        let failed = |errno| Failed::new(step, errno);
        match action {
            Action::Netstack(NetstackStep::Confine { landlock_abi }) => {
                give_up(*landlock_abi, launcher).map_err(|(errno, said)| Failed {
                    step,
                    errno,
                    said,
                })?;
            }
            Action::Confine(ConfineStep::Seccomp { .. }) => {
                seccomp::irrevocably_install_filter(filter).map_err(failed)?;
            }
            // That is what comes now.
            Action::Netstack(NetstackStep::Serve(_)) => {}
            _ => return Err(failed(Errno::EINVAL)),
        }
    }
    Ok(())
}

type Refused = (Errno, String);

fn give_up(landlock_abi: Option<u32>, launcher: Option<Pid>) -> std::result::Result<(), Refused> {
    let plain = |errno: Errno| (errno, String::new());
    let said = |failure: Failure| (failure.errno, failure.said);
    process::irrevocably_set_no_new_privs().map_err(plain)?;
    capabilities::irrevocably_drop_held().map_err(said)?;
    process::set_dumpable(Dumpable::No).map_err(plain)?;
    if launcher.is_some() {
        process::set_parent_death_signal(Some(SignalNumber::KILL)).map_err(plain)?;
        if rustix::process::getppid() != launcher {
            return Err(plain(Errno::ESRCH));
        }
    }
    landlock_abi
        .map_or(Ok(()), |abi| landlock::irrevocably_restrict_helper(abi, None))
        .map_err(said)
}
