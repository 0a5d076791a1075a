//! Carries the steps on the tree out on paper.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt as _, HashSet};

use super::CheckError;
use crate::plan::step::{
    Action, Cover, FsStep, Lower, MountAccess, MountFlags, OverlayServer, Plan, ScratchEntry,
    ScratchLayer, StoreStep,
};
use crate::spec::{HostPath, SandboxPath};

/// The finished tree. It is made at every start: it borrows from the plan and looks places up by
/// their bytes.
#[derive(Debug, Default)]
pub(super) struct Tree<'p> {
    /// In the order they were made.
    pub(super) mounts: Vec<Mounted<'p>>,
    by_place: HashMap<&'p [u8], usize>,
    /// What was made on tmpfs of ours.
    made: HashSet<&'p [u8]>,
    scratch: BTreeMap<ScratchLayer, Layer<'p>>,
    covered: HashSet<&'p [u8]>,
}

/// One mount.
#[derive(Debug)]
pub(super) struct Mounted<'p> {
    pub(super) number: usize,
    pub(super) at: SandboxPath,
    pub(super) what: What<'p>,
    pub(super) access: MountAccess,
}

/// What a mount is.
#[derive(Debug)]
pub(super) enum What<'p> {
    /// A tmpfs of ours, and whether it is sealed.
    Tmpfs { sealed: bool },
    /// A tree of the host.
    Bind { from: &'p HostPath, flags: MountFlags },
    /// An overlay: the host's directories it shows, and the scratch layers over them.
    Overlay { hosts: Vec<(&'p HostPath, u64)>, masks: Vec<ScratchLayer>, by_kernel: bool },
    /// Procfs, sysfs, devpts, mqueue, and what `FileOver` puts there.
    Own,
}

/// What a scratch layer holds.
#[derive(Debug, Default)]
struct Layer<'p> {
    by_place: HashMap<&'p [u8], Held>,
    copies: Vec<(&'p SandboxPath, &'p HostPath)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Whiteout,
    Directory,
    File,
}

/// The tree that the steps build. Errors: a step that cannot work, or undoes another.
pub(super) fn built(plan: &Plan) -> Result<Tree<'_>, CheckError> {
    let mut tree = Tree::default();
    for (number, step) in (1..).zip(&plan.steps) {
        match &step.action {
            Action::Fs(step) => tree.take(number, step)?,
            Action::Store(StoreStep::Mask { layer, entries, .. }) => {
                tree.scratch_layer(number, *layer, entries)?;
            }
            _ => {}
        }
    }
    Ok(tree)
}

/// A place and those above it, nearest first, `/` last.
fn way(at: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(at), |path| {
        let slash = path.iter().rposition(|byte| *byte == b'/')?;
        match slash {
            0 if path.len() == 1 => None,
            0 => path.get(..1),
            _ => path.get(..slash),
        }
    })
}

/// `at` as a layer of the overlay at `mount_point` names it: with a slash before it.
fn in_layer<'a>(mount_point: &SandboxPath, at: &'a [u8]) -> &'a [u8] {
    let above = if mount_point.is_root() { 0 } else { mount_point.as_bytes().len() };
    at.get(above..).unwrap_or_default()
}

impl<'p> Tree<'p> {
    fn take(&mut self, number: usize, step: &'p FsStep) -> Result<(), CheckError> {
        use MountAccess::{ReadOnly, Writable};
        match step {
            FsStep::MakePrivate | FsStep::Scratch | FsStep::Hold { .. } | FsStep::Pivot => Ok(()),
            FsStep::ScratchLayer { layer, entries, .. } => {
                self.scratch_layer(number, *layer, entries)
            }
            FsStep::NewRoot => {
                self.made.insert(b"/");
                self.put(
                    number,
                    b"/",
                    SandboxPath::root(),
                    What::Tmpfs { sealed: false },
                    Writable,
                );
                Ok(())
            }
            FsStep::Directory { at, .. }
            | FsStep::Link { at, .. }
            | FsStep::File { at, .. }
            | FsStep::Socket { at } => self.make(number, at),
            FsStep::Bind { from, at, flags } => {
                self.mount(number, at, What::Bind { from, flags: *flags }, flags.access)
            }
            FsStep::Overlay { at, lower, upper, server, flags } => {
                check_overlay(number, at, lower, upper.is_some(), *flags)?;
                let what = self.overlay(number, lower, server)?;
                self.mount(number, at, what, flags.access)
            }
            FsStep::Tmpfs { at, flags, .. } => {
                self.mount(number, at, What::Tmpfs { sealed: false }, flags.access)?;
                self.made.insert(at.as_bytes());
                Ok(())
            }
            FsStep::Proc { at }
            | FsStep::Devpts { at }
            | FsStep::Mqueue { at }
            | FsStep::Cgroups { at } => self.mount(number, at, What::Own, Writable),
            FsStep::Sysfs { at } | FsStep::FileOver { at, .. } => {
                self.mount(number, at, What::Own, ReadOnly)
            }
            FsStep::Cover { at, with } => self.cover(number, at, *with),
            FsStep::Seal { at } => self.seal(number, at),
        }
    }

