//! The plan: numbered steps with every operand decided, grouped by the process that takes them.
//!
//! # Theory of operation
//! `plan` returns the steps of all processes in the one order in which they happen. Each executor
//! (`rootfs`, `net`, `confine`, `limits`, `launch`, `state`) carries out the actions of its own enum
//! and chooses nothing: an action that would need an `if` on a fact is two actions, of which the
//! planner takes one. Launcher and sandbox hold the same plan, so the sandbox reports only a step's
//! number and an errno.

mod confine;
mod group;
mod named;
mod net;
mod notice;
mod process;
mod tree;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use confine::{
    ConfineStep, FilterProgram, LandlockGrant, LandlockPath, LandlockRules, LandlockTcp,
};
pub use group::{GroupLimit, GroupStep};
pub use named::Named;
pub use net::{EnterStep, Link, NetStep, NetstackStep, Network4, Network6};
pub use notice::{Foreseen, FuseReason, Missing, Notice};
pub use process::{INIT, ProcessStep, StdioPlan};
pub use tree::{
    Allowed, Cover, FsStep, Lower, MountAccess, MountFlags, OverlayServer, Room, ScratchEntry,
    ScratchLayer, Upper,
};

use crate::spec::limits::Resource;
use crate::spec::net::Publish;
use crate::spec::{HostPath, SandboxPath, Text};

/// Everything one run does, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps; a step's number is its index here, from 1 when shown.
    pub steps: Vec<Step>,
    /// The copy-on-write layers, by number: what `bryo diff` needs to read them later.
    pub layers: Vec<Layer>,
    /// The store that holds them; none when nothing is copy-on-write.
    pub store: Option<HostPath>,
    /// What the user is told once.
    pub notices: Vec<Notice>,
    /// Supplementary groups that stay with the payload.
    pub groups_kept: Vec<u32>,
    /// What was asked for by path, and where that led: what a later run with these layers must find again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<Named>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which process takes it.
    pub stage: Stage,
    /// What it does.
    pub action: Action,
}

/// The process that takes a step, in the order of first steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// On the host, before the clone: the store.
    Prepare,
    /// On the host, around the clone: the clone itself, id maps, the control group.
    Launch,
    /// Pid 1 inside, with all capabilities of its user namespace: mounts, network, limits.
    Sandbox,
    /// The netstack, a process on the host: gives up what it does not need, then serves.
    Netstack,
    /// Pid 1 after the payload was forked: gives up what it does not need.
    Init,
    /// The payload's process before its exec, in this order.
    Payload,
    /// On the host, while the payload runs.
    Supervise,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// On the store.
    Store(StoreStep),
    /// Where the clone is made.
    Enter(EnterStep),
    /// Opens a port of the host for one of the sandbox.
    Publish(Publish),
    /// One clone of a new process into these namespaces.
    Clone(Namespaces),
    /// Id maps.
    Ids(IdsStep),
    /// The control group.
    Group(GroupStep),
    /// The file tree.
    Fs(FsStep),
    /// The network.
    Net(NetStep),
    /// The netstack's own.
    Netstack(NetstackStep),
    /// Limits.
    Limit(LimitStep),
    /// Confinement.
    Confine(ConfineStep),
    /// The process itself.
    Process(ProcessStep),
    /// What the supervisor watches.
    Watch(WatchStep),
}

/// Steps on the store, by the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreStep {
    /// Makes the store if needed, checks owner and mode, makes and locks the sandbox's directory.
    Open {
        /// The store's directory.
        store: HostPath,
    },
    /// Opens the store, locks a sandbox of it that ended, and makes it one that runs.
    Take {
        /// The store's directory.
        store: HostPath,
        /// The sandbox's id.
        sandbox: Text,
    },
    /// Makes a directory of bryo's own, and those above it, for the caller alone; left as it is where it is there.
    Directory {
        /// Where; links resolved.
        path: HostPath,
    },
    /// Takes layer `N` of that sandbox as it is.
    LayerAgain(LayerNumber),
    /// Makes `layers/N/upper` and `layers/N/work` in the sandbox's directory.
    Layer(LayerNumber),
    /// Notes in the store what the payload can write straight to the host, for later runs.
    Note {
        /// The store's directory; made where it is missing.
        store: HostPath,
        /// Directories of the host, links resolved; sorted, each once.
        places: Vec<HostPath>,
    },
    /// Finds or makes a scratch layer that is kept from run to run: a long list of whiteouts is the
    /// same every time, and making it costs more than all other mounts.
    Mask {
        /// The store that keeps it: not within the tree that it lies over, which the kernel refuses.
        store: HostPath,
        /// Its number among scratch layers.
        layer: ScratchLayer,
        /// Permission bits of its root.
        mode: u32,
        /// What is in it: directories and whiteouts only; parents first.
        entries: Vec<ScratchEntry>,
    },
}

