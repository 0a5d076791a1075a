//! Carries out the actions of a plan, in their order, so that it can be stopped anywhere.
//!
//! # Theory of operation
//! What an action changes is announced in the journal first. A step is one change of the host or of the
//! layer; before each the caller is asked whether to go on, which is how tests stop it there as a kill
//! would: nothing is put in order on the way out.
//!
//! An action that cannot be done leaves its change in the layer and is told; the others go on. What would
//! meet every one of them (no space, an error of the disk) ends the apply.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::syncfs;
use rustix::io::Errno;

use super::ApplyError;
use super::action::{Action, Conflict, Finish, Left, Refusal, Source, What, Why};
use super::batch::Placed;
use super::item::{Item, Since};
use super::journal::{Journal, Line, Opened, Own};
use super::places::{Entry, Places, Side};
use super::plan::ApplyPlan;
use super::seen::Seen;
use super::stage::chmod;
use super::surgery::{self, Opener, Unsealed};
use crate::plan::step::LayerNumber;
use crate::spec::HostPath;

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Actions that were done, by their number in the plan.
    pub done: Vec<usize>,
    /// Changes that were to be applied and stay all the same.
    pub left: Vec<Left>,
}

/// Carries out one plan.
pub(super) struct Executor<'a> {
    pub(super) places: &'a mut Places,
    pub(super) items: &'a [Item],
    pub(super) plan: &'a ApplyPlan,
    pub(super) sandbox: BorrowedFd<'a>,
    pub(super) journal: Journal,
    pub(super) own: &'a mut Own,
    pub(super) unsealed: Unsealed,
    /// Files that both sides became together.
    pub(super) merged: &'a [OwnedFd],
    /// Asked before each step; the apply ends at once when the answer is no.
    pub(super) go_on: &'a mut dyn FnMut() -> bool,
    /// Told how many actions are done.
    pub(super) progress: &'a mut dyn FnMut(usize),
    pub(super) finish: Vec<(HostPath, LayerNumber, Finish)>,
    pub(super) opened: Vec<Opened>,
    /// Files of which other names may follow.
    pub(super) placed: HashMap<HostPath, Placed>,
    /// Directories of the host that are written in, and whether nobody had changed them before.
    pub(super) quiet: BTreeMap<(LayerNumber, HostPath), bool>,
    pub(super) outcome: Outcome,
}

