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
use super::view::{Rules, View};
use super::{fs, identity, mounts::MountTable};
use crate::spec::rootfs::{Base, OverlayChoice, Pattern};
use crate::spec::{HostPath, IdMode, Need, Network, SeccompChoice, Spec, User};

/// What the spec alone asks for. Caller, kernel, and standard descriptors are always probed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one per fact")]
pub struct Needs {
    /// [`Facts::mounts`].
    pub mounts: bool,
    /// [`Facts::root_entries`].
    pub root_entries: bool,
    /// Wanted in [`Facts::places`], each after [`Pattern::resolve`]; wildcards are literal here.
    pub places: Vec<Pattern>,
    /// For [`Facts::secrets`] and [`Facts::absent`].
    pub secrets: Vec<Pattern>,
    /// For [`Facts::hidden`] and [`Facts::absent`].
    pub hidden: Vec<Pattern>,
    /// For [`Facts::warned`].
    pub warned: Vec<Pattern>,
    /// [`Facts::sockets`].
    pub sockets: bool,
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
    /// [`Facts::procfs_mountable`].
    pub procfs_mountable: bool,
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
    let on_host = rootfs.base == Base::Host;
    let shows_homes = !matches!(rootfs.base, Base::Directory(_)) || !rootfs.volumes.is_empty();
    Needs {
        mounts: true,
        root_entries: on_host,
        places: places(spec),
        secrets: if shows_homes { rootfs.secrets.clone() } else { Vec::new() },
        hidden: if on_host { rootfs.hidden.clone() } else { Vec::new() },
        warned: if on_host { rootfs.warned.clone() } else { Vec::new() },
        sockets: on_host || !rootfs.requests.is_empty() || !rootfs.volumes.is_empty(),
        other_homes: on_host,
        account: on_host.then(|| match spec.ids.user {
            User::Caller => AccountIds::default(),
            User::Root => AccountIds { uid: Some(0), gid: Some(0) },
            User::Numeric { uid, gid } => AccountIds { uid: Some(uid), gid: Some(gid) },
        }),
        stores: true,
        landlock_abi: spec.confine.landlock != Need::Off,
        seccomp_notify: spec.confine.notify && spec.confine.seccomp != SeccompChoice::Unconfined,
        kernel_overlay: true,
        fuse: rootfs.overlay == OverlayChoice::Fuse || (on_host && spec.ids.user == User::Root),
        subids: spec.ids.mode == IdMode::Subid,
        procfs_mountable: true,
    }
}

fn places(spec: &Spec) -> Vec<Pattern> {
    let rootfs = &spec.rootfs;
    let literal = |path: &HostPath| Pattern::literal(path);
    let mut places: Vec<Pattern> = rootfs.requests.iter().map(|r| r.path.clone()).collect();
    places.extend(rootfs.volumes.iter().map(|volume| literal(&volume.source)));
    match &rootfs.base {
        Base::Host => {
            places.extend(["~", "."].iter().filter_map(|own| Pattern::new(own).ok()));
            let fixed = identity::FILES.iter().chain(&["/var/tmp"]);
            places.extend(fixed.filter_map(|path| Pattern::new(path).ok()));
            if spec.network == Network::Host {
                places.extend(Pattern::new(super::places::RESOLV_CONF).ok());
            }
        }
        Base::Directory(directory) => {
            places.push(literal(directory));
            for own in ["dev", "proc", "sys"] {
                places.extend(directory.join(own).ok().as_ref().map(literal));
            }
        }
        Base::Empty => {}
    }
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

/// What the tree needs besides, now that the first round is answered. Errors as `plan`: what no plan
/// can be made for needs no more probing.
pub fn tree_needs(spec: &Spec, facts: &Facts) -> Result<TreeNeeds, PlanError> {
    let table = MountTable::new(facts)?;
    let mut draft = super::draft::Draft::default();
    let rules = super::rules(spec, facts, &table, &mut draft)?;
    let mut needs = TreeNeeds::default();
    if let Some(root) = fs::forest(&rules) {
        let mut split = BTreeSet::new();
        fs::split_directories(&root, &table, &mut split);
        split.retain(|path| !facts.split.iter().any(|known| known.path == *path));
        needs.split = split.into_iter().collect();
        needs.points = fs::unknown_points(&root, facts)?;
    }
    needs.fuse = facts.fuse.is_none() && may_need_fuse(spec, facts, &rules);
    Ok(needs)
}

/// Whether the kernel may not serve every overlay.
fn may_need_fuse(spec: &Spec, facts: &Facts, rules: &Rules) -> bool {
    if spec.rootfs.overlay == OverlayChoice::Kernel {
        return false;
    }
    let foreign = |rule: &super::view::Rule| rule.foreign && rule.view == View::Cow;
    rules.iter().any(foreign)
        || facts.kernel_overlay != Some(true)
        || !facts.refuted.is_empty()
        || !fs::kernel_upper_is_possible(spec, facts)
        || rules.iter().any(|rule| rule.view == View::CowAsRoot && rule.kind == Kind::Directory)
}
