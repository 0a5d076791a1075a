//! Carries the steps on the tree out on paper.

use std::collections::{BTreeMap, BTreeSet};

use super::CheckError;
use crate::plan::step::{
    Action, Cover, FsStep, Lower, MountAccess, MountFlags, OverlayServer, Plan, ScratchEntry,
    ScratchLayer, Stage, StoreStep, Upper,
};
use crate::spec::{HostPath, SandboxPath};

/// The finished tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) mounts: BTreeMap<SandboxPath, Mounted>,
    /// What was made on tmpfs of ours.
    made: BTreeSet<SandboxPath>,
    scratch: BTreeMap<ScratchLayer, Vec<ScratchEntry>>,
    covered: BTreeSet<SandboxPath>,
}

/// One mount.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) number: usize,
    pub(super) what: What,
    pub(super) access: MountAccess,
}

/// What a mount is.
#[derive(Debug)]
pub(super) enum What {
    /// A tmpfs of ours, and whether it is sealed.
    Tmpfs { sealed: bool },
    /// A tree of the host.
    Bind { from: HostPath, flags: MountFlags },
    /// An overlay: the host's directories it shows, and what its scratch layers have.
    Overlay { hosts: Vec<(HostPath, u64)>, entries: Vec<ScratchEntry>, by_kernel: bool },
    /// Procfs, sysfs, devpts, mqueue, and what `Cover` and `FileOver` put there.
    Own,
}

/// The steps on the tree, with their numbers as shown.
fn steps(plan: &Plan) -> impl Iterator<Item = (usize, &FsStep)> {
    (1..).zip(&plan.steps).filter_map(|(number, step)| match &step.action {
        Action::Fs(step) => Some((number, step)),
        _ => None,
    })
}

/// The tree that the steps build. Errors: a step that cannot work, or undoes another.
pub(super) fn built(plan: &Plan) -> Result<Tree, CheckError> {
    let mut tree = Tree::default();
    for (number, step) in steps(plan) {
        tree.take(number, step)?;
    }
    Ok(tree)
}

impl Tree {
    fn take(&mut self, number: usize, step: &FsStep) -> Result<(), CheckError> {
        match step {
            FsStep::MakePrivate | FsStep::Scratch | FsStep::Pivot => Ok(()),
            FsStep::ScratchLayer { layer, entries, .. } => {
                check_entries(number, entries)?;
                match self.scratch.insert(*layer, entries.clone()) {
                    Some(_) => Err(CheckError::Number { number, what: "the scratch layer" }),
                    None => Ok(()),
                }
            }
            FsStep::NewRoot => {
                let what = What::Tmpfs { sealed: false };
                let root = Mounted { number, what, access: MountAccess::Writable };
                self.made.insert(SandboxPath::root());
                self.mounts.insert(SandboxPath::root(), root);
                Ok(())
            }
            FsStep::Directory { at, .. } | FsStep::Link { at, .. } | FsStep::File { at, .. } => {
                self.make(number, at)
            }
            FsStep::Bind { from, at, flags } => {
                let what = What::Bind { from: from.clone(), flags: *flags };
                self.mount(number, at, what, flags.access)
            }
            FsStep::Overlay { at, lower, upper, server, flags } => {
                check_overlay(number, at, lower, upper.is_some(), *flags)?;
                let what = self.overlay(number, lower, server)?;
                self.mount(number, at, what, flags.access)
            }
            FsStep::Tmpfs { at, flags, .. } => {
                self.mount(number, at, What::Tmpfs { sealed: false }, flags.access)?;
                self.made.insert(at.clone());
                Ok(())
            }
            FsStep::Proc { at } | FsStep::Devpts { at } | FsStep::Mqueue { at } => {
                self.mount(number, at, What::Own, MountAccess::Writable)
            }
            FsStep::Sysfs { at } | FsStep::FileOver { at, .. } => {
                self.mount(number, at, What::Own, MountAccess::ReadOnly)
            }
            FsStep::Cover { at, with } => self.cover(number, at, *with),
            FsStep::Seal { at } => self.seal(number, at),
        }
    }

    /// The mount that a path is on.
    pub(super) fn mount_of(&self, at: &SandboxPath) -> Option<(&SandboxPath, &Mounted)> {
        let mut way = std::iter::once(at.clone()).chain(at.ancestors());
        way.find_map(|place| self.mounts.get_key_value(&place))
    }

