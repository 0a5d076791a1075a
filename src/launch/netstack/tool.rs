//! A program of others in the netstack's place: `pasta`, `slirp4netns`.
//!
//! # Theory of operation
//!
//! ```text
//! sandbox                        launcher                     the program
//!    │ ── Link, its namespaces ───▶ │ ─────────fork───────────▶ │ joins the user namespace
//!    │ goes on building             │                           │ own mounts: libraries, the network namespace
//!    │                              │                           │ capabilities, no_new_privs, parent's death
//!    │                              │                           │ exec; makes the interface, confines itself
//!    │                              │ ◀────── a few bytes ───── │ when it is ready
//!    │                              │ closes what it leaves open
//!    ▼                              ▼
//!  payload                      supervisor ──────SIGKILL──────▶
//! ```
//!
//! The payload is forked when it is ready: before, there is no interface, and names would fail.
//!
//! Its network namespace stays the host's, where its sockets have to be; that of the sandbox is a file of its root, beside
//! libraries, the program, `/dev/net/tun`, `/dev/null` and its own `/proc`. Like the server of an overlay it is in the sandbox's
//! user namespace, for the capabilities to make an interface there, and outside its pid namespace, where no
//! payload can name it.
//!
//! *Death.* It is killed when the payload has ended: neither program has a way to be told that what was sent last should
//! leave first, so a byte that its kernel still held is lost then. When the launcher dies, so does it, by the signal it asked
//! for; `slirp4netns` besides by the end of a pipe. When it dies first, nothing goes in or out any more, and the end of the
//! run tells.
//!
//! # Decisions
//! - No Landlock and no filter of ours: both programs mount and filter for themselves, and nothing mounts below Landlock.
//!
//! # Not here
//! Its arguments, and what it is not asked for (`plan`).

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::within::act;
use super::{End, Netstack};
use crate::launch::channel::Inside;
use crate::launch::fuse::confinement::give_up;
use crate::launch::fuse::root::Root;
use crate::launch::fuse::server::{Failed, Outcome, cannot};
use crate::launch::launcher::step_failed;
use crate::launch::wire::FromSandbox;
use crate::launch::{LaunchError, StepError};
use crate::net::interface;
use crate::plan::step::{Action, NetstackStep, Plan, Stage};
use crate::spec::HostPath;
use crate::spec::net::Tool;
use crate::spec::text::escape;
use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::errno::{Errno, Result};
use crate::sys::process::{self, ExecImage, exit_now};
use crate::sys::resource::Resource;
use crate::sys::signal;
use crate::sys::{open, pidfd};

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one that failed is waited for, to know why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most bytes of what it said that are told.
const SAID: usize = 512;

/// What is said without anything being wrong.
const EXPECTED: [&str; 2] = ["tapfd=", "to syslog"];

/// Bytes of address space; its buffers are bounded far below.
const MEMORY: u64 = 4 << 30;

/// What it needs in the sandbox's user namespace: to mount and to enter the network namespace, to make the interface there,
/// and to give up the rest. `slirp4netns` insists on the last, which means nothing for ports of the host.
const KEPT: [&str; 4] = ["SYS_ADMIN", "NET_ADMIN", "SETPCAP", "NET_BIND_SERVICE"];

/// What stands in its root as it is.
const DEVICES: [&str; 2] = ["/dev/net/tun", "/dev/null"];

/// Directories over which `slirp4netns` mounts.
const EMPTY: [&str; 3] = ["/etc", "/run", "/tmp"];

/// The program that a plan wants.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    tool: Tool,
    program: &'a HostPath,
    arguments: &'a [String],
}

/// None where the netstack is our own.
pub(super) fn wanted(plan: &Plan) -> Option<Wanted<'_>> {
    plan.of(Stage::Netstack).find_map(|(_, action)| match action {
        Action::Netstack(NetstackStep::Tool { tool, program, arguments }) => {
            Some(Wanted { tool: *tool, program, arguments })
        }
        _ => None,
    })
}

/// One that was started.
#[derive(Debug)]
pub(super) struct Started {
    tool: Tool,
    /// When it has to be ready.
    until: Instant,
    /// Where it makes the interface: the user and the network namespace.
    place: [OwnedFd; 2],
    /// Held open while it is to live.
    _alive: OwnedFd,
}

/// Sends the namespaces of the calling process, which are the sandbox's own, to the launcher.
pub(in crate::launch) fn hand_over(step: u16, control: &Inside) -> Result<()> {
    let namespace = |name: &str| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(format!("/proc/self/ns/{name}"), flags, Mode::empty())
    };
    let (user, net) = (namespace("user")?, namespace("net")?);
    control.tell_with(&FromSandbox::Link { step }, &[user.as_fd(), net.as_fd()])
}

