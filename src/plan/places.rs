//! Turns what was asked for, path by path, into rules: requests, volumes, secrets, hidden places,
//! the store.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Kind, Match, Place};
use super::mounts::MountTable;
use super::planted::refuse_planted;
use super::step::Notice;
use super::toolchain::{Toolchain, toolchain};
use super::view::{Rank, Rule, Rules, View, fixed, is_system};
use super::workdir::is_private;
use super::{copies, pseudo, twins};
use crate::spec::rootfs::{
    Access, Base, HomeView, Origin, PathRequest, Pattern, PatternBase, VolumeMode,
};
use crate::spec::{HostPath, SandboxPath, Spec, Text};

/// The host's path of a request; none when it needs a home or a current directory that is not there.
pub(super) fn resolve(pattern: &Pattern, facts: &Facts) -> Option<HostPath> {
    pattern.resolve(facts.caller.home.as_ref(), facts.caller.workdir.path())
}

/// How `$HOME` outside the current directory is seen: with a network that reaches out, a whole home
/// never is.
pub(super) fn home_view(spec: &Spec) -> HomeView {
    match &spec.rootfs.home {
        HomeView::Cow if spec.network.reaches_out() => HomeView::Only,
        other => other.clone(),
    }
}

/// Rules for every request.
pub(super) fn request_rules(
    spec: &Spec,
    facts: &Facts,
    rules: &mut Rules,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    for request in &spec.rootfs.requests {
        let rank = match request.origin {
            Origin::Profile => Rank::Profile,
            Origin::Flag => Rank::Flag,
        };
        if request.access == Access::Toolchain {
            match toolchain(spec, request, facts, rules) {
                Toolchain::Shown => {}
                Toolchain::None => continue,
                Toolchain::Elsewhere(Place { asked, real, .. }) => {
                    let (at, leads) = (asked.clone(), real.clone());
                    draft.notice(Notice::LinkedToolchain { at, leads });
                    continue;
                }
            }
        }
        match request_rule(request, rank, facts) {
            Ok(Some((asked, mut rule))) => {
                if copies::is_by_flag(request) && copies::is_for_root(spec, &rule.view) {
                    rule.view = View::CowAsRoot;
                }
                if asked != rule.from && has_names(&asked, request.access) {
                    rules.add(link(&asked, &rule));
                }
                rules.add(rule);
            }
            Ok(None) => {}
            Err(
                PlanError::NotFound(_)
                | PlanError::Forbidden(_)
                | PlanError::OwnPlace { .. }
                | PlanError::LinkToSecret { .. },
            ) if request.origin == Origin::Profile => {}
            Err(PlanError::LinkPlanted { asked, real, link, .. })
                if request.origin == Origin::Profile =>
            {
                draft.notice(Notice::PlantedLink { at: asked, leads: real, link });
            }
            // Anybody who may write around it may have put that there: it stops no run, and what was to be shown is not.
            Err(PlanError::Unsuitable { path, kind, .. })
                if request.origin == Origin::Profile && !covers(request.access) =>
            {
                draft.notice(Notice::UnsuitablePlace { path, kind });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an access takes what stands there away: passed over, that would be seen.
fn covers(access: Access) -> bool {
    matches!(access, Access::Hide | Access::Tmpfs { .. })
}

/// What was asked for under a name that is a link is seen under that name too.
fn link(asked: &HostPath, rule: &Rule) -> Rule {
    let target = Text::from(rule.at.as_path().as_os_str().to_owned());
    Rule::same(asked, View::Link(target), Rank::Default, Kind::Absent)
}

/// Whether a link can stand under the name that was asked for: file systems of the sandbox's own have theirs.
fn has_names(asked: &HostPath, access: Access) -> bool {
    let is_in = |own: &str| asked.starts_with(&fixed(own));
    let in_dev = is_in("/dev") && (access != Access::Device || is_in("/dev/fd"));
    !in_dev && !is_in("/proc") && !is_in("/sys")
}

fn request_rule(
    request: &PathRequest,
    rank: Rank,
    facts: &Facts,
) -> Result<Option<(HostPath, Rule)>, PlanError> {
    let Some(asked) = resolve(&request.path, facts) else {
        return match request.origin {
            Origin::Profile => Ok(None),
            Origin::Flag => Err(PlanError::Unresolved(request.path.clone().into())),
        };
    };
    // A profile's `.` or `~` is shared no more than an implicit one.
    let whole = request.path.base() != PatternBase::Root && request.path.rest().is_root();
    if whole && request.origin == Origin::Profile && is_private(&asked) {
        return Ok(None);
    }
    let place = facts.place(&asked).ok_or(PlanError::Unprobed("places"))?;
    let access = request.access;
    let need_not_exist = covers(access);
    match place.kind {
        Kind::Absent if !need_not_exist => return Err(PlanError::NotFound(asked)),
        Kind::Forbidden if access != Access::Hide => return Err(PlanError::Forbidden(asked)),
        _ => {}
    }
    refuse_own(&place.real, access, flag(access))?;
    if !need_not_exist {
        refuse_link(place, flag(access), facts)?;
    }
    if request.origin == Origin::Flag && !need_not_exist {
        refuse_store(&place.real, facts)?;
    }
    let rule = Rule::of(place, request_view(place, access, rank)?, rank);
    let view = match rule.view {
        View::Read if rule.kind == Kind::Directory && is_system(&rule.from, facts) => View::System,
        view => view,
    };
    Ok(Some((asked, Rule { view, ..rule })))
}

/// The store outranks every flag: one that names it would be ignored.
fn refuse_store(real: &HostPath, facts: &Facts) -> Result<(), PlanError> {
    if facts.store_places().any(|store| real.starts_with(&store)) {
        return Err(PlanError::StoreStaysHidden(real.clone()));
    }
    Ok(())
}

/// Secrets and settings are opened by their name. What reaches one only through a link is refused: an earlier payload
/// may have planted that in a place that it could write.
fn refuse_link(place: &Place, flag: &'static str, facts: &Facts) -> Result<(), PlanError> {
    let caller = &facts.caller;
    let spelt = caller.home_spelt.as_ref().zip(caller.home.as_ref());
    let named = spelt.and_then(|(spelt, home)| place.asked.moved(spelt, home));
    let named = named.as_ref().unwrap_or(&place.asked);
    let (asked, real) = (place.asked.clone(), place.real.clone());
    let around = |all: &'_ [Match], path: &HostPath| {
        all.iter().find(|found| path.starts_with(&found.path)).map(|found| found.path.clone())
    };
    if let Some(secret) = around(&facts.secrets, &real)
        && around(&facts.secrets, named).is_none()
    {
        return Err(PlanError::LinkToSecret { asked, real, secret, flag, variable: None });
    }
    if around(&facts.settings, &real).is_some() && around(&facts.settings, named).is_none() {
        return Err(PlanError::LinkToSettings { asked, real, flag });
    }
    refuse_planted(place, flag, facts)
}

/// `/`, `/proc`, `/sys` and `/dev` are ours: what is asked for there is a device, or is hidden. What every sandbox
/// works with is not.
fn refuse_own(real: &HostPath, access: Access, flag: &'static str) -> Result<(), PlanError> {
    let is_own = |own: &str| real.starts_with(&fixed(own));
    let is_mount_in_dev =
        || pseudo::MOUNTS_IN_DEV.iter().any(|own| *real == fixed(&format!("/dev/{own}")));
    let allowed = match access {
        _ if real.is_root() => false,
        Access::Hide => !is_mount_in_dev(),
        Access::Device => {
            !is_own("/proc") && !is_own("/sys") && *real != fixed("/dev") && !is_mount_in_dev()
        }
        _ => !is_own("/proc") && !is_own("/sys") && !is_own("/dev"),
    };
    if allowed { Ok(()) } else { Err(PlanError::OwnPlace { at: real.clone(), flag }) }
}

fn request_view(place: &Place, access: Access, rank: Rank) -> Result<View, PlanError> {
    let unsuitable = || {
        Err(PlanError::Unsuitable {
            path: place.real.clone(),
            kind: place.kind.clone(),
            flag: flag(access),
        })
    };
    match (access, &place.kind) {
        (Access::Hide, _) => Ok(View::Hidden),
        (Access::Tmpfs { size }, Kind::Directory | Kind::Absent) => {
            Ok(View::Tmpfs { size, mode: 0o755 })
        }
        (Access::Read, Kind::Directory | Kind::File) => Ok(View::Read),
        (Access::Write, Kind::Directory | Kind::File) => Ok(View::Write),
        (Access::Cow, Kind::Directory) | (Access::Toolchain, Kind::Directory | Kind::File) => {
            Ok(cow_or_read(place))
        }
        (Access::Cow, Kind::File) if rank == Rank::Profile => Ok(View::Read),
        (Access::Socket, Kind::Socket) => Ok(View::Socket),
        (Access::Device, Kind::Device) => Ok(View::Device),
        (Access::Device, Kind::Directory) if place.real.is_below(&fixed("/dev")) => {
            Ok(View::Device)
        }
        (Access::Device, Kind::Directory) => Err(PlanError::NotInDev(place.real.clone())),
        _ => unsuitable(),
    }
}

/// Copy-on-write where anything could be written: an overlay for nothing costs as much.
pub(super) fn cow_or_read(place: &Place) -> View {
    if place.writable { View::Cow } else { View::Read }
}

/// The flag that asks for an access.
pub(super) fn flag(access: Access) -> &'static str {
    match access {
        Access::Read => "--read",
        Access::Write => "--write",
        Access::Cow | Access::Toolchain => "--cow",
        Access::Hide => "--hide",
        Access::Tmpfs { .. } => "--tmpfs",
        Access::Socket => "--socket",
        Access::Device => "--device",
    }
}

/// Rules for `SRC:DST` mounts.
pub(super) fn volume_rules(spec: &Spec, facts: &Facts, rules: &mut Rules) -> Result<(), PlanError> {
    for volume in &spec.rootfs.volumes {
        let place = facts.place(&volume.source).ok_or(PlanError::Unprobed("places"))?;
        for path in [&place.real, &volume.target.same_on_host()] {
            refuse_own(path, Access::Write, "--volume")?;
        }
        refuse_link(place, "--volume", facts)?;
        let view = match (volume.mode, &place.kind) {
            (_, Kind::Absent) => return Err(PlanError::NotFound(volume.source.clone())),
            (_, Kind::Forbidden) => return Err(PlanError::Forbidden(volume.source.clone())),
            (VolumeMode::Rw, Kind::Directory | Kind::File) => View::Write,
            (VolumeMode::Ro, Kind::Directory | Kind::File) => View::Read,
            (VolumeMode::Cow, Kind::Directory) => match cow_or_read(place) {
                view if copies::is_for_root(spec, &view) => View::CowAsRoot,
                view => view,
            },
            (mode, kind) => {
                let (path, kind) = (place.real.clone(), kind.clone());
                let is_copy = mode == VolumeMode::Cow && kind == Kind::File;
                let flag = if is_copy { copies::COW_VOLUME } else { "--volume" };
                return Err(PlanError::Unsuitable { path, kind, flag });
            }
        };
        if let Some(other) = rules.at(&volume.target).filter(|rule| rule.rank == Rank::Flag) {
            let one = other.view.flag();
            let at = volume.target.clone();
            return Err(PlanError::Contradiction { at, one, other: "--volume" });
        }
        rules.add(Rule { at: volume.target.clone(), ..Rule::of(place, view, Rank::Flag) });
    }
    Ok(())
}

pub(super) fn hide(path: &HostPath, rank: Rank, kind: &Kind) -> Rule {
    Rule::same(path, View::Hidden, rank, kind.clone())
}

/// Rules for what is hidden by default: the profile's places and other people's homes.
pub(super) fn hidden_rules(facts: &Facts, rules: &mut Rules) {
    for found in &facts.hidden {
        rules.add(hide(&found.path, Rank::Default, &found.kind));
    }
    let own = facts.caller.home.as_ref();
    let is_needed =
        |home: &HostPath| home.is_root() || own.is_some_and(|own| own.starts_with(home));
    for home in facts.other_homes.iter().filter(|home| !is_needed(home)) {
        rules.add(hide(home, Rank::Default, &Kind::Directory));
    }
}

/// Rules for secrets and the store. All others but the current directory's are there: what shows a
/// directory of the host under another name would show what is hidden in it.
pub(super) fn secret_rules(spec: &Spec, facts: &Facts, table: &MountTable, rules: &mut Rules) {
    let mut secrets: Vec<Rule> =
        Vec::with_capacity(facts.secrets.len() + facts.absent.len() + facts.stores.len());
    secrets.extend(facts.secrets.iter().map(|found| hide(&found.path, Rank::Secret, &found.kind)));
    secrets.extend(facts.absent.iter().map(|path| hide(path, Rank::Secret, &Kind::Absent)));
    secrets.extend(facts.store_places().map(|at| hide(&at, Rank::Store, &Kind::Directory)));
    let mut twins = Vec::new();
    if !matches!(spec.rootfs.base, Base::Directory(_)) {
        twins = twins::hidden(facts, table, rules);
        rules.add_all(twins.clone());
    }
    let elsewhere: Vec<&Rule> = rules
        .iter()
        .filter(|rule| rule.shows_host() && rule.at.as_bytes() != rule.from.as_bytes())
        .collect();
    if !elsewhere.is_empty() {
        let mut default = Rules::default();
        hidden_rules(facts, &mut default);
        let asked = rules.iter().filter(|rule| hides_by_name(rule));
        let hidden = secrets.iter().chain(default.iter()).chain(asked).chain(&twins);
        let hidden: Vec<&Rule> = hidden.collect();
        let mut more = Vec::new();
        for rule in elsewhere {
            for hidden in hidden.iter().filter(|hidden| hidden.from.is_below(&rule.from)) {
                if let Some(at) = hidden.from.moved(&rule.from, &rule.at) {
                    more.push(Rule { at, ..(*hidden).clone() });
                }
            }
        }
        rules.add_all(more);
    }
    if !matches!(spec.rootfs.base, Base::Directory(_)) {
        rules.add_all(secrets);
    }
}

/// Whether a profile or a flag names what is hidden.
fn hides_by_name(rule: &Rule) -> bool {
    rule.view == View::Hidden && matches!(rule.rank, Rank::Profile | Rank::Flag)
}

/// Names the servers that answer DNS questions; often a link into `/run`, which is private.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// With the host's network, the file that names its DNS servers is seen where it really is; with a netstack, one of ours
/// is. That holds where its place is hidden with all around it (`/run`, `/mnt`), and where it was mounted from a place that
/// is: a payload with a network has names. After everything that hides by default; what names the file itself wins.
pub(super) fn resolver_rule(spec: &Spec, facts: &Facts, rules: &mut Rules) {
    let Some(place) = facts.place(&fixed(RESOLV_CONF)) else { return };
    let at = place.real.same_in_sandbox();
    let is_named = rules.at(&at).is_some_and(|rule| rule.rank >= Rank::Profile);
    if spec.network.reaches_out()
        && place.kind == Kind::File
        && !is_named
        && !rules.deciding(&at).is_some_and(Rule::shows_host)
    {
        let view = match super::resolver::resolver(spec, facts) {
            Some(content) => View::File(content),
            None => View::Read,
        };
        rules.add(Rule::of(place, view, Rank::Default));
    }
}

/// Where a place would be written straight to the host if it appeared.
pub(super) fn written_around<'r>(rules: &'r Rules, at: &SandboxPath) -> Option<&'r Rule> {
    let around = at.ancestors().find_map(|above| rules.at(&above));
    around.filter(|rule| rule.view == View::Write)
}