    fn make(&mut self, number: usize, at: &SandboxPath) -> Result<(), CheckError> {
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        let parent = at.parent().unwrap_or_else(SandboxPath::root);
        match self.mount_of(&parent) {
            Some((_, Mounted { what: What::Tmpfs { sealed: false }, .. })) => {}
            Some((_, Mounted { what: What::Tmpfs { sealed: true }, .. })) => {
                return fault("would be made in a sealed directory");
            }
            _ => return fault("would be made outside the tmpfs of the sandbox"),
        }
        if !self.made.contains(&parent) {
            return fault("has no directory to be made in");
        }
        if !self.made.insert(at.clone()) {
            return fault("is made twice");
        }
        Ok(())
    }

    fn mount(
        &mut self,
        number: usize,
        at: &SandboxPath,
        what: What,
        access: MountAccess,
    ) -> Result<(), CheckError> {
        self.check_point(number, at)?;
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        if self.mounts.keys().any(|other| other.is_below(at)) {
            return fault("would cover mounts that stand below it");
        }
        if self.covered.iter().any(|covered| covered.starts_with(at)) {
            return fault("would undo a mask that stands there or below");
        }
        if at.is_root() {
            self.made.clear();
        } else if self.mounts.contains_key(at) {
            return fault("would be mounted on twice");
        }
        self.mounts.insert(at.clone(), Mounted { number, what, access });
        Ok(())
    }

    /// Whether there is something to mount on, as far as the plan alone tells.
    fn check_point(&self, number: usize, at: &SandboxPath) -> Result<(), CheckError> {
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        if self.covered.iter().any(|covered| at.starts_with(covered)) {
            return fault("is hidden, and would be mounted on");
        }
        let Some((mount_point, mounted)) = self.mount_of(at) else {
            return fault("is in no tree");
        };
        match &mounted.what {
            What::Tmpfs { .. } if !self.made.contains(at) => fault("does not exist"),
            What::Overlay { entries, .. } if hides(entries, mount_point, at) => {
                fault("is hidden, and would be mounted on")
            }
            What::Overlay { hosts, entries, .. }
                if hosts.is_empty() && !has(entries, mount_point, at) =>
            {
                fault("does not exist")
            }
            _ => Ok(()),
        }
    }

    fn cover(&mut self, number: usize, at: &SandboxPath, with: Cover) -> Result<(), CheckError> {
        let fault = |fault| Err(CheckError::Place { number, at: at.clone(), fault });
        if self.mounts.keys().any(|other| other.is_below(at)) {
            return fault("would cover mounts that stand below it");
        }
        match self.mount_of(at) {
            Some((_, Mounted { what: What::Tmpfs { .. }, .. })) => {
                fault("is covered before what it masks is mounted")
            }
            None => fault("is in no tree"),
            _ if with == Cover::ReadOnlyIfThere => Ok(()),
            _ => {
                self.covered.insert(at.clone());
                Ok(())
            }
        }
    }

