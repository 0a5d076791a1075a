//! Starts a sandbox: the processes of one run and what they say to each other.
//!
//! # Theory of operation
//!
//! ```text
//! launcher ──clone3(all namespaces)──▶ sandbox (pid 1)
//!    │ writes id maps                  │
//!    │ ───────────── Go ─────────────▶ │ mounts, pivot, network, limits: the plan's order;
//!    │ writes the run's record         │ beside it a helper makes the network namespace
//!    │ ◀──────────── Pty ───────────── │
//!    │ ────────── Recorded ──────────▶ │
//!    │                                 │──fork──▶ payload's process
//!    │ ◀─── Rooted (+ network) ─────── ▼                │ session, descriptors, capabilities,
//!    │ ◀─────── InitReady ──────────  init              │ Landlock, seccomp
//!    │ ◀───────────── Confined (+ listener) ────────────┤
//!    │ ◀─────────────── end of file ────────────────────┤ exec
//!    ▼                                                  ▼
//! supervisor  ◀──── Stopped, Exited, Killed ── init   payload
//! ```
//!
//! Two `SOCK_SEQPACKET` pairs, both close-on-exec: *control* to pid 1, and *report* to the payload's
//! process, of which init drops its copy, so that its end of file means that the exec succeeded.
//!
//! Everything dies with the launcher: pid 1 asks for SIGKILL when its parent ends, and waits for
//! orders on a socket whose other end only the launcher holds; when pid 1 dies the kernel kills
//! everything in its pid namespace. Mounts, the network and limits belong to the namespaces. The
//! server of an overlay ([`fuse`]) and the netstack ([`netstack`]) have asked for the same signal as pid 1.
//!
//! The launcher must have one thread: the child is a copy that goes on running this program.
//!
//! # Not here
//! What the steps are (`plan`), how each is done (`rootfs`, `net`, `limits`, `confine`), and what
//! happens while the payload runs (`supervise`).

mod channel;
mod door;
mod enter;
pub mod entry;
pub mod fuse;
mod group;
pub mod holder;
mod ids;
mod init;
mod joinable;
mod launcher;
mod names;
pub mod netstack;
mod payload;
pub mod pipes;
mod sandbox;
#[cfg(test)]
mod tests;
pub mod wire;
mod within;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::limits::group::Group;
use crate::net::user::published::Published;
use crate::plan::step::{Action, IdKind, LayerNumber, Plan, ScratchLayer};
use crate::rootfs::Layers;
use crate::spec::{HostPath, Text};
use crate::sys::clone::ThreadsError;
use crate::sys::errno::Errno;
use crate::sys::pty::{Likeness, Master};
use crate::sys::seccomp::{Instruction, Listener};

pub use door::{Below, Door};
pub use enter::{configure_port, keep_sources};
pub use joinable::Joinable;
pub use launcher::launch;
pub use names::{Names, Said};
pub use within::within;

/// A sandbox whose payload is being executed, as the launcher hands it to the supervisor.
#[derive(Debug)]
pub struct Running {
    /// Readable when init, and so every process of the sandbox, has ended.
    pub pidfd: OwnedFd,
    /// To init: [`wire`] messages both ways.
    pub control: OwnedFd,
    /// Refused system calls, when the plan listens for them.
    pub listener: Option<Listener>,
    /// The pty's master, when the plan has one.
    pub pty: Option<Master>,
    /// What the payload has to say to the service manager, when the plan has a socket for it.
    pub notify: Option<OwnedFd>,
    /// Our ends of the pipes that stand in for descriptors 0 to 2.
    pub relays: Vec<Relay>,
    /// The fuse-overlayfs processes, each with its overlay. They end after the sandbox, by themselves;
    /// whoever holds this ends them with [`fuse::Server::end`].
    pub servers: Vec<fuse::Server>,
    /// What holds the layers, where the plan says so: to be brought into the store after everything has ended.
    pub held: Option<OwnedFd>,
    /// The netstack, where the plan has one; ended with [`netstack::Netstack::end`] after the servers.
    pub netstack: Option<netstack::Netstack>,
    /// For [`entry::enter`]; none where `/proc` would not give them.
    pub namespaces: Option<Joinable>,
    /// The control group, where the plan has one; ended with [`Group::remove`] after everything else.
    pub group: Option<Group>,
    /// What the processes reported as done.
    pub enforced: Enforced,
}

/// A pipe that stands in for one of descriptors 0 to 2 of the caller.
#[derive(Debug)]
pub struct Relay {
    /// Which: 0 is written to by us, 1 and 2 are read from.
    pub number: u8,
    /// Our end.
    pub end: OwnedFd,
}

/// What was carried out: made only from the reports of the processes that did it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enforced {
    steps: Vec<usize>,
    details: BTreeMap<usize, String>,
}

impl Enforced {
    /// The indices of the plan's steps that were done, ascending.
    pub fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// What was read back by a step, where there is more to say than that it was done.
    pub fn detail(&self, step: usize) -> Option<&str> {
        self.details.get(&step).map(String::as_str)
    }
}

