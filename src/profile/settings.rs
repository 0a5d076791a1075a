//! What one profile, or a merged row of them, says; and what follows when nobody says anything.
//!
//! Long because it has every key that a profile can have, with what it means.

use core::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::confine::{Capability, Confine, Need, SeccompChoice};
use crate::spec::group::Bound;
use crate::spec::ids::{IdMode, Ids, User};
use crate::spec::limits::{Limits, Resource, Rlimit};
use crate::spec::net::{DnsOption, Egress, HostEntry, Publish, Rule, SearchDomain};
use crate::spec::order;
use crate::spec::rootfs::{
    Access, Base, HomeView, Origin, OverlayChoice, PathRequest, Pattern, Rootfs, WorkdirView,
};
use crate::spec::{EnvironmentVariable, Network, Text};

use super::group::GroupBounds;
use super::health::Checks;
use super::network::Networking;

/// Processes that a payload may have when no profile says a number.
pub const DEFAULT_PROCESSES: u64 = 4096;

/// A partial specification: what is `None` or empty was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Who the payload is.
    pub ids: Identity,
    /// What it sees by default.
    pub root: View,
    /// Single places.
    pub paths: Places,
    /// Its variables.
    pub environment: Variables,
    /// Its network.
    pub network: Networking,
    /// What it may ask of the kernel.
    pub confine: Confinement,
    /// How much it may use.
    pub limits: Bounds,
    /// How it is asked whether it is well.
    #[serde(skip_serializing_if = "is_default")]
    pub health: Checks,
    /// Host name inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Permission bits taken from new files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
}

/// `[ids]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Who the payload is inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// How many ids are mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<IdMode>,
}

/// `[root]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct View {
    /// What stands at `/`: the host's tree or nothing; a directory only by a flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Who serves copy-on-write trees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayChoice>,
    /// How the current directory is seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<WorkdirView>,
    /// How `$HOME` outside it is seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<HomeView>,
    /// Nothing is writable but what is named and the private places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Bytes of each private temporary file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_size: Option<u64>,
    /// Bytes of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
}

/// `[paths]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Places {
    /// Places with an access, each at most once.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub requests: List<PathEntry>,
    /// Files that hold secrets.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub secrets: List<Pattern>,
    /// Other hidden places.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub hidden: List<Pattern>,
    /// Shown with a warning.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub warned: List<Pattern>,
    /// Where variables lead programs: see [`moved`](super::moved).
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub moved: List<String>,
}

/// One place and its access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathEntry {
    /// Where.
    pub path: Pattern,
    /// How it is seen.
    pub access: Access,
}

/// `[environment]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variables {
    /// Names, with `*` for any run of characters, that are passed when the caller has them.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub pass: List<String>,
    /// Variables with a value.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub set: List<EnvironmentVariable>,
}

/// `[confine]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Confinement {
    /// Capabilities that stay.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub capabilities: List<Capability>,
    /// Landlock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landlock: Option<Need>,
    /// A built-in seccomp policy, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// Whether refused system calls are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<bool>,
    /// Whether the payload may make sandboxes of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesting: Option<bool>,
}

/// `[limits]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Ceiling>,
    /// What happens where the kernel does not hold the caller to it.
    #[serde(rename = "processes-need", skip_serializing_if = "Option::is_none")]
    pub processes_need: Option<Need>,
    /// Bytes that may be written to layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Ceiling>,
    /// What happens where that cannot be enforced.
    #[serde(rename = "disk-need", skip_serializing_if = "Option::is_none")]
    pub disk_need: Option<Need>,
    /// Resource limits.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub ulimits: List<Rlimit>,
    /// How long the payload may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What a control group bounds.
    #[serde(skip_serializing_if = "is_default")]
    pub group: GroupBounds,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A number, or none at all on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ceiling {
    /// Asked for by name: no ceiling.
    Unlimited,
    /// This many.
    At(u64),
}

/// Entries that a profile adds to a list and keys it takes out of what came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    bound(
        serialize = "T: Serialize, T::Key: Serialize",
        deserialize = "T: Deserialize<'de>, T::Key: Deserialize<'de>"
    )
)]
pub struct List<T: Keyed> {
    /// In order; no two with the same key.
    pub entries: Vec<T>,
    /// Keys taken out of the lists of the profiles before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<T::Key>,
}

impl<T: Keyed> Default for List<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), removed: Vec::new() }
    }
}

impl<T: Keyed> List<T> {
    /// Whether nothing was said about it.
    pub fn is_unsaid(&self) -> bool {
        self.entries.is_empty() && self.removed.is_empty()
    }
}

/// What makes two entries of a list the same one.
pub trait Keyed {
    /// The part that is compared.
    type Key: Ord + Clone;
    /// This entry's.
    fn key(&self) -> &Self::Key;
}

/// Entries that are their own key.
macro_rules! own_key {
    ($($entry:ty),*) => { $(
        impl Keyed for $entry {
            type Key = Self;
            fn key(&self) -> &Self {
                self
            }
        }
    )* };
}

own_key!(
    Pattern,
    String,
    Capability,
    Rule,
    SocketAddr,
    HostEntry,
    Publish,
    SearchDomain,
    DnsOption
);

impl Keyed for PathEntry {
    type Key = Pattern;
    fn key(&self) -> &Pattern {
        &self.path
    }
}

impl Keyed for EnvironmentVariable {
    type Key = Text;
    fn key(&self) -> &Text {
        &self.name
    }
}