    fn seal(&mut self, number: usize, at: &SandboxPath) -> Result<(), CheckError> {
        if let Some(Mounted { what: What::Tmpfs { sealed }, access, .. }) = self.mounts.get_mut(at)
        {
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
        lower: &[Lower],
        server: &OverlayServer,
    ) -> Result<What, CheckError> {
        let (mut hosts, mut entries) = (Vec::new(), Vec::new());
        for lower in lower {
            match lower {
                Lower::Host { path, mount } => hosts.push((path.clone(), *mount)),
                Lower::Scratch(layer) => {
                    let wrong = CheckError::Number { number, what: "the scratch layer" };
                    let held = self.scratch.get(layer).ok_or(wrong)?;
                    // What lies below the host's tree hides nothing of it.
                    if hosts.is_empty() {
                        entries.extend(held.iter().cloned());
                    }
                }
            }
        }
        Ok(What::Overlay { hosts, entries, by_kernel: *server == OverlayServer::Kernel })
    }

    /// The files of the host that scratch layers copy, and where each is seen.
    pub(super) fn copies(&self) -> Vec<(SandboxPath, &HostPath)> {
        let mut found = Vec::new();
        for (mount_point, mounted) in &self.mounts {
            let What::Overlay { entries, .. } = &mounted.what else { continue };
            for entry in entries {
                if let ScratchEntry::Copy { path, from } = entry
                    && let Some(rest) = path.relative_to(&SandboxPath::root())
                    && let Ok(at) = mount_point.join(rest)
                {
                    found.push((at, from));
                }
            }
        }
        found
    }

    /// Whether what a mount shows at `at` is really seen there: nothing is mounted on it, and it is
    /// neither whited out nor covered.
    pub(super) fn shows(&self, mount_point: &SandboxPath, at: &SandboxPath) -> bool {
        let is_on_top = self.mount_of(at).is_some_and(|(point, _)| point == mount_point);
        let is_masked = match self.mounts.get(mount_point).map(|mounted| &mounted.what) {
            Some(What::Overlay { entries, .. }) => hides(entries, mount_point, at),
            _ => false,
        };
        is_on_top && !is_masked && !self.covered.iter().any(|covered| at.starts_with(covered))
    }
}

fn place_of(entry: &ScratchEntry) -> &SandboxPath {
    match entry {
        ScratchEntry::Directory { path, .. }
        | ScratchEntry::Whiteout { path }
        | ScratchEntry::Link { path, .. }
        | ScratchEntry::Copy { path, .. }
        | ScratchEntry::Placeholder { path } => path,
    }
}

/// `at` as a layer of the overlay at `mount_point` names it.
fn in_layer(mount_point: &SandboxPath, at: &SandboxPath) -> Option<SandboxPath> {
    SandboxPath::root().join(at.relative_to(mount_point)?).ok()
}

fn hides(entries: &[ScratchEntry], mount_point: &SandboxPath, at: &SandboxPath) -> bool {
    let Some(at) = in_layer(mount_point, at) else { return false };
    entries
        .iter()
        .any(|entry| matches!(entry, ScratchEntry::Whiteout { path } if at.starts_with(path)))
}

fn has(entries: &[ScratchEntry], mount_point: &SandboxPath, at: &SandboxPath) -> bool {
    in_layer(mount_point, at).is_some_and(|at| entries.iter().any(|entry| *place_of(entry) == at))
}

/// Parents first, nothing twice, nothing below a whiteout or a file.
fn check_entries(number: usize, entries: &[ScratchEntry]) -> Result<(), CheckError> {
    let mut directories = BTreeSet::from([SandboxPath::root()]);
    let mut all = BTreeSet::new();
    for entry in entries {
        let at = place_of(entry);
        let parent = at.parent().unwrap_or_else(SandboxPath::root);
        if !directories.contains(&parent) || !all.insert(at.clone()) {
            let fault = "has no directory in its layer, or is made twice";
            return Err(CheckError::Place { number, at: at.clone(), fault });
        }
        if let ScratchEntry::Directory { path, .. } = entry {
            directories.insert(path.clone());
        }
    }
    Ok(())
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
    Ok(())
}

/// Every layer is made once, before it is used once, and described.
pub(super) fn check_layers(plan: &Plan) -> Result<(), CheckError> {
    let (mut made, mut used, mut in_memory) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut opened = false;
    for (number, step) in (1..).zip(&plan.steps) {
        let wrong = Err(CheckError::Number { number, what: "the layer" });
        match &step.action {
            Action::Store(StoreStep::Open { store }) => {
                if opened || plan.store.as_ref() != Some(store) {
                    return Err(CheckError::NotAsked { number, what: "a second store" });
                }
                opened = true;
            }
            Action::Store(StoreStep::Layer(layer))
                if !opened || !made.insert(*layer) || usize::from(layer.0) >= plan.layers.len() =>
            {
                return wrong;
            }
            Action::Fs(FsStep::Overlay { upper: Some(Upper::Layer(layer)), at, .. }) => {
                let described = plan.layers.get(usize::from(layer.0));
                let fits = described.is_some_and(|described| described.at == *at);
                if !made.contains(layer) || !used.insert(*layer) || !fits {
                    return wrong;
                }
            }
            Action::Fs(FsStep::Overlay {
                upper: Some(Upper::Scratch { number: n, .. }), ..
            }) if !in_memory.insert(*n) => {
                return wrong;
            }
            _ => {}
        }
    }
    if used.len() == plan.layers.len() && made.len() == used.len() {
        Ok(())
    } else {
        Err(CheckError::Missing {
            what: "make every layer that is described",
            stage: Stage::Prepare,
        })
    }
}
