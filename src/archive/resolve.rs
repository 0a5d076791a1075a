//! Resolves the paths of a copy, link by link.
//!
//! # Theory of operation
//! One part at a time, by descriptors that open nothing; links are followed here and not by the kernel. So it works
//! where a filter takes `openat2` away, and a link that the kernel made up (`/proc/self/exe`, `/proc/self/fd/0`), which
//! leads to what belongs to the process that walks and to nobody inside, is not followed.
//!
//! # Decisions
//! - A link in a directory that a sandbox writes straight to the host is not followed out of what that one writes: its
//!   payload may have put it there, and where it leads is not what the user has seen. Whether a directory is below such a
//!   one is asked of the directories above it when the link is met: names say nothing, a payload moves its directories.
//! - `..` is what it is when it is asked for: who renames directories meanwhile has it lead to another place that
//!   he could have had it lead to at once.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fstatfs, openat, readlinkat};
use rustix::io::Errno;

/// Links that are followed in one path.
const MOST_LINKS: u32 = 40;

const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What becomes of a link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// It is what is asked for.
    Keep,
    /// It is followed.
    Follow,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// As the kernel says.
    #[error("{}", crate::sys::errno::Errno::from(*.0).description())]
    Errno(Errno),
    /// A link that the kernel made up.
    #[error("a link there is the kernel's own")]
    Kernel,
    /// A link that a payload may have made.
    #[error("a link there may be a sandbox's, which can write that directory or could")]
    Shared,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Where a path led.
#[derive(Debug)]
pub struct Found {
    /// The directory.
    pub parent: OwnedFd,
    /// The name in it; `.` when the path is of a directory without a name.
    pub name: Vec<u8>,
    /// What is there, opened for nothing, and what it is; none when nothing is.
    pub node: Option<(OwnedFd, Stat)>,
    /// The path was written with a slash, or `/.`, at its end.
    pub slash: bool,
    /// It was written with `/.`, or `..`: what is meant is what the directory holds.
    pub contents: bool,
}

impl Found {
    /// What kind of thing is there.
    pub fn kind(&self) -> Option<FileType> {
        self.node.as_ref().map(|(_, stat)| FileType::from_raw_mode(stat.st_mode))
    }

    /// The last part of the path, where it says something.
    pub fn own_name(&self) -> Option<&[u8]> {
        (self.name != b".").then_some(self.name.as_slice())
    }
}

/// Follows a path from the root, or from the current directory where `relative_to_root` is not asked for.
pub fn resolve(path: &[u8], from: Start<'_>, last: Last) -> Result<Found, Stop> {
    let Start::Here(shared) = from else { return walk(path, from, last, |_| Ok(())) };
    let mut met = Vec::new();
    let found = walk(path, from, last, |parent| {
        met.extend(shared.holders(parent)?);
        Ok(())
    })?;
    if met.is_empty() || shared.keeps(&found, &met)? { Ok(found) } else { Err(Stop::Shared) }
}

/// The same, wherever it leads; `hears` is told of the directory of each link.
fn walk(
    path: &[u8],
    from: Start<'_>,
    last: Last,
    mut hears: impl FnMut(&OwnedFd) -> Result<(), Errno>,
) -> Result<Found, Stop> {
    let ending = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let contents = matches!(ending, b"." | b"..");
    let slash = contents || path.ends_with(b"/");
    let root = || openat(CWD, "/", LOOK, Mode::empty());
    let mut parent = match from {
        Start::Here(_) if !path.starts_with(b"/") => openat(CWD, ".", LOOK, Mode::empty())?,
        _ => root()?,
    };
    let mut ahead: Vec<Vec<u8>> = parts(path).rev().map(<[u8]>::to_vec).collect();
    // A link before a slash is one to the directory.
    let follows = slash || last == Last::Follow;
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        let is_last = ahead.is_empty();
        let node = match openat(&parent, part.as_slice(), LOOK, Mode::empty()) {
            Err(Errno::NOENT) if is_last && part != b".." => {
                return Ok(Found { parent, name: part, node: None, slash, contents });
            }
            other => other?,
        };
        let stat = fstat(&node)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink && (!is_last || follows) {
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP.into());
            }
            if is_made_up(&node)? {
                return Err(Stop::Kernel);
            }
            hears(&parent)?;
            let target = readlinkat(&node, "", Vec::new())?;
            if target.as_bytes().starts_with(b"/") {
                parent = root()?;
            }
            ahead.extend(parts(target.as_bytes()).rev().map(<[u8]>::to_vec));
        } else if is_last && part != b".." {
            return Ok(Found { parent, name: part, node: Some((node, stat)), slash, contents });
        } else if kind == FileType::Directory {
            parent = node;
        } else {
            return Err(Errno::NOTDIR.into());
        }
    }
    let node = openat(&parent, ".", LOOK, Mode::empty())?;
    let stat = fstat(&node)?;
    Ok(Found { parent, name: b".".to_vec(), node: Some((node, stat)), slash, contents: true })
}