    fn scratch_layer(
        &mut self,
        number: usize,
        layer: ScratchLayer,
        entries: &'p [ScratchEntry],
    ) -> Result<(), CheckError> {
        match self.scratch.insert(layer, held(number, entries)?) {
            Some(_) => Err(CheckError::Number { number, what: "the scratch layer" }),
            None => Ok(()),
        }
    }

    fn put(
        &mut self,
        number: usize,
        place: &'p [u8],
        at: SandboxPath,
        what: What<'p>,
        access: MountAccess,
    ) {
        self.by_place.insert(place, self.mounts.len());
        self.mounts.push(Mounted { number, at, what, access });
    }

    /// The mount at this very place.
    pub(super) fn mount_at(&self, at: &SandboxPath) -> Option<&Mounted<'p>> {
        self.by_place.get(at.as_bytes()).and_then(|index| self.mounts.get(*index))
    }

    /// The mount that a place is on.
    pub(super) fn mount_of(&self, at: &[u8]) -> Option<&Mounted<'p>> {
        let index = way(at).find_map(|place| self.by_place.get(place))?;
        self.mounts.get(*index)
    }

    fn is_covered(&self, at: &[u8]) -> bool {
        !self.covered.is_empty() && way(at).any(|place| self.covered.contains(place))
    }

    fn make(&mut self, number: usize, at: &'p SandboxPath) -> Result<(), CheckError> {
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        let parent = way(at.as_bytes()).nth(1).unwrap_or(b"/");
        match self.mount_of(parent).map(|mounted| &mounted.what) {
            Some(What::Tmpfs { sealed: false }) => {}
            Some(What::Tmpfs { sealed: true }) => {
                return fault("would be made in a sealed directory");
            }
            _ => return fault("would be made outside the tmpfs of the sandbox"),
        }
        if !self.made.contains(parent) {
            return fault("has no directory to be made in");
        }
        if !self.made.insert(at.as_bytes()) {
            return fault("is made twice");
        }
        Ok(())
    }

    fn mount(
        &mut self,
        number: usize,
        at: &'p SandboxPath,
        what: What<'p>,
        access: MountAccess,
    ) -> Result<(), CheckError> {
        self.check_point(number, at)?;
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        if self.mounts.iter().any(|other| other.at.is_below(at)) {
            return fault("would cover mounts that stand below it");
        }
        if self.covered.iter().any(|covered| way(covered).any(|place| place == at.as_bytes())) {
            return fault("would undo a mask that stands there or below");
        }
        if at.is_root() {
            self.made.clear();
            self.mounts.clear();
            self.by_place.clear();
        } else if self.by_place.contains_key(at.as_bytes()) {
            return fault("would be mounted on twice");
        }
        self.put(number, at.as_bytes(), at.clone(), what, access);
        Ok(())
    }

    /// Whether there is something to mount on, as far as the plan alone tells.
    fn check_point(&self, number: usize, at: &SandboxPath) -> Result<(), CheckError> {
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        if self.is_covered(at.as_bytes()) {
            return fault("is hidden, and would be mounted on");
        }
        let Some(mounted) = self.mount_of(at.as_bytes()) else { return fault("is in no tree") };
        match &mounted.what {
            What::Tmpfs { .. } if !self.made.contains(at.as_bytes()) => fault("does not exist"),
            What::Overlay { masks, .. }
                if self.hides(masks, in_layer(&mounted.at, at.as_bytes())) =>
            {
                fault("is hidden, and would be mounted on")
            }
            What::Overlay { hosts, masks, .. }
                if hosts.is_empty() && !self.has(masks, in_layer(&mounted.at, at.as_bytes())) =>
            {
                fault("does not exist")
            }
            _ => Ok(()),
        }
    }

    fn cover(&mut self, number: usize, at: &'p SandboxPath, with: Cover) -> Result<(), CheckError> {
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        if self.mounts.iter().any(|other| other.at.is_below(at)) {
            return fault("would cover mounts that stand below it");
        }
        match self.mount_of(at.as_bytes()).map(|mounted| &mounted.what) {
            Some(What::Tmpfs { .. }) => fault("is covered before what it masks is mounted"),
            None => fault("is in no tree"),
            _ if with == Cover::ReadOnlyIfThere => Ok(()),
            _ => {
                self.covered.insert(at.as_bytes());
                Ok(())
            }
        }
    }

    fn seal(&mut self, number: usize, at: &SandboxPath) -> Result<(), CheckError> {
        let index = self.by_place.get(at.as_bytes());
        let mounted = index.and_then(|index| self.mounts.get_mut(*index));
        if let Some(Mounted { what: What::Tmpfs { sealed }, access, .. }) = mounted {
            *sealed = true;
            *access = MountAccess::ReadOnly;
            return Ok(());
        }
        let fault = "is no tmpfs that could be sealed";
        Err(CheckError::Place { number, at: at.clone(), fault })
    }

    fn overlay(
        &self,
        number: usize,
        lower: &'p [Lower],
        server: &OverlayServer,
    ) -> Result<What<'p>, CheckError> {
        let (mut hosts, mut masks) = (Vec::new(), Vec::new());
        for lower in lower {
            match lower {
                Lower::Host { path, mount } => hosts.push((path, *mount)),
                Lower::Scratch(layer) if !self.scratch.contains_key(layer) => {
                    return Err(CheckError::Number { number, what: "the scratch layer" });
                }
                // What lies below the host's tree hides nothing of it.
                Lower::Scratch(layer) if hosts.is_empty() => masks.push(*layer),
                Lower::Scratch(_) => {}
            }
        }
        Ok(What::Overlay { hosts, masks, by_kernel: *server == OverlayServer::Kernel })
    }

    fn layers(&self, masks: &[ScratchLayer]) -> impl Iterator<Item = &Layer<'p>> {
        masks.iter().filter_map(|mask| self.scratch.get(mask))
    }

    /// Whether a place in an overlay, named as its layers name it, is whited out.
    fn hides(&self, masks: &[ScratchLayer], in_layer: &[u8]) -> bool {
        self.layers(masks).any(|layer| {
            let mut way = way(in_layer);
            way.any(|place| layer.by_place.get(place) == Some(&Held::Whiteout))
        })
    }

    fn has(&self, masks: &[ScratchLayer], in_layer: &[u8]) -> bool {
        let is_mountable = |held: Option<&Held>| held.is_some_and(|held| *held != Held::Whiteout);
        self.layers(masks).any(|layer| is_mountable(layer.by_place.get(in_layer)))
    }

    /// The files of the host that scratch layers copy: where each is seen, what it is a copy of, and how
    /// many names deep it lies in its layer.
    pub(super) fn copies(&self) -> impl Iterator<Item = (SandboxPath, &'p HostPath, usize)> {
        let overlays = self.mounts.iter().filter_map(|mounted| match &mounted.what {
            What::Overlay { masks, .. } => Some((&mounted.at, masks)),
            _ => None,
        });
        overlays.flat_map(|(mount_point, masks)| {
            let copies = self.layers(masks).flat_map(|layer| &layer.copies);
            copies.filter_map(|(path, from)| {
                Some((path.moved(&SandboxPath::root(), mount_point)?, *from, path.depth()))
            })
        })
    }

    /// Whether what a mount shows at `at` is really seen there: it is neither whited out nor covered,
    /// and nothing is mounted on it.
    pub(super) fn shows(&self, mounted: &Mounted<'_>, at: &SandboxPath) -> bool {
        !self.masks(mounted, in_layer(&mounted.at, at.as_bytes()))
            && !self.is_covered(at.as_bytes())
            && self.mount_of(at.as_bytes()).is_some_and(|top| top.number == mounted.number)
    }

    /// Whether a mount hides a place in it, which is named from its root with a slash before it.
    pub(super) fn masks(&self, mounted: &Mounted<'_>, in_layer: &[u8]) -> bool {
        matches!(&mounted.what, What::Overlay { masks, .. } if self.hides(masks, in_layer))
    }
}