/// Its descriptors.
struct Order<'a> {
    wanted: Wanted<'a>,
    place: [OwnedFd; 2],
    /// Where it says that it is ready.
    ready: OwnedFd,
    /// Where it says what is wrong.
    words: OwnedFd,
    /// At its end of file it has to end.
    exit: OwnedFd,
    launcher: Pid,
}

/// Starts it, for the namespaces that the sandbox process sent.
pub(super) fn start(
    wanted: Wanted<'_>,
    fds: Vec<OwnedFd>,
) -> std::result::Result<Netstack, LaunchError> {
    let place = <[OwnedFd; 2]>::try_from(fds).map_err(|_| LaunchError::Lost)?;
    let pipe = |flags| {
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC | flags)
            .map_err(|errno| LaunchError::Connect(errno.into()))
    };
    let (is_ready, ready) = pipe(PipeFlags::empty())?;
    // A talkative program loses words instead of stopping.
    let (told, words) = pipe(PipeFlags::NONBLOCK)?;
    let (exit, alive) = pipe(PipeFlags::empty())?;
    let launcher = rustix::process::getpid();
    match clone::fork().map_err(LaunchError::Connect)? {
        Cloned::Child => run(&Order { wanted, place, ready, words, exit, launcher }),
        Cloned::Parent { pid, pidfd } => {
            let until = Instant::now() + PATIENCE;
            let tool = Some(Started { tool: wanted.tool, until, place, _alive: alive });
            Ok(Netstack { pid, pidfd, control: is_ready, told, tool })
        }
    }
}

impl Started {
    pub(super) fn patience(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// That it is ready; an error when it ended, or has taken too long.
    pub(super) fn hear(&self, process: &Netstack) -> std::result::Result<(), LaunchError> {
        let is_late = self.patience().is_zero();
        let heard = || rustix::io::read(&process.control, &mut [0; 64]);
        if !is_late && matches!(rustix::io::retry_on_intr(heard), Ok(1..)) {
            return Ok(());
        }
        let said = if is_late { "nothing for 30 seconds".to_owned() } else { last_words(process) };
        Err(LaunchError::Tool { program: self.tool.name().into(), said: said.into() })
    }

    /// Takes the steps that come when it is ready.
    pub(super) fn complete(&self, plan: &Plan) -> std::result::Result<(), LaunchError> {
        plan.of(Stage::Netstack).try_for_each(|(step, action)| match action {
            Action::Netstack(NetstackStep::KeepLoopback(interface)) => {
                let kept = interface.as_os_str().to_str().ok_or(Errno::EINVAL);
                let [user, net] = self.place.each_ref().map(AsFd::as_fd);
                kept.and_then(|name| act((user, net), || interface::keep_loopback(name))).map_err(
                    |errno| step_failed(plan, step, StepError { errno, said: String::new() }),
                )
            }
            _ => Ok(()),
        })
    }
}

/// What it said, its lines joined, but for those of a start that goes well.
fn last_words(process: &Netstack) -> String {
    // All is said when it has ended; what it says until then is enough.
    pidfd::has_ended(&process.pidfd, LAST_WORDS).unwrap_or_default();
    let mut bytes = [0; SAID];
    let length = rustix::io::read(&process.told, &mut bytes).unwrap_or_default();
    let said = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    let tells =
        |line: &&str| !line.is_empty() && !EXPECTED.iter().any(|known| line.contains(known));
    let lines: Vec<String> = said.lines().filter(tells).map(escape).collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") }
}

/// Ends it. Of one that was killed the interface goes, and with it may go the payload, before the process does.
pub(super) fn end(process: Netstack) -> Result<End> {
    let ended = match pidfd::try_wait(&process.pidfd)? {
        None if is_ending(process.pid) => Some(pidfd::wait(&process.pidfd)?),
        other => other,
    };
    match ended {
        Some(exit) => Ok(End::Lost(exit)),
        None => process.kill().map(|()| End::Complete),
    }
}

/// Whether a child has begun to end: `PF_EXITING` among the flags in `/proc/PID/stat`, behind the name, which may
/// hold anything.
fn is_ending(child: Pid) -> bool {
    const PF_EXITING: u32 = 4;
    let path = format!("/proc/{}/stat", child.as_raw_nonzero());
    let stat = open::read_whole(&path, 512).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse().ok());
    flags.is_some_and(|flags: u32| flags & PF_EXITING != 0)
}

