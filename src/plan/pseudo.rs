//! Plans the parts of the tree that no disk holds: `/dev`, `/proc`, `/sys`, `/run`, `/tmp`, and what is
//! masked in them.
//!
//! # Decisions
//! - `/dev` is a tmpfs of ours, sealed when it is full: device nodes are binds of the host's, because
//!   none can be made in a user namespace.
//! - A fresh procfs shows only this sandbox's processes. Where none can be mounted (a masked `/proc`
//!   outside), `/proc` stays empty: a bind of the host's would show everybody's processes.
//! - A file of procfs that belongs to the machine's root, who has no id inside, is out of reach by its
//!   own permission bits, whatever capabilities the payload has in its namespace. It is masked where the
//!   caller is root. Every mask costs the start some ten microseconds.
//! - A fresh sysfs has `kernel/debug`, `fs/cgroup` and the like as empty directories; only a bind of the
//!   host's needs covers there. Both need one over what describes the machine.

use std::ffi::OsString;

use super::facts::{Facts, Refuted};
use super::step::{Allowed, Cover, FsStep, MountAccess, MountFlags, Room};
use crate::spec::{HostPath, SandboxPath, Spec};

/// What share of the machine's memory each private file system may hold where nobody says: `/tmp`,
/// `/var/tmp`, `/run` and `/dev/shm` together half of it. The kernel's own default is a half for each, and what
/// lies there is charged to no process, so that others are killed when it is full.
const SHARE_OF_MEMORY: u64 = 8;

/// Devices that every sandbox has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links of `/dev`, with their targets.
const DEV_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// File systems of the sandbox's own in its `/dev`.
pub(super) const MOUNTS_IN_DEV: [&str; 3] = ["pts", "shm", "mqueue"];

/// What of `/proc` is hidden from everybody: keys, kernel addresses, hardware.
const PROC_HIDDEN: [&str; 7] =
    ["acpi", "asound", "kallsyms", "keys", "latency_stats", "sched_debug", "scsi"];
/// What only the machine's root can read: hidden where the payload is that root.
const PROC_HIDDEN_FROM_ROOT: [&str; 6] =
    ["kcore", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "timer_list"];
/// What cannot be written, though it may belong to the sandbox's own namespaces.
const PROC_READ_ONLY: [&str; 1] = ["sys"];
/// What only the machine's root can write: read-only where the payload is that root.
const PROC_READ_ONLY_FOR_ROOT: [&str; 4] = ["bus", "fs", "irq", "sysrq-trigger"];

/// What of `/sys` is hidden: firmware tables, serial numbers, power meters (a side channel). What
/// `/sys/class` has of the last two are links to here.
const SYS_HIDDEN: [&str; 3] = ["firmware", "devices/virtual/dmi", "devices/virtual/powercap"];
/// Also hidden where the host's own `/sys` is bound with all that is mounted in it.
const SYS_HIDDEN_IN_BIND: [&str; 6] =
    ["kernel/debug", "kernel/tracing", "kernel/security", GROUPS, "fs/bpf", "fs/pstore"];
/// Where control groups are mounted.
const GROUPS: &str = "fs/cgroup";

/// Device nodes work, nothing is executed, the mount itself is read-only: a node can be written all
/// the same, its mode and owner cannot be changed.
pub(super) const DEVICE_FLAGS: MountFlags =
    MountFlags { access: MountAccess::ReadOnly, devices: Allowed::Yes, exec: Allowed::No };

/// Writable, without devices or programs.
const QUIET: MountFlags =
    MountFlags { access: MountAccess::Writable, devices: Allowed::No, exec: Allowed::No };

/// Whether `/proc` can be filled.
pub(super) fn procfs_is_mountable(facts: &Facts) -> bool {
    facts.procfs_mountable != Some(false) && !facts.is_refuted(Refuted::ProcfsMountable)
}

/// Bytes that a private file system may hold; none where the machine's memory is not known.
pub(super) fn share_of_memory(facts: &Facts) -> Option<u64> {
    (facts.memory > 0).then_some(facts.memory / SHARE_OF_MEMORY)
}

