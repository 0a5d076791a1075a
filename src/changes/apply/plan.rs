//! From changes, what stands on both sides, and what somebody chose: ordered actions, and what stays.
//!
//! # Theory of operation
//! Pure. The items come sorted by path, so a directory stands before what lies in it: a stack of the new
//! directories above the current item tells whether they are made, left or dropped. Each item is judged
//! alone against that stack; then hard links are put together and the actions put in a safe order:
//! directories from the top down, directories that become writable, files, removals, what the layer drops,
//! and at last directories that are closed.
//!
//! # Decisions
//! - What must never be applied is told before what is in conflict: no choice can settle it.
//! - A new directory above something that was asked for comes with it, but not its permission bits and
//!   attributes: nobody looked at those. One that takes a file's place does not come: it has to be named.
//! - Files with several names are copied once and linked, never moved: a name that stays in the layer
//!   would still be the host's file.

use std::collections::{BTreeSet, HashMap};

use super::action::{Action, Conflict, Left, Note, Refusal, Source, What, Why};
use super::choices::{Choices, Resolve, Selection};
use super::item::{Item, Parent, Since, Tree};
use super::seen::{Inode, Seen};
use crate::changes::{Aspect, FileKind, Kind, Trouble};
use crate::plan::step::LayerNumber;
use crate::spec::HostPath;
use crate::spec::order;

/// Who applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applier {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// What will be done, and what stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplyPlan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Changes that were asked for and stay, sorted by path.
    pub left: Vec<Left>,
    /// Directories of layers that differ from the host by themselves and stay so.
    pub kept: BTreeSet<(LayerNumber, HostPath)>,
}

impl ApplyPlan {
    /// Adds an action. A directory that nobody asked for comes without what the layer has of it, which stays.
    fn act(&mut self, mut action: Action, asked_for: bool) {
        if action.what == What::Directory && !asked_for {
            action.what = What::Parent;
            self.kept.insert((action.layer, action.path.clone()));
        }
        self.actions.push(action);
    }
}

/// What happens to a directory above.
#[derive(Clone)]
enum Above {
    Made,
    /// It is not made, or one above it: this one. Whether that is only because nobody asked for it.
    Left(HostPath, bool),
    Dropped,
}

/// What is to be done with one item.
enum Verdict {
    Act(What),
    Leave(Why),
}

/// Plans an apply.
pub fn plan(items: &[Item], choices: &Choices, applier: Applier) -> ApplyPlan {
    let wanted = wanted(items, &choices.selected);
    let mut out = ApplyPlan::default();
    let mut above: Vec<(&Item, Above)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = &item.change.path;
        while above.last().is_some_and(|(top, _)| !path.is_below(&top.change.path)) {
            above.pop();
        }
        let verdict = wanted[index].then(|| judge(item, choices, above.last(), applier));
        let state = match &verdict {
            None => match above.last() {
                Some((_, left @ Above::Left(..))) => left.clone(),
                _ => Above::Left(path.clone(), item.host.seen.is_some() && !item.excluded),
            },
            Some(Verdict::Leave(_)) => match above.last() {
                Some((_, left @ Above::Left(..))) => left.clone(),
                _ => Above::Left(path.clone(), false),
            },
            Some(Verdict::Act(What::Drop)) => Above::Dropped,
            Some(Verdict::Act(_)) => Above::Made,
        };
        if makes_directory(item) {
            above.push((item, state));
        }
        match verdict {
            Some(Verdict::Act(what)) => {
                let overrides = choices.resolve(path) == Resolve::Theirs;
                let action = Action { overrides, ..action(index, item, what) };
                out.act(action, choices.selected.holds(&item.change));
            }
            left => {
                if item.layer.is_some_and(|layer| layer.is_directory()) {
                    out.kept.insert((item.change.layer, path.clone()));
                }
                // What was only needed by something else is not told: that is.
                if let Some(Verdict::Leave(why)) = left
                    && choices.selected.holds(&item.change)
                {
                    out.left.push(Left { change: index, why });
                }
            }
        }
    }
    link(&mut out.actions, items);
    order::sort_by_key(&mut out.actions, |action| (rank(action), action.path.clone()));
    let closing = out.actions.partition_point(|action| rank(action) < CLOSING);
    // What is closed is closed from below.
    out.actions[closing..].reverse();
    out
}

/// What is done last: directories that nothing can be written in afterwards.
const CLOSING: u8 = 5;

