//! Puts in order what an interrupted apply left: nothing of ours stays beside the targets, what was
//! applied has left the layer, and what was not is in it.
//!
//! # Decisions
//! - What somebody changed under its temporary name is put back. Where something else stands in its place by
//!   then it stays there and is told: an apply that ended with an error would end so every time. It is in the
//!   journal, and told again until an apply came to its end.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, RenameFlags, chmodat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::ApplyError;

use super::execute::close_one;
use super::item::Since;
use super::journal::{How, Intent, Journal, Line, Own, Pending};
use super::places::{Entry, Places, Side};
use super::rename::{is_unknown, objects_to_removal, rename_to_free};
use super::replace::second_name;
use super::seen::{Inode, Seen};
use super::surgery::{self, Opener, Unsealed};
use super::tree;
use crate::plan::step::{Backend, LayerNumber};
use crate::spec::HostPath;

/// Something of the host's that stays under a temporary name: somebody changed it after it had been put
/// aside, and something else stands in its place by now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PutAside {
    /// Where it stood.
    pub path: HostPath,
    /// Where it is.
    pub at: HostPath,
}

/// Settles the batch that was under way, and notes the directories it was in as our own work. Gives what
/// could not be put back.
pub(super) fn recover(
    places: &mut Places,
    journal: &Journal,
    pending: &Pending,
    own: &mut Own,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<PutAside>, ApplyError> {
    let stays = settle_batch(places, journal, pending, own, go_on)?;
    let mut unsealed = Unsealed::default();
    let mut opened = Vec::new();
    for (path, layer, _) in &pending.made {
        if !go_on() {
            return Err(ApplyError::Interrupted);
        }
        // A directory that stands on the host hides nothing any more.
        if super::execute::seen_directory(places, *layer, path).is_some()
            && let Ok(relative) = places.relative(Side::Layer, *layer, path)
        {
            places.forget();
            let mut hand = Opener { journal, opened: &mut opened };
            match unsealed.unseal(places, &mut hand, *layer, &relative) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(source) => return Err(ApplyError::Path { path: path.clone(), source }),
            }
        }
    }
    for (path, layer, quiet) in &pending.touched {
        let above = path.parent().filter(|_| *quiet);
        let made = pending.made.iter().any(|(made, number, _)| made == path && number == layer);
        for path in above.iter().chain(made.then_some(path)) {
            note(places, own, *layer, path);
        }
    }
    for opened in pending.opened.iter().chain(&opened).rev() {
        if !go_on() {
            return Err(ApplyError::Interrupted);
        }
        close_one(places, opened)
            .map_err(|source| ApplyError::Path { path: opened.path.clone(), source })?;
    }
    for (path, layer) in &pending.changed {
        note(places, own, *layer, path);
    }
    Ok(stays)
}

/// Settles each path of the batch. Gives what could not be put back, which is in the journal then.
fn settle_batch(
    places: &mut Places,
    journal: &Journal,
    pending: &Pending,
    own: &mut Own,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<PutAside>, ApplyError> {
    let mut stays = Vec::new();
    for (number, intent) in pending.batch.iter().enumerate() {
        if !go_on() {
            return Err(ApplyError::Interrupted);
        }
        let inode = match &pending.ready {
            None => Prepared::Maybe,
            Some(inodes) => Prepared::Yes(inodes.get(number).copied().flatten()),
        };
        let known = stays.len();
        settle(places, own, intent, inode, &mut stays)
            .map_err(|source| ApplyError::Path { path: intent.path.clone(), source })?;
        for new in &stays[known..] {
            journal.add(&Line::Kept(new.clone())).map_err(ApplyError::Journal)?;
        }
    }
    Ok(stays)
}

/// Notes the change time of a directory of the host as our own work.
fn note(places: &mut Places, own: &mut Own, layer: LayerNumber, path: &HostPath) {
    if let Some(seen) = super::execute::seen_directory(places, layer, path) {
        own.times.insert(seen.inode, seen.changed);
    }
}

/// So too, of one that got other attributes, if it is still there.
fn note_adjusted(own: &mut Own, intent: &Intent, host: &Entry) -> Result<(), Errno> {
    if let Some(seen) = Seen::at(&*host.directory, &host.name)?.filter(Seen::is_directory)
        && intent.replaces.is_some_and(|old| old.inode == seen.inode)
    {
        own.times.insert(seen.inode, seen.changed);
    }
    Ok(())
}

/// What is known of a path of the batch that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepared {
    /// The batch was not ready: nothing of it is in its place.
    Maybe,
    /// It was; with this inode, unless it had been given up.
    Yes(Option<Inode>),
}

