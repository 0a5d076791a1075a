//! Says what a step does: for `--dry-run`, and after `cannot ` in the text of an error.
//!
//! Every name in the text is escaped: it may hold a terminal's escape sequences.

mod group;
mod watch;

use std::fmt;

use super::errand::Errand;
use super::step::{
    Action, Allowed, Backend, ConfineStep, Cover, EnterStep, FilterProgram, FsStep, IdKind,
    IdMapping, IdsStep, LimitStep, Link, MountAccess, MountFlags, Namespaces, NetStep,
    NetstackStep, OverlayServer, ProcessStep, Stage, StdioPlan, StoreStep,
};
use crate::spec::net::Publish;

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(step) => step.fmt(f),
            Self::Enter(step) => step.fmt(f),
            Self::Publish(publish) => published(publish, f),
            Self::Clone(namespaces) => namespaces.fmt(f),
            Self::Ids(step) => step.fmt(f),
            Self::Group(step) => step.fmt(f),
            Self::Fs(step) => step.fmt(f),
            Self::Net(step) => step.fmt(f),
            Self::Netstack(step) => step.fmt(f),
            Self::Limit(step) => step.fmt(f),
            Self::Confine(step) => step.fmt(f),
            Self::Process(step) => step.fmt(f),
            Self::Watch(step) => step.fmt(f),
        }
    }
}

fn published(publish: &Publish, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("listen at ")?;
    match publish.address {
        Some(address) => write!(f, "{address}")?,
        None => f.write_str("loopback")?,
    }
    match publish.host {
        Some(ports) if ports.count() > 1 => write!(f, ", the first free port of {ports}")?,
        Some(port) => write!(f, ", port {port}")?,
        None => f.write_str(", any free port")?,
    }
    write!(f, ", for {}/{} of the sandbox", publish.sandbox, publish.transport)
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::Launch => "launch",
            Self::Sandbox => "sandbox",
            Self::Netstack => "netstack",
            Self::Init => "init",
            Self::Payload => "payload",
            Self::Supervise => "supervise",
        })
    }
}

impl fmt::Display for StoreStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { store } => write!(f, "open the store `{store}`"),
            Self::Take { store, sandbox } => {
                write!(f, "take sandbox `{sandbox}` in the store `{store}`")
            }
            Self::Directory { path } => write!(f, "make the directory `{path}` on the host"),
            Self::LayerAgain(number) => write!(f, "take layer {} as it is", number.0),
            Self::Note { store, .. } => {
                write!(f, "note what can be written in the store `{store}`")
            }
            Self::Layer(number) => write!(f, "make layer {}", number.0),
            Self::Mask { store, layer, .. } => {
                write!(f, "find or make scratch layer {} in the store `{store}`", layer.0)
            }
        }
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("clone into new namespaces:")?;
        let others = [
            (self.user, "user"),
            (true, "mount"),
            (self.pid, "pid"),
            (self.net, "net"),
            (self.ipc, "ipc"),
            (self.uts, "uts"),
            (self.cgroup, "cgroup"),
        ];
        others.iter().filter(|(new, _)| *new).try_for_each(|(_, name)| write!(f, " {name}"))
    }
}

impl fmt::Display for EnterStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(name) => {
                write!(f, "enter the user namespace of the network `{name}`")
            }
            Self::Attach(name) => write!(f, "connect it with the network `{name}`"),
            Self::Sandbox(id) => {
                write!(f, "enter the user and network namespaces of sandbox `{id}`")
            }
        }
    }
}

impl fmt::Display for IdMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.inside, self.outside)?;
        if self.count == 1 { Ok(()) } else { write!(f, ", {} ids", self.count) }
    }
}

impl fmt::Display for IdsStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DenySetgroups => f.write_str("deny setgroups"),
            Self::WriteMaps { uid, gid } => write!(f, "map ids: user {uid}; group {gid}"),
            Self::WriteMap { kind: IdKind::User, .. } => f.write_str("map user ids"),
            Self::WriteMap { kind: IdKind::Group, .. } => f.write_str("map group ids"),
            Self::RunHelper { program, kind: IdKind::User, .. } => {
                write!(f, "map user ids with `{program}`")
            }
            Self::RunHelper { program, kind: IdKind::Group, .. } => {
                write!(f, "map group ids with `{program}`")
            }
        }
    }
}

impl fmt::Display for MountFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.access {
            MountAccess::ReadOnly => "read-only",
            MountAccess::Writable => "writable",
        })?;
        if self.devices == Allowed::Yes {
            f.write_str(", devices")?;
        }
        if self.exec == Allowed::No { f.write_str(", noexec") } else { Ok(()) }
    }
}