/// What the launcher brings from the host besides the plan.
pub struct Host<'a> {
    /// The sandbox's id, after which its control group is called.
    pub id: &'a str,
    /// The directories of the layers.
    pub layers: &'a LayerDirectories,
    /// The payload's filter; none when the plan has none.
    pub payload_filter: Option<Vec<Instruction>>,
    /// Init's filter; none when the plan has none.
    pub init_filter: Option<Vec<Instruction>>,
    /// The filter of fuse-overlayfs; none when no overlay of the plan has a server.
    pub server_filter: Option<Vec<Instruction>>,
    /// The netstack's filter; none when the plan has none.
    pub netstack_filter: Option<Vec<Instruction>>,
    /// The file of `--pcap`, open and empty; none when the plan has none.
    pub capture: Option<&'a OwnedFd>,
    /// Where the clone is made; none when the plan makes it here.
    pub door: Option<&'a Door>,
    /// Ports that are open for the sandbox: for the netstack, which takes them.
    pub published: Cell<Vec<Published>>,
    /// Its place on a network; none when the plan has none.
    pub membership: Option<&'a holder::Membership>,
    /// What the pty takes over from the caller's terminal.
    pub terminal: Option<Likeness>,
}

/// `upper` and `work` of the layers, by number; and the masks that are kept.
#[derive(Debug, Default)]
pub struct LayerDirectories {
    layers: Vec<(HostPath, HostPath)>,
    masks: BTreeMap<ScratchLayer, HostPath>,
}

impl LayerDirectories {
    /// Adds the next layer's `upper` and `work`.
    pub fn push(&mut self, upper: HostPath, work: HostPath) {
        self.layers.push((upper, work));
    }

    /// Says where a scratch layer is kept.
    pub fn keep(&mut self, layer: ScratchLayer, at: HostPath) {
        self.masks.insert(layer, at);
    }
}

impl Layers for LayerDirectories {
    fn directories(&self, layer: LayerNumber) -> Option<(&HostPath, &HostPath)> {
        self.layers.get(usize::from(layer.0)).map(|(upper, work)| (upper, work))
    }

    fn mask(&self, layer: ScratchLayer) -> Option<&HostPath> {
        self.masks.get(&layer)
    }
}

/// Why a sandbox did not start. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The calling process is not fit for it.
    #[error("cannot start a sandbox from this process")]
    Threads(#[source] ThreadsError),
    /// A pipe or socket between our own processes.
    #[error("cannot connect the processes of a sandbox")]
    Connect(#[source] Errno),
    /// The clone itself: user namespaces are forbidden or used up.
    #[error("cannot make the namespaces of a sandbox")]
    Clone(#[source] Errno),
    /// The namespaces that are there already.
    #[error("cannot enter the namespaces that are to be shared")]
    Enter(#[source] Errno),
    /// Letting go of a control group, or removing it.
    #[error("cannot put the control group of a sandbox in order")]
    Group(#[source] Errno),
    /// A process that enters could not be put into the sandbox's control group.
    #[error("cannot enter the control group of the sandbox")]
    Admit(#[source] StepError),
    /// What serves the sandbox could not be put into its control group, and would not be bounded with it.
    #[error("cannot put what serves the sandbox into its control group")]
    AdmitHelper(#[source] StepError),
    /// The network of several sandboxes.
    #[error(transparent)]
    Holder(Box<holder::HolderError>),
    /// Writing an id map.
    #[error("cannot map the ids of a sandbox")]
    Map(#[source] Errno),
    /// A helper refused an id map.
    #[error("cannot map {kind} ids with `{program}`: it says `{said}`")]
    Helper {
        /// Which kind.
        kind: &'static str,
        /// The helper.
        program: Text,
        /// Its own words, the first line.
        said: Text,
    },
    /// The server of an overlay ended before the payload started.
    #[error("cannot serve the overlay at `{at}` with `{program}`: it says `{said}`")]
    Server {
        /// Where the overlay is.
        at: Text,
        /// The server.
        program: Text,
        /// Its own last words.
        said: Text,
    },
    /// The program that is to connect the network did not do it.
    #[error("cannot connect the network with `{program}`: it says `{said}`")]
    Tool {
        /// The program.
        program: Text,
        /// Its own words.
        said: Text,
    },
    /// A step failed inside.
    #[error("cannot {what}")]
    Step {
        /// The step's index.
        step: usize,
        /// What it does, as the dry run says it.
        what: String,
        /// Why.
        #[source]
        source: StepError,
    },
    /// The payload's directory cannot be entered inside.
    #[error("cannot start in `{path}`")]
    Workdir {
        /// Where.
        path: crate::spec::SandboxPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The program was not executed: not there.
    #[error("cannot find `{0}` in the sandbox")]
    NotFound(Text),
    /// It is a script, and what is to read it is not there.
    #[error("cannot find `{interpreter}` in the sandbox, the interpreter of `{program}`")]
    NoInterpreter {
        /// The script.
        program: Text,
        /// What its first line names.
        interpreter: Text,
    },
    /// The program was not executed: for another reason.
    #[error("cannot execute `{program}`")]
    Exec {
        /// The program.
        program: Text,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A process ended without a word, as by a kill from outside.
    #[error("cannot go on: a process of the sandbox ended before the payload started")]
    Lost,
    /// The record could not be written.
    #[error("cannot go on with the sandbox")]
    Record(#[source] Box<crate::state::StateError>),
    /// A message that means nothing.
    #[error("cannot go on with the sandbox")]
    Malformed(#[source] wire::Malformed),
}

/// Why a step failed: the errno, and the kernel's own words where it had any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepError {
    /// The errno.
    pub errno: Errno,
    /// Escaped already.
    pub said: String,
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.errno)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

impl std::error::Error for StepError {}

/// The name of a kind of ids.
fn kind_name(kind: IdKind) -> &'static str {
    match kind {
        IdKind::User => "user",
        IdKind::Group => "group",
    }
}

/// The action of a step, for whoever holds its index.
fn action(plan: &Plan, step: usize) -> Option<&Action> {
    plan.steps.get(step).map(|step| &step.action)
}
