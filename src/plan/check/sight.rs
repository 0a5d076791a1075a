//! What of the host can be seen and written through the finished tree.

use super::CheckError;
use super::tree::{Mounted, Tree, What};
use crate::plan::facts::{Facts, Kind};
use crate::plan::step::{Action, Allowed, ConfineStep, LandlockGrant, MountAccess, Plan};
use crate::spec::rootfs::{Access, Base, Origin, VolumeMode};
use crate::spec::{HostPath, SandboxPath, Spec};

/// The kernel takes no overlay over a directory that has mounts below it in the same mount, and a
/// layer's directory must be on the mount that the table says.
pub(super) fn check_overlays(facts: &Facts, tree: &Tree<'_>) -> Result<(), CheckError> {
    for mounted in &tree.mounts {
        let at = &mounted.at;
        let What::Overlay { hosts, by_kernel: true, .. } = &mounted.what else { continue };
        for (path, id) in hosts {
            let below = |m: &&crate::plan::facts::Mount| m.parent == *id && m.at.is_below(path);
            if facts.mounts.iter().any(|mount| below(&mount)) {
                let fault = "lies over mounts: the kernel refuses it";
                let number = mounted.number;
                return Err(CheckError::Overlay { number, at: at.clone(), fault });
            }
        }
    }
    Ok(())
}

/// What of the host is bound as it is: system trees, single files, devices, and what was asked for.
pub(super) fn check_binds(spec: &Spec, facts: &Facts, tree: &Tree<'_>) -> Result<(), CheckError> {
    for mounted in &tree.mounts {
        let at = &mounted.at;
        let What::Bind { from, flags } = &mounted.what else { continue };
        let number = mounted.number;
        if below(from, "/proc") {
            return Err(CheckError::Bare((*from).clone()));
        }
        if flags.devices == Allowed::Yes {
            let is_basic = below(from, "/dev") && STANDARD.contains(&name(from));
            if !is_basic && !asked(spec, facts, from, &[Access::Device]) {
                return Err(CheckError::NotAsked { number, what: "a device" });
            }
            let stands = facts.places.iter().find(|place| place.real == **from);
            let is_directory = stands.is_some_and(|place| place.kind == Kind::Directory);
            if is_directory && !below(from, "/dev") {
                return Err(CheckError::Bare((*from).clone()));
            }
        } else if mounted.access == MountAccess::ReadOnly
            && is_directory(facts, from)
            && !only_root_writes(facts, from)
            && !below(from, "/sys")
        {
            return Err(CheckError::Bare((*from).clone()));
        }
        for socket in facts.sockets.iter().filter(|socket| socket.starts_with(from)) {
            let seen = seen_at(socket, from, at).filter(|place| tree.shows(mounted, place));
            if let Some(place) = seen
                && !asked(spec, facts, socket, &[Access::Socket])
            {
                return Err(CheckError::Seen { what: socket.clone(), at: place });
            }
        }
    }
    Ok(())
}

const STANDARD: [&[u8]; 6] = [b"null", b"zero", b"full", b"random", b"urandom", b"tty"];

fn name(path: &HostPath) -> &[u8] {
    path.file_name().map_or(&[], std::ffi::OsStr::as_encoded_bytes)
}

fn below(path: &HostPath, top: &str) -> bool {
    path.as_path().starts_with(top)
}

/// Directories are told from files by whoever probed them; what nobody knows counts as one.
pub(super) fn is_directory(facts: &Facts, path: &HostPath) -> bool {
    let place = facts.places.iter().find(|place| place.real == *path);
    let entry = || facts.root_entries.iter().find(|entry| entry.path == *path).map(|e| &e.kind);
    let listed = || {
        let mut entries = facts.split.iter().flat_map(|split| &split.entries);
        entries.find(|entry| entry.path == *path).map(|entry| &entry.kind)
    };
    let kind = place.map(|place| &place.kind).or_else(entry).or_else(listed);
    kind.is_none_or(|kind| *kind == Kind::Directory)
}

