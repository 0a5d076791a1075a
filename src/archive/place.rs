//! Where the members of an archive go: a destination, and names below it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::read::ReadError;
use super::resolve::{Found, is_made_up, look};
use crate::plan::errand::{PlaceError, Placing, Source, Standing, place, place_under};
use crate::spec::Text;
use crate::spec::text::escape;

/// Bytes of a name.
const LONGEST: usize = 4095;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why something is not unpacked, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is there is in the way.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Writing into what the kernel makes up.
    #[error("the kernel makes up what is there")]
    Kernel,
    /// A name that leads elsewhere.
    #[error("the archive has the name `{}`, which leads elsewhere", escape(.0.as_bytes()))]
    Name(Text),
    /// A member that is in the way of another, or of what is there.
    #[error("cannot write {}", shown(name))]
    Write {
        /// Its name; empty for the whole.
        name: Text,
        /// Why.
        #[source]
        source: Errno,
    },
}

fn shown(name: &Text) -> String {
    let name = name.as_bytes();
    match name.strip_prefix(b"./").unwrap_or(name) {
        b"" | b"." => "it".to_owned(),
        name => format!("`{}`", escape(name)),
    }
}

/// Where an archive is unpacked.
#[derive(Debug)]
pub enum Place {
    /// What it holds becomes this name of this directory.
    Name(OwnedFd, Vec<u8>),
    /// What it holds goes into this directory.
    Into(OwnedFd),
}

/// Looks at a destination, and says where a source goes there.
pub fn locate(found: Found, source: &Source) -> Result<Place, UnpackError> {
    let failed = |source| UnpackError::Write { name: Text::default(), source };
    if is_made_up(&found.parent).map_err(failed)? {
        return Err(UnpackError::Kernel);
    }
    match place(source.kind, standing(found.kind()), found.slash)? {
        Placing::Itself => Ok(Place::Name(found.parent, found.name)),
        Placing::Into => enter(&found.parent, &found.name).map_err(failed).map(Place::Into),
        Placing::Under => {
            let parent = enter(&found.parent, &found.name).map_err(failed)?;
            if is_made_up(&parent).map_err(failed)? {
                return Err(UnpackError::Kernel);
            }
            let Some(name) = source.name.as_ref().map(|name| name.as_bytes().to_vec()) else {
                return Ok(Place::Into(parent));
            };
            let there = look(&parent, &name).map_err(failed)?;
            let kind = there.map(|stat| FileType::from_raw_mode(stat.st_mode));
            match place_under(source.kind, standing(kind))? {
                Placing::Into => enter(&parent, &name).map_err(failed).map(Place::Into),
                _ => Ok(Place::Name(parent, name)),
            }
        }
    }
}

fn standing(kind: Option<FileType>) -> Standing {
    match kind {
        None => Standing::Nothing,
        Some(FileType::Directory) => Standing::Directory,
        Some(_) => Standing::File,
    }
}

/// Opens a directory that is no link.
pub(super) fn enter(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(parent, name, DIRECTORY, Mode::empty())
}

/// What becomes of a directory that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made.
    Make,
    /// That is an error.
    Fail,
}

/// Opens a directory below another, part by part and through no link.
pub(super) fn descend(root: &OwnedFd, path: &[u8], missing: Missing) -> Result<OwnedFd, Errno> {
    let mut directory = enter(root, b".")?;
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        directory = match enter(&directory, part) {
            Err(Errno::NOENT) if missing == Missing::Make => {
                mkdirat(&directory, part, Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
                enter(&directory, part)?
            }
            other => other?,
        };
    }
    Ok(directory)
}

/// The parts of a member's name; none for the root.
pub(super) fn parts(name: &[u8]) -> Result<Vec<&[u8]>, UnpackError> {
    let elsewhere = || UnpackError::Name(text(name));
    if name.starts_with(b"/") || name.len() > LONGEST || name.contains(&0) {
        return Err(elsewhere());
    }
    let parts: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) { Err(elsewhere()) } else { Ok(parts) }
}

pub(super) fn write_error(name: &[u8], source: Errno) -> UnpackError {
    UnpackError::Write { name: text(name), source }
}

pub(super) fn text(bytes: &[u8]) -> Text {
    let shown = bytes.get(..bytes.len().min(256)).unwrap_or_default();
    Text::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(shown).to_owned())
}

/// Hears of each name, not its own, under which something is made in a directory: before it is made, and of a directory
/// once more, with its inode.
pub type Note<'a> = dyn FnMut(BorrowedFd<'_>, &str, Option<u64>) + 'a;

/// A name nobody knows.
pub(super) fn beside() -> Result<String, Errno> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".bryo-cp-{:016x}", u64::from_ne_bytes(random)))
}

/// Removes a tree of ours that is not in its place.
pub(super) fn remove(parent: &OwnedFd, name: &str) -> io::Result<()> {
    // A directory without its permissions is not in it: those are set last.
    std::fs::remove_dir_all(format!("{}/{name}", crate::sys::open::fd_path(parent)))
}