impl fmt::Display for FsStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakePrivate => f.write_str("make every mount private"),
            Self::Scratch => f.write_str("mount the scratch file system"),
            Self::Hold { size } => {
                write!(f, "hold all that is written in memory, at most {size} bytes")
            }
            Self::ScratchLayer { layer, .. } => write!(f, "make scratch layer {}", layer.0),
            Self::NewRoot => f.write_str("mount the new root"),
            Self::Directory { at, mode } => write!(f, "make the directory `{at}`, {mode:04o}"),
            Self::Link { at, target } => write!(f, "make the link `{at}` to `{target}`"),
            Self::File { at, mode, .. } => write!(f, "make the file `{at}`, {mode:04o}"),
            Self::Socket { at } => write!(f, "make the socket `{at}`, which the supervisor reads"),
            Self::FileOver { at, .. } => write!(f, "put a file of our own over `{at}`"),
            Self::Bind { from, at, flags } if from.as_bytes() == at.as_bytes() => {
                write!(f, "bind `{at}`, {flags}")
            }
            Self::Bind { from, at, flags } => write!(f, "bind `{from}` at `{at}`, {flags}"),
            Self::Overlay { at, upper: None, .. } => {
                write!(f, "mount an overlay at `{at}`, read-only")
            }
            Self::Overlay { at, .. } => write!(f, "mount an overlay at `{at}`"),
            Self::Tmpfs { at, mode, flags, .. } => {
                write!(f, "mount a tmpfs at `{at}`, {mode:04o}, {flags}")
            }
            Self::Proc { at } => write!(f, "mount a procfs at `{at}`"),
            Self::Sysfs { at } => write!(f, "mount a sysfs at `{at}`"),
            Self::Devpts { at } => write!(f, "mount a devpts at `{at}`"),
            Self::Mqueue { at } => write!(f, "mount message queues at `{at}`"),
            Self::Cgroups { at } => write!(f, "mount its control groups at `{at}`"),
            Self::Cover { at, with } => with.write(f, at),
            Self::Seal { at } => write!(f, "make the mount at `{at}` read-only"),
            Self::Pivot => f.write_str("make the new root `/`"),
        }
    }
}

impl Cover {
    fn write(self, f: &mut fmt::Formatter<'_>, at: &crate::spec::SandboxPath) -> fmt::Result {
        match self {
            Self::Directory => write!(f, "cover `{at}` with an empty directory"),
            Self::File => write!(f, "cover `{at}` with an empty file"),
            Self::IfThere => write!(f, "cover `{at}` if it is there"),
            Self::ReadOnlyIfThere => write!(f, "make `{at}` read-only if it is there"),
        }
    }
}

impl fmt::Display for OverlayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("the kernel"),
            Self::Fuse { program, squash: None } => write!(f, "`{program}`"),
            Self::Fuse { program, squash: Some((uid, gid)) } => {
                write!(f, "`{program}`, every file as {uid}:{gid}'s")
            }
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Fuse => "fuse-overlayfs",
        })
    }
}

impl fmt::Display for NetStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::Settings { echo_group } => {
                write!(f, "let it listen at every port, and group {echo_group} send echoes")
            }
            Self::HandOver => f.write_str("hand its network namespace over"),
            Self::Tun(link) => {
                write!(f, "make the interface `{}`, MTU {}", Link::NAME, link.mtu)?;
                write_families(f, link)
            }
            Self::Port(link) => {
                write!(f, "configure the interface `{}`, MTU {}", Link::port(0), link.mtu)?;
                write_families(f, link)
            }
        }
    }
}

fn write_families(f: &mut fmt::Formatter<'_>, link: &Link) -> fmt::Result {
    let mut families = link.families();
    families
        .try_for_each(|(own, prefix, gateway)| write!(f, ", {own}/{prefix} by way of {gateway}"))
}

impl fmt::Display for NetstackStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confine { landlock_abi } => {
                f.write_str("give up files, programs and capabilities")?;
                match landlock_abi {
                    Some(abi) => write!(f, ", with Landlock, ABI {abi}"),
                    None => Ok(()),
                }
            }
            Self::Tool { program, arguments, .. } => {
                write!(f, "connect it with `{program}")?;
                arguments.iter().try_for_each(|argument| write!(f, " {argument}"))?;
                f.write_str("`")
            }
            Self::KeepLoopback(interface) => {
                write!(f, "keep what is for loopback from leaving by `{interface}`")
            }
            Self::Serve(egress) => {
                if egress.closed {
                    return f.write_str("answer for names of members alone");
                }
                f.write_str("pass on what goes to ")?;
                if egress.everything || egress.allow.is_empty() {
                    f.write_str("public addresses")?;
                }
                for (n, rule) in egress.allow.iter().enumerate() {
                    let comma = n > 0 || egress.everything;
                    write!(f, "{}`{rule}`", if comma { ", " } else { "" })?;
                }
                let mut denied = egress.deny.iter();
                denied.try_for_each(|rule| write!(f, ", not `{rule}`"))?;
                egress.rate.iter().try_for_each(|rate| {
                    write!(f, "; {rate} bits per second down and up at most")
                })?;
                egress.capture.iter().try_for_each(|capture| {
                    write!(f, "; packets to `{}`, {} bytes at most", capture.file, capture.most)
                })
            }
        }
    }
}

