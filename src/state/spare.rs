//! Directories of runs that wrote nothing, kept for the next run.
//!
//! # Theory of operation
//! ```text
//! STORE/spare/K/{upper-0,work-0}                      K from 0, at most [`SPARES`] of them
//! STORE/spare/N-K/{upper-0,work-0,upper-1,work-1,…}   the same with N layers, from two to [`MOST_LAYERS`]
//! ```
//! A run takes one of its own kind with a rename and gives it back with another, where it would make and
//! remove four directories for its first layer (a home, or the tree it starts in) and two for each other (both, and each
//! toolchain of a home that a network hides), and what the kernel makes in them. Removing a directory frees a block, and where the file system is mounted with
//! `discard` and has no journal (the machines this was measured on) the caller waits for the disk each
//! time: 0.1 to 0.3 ms on an idle machine, 4 ms on a busy one; a rename takes 0.02 ms.
//!
//! Whoever takes a spare, or cleans it, locks it first. What the overlay made in `work-0` is removed by
//! [`clean`], which a run calls while its tree is built, so that runs in a row use the spares in turn and
//! wait for none.
//!
//! # Decisions
//! - Each run looks at another spare first, by chance. Every mount of an overlay makes and removes seven
//!   inodes, and ext4 without a journal passes over those that were freed within some minutes, one by one
//!   (`recently_deleted`). The spares are in different groups of blocks ([`super::store`]), each with its
//!   own inodes: after some hundred runs in a row that is a tenth of a start.
//! - A run with more layers than that makes its own, and one without takes one of the first kind.
//! - What was a payload's is taken back only when nothing tells of that payload: an upper directory
//!   without entries, attributes but the overlay's own identity, inode flags, or more than one block.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, IFlags, Mode, RenameFlags, Stat, chmodat, flistxattr, fstat, ioctl_getflags, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::directory;
use super::id::SandboxId;
use super::layer::Names;
use super::sandbox::try_lock;
use super::store::{Store, TRASH};
use crate::plan::step::{Backend, LayerNumber};

pub(super) const SPARE: &str = "spare";
/// So many sandboxes in turn at the same time start without making directories.
const SPARES: u32 = 4;
/// With fewer that are there a new directory is made, which becomes the next spare.
const IN_TURN: u32 = 3;
/// So many layers have spares.
const MOST_LAYERS: u16 = 8;
/// What the kernel makes in a work directory, parents first: the second and third with `volatile`.
const KERNELS: [&str; 3] = ["/work", "/work/incompat", "/work/incompat/volatile"];
const DIRTY: &str = "/work/incompat/volatile/dirty";

/// A directory that holds one entry or none, as file systems make them.
const SMALLEST: i64 = 4096;
/// Flags that file systems set by themselves: `FS_EXTENT_FL`, `FS_INDEX_FL`, `FS_INLINE_DATA_FL`.
const BY_ITSELF: u32 = 0x0008_0000 | 0x0000_1000 | 0x1000_0000;

/// A directory that was a spare.
pub(super) struct Taken {
    /// Locked.
    pub(super) directory: OwnedFd,
    pub(super) made: Stat,
    /// So many layers are in it.
    pub(super) layers: u16,
}

