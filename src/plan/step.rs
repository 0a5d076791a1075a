//! The plan: numbered steps with every operand decided, grouped by the process that takes them.
//!
//! # Theory of operation
//! `plan` returns the steps of all processes in the one order in which they happen. Each executor
//! (`rootfs`, `net`, `confine`, `limits`, `launch`, `state`) carries out the actions of its own enum
//! and chooses nothing: an action that would need an `if` on a fact is two actions, of which the
//! planner takes one. Launcher and sandbox hold the same plan, so the sandbox reports only a step's
//! number and an errno.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::limits::Resource;
use crate::spec::seccomp::PolicyVariant;
use crate::spec::{Capability, EnvironmentVariable, HostPath, SandboxPath, Text};

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
    /// On the host, between clone and go: the clone itself, id maps.
    Launch,
    /// Pid 1 inside, with all capabilities of its user namespace: mounts, network, limits.
    Sandbox,
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
    /// One clone of a new process into these namespaces.
    Clone(Namespaces),
    /// Id maps.
    Ids(IdsStep),
    /// The file tree.
    Fs(FsStep),
    /// The network.
    Net(NetStep),
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
    /// Makes `layers/N/upper` and `layers/N/work` in the sandbox's directory.
    Layer(LayerNumber),
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

/// The namespaces of the one clone. User and mount are always new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "one flag of clone3(2) each")]
pub struct Namespaces {
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

/// Flags of a mount. `nosuid` is not among them: every mount of a sandbox has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFlags {
    /// Nothing below can be written.
    pub access: MountAccess,
    /// Device nodes do not work.
    pub devices: Allowed,
    /// Files can be executed.
    pub exec: Allowed,
}

/// Whether a mount can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountAccess {
    /// It cannot.
    ReadOnly,
    /// It can.
    Writable,
}

/// Whether something works there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowed {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl MountFlags {
    /// Read-only, no devices, executable: how the host's trees are seen.
    pub const READ_ONLY: Self =
        Self { access: MountAccess::ReadOnly, devices: Allowed::No, exec: Allowed::Yes };
    /// Writable, no devices, executable.
    pub const WRITABLE: Self =
        Self { access: MountAccess::Writable, devices: Allowed::No, exec: Allowed::Yes };
}

/// Steps on the file tree, by pid 1, in a mount namespace whose `/` is still the host's until
/// [`FsStep::Pivot`].
///
/// Paths of the sandbox are resolved from the new root's descriptor with `RESOLVE_IN_ROOT`, paths of
/// the host from the host's root without following any link: the planner names real paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FsStep {
    /// Makes every mount of the namespace private, so that nothing propagates either way.
    MakePrivate,
    /// Mounts the scratch file system: a tmpfs that holds mask and shadow layers and empty things to
    /// cover with; the payload never sees it.
    Scratch,
    /// Makes a directory in the scratch file system that serves as a lower layer.
    ScratchLayer {
        /// Its number, from 0.
        layer: ScratchLayer,
        /// Permission bits of its root: the uppermost layer's are those of the merged directory.
        mode: u32,
        /// What is made in it, parents first.
        entries: Vec<ScratchEntry>,
    },
    /// Mounts the tmpfs that becomes `/`.
    NewRoot,
    /// Makes a directory in the new tree, on a tmpfs of ours. Its parent exists.
    Directory {
        /// Where.
        at: SandboxPath,
        /// Permission bits.
        mode: u32,
    },
    /// Makes a symbolic link in the new tree.
    Link {
        /// Where.
        at: SandboxPath,
        /// To what.
        target: Text,
    },
    /// Makes a file in the new tree.
    File {
        /// Where.
        at: SandboxPath,
        /// What is in it.
        content: Text,
        /// Permission bits.
        mode: u32,
    },
    /// Makes a file in the scratch file system and puts it, read-only, over the file at `at`.
    FileOver {
        /// Over what; it exists.
        at: SandboxPath,
        /// What is in it.
        content: Text,
        /// Permission bits.
        mode: u32,
    },
    /// Clones a tree (or a file) of the host with all that is mounted below, sets the flags on every
    /// mount of it, and puts it over what stands at `at`.
    Bind {
        /// Its root, links resolved.
        from: HostPath,
        /// Over what.
        at: SandboxPath,
        /// For every mount of it.
        flags: MountFlags,
    },
    /// Mounts an overlay.
    Overlay {
        /// Over what.
        at: SandboxPath,
        /// Lower layers, uppermost first; at least one, at least two without an upper.
        lower: Vec<Lower>,
        /// The upper layer; without one it is read-only.
        upper: Option<Upper>,
        /// Who serves it.
        server: OverlayServer,
        /// Mount flags.
        flags: MountFlags,
    },
    /// Mounts an empty tmpfs.
    Tmpfs {
        /// Over what.
        at: SandboxPath,
        /// Bytes; the kernel's default if none.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
        /// Mount flags.
        flags: MountFlags,
    },
    /// Mounts a procfs of the new pid namespace.
    Proc {
        /// Over what.
        at: SandboxPath,
    },
    /// Mounts a read-only sysfs of the new network namespace.
    Sysfs {
        /// Over what.
        at: SandboxPath,
    },
    /// Mounts a devpts of its own.
    Devpts {
        /// Over what.
        at: SandboxPath,
    },
    /// Mounts a POSIX message queue file system of the new ipc namespace.
    Mqueue {
        /// Over what.
        at: SandboxPath,
    },
    /// Covers what stands at `at` with something empty and read-only.
    Cover {
        /// What to cover: it exists, unless the kind of cover passes over what is not there.
        at: SandboxPath,
        /// With what.
        with: Cover,
    },
    /// Makes one mount read-only that had to be written while it was built.
    Seal {
        /// Its mount point.
        at: SandboxPath,
    },
    /// Makes the new tree `/` and detaches the host's.
    Pivot,
}

