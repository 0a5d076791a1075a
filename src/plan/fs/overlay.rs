//! Plans copy-on-write, read-only, and private trees.

use std::borrow::Cow;

use super::super::error::PlanError;
use super::super::facts::{Kind, Refuted, StoreState};
use super::super::step::{
    Backend, Copied, FsStep, FuseReason, Layer, LayerNumber, Lower, Missing, MountFlags, Notice,
    OverlayServer, ScratchEntry, ScratchLayer, Stage, StoreStep, Upper,
};
use super::super::view::{Rule, View};
use super::mask::inside;
use super::serve::{self, Purpose, UpperHome};
use super::split::LARGEST_COPY;
use super::{Ground, Node, Trees};
use crate::spec::{HostPath, SandboxPath};

/// Entries from which on looking a mask up costs less than making it.
const WORTH_KEEPING: usize = 16;

/// A tree that becomes one overlay, or several where mounts are below it.
pub(super) struct Tree<'n> {
    /// How and where it is seen.
    pub(super) rule: Cow<'n, Rule>,
    /// What is seen differently below it.
    pub(super) children: Vec<&'n Node<'n>>,
}

impl Tree<'_> {
    fn purpose(&self) -> Purpose {
        match self.rule.view {
            View::CowAsRoot => Purpose::AsRoot,
            View::Cow if self.rule.foreign => Purpose::WriteForeign,
            View::Cow | View::Private => Purpose::Write,
            _ => Purpose::Read,
        }
    }

    /// Where other trees stand in it, relative to it.
    pub(super) fn covered(&self) -> Vec<SandboxPath> {
        self.children
            .iter()
            .filter(|child| child.is_seen())
            .filter_map(|child| child.rule.at.moved(&self.rule.at, &SandboxPath::root()))
            .collect()
    }
}

/// One overlay's lowers and the rest of what its layer records.
pub(super) struct Stack {
    pub(super) lower: Vec<Lower>,
    /// What of the host the layer lies over.
    pub(super) over: Option<HostPath>,
    /// Permission bits of the root.
    pub(super) mode: u32,
    pub(super) covered: Vec<SandboxPath>,
    pub(super) copied: Vec<Copied>,
}

