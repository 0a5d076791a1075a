//! What a sandbox has of a file of the host: worked out from the steps, and from the rules.

use std::collections::BTreeMap;

use bryo::plan::facts::{Kind, Mount};
use bryo::plan::step::{Cover, FsStep, Lower, MountAccess, MountFlags, ScratchEntry, ScratchLayer};
use bryo::plan::{Action, Plan};
use bryo::spec::rootfs::{Access, HomeView, Origin, VolumeMode};
use bryo::spec::{HostPath, Network, SandboxPath, Spec};

use super::machine::{DIRECTORIES, Host, host, kind_of, writable};

/// How much of a file of the host a sandbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    Nothing,
    Read,
    Copy,
    Straight,
}

/// One mount as the payload finds it.
enum Stands<'p> {
    Host { from: &'p HostPath, reach: Reach },
    Overlay { lower: &'p [Lower], reach: Reach },
    Empty,
}

/// What is seen of a file under its own name, when the steps are carried out.
pub(super) fn observed(plan: &Plan, file: &HostPath) -> Reach {
    let mut layers: BTreeMap<ScratchLayer, &[ScratchEntry]> = BTreeMap::new();
    let mut top: Option<(&SandboxPath, Stands<'_>)> = None;
    let at = file.same_in_sandbox();
    for step in &plan.steps {
        let Action::Fs(step) = &step.action else { continue };
        let writes = |flags: &MountFlags, yes, no| {
            if flags.access == MountAccess::Writable { yes } else { no }
        };
        let (place, stands) = match step {
            FsStep::ScratchLayer { layer, entries, .. } => {
                layers.insert(*layer, entries);
                continue;
            }
            FsStep::Bind { from, at, flags } => {
                (at, Stands::Host { from, reach: writes(flags, Reach::Straight, Reach::Read) })
            }
            FsStep::Overlay { at, lower, flags, .. } => {
                (at, Stands::Overlay { lower, reach: writes(flags, Reach::Copy, Reach::Read) })
            }
            FsStep::Tmpfs { at, .. }
            | FsStep::Proc { at }
            | FsStep::Sysfs { at }
            | FsStep::Devpts { at }
            | FsStep::Mqueue { at }
            | FsStep::Cgroups { at }
            | FsStep::FileOver { at, .. }
            | FsStep::Cover { at, with: Cover::Directory | Cover::File | Cover::IfThere } => {
                (at, Stands::Empty)
            }
            _ => continue,
        };
        let is_deeper = top.as_ref().is_none_or(|(old, _)| place.depth() >= old.depth());
        if at.starts_with(place) && is_deeper {
            top = Some((place, stands));
        }
    }
    match top {
        Some((place, Stands::Host { from, reach })) => {
            if at.moved(place, from).as_ref() == Some(file) { reach } else { Reach::Nothing }
        }
        Some((place, Stands::Overlay { lower, reach })) => {
            if in_overlay(lower, &layers, place, file) { reach } else { Reach::Nothing }
        }
        Some((_, Stands::Empty)) | None => Reach::Nothing,
    }
}

fn in_overlay(
    lower: &[Lower],
    layers: &BTreeMap<ScratchLayer, &[ScratchEntry]>,
    place: &SandboxPath,
    file: &HostPath,
) -> bool {
    let at = file.same_in_sandbox();
    let inside = at.moved(place, &SandboxPath::root()).unwrap();
    for layer in lower {
        match layer {
            Lower::Host { path, .. } => return at.moved(place, path).as_ref() == Some(file),
            Lower::Scratch(number) => {
                for entry in layers[number] {
                    match entry {
                        ScratchEntry::Whiteout { path } if inside.starts_with(path) => {
                            return false;
                        }
                        ScratchEntry::Copy { path, from } if inside == *path => {
                            return from == file;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    false
}

/// One rule, as the documentation has them.
struct Claim {
    at: HostPath,
    rank: u8,
    reach: Reach,
}

/// What the deepest rule at or above a file says.
pub(super) fn expected(spec: &Spec, machine: &Host, file: &HostPath) -> Reach {
    let claims = claims(spec, machine);
    let above = claims.iter().enumerate().filter(|(_, claim)| file.starts_with(&claim.at));
    let decides = above.max_by_key(|(order, claim)| (claim.at.depth(), claim.rank, *order));
    decides.map_or(Reach::Nothing, |(_, claim)| claim.reach)
}

fn copy_if_writable(path: &HostPath) -> Reach {
    if writable(path) { Reach::Copy } else { Reach::Read }
}

fn claims(spec: &Spec, machine: &Host) -> Vec<Claim> {
    let rootfs = &spec.rootfs;
    let mut claims = Vec::new();
    let mut claim = |at: &HostPath, rank, reach| claims.push(Claim { at: at.clone(), rank, reach });
    for top in DIRECTORIES.iter().map(|path| host(path)).filter(|path| path.depth() == 1) {
        let own = ["/dev", "/proc", "/sys", "/tmp", "/home"].iter().any(|own| top == host(own));
        let is_autofs = machine.mounts.iter().any(|m| m.at == top && is_autofs(m));
        claim(&top, 0, if own || is_autofs { Reach::Nothing } else { Reach::Read });
    }
    let home = &machine.home;
    let home_view = match &rootfs.home {
        HomeView::Cow if spec.network == Network::Host => HomeView::Only,
        other => other.clone(),
    };
    if let Some(parent) = home.parent().filter(|parent| !parent.is_root()) {
        claim(&parent, 0, Reach::Nothing);
    }
    claim(
        home,
        1,
        match home_view {
            HomeView::Cow if rootfs.read_only => Reach::Read,
            HomeView::Cow => copy_if_writable(home),
            HomeView::Only | HomeView::Empty => Reach::Nothing,
        },
    );
    for pattern in &rootfs.hidden {
        claim(&pattern.resolve(Some(home), None).unwrap(), 0, Reach::Nothing);
    }
    claim(&host("/home/bo"), 0, Reach::Nothing);
    for request in &rootfs.requests {
        let at = request.path.resolve(Some(home), Some(&machine.workdir)).unwrap();
        if let Some(reach) = of_request(request.access, &at, home, &home_view) {
            claim(&at, if request.origin == Origin::Flag { 5 } else { 3 }, reach);
        }
    }
    for volume in &rootfs.volumes {
        let reach = match volume.mode {
            _ if volume.source != volume.target.same_on_host() => Reach::Nothing,
            VolumeMode::Rw => Reach::Straight,
            VolumeMode::Ro => Reach::Read,
            VolumeMode::Cow => Reach::Copy,
        };
        claim(&volume.target.same_on_host(), 5, reach);
    }
    for secret in &rootfs.secrets {
        claim(&secret.resolve(Some(home), None).unwrap(), 4, Reach::Nothing);
    }
    claim(&machine.store, 9, Reach::Nothing);
    claims
}

/// What a request makes of its place; none when it makes nothing of it.
fn of_request(access: Access, at: &HostPath, home: &HostPath, view: &HomeView) -> Option<Reach> {
    let kind = kind_of(at);
    let is_own = ["/dev", "/proc", "/sys"].iter().any(|own| at.starts_with(&host(own)));
    let is_tool = *view == HomeView::Only && at.is_below(home) && kind != Kind::File;
    match access {
        Access::Hide | Access::Tmpfs { .. } => Some(Reach::Nothing),
        Access::Toolchain if !is_tool => None,
        _ if kind == Kind::Absent || is_own => None,
        Access::Write => Some(Reach::Straight),
        Access::Cow | Access::Toolchain if kind == Kind::Directory => Some(copy_if_writable(at)),
        _ => Some(Reach::Read),
    }
}

pub(super) fn is_autofs(mount: &Mount) -> bool {
    mount.fs_type.as_bytes() == b"autofs"
}