impl Executor<'_> {
    /// Does everything. `touched` are paths of an earlier apply whose layers' directories may be empty now.
    pub(super) fn run(
        mut self,
        touched: &[(HostPath, LayerNumber, bool)],
    ) -> Result<Outcome, ApplyError> {
        let plan = self.plan;
        self.journal.add(&Line::Begun).map_err(ApplyError::Journal)?;
        let of = |wanted: fn(&What) -> bool| {
            plan.actions.iter().enumerate().filter(move |(_, action)| wanted(&action.what))
        };
        let adjust = |opening: bool| {
            let wanted: Vec<(usize, &Action)> = of(|what| *what == What::Adjust)
                .filter(|(_, action)| {
                    action.takes.is_some_and(|l| l.mode & 0o300 == 0o300) == opening
                })
                .collect();
            wanted
        };
        self.make_directories(of(|what| matches!(what, What::Directory | What::Parent)))?;
        self.adjust(adjust(true))?;
        self.put_all(of(|what| matches!(what, What::Put(_))).collect())?;
        self.remove_all(&of(|what| *what == What::Remove).collect::<Vec<_>>())?;
        for (index, action) in of(|what| *what == What::Drop) {
            self.drop_from_layer(index, action)?;
        }
        self.adjust(adjust(false))?;
        self.sync()?;
        self.finish_directories()?;
        self.prune(touched)?;
        self.close_opened()?;
        self.remember();
        super::journal::close(self.sandbox, self.own).map_err(ApplyError::Journal)?;
        Ok(self.outcome)
    }

    /// Before every change of anything.
    pub(super) fn step(&mut self) -> Result<(), ApplyError> {
        if (self.go_on)() { Ok(()) } else { Err(ApplyError::Interrupted) }
    }

    /// Takes note that an action was done.
    pub(super) fn done(&mut self, index: usize) {
        self.outcome.done.push(index);
        (self.progress)(self.outcome.done.len() + self.outcome.left.len());
    }

    /// Takes note that an action could not be done.
    pub(super) fn leave(&mut self, index: usize, why: Why) -> Result<(), ApplyError> {
        let action = &self.plan.actions[index];
        if let Why::Failed(source) = why
            && ends_all(source)
        {
            return Err(ApplyError::Path { path: action.path.clone(), source });
        }
        self.outcome.left.push(Left { change: action.change, why });
        (self.progress)(self.outcome.done.len() + self.outcome.left.len());
        Ok(())
    }

    /// Both directories of an action, each such that it can be written in, and the layer's not opaque.
    pub(super) fn enter(
        &mut self,
        action: &Action,
    ) -> Result<Result<(Entry, Entry), Why>, ApplyError> {
        let (layer, path) = (action.layer, &action.path);
        let entered = (|| {
            let host = self.places.entry(Side::Host, layer, path).map_err(no_way)?;
            let source = self.places.entry(Side::Layer, layer, path).map_err(no_way)?;
            let relative = self.places.relative(Side::Layer, layer, path).map_err(no_way)?;
            Ok::<_, Why>((host, source, relative))
        })();
        let (host, source, relative) = match entered {
            Ok(entered) => entered,
            Err(why) => return Ok(Err(why)),
        };
        let above = relative.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash);
        if let Err(error) = self.note_directory(action, &host) {
            return Ok(Err(Why::Failed(error)));
        }
        self.step()?;
        let parent = path.parent().unwrap_or_else(HostPath::root);
        let mut opener = Opener { journal: &self.journal, opened: &mut self.opened };
        let entered = opener
            .open_up(Side::Layer, layer, &parent, &*source.directory)
            .and_then(|()| opener.open_up(Side::Host, layer, &parent, &*host.directory))
            .and_then(|()| self.unseal(layer, &relative[..above]));
        Ok(entered.map(|()| (host, source)).map_err(Why::Failed))
    }

    /// Looks at a directory of the host before anything in it is changed.
    fn note_directory(&mut self, action: &Action, host: &Entry) -> Result<(), Errno> {
        let Some(above) = action.path.parent() else { return Ok(()) };
        let key = (action.layer, above);
        if !self.quiet.contains_key(&key) {
            let seen = Seen::of(&*host.directory)?;
            let quiet = self.places.since(self.own, action.layer, &seen) == Since::Unchanged;
            self.quiet.insert(key, quiet);
        }
        Ok(())
    }

    /// Whether nobody had changed the directory of a path.
    pub(super) fn is_quiet(&self, action: &Action) -> bool {
        let above = action.path.parent().map(|above| (action.layer, above));
        above.and_then(|key| self.quiet.get(&key)).copied().unwrap_or(false)
    }

    /// Makes sure that no directory of the layer's is opaque, down to this one.
    pub(super) fn unseal(&mut self, layer: LayerNumber, relative: &[u8]) -> Result<(), Errno> {
        let mut opener = Opener { journal: &self.journal, opened: &mut self.opened };
        self.unsealed.unseal(self.places, &mut opener, layer, relative)
    }

    /// Lets go of what the layer has; the host's stays.
    fn drop_from_layer(&mut self, index: usize, action: &Action) -> Result<(), ApplyError> {
        let layer = action.layer;
        let dropped = (|| {
            let relative = self.places.relative(Side::Layer, layer, &action.path)?;
            let above = relative.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let is_directory = action.takes.is_some_and(|layer| layer.is_directory());
            let end = if is_directory { relative.len() } else { above };
            self.unseal(layer, &relative[..end])?;
            let entry = self.places.entry(Side::Layer, layer, &action.path)?;
            surgery::forget(&entry, self.places.backend(layer)?)
        })();
        self.step()?;
        match dropped {
            Ok(()) => self.done(index),
            Err(error) => self.leave(index, Why::Failed(error))?,
        }
        Ok(())
    }

    /// Waits until everything that was written is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), ApplyError> {
        let mut synced = BTreeSet::new();
        for host in self.places.hosts() {
            let device = Seen::of(host).map_or(0, |seen| seen.inode.device);
            if synced.insert(device) {
                match super::places::open_below(host, ".".as_ref(), rustix::fs::OFlags::RDONLY) {
                    Ok(readable) => syncfs(readable).map_err(ApplyError::Sync)?,
                    // A directory that may only be entered.
                    Err(_) => rustix::fs::sync(),
                }
            }
        }
        Ok(())
    }

    /// Removes directories of the layers that hold nothing any more.
    fn prune(&mut self, touched: &[(HostPath, LayerNumber, bool)]) -> Result<(), ApplyError> {
        let mut directories: BTreeSet<(LayerNumber, HostPath)> = BTreeSet::new();
        for action in self.outcome.done.iter().map(|index| &self.plan.actions[*index]) {
            if action.takes.is_some_and(|layer| layer.is_directory()) {
                directories.insert((action.layer, action.path.clone()));
            }
            directories.extend(action.path.parent().map(|above| (action.layer, above)));
        }
        for (path, layer, _) in touched {
            directories.insert((*layer, path.clone()));
            directories.extend(path.parent().map(|above| (*layer, above)));
        }
        let left = self.outcome.left.iter().map(|left| &self.items[left.change].change);
        let left: BTreeSet<(LayerNumber, HostPath)> =
            left.map(|change| (change.layer, change.path.clone())).collect();
        for (layer, path) in directories.iter().rev() {
            self.step()?;
            let keeps = |path: &HostPath| {
                let key = (*layer, path.clone());
                self.plan.kept.contains(&key) || left.contains(&key)
            };
            let failed = |source| ApplyError::Path { path: path.clone(), source };
            surgery::prune(self.places, *layer, path, &keeps).map_err(failed)?;
        }
        Ok(())
    }

    /// Gives directories that were opened up the permission bits that they had.
    fn close_opened(&mut self) -> Result<(), ApplyError> {
        for opened in std::mem::take(&mut self.opened).iter().rev() {
            self.step()?;
            close_one(self.places, opened)
                .map_err(|source| ApplyError::Path { path: opened.path.clone(), source })?;
        }
        Ok(())
    }

    /// Notes which of the host's change times are this apply's own work.
    fn remember(&mut self) {
        for ((layer, path), quiet) in &self.quiet {
            if *quiet && let Some(seen) = seen_directory(self.places, *layer, path) {
                self.own.times.insert(seen.inode, seen.changed);
            }
        }
        for index in &self.outcome.done {
            let action = &self.plan.actions[*index];
            if matches!(action.what, What::Remove | What::Drop) {
                continue;
            }
            let Ok(entry) = self.places.entry(Side::Host, action.layer, &action.path) else {
                continue;
            };
            if let Ok(Some(seen)) = Seen::at(&*entry.directory, &entry.name) {
                self.own.times.insert(seen.inode, seen.changed);
            }
        }
    }
}

