//! Decides how each place is seen: rules by path, and which of two rules for one place wins.
//!
//! # Theory of operation
//! Everything that speaks of a place becomes a [`Rule`]: the host's root entries, the home, the
//! current directory, what profile and flags ask for, secrets, the store. The deepest rule at or
//! above a path decides how it is seen; of two rules at one path the higher [`Rank`] wins, of two of
//! one rank the later. `fs` then builds the tree that shows exactly this.
//!
//! # Not here
//! Where each rule comes from (`places` for what was asked, `workdir` for home and current
//! directory); mounts (`fs`).

use super::error::PlanError;
use super::facts::{Facts, Kind, Place};
use super::mounts::MountTable;
use super::planted::refuse_planted;
use crate::spec::order;
use crate::spec::rootfs::Base;
use crate::spec::{HostPath, SandboxPath, Spec, Text, User};

/// How a place and what is below it are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    /// An empty tree of ours that holds what other rules put there.
    Skeleton,
    /// A tree that only root writes: bound as it is, read-only.
    System,
    /// Read-only, sockets and FIFOs dead.
    Read,
    /// Copy-on-write.
    Cow,
    /// Copy-on-write, every file shown as root's.
    CowAsRoot,
    /// Empty at first; what is written there is kept like a copy-on-write tree's.
    Private,
    /// Straight to the host.
    Write,
    /// An empty file system in memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
    },
    /// Not at all.
    Hidden,
    /// A listening socket.
    Socket,
    /// A device, or a directory of them.
    Device,
    /// A symbolic link of ours.
    Link(Text),
    /// A file of ours with this content.
    File(Text),
    /// A file system of the kernel's.
    Own(Pseudo),
}

impl View {
    /// The flag that asks for it.
    pub(super) fn flag(&self) -> &'static str {
        match self {
            Self::Cow | Self::CowAsRoot | Self::Private => "--cow",
            Self::Write => "--write",
            Self::Tmpfs { .. } => "--tmpfs",
            Self::Hidden => "--hide",
            Self::Socket => "--socket",
            Self::Device => "--device",
            Self::Skeleton
            | Self::System
            | Self::Read
            | Self::Link(_)
            | Self::File(_)
            | Self::Own(_) => "--read",
        }
    }
}

/// The file systems that `pseudo` plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pseudo {
    Dev,
    Proc,
    Sys,
    Run,
}

/// Who wins at one place, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Default,
    Home,
    Workdir,
    Profile,
    Secret,
    Flag,
    Store,
}

/// How one place is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) at: SandboxPath,
    pub(super) view: View,
    pub(super) rank: Rank,
    /// What of the host is seen there.
    pub(super) from: HostPath,
    /// What stands at `from`.
    pub(super) kind: Kind,
    /// Whether it holds files of other ids that the caller may write.
    pub(super) foreign: bool,
    /// Bytes, for a file.
    pub(super) size: u64,
}

impl Rule {
    /// A place of the host that keeps its name.
    pub(super) fn same(path: &HostPath, view: View, rank: Rank, kind: Kind) -> Self {
        let (at, from) = (path.same_in_sandbox(), path.clone());
        Self { at, view, rank, from, kind, foreign: false, size: 0 }
    }

    /// A probed place, where `links` lead.
    pub(super) fn of(place: &Place, view: View, rank: Rank) -> Self {
        let (foreign, size) = (place.foreign_writable, place.size);
        Self { foreign, size, ..Self::same(&place.real, view, rank, place.kind.clone()) }
    }

    /// Whether the host's files are seen through it.
    pub(super) fn shows_host(&self) -> bool {
        use View::{Cow, CowAsRoot, Read, System, Write};
        matches!(self.view, System | Read | Cow | CowAsRoot | Write)
    }
}

/// All rules, by place: sorted, one for each.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    /// Adds a rule unless one of a higher rank stands there.
    pub(super) fn add(&mut self, rule: Rule) {
        match self.position(&rule.at) {
            Ok(there) if self.0[there].rank > rule.rank => {}
            Ok(there) => self.0[there] = rule,
            Err(between) => self.0.insert(between, rule),
        }
    }

    /// Adds many: a list of secrets is long, and sorted already.
    pub(super) fn add_all(&mut self, rules: Vec<Rule>) {
        self.0.extend(rules);
        // Stable, so that of two rules for one place the later stays later.
        order::sort_by(&mut self.0, |one, two| one.at.cmp(&two.at));
        self.0.dedup_by(|later, kept| {
            let is_same = later.at == kept.at;
            if is_same && later.rank >= kept.rank {
                std::mem::swap(later, kept);
            }
            is_same
        });
    }

    fn position(&self, at: &SandboxPath) -> Result<usize, usize> {
        self.0.binary_search_by(|rule| rule.at.cmp(at))
    }

    /// The rule for this very place.
    pub(super) fn at(&self, at: &SandboxPath) -> Option<&Rule> {
        self.position(at).ok().and_then(|there| self.0.get(there))
    }

    /// The rule that decides how `at` is seen.
    pub(super) fn deciding(&self, at: &SandboxPath) -> Option<&Rule> {
        self.at(at).or_else(|| at.ancestors().find_map(|above| self.at(&above)))
    }

    /// All of them, each before what lies below it.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }
}

