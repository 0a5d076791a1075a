//! One change with all that is shown of it.

use super::side::{Side, read_both};
use crate::changes::{
    Aspect, Attribute, Change, Content, ContentHasher, Digester, Executed, FileKind, Held, Kind,
    Later, Links, Sources,
};
use crate::spec::HostPath;
use rustix::io::Errno;

/// A change and what was found out about it.
pub(crate) struct Item {
    pub(crate) change: Change,
    /// Who will execute it.
    pub(crate) executed: Option<Executed>,
    /// The first path that was shown and is the same file.
    pub(crate) link_of: Option<HostPath>,
    /// What it would bring over; none when contents are not read.
    pub(crate) held: Option<Held>,
    /// Whether more of two files of one size may differ than is known: nobody read them.
    pub(crate) may_hide: bool,
    /// Both sides, where contents are shown.
    pub(crate) sides: Option<(Side, Side)>,
}

/// How much of a change is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// What the walk tells.
    Outside,
    /// What it would bring over too, and whether content of the same size is the host's, while that costs little.
    Cheaply,
    /// What it would bring over too, and attributes and content compared with the host's.
    Wholly,
    /// Both texts too.
    Texts,
}

/// Bytes whose reading costs little, and files: from a disk, each one costs a tenth of a millisecond.
const CHEAP: (u64, u64) = (64 << 20, 2000);

/// Looks at changes, one after another.
pub(crate) struct Review<'a> {
    pub(crate) sources: Sources,
    pub(crate) later: &'a mut Later,
    pub(crate) depth: Depth,
    /// None when something was not read.
    pub(crate) digester: Option<Digester>,
    links: Links,
    /// Bytes and files that may still be read.
    budget: (u64, u64),
}

/// What reading a change told.
struct Inside {
    held: Held,
    sides: Option<(Side, Side)>,
    /// Whether all that differs is known.
    is_known: bool,
}

/// Whether a file took the place of one.
fn are_files(change: &Change) -> bool {
    let is_file = |node: &Option<crate::changes::Node>| {
        node.as_ref().is_some_and(|n| n.kind == FileKind::File)
    };
    change.kind == Kind::Changed && is_file(&change.now) && is_file(&change.was)
}

/// Whether the walk has left open how two files differ: of those of one size and time it has read both.
fn is_open(change: &Change) -> bool {
    let differs = |aspect| change.differs.has(aspect);
    are_files(change) && differs(Aspect::Time) && !differs(Aspect::Size)
}

impl<'a> Review<'a> {
    pub(crate) fn new(sources: Sources, later: &'a mut Later, depth: Depth) -> Self {
        let digester = (depth > Depth::Outside).then(Digester::default);
        let budget = if depth == Depth::Cheaply { CHEAP } else { (u64::MAX, u64::MAX) };
        Self { sources, later, depth, digester, links: Links::default(), budget }
    }

    /// Everything about a change. None when a sandbox that runs has removed it meanwhile.
    pub(crate) fn look_at(&mut self, mut change: Change) -> Result<Option<Item>, Errno> {
        let executed = self.later.executes(&change);
        let link_of = self.links.first(&change).cloned();
        let (mut held, mut sides) = (None, None);
        let mut may_hide = is_open(&change);
        if self.digester.is_some() && self.spend(&change) {
            match self.look_inside(&mut change) {
                Ok(inside) => {
                    (held, sides) = (Some(inside.held), inside.sides);
                    may_hide &= !inside.is_known;
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::LOOP | Errno::ISDIR) => {
                    self.digester = None;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        if let (Some(digester), Some(held)) = (&mut self.digester, &held) {
            digester.add(&change, held);
        }
        Ok(Some(Item { change, executed, link_of, held, may_hide, sides }))
    }

    /// Whether a file may be read; when not, nothing is from here on.
    fn spend(&mut self, change: &Change) -> bool {
        let bytes = change.now.as_ref().and_then(|now| Some(now.size?.min(now.data))).unwrap_or(0);
        match (self.budget.0.checked_sub(bytes), self.budget.1.checked_sub(1)) {
            (Some(bytes), Some(files)) => self.budget = (bytes, files),
            _ => self.digester = None,
        }
        self.digester.is_some()
    }

    fn look_inside(&mut self, change: &mut Change) -> Result<Inside, Errno> {
        if self.depth < Depth::Texts {
            let held = self.sources.hold(change)?;
            let is_known = self.compare(change, &held)?;
            return Ok(Inside { held, sides: None, is_known });
        }
        let (old, new) = read_both(change, &mut self.sources)?;
        let mut held = self.sources.hold(change)?;
        if let (Side::Text(text), Content::Hashed { .. }) = (&new, held.content) {
            // What is shown is what is summed up, also when somebody writes to it between the two looks.
            let mut hasher = ContentHasher::new();
            hasher.update(0, text);
            let size = text.len() as u64;
            held.content = Content::Hashed { size, hash: hasher.finish(size) };
        }
        let is_known = self.compare(change, &held)?;
        Ok(Inside { held, sides: Some((old, new)), is_known })
    }

    /// Completes what differs, where the walk did not look: in files whose size or time differs. Whether that is
    /// known now.
    fn compare(&mut self, change: &mut Change, held: &Held) -> Result<bool, Errno> {
        let has_attributes = held.attributes.as_ref().is_some_and(|list| !list.is_empty());
        let is_wanted = self.depth >= Depth::Wholly || has_attributes || is_open(change);
        if !is_wanted || !are_files(change) {
            return Ok(true);
        }
        if self.depth < Depth::Wholly && !self.spend_on_host(change) {
            return Ok(false);
        }
        let host = match Sources::host_file(change) {
            Ok(host) => host,
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::STALE | Errno::LOOP) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let was: Vec<Attribute> = Sources::host_attributes(&host)?;
        let differ = held.attributes.as_ref().is_some_and(|now| *now != was);
        change.differs.set(Aspect::Attributes, differ);
        if !change.differs.has(Aspect::Size) {
            let same = self.sources.content(&host)? == held.content;
            change.differs.set(Aspect::Content, !same);
        }
        Ok(true)
    }

    /// Whether the host's file may be read too.
    fn spend_on_host(&mut self, change: &Change) -> bool {
        let bytes = change.was.as_ref().and_then(|was| Some(was.size?.min(was.data))).unwrap_or(0);
        let left = self.budget.0.checked_sub(bytes);
        self.budget.0 = left.unwrap_or(self.budget.0);
        left.is_some()
    }
}
