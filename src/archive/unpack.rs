//! Unpacks an archive into a tree of files, below one destination that nothing leads out of.
//!
//! # Theory of operation
//! What is new takes its place when it is whole: of a copy that is interrupted, or fails, nothing is left but what was whole
//! in a directory that was there before. A file has no name until then (`O_TMPFILE`), where the file system can do that.
//! What must have one, a tree or a link or what replaces a file, is made beside its place, under a name nobody
//! knows. Of that a [`Note`] hears first: a copy that is killed leaves it, and a mark that a payload could set too
//! would not tell what is ours from what is a user's.
//!
//! Names of members are relative, without `..`, and every part of one is a directory that is opened by the descriptor of
//! the one above and no link. A file is never written where one is: a link that an earlier member planted, or that
//! was there, is replaced and not followed. A hard link is made to a file of this very archive only.
//!
//! Permissions and times of directories are set last: one that nobody may write is filled too.

mod node;

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Mode, RenameFlags, fstat, linkat, mkdirat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::Told;
use super::place::{
    Missing, Note, Place, UnpackError, beside, descend, enter, parts, remove, text, write_error,
};
use super::read::{Member, MemberKind, ReadError, Reader};
use super::write::Kind;
use crate::plan::errand::{Keep, PlaceError};

const CHUNK: usize = 256 << 10;
/// Unpacks an archive. On an error what was new is not there.
///
/// `first` is its first member, where that was read already.
pub fn unpack(
    reader: &mut Reader<'_>,
    first: Option<Member>,
    place: Place,
    (keep, owners): (Keep, Owners),
    told: &mut Told,
    note: &mut Note<'_>,
) -> Result<(), UnpackError> {
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    let mut work = Unpacking {
        mask: if keep == Keep::All { 0 } else { umask.as_raw_mode() },
        owners: if keep == Keep::All { owners } else { Owners::Ours },
        keep,
        told,
        note,
        is_noted: false,
        made: HashSet::new(),
        directories: Vec::new(),
        buffer: vec![0; CHUNK],
    };
    match place {
        Place::Into(directory) => work.fill(reader, first, &directory),
        Place::Name(parent, name) => {
            let first = match first {
                Some(first) => first,
                None => reader.next_member()?.ok_or(ReadError::CutOff)?,
            };
            work.make(reader, first, &parent, &name)
        }
    }
}

/// Whose what is unpacked is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Whoever's unpacks.
    Ours,
    /// Those of the archive, as far as that is allowed.
    Kept,
}

struct Unpacking<'t, 'n> {
    keep: Keep,
    owners: Owners,
    mask: u32,
    told: &'t mut Told,
    note: &'t mut Note<'n>,
    /// Whether all of it is below what was noted.
    is_noted: bool,
    /// Files that were made here: device and inode.
    made: HashSet<(u64, u64)>,
    /// What is set at the end.
    directories: Vec<(Vec<u8>, Member)>,
    buffer: Vec<u8>,
}

impl Unpacking<'_, '_> {
    /// Makes something new, or replaces a file.
    fn make(
        &mut self,
        reader: &mut Reader<'_>,
        first: Member,
        parent: &OwnedFd,
        name: &[u8],
    ) -> Result<(), UnpackError> {
        if !parts(&first.name)?.is_empty() {
            return Err(ReadError::Malformed("its first member is not the whole").into());
        }
        if first.kind != MemberKind::Plain(Kind::Directory) {
            self.node(reader, parent.as_fd(), name, &first)?;
            return end(reader);
        }
        let failed = |source| write_error(b"", source);
        let beside = beside().map_err(failed)?;
        self.note(parent.as_fd(), &beside, None);
        mkdirat(parent, &beside, Mode::RWXU).map_err(failed)?;
        let filled = enter(parent, beside.as_bytes()).map_err(failed).and_then(|directory| {
            let inode = fstat(&directory).map_err(failed)?.st_ino;
            self.note(parent.as_fd(), &beside, Some(inode));
            self.is_noted = true;
            self.directories.push((Vec::new(), first));
            self.fill(reader, None, &directory)
        });
        let moved = filled.and_then(|()| {
            let flags = RenameFlags::NOREPLACE;
            match renameat_with(parent, &beside, parent, name, flags) {
                // Not every file system knows the flag; a directory replaces an empty one at most.
                Err(Errno::INVAL) => renameat(parent, &beside, parent, name),
                other => other,
            }
            .map_err(failed)
        });
        if moved.is_err() {
            // The error is what has to be told.
            remove(parent, &beside).unwrap_or_default();
        }
        moved
    }