/// Trees that are bound as they are when only root writes there. `sbin`, `lib64` and the like stand
/// for themselves where they are not links into `/usr`. Not `/opt`: services that are installed there keep their sockets
/// in it.
const SYSTEM: [&str; 12] =
    ["usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "boot", "nix", "gnu", "snap"];

/// Of those, the ones that a package manager writes: copy-on-write for root over the host's tree.
const WRITTEN_BY_ROOT: [&str; 8] = ["usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Whether programs cannot run without it: never hidden because a home stands in it.
pub(super) fn is_indispensable(path: &HostPath) -> bool {
    let is_top = path.depth() == 1;
    let name = path.file_name().and_then(|name| name.to_str());
    is_top && name.is_some_and(|name| SYSTEM.contains(&name) && !matches!(name, "boot" | "snap"))
}

/// File systems that are no place for files: what is mounted of them in a tree is left empty there.
const NO_FILES: [&[u8]; 20] = [
    b"autofs",
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devpts",
    b"devtmpfs",
    b"efivarfs",
    b"fusectl",
    b"mqueue",
    b"nsfs",
    b"proc",
    b"pstore",
    b"rpc_pipefs",
    b"securityfs",
    b"selinuxfs",
    b"sysfs",
    b"tracefs",
];

/// The rules for `/` and its entries.
pub(super) fn base_rules(
    spec: &Spec,
    facts: &Facts,
    table: &MountTable,
    rules: &mut Rules,
) -> Result<(), PlanError> {
    let root = HostPath::root();
    match &spec.rootfs.base {
        Base::Directory(directory) => {
            let place = facts.place(directory).ok_or(PlanError::Unprobed("places"))?;
            if place.kind != Kind::Directory {
                return Err(PlanError::NotADirectory(directory.clone()));
            }
            refuse_planted(place, "--rootfs", facts)?;
            let view = if spec.rootfs.read_only { View::Read } else { View::Cow };
            let rule = Rule::of(place, view, Rank::Default);
            rules.add(Rule { at: SandboxPath::root(), ..rule });
        }
        Base::Empty => {
            rules.add(Rule::same(&root, View::Skeleton, Rank::Default, Kind::Directory));
            private_rules(facts, rules);
        }
        Base::Host => {
            rules.add(Rule::same(&root, View::Skeleton, Rank::Default, Kind::Directory));
            for entry in &facts.root_entries {
                if let Some(view) = entry_view(spec, table, entry) {
                    rules.add(Rule::same(&entry.path, view, Rank::Default, entry.kind.clone()));
                }
            }
            private_rules(facts, rules);
        }
    }
    for (path, pseudo) in [("/dev", Pseudo::Dev), ("/proc", Pseudo::Proc), ("/sys", Pseudo::Sys)] {
        rules.add(Rule::same(&fixed(path), View::Own(pseudo), Rank::Default, Kind::Directory));
    }
    Ok(())
}

/// `/tmp`, `/run` and `/var/tmp` are never the host's.
fn private_rules(facts: &Facts, rules: &mut Rules) {
    let tmp = View::Tmpfs { size: None, mode: 0o1777 };
    rules.add(Rule::same(&fixed("/tmp"), tmp.clone(), Rank::Default, Kind::Directory));
    rules.add(Rule::same(&fixed("/run"), View::Own(Pseudo::Run), Rank::Default, Kind::Directory));
    let var_tmp = fixed("/var/tmp");
    // Where /var/tmp is a link to /tmp, it leads to the private one.
    if facts.place(&var_tmp).is_some_and(|p| p.real == var_tmp && p.kind == Kind::Directory) {
        rules.add(Rule::same(&var_tmp, tmp, Rank::Default, Kind::Directory));
    }
}

/// A path of our own writing.
pub(super) fn fixed(path: &str) -> HostPath {
    HostPath::new(path).unwrap_or_else(|_| HostPath::root())
}

/// How an entry of the host's `/` is seen; none when it is passed over.
fn entry_view(spec: &Spec, table: &MountTable, entry: &super::facts::RootEntry) -> Option<View> {
    let name = entry.path.file_name()?.to_str();
    let is_one_of = |names: &[&str]| name.is_some_and(|name| names.contains(&name));
    match &entry.kind {
        Kind::Link(target) => Some(View::Link(target.clone())),
        Kind::Forbidden => Some(View::Hidden),
        // People's homes: also those of a directory service, whom no file names.
        Kind::Directory if name == Some("home") => Some(View::Hidden),
        Kind::Directory if !can_be_shown(table, &entry.path) => Some(View::Hidden),
        Kind::Directory if spec.ids.user == User::Root && !spec.rootfs.read_only => {
            let is_kept = is_one_of(&SYSTEM) && !is_one_of(&WRITTEN_BY_ROOT);
            Some(if is_kept && entry.only_root_writes { View::System } else { View::CowAsRoot })
        }
        Kind::Directory if is_one_of(&SYSTEM) && entry.only_root_writes => Some(View::System),
        Kind::Directory | Kind::File => Some(View::Read),
        Kind::Absent | Kind::Socket | Kind::Fifo | Kind::Device => None,
    }
}

/// Whether a path lies in a tree that is bound as it is when it is shown: one of the system's, which
/// only root writes.
pub(super) fn is_system(path: &HostPath, facts: &Facts) -> bool {
    let is_listed = |entry: &super::facts::RootEntry| {
        let name = entry.path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| SYSTEM.contains(&name))
    };
    let mut entries = facts.root_entries.iter();
    let top = entries.find(|entry| path.starts_with(&entry.path));
    top.is_some_and(|entry| entry.only_root_writes && is_listed(entry))
}

/// A mount that cannot be entered, or would have the host mount something when it is looked at, is
/// an empty directory.
pub(super) fn can_be_shown(table: &MountTable, path: &HostPath) -> bool {
    let has_files = |fs_type: &Text| !NO_FILES.contains(&fs_type.as_bytes());
    table.mounted_at(path).is_none_or(|mount| mount.enterable && has_files(&mount.fs_type))
}
