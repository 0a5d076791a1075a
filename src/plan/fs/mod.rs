//! Plans the steps that build the file tree which the rules describe.
//!
//! # Theory of operation
//! The new root is a tmpfs, the *skeleton*. Rules are arranged as a tree; each place is mounted on
//! what the place above it made: on a tmpfs of ours its mount point is made first; on the host's files
//! the mount point is there, or an overlay's own lower layer in scratch brings it along. What is hidden
//! in an overlay is a whiteout in that layer, so that it is also hidden when it appears later; in a
//! bind it is covered.
//!
//! | file | plans |
//! |---|---|
//! | `forest` | which rules matter, as a tree |
//! | `place` | one place by its view |
//! | `bind` | trees of the host as they are, and the covers on them |
//! | `overlay` | copy-on-write and read-only trees |
//! | `mask` | the scratch layer of an overlay: whiteouts and mount points |
//! | `hidden` | what is hidden in each layer, for later runs with it |
//! | `split` | trees with mounts below, which no overlay of the kernel's takes whole |
//! | `serve` | who serves an overlay, and where what is written goes |
//! | `written` | how much of what is bounded in sum goes where |

mod bind;
mod forest;
mod hidden;
mod mask;
mod overlay;
mod place;
mod serve;
mod split;
mod written;

use std::collections::BTreeSet;

use foldhash::HashMap;

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Kind};
use super::mounts::MountTable;
use super::step::{FsStep, ScratchEntry, ScratchLayer};
use super::view::{Rules, View};
use crate::spec::rootfs::Base;
use crate::spec::{HostPath, SandboxPath, Spec};
use forest::Node;
pub(super) use forest::forest;
use serve::UpperHome;
pub(super) use serve::kernel_upper_is_possible;
use written::Written;

/// The tree while it is planned.
struct Trees<'a> {
    spec: &'a Spec,
    facts: &'a Facts,
    table: &'a MountTable<'a>,
    draft: &'a mut Draft,
    /// Where upper layers go, once one was needed.
    home: Option<UpperHome>,
    /// What stands on a tmpfs of ours, mount points included.
    made: BTreeSet<SandboxPath>,
    /// A scratch layer that holds nothing.
    empty: Option<ScratchLayer>,
    scratch_layers: u16,
    scratch_uppers: u16,
    /// What all that is written may take; none where that is not bounded.
    written: Option<Written>,
    /// Bytes of files that shadows copy.
    copied: u64,
    /// Permission bits of the host's directories.
    modes: HashMap<&'a [u8], u32>,
}

/// The permission bits of every directory that was looked at.
fn modes(facts: &Facts) -> HashMap<&[u8], u32> {
    let split = facts.split.iter().map(|split| (split.path.as_bytes(), split.mode));
    let listed = facts.directories.iter().map(|listed| (listed.path.as_bytes(), listed.mode));
    split.chain(listed).collect()
}

/// What a place is mounted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// A tmpfs of ours: its mount point has to be made.
    Ours,
    /// Something that has the mount point.
    There,
}

/// Appends every step on the tree, up to the pivot.
pub(super) fn plan_tree(
    spec: &Spec,
    facts: &Facts,
    rules: &Rules,
    table: &MountTable,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    let root = forest(rules);
    let written = super::disk::plan_disk(spec, facts, draft)?;
    let written = written.map(|size| Written::divide(size, root.as_ref(), spec));
    let mut trees = Trees {
        spec,
        facts,
        table,
        draft,
        home: None,
        made: BTreeSet::from([SandboxPath::root()]),
        empty: None,
        scratch_layers: 0,
        scratch_uppers: 0,
        written,
        copied: 0,
        modes: modes(facts),
    };
    let hold = trees.written.as_ref().map(|written| FsStep::Hold { size: written.held });
    for step in [FsStep::MakePrivate, FsStep::Scratch, FsStep::NewRoot].into_iter().chain(hold) {
        trees.draft.fs(step);
    }
    if spec.lifetime.detached.is_some() || spec.lifetime.continues.is_some() {
        // Its record, its log and the way to its supervisor have to be somewhere, or are.
        trees.upper_home()?;
        trees.record_home()?;
    }
    if let Some(root) = root {
        trees.place(&root, Ground::There)?;
        hidden::describe(rules, &mut trees.draft.layers);
        if root.rule.view == View::Skeleton {
            trees.root_directories();
        }
        super::identity::plan_identity(spec, facts, rules, trees.draft)?;
        if root.rule.view == View::Skeleton {
            trees.draft.fs(FsStep::Seal { at: SandboxPath::root() });
        }
    }
    trees.draft.fs(FsStep::Pivot);
    Ok(())
}