/// Number of a scratch layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScratchLayer(pub u16);

/// One thing in a scratch layer; paths are relative to the layer's root, written as from `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScratchEntry {
    /// A directory, so that what is below can be named; merges with the layer below.
    Directory {
        /// Where.
        path: SandboxPath,
        /// Permission bits: those of the directory it stands for.
        mode: u32,
    },
    /// A whiteout: what the layers below have there does not exist.
    Whiteout {
        /// Where.
        path: SandboxPath,
    },
    /// A symbolic link.
    Link {
        /// Where.
        path: SandboxPath,
        /// To what.
        target: Text,
    },
    /// A copy of a small file of the host, with its mode and times, as it is at the start.
    Copy {
        /// Where.
        path: SandboxPath,
        /// What is copied.
        from: HostPath,
    },
    /// An empty file, to be covered by a bind.
    Placeholder {
        /// Where.
        path: SandboxPath,
    },
}

/// One lower layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lower {
    /// A directory of the host.
    Host {
        /// Where; real path.
        path: HostPath,
        /// The mount it must be on when it is opened: a mount that appeared meanwhile is refused.
        mount: u64,
    },
    /// A scratch layer.
    Scratch(ScratchLayer),
}

/// Where what is written to an overlay goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upper {
    /// A layer of the store, made by [`StoreStep::Layer`].
    Layer(LayerNumber),
    /// `upper` and `work` in a directory of the scratch file system, with these permission bits: no
    /// store can hold it, and it ends with the run.
    Scratch {
        /// Number of the directory, from 0, counted apart from scratch layers.
        number: u16,
        /// Permission bits of its root.
        mode: u32,
    },
}

/// Who serves an overlay, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverlayServer {
    /// The kernel.
    Kernel,
    /// fuse-overlayfs, started by the launcher in the sandbox's user and mount namespaces.
    Fuse {
        /// The program.
        program: HostPath,
        /// Every file is shown as owned by this user and group inside; as it is if none.
        squash: Option<(u32, u32)>,
    },
}

/// What a path is covered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cover {
    /// An empty directory.
    Directory,
    /// An empty file.
    File,
    /// An empty file or directory, whichever fits; passed over when nothing is there: entries of
    /// `/proc` and `/sys` depend on the kernel's configuration.
    IfThere,
    /// Itself, read-only; passed over when nothing is there.
    ReadOnlyIfThere,
}

/// Steps on the network, by pid 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetStep {
    /// Brings `lo` up in the new network namespace.
    LoopbackUp,
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

/// Steps of confinement, by the payload's process (some by init too).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfineStep {
    /// A session keyring of its own, so that the caller's keys are not inherited.
    Keyring,
    /// Drops every other capability from all sets, the bounding one included; the kept ones are
    /// ambient too, so that they survive an exec.
    Capabilities {
        /// Those that stay; sorted.
        keep: Vec<Capability>,
    },
    /// Locks the securebits: being user 0 gives no capabilities.
    Securebits,
    /// `no_new_privs`.
    NoNewPrivs,
    /// Landlock, all of it in one ruleset.
    Landlock(LandlockRules),
    /// The filter of system calls; always last before exec.
    Seccomp {
        /// Which program.
        program: FilterProgram,
        /// Whether refused calls are told to the supervisor.
        listen: bool,
    },
}

/// One Landlock ruleset, for a given ABI: everything in it is enforced or the step fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockRules {
    /// The ABI whose rights are handled.
    pub abi: u32,
    /// File hierarchies and what is granted on them; file system rights are not handled if empty.
    pub paths: Vec<LandlockPath>,
    /// No TCP port can be bound or connected to but these; not handled if none.
    pub tcp: Option<LandlockTcp>,
    /// Abstract unix sockets outside the sandbox cannot be connected to (ABI 6).
    pub scope_abstract_unix: bool,
    /// Processes outside the sandbox cannot be signalled (ABI 6).
    pub scope_signals: bool,
}

/// Granted rights below one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockPath {
    /// Where.
    pub at: SandboxPath,
    /// What.
    pub grant: LandlockGrant,
}

/// What is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LandlockGrant {
    /// Read files and directories, execute.
    ReadExecute,
    /// Everything but device ioctls, execution included.
    All,
    /// Read and write existing files, device ioctls included; nothing can be made.
    Device,
    /// Connect to the unix socket there (rights of ABI 9; not planned below).
    Socket,
}

