//! Steps on the file tree.

use serde::{Deserialize, Serialize};

use super::LayerNumber;
use crate::spec::{HostPath, SandboxPath, Text};

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

/// How much an empty file system may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Room {
    /// So many bytes, for itself; the kernel's default if none.
    Own(Option<u64>),
    /// What is left of [`FsStep::Hold`]: it is a directory there.
    Held,
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
    /// Mounts a tmpfs in the scratch file system that holds what is written while the run lasts: to layers,
    /// and to every [`Room::Held`].
    Hold {
        /// Bytes for all of it together.
        size: u64,
    },
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
        /// How much it may hold.
        room: Room,
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
    /// Mounts the control groups of the new cgroup namespace, writable.
    Cgroups {
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
    /// Makes a socket for datagrams that anybody inside can write to; its reading end goes to the supervisor.
    Socket {
        /// Where.
        at: SandboxPath,
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

impl ScratchEntry {
    /// Where it is made.
    pub fn path(&self) -> &SandboxPath {
        match self {
            Self::Directory { path, .. }
            | Self::Whiteout { path }
            | Self::Link { path, .. }
            | Self::Copy { path, .. }
            | Self::Placeholder { path } => path,
        }
    }
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
    /// The same, in what [`FsStep::Hold`] mounted; it begins with what the store has of it, and is brought there
    /// when every process of the sandbox has ended.
    Held(LayerNumber),
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