/// One path of the batch.
fn settle(
    places: &mut Places,
    own: &mut Own,
    intent: &Intent,
    inode: Prepared,
    stays: &mut Vec<PutAside>,
) -> Result<(), Errno> {
    let Intent { path, layer, how, .. } = intent;
    let host = match places.entry(Side::Host, *layer, path) {
        Ok(host) => host,
        // Then nothing of ours can be in it.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
        Err(error) => return Err(error),
    };
    if *how == How::Adjusted {
        return note_adjusted(own, intent, &host);
    }
    let source = places.entry(Side::Layer, *layer, path)?;
    let temporary = CString::new(intent.temporary.as_bytes()).map_err(|_| Errno::INVAL)?;
    let backend = places.backend(*layer)?;
    if let Prepared::Yes(Some(inode)) = inode {
        settle_second(places, own, (intent, inode), &host, stays)?;
    }
    match (Seen::at(&*host.directory, &temporary)?, how) {
        (Some(_), How::Aside) => {
            if is_what_was_seen(places, own, intent, &host, &temporary)? {
                tree::remove(&*host.directory, &temporary)?;
                return surgery::forget(&source, backend);
            }
            put_back(intent, &host, &temporary, stays)
        }
        (None, How::Aside) => match Seen::at(&*host.directory, &host.name)? {
            None if surgery::is_hidden(&source, backend)? => surgery::forget(&source, backend),
            Some(_) | None => Ok(()),
        },
        (Some(seen), _) if inode == Prepared::Maybe || inode == Prepared::Yes(Some(seen.inode)) => {
            // It was prepared and not put in its place.
            unstage(intent, &host, &source, &temporary)
        }
        (Some(_), _) => {
            // It is in its place, and this is what it replaced.
            if is_what_was_seen(places, own, intent, &host, &temporary)? {
                tree::remove(&*host.directory, &temporary)?;
                return forget_if_copied(&source, backend);
            }
            let directory = &*host.directory;
            let flags = RenameFlags::EXCHANGE;
            match renameat_with(directory, &*temporary, directory, &*host.name, flags) {
                Ok(()) => unstage(intent, &host, &source, &temporary),
                // Somebody removed what had been put in its place.
                Err(Errno::NOENT) => put_back(intent, &host, &temporary, stays),
                Err(error) => Err(error),
            }
        }
        (None, _) => match Seen::at(&*host.directory, &host.name)? {
            Some(now) if inode == Prepared::Yes(Some(now.inode)) => {
                forget_if_copied(&source, backend)
            }
            _ => Ok(()),
        },
    }
}

/// What was to go has a second name, where names cannot be exchanged.
fn settle_second(
    places: &Places,
    own: &mut Own,
    (intent, new): (&Intent, Inode),
    host: &Entry,
    stays: &mut Vec<PutAside>,
) -> Result<(), Errno> {
    let directory = &*host.directory;
    let temporary = CString::new(intent.temporary.as_bytes()).map_err(|_| Errno::INVAL)?;
    let aside = second_name(&temporary)?;
    let Some(kept) = Seen::at(directory, &aside)? else { return Ok(()) };
    match Seen::at(directory, &host.name)? {
        // It stands in its place still.
        Some(now) if now.inode == kept.inode => unlinkat(directory, &aside, AtFlags::empty())?,
        Some(now) if now.inode == new && is_what_was_seen(places, own, intent, host, &aside)? => {
            return tree::remove(directory, &aside);
        }
        _ => put_back(intent, host, &aside, stays)?,
    }
    // Its change time is our own work, where the plan did not hold it to be somebody else's.
    if let (Some(old), Some(now)) = (&intent.replaces, Seen::at(directory, &host.name)?)
        && old.is_still(&now)
        && places.since(own, intent.layer, old) == Since::Unchanged
    {
        own.times.insert(now.inode, now.changed);
    }
    Ok(())
}

fn unstage(
    intent: &Intent,
    host: &Entry,
    source: &Entry,
    temporary: &CString,
) -> Result<(), Errno> {
    if intent.how == How::Moved {
        let flags = RenameFlags::NOREPLACE;
        let (from, to) = (&*host.directory, &*source.directory);
        match renameat_with(from, &**temporary, to, &*source.name, flags) {
            // The layer has its own still: it was copied.
            Err(Errno::EXIST | Errno::XDEV) => {}
            Err(error) if is_unknown(error) => {}
            Ok(()) => {
                // It may have been opened up to take its marks away.
                let mode = Mode::from_raw_mode(intent.mode);
                return chmodat(to, &*source.name, mode, AtFlags::empty());
            }
            Err(error) => return Err(error),
        }
    }
    tree::remove(&*host.directory, temporary)
}

/// Takes out of the layer what was copied. What was moved is there no more.
fn forget_if_copied(source: &Entry, backend: Backend) -> Result<(), Errno> {
    match Seen::at(&*source.directory, &source.name)? {
        Some(seen) if !seen.is_directory() => surgery::forget(source, backend),
        Some(_) | None => Ok(()),
    }
}

/// Puts back what had been put aside and was changed since. Where something stands in its place it stays: neither
/// of the two is ours to remove.
fn put_back(
    intent: &Intent,
    host: &Entry,
    temporary: &CString,
    stays: &mut Vec<PutAside>,
) -> Result<(), Errno> {
    match rename_to_free(&*host.directory, temporary, &host.name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let above = intent.path.parent().ok_or(Errno::INVAL)?;
            let at = above.join(OsStr::from_bytes(temporary.to_bytes()));
            let at = at.map_err(|_| Errno::NAMETOOLONG)?;
            stays.push(PutAside { path: intent.path.clone(), at });
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether what stands under a temporary name is what the plan saw in its place, as far as that can be told
/// when a part of it may have been removed.
fn is_what_was_seen(
    places: &Places,
    own: &Own,
    intent: &Intent,
    host: &Entry,
    temporary: &CString,
) -> Result<bool, Errno> {
    let Some(now) = Seen::at(&*host.directory, temporary)? else { return Ok(false) };
    if !intent.replaces.is_some_and(|old| old.is_still(&now)) {
        return Ok(false);
    }
    if !now.is_directory() {
        return Ok(true);
    }
    // Removing changes the directories themselves.
    let mut judge = objects_to_removal(places, own, intent.layer, &intent.path, false);
    let mut files =
        |path: &HostPath, seen: &Seen| if seen.is_directory() { None } else { judge(path, seen) };
    Ok(tree::objection(&*host.directory, temporary, &intent.path, &mut files)?.is_none())
}