/// Becomes the program.
fn run(order: &Order<'_>) -> ! {
    let failed = leave_launcher(order)
        .and_then(|()| build_root(order))
        .and_then(|()| confine(order))
        .and_then(|()| execute(order))
        .map_or_else(|failed| failed, |never| match never {});
    let said = format!("cannot {}: {}\n", failed.0, failed.1);
    // A pipe that nobody reads any more: the exit is all there is.
    let written = rustix::io::write(&order.words, said.as_bytes());
    exit_now(if written.is_ok() { 1 } else { 2 })
}

/// Keeps nothing of the launcher: descriptors, terminal, signals.
fn leave_launcher(order: &Order<'_>) -> Outcome {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = cannot("open /dev/null", rustix::fs::open("/dev/null", flags, Mode::empty()))?;
    cannot("replace standard input", rustix::stdio::dup2_stdin(&null))?;
    // `pasta` says there that it is ready.
    let output = match order.wanted.tool {
        Tool::Pasta => &order.ready,
        Tool::Slirp4netns => &null,
    };
    cannot("replace standard output", rustix::stdio::dup2_stdout(output))?;
    cannot("replace standard error", rustix::stdio::dup2_stderr(&order.words))?;
    let [user, net] = &order.place;
    let keep = [user, net, &order.ready, &order.words, &order.exit].map(AsFd::as_fd);
    cannot("close descriptors", process::irrevocably_close_from(3, &keep))?;
    std::mem::forget(null);
    // Keys typed at the terminal are for the payload.
    cannot("make a session", rustix::process::setsid())?;
    cannot("reset signals", signal::reset_all())
}

/// Sees what it needs alone, in the sandbox's user namespace.
fn build_root(order: &Order<'_>) -> Outcome {
    cannot("join the user namespace", clone::setns(&order.place[0], CloneFlags::NEW_USER))?;
    cannot("make a mount namespace", clone::unshare(CloneFlags::NEW_MOUNT))?;
    let devices = DEVICES.map(open::open_host);
    let root = Root::mount()?;
    root.put_libraries()?;
    root.put_program(order.wanted.program.as_path())?;
    for (path, device) in DEVICES.iter().zip(devices) {
        root.put_open(&cannot("open a device", device)?, Path::new(path))?;
    }
    for path in EMPTY {
        root.put_directory(Path::new(path))?;
    }
    root.put_open(&order.place[1], Path::new(crate::plan::NAMESPACE))?;
    root.put_proc()?;
    root.enter()
}

fn confine(order: &Order<'_>) -> Outcome {
    give_up(&[(Resource::AddressSpace, MEMORY), (Resource::Core, 0)], &KEPT, order.launcher)
}

fn execute(order: &Order<'_>) -> Outcome<Infallible> {
    let wanted = order.wanted;
    let said = match wanted.tool {
        // Later versions close what is above 2, so it is standard output.
        Tool::Pasta => vec!["--pid".to_owned(), "/proc/self/fd/1".to_owned()],
        Tool::Slirp4netns => {
            for fd in [&order.ready, &order.exit] {
                let number = u32::try_from(fd.as_raw_fd()).map_err(|_| Errno::EBADF);
                cannot("keep a descriptor", number.and_then(process::keep_on_exec))?;
            }
            let (ready, exit) = (order.ready.as_raw_fd(), order.exit.as_raw_fd());
            vec![format!("--ready-fd={ready}"), format!("--exit-fd={exit}")]
        }
    };
    // Options first: then comes where the network namespace is.
    let name = wanted.tool.name().to_owned();
    let words = std::iter::once(name).chain(said).chain(wanted.arguments.iter().cloned());
    let words = words.map(CString::new).collect::<std::result::Result<Vec<_>, _>>();
    let words = cannot("name its arguments", words.map_err(|_| Errno::EINVAL))?;
    let program = CString::new(wanted.program.as_path().as_os_str().as_bytes());
    let program = cannot("name the program", program.map_err(|_| Errno::EINVAL))?;
    let image = ExecImage::new(words, Vec::new());
    Err(Failed("execute the program", image.exec_path(&program).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::alone;

    #[test]
    fn a_process_that_is_ending_is_known() {
        alone(module_path!(), "a_process_that_is_ending_is_known", || {
            let Cloned::Parent { pid, pidfd } = clone::fork().unwrap() else {
                // A name that looks like the end of itself.
                process::set_name(c"x) R 1 2 3 4 5").unwrap();
                std::thread::sleep(PATIENCE);
                exit_now(0)
            };
            assert!(!is_ending(pid));
            rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).unwrap();
            // Readable is a child that has ended, and is not reaped.
            assert!(pidfd::has_ended(&pidfd, PATIENCE).unwrap());
            assert!(is_ending(pid));
            pidfd::wait(&pidfd).unwrap();
            assert!(!is_ending(pid));
        });
    }
}