/// A directory of the host, if it is there.
pub(super) fn seen_directory(
    places: &mut Places,
    layer: LayerNumber,
    path: &HostPath,
) -> Option<Seen> {
    let entry = places.entry(Side::Host, layer, path).ok()?;
    let seen = Seen::at(&*entry.directory, &entry.name).ok()??;
    seen.is_directory().then_some(seen)
}

/// Gives a directory the permission bits that it had; one that is gone needs none.
pub(super) fn close_one(places: &mut Places, opened: &Opened) -> Result<(), Errno> {
    let entry = match places.entry(opened.side, opened.layer, &opened.path) {
        Ok(entry) => entry,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let name = std::os::unix::ffi::OsStrExt::from_bytes(entry.name.to_bytes());
    match super::places::open_below(entry.directory.as_fd(), name, flags) {
        Ok(directory) => chmod(&directory, opened.mode),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Why a path cannot be reached.
pub(super) fn no_way(error: Errno) -> Why {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Why::Conflict(Conflict::NoDirectory),
        Errno::XDEV => Why::Refused(Refusal::Mounted(HostPath::root())),
        error => Why::Failed(error),
    }
}

/// What would meet every other action too.
fn ends_all(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOSPC
            | Errno::DQUOT
            | Errno::IO
            | Errno::ROFS
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
    )
}

/// Whether an action takes over a file that may have other names.
pub(super) fn is_first_of_several(action: &Action) -> bool {
    matches!(action.what, What::Put(Source::Copy)) && action.takes.is_some_and(|t| t.links > 1)
}