    /// Fills a directory with all members.
    fn fill(
        &mut self,
        reader: &mut Reader<'_>,
        mut first: Option<Member>,
        root: &OwnedFd,
    ) -> Result<(), UnpackError> {
        let mut last: Option<(Vec<u8>, OwnedFd)> = None;
        loop {
            let member = match first.take() {
                Some(first) => first,
                None => match reader.next_member()? {
                    Some(member) => member,
                    None => break,
                },
            };
            let parts = parts(&member.name)?;
            let Some((name, above)) = parts.split_last() else {
                if member.kind != MemberKind::Plain(Kind::Directory) {
                    return Err(PlaceError::OverDirectory.into());
                }
                continue;
            };
            let failed = |source| write_error(&member.name, source);
            let above = above.join(&b'/');
            let parent = match last.take() {
                Some((path, parent)) if path == above => parent,
                _ => descend(root, &above, Missing::Make).map_err(failed)?,
            };
            if member.kind == MemberKind::Plain(Kind::Directory) {
                self.directory(&parent, name, &parts.join(&b'/'), &member)?;
            } else if member.kind == MemberKind::Plain(Kind::HardLink) {
                self.hard_link(root, parent.as_fd(), name, &member)?;
            } else {
                self.node(reader, parent.as_fd(), name, &member)?;
            }
            last = Some((above, parent));
        }
        reader.pass_rest()?;
        self.settle(root)
    }

    fn directory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        member: &Member,
    ) -> Result<(), UnpackError> {
        match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => self.directories.push((path.to_vec(), member.clone())),
            Err(Errno::EXIST) => {
                enter(parent, name).map_err(|errno| write_error(&member.name, errno))?;
            }
            Err(errno) => return Err(write_error(&member.name, errno)),
        }
        Ok(())
    }

    /// One more name of a file of this archive.
    fn hard_link(
        &mut self,
        root: &OwnedFd,
        parent: BorrowedFd<'_>,
        name: &[u8],
        member: &Member,
    ) -> Result<(), UnpackError> {
        let failed = |source| write_error(&member.name, source);
        let target = parts(&member.target)?;
        let Some((target, above)) = target.split_last() else {
            return Err(UnpackError::Name(text(&member.target)));
        };
        let from = descend(root, &above.join(&b'/'), Missing::Fail).map_err(failed)?;
        let beside = beside().map_err(failed)?;
        self.note(parent, &beside, None);
        linkat(&from, *target, parent, &beside, AtFlags::empty()).map_err(failed)?;
        // Looked at after it was made: the name may have been another file's by then.
        let moved = statat(parent, &beside, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|stat| {
                if self.made.contains(&(stat.st_dev, stat.st_ino)) {
                    renameat(parent, &beside, parent, name)
                } else {
                    Err(Errno::STALE)
                }
            })
            .map_err(failed);
        // Of two names of one file a rename leaves both.
        match unlinkat(parent, &beside, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => moved,
            Err(errno) => moved.and(Err(failed(errno))),
        }
    }

    /// Directories, the deepest first.
    fn settle(&mut self, root: &OwnedFd) -> Result<(), UnpackError> {
        for (path, member) in std::mem::take(&mut self.directories).into_iter().rev() {
            let failed = |source| write_error(&member.name, source);
            let directory = descend(root, &path, Missing::Fail).map_err(failed)?;
            self.own((directory.as_fd(), b".", AtFlags::SYMLINK_NOFOLLOW), &member)
                .map_err(failed)?;
            self.dress(&directory, &member).map_err(failed)?;
        }
        Ok(())
    }
}

/// A copy has one thing, and nothing behind it.
fn end(reader: &mut Reader<'_>) -> Result<(), UnpackError> {
    match reader.next_member()? {
        None => Ok(reader.pass_rest()?),
        Some(_) => Err(ReadError::Malformed("a file has members").into()),
    }
}