/// What is not there can be hidden by a mask alone, and what is written straight to the host has none.
pub(super) fn refuse_to_hide_nothing(rules: &Rules) -> Result<(), PlanError> {
    let is_absent = |rule: &&Rule| {
        rule.rank == Rank::Flag && rule.view == View::Hidden && rule.kind == Kind::Absent
    };
    for rule in rules.iter().filter(is_absent) {
        if let Some(written) = written_around(rules, &rule.at) {
            let (path, written) = (rule.from.clone(), written.from.clone());
            return Err(PlanError::CannotHide { path, written });
        }
    }
    Ok(())
}

/// No rule shows the store, or a part of it, under any name. Below the host's tree and below volumes it
/// is hidden where it stands; a directory that is the sandbox's root has no secrets of its own to hide,
/// so one that holds the store is refused.
pub(super) fn refuse_stores(spec: &Spec, facts: &Facts, rules: &Rules) -> Result<(), PlanError> {
    if let (Base::Directory(_), Some(root)) = (&spec.rootfs.base, rules.at(&SandboxPath::root()))
        && let Some(store) = facts.store_places().find(|store| store.is_below(&root.from))
    {
        return Err(PlanError::StoreStaysHidden(store.into_owned()));
    }
    let stores: Vec<_> = facts.store_places().collect();
    let in_store = |rule: &&Rule| stores.iter().any(|store| rule.from.starts_with(store));
    let shows = |rule: &&Rule| {
        rule.shows_host() || matches!(rule.view, View::Socket | View::Device | View::Private)
    };
    match rules.iter().find(|rule| shows(rule) && in_store(rule)) {
        Some(rule) => Err(PlanError::StoreStaysHidden(rule.from.clone())),
        None => Ok(()),
    }
}
