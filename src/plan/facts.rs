//! What this host offers, as data: filled in by `host`, read by the planner, printed by `doctor`.
//!
//! # Theory of operation
//! A fact that a spec does not need is not probed: `needs` says what is. An
//! unprobed fact is `None`; a planner that reads one returns [`PlanError::Unprobed`](super::PlanError),
//! which is a mistake in `needs` and caught by its tests. What is too slow to try at every start is
//! assumed from a cheap key and may be *refuted* when a step fails: then the run is planned once
//! more with [`Refuted`] set.

mod groups;
mod paths;
mod stores;
mod target;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use groups::{Controller, Delegated, Disk, DiskOf, GroupVersion, Groups, Manager, Weigher};
pub use paths::{
    HostDirectory, Kind, Match, Mount, Place, RootEntry, SplitDirectory, SplitEntry, Twin, Way,
    Written,
};
pub use stores::{StoreCandidate, StoreSource, StoreState};
pub use target::{Lease, Target};

use crate::spec::limits::Resource;
use crate::spec::net::Lookup;
use crate::spec::{HostPath, SandboxPath, Text};

/// Everything known about this host and caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The kernel's release.
    pub kernel: Kernel,
    /// Bytes of main memory; 0 where that is not known.
    pub memory: u64,
    /// Who calls.
    pub caller: Caller,
    /// The mount table of the caller's namespace, in its order.
    pub mounts: Vec<Mount>,
    /// What the mount table has twice. Secrets in it are listed at each place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<Twin>,
    /// The entries of `/`, sorted by name.
    pub root_entries: Vec<RootEntry>,
    /// Every place a request, volume, secret, or hidden pattern came down to, with what is there.
    /// Looked up by [`Facts::place`]; what is not in the list was not probed.
    pub places: Vec<Place>,
    /// Secrets that exist: what the patterns matched, without those below another match. One that is
    /// a link is followed by what it leads to, if that is there.
    pub secrets: Vec<Match>,
    /// Hidden-by-default places that exist.
    pub hidden: Vec<Match>,
    /// The folders of bryo's own settings, from which later runs take profiles, links resolved: where something
    /// is written straight to the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Match>,
    /// Ways to the settings, to the profiles in them and to the stores that lead through links: probed as the
    /// settings are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
    /// Directories of the caller's `PATH`, from which programs are started by name: probed as the settings are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Way>,
    /// The file of this bryo; none where it runs from memory. Probed as the settings are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_file: Option<HostPath>,
    /// What earlier runs could write, as the stores have it: where a place was reached through a link.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<Written>,
    /// Patterns without wildcards that matched nothing: hidden all the same, should they appear.
    /// Links of the parents that exist are resolved. Left out where nothing can appear: below a file
    /// or a directory that the caller may not enter.
    pub absent: Vec<HostPath>,
    /// Every directory above a place, match, or absent path, and each of them that is a directory
    /// itself; sorted.
    pub directories: Vec<HostDirectory>,
    /// Files that are shown with a warning.
    pub warned: Vec<HostPath>,
    /// Host directories with a mount below that are copy-on-write: their own entries. Probed when
    /// the mount table says that a wanted tree has to be split.
    pub split: Vec<SplitDirectory>,
    /// Pathname sockets of the host's network namespace (`/proc/net/unix`), links of their parents
    /// resolved.
    pub sockets: Vec<HostPath>,
    /// Home directories named in passwd, links resolved, that exist, are not the caller's, and do not
    /// belong to root (`/`, `/bin`, `/usr/games` are homes in many a passwd).
    pub other_homes: Vec<HostPath>,
    /// Directories that could hold the layer, in order of preference. Where they are seen: [`Facts::store_places`].
    pub stores: Vec<StoreCandidate>,
    /// Highest Landlock ABI; 0 when the kernel has none.
    pub landlock_abi: Option<u32>,
    /// Whether a seccomp listener can be had: not inside another listening filter.
    pub seccomp_notify: Option<bool>,
    /// Whether an overlay can be mounted by the kernel in a user namespace.
    pub kernel_overlay: Option<bool>,
    /// fuse-overlayfs and what it needs.
    pub fuse: Option<Fuse>,
    /// Subordinate ids and their helpers.
    pub subids: Option<Subids>,
    /// Whether `/dev/net/tun` can be opened.
    pub tun: Option<bool>,
    /// The program that is to connect the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_tool: Option<NetworkTool>,
    /// How the host makes names whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Lookup>,
    /// Whether a procfs can be mounted inside; false where the outer one is masked.
    pub procfs_mountable: Option<bool>,
    /// Whether the kernel hands what dies to a program. Probed where the caller's limit of core files is
    /// 0, which keeps files away but no program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_handler: Option<bool>,
    /// Control groups, and who may make some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// The disks of the places that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskOf>,
    /// What stands at descriptors 0, 1, 2.
    pub stdio: [Stdio; 3],
    /// Whether the caller is in the background of its terminal, as after `&` in a shell.
    pub background: bool,
    /// The lines of the host's passwd and group that name ids mapped inside; see [`Account`].
    pub account: Account,
    /// The sandbox whose network is to be shared.
    pub target: Option<Target>,
    /// The place on a network that was given.
    pub lease: Option<Lease>,
    /// What doing has refuted since the first plan.
    pub refuted: BTreeSet<Refuted>,
}

/// The kernel's release, as far as decisions need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// As in 6.18.
    pub major: u32,
    /// As in 6.18.
    pub minor: u32,
}