impl Trees<'_> {
    /// Hidden directories of the host's `/` are there, and empty: `ls /` looks like home.
    fn root_directories(&mut self) {
        if self.spec.rootfs.base != Base::Host {
            return;
        }
        let facts = self.facts;
        for entry in facts.root_entries.iter().filter(|entry| entry.kind == Kind::Directory) {
            self.make_directory(&entry.path.same_in_sandbox());
        }
    }

    /// Makes a directory on a tmpfs of ours, and those above it.
    fn make_directory(&mut self, at: &SandboxPath) {
        self.make_parents(at);
        if self.made.insert(at.clone()) {
            self.draft.fs(FsStep::Directory { at: at.clone(), mode: 0o755 });
        }
    }

    /// Makes an empty file on a tmpfs of ours, to be covered by a mount.
    fn make_file(&mut self, at: &SandboxPath) {
        self.make_parents(at);
        if self.made.insert(at.clone()) {
            let content = crate::spec::Text::default();
            self.draft.fs(FsStep::File { at: at.clone(), content, mode: 0o444 });
        }
    }

    fn make_parents(&mut self, at: &SandboxPath) {
        let mut missing: Vec<SandboxPath> =
            at.ancestors().take_while(|above| !self.made.contains(above)).collect();
        missing.reverse();
        for above in missing {
            self.draft.fs(FsStep::Directory { at: above.clone(), mode: 0o755 });
            self.made.insert(above);
        }
    }

    /// The permission bits of a directory of the host, when it is one.
    fn mode(&self, path: &HostPath) -> Option<u32> {
        self.modes.get(path.as_bytes()).copied()
    }

    /// Appends steps that others planned, and remembers what they make.
    fn take(&mut self, steps: Vec<FsStep>) {
        for step in steps {
            if let FsStep::Directory { at, .. }
            | FsStep::File { at, .. }
            | FsStep::Link { at, .. }
            | FsStep::Socket { at }
            | FsStep::Tmpfs { at, .. } = &step
            {
                self.made.insert(at.clone());
            }
            self.draft.fs(step);
        }
    }

    /// A scratch layer with these entries.
    fn scratch_layer(&mut self, mode: u32, entries: Vec<ScratchEntry>) -> ScratchLayer {
        let layer = self.scratch_number();
        self.draft.fs(FsStep::ScratchLayer { layer, mode, entries });
        layer
    }

    fn scratch_number(&mut self) -> ScratchLayer {
        let layer = ScratchLayer(self.scratch_layers);
        self.scratch_layers += 1;
        layer
    }

    /// The scratch layer that holds nothing.
    fn empty_layer(&mut self) -> ScratchLayer {
        if let Some(layer) = self.empty {
            return layer;
        }
        let layer = self.scratch_layer(0o755, Vec::new());
        self.empty = Some(layer);
        layer
    }
}

/// Where `at`, in the tree of `node`, is on the host.
fn on_host(rule: &super::view::Rule, at: &SandboxPath) -> Result<HostPath, PlanError> {
    at.moved(&rule.at, &rule.from).ok_or_else(|| PlanError::NoMountPoint(at.clone()))
}

/// Whether a place is mounted as a directory.
fn is_directory(node: &Node<'_>) -> bool {
    match node.rule.view {
        View::Tmpfs { .. } | View::Private | View::Own(_) | View::Skeleton | View::Hidden => true,
        _ => node.rule.kind == Kind::Directory,
    }
}

/// The payload's ids inside.
fn ids_inside(trees: &Trees<'_>) -> (u32, u32) {
    super::ids::inside(trees.spec, trees.facts)
}

/// Every directory that has to be listed because the kernel takes no overlay over it: those on the way
/// from the root of a tree to a mount in it.
pub(super) fn split_directories(
    node: &Node<'_>,
    table: &MountTable,
    found: &mut BTreeSet<HostPath>,
) {
    if let View::Read | View::Cow = node.rule.view {
        split_below(node, &node.rule.from, table, found);
    }
    for child in &node.children {
        split_directories(child, table, found);
    }
}

fn split_below(
    node: &Node<'_>,
    from: &HostPath,
    table: &MountTable,
    found: &mut BTreeSet<HostPath>,
) {
    for mount in table.children_below(from) {
        let above = mount.at.ancestors().filter(|above| above.starts_with(from));
        found.extend(above.filter(|above| is_in(node, above)));
        // What is mounted there is a tree of its own, with mounts of its own.
        if table.mounted_at(&mount.at).is_some() && is_in(node, &mount.at) {
            split_below(node, &mount.at, table, found);
        }
    }
}

/// Whether a path of the host is seen through this tree and not through one mounted on it, or hidden.
fn is_in(node: &Node<'_>, path: &HostPath) -> bool {
    let Some(at) = path.moved(&node.rule.from, &node.rule.at) else { return false };
    !node.children.iter().any(|child| at.starts_with(&child.rule.at))
}

/// Mount points of which nobody has said what stands there.
pub(super) fn unknown_points(root: &Node<'_>, facts: &Facts) -> Result<Vec<HostPath>, PlanError> {
    let mut found = BTreeSet::new();
    collect_points(root, facts, &mut found)?;
    Ok(found.into_iter().collect())
}

fn collect_points(
    node: &Node<'_>,
    facts: &Facts,
    found: &mut BTreeSet<HostPath>,
) -> Result<(), PlanError> {
    for child in &node.children {
        if node.rule.shows_host() && child.is_seen() {
            let point = on_host(node.rule, &child.rule.at)?;
            let is_own = child.rule.from == point && child.rule.view != View::Hidden;
            if !is_own && point_kind(facts, &point).is_err() {
                found.insert(point);
            }
        }
        collect_points(child, facts, found)?;
    }
    Ok(())
}

/// What stands at a path of the host on which something is to be mounted.
fn point_kind(facts: &Facts, path: &HostPath) -> Result<Kind, PlanError> {
    if let Some(place) = facts.places.iter().find(|place| place.real == *path) {
        return Ok(place.kind.clone());
    }
    // Asked for under this name, and it is a link to somewhere else.
    if let Some(place) = facts.place(path) {
        return Ok(Kind::Link(place.real.as_path().as_os_str().to_owned().into()));
    }
    let mut found = facts.secrets.iter().chain(&facts.hidden);
    if let Some(found) = found.find(|found| found.path == *path) {
        return Ok(found.kind.clone());
    }
    if facts.directory_mode(path).is_some() {
        return Ok(Kind::Directory);
    }
    if facts.absent.contains(path) {
        return Ok(Kind::Absent);
    }
    Err(PlanError::Unprobed("points"))
}