/// Granted TCP ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockTcp {
    /// That can be bound.
    pub bind: Vec<u16>,
    /// That can be connected to.
    pub connect: Vec<u16>,
}

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterProgram {
    /// Compiled when bryo was built.
    Builtin {
        /// The policy's name.
        name: String,
        /// What this run changes in it.
        variant: PolicyVariant,
    },
    /// Compiled from a file before the clone, or taken from the cache.
    Custom {
        /// The policy.
        policy: Box<crate::spec::seccomp::Policy>,
        /// What this run changes in it.
        variant: PolicyVariant,
    },
}

/// Steps on the process itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessStep {
    /// Cannot be traced, and its `/proc` files belong to root.
    Undumpable,
    /// Sets the host name of the new UTS namespace.
    Hostname(String),
    /// Gives up all supplementary groups and takes these ids inside.
    TakeIds {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
        /// Whether `setgroups` is called: only where the maps came from the helpers.
        drop_groups: bool,
    },
    /// By pid 1, last in its stage: a session of its own, and with a pty one of the sandbox's devpts as
    /// its controlling terminal, whose master goes to the supervisor. Init owns the session: a payload
    /// that led it would be in an orphaned group, and Ctrl-Z would be discarded.
    Session {
        /// Whether there is a pty.
        pty: bool,
    },
    /// A process group of the payload's own.
    ProcessGroup {
        /// Whether it begins in the foreground of the session's terminal. In the background of a
        /// terminal it is stopped as soon as it wants it, and the supervisor decides.
        foreground: bool,
    },
    /// Puts something at one of descriptors 0 to 2.
    Stdio {
        /// 0, 1, or 2.
        number: u8,
        /// What.
        with: StdioPlan,
    },
    /// Closes every descriptor above 2 but these, which lose their close-on-exec flag.
    CloseDescriptors {
        /// Numbers that stay; sorted.
        keep: Vec<u32>,
    },
    /// File mode creation mask.
    Umask(u32),
    /// The current directory.
    Workdir(SandboxPath),
    /// The exec, the last step: a program without a slash is looked up in these directories.
    Exec {
        /// Program and arguments.
        argv: Vec<Text>,
        /// Variables.
        environment: Vec<EnvironmentVariable>,
        /// Directories to look in, from the payload's own `PATH`.
        search: Vec<Text>,
    },
}

/// What the payload gets at a standard descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdioPlan {
    /// The caller's own descriptor.
    Keep,
    /// `/dev/null`.
    Null,
    /// The sandbox's pty.
    Pty,
    /// A pipe, whose other end the supervisor relays.
    Relay,
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
}

/// What the user is told once, because the plan could not simply do what one would expect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// With the host's network every service on its loopback can be reached.
    LoopbackReachable,
    /// The current directory is one that is never shared; the payload starts in a private one.
    PrivateWorkdir(SandboxPath),
    /// The current directory does not exist or cannot be entered; the payload starts in `/`.
    NoWorkdir,
    /// A file that may hold secrets is visible.
    Warned(HostPath),
    /// A tree is served by fuse-overlayfs, which is slower.
    Fuse {
        /// Which.
        at: SandboxPath,
        /// Why.
        why: FuseReason,
    },
    /// Something wanted `if-available` is missing on this host.
    Missing(Missing),
    /// A file in a directory with mounts below is too large to be copied: it is read-only.
    ReadOnlyFile(HostPath),
    /// Writes to this tree may fail with `EOVERFLOW`: it holds files of other ids, and there is no
    /// fuse-overlayfs.
    ForeignIds(HostPath),
    /// The payload may nest sandboxes: no file system rules of Landlock, and mounts are allowed.
    Nesting,
}

/// Why a tree is served by fuse-overlayfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FuseReason {
    /// `--overlay fuse`.
    Asked,
    /// The kernel does not mount overlays in a user namespace.
    KernelRefuses,
    /// The store's file system cannot hold an upper of the kernel's.
    StoreFileSystem,
    /// The tree holds files of ids that are not mapped and the caller may write.
    ForeignIds,
    /// Root over the host's tree.
    RootOverHost,
}

/// What a host may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Landlock, wholly.
    Landlock,
    /// Landlock of an ABI that bounds signals and abstract sockets.
    LandlockScopes,
    /// A seccomp listener: refused calls are refused, but not told.
    SeccompNotify,
    /// A procfs: `/proc` is empty. The host's would show processes outside.
    Procfs,
    /// A ceiling for processes: the kernel does not hold root to it.
    ProcessLimit,
    /// Ceilings for inotify and namespaces: `/proc/sys` of this host cannot be written.
    UserCounts,
    /// A store: changes are held in memory and end with the run.
    Store,
}

impl Plan {
    /// The steps of one stage, with their indices.
    pub fn of(&self, stage: Stage) -> impl Iterator<Item = (usize, &Action)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, step)| step.stage == stage)
            .map(|(n, step)| (n, &step.action))
    }
}
