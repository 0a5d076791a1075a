//! The entries of a directory of a layer, sorted, with the marks of its overlay made out.
//!
//! # Decisions
//! - Names of one directory stand behind each other in one buffer: a payload can make millions.
//! - fuse-overlayfs marks with names: `.wh.NAME` is a whiteout of `NAME` whatever kind of file it is,
//!   `.wh..wh..opq` makes the directory opaque. To the kernel these are names as any other.
//! - `.wh..` and `.wh...` would be whiteouts of `.` and `..`; a payload can make them with `mkdir`.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;

use crate::plan::step::Backend;
use crate::spec::order;

const BUFFER: usize = 32 * 1024;
pub(super) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// What fuse-overlayfs calls a file that makes its directory opaque.
pub(super) const OPAQUE_NAME: &CStr = c".wh..wh..opq";
const RESERVED_PREFIX: &[u8] = b".wh..wh.";

/// Where a name was found, and as what. When one name is found twice, the smallest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// The layer hides what the host has there.
    Whiteout,
    /// The layer has something there.
    Upper,
    /// Only the host has it; looked at in replaced directories alone.
    Host,
}

/// Sorted names.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Begin and end in `bytes`, without the NUL that follows.
    entries: Vec<(usize, usize, Entry)>,
}

impl Names {
    /// The entries of a layer's directory, and whether a name says that it is opaque.
    pub(super) fn read_upper(
        directory: impl AsFd,
        backend: Backend,
    ) -> Result<(Self, bool), Errno> {
        let mut names = Self::default();
        let mut opaque = false;
        for_each(&directory, |name, kind| {
            let bytes = name.to_bytes();
            if backend == Backend::Fuse
                && let Some(hidden) = bytes.strip_prefix(WHITEOUT_PREFIX)
            {
                opaque |= bytes == OPAQUE_NAME.to_bytes();
                if !bytes.starts_with(RESERVED_PREFIX) && !matches!(hidden, b"" | b"." | b"..") {
                    names.push(hidden, Entry::Whiteout);
                }
                return Ok(());
            }
            let may_be_whiteout = matches!(kind, FileType::CharacterDevice | FileType::Unknown);
            let is_whiteout = may_be_whiteout && is_whiteout(directory.as_fd(), name)?;
            let entry = if is_whiteout { Entry::Whiteout } else { Entry::Upper };
            names.push(bytes, entry);
            Ok(())
        })?;
        Ok((names, opaque))
    }

    /// Adds what the host has.
    pub(super) fn add_host(&mut self, directory: impl AsFd) -> Result<(), Errno> {
        for_each(directory, |name, _| {
            self.push(name.to_bytes(), Entry::Host);
            Ok(())
        })
    }

    fn push(&mut self, name: &[u8], entry: Entry) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.entries.push((begin, self.bytes.len(), entry));
        self.bytes.push(0);
    }

    /// By name; of several with one name, the one that counts.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |e: &(usize, usize, Entry)| (&bytes[e.0..e.1], e.2);
        order::sort_by(&mut self.entries, |a, b| key(a).cmp(&key(b)));
        self.entries.dedup_by(|b, a| bytes[a.0..a.1] == bytes[b.0..b.1]);
    }

    /// The entry with this index.
    pub(super) fn get(&self, index: usize) -> Option<(&CStr, Entry)> {
        let (begin, end, entry) = *self.entries.get(index)?;
        let name = CStr::from_bytes_with_nul(&self.bytes[begin..=end]).ok()?;
        Some((name, entry))
    }
}

fn for_each(
    directory: impl AsFd,
    mut visit: impl FnMut(&CStr, FileType) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // It was removed after it was opened: then nothing is in it any more.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            visit(entry.file_name(), entry.file_type())?;
        }
    }
    Ok(())
}

/// Whether a name is the character device 0:0. One that vanished is none.
fn is_whiteout(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let kind = FileType::from_raw_mode(stat.st_mode);
            Ok(kind == FileType::CharacterDevice && stat.st_rdev == 0)
        }
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, OFlags, openat};

    use super::*;

    #[test]
    fn a_directory_that_was_removed_after_it_was_opened_has_no_names() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("d");
        std::fs::create_dir(&path).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, &path, flags, Mode::empty()).unwrap();
        std::fs::remove_dir(&path).unwrap();
        for backend in [Backend::Kernel, Backend::Fuse] {
            let (mut names, opaque) = Names::read_upper(&directory, backend).unwrap();
            names.add_host(&directory).unwrap();
            assert!(names.get(0).is_none() && !opaque);
        }
    }
}