impl Kernel {
    /// Whether this release is `major.minor` or later.
    pub fn at_least(self, major: u32, minor: u32) -> bool {
        self >= Self { major, minor }
    }
}

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups, sorted, the effective one left out.
    pub groups: Vec<u32>,
    /// `$HOME`, links resolved, or what passwd says where it is unset or empty; none when relative or
    /// not a directory.
    pub home: Option<HostPath>,
    /// `$HOME` as it is spelt, when links make that another path.
    pub home_spelt: Option<HostPath>,
    /// The current directory, links resolved.
    pub workdir: Workdir,
    /// The same as the caller's shell spells it, when links make that another path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir_spelt: Option<HostPath>,
    /// File mode creation mask.
    pub umask: u32,
    /// The hard limits that the plan needs to know of, where there are some: they can only be lowered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ceilings: Vec<Ceiling>,
}

/// A hard limit of the caller's, in the unit of `setrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    /// Of what.
    pub resource: Resource,
    /// How far it goes.
    pub most: u64,
}

impl Caller {
    /// How far a limit of the caller's goes; none where it does not end.
    pub fn ceiling(&self, resource: Resource) -> Option<u64> {
        self.ceilings.iter().find(|known| known.resource == resource).map(|known| known.most)
    }
}

/// The caller's current directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workdir {
    /// It is there.
    At(HostPath),
    /// It was removed meanwhile.
    Deleted,
    /// It, or a directory above it, cannot be entered.
    #[default]
    Unreadable,
}

impl Workdir {
    /// The path, when there is one.
    pub fn path(&self) -> Option<&HostPath> {
        match self {
            Self::At(path) => Some(path),
            Self::Deleted | Self::Unreadable => None,
        }
    }
}

/// fuse-overlayfs and what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fuse {
    /// The program, when installed.
    pub program: Option<HostPath>,
    /// Whether `/dev/fuse` can be opened.
    pub device: bool,
}

impl Fuse {
    /// The program, when everything is there.
    pub fn usable(&self) -> Option<&HostPath> {
        self.program.as_ref().filter(|_| self.device)
    }
}

/// The program that connects a network, where one of others does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkTool {
    /// It, when installed.
    pub program: Option<HostPath>,
}

/// Subordinate ids of the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subids {
    /// Ranges of user ids, in the order they were found.
    pub uids: Vec<IdRange>,
    /// Ranges of group ids.
    pub gids: Vec<IdRange>,
    /// `newuidmap`.
    pub newuidmap: Helper,
    /// `newgidmap`.
    pub newgidmap: Helper,
}

/// A range of ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// The first.
    pub first: u32,
    /// How many, at least 1.
    pub count: u32,
}

/// A privileged helper program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Helper {
    /// Not installed.
    #[default]
    Missing,
    /// Installed, but neither set-user-id root nor with the file capability it needs.
    Unprivileged(HostPath),
    /// Ready.
    Ready(HostPath),
}

/// What stands at one of descriptors 0 to 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdio {
    /// Nothing: `/dev/null` is put there.
    #[default]
    Closed,
    /// A terminal.
    Terminal,
    /// A pipe or FIFO.
    Pipe,
    /// `/dev/null`.
    Null,
    /// A regular file, open for reading only.
    FileRead,
    /// A regular file, open for writing.
    FileWrite,
    /// A socket.
    Socket,
    /// A directory: would open the host's tree.
    Directory,
    /// Opened with `O_PATH`.
    Path,
    /// Another device, or something else.
    Other,
}

/// How the mapped ids are called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// The caller's login name, when one is known.
    pub name: Option<Text>,
    /// The caller's group, when its name is known.
    pub group: Option<Text>,
    /// The text of the host's `/etc/passwd`, when that has no line for the user id inside.
    pub passwd_without: Option<Text>,
    /// The text of the host's `/etc/group`, when that has no line for the group id inside.
    pub group_without: Option<Text>,
    /// The caller's shell.
    pub shell: Option<SandboxPath>,
}

/// A fact that was assumed and turned out false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refuted {
    /// The kernel does not mount an overlay in a user namespace.
    KernelOverlay,
    /// The kernel does not take the store's file system for an upper layer.
    StoreHoldsUpper,
    /// No listener can be had: another one listens already.
    SeccompNotify,
    /// A procfs cannot be mounted.
    ProcfsMountable,
    /// sysfs cannot be mounted.
    SysfsMountable,
    /// The store cannot hold masks: no whiteout can be made there, as inside another sandbox.
    StoreHoldsMasks,
    /// The kernel has no IPv6.
    Ipv6,
    /// Settings of a network namespace cannot be written, as in a container whose `/proc/sys` is read-only.
    NetworkSettings,
}

impl Facts {
    /// What was found at a path that was asked for.
    pub fn place(&self, asked: &HostPath) -> Option<&Place> {
        self.places.iter().find(|place| place.asked == *asked)
    }

    /// The mount points that lie below `path`, each once.
    pub fn mounts_below(&self, path: &HostPath) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.at.is_below(path))
    }

    /// The permission bits of a directory, when it is one and was looked at.
    pub fn directory_mode(&self, path: &HostPath) -> Option<u32> {
        let listed = self.directories.iter().find(|directory| directory.path == *path);
        let split = || self.split.iter().find(|directory| directory.path == *path);
        listed.map(|directory| directory.mode).or_else(|| split().map(|directory| directory.mode))
    }

    /// Whether something was refuted.
    pub fn is_refuted(&self, fact: Refuted) -> bool {
        self.refuted.contains(&fact)
    }
}
