//! What the user is told once.

use serde::{Deserialize, Serialize};

use crate::plan::facts::{Controller, Kind};
use crate::spec::limits::Resource;
use crate::spec::net::Tool;
use crate::spec::{HostPath, SandboxPath, Text};

/// What the user is told once, because the plan could not simply do what one would expect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// With the host's network every service on its loopback can be reached.
    LoopbackReachable,
    /// This flag means a network, and nothing says whom it may reach: every public address.
    OpenNetwork(Text),
    /// This program passes on everything, also to private addresses.
    ToolReaches(Tool),
    /// The current directory is one that is never shared; the payload starts in a private one.
    PrivateWorkdir(SandboxPath),
    /// The current directory is not the caller's to write, and a copy of it is not either.
    ReadOnlyWorkdir(SandboxPath),
    /// The current directory does not exist or cannot be entered; the payload starts in `/`.
    NoWorkdir,
    /// No place at which this program is looked for has it: it would not start.
    NoProgram(Text),
    /// What is seen of a run before it starts, or cannot be seen then.
    Foreseen(Foreseen),
    /// The current directory was removed, or cannot be entered: the payload starts in `/`.
    LostWorkdir,
    /// A file of the caller's has the name of a built-in profile, which is used.
    PassedOver(Text),
    /// A toolchain of the profile is reached through a link to something that is none: it is not shown.
    LinkedToolchain {
        /// As the profile names it.
        at: HostPath,
        /// Where it leads.
        leads: HostPath,
    },
    /// A place of the profile is reached through a link that an earlier payload may have planted: it is passed over.
    PlantedLink {
        /// As the profile names it.
        at: HostPath,
        /// Where it leads.
        leads: HostPath,
        /// The link.
        link: HostPath,
    },
    /// A place of the profile is of a kind that cannot be seen as it says: it is passed over.
    UnsuitablePlace {
        /// Where.
        path: HostPath,
        /// What stands there.
        kind: Kind,
    },
    /// A place that the command line hides is not there.
    HidesNothing(HostPath),
    /// The folder of bryo's settings was made, as it would have been written straight to the host.
    MadeSettings(HostPath),
    /// A place that is written straight to the host, in which secrets that appear are seen.
    SecretsToCome(HostPath),
    /// An argument of the program is a path that the profile hides.
    NamesHidden {
        /// The argument.
        named: HostPath,
        /// What is hidden: that, or what is around it.
        hidden: HostPath,
    },
    /// The file of this bryo lies in a place that is written straight to the host.
    OwnFileWritten(HostPath),
    /// Directories of the caller's `PATH` that are written straight to the host.
    CommandsWritten(Vec<HostPath>),
    /// A file that may hold secrets is visible.
    Warned(HostPath),
    /// A tree is served by fuse-overlayfs, which is slower.
    Fuse {
        /// Which.
        at: SandboxPath,
        /// Why.
        why: FuseReason,
        /// A file of another id in it, if that is why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<HostPath>,
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
    /// A limit of the caller's own is stricter than the one that was asked for, and holds.
    OwnLimit {
        /// Of what.
        resource: Resource,
        /// Where it is.
        most: u64,
    },
    /// The network is that of this sandbox, with its rules.
    SharedNetwork(Text),
}

/// What a run would meet that is not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Foreseen {
    /// The program is a directory, or nobody may execute it.
    NotExecutable(Text),
    /// The program is a script, and what reads it is not seen inside.
    NoInterpreter {
        /// The script.
        program: Text,
        /// What its first line names.
        interpreter: SandboxPath,
    },
    /// The directory to start in is not seen inside.
    NoStart(SandboxPath),
    /// Something else stands where the payload is to start.
    StartIsNoDirectory(SandboxPath),
    /// A file that the run writes for the caller cannot be made.
    CannotWrite(HostPath),
    /// Whether it is there is not known before there is a sandbox.
    Unknown(Text),
    /// Whether the ports to be published are free is not tried.
    Ports,
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
    /// A limit that keeps the host's core handler away: it is 1, and the caller's own is 0.
    CoreHandler,
    /// Ceilings for inotify and namespaces: `/proc/sys` of this host cannot be written.
    UserCounts,
    /// Control groups: nothing of what they bound is bounded.
    Group,
    /// One controller of them.
    Controller(Controller),
    /// A disk to be bounded.
    Disks,
    /// What shares disks by weight.
    Weigher,
    /// A way to bound what is written to layers.
    Disk,
    /// A store: changes are held in memory and end with the run.
    Store,
}