/// Where a relative path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// At the root.
    Root,
    /// In the current directory, beside these.
    Here(&'a Shared),
}

/// The directories that each sandbox writes straight to the host, by device and number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Shared(Vec<Vec<(u64, u64)>>);

impl Shared {
    /// Those of the paths of each sandbox that are there.
    pub fn look<'a, P>(sandboxes: impl IntoIterator<Item = P>) -> Self
    where
        P: IntoIterator<Item = &'a Path>,
    {
        let number =
            |path: &Path| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let all = sandboxes.into_iter().map(|paths| paths.into_iter().filter_map(number));
        let mut all: Vec<Vec<_>> = all.map(Iterator::collect).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|one| !one.is_empty());
        Self(all)
    }

    /// Which sandboxes have the directory, or one above it.
    fn holders(&self, directory: impl AsFd) -> Result<Vec<usize>, Errno> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let above = up_to_root(directory)?;
        let has = |places: &Vec<(u64, u64)>| places.iter().any(|place| above.contains(place));
        Ok((0..self.0.len()).filter(|one| has(&self.0[*one])).collect())
    }

    /// Whether what was found lies in what each of these sandboxes has, or is that.
    fn keeps(&self, found: &Found, these: &[usize]) -> Result<bool, Errno> {
        let mut holders = self.holders(&found.parent)?;
        if let Some((node, _)) = &found.node
            && found.kind() == Some(FileType::Directory)
        {
            holders.extend(self.holders(node)?);
        }
        Ok(these.iter().all(|one| holders.contains(one)))
    }
}

/// A directory and all above it, by device and number.
fn up_to_root(directory: impl AsFd) -> Result<Vec<(u64, u64)>, Errno> {
    let mut above = Vec::new();
    let mut at = openat(directory, ".", LOOK, Mode::empty())?;
    loop {
        let stat = fstat(&at)?;
        let number = (stat.st_dev, stat.st_ino);
        // Above the root is the root.
        if above.last() == Some(&number) {
            return Ok(above);
        }
        above.push(number);
        at = openat(&at, "..", LOOK, Mode::empty())?;
    }
}

/// Without those that say nothing.
fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

/// Whether something lies on a file system that the kernel makes up, which says other things to other processes.
pub(super) fn is_made_up(node: impl AsFd) -> Result<bool, Errno> {
    const MAGIC: [u32; 14] = [
        0x9fa0, // proc
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673, // sysfs, debugfs, tracefs, securityfs
        0x0027_e0eb,
        0x6367_7270, // cgroup, cgroup2
        0x1cd1,      // devpts
        0xcafe_4a11,
        0x6165_676c,
        0xde5e_81e4, // bpf, pstore, efivarfs
        0x6265_6570, // configfs
        0x4249_4e4d, // binfmt_misc
        0x6e73_6673, // nsfs
    ];
    let kind = fstatfs(node)?.f_type;
    Ok(MAGIC.iter().any(|magic| i64::from(*magic) == kind))
}

/// What a name is, without following a link.
pub(super) fn look(parent: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
