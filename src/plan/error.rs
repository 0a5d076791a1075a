//! Why no plan can be made: every text names what failed and on what, every hint what to do.
//!
//! Long because every reason is one variant of one type, with its text.

mod hint;

use super::disk::DiskObstacle;
use super::facts::{Controller, Kind, Stdio};
use super::group::GroupObstacle;
use super::process::LONGEST_STRING;
use super::step::IdKind;
use crate::spec::limits::Resource;
use crate::spec::{HostPath, SandboxPath, Text};

/// Why there is no plan for a spec on a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A fact was read that nobody probed: a mistake in `needs`.
    #[error("cannot decide without knowing `{0}`, which was not probed")]
    Unprobed(&'static str),
    /// The network of another sandbox.
    #[error(transparent)]
    Share(#[from] super::share::ShareError),
    /// A network that a program of others connects.
    #[error(transparent)]
    Tool(#[from] super::tool::ToolError),
    /// A network of several.
    #[error(transparent)]
    Member(#[from] super::segment::MemberError),
    /// A path asked for on the command line is not there.
    #[error("cannot find `{0}` on the host")]
    NotFound(HostPath),
    /// A path asked for cannot be looked at.
    #[error("cannot look at `{0}`: permission denied")]
    Forbidden(HostPath),
    /// A path below a home or a current directory that is not there.
    #[error("cannot tell where `{0}` is: there is no home or no current directory")]
    Unresolved(Text),
    /// A directory is wanted.
    #[error("cannot take `{0}` as a root file system: it is not a directory")]
    NotADirectory(HostPath),
    /// What stands there cannot be seen that way.
    #[error("cannot use `{path}` with {flag}: it is {}", named(kind))]
    Unsuitable {
        /// Where.
        path: HostPath,
        /// What stands there.
        kind: Kind,
        /// The flag.
        flag: &'static str,
    },
    /// A copy of what the caller may not write.
    #[error(
        "cannot use {flag} on `{path}`: it is not yours to write, so a copy of it is not either"
    )]
    NotYours {
        /// Where.
        path: HostPath,
        /// The flag.
        flag: &'static str,
    },
    /// A place that every sandbox has its own of, or `/`.
    #[error("cannot use {flag} on `{at}`: every sandbox has its own")]
    OwnPlace {
        /// Where.
        at: HostPath,
        /// The flag.
        flag: &'static str,
    },
    /// A directory as a device that is not one of devices.
    #[error(
        "cannot use `{0}` with --device: it is a directory, and devices are in those below `/dev`"
    )]
    NotInDev(HostPath),
    /// Two flags want different things of one place.
    #[error("cannot give `{at}` both as {one} and as {other}")]
    Contradiction {
        /// Where.
        at: SandboxPath,
        /// One access, as its flag.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// Nothing stands where something is to be mounted, and it cannot be made there.
    #[error("cannot mount on `{0}`: nothing is there, and it would have to be made on the host")]
    NoMountPoint(SandboxPath),
    /// What stands at a mount point is not of the same kind.
    #[error("cannot mount on `{at}`: it is {} there", named(kind))]
    WrongMountPoint {
        /// Where.
        at: SandboxPath,
        /// What stands there.
        kind: Kind,
    },
    /// Something is to be seen below what is no directory inside.
    #[error("cannot show `{at}`: `{file}` is not a directory in the sandbox")]
    BelowFile {
        /// What is to be seen.
        at: SandboxPath,
        /// What is in its way.
        file: SandboxPath,
    },
    /// The store is never shown.
    #[error("cannot show `{0}`: bryo keeps its layers there, and no sandbox may see them")]
    StoreStaysHidden(HostPath),
    /// The current directory is one that is hidden.
    #[error("cannot start in `{0}`: it is hidden from sandboxes")]
    WorkdirHidden(HostPath),
    /// The current directory is hidden by a flag.
    #[error("cannot start in `{0}`: --hide hides it")]
    WorkdirHiddenByFlag(HostPath),
    /// The current directory is a secret or lies in one.
    #[error("cannot start in `{workdir}`: `{secret}` holds secrets{}", by(variable.as_ref()))]
    WorkdirInSecret {
        /// The current directory.
        workdir: HostPath,
        /// The secret.
        secret: HostPath,
        /// The variable that makes it one, if one does.
        variable: Option<Text>,
    },
    /// A variable makes what programs need a secret.
    #[error(
        "cannot hide `{place}`, where the variable `{variable}` says that secrets are: programs need it"
    )]
    SecretSystem {
        /// Which.
        variable: Text,
        /// Where it leads.
        place: HostPath,
    },
    /// What later runs trust lies in a place that is written straight to the host, and the payload may mount.
    #[error(
        "cannot let `{written}` be written with --nesting: `{trusted}` below it is what later runs trust"
    )]
    NestingAround {
        /// What is written.
        written: HostPath,
        /// The store, or the folder of settings.
        trusted: HostPath,
    },
    /// A link on the way to what later runs trust lies in a place that is written straight to the host.
    #[error(
        "cannot let `{written}` be written: the link `{link}` is on the way to `{trusted}`, which later runs trust"
    )]
    LinkToTrusted {
        /// What is written.
        written: HostPath,
        /// The link.
        link: HostPath,
        /// What it is on the way to, by the name that is trusted.
        trusted: HostPath,
    },
    /// What later runs trust lies in a place that is written straight to the host, as links lead there.
    #[error("cannot let `{written}` be written: `{trusted}`, which later runs trust, leads there")]
    TrustedThere {
        /// What is written.
        written: HostPath,
        /// The link, by the name that is trusted.
        trusted: HostPath,
    },
    /// What a flag hides is not there, and could appear.
    #[error(
        "cannot hide `{path}`: it is not there, and `{written}` is written straight to the host"
    )]
    CannotHide {
        /// What is to be hidden.
        path: HostPath,
        /// What is written around it.
        written: HostPath,
    },
    /// A flag that names a secret by a link alone.
    #[error(
        "cannot use `{asked}` with {flag}: it leads to `{real}`, and `{secret}` holds secrets{}",
        by(variable.as_ref())
    )]
    LinkToSecret {
        /// The variable that makes the secret one, if one does.
        variable: Option<Text>,
        /// As it was asked for.
        asked: HostPath,
        /// Where that leads.
        real: HostPath,
        /// The secret.
        secret: HostPath,
        /// The flag.
        flag: &'static str,
    },
    /// A flag that names bryo's settings by a link alone.
    #[error(
        "cannot use `{asked}` with {flag}: it leads to `{real}`, and later runs take what they trust from there"
    )]
    LinkToSettings {
        /// As it was asked for.
        asked: HostPath,
        /// Where that leads.
        real: HostPath,
        /// The flag.
        flag: &'static str,
    },
    /// A link that an earlier payload may have planted is on the way to what a flag names.
    #[error(
        "cannot use `{asked}` with {flag}: it leads to `{real}` by the link `{link}`, and an earlier run could write \
         `{written}`, where that lies"
    )]
    LinkPlanted {
        /// As it was asked for.
        asked: HostPath,
        /// Where that leads.
        real: HostPath,
        /// By which link.
        link: HostPath,
        /// What could be written.
        written: HostPath,
        /// The flag.
        flag: &'static str,
    },
    /// The same on the way to the current directory.
    #[error(
        "cannot start in `{asked}`: it leads to `{real}` by the link `{link}`, and an earlier run could write \
         `{written}`, where that lies"
    )]
    WorkdirPlanted {
        /// As the shell has it.
        asked: HostPath,
        /// Where that leads.
        real: HostPath,
        /// By which link.
        link: HostPath,
        /// What could be written.
        written: HostPath,
    },
    /// There is no store to note for later runs what is written.
    #[error("cannot let `{0}` be written: there is no store in which later runs are told of it")]
    CannotNote(HostPath),
    /// The current directory lies in a place that every sandbox has its own of.
    #[error("cannot start in `{0}`: every sandbox has its own there")]
    WorkdirOwn(HostPath),
    /// The mount table has no `/`.
    #[error("cannot find the mount that `/` stands on: bryo was started in a chroot")]
    NoRootMount,
    /// No way to mount an overlay.
    #[error("cannot mount an overlay over `{at}`: {}", why.text())]
    NoOverlay {
        /// Over what.
        at: SandboxPath,
        /// Why not.
        why: OverlayObstacle,
    },
    /// `$BRYO_STORE` names a directory that cannot be used.
    #[error("cannot use `{0}`, which BRYO_STORE names, as the store")]
    UnusableStore(HostPath),
    /// No directory can hold the layers.
    #[error("cannot find a place for what the sandbox changes")]
    NoStore,
    /// The command is empty.
    #[error("cannot run an empty command")]
    EmptyCommand,
    /// A variable's name or an argument cannot be passed.
    #[error("cannot pass `{0}`: it contains a NUL byte or `=` where none may be")]
    BadText(Text),
    /// An argument that no exec takes.
    #[error("cannot pass an argument of {bytes} bytes: the kernel takes {LONGEST_STRING} in one")]
    LongArgument {
        /// How long it is.
        bytes: usize,
    },
    /// A variable that no exec takes.
    #[error(
        "cannot pass the variable `{name}`, {bytes} bytes long: the kernel takes {LONGEST_STRING} in one"
    )]
    LongVariable {
        /// Which.
        name: Text,
        /// How long it is, with its name.
        bytes: usize,
    },
    /// An id that has no meaning in the sandbox.
    #[error("cannot become {} {id}: the sandbox does not map it", kind_named(*kind))]
    NotMapped {
        /// User or group.
        kind: IdKind,
        /// The id inside.
        id: u32,
    },
    /// Not a host name.
    #[error("cannot use `{0}` as a host name")]
    BadHostname(Text),
    /// A soft limit above its hard one.
    #[error("cannot set the limit `{}`: its soft value is above its hard one", _0.name())]
    SoftAboveHard(Resource),
    /// More than the caller may have.
    #[error("cannot set the limit `{}`: your own is {most}, and cannot be raised", resource.name())]
    AboveOwnLimit {
        /// Of what.
        resource: Resource,
        /// The caller's hard limit.
        most: u64,
    },
    /// No control group can be made.
    #[error("cannot enforce `{flag}`: {}", why.text())]
    NoGroup {
        /// What asks for it.
        flag: &'static str,
        /// Why not.
        why: GroupObstacle,
    },
    /// What is written cannot be bounded.
    #[error("cannot enforce `--disk`: {}", _0.text())]
    NoDiskLimit(DiskObstacle),
    /// A place on no disk.
    #[error("cannot enforce `--io-max`: `{0}` is on no disk that can be bounded")]
    NoDisk(HostPath),
    /// A weight that nobody looks at.
    #[error("cannot enforce `--io-weight`: nothing here shares a disk by weight")]
    NoWeigher,
    /// A weight that what shares the disks does not know.
    #[error("cannot enforce `--io-weight {weight}`: the weights of `bfq` end at {most}")]
    TooHeavy {
        /// What was asked for.
        weight: u64,
        /// The most there is.
        most: u64,
    },
    /// Two limits of one disk.
    #[error("cannot enforce `--io-max` on `{0}`: its disk has a limit already")]
    SameDisk(Text),
    /// Swap space is not counted.
    #[error(
        "cannot enforce `--memory-swap`: this kernel does not count swap space by control group"
    )]
    NoSwapCount,
    /// A controller is missing.
    #[error("cannot enforce `{flag}`: the controller `{controller}` is not delegated to you")]
    NoController {
        /// What asks for it.
        flag: &'static str,
        /// Which.
        controller: Controller,
        /// The group that lacks it; none where the caller's service manager does.
        at: Option<HostPath>,
    },
    /// The kernel does not hold root to a limit of processes.
    #[error("cannot limit the number of processes: the kernel does not hold root to it")]
    RootHasNoProcessLimit,
    /// A standard descriptor that no payload may have.
    #[error("cannot pass descriptor {number}: it is {}", stdio_named(*stands))]
    UnsuitableStdio {
        /// 0, 1, or 2.
        number: u8,
        /// What stands there.
        stands: Stdio,
    },
    /// A capability that undoes what hides and protects.
    #[error("cannot keep `CAP_SYS_ADMIN` where mount calls are allowed: it would lift every mask")]
    LiftsMasks {
        /// They are because of `nesting`; because of the system call filter otherwise.
        nesting: bool,
    },
    /// Landlock was required.
    #[error("cannot confine with Landlock: this kernel has none, or it is not enabled")]
    NoLandlock,
    /// Abstract sockets of the host's network cannot be closed.
    #[error("cannot close the host's abstract sockets: this kernel's Landlock has no scopes")]
    AbstractSocketsOpen,
    /// The interface of a network of its own cannot be made.
    #[error("cannot make a network of its own: `/dev/net/tun` cannot be opened")]
    NoTun,
    /// Rules or ports of the profile where nobody enforces them.
    #[error("cannot enforce `allow`, `deny` and `publish` of the profile with `--network {0}`")]
    PolicyElsewhere(&'static str),
    /// A rate for a network that is not the run's own.
    #[error("cannot bound how fast the network is used with `--network {0}`")]
    RateElsewhere(&'static str),
    /// A run that is to end with a network which it cannot watch.
    #[error("cannot end with a network that another sandbox has: nobody here is told of its loss")]
    LossElsewhere,
    /// Too many ports.
    #[error("cannot publish {wanted} ports: {most} at most")]
    TooManyPublished {
        /// How many.
        wanted: usize,
        /// How many there can be.
        most: usize,
    },
    /// The caller has no subordinate ids.
    #[error("cannot map more than one {} id: the caller has no range of subordinate ones", kind_named(*_0))]
    NoSubids(IdKind),
    /// Two ranges share ids, or one holds the caller's.
    #[error("cannot map {} ids: the ranges at {one} and {other} overlap", kind_named(*kind))]
    OverlappingSubids {
        /// Which ids.
        kind: IdKind,
        /// First id of one range.
        one: u32,
        /// First id of the other.
        other: u32,
    },
    /// `newuidmap` or `newgidmap` is not installed.
    #[error("cannot find `{}`, which maps subordinate ids", helper_named(*_0))]
    NoMapHelper(IdKind),
    /// It is installed without the privilege it needs.
    #[error("cannot map ids with `{0}`: it is neither set-user-id root nor has its capability")]
    UnprivilegedMapHelper(HostPath),
}

/// Why an overlay cannot be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayObstacle {
    /// `--overlay kernel`, and the kernel does not.
    KernelRefuses,
    /// `--overlay kernel`, and the store's file system cannot hold the upper layer.
    StoreFileSystem,
    /// It takes fuse-overlayfs, which is not installed.
    NoFuseProgram,
    /// It takes fuse-overlayfs, which takes `/dev/fuse`.
    NoFuseDevice,
    /// `--overlay kernel`, and root over the host's tree takes fuse-overlayfs.
    RootOverHost,
}