/// Number of a copy-on-write layer, from 0: an index into [`Plan::layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerNumber(pub u16);

/// What a layer lies over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The directory of the host that it lies over; none for one that began empty.
    pub over: Option<HostPath>,
    /// Where it is seen.
    pub at: SandboxPath,
    /// Who served it: decides what whiteouts and attributes in it mean.
    pub backend: Backend,
    /// Permission bits of its root: those of the directory it lies over, which it replaces.
    pub mode: u32,
    /// Relative places in it where another tree stands, which the layer itself does not hold.
    pub covered: Vec<SandboxPath>,
    /// Single files of the host that it lies over besides, as they were at the start.
    pub copied: Vec<Copied>,
    /// Relative places in it that are hidden, as long as nothing stands there in the layer itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<SandboxPath>,
}

/// A file of the host that was copied into what a layer lies over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Relative place in the layer.
    pub path: SandboxPath,
    /// The file.
    pub from: HostPath,
}

/// Who serves an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The kernel, with `userxattr`.
    Kernel,
    /// fuse-overlayfs.
    Fuse,
}

/// The namespaces of the one clone. That of mounts is always new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "one flag of clone3(2) each")]
pub struct Namespaces {
    /// `CLONE_NEWUSER`.
    pub user: bool,
    /// `CLONE_NEWPID`.
    pub pid: bool,
    /// `CLONE_NEWNET`.
    pub net: bool,
    /// `CLONE_NEWIPC`.
    pub ipc: bool,
    /// `CLONE_NEWUTS`.
    pub uts: bool,
    /// `CLONE_NEWCGROUP`.
    pub cgroup: bool,
}

/// Steps on id maps, by the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdsStep {
    /// Writes `deny` to `setgroups`.
    DenySetgroups,
    /// Writes the maps itself: one line each.
    WriteMaps {
        /// For `uid_map`.
        uid: IdMapping,
        /// For `gid_map`.
        gid: IdMapping,
    },
    /// Writes `uid_map` or `gid_map` itself, where the user namespace above has the ids.
    WriteMap {
        /// Which.
        kind: IdKind,
        /// The lines, in order.
        map: Vec<IdMapping>,
    },
    /// Has the helper write `uid_map` or `gid_map`.
    RunHelper {
        /// The program.
        program: HostPath,
        /// Which kind of id, for messages.
        kind: IdKind,
        /// The lines, in order.
        map: Vec<IdMapping>,
    },
}

/// User or group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdKind {
    /// User ids.
    User,
    /// Group ids.
    Group,
}

/// One line of an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Steps on limits, by pid 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitStep {
    /// `setrlimit(2)`.
    Rlimit {
        /// Which.
        resource: Resource,
        /// Soft limit; unlimited if none.
        soft: Option<u64>,
        /// Hard limit.
        hard: Option<u64>,
    },
    /// Writes `/proc/sys/user/NAME` of the new user namespace.
    UserCount {
        /// As `max_user_namespaces`.
        name: UserCount,
        /// The new ceiling.
        value: u64,
    },
}

/// The per-namespace counters of `/proc/sys/user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserCount {
    /// `max_user_namespaces`.
    MaxUserNamespaces,
    /// `max_inotify_instances`.
    MaxInotifyInstances,
    /// `max_inotify_watches`.
    MaxInotifyWatches,
}

impl UserCount {
    /// The name of the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxUserNamespaces => "max_user_namespaces",
            Self::MaxInotifyInstances => "max_inotify_instances",
            Self::MaxInotifyWatches => "max_inotify_watches",
        }
    }
}

/// What the supervisor watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchStep {
    /// Kills the run after this time.
    Timeout(Duration),
    /// Answers refused system calls and counts them.
    Denials,
    /// Watches the store's free space, and kills the run below the floor.
    FreeSpace {
        /// Per cent of the file system's size.
        floor: u8,
    },
    /// Ends the run when what connects it ends before.
    Network,
}

impl Plan {
    /// A plan of these steps alone: with no layer, so that it needs no store, and with nothing to tell.
    ///
    /// What a plan starts and what it restricts are steps both, so one that lacks them opens nothing: without steps it
    /// starts nothing, and `check` refuses it to a run.
    pub const fn of_steps(steps: Vec<Step>) -> Self {
        Self {
            steps,
            layers: Vec::new(),
            store: None,
            notices: Vec::new(),
            groups_kept: Vec::new(),
            named: Vec::new(),
        }
    }

    /// The steps of one stage, with their indices.
    pub fn of(&self, stage: Stage) -> impl Iterator<Item = (usize, &Action)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, step)| step.stage == stage)
            .map(|(n, step)| (n, &step.action))
    }
}
