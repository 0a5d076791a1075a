//! Says what has to be probed before there can be a plan.
//!
//! # Theory of operation
//! Two rounds. [`needs`] follows from the spec alone: the host resolves its patterns when it knows
//! home and current directory. [`tree_needs`] follows from what the first round found: which
//! directories have to be listed because a mount is below them, what stands at mount points, and whether
//! fuse-overlayfs has to be looked for. `host` decides nothing: it answers each field and leaves the
//! facts of the others alone.

use std::collections::BTreeSet;

use super::error::PlanError;
use super::facts::{Facts, Kind};
use super::view::{Rule, Rules, View};
use super::{fs, identity, mounts::MountTable};
use crate::spec::limits::Resource;
use crate::spec::net::Tool;
use crate::spec::rootfs::{Access, Base, OverlayChoice, Pattern, VolumeMode};
use crate::spec::{HostPath, IdMode, Need, Network, SeccompChoice, Spec, User};

/// What the spec alone asks for. Caller, kernel, and standard descriptors are always probed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one per fact")]
pub struct Needs {
    /// [`Facts::mounts`].
    pub mounts: bool,
    /// [`Facts::root_entries`].
    pub root_entries: bool,
    /// For [`Facts::places`].
    pub places: Vec<WantedPlace>,
    /// For [`Facts::secrets`] and [`Facts::absent`].
    pub secrets: Vec<Pattern>,
    /// For [`Facts::hidden`] and [`Facts::absent`].
    pub hidden: Vec<Pattern>,
    /// [`Facts::settings`] and [`Facts::ways`].
    pub settings: bool,
    /// For [`Facts::warned`].
    pub warned: Vec<Pattern>,
    /// [`Facts::other_homes`].
    pub other_homes: bool,
    /// [`Facts::account`]: which ids inside need a line; the caller's own where none is given.
    pub account: Option<AccountIds>,
    /// [`Facts::stores`].
    pub stores: bool,
    /// [`Facts::landlock_abi`].
    pub landlock_abi: bool,
    /// [`Facts::seccomp_notify`].
    pub seccomp_notify: bool,
    /// [`Facts::kernel_overlay`].
    pub kernel_overlay: bool,
    /// [`Facts::fuse`].
    pub fuse: bool,
    /// [`Facts::subids`].
    pub subids: bool,
    /// [`Facts::groups`].
    pub groups: bool,
    /// [`Groups::weighers`](super::facts::Groups::weighers).
    pub weighers: bool,
    /// The caller says that the group of this process is delegated.
    pub own_group: bool,
    /// For [`Facts::disks`].
    pub disks: Vec<Pattern>,
    /// [`Facts::tun`].
    pub tun: bool,
    /// [`Facts::network_tool`].
    pub network_tool: Option<Tool>,
    /// [`Facts::lookup`].
    pub lookup: bool,
    /// [`Facts::procfs_mountable`].
    pub procfs_mountable: bool,
    /// For [`Caller::ceilings`](super::facts::Caller::ceilings) and [`Facts::core_handler`].
    pub ceilings: Vec<Resource>,
}

/// A place to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPlace {
    /// Where, after [`Pattern::resolve`]; wildcards are literal here.
    pub path: Pattern,
    /// Whether its entries are looked at for files of other ids: it may become copy-on-write.
    pub entries: bool,
}

/// The ids that want a line in the account files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountIds {
    /// User id inside; the caller's if none.
    pub uid: Option<u32>,
    /// Group id inside.
    pub gid: Option<u32>,
}

/// What the first round's answers ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeNeeds {
    /// Directories to be listed in [`Facts::split`].
    pub split: Vec<HostPath>,
    /// Trees that are seen as they are: the sockets below them, for [`Facts::sockets`].
    pub sockets: Vec<HostPath>,
    /// Those of them that are written straight to the host, where people make sockets: these are searched.
    pub written: Vec<HostPath>,
    /// More places for [`Facts::places`]: mount points of which the host must say what is there.
    pub points: Vec<HostPath>,
    /// [`Facts::fuse`].
    pub fuse: bool,
}