/// Moves a spare for so many layers to where the sandbox `id` lives; none if a new directory is to be made.
pub(super) fn take(store: &Store, id: SandboxId, layers: u16) -> Result<Option<Taken>, Errno> {
    let layers = layers.max(1);
    if !is_kind(layers) {
        return Ok(None);
    }
    let Some(spares) = directory::open_if_there(&store.0.root, SPARE)? else { return Ok(None) };
    // One that is ready, or else one that has to be cleaned now.
    let mut found: Option<(String, OwnedFd)> = None;
    let (mut seen, mut is_ready) = (0, false);
    for name in (0..SPARES).map(|k| name(layers, (k + first(id)) % SPARES)) {
        let Some(spare) = directory::open_if_there(&spares, &name)? else { continue };
        seen += 1;
        if !is_ready && try_lock(&spare)? {
            is_ready = is_clear(&spare, layers)?;
            if is_ready || found.is_none() {
                found = Some((name, spare));
            }
        }
        if is_ready && seen >= IN_TURN {
            break;
        }
    }
    let Some((name, spare)) = found.filter(|_| seen >= IN_TURN) else { return Ok(None) };
    clear(&spare, layers)?;
    match renameat(&spares, &name, &store.0.live, id.as_str()) {
        Ok(()) => {}
        // Somebody took it before it was locked here.
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    }
    let opened = fstat(&spare)?;
    let moved = statat(&store.0.live, id.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
    // Else another took its place meanwhile, which nobody has locked: it is for the next sweep.
    let is_it = (opened.st_dev, opened.st_ino) == (moved.st_dev, moved.st_ino);
    Ok(is_it.then_some(Taken { directory: spare, made: moved, layers }))
}

/// Whether there are spares with so many layers.
pub(super) fn is_kind(layers: u16) -> bool {
    (1..=MOST_LAYERS).contains(&layers)
}

/// What a spare is called.
fn name(layers: u16, k: u32) -> String {
    if layers == 1 { k.to_string() } else { format!("{layers}-{k}") }
}

/// What all spares may be called, each with how many layers it has.
fn all() -> impl Iterator<Item = (u16, String)> {
    (1..=MOST_LAYERS).flat_map(|layers| (0..SPARES).map(move |k| (layers, name(layers, k))))
}

/// The work directories of so many layers.
fn works(layers: u16) -> impl Iterator<Item = String> {
    (0..layers).map(|number| Names::new(LayerNumber(number), Backend::Kernel).work)
}

/// Whether there is nothing of the kernel's in a spare.
fn is_clear(spare: &OwnedFd, layers: u16) -> Result<bool, Errno> {
    for work in works(layers) {
        if directory::file_type(spare, &format!("{work}{}", KERNELS[0]))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what the kernel made in a spare.
fn clear(spare: &OwnedFd, layers: u16) -> Result<(), Errno> {
    works(layers).try_for_each(|work| clear_work(spare, &work))
}

/// The spare that a sandbox looks at first.
fn first(id: SandboxId) -> u32 {
    id.as_str().bytes().map(u32::from).sum()
}

/// Removes what the kernel made in an overlay's work directory, of an overlay that is not mounted.
///
/// With `volatile` it leaves marks there, without whose removal it does not mount again. What is not as
/// expected stays, and is met again by whoever removes the directory around it.
pub(super) fn clear_work(sandbox: impl AsFd, work: &str) -> Result<(), Errno> {
    let remove = |name: &str, flags| match unlinkat(&sandbox, format!("{work}{name}"), flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error),
    };
    if remove("/work", AtFlags::REMOVEDIR)? {
        return Ok(());
    }
    open_work(&sandbox, work)?;
    remove(DIRTY, AtFlags::empty())?;
    for name in KERNELS.iter().rev() {
        remove(name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Lets the owner into the directories that the kernel makes with mode 000.
fn open_work(sandbox: impl AsFd, work: &str) -> Result<(), Errno> {
    for name in KERNELS {
        match chmodat(&sandbox, format!("{work}{name}"), Mode::RWXU, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a run left in its upper directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Something that makes a difference.
    Changes,
    /// Nothing, but something tells of the run.
    Traces,
    /// Nothing at all.
    Nothing,
}

/// Looks at an upper directory that was made with these permission bits; none is as good as an empty one.
pub(super) fn look(sandbox: impl AsFd, name: &str, mode: u32) -> Result<Left, Errno> {
    let upper = match directory::open(&sandbox, name) {
        Err(Errno::NOENT) => return Ok(Left::Traces),
        // The payload took the right to read it away.
        Err(Errno::ACCESS) => return Ok(Left::Changes),
        other => other?,
    };
    let stat = fstat(&upper)?;
    if stat.st_mode & 0o7777 != mode || !directory::is_empty(&upper)? {
        return Ok(Left::Changes);
    }
    let mut names = [0_u8; 512];
    let names = match flistxattr(&upper, &mut names[..]) {
        Ok(length) => &names[..length],
        Err(Errno::NOTSUP) => &[],
        Err(Errno::RANGE) => return Ok(Left::Changes),
        Err(error) => return Err(error),
    };
    let mut names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let is_plain = stat.st_size <= SMALLEST
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && has_plain_flags(&upper)?;
    Ok(match names.try_fold(is_plain, attribute) {
        None => Left::Changes,
        Some(false) => Left::Traces,
        Some(true) => Left::Nothing,
    })
}

/// Whether all is plain yet; none when the attribute is the payload's. Labels of security modules are
/// the system's.
fn attribute(plain: bool, name: &[u8]) -> Option<bool> {
    match name {
        b"user.overlay.uuid" => Some(plain),
        _ if name.starts_with(b"security.") => Some(plain),
        _ if name.starts_with(b"user.overlay.overlay.") => None,
        _ if name.starts_with(b"user.overlay.") => Some(false),
        _ => None,
    }
}

fn has_plain_flags(upper: &OwnedFd) -> Result<bool, Errno> {
    match ioctl_getflags(upper) {
        Ok(flags) => Ok((flags - IFlags::from_bits_retain(BY_ITSELF)).is_empty()),
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Makes the directory of a sandbox a spare: it holds [`Left::Nothing`], no record, and so many layers. False where
/// there are enough.
pub(super) fn give_back(
    store: &Store,
    id: SandboxId,
    sandbox: &OwnedFd,
    layers: u16,
) -> Result<bool, Errno> {
    for work in works(layers) {
        // A user's `rm -r` of the store would stumble over closed directories, and look at any file.
        open_work(sandbox, &work)?;
        match unlinkat(sandbox, format!("{work}{DIRTY}"), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    let spares = directory::ensure(&store.0.root, SPARE)?;
    for name in (0..SPARES).map(|k| name(layers, k)) {
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(&store.0.live, id.as_str(), &spares, &name, flags) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            // A file system that does not know the flag.
            Err(Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Removes what the kernel left in spares, so that the next mount need not.
pub(super) fn clean(store: &Store) -> Result<(), Errno> {
    let Some(spares) = directory::open_if_there(&store.0.root, SPARE)? else { return Ok(()) };
    for (layers, name) in all() {
        let Some(spare) = directory::open_if_there(&spares, &name)? else { continue };
        if !try_lock(&spare)? {
            continue;
        }
        // It may have been taken, used and given to a sandbox that runs before it was locked here; then
        // that one holds the lock. Locked and in its place it is nobody else's.
        let opened = fstat(&spare)?;
        match statat(&spares, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        }
        clear(&spare, layers)?;
    }
    Ok(())
}

/// Removes every spare that nobody holds: each becomes trash, and goes with it.
pub(super) fn remove_all(store: &Store) -> Result<(), Errno> {
    let Some(spares) = directory::open_if_there(&store.0.root, SPARE)? else { return Ok(()) };
    let trash = directory::ensure(&store.0.root, TRASH)?;
    for (_, name) in all() {
        let Some(spare) = directory::open_if_there(&spares, &name)? else { continue };
        if !try_lock(&spare)? {
            continue;
        }
        let id = SandboxId::random()?;
        match renameat(&spares, &name, &trash, id.as_str()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