impl Keyed for Rlimit {
    type Key = Resource;
    fn key(&self) -> &Resource {
        &self.resource
    }
}

/// The parts of a [`Spec`](crate::spec::Spec) that profiles decide, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Who the payload is.
    pub ids: Ids,
    /// What it sees.
    pub rootfs: Rootfs,
    /// Which variables lead programs elsewhere, and from where.
    pub moved: Vec<String>,
    /// Its network.
    pub network: Network,
    /// Ports that clients on the host reach.
    pub publish: Vec<Publish>,
    /// What a network with a way out lets through.
    pub egress: Egress,
    /// Modes that no flag may ask for.
    pub refused_networks: Vec<String>,
    /// What it may ask of the kernel.
    pub confine: Confine,
    /// How much it may use.
    pub limits: Limits,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How it is asked whether it is well, as far as profiles say.
    pub health: Checks,
    /// Names of the caller's variables that are passed; with `*`.
    pub pass: Vec<String>,
    /// Variables with a value.
    pub set: Vec<EnvironmentVariable>,
    /// Host name inside.
    pub hostname: Option<String>,
    /// Permission bits taken from new files.
    pub umask: Option<u32>,
}

impl Settings {
    /// Drops what was taken out of earlier profiles: a merged row has none before it.
    pub fn forget_removals(&mut self) {
        self.paths.requests.removed.clear();
        self.paths.secrets.removed.clear();
        self.paths.hidden.removed.clear();
        self.paths.warned.removed.clear();
        self.paths.moved.removed.clear();
        self.environment.pass.removed.clear();
        self.environment.set.removed.clear();
        self.network.refuse.removed.clear();
        self.network.allow.removed.clear();
        self.network.deny.removed.clear();
        self.network.dns.removed.clear();
        self.network.dns_search.removed.clear();
        self.network.dns_options.removed.clear();
        self.network.hosts.removed.clear();
        self.network.publish.removed.clear();
        self.confine.capabilities.removed.clear();
        self.limits.ulimits.removed.clear();
    }

    /// Completes the settings: what nobody said gets the strictest value.
    pub fn finish(mut self) -> Wanted {
        let mut capabilities = self.confine.capabilities.entries;
        order::sort(&mut capabilities);
        Wanted {
            ids: Ids {
                user: self.ids.user.unwrap_or_default(),
                mode: self.ids.mode.unwrap_or_default(),
            },
            moved: std::mem::take(&mut self.paths.moved.entries),
            rootfs: finish_rootfs(self.root, self.paths),
            network: self.network.mode.clone().unwrap_or_default(),
            egress: self.network.egress(),
            publish: self.network.publish.entries.clone(),
            refused_networks: self.network.refuse.entries,
            confine: Confine {
                capabilities,
                landlock: self.confine.landlock.unwrap_or(Need::Required),
                seccomp: SeccompChoice::Builtin(
                    self.confine.seccomp.unwrap_or_else(|| "default".to_owned()),
                ),
                notify: self.confine.notify.unwrap_or(true),
                nesting: self.confine.nesting.unwrap_or(false),
            },
            limits: Limits {
                processes: match self.limits.processes {
                    None => Some(DEFAULT_PROCESSES),
                    Some(Ceiling::At(count)) => Some(count),
                    Some(Ceiling::Unlimited) => None,
                },
                processes_need: self.limits.processes_need.unwrap_or(Need::Required),
                disk: match self.limits.disk {
                    Some(Ceiling::At(at)) => {
                        Some(Bound { at, need: self.limits.disk_need.unwrap_or(Need::Required) })
                    }
                    Some(Ceiling::Unlimited) | None => None,
                },
                rlimits: self.limits.ulimits.entries,
                group: self.limits.group.finish(),
            },
            timeout: self.limits.timeout,
            health: self.health,
            pass: self.environment.pass.entries,
            set: self.environment.set.entries,
            hostname: self.hostname,
            umask: self.umask,
        }
    }
}

/// Two places can turn out to be one (`~` and `.`), and then the later request holds: the one that
/// shows more, for both were asked for; but what is hidden by name stays hidden.
fn openness(access: Access) -> u8 {
    match access {
        Access::Tmpfs { .. } => 0,
        Access::Toolchain => 1,
        Access::Read => 2,
        Access::Cow => 3,
        Access::Device => 4,
        Access::Socket => 5,
        Access::Write => 6,
        Access::Hide => 7,
    }
}

fn finish_rootfs(root: View, mut paths: Places) -> Rootfs {
    order::sort_by_key(&mut paths.requests.entries, |entry| openness(entry.access));
    let request =
        |PathEntry { path, access }| PathRequest { path, access, origin: Origin::Profile };
    Rootfs {
        base: root.base.unwrap_or(Base::Empty),
        overlay: root.overlay.unwrap_or_default(),
        workdir: root.workdir.unwrap_or(WorkdirView::Read),
        home: root.home.unwrap_or(HomeView::Empty),
        requests: paths.requests.entries.into_iter().map(request).collect(),
        volumes: Vec::new(),
        secrets: paths.secrets.entries,
        hidden: paths.hidden.entries,
        warned: paths.warned.entries,
        read_only: root.read_only.unwrap_or(false),
        tmpfs_size: root.tmpfs_size,
        shm_size: root.shm_size,
        climbed: Vec::new(),
        moved: Vec::new(),
    }
}