fn rank(action: &Action) -> u8 {
    let stays_open = action.takes.is_some_and(|layer| layer.mode & 0o300 == 0o300);
    match action.what {
        What::Directory | What::Parent => 0,
        What::Adjust if stays_open => 1,
        What::Put(_) => 2,
        What::Remove => 3,
        What::Drop => 4,
        What::Adjust => CLOSING,
    }
}

/// Whether it is a directory where the host has none.
fn makes_directory(item: &Item) -> bool {
    let is_directory = item.layer.is_some_and(|layer| layer.is_directory());
    is_directory && !item.host.seen.is_some_and(|host| host.is_directory())
}

/// Which items were asked for, or are needed by those.
fn wanted(items: &[Item], selected: &Selection) -> Vec<bool> {
    let mut wanted = vec![false; items.len()];
    let mut above: Vec<usize> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        while above.last().is_some_and(|top| !item.change.path.is_below(&items[*top].change.path)) {
            above.pop();
        }
        wanted[index] = !item.excluded && selected.holds(&item.change);
        if wanted[index] && matches!(selected, Selection::Below(_)) {
            for needed in above.iter().filter(|needed| items[**needed].host.seen.is_none()) {
                wanted[*needed] = !items[*needed].excluded;
            }
        }
        if makes_directory(item) {
            above.push(index);
        }
    }
    wanted
}

fn judge(
    item: &Item,
    choices: &Choices,
    above: Option<&(&Item, Above)>,
    applier: Applier,
) -> Verdict {
    if let Some(refusal) = never(item, applier) {
        return Verdict::Leave(Why::Refused(refusal));
    }
    match above {
        Some((_, Above::Dropped)) => return Verdict::Act(What::Drop),
        Some((_, Above::Left(path, unnamed))) => {
            let below = matches!(choices.selected, Selection::Below(_));
            return Verdict::Leave(if *unnamed && below {
                Why::Refused(Refusal::NamesOnlyBelow(path.clone()))
            } else {
                Why::Above(path.clone())
            });
        }
        Some((_, Above::Made)) | None => {}
    }
    let (is_made, resolve) = (above.is_some(), choices.resolve(&item.change.path));
    match conflict(item, is_made) {
        Some(Settled::Equal) => return Verdict::Act(What::Drop),
        Some(Settled::Conflict(conflict)) => match settle(item, &conflict, resolve) {
            Settlement::Apply => {}
            Settlement::Drop => return Verdict::Act(What::Drop),
            Settlement::Tell => return Verdict::Leave(Why::Conflict(conflict)),
        },
        None => {}
    }
    match item.executed_later {
        Some(what) if !choices.executed_later.allows(&item.change.path) => {
            Verdict::Leave(Why::ExecutedLater(what))
        }
        _ => Verdict::Act(what(item, resolve, applier)),
    }
}

/// What no choice can change.
fn never(item: &Item, applier: Applier) -> Option<Refusal> {
    match item.change.trouble {
        Some(Trouble::Forged) => return Some(Refusal::Forged),
        Some(Trouble::Unreadable) => return Some(Refusal::Unreadable),
        Some(Trouble::TooDeep) => return Some(Refusal::TooDeep),
        Some(Trouble::Miscopied) => return Some(Refusal::Miscopied),
        None => {}
    }
    if item.change.hidden {
        return Some(Refusal::Hidden);
    }
    if let Parent::Mounted = item.host.parent {
        let above = item.change.path.parent().unwrap_or_else(HostPath::root);
        return Some(Refusal::Mounted(above));
    }
    if let Some(Tree::Refused(refusal)) = &item.host.tree {
        return Some(refusal.clone());
    }
    let kind = item.layer.map(|layer| layer.kind());
    match kind {
        Some(FileKind::Device) => return Some(Refusal::Device),
        Some(FileKind::Socket) => return Some(Refusal::Socket),
        _ => {}
    }
    // Only root could give a new file to the owner of the old one, or change another's directory. Writing into the
    // old one would keep its owner, but not at once: whoever reads it, or an apply that is killed, would find half of
    // it, and its owner may have given it the name of any file that is ours.
    let host = item.host.seen.filter(|host| Some(host.kind()) == kind)?;
    let is_foreign = applier.user != 0 && host.owner != applier.user;
    // Where it is the same by now, nothing is done to it.
    (is_foreign && !item.host.equal).then_some(Refusal::Foreign(host.owner))
}

enum Settled {
    /// There is nothing to do but to forget the layer's.
    Equal,
    Conflict(Conflict),
}