/// What a layer holds: parents first, nothing twice, nothing below a whiteout or a file.
fn held(number: usize, entries: &[ScratchEntry]) -> Result<Layer<'_>, CheckError> {
    let mut layer =
        Layer { by_place: HashMap::with_capacity(entries.len() + 1), copies: Vec::new() };
    layer.by_place.insert(b"/", Held::Directory);
    // Most entries stand beside the one before.
    let mut last: &[u8] = b"/";
    for entry in entries {
        let (path, held) = match entry {
            ScratchEntry::Directory { path, .. } => (path, Held::Directory),
            ScratchEntry::Whiteout { path } => (path, Held::Whiteout),
            ScratchEntry::Copy { path, from } => {
                layer.copies.push((path, from));
                (path, Held::File)
            }
            ScratchEntry::Link { path, .. } | ScratchEntry::Placeholder { path } => {
                (path, Held::File)
            }
        };
        let parent = way(path.as_bytes()).nth(1).unwrap_or_default();
        let has_parent = parent == last || layer.by_place.get(parent) == Some(&Held::Directory);
        if !has_parent || layer.by_place.insert(path.as_bytes(), held).is_some() {
            let fault = "has no directory in its layer, or is made twice";
            return Err(CheckError::Place { number, at: path.clone(), fault });
        }
        last = parent;
    }
    Ok(layer)
}

fn check_overlay(
    number: usize,
    at: &SandboxPath,
    lower: &[Lower],
    is_written: bool,
    flags: MountFlags,
) -> Result<(), CheckError> {
    let fault = |fault| Err(CheckError::Overlay { number, at: at.clone(), fault });
    if lower.is_empty() || (!is_written && lower.len() < 2) {
        return fault("has too few lower layers");
    }
    if is_written != (flags.access == MountAccess::Writable) {
        return fault("is writable without an upper layer, or read-only with one");
    }
    let is_twice =
        |(index, layer)| lower.iter().skip(index + 1).any(|other: &Lower| other == layer);
    if lower.iter().enumerate().any(is_twice) { fault("has one layer twice") } else { Ok(()) }
}