fn at(text: impl Into<OsString>) -> SandboxPath {
    // Our own constants: absolute and normal, so the root stands for no path of them.
    SandboxPath::new(text.into()).unwrap_or_else(|_| SandboxPath::root())
}

/// Where memory is shared by name.
pub(super) fn shm() -> SandboxPath {
    at("/dev/shm")
}

/// `/dev`, whose directory stands, without its seal: what the user asked for comes in between.
pub(super) fn dev(shm_room: Room) -> Vec<FsStep> {
    let room = Room::Own(None);
    let mut steps = vec![FsStep::Tmpfs { at: at("/dev"), room, mode: 0o755, flags: QUIET }];
    for name in DEVICES {
        let node = at(format!("/dev/{name}"));
        steps.push(FsStep::File { at: node.clone(), content: String::new().into(), mode: 0o666 });
        let from: HostPath = node.same_on_host();
        steps.push(FsStep::Bind { from, at: node, flags: DEVICE_FLAGS });
    }
    for (name, target) in DEV_LINKS {
        steps.push(FsStep::Link { at: at(format!("/dev/{name}")), target: target.into() });
    }
    for name in MOUNTS_IN_DEV {
        steps.push(FsStep::Directory { at: at(format!("/dev/{name}")), mode: 0o755 });
    }
    steps.push(FsStep::Devpts { at: at("/dev/pts") });
    steps.push(FsStep::Tmpfs { at: shm(), room: shm_room, mode: 0o1777, flags: QUIET });
    steps.push(FsStep::Mqueue { at: at("/dev/mqueue") });
    steps
}

/// `/proc`, whose directory stands, and its masks; nothing where it cannot be mounted.
pub(super) fn proc(facts: &Facts) -> Vec<FsStep> {
    if !procfs_is_mountable(facts) {
        return Vec::new();
    }
    let mut steps = vec![FsStep::Proc { at: at("/proc") }];
    let as_root =
        |names: &'static [&'static str]| names.iter().filter(move |_| facts.caller.uid == 0);
    let read_only = PROC_READ_ONLY.iter().chain(as_root(&PROC_READ_ONLY_FOR_ROOT));
    let read_only = read_only.map(|name| (name, Cover::ReadOnlyIfThere));
    let hidden = PROC_HIDDEN.iter().chain(as_root(&PROC_HIDDEN_FROM_ROOT));
    let hidden = hidden.map(|name| (name, Cover::IfThere));
    for (name, with) in read_only.chain(hidden) {
        steps.push(FsStep::Cover { at: at(format!("/proc/{name}")), with });
    }
    steps
}

/// `/sys`, whose directory stands, and its masks; with the control groups of the payload's own where it `divides` one.
pub(super) fn sys(spec: &Spec, facts: &Facts, divides: bool) -> Vec<FsStep> {
    let fresh = spec.network.is_own() && !facts.is_refuted(Refuted::SysfsMountable);
    let mut steps = if fresh {
        vec![FsStep::Sysfs { at: at("/sys") }]
    } else {
        let flags = MountFlags { exec: Allowed::No, ..MountFlags::READ_ONLY };
        vec![FsStep::Bind { from: at("/sys").same_on_host(), at: at("/sys"), flags }]
    };
    let own = |name: &&str| divides && *name == GROUPS;
    let in_bind = SYS_HIDDEN_IN_BIND.iter().filter(|name| !fresh && !own(name));
    for name in SYS_HIDDEN.iter().chain(in_bind) {
        steps.push(FsStep::Cover { at: at(format!("/sys/{name}")), with: Cover::IfThere });
    }
    if divides {
        steps.push(FsStep::Cgroups { at: at(format!("/sys/{GROUPS}")) });
    }
    steps
}

/// What every private `/run` holds, whose tmpfs stands.
pub(super) fn run(uid: u32) -> Vec<FsStep> {
    [
        ("/run/lock".to_owned(), 0o1777),
        ("/run/user".to_owned(), 0o755),
        (format!("/run/user/{uid}"), 0o700),
    ]
    .into_iter()
    .map(|(path, mode)| FsStep::Directory { at: at(path), mode })
    .collect()
}
