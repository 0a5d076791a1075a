//! Directories: made, changed, and given their last attributes when everything in them is done.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, unlinkat};
use rustix::io::Errno;

use super::ApplyError;
use super::action::{Action, Conflict, Finish, What, Why};
use super::batch::slot_of;
use super::execute::Executor;
use super::journal::{How, Intent, Line};
use super::places::{Entry, Side, open_below};
use super::seen::Seen;
use super::stage::{chmod, set_attributes, timestamps};
use crate::changes::marks::Marks;
use crate::spec::HostPath;

const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);
/// Directories that are announced at once.
const ANNOUNCED: usize = 500;

impl Executor<'_> {
    /// Makes directories, each after the one it stands in.
    pub(super) fn make_directories<'p>(
        &mut self,
        actions: impl Iterator<Item = (usize, &'p Action)>,
    ) -> Result<(), ApplyError> {
        let actions: Vec<(usize, &Action)> = actions.collect();
        for chunk in actions.chunks(ANNOUNCED) {
            let mut lines = Vec::new();
            for (_, action) in chunk {
                let Some(takes) = action.takes else { continue };
                let finish = finish(action, &takes);
                let above = action.path.parent().map(|above| (action.layer, above));
                // One in a new directory is as quiet as that is.
                let quiet = above.is_none_or(|key| *self.quiet.get(&key).unwrap_or(&true));
                lines.push((action.path.clone(), action.layer, finish, quiet));
            }
            self.journal.add(&Line::Made(lines)).map_err(ApplyError::Journal)?;
            for (index, action) in chunk {
                self.make_directory(*index, action)?;
            }
        }
        Ok(())
    }

    fn make_directory(&mut self, index: usize, action: &Action) -> Result<(), ApplyError> {
        let (host, source) = match self.enter(action)? {
            Ok(entered) => entered,
            Err(why) => return self.leave(index, why),
        };
        if action.replaces.is_some() {
            // Prepared beside the file that goes, and exchanged with it.
            self.replace_by_directory(index, &host, &source)?;
            if self.outcome.done.last() != Some(&index) {
                return Ok(());
            }
        } else {
            self.step()?;
            match self.make_in(&host, &source, action) {
                Ok(()) => self.done(index),
                Err(why) => return self.leave(index, why),
            }
        }
        self.made(action)
    }

    /// A directory stands on the host now: what the layer has of it hides nothing any more.
    fn made(&mut self, action: &Action) -> Result<(), ApplyError> {
        self.step()?;
        let failed = |source| ApplyError::Path { path: action.path.clone(), source };
        self.places.forget();
        let relative = self.places.relative(Side::Layer, action.layer, &action.path);
        let relative = relative.map_err(failed)?;
        self.quiet.insert((action.layer, action.path.clone()), true);
        if let Some(takes) = action.takes {
            self.finish.push((action.path.clone(), action.layer, finish(action, &takes)));
        }
        self.unseal(action.layer, &relative).map_err(failed)
    }

    /// Makes a directory where `host` says, with the attributes of the layer's if that was asked for.
    pub(super) fn make_in(
        &mut self,
        host: &Entry,
        source: &Entry,
        action: &Action,
    ) -> Result<(), Why> {
        match mkdirat(&*host.directory, &*host.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Why::Conflict(Conflict::Meanwhile)),
            Err(error) => return Err(Why::Failed(error)),
        }
        let failed = Why::Failed;
        let made = open_below(host.directory.as_fd(), name(host), READ).map_err(failed)?;
        if action.what != What::Parent
            && let Err(why) = self.give_attributes(&made, source, action)
        {
            // Nothing is in it yet.
            unlinkat(&*host.directory, &*host.name, AtFlags::REMOVEDIR).map_err(failed)?;
            return Err(why);
        }
        let inherited = Seen::of(&made).map_err(failed)?.mode & 0o2000;
        let wanted = action.takes.map_or(0, |takes| finish(action, &takes).mode);
        rustix::fs::fchmod(&made, Mode::from_raw_mode(wanted | 0o700 | inherited)).map_err(failed)
    }

    /// Gives a new directory the attributes of the layer's: those that were reviewed.
    fn give_attributes(&self, made: &OwnedFd, source: &Entry, action: &Action) -> Result<(), Why> {
        let failed = Why::Failed;
        let layer = open_below(source.directory.as_fd(), name(source), READ).map_err(failed)?;
        let backend = self.places.backend(action.layer).map_err(failed)?;
        let marks = Marks::of_upper(&layer, backend).map_err(failed)?;
        let values = marks.values(&layer).map_err(failed)?;
        if let Some(held) = &self.items[action.change].held
            && held.attributes.as_ref() != Some(&values)
        {
            return Err(Why::Refused(super::action::Refusal::NotReviewed));
        }
        set_attributes(made, &values).map_err(failed)
    }

    /// Changes directories that both sides have.
    pub(super) fn adjust(&mut self, actions: Vec<(usize, &Action)>) -> Result<(), ApplyError> {
        if actions.is_empty() {
            return Ok(());
        }
        let intent = |(_, action): &(usize, &Action)| Intent {
            path: action.path.clone(),
            layer: action.layer,
            temporary: "".into(),
            how: How::Adjusted,
            replaces: action.replaces,
            linked: None,
            mode: action.takes.map_or(0, |takes| takes.permissions()),
            quiet: false,
        };
        let batch = actions.iter().map(intent).collect();
        self.journal.add(&Line::Batch(batch)).map_err(ApplyError::Journal)?;
        for (index, action) in actions {
            self.step()?;
            match self.adjust_one(action) {
                Ok(()) => self.done(index),
                Err(why) => self.leave(index, why)?,
            }
        }
        self.journal.add_lazily(&Line::Done).map_err(ApplyError::Journal)
    }

    fn adjust_one(&mut self, action: &Action) -> Result<(), Why> {
        let (layer, path) = (action.layer, &action.path);
        let host = self.places.entry(Side::Host, layer, path).map_err(super::execute::no_way)?;
        let source = self.places.entry(Side::Layer, layer, path).map_err(Why::Failed)?;
        let failed = Why::Failed;
        let directory = match open_below(host.directory.as_fd(), name(&host), READ) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Err(Why::Conflict(Conflict::Meanwhile));
            }
            other => other.map_err(failed)?,
        };
        let seen = Seen::of(&directory).map_err(failed)?;
        // Opened up for this apply, it has other permission bits than the plan saw.
        if action.replaces.is_none_or(|old| old.inode != seen.inode || old.owner != seen.owner) {
            return Err(Why::Conflict(Conflict::Meanwhile));
        }
        let upper = open_below(source.directory.as_fd(), name(&source), READ).map_err(failed)?;
        let backend = self.places.backend(layer).map_err(failed)?;
        let marks = Marks::of_upper(&upper, backend).map_err(failed)?;
        let values = marks.values(&upper).map_err(failed)?;
        if let Some(held) = &self.items[action.change].held
            && held.attributes.as_ref() != Some(&values)
        {
            return Err(Why::Refused(super::action::Refusal::NotReviewed));
        }
        let takes = action.takes.map_or(seen.mode, |takes| takes.mode);
        let mode = takes & 0o1777 | seen.mode & 0o6000;
        // Attributes can be set only on what can be written.
        chmod(&directory, seen.permissions() | 0o700).map_err(failed)?;
        set_attributes(&directory, &values).map_err(failed)?;
        chmod(&directory, mode).map_err(failed)?;
        // What it is now is what it is closed to.
        self.opened.retain(|opened| {
            opened.side != Side::Host || opened.path != *path || opened.layer != layer
        });
        let relative = self.places.relative(Side::Layer, layer, path).map_err(failed)?;
        self.unseal(layer, &relative).map_err(failed)
    }

    /// Gives new directories their times, and permission bits that nothing can be written with.
    pub(super) fn finish_directories(&mut self) -> Result<(), ApplyError> {
        for (path, layer, finish) in std::mem::take(&mut self.finish).iter().rev() {
            self.step()?;
            self.finish_one(path, *layer, finish)
                .map_err(|source| ApplyError::Path { path: path.clone(), source })?;
        }
        Ok(())
    }

    fn finish_one(
        &mut self,
        path: &HostPath,
        layer: crate::plan::step::LayerNumber,
        finish: &Finish,
    ) -> Result<(), Errno> {
        let host = match self.places.entry(Side::Host, layer, path) {
            Ok(host) => host,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error),
        };
        let directory = match open_below(host.directory.as_fd(), name(&host), READ) {
            Ok(directory) => directory,
            // Somebody removed it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error),
        };
        let inherited = Seen::of(&directory)?.mode & 0o2000;
        let times = timestamps(finish.modified, finish.modified);
        rustix::fs::futimens(&directory, &times)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(finish.mode | inherited))
    }

    /// Puts a directory in the place of something else.
    fn replace_by_directory(
        &mut self,
        index: usize,
        host: &Entry,
        source: &Entry,
    ) -> Result<(), ApplyError> {
        let slot = slot_of(index, host.clone(), source.clone())?;
        self.put(vec![slot])
    }
}

/// What a directory gets at the end: what the layer's has, where that was asked for.
fn finish(action: &Action, takes: &Seen) -> Finish {
    if action.what != What::Parent {
        return Finish { mode: takes.mode & 0o1777, modified: takes.modified };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
    Finish { mode: 0o777 & !umask(), modified: (seconds, u64::from(now.subsec_nanos())) }
}

/// The caller's umask: read, for to ask the kernel is to change it. Where that fails, one that keeps all
/// others out.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o077)
}

fn name(entry: &Entry) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(entry.name.to_bytes())
}