fn conflict(item: &Item, is_made: bool) -> Option<Settled> {
    let host = &item.host;
    let conflict = |conflict| Some(Settled::Conflict(conflict));
    match host.parent {
        Parent::NoDirectory => return conflict(Conflict::NoDirectory),
        Parent::Missing(_) if !is_made => return conflict(Conflict::NoDirectory),
        _ => {}
    }
    if host.gone {
        return conflict(Conflict::Gone);
    }
    // Somebody made it between two looks.
    if item.change.kind == Kind::Added && host.seen.is_some() && !host.equal {
        return conflict(Conflict::Changed);
    }
    match host.since {
        Since::Unchanged => {}
        _ if host.equal => return Some(Settled::Equal),
        Since::Changed => return conflict(Conflict::Changed),
        Since::Unknown => return conflict(Conflict::Unknown),
    }
    match &host.tree {
        Some(Tree::Newer(path, Since::Unknown)) if *path == item.change.path => {
            conflict(Conflict::Unknown)
        }
        Some(Tree::Newer(path, _)) => conflict(Conflict::Below(path.clone())),
        Some(Tree::Refused(_)) | None => None,
    }
}

enum Settlement {
    Apply,
    Drop,
    Tell,
}

fn settle(item: &Item, conflict: &Conflict, resolve: Resolve) -> Settlement {
    match resolve {
        Resolve::Ours => Settlement::Drop,
        // There is no place to put it.
        Resolve::Theirs if *conflict == Conflict::NoDirectory => Settlement::Tell,
        Resolve::Theirs => Settlement::Apply,
        Resolve::Merge if item.merged.is_some() => Settlement::Apply,
        Resolve::Merge | Resolve::Tell => Settlement::Tell,
    }
}

fn what(item: &Item, resolve: Resolve, applier: Applier) -> What {
    let Some(layer) = item.layer else { return What::Remove };
    let host_is_directory = item.host.seen.is_some_and(|host| host.is_directory());
    match (layer.is_directory(), host_is_directory) {
        (true, true) => What::Adjust,
        (true, false) => What::Directory,
        (false, _) => What::Put(match item.merged {
            Some(number) if resolve == Resolve::Merge => Source::Merged(number),
            _ if can_move(&layer, item, applier) => Source::Move,
            _ => Source::Copy,
        }),
    }
}

/// Whether the layer's own file can become the host's.
fn can_move(layer: &Seen, item: &Item, applier: Applier) -> bool {
    let (Parent::There(spot) | Parent::Missing(spot)) = &item.host.parent else { return false };
    let replaces_file = item.host.seen.filter(|host| host.kind() == FileKind::File);
    let owners = match replaces_file {
        Some(host) => layer.owner == host.owner,
        None => layer.owner == applier.user && layer.group == spot.group.unwrap_or(applier.group),
    };
    layer.kind() == FileKind::File
        // Never under any name of the host's with such bits, not for a moment.
        && layer.mode & 0o6000 == 0
        && layer.links == 1
        && layer.inode.device == spot.device
        && owners
}

fn action(index: usize, item: &Item, what: What) -> Action {
    let mut notes = Vec::new();
    if let (Some(layer), What::Put(_)) = (item.layer, &what)
        && layer.mode & 0o6000 != 0
        && layer.kind() == FileKind::File
    {
        notes.push(Note::SetId);
    }
    if item.change.differs.has(Aspect::Owner) && what != What::Drop {
        notes.push(Note::Owner);
    }
    Action {
        path: item.change.path.clone(),
        layer: item.change.layer,
        what,
        replaces: item.host.seen,
        takes: item.layer,
        overrides: false,
        notes,
        change: index,
    }
}

/// Makes names of one file names of one file again.
fn link(actions: &mut [Action], items: &[Item]) {
    let mut first: HashMap<Inode, HostPath> = HashMap::new();
    for action in actions {
        let known = items.get(action.change).and_then(|item| item.linked.as_ref());
        let has_names = |layer: &Seen| layer.links > 1 || known.is_some();
        let Some(layer) = action.takes.filter(has_names) else { continue };
        if !matches!(action.what, What::Put(Source::Copy | Source::Move)) {
            continue;
        }
        match first.get(&layer.inode).or(known) {
            Some(path) => action.what = What::Put(Source::Link(path.clone())),
            None => _ = first.insert(layer.inode, action.path.clone()),
        }
    }
}