/// A ceiling, or none.
struct Ceiling(Option<u64>);

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("unlimited"),
        }
    }
}

impl fmt::Display for LimitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rlimit { resource, soft, hard } if soft == hard => {
                write!(f, "limit {} to {}", resource.name(), Ceiling(*soft))
            }
            Self::Rlimit { resource, soft, hard } => {
                let (soft, hard) = (Ceiling(*soft), Ceiling(*hard));
                write!(f, "limit {} to {soft}, at most {hard}", resource.name())
            }
            Self::UserCount { name, value } => write!(f, "set user.{} to {value}", name.name()),
        }
    }
}

impl fmt::Display for ConfineStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring => f.write_str("take a new session keyring"),
            Self::Capabilities { keep } if keep.is_empty() => f.write_str("drop every capability"),
            Self::Capabilities { keep } => {
                f.write_str("drop every capability but")?;
                keep.iter().try_for_each(|capability| write!(f, " {capability}"))
            }
            Self::Securebits => f.write_str("lock the securebits"),
            Self::NoNewPrivs => f.write_str("set no_new_privs"),
            Self::Landlock(rules) => write!(f, "confine with Landlock, ABI {}", rules.abi),
            Self::ShortAttributes => {
                f.write_str("refuse long attributes, whose memory nothing counts")
            }
            Self::Seccomp { program, listen } => {
                match program {
                    FilterProgram::Builtin { name, .. } => {
                        let name = crate::spec::text::escape(name);
                        write!(f, "install the system call filter `{name}`")?;
                    }
                    FilterProgram::Custom { .. } => {
                        f.write_str("install the system call filter that was given")?;
                    }
                }
                if *listen { f.write_str(", refused calls are told") } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for ProcessStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undumpable => f.write_str("become undumpable"),
            Self::CgroupNamespace => f.write_str("make a cgroup namespace"),
            Self::Hostname(name) => {
                write!(f, "set the host name to `{}`", crate::spec::text::escape(name))
            }
            Self::TakeIds { uid, gid, drop_groups: true } => {
                write!(f, "drop the supplementary groups and become {uid}:{gid}")
            }
            Self::TakeIds { uid, gid, drop_groups: false } => write!(f, "become {uid}:{gid}"),
            Self::Session { pty: true } => f.write_str("open a session with a terminal of its own"),
            Self::Session { pty: false } => f.write_str("open a session"),
            Self::JoinNamespaces => f.write_str("join the namespaces of the sandbox"),
            Self::EndWithParent => f.write_str("end with the parent"),
            Self::ProcessGroup { foreground: true } => {
                f.write_str("make a process group, in the foreground")
            }
            Self::ProcessGroup { foreground: false } => f.write_str("make a process group"),
            Self::Stdio { number, with } => match with {
                StdioPlan::Keep => write!(f, "keep descriptor {number}"),
                StdioPlan::Null => write!(f, "open `/dev/null` at descriptor {number}"),
                StdioPlan::Pty => write!(f, "put the terminal at descriptor {number}"),
                StdioPlan::Relay => write!(f, "put a relayed pipe at descriptor {number}"),
            },
            Self::CloseDescriptors { keep } if keep.is_empty() => {
                f.write_str("close every descriptor above 2")
            }
            Self::CloseDescriptors { keep } => {
                f.write_str("close every descriptor above 2 but")?;
                keep.iter().try_for_each(|number| write!(f, " {number}"))
            }
            Self::Umask(mask) => write!(f, "set the umask to {mask:03o}"),
            Self::Workdir(at) => write!(f, "go to `{at}`"),
            Self::OwnNumber(names) => {
                f.write_str("put its own number into")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::Exec { argv, .. } => match argv.first() {
                Some(program) => write!(f, "execute `{program}`"),
                None => f.write_str("execute nothing"),
            },
            Self::Errand(Errand::Pack { path, .. }) => write!(f, "copy `{path}`"),
            Self::Errand(Errand::Unpack { path, .. }) => write!(f, "copy to `{path}`"),
        }
    }
}