/// Trees in which packages are installed: nobody but root writes anywhere below them, as long as nobody
/// else writes at their top.
const INSTALLED: [&str; 12] = [
    "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/boot", "/nix",
    "/gnu", "/snap",
];

fn only_root_writes(facts: &Facts, path: &HostPath) -> bool {
    let is_installed = INSTALLED.iter().any(|top| below(path, top));
    let mut entries = facts.root_entries.iter();
    let top = entries.find(|entry| path.starts_with(&entry.path));
    is_installed && top.is_some_and(|entry| entry.only_root_writes)
}

/// Whether the spec names this place of the host, through whatever links, with one of these.
fn asked(spec: &Spec, facts: &Facts, real: &HostPath, accesses: &[Access]) -> bool {
    let (home, workdir) = (facts.caller.home.as_ref(), facts.caller.workdir.path());
    spec.rootfs.requests.iter().filter(|request| accesses.contains(&request.access)).any(
        |request| {
            let path = request.path.resolve(home, workdir);
            path.is_some_and(|path| facts.place(&path).is_some_and(|place| place.real == *real))
        },
    )
}

/// What is written straight to the host was asked for by name; in a read-only tree nothing else is
/// written either.
pub(super) fn check_writes(spec: &Spec, facts: &Facts, tree: &Tree<'_>) -> Result<(), CheckError> {
    for mounted in &tree.mounts {
        let at = &mounted.at;
        if mounted.access == MountAccess::ReadOnly {
            continue;
        }
        match &mounted.what {
            What::Bind { from, .. } => {
                let by_volume = spec.rootfs.volumes.iter().any(|volume| {
                    let real = facts.place(&volume.source).map(|place| &place.real);
                    volume.mode == VolumeMode::Rw && volume.target == *at && real == Some(from)
                });
                let by_itself = || is_onto_itself(tree, mounted, from);
                if !by_volume && !asked(spec, facts, from, &[Access::Write]) && !by_itself() {
                    return Err(CheckError::Written { what: (*from).clone() });
                }
            }
            What::Overlay { hosts, .. } if spec.rootfs.read_only => {
                let is_volume = |volume: &crate::spec::rootfs::Volume| {
                    volume.mode == VolumeMode::Cow && at.starts_with(&volume.target)
                };
                let by_request = |path: &HostPath| {
                    let accesses = [Access::Cow, Access::Toolchain];
                    let mut way = std::iter::once(path.clone()).chain(path.ancestors());
                    way.any(|above| asked(spec, facts, &above, &accesses))
                };
                // A shadow shows no directory of the host: what it stands for has its name.
                let own = at.same_on_host();
                let shown = hosts.iter().map(|(path, _)| *path).chain([&own]);
                let asked =
                    spec.rootfs.volumes.iter().any(is_volume) || shown.into_iter().any(by_request);
                if !asked {
                    let number = mounted.number;
                    return Err(CheckError::NotAsked { number, what: "a copy-on-write tree" });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a mount shows what the one that it stands on, written to the host like it, shows there.
fn is_onto_itself(tree: &Tree<'_>, mounted: &Mounted<'_>, from: &HostPath) -> bool {
    let below = mounted.at.parent().and_then(|parent| tree.mount_of(parent.as_bytes()));
    below.is_some_and(|below| match &below.what {
        What::Bind { from: around, .. } => {
            below.access == MountAccess::Writable
                && mounted.at.moved(&below.at, around).as_ref() == Some(from)
        }
        _ => false,
    })
}

/// What is hidden in a tree that is written straight to the host stays where it is: every directory on the way to it
/// is a mount, so that no other can be put in its place. A link has no such protection.
pub(super) fn check_kept(facts: &Facts, tree: &Tree<'_>) -> Result<(), CheckError> {
    let around = facts.ways.iter().flat_map(|way| way.links.iter().filter_map(HostPath::parent));
    let ends = facts.ways.iter().filter_map(|way| way.end.clone());
    if let Some(what) = around.chain(ends).find(|place| is_written(tree, place)) {
        return Err(CheckError::Movable { what });
    }
    let there = facts.secrets.iter();
    let there = there.filter(|found| !matches!(found.kind, Kind::Absent | Kind::Link(_)));
    let stores = facts.stores.iter().map(|store| &store.path);
    // What later runs trust is made where it is missing.
    let settings = facts.settings.iter().map(|found| &found.path);
    let twins = |path: &HostPath| -> Vec<HostPath> {
        facts.twins.iter().filter_map(|twin| twin.name_of(path)).collect()
    };
    let again: Vec<HostPath> = settings.clone().chain(stores.clone()).flat_map(twins).collect();
    for hidden in there.map(|found| &found.path).chain(settings).chain(&again).chain(stores) {
        for mounted in &tree.mounts {
            let What::Bind { from, .. } = &mounted.what else { continue };
            if mounted.access == MountAccess::ReadOnly || !hidden.is_below(from) {
                continue;
            }
            let Some(at) = seen_at(hidden, from, &mounted.at) else { continue };
            // One that was asked for by name is not hidden.
            if tree.shows(mounted, &at) || tree.mount_at(&at).is_some() {
                continue;
            }
            let mut way = at.ancestors().take_while(|above| above.is_below(&mounted.at));
            if way.any(|above| tree.shows(mounted, &above)) {
                return Err(CheckError::Movable { what: hidden.clone() });
            }
        }
    }
    Ok(())
}

/// Whether a place of the host is written straight through one of the mounts.
fn is_written(tree: &Tree<'_>, place: &HostPath) -> bool {
    tree.mounts.iter().any(|mounted| match &mounted.what {
        What::Bind { from, .. } => {
            mounted.access == MountAccess::Writable
                && seen_at(place, from, &mounted.at).is_some_and(|at| tree.shows(mounted, &at))
        }
        _ => false,
    })
}

/// Where a path of the host stands when `from` is seen at `at`.
fn seen_at(path: &HostPath, from: &HostPath, at: &SandboxPath) -> Option<SandboxPath> {
    path.moved(from, at)
}

/// What of the host each mount shows.
struct Windows<'t> {
    tree: &'t Tree<'t>,
    all: Vec<(&'t HostPath, &'t Mounted<'t>)>,
}

impl<'t> Windows<'t> {
    fn of(tree: &'t Tree<'t>) -> Self {
        let all = tree.mounts.iter().flat_map(|mounted| {
            let hosts: Vec<&HostPath> = match &mounted.what {
                What::Bind { from, .. } => vec![from],
                What::Overlay { hosts, .. } => hosts.iter().map(|(path, _)| *path).collect(),
                What::Tmpfs { .. } | What::Own => Vec::new(),
            };
            hosts.into_iter().map(move |host| (host, mounted))
        });
        Self { tree, all: all.collect() }
    }

    /// The first place inside at which a path of the host is seen. What is not there yet, or is a link,
    /// can only be hidden by a mask, so a bind does not count for it: what a link leads to is looked for
    /// by itself.
    fn sighting(&self, path: &HostPath, kind: &Kind) -> Option<SandboxPath> {
        let by_mask_only = matches!(kind, Kind::Absent | Kind::Link(_));
        self.all.iter().find_map(|(host, mounted)| {
            if !path.starts_with(host) || by_mask_only && matches!(mounted.what, What::Bind { .. })
            {
                return None;
            }
            // A whiteout is how nearly everything is hidden: looked at first, and without a copy.
            let above = if host.is_root() { 0 } else { host.as_bytes().len() };
            let in_layer = path.as_bytes().get(above..).unwrap_or_default();
            if self.tree.masks(mounted, in_layer) {
                return None;
            }
            let at = seen_at(path, host, &mounted.at)?;
            self.tree.shows(mounted, &at).then_some(at)
        })
    }
}

/// The store is never seen; secrets and hidden places only where they are asked for by name.
pub(super) fn check_hidden(spec: &Spec, facts: &Facts, tree: &Tree<'_>) -> Result<(), CheckError> {
    let seen = |what: &HostPath, at: &SandboxPath| {
        Err(CheckError::Seen { what: what.clone(), at: at.clone() })
    };
    let windows = Windows::of(tree);
    let own = [facts.caller.home.as_ref(), facts.caller.workdir.path()];
    for store in facts.store_places() {
        if let Some(at) = windows.sighting(&store, &Kind::Directory) {
            return seen(&store, &at);
        }
    }
    let secrets = facts.secrets.iter().map(|found| (&found.path, &found.kind));
    for (path, kind) in secrets.chain(facts.absent.iter().map(|path| (path, &Kind::Absent))) {
        if let Some(at) = windows.sighting(path, kind)
            && !is_shown_by_name(spec, facts, path, Origin::Flag)
        {
            return seen(path, &at);
        }
    }
    for request in spec.rootfs.requests.iter().filter(|request| request.access == Access::Hide) {
        let place = request.path.resolve(own[0], own[1]).and_then(|path| facts.place(&path));
        // A profile's `~` and `.` are passed over where many share them.
        let Some(place) = place.filter(|place| !own.contains(&Some(&place.real))) else { continue };
        if let Some(at) = windows.sighting(&place.real, &place.kind)
            && !is_shown_by_name(spec, facts, &place.real, request.origin)
        {
            return seen(&place.real, &at);
        }
    }
    for (at, copy, depth) in tree.copies() {
        let secrets = facts.secrets.iter().map(|found| &found.path);
        let stores: Vec<_> = facts.store_places().collect();
        let mut hidden = secrets.chain(stores.iter().map(AsRef::as_ref));
        // One above the directory that the layer stands for is no concern of the layer's.
        let is_inside = |hidden: &HostPath| hidden.depth() + depth > copy.depth();
        if let Some(secret) = hidden.find(|hidden| copy.starts_with(hidden) && is_inside(hidden))
            && !is_shown_by_name(spec, facts, copy, Origin::Profile)
        {
            return seen(secret, &at);
        }
    }
    if spec.rootfs.base != Base::Host {
        return Ok(());
    }
    for found in &facts.hidden {
        if let Some(at) = windows.sighting(&found.path, &found.kind)
            && !is_shown_by_name(spec, facts, &found.path, Origin::Profile)
            && !own.contains(&Some(&found.path))
        {
            return seen(&found.path, &at);
        }
    }
    Ok(())
}

/// Whether the spec names this very place, to show it.
fn is_shown_by_name(spec: &Spec, facts: &Facts, real: &HostPath, least: Origin) -> bool {
    let (home, workdir) = (facts.caller.home.as_ref(), facts.caller.workdir.path());
    let is_real = |path: HostPath| facts.place(&path).is_some_and(|place| place.real == *real);
    let by_request = spec.rootfs.requests.iter().any(|request| {
        request.origin >= least
            && !matches!(request.access, Access::Hide | Access::Tmpfs { .. })
            && request.path.resolve(home, workdir).is_some_and(is_real)
    });
    by_request || spec.rootfs.volumes.iter().any(|volume| is_real(volume.source.clone()))
}

/// Landlock says that something can be written only where a mount says so too.
pub(super) fn check_landlock(plan: &Plan, tree: &Tree<'_>) -> Result<(), CheckError> {
    for step in &plan.steps {
        let Action::Confine(ConfineStep::Landlock(rules)) = &step.action else { continue };
        for path in rules.paths.iter().filter(|path| path.grant == LandlockGrant::All) {
            let mounted = tree.mount_at(&path.at);
            if mounted.is_none_or(|mounted| mounted.access == MountAccess::ReadOnly) {
                return Err(CheckError::Landlock(path.at.clone()));
            }
        }
    }
    Ok(())
}