impl Trees<'_> {
    /// The overlays of a place of the host.
    pub(super) fn overlay_of(&mut self, node: &Node<'_>, ground: Ground) -> Result<(), PlanError> {
        self.point(node, ground);
        let tree =
            Tree { rule: Cow::Borrowed(node.rule), children: node.children.iter().collect() };
        self.overlay(&tree)
    }

    /// One overlay where one is enough.
    pub(super) fn overlay(&mut self, tree: &Tree<'_>) -> Result<(), PlanError> {
        let server = self.server(tree)?;
        if server == OverlayServer::Kernel
            && self.table.children_below(&tree.rule.from).next().is_some()
        {
            return self.split(tree, server);
        }
        let mode = self.mode(&tree.rule.from).unwrap_or(0o755);
        let entries = self.mask(tree)?;
        let mut lower = Vec::new();
        if !entries.is_empty() {
            lower.push(Lower::Scratch(self.mask_layer(tree, &server, mode, entries)));
        }
        let mount = self.table.mount_of(&tree.rule.from).id;
        lower.push(Lower::Host { path: tree.rule.from.clone(), mount });
        let over = Some(tree.rule.from.clone());
        self.mount(
            tree,
            Stack { lower, over, mode, covered: tree.covered(), copied: Vec::new() },
            server,
        );
        self.below_overlay(tree)
    }

    /// The layer of a mask: kept in a store where it is long and can be, else in scratch.
    fn mask_layer(
        &mut self,
        tree: &Tree<'_>,
        server: &OverlayServer,
        mode: u32,
        entries: Vec<ScratchEntry>,
    ) -> ScratchLayer {
        let is_kept = |entry: &ScratchEntry| {
            matches!(entry, ScratchEntry::Directory { .. } | ScratchEntry::Whiteout { .. })
        };
        let is_worth_it = *server == OverlayServer::Kernel
            && !self.facts.is_refuted(Refuted::StoreHoldsMasks)
            && entries.len() >= WORTH_KEEPING
            && entries.iter().all(is_kept);
        match serve::mask_store(self.facts, &tree.rule.from).filter(|_| is_worth_it) {
            Some(store) => {
                let layer = self.scratch_number();
                let store = store.clone();
                self.draft.push(Stage::Prepare, StoreStep::Mask { store, layer, mode, entries });
                layer
            }
            None => self.scratch_layer(mode, entries),
        }
    }

    fn below_overlay(&mut self, tree: &Tree<'_>) -> Result<(), PlanError> {
        let seen = tree.children.iter().filter(|child| child.is_seen());
        seen.into_iter().try_for_each(|child| self.place(child, Ground::There))
    }

    /// An empty directory whose content is kept as a layer, with what is shown in it. Small files are
    /// copied, so that they can be written.
    pub(super) fn private(&mut self, node: &Node<'_>, ground: Ground) -> Result<(), PlanError> {
        self.point(node, ground);
        let rule = Cow::Owned(Rule { kind: Kind::Directory, ..node.rule.clone() });
        let (files, children): (Vec<&Node<'_>>, Vec<&Node<'_>>) =
            node.children.iter().partition(|child| is_small_copy(child));
        let tree = Tree { rule, children };
        let server = self.server(&tree)?;
        let mode = self.mode(&tree.rule.from).unwrap_or(0o700);
        let mut entries = self.points_only(&tree)?;
        let mut copied = Vec::new();
        for file in files {
            let (path, from) = (inside(&tree, &file.rule.at), file.rule.from.clone());
            self.add_parents(&tree, &path, &mut entries)?;
            copied.push(Copied { path: path.clone(), from: from.clone() });
            entries.add(ScratchEntry::Copy { path, from });
        }
        let lower = vec![Lower::Scratch(self.scratch_layer(mode, entries.sorted()))];
        let covered = tree.covered();
        self.mount(&tree, Stack { lower, over: None, mode, covered, copied }, server);
        self.below_overlay(&tree)
    }

    /// Who serves a tree; what is unexpected about it is told.
    fn server(&mut self, tree: &Tree<'_>) -> Result<OverlayServer, PlanError> {
        let purpose = tree.purpose();
        if purpose != Purpose::Read {
            self.upper_home()?;
        }
        let at = &tree.rule.at;
        let (server, why) = serve::server(self.spec, self.facts, self.home.as_ref(), purpose, at)?;
        if let Some(why) = why {
            let place = self.facts.places.iter().find(|place| place.real == tree.rule.from);
            let file = place.filter(|_| why == FuseReason::ForeignIds);
            let file = file.and_then(|place| place.foreign.clone());
            self.draft.notice(Notice::Fuse { at: at.clone(), why, file });
        } else if purpose == Purpose::WriteForeign {
            self.draft.notice(Notice::ForeignIds(tree.rule.from.clone()));
        }
        Ok(server)
    }

    /// Where upper layers go: decided and opened once.
    pub(super) fn upper_home(&mut self) -> Result<(), PlanError> {
        if self.home.is_some() {
            return Ok(());
        }
        let home = serve::upper_home(self.spec, self.facts)?;
        match &home {
            UpperHome::Store { path, .. } => {
                self.draft.store = Some(path.clone());
                self.draft.push(Stage::Prepare, StoreStep::Open { store: path.clone() });
            }
            // What could not be brought anywhere is no layer that is bounded.
            UpperHome::Scratch if self.written.is_some() => return Err(PlanError::NoStore),
            UpperHome::Scratch => self.draft.notice(Notice::Missing(Missing::Store)),
        }
        self.home = Some(home);
        Ok(())
    }

    /// Where the record goes when no layer can be on disk: any store of the caller's.
    pub(super) fn record_home(&mut self) -> Result<(), PlanError> {
        if self.draft.store.is_some() {
            return Ok(());
        }
        let usable = self.facts.stores.iter().find(|store| store.state == StoreState::Usable);
        let path = usable.ok_or(PlanError::NoStore)?.path.clone();
        self.draft.store = Some(path.clone());
        self.draft.push(Stage::Prepare, StoreStep::Open { store: path });
        Ok(())
    }

    /// The overlay itself, with its upper layer if it is written.
    pub(super) fn mount(&mut self, tree: &Tree<'_>, stack: Stack, server: OverlayServer) {
        let Stack { mut lower, over, mode, covered, copied } = stack;
        let at = tree.rule.at.clone();
        let (upper, flags) = if tree.purpose() == Purpose::Read {
            if lower.len() < 2 {
                // Below the host's tree, so that the root looks as it does there.
                lower.push(Lower::Scratch(self.empty_layer()));
            }
            (None, MountFlags::READ_ONLY)
        } else {
            let backend = match server {
                OverlayServer::Kernel => Backend::Kernel,
                OverlayServer::Fuse { .. } => Backend::Fuse,
            };
            let hidden = Vec::new();
            let layer = Layer { over, at: at.clone(), backend, mode, covered, copied, hidden };
            (Some(self.upper(layer)), MountFlags::WRITABLE)
        };
        self.draft.fs(FsStep::Overlay { at, lower, upper, server, flags });
    }

    /// A place for what is written.
    fn upper(&mut self, layer: Layer) -> Upper {
        if self.home == Some(UpperHome::Scratch) {
            let number = self.scratch_uppers;
            self.scratch_uppers += 1;
            return Upper::Scratch { number, mode: layer.mode };
        }
        let number = LayerNumber(u16::try_from(self.draft.layers.len()).unwrap_or(u16::MAX));
        self.draft.push(Stage::Prepare, StoreStep::Layer(number));
        self.draft.layers.push(layer);
        if self.written.is_some() { Upper::Held(number) } else { Upper::Layer(number) }
    }
}

/// Whether a place is a single file that is copied rather than mounted.
fn is_small_copy(node: &Node<'_>) -> bool {
    node.rule.view == View::Cow && node.rule.kind == Kind::File && node.rule.size <= LARGEST_COPY
}