impl OverlayObstacle {
    fn text(self) -> &'static str {
        match self {
            Self::KernelRefuses => "this kernel mounts none in a user namespace",
            Self::StoreFileSystem => "the store's file system cannot hold what is written",
            Self::NoFuseProgram => "it takes fuse-overlayfs, which is not installed",
            Self::NoFuseDevice => "it takes fuse-overlayfs, and `/dev/fuse` cannot be opened",
            Self::RootOverHost => "root over the host's tree takes fuse-overlayfs",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::KernelRefuses | Self::RootOverHost => "leave out `--overlay kernel`",
            Self::StoreFileSystem => {
                "let BRYO_STORE name a directory on a local file system, or leave out `--overlay kernel`"
            }
            Self::NoFuseProgram => "install it: `sudo apt install fuse-overlayfs`",
            Self::NoFuseDevice => "`sudo modprobe fuse && sudo chmod 666 /dev/fuse`",
        }
    }
}

fn by(variable: Option<&Text>) -> String {
    variable.map_or_else(String::new, |variable| format!(", as the variable `{variable}` says"))
}

pub(super) fn named(kind: &Kind) -> &'static str {
    match kind {
        Kind::Absent => "nothing",
        Kind::Directory => "a directory",
        Kind::File => "a file",
        Kind::Link(_) => "a symbolic link",
        Kind::Socket => "a socket",
        Kind::Fifo => "a FIFO",
        Kind::Device => "a device",
        Kind::Forbidden => "not readable",
    }
}

fn stdio_named(stands: Stdio) -> &'static str {
    match stands {
        Stdio::Directory => "a directory, which would open the host's tree",
        Stdio::Path => "an `O_PATH` descriptor, which would open the host's tree",
        _ => "a device",
    }
}

fn kind_named(kind: IdKind) -> &'static str {
    match kind {
        IdKind::User => "user",
        IdKind::Group => "group",
    }
}

fn helper_named(kind: IdKind) -> &'static str {
    match kind {
        IdKind::User => "newuidmap",
        IdKind::Group => "newgidmap",
    }
}