impl TreeNeeds {
    /// Whether there is nothing to probe.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a spec needs to know about the host.
pub fn needs(spec: &Spec) -> Needs {
    let rootfs = &spec.rootfs;
    let tool = spec.network.tool();
    let on_host = rootfs.base == Base::Host;
    let shows_host = !matches!(rootfs.base, Base::Directory(_));
    let shows_homes = shows_host || !rootfs.volumes.is_empty();
    Needs {
        mounts: true,
        root_entries: shows_host,
        places: places(spec),
        secrets: if shows_homes { rootfs.secrets.clone() } else { Vec::new() },
        hidden: if on_host { rootfs.hidden.clone() } else { Vec::new() },
        settings: rootfs.requests.iter().any(|request| request.access == Access::Write)
            || rootfs.volumes.iter().any(|volume| volume.mode == VolumeMode::Rw),
        warned: if shows_host { rootfs.warned.clone() } else { Vec::new() },
        other_homes: on_host,
        account: on_host.then(|| match spec.ids.user {
            User::Caller => AccountIds::default(),
            User::Root => AccountIds { uid: Some(0), gid: Some(0) },
            User::Numeric { uid, gid } => AccountIds { uid: Some(uid), gid: Some(gid) },
        }),
        stores: true,
        landlock_abi: spec.confine.landlock != Need::Off || has_netstack(spec),
        seccomp_notify: spec.confine.notify && spec.confine.seccomp != SeccompChoice::Unconfined,
        kernel_overlay: true,
        fuse: rootfs.overlay == OverlayChoice::Fuse || (on_host && spec.ids.user == User::Root),
        subids: spec.ids.mode == IdMode::Subid,
        groups: super::group::may_want_group(spec),
        weighers: spec.limits.group.io_weight.is_some(),
        own_group: spec.lifetime.service.as_ref().is_some_and(|service| service.delegated),
        disks: spec.limits.group.io.iter().map(|io| io.at.clone()).collect(),
        tun: has_netstack(spec) || tool.is_some(),
        network_tool: tool,
        lookup: has_netstack(spec) || tool.is_some() || matches!(spec.network, Network::Sandbox(_)),
        procfs_mountable: true,
        ceilings: super::limits::limited(spec).collect(),
    }
}

/// Whether packets become sockets of the host.
fn has_netstack(spec: &Spec) -> bool {
    matches!(spec.network, Network::User | Network::Bridge(_))
}

fn places(spec: &Spec) -> Vec<WantedPlace> {
    let rootfs = &spec.rootfs;
    let mut wanted = Wanted::default();
    for request in &rootfs.requests {
        let entries = matches!(request.access, Access::Cow | Access::Toolchain);
        wanted.add(Some(request.path.clone()), entries);
    }
    for volume in &rootfs.volumes {
        wanted.add(Some(Pattern::literal(&volume.source)), volume.mode == VolumeMode::Cow);
    }
    for path in &rootfs.climbed {
        wanted.add(Some(Pattern::literal(path)), false);
    }
    match &rootfs.base {
        Base::Host => {
            wanted.add(Pattern::new("~").ok(), true);
            wanted.add(Pattern::new(".").ok(), true);
            for path in identity::FILES.iter().chain(&["/var/tmp"]) {
                wanted.add(Pattern::new(path).ok(), false);
            }
            if spec.network.reaches_out() {
                wanted.add(Pattern::new(super::places::RESOLV_CONF).ok(), false);
            }
        }
        Base::Directory(directory) => {
            wanted.add(Some(Pattern::literal(directory)), true);
            if spec.network.is_own() {
                for path in ["/etc/hosts", super::places::RESOLV_CONF] {
                    let path = identity::in_directory(directory, path);
                    wanted.add(path.as_ref().map(Pattern::literal), false);
                }
            }
            for own in ["dev", "proc", "sys"] {
                wanted.add(directory.join(own).ok().as_ref().map(Pattern::literal), false);
            }
        }
        Base::Empty => {}
    }
    wanted.0
}

/// Each place once; what is asked for in two ways is looked at thoroughly.
#[derive(Default)]
struct Wanted(Vec<WantedPlace>);

impl Wanted {
    fn add(&mut self, path: Option<Pattern>, entries: bool) {
        let Some(path) = path else { return };
        match self.0.iter_mut().find(|known| known.path == path) {
            Some(known) => known.entries |= entries,
            None => self.0.push(WantedPlace { path, entries }),
        }
    }
}

/// What the tree needs besides, now that the first round is answered. Errors as `plan`: what no plan
/// can be made for needs no more probing.
pub fn tree_needs(spec: &Spec, facts: &Facts) -> Result<TreeNeeds, PlanError> {
    let table = MountTable::new(facts)?;
    let mut draft = super::draft::Draft::default();
    // What is secret takes nothing but places away, and there is a lot of it: it is looked at only
    // where it can spare the listing of a directory.
    let mut rules = super::open_rules(spec, facts, &table, &mut draft)?;
    let twins = super::twins::unknown(facts, &table, &rules);
    if spec.rootfs.base == Base::Host {
        super::workdir::workdir_rule(spec, facts, &mut rules, &mut draft)?;
    }
    let mut needs = TreeNeeds::default();
    fill_tree(&rules, facts, &table, &mut needs)?;
    let is_elsewhere =
        |rule: &Rule| rule.shows_host() && rule.at.as_bytes() != rule.from.as_bytes();
    let is_twice = !facts.twins.is_empty();
    if is_twice || !needs.split.is_empty() || rules.iter().any(is_elsewhere) {
        needs = TreeNeeds::default();
        let all = super::rules(spec, facts, &table, &mut draft)?;
        fill_tree(&all, facts, &table, &mut needs)?;
    }
    needs.points.extend(twins);
    let bare = |rule: &&Rule| {
        matches!(rule.view, View::System | View::Write | View::Device)
            && rule.kind == Kind::Directory
    };
    needs.sockets = rules.iter().filter(bare).map(|rule| rule.from.clone()).collect();
    let is_written = |rule: &&Rule| rule.view == View::Write && rule.kind == Kind::Directory;
    needs.written = rules.iter().filter(is_written).map(|rule| rule.from.clone()).collect();
    needs.fuse = facts.fuse.is_none() && may_need_fuse(spec, facts, &rules);
    Ok(needs)
}

/// Directories to list and mount points to look at.
fn fill_tree(
    rules: &Rules,
    facts: &Facts,
    table: &MountTable,
    needs: &mut TreeNeeds,
) -> Result<(), PlanError> {
    let Some(root) = fs::forest(rules) else { return Ok(()) };
    let mut split = BTreeSet::new();
    fs::split_directories(&root, table, &mut split);
    split.retain(|path| !facts.split.iter().any(|known| known.path == *path));
    needs.split = split.into_iter().collect();
    needs.points = fs::unknown_points(&root, facts)?;
    Ok(())
}

/// Whether the kernel may not serve every overlay.
fn may_need_fuse(spec: &Spec, facts: &Facts, rules: &Rules) -> bool {
    if spec.rootfs.overlay == OverlayChoice::Kernel {
        return false;
    }
    let foreign = |rule: &Rule| rule.foreign && rule.view == View::Cow;
    rules.iter().any(foreign)
        || facts.kernel_overlay != Some(true)
        || !facts.refuted.is_empty()
        || !fs::kernel_upper_is_possible(spec, facts)
        || rules.iter().any(|rule| rule.view == View::CowAsRoot && rule.kind == Kind::Directory)
}
