//! One difference between a layer and the host.

use rustix::fs::{FileType, Stat};
use serde::Serialize;
use serde::ser::SerializeSeq;

use crate::plan::step::LayerNumber;
use crate::spec::{HostPath, Text};
use crate::state::Timestamp;

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where on the host.
    pub path: HostPath,
    /// Added, changed or deleted.
    pub kind: Kind,
    /// What is known to differ; empty unless changed.
    #[serde(skip_serializing_if = "Aspects::is_empty")]
    pub differs: Aspects,
    /// What the sandbox has there; none if deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Node>,
    /// What the host has there; none if added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Node>,
    /// The host has something there, or below it, that the sandbox was not shown.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// What the host has there has changed since the sandbox started.
    #[serde(skip_serializing_if = "is_false")]
    pub stale: bool,
    /// What could not be told, or must not be applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// The layer it is in.
    pub layer: LayerNumber,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_one(value: &u64) -> bool {
    *value == 1
}

/// In which way a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Only the sandbox has it.
    Added,
    /// Both have it and it differs.
    Changed,
    /// Only the host has it.
    Deleted,
}

impl Kind {
    /// As `docker diff` prints it.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
        }
    }
}

/// A property of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// What kind of file it is.
    Type,
    /// Its length.
    Size,
    /// Its bytes, the length being equal.
    Content,
    /// Permission bits.
    Mode,
    /// User or group.
    Owner,
    /// Time of modification.
    Time,
    /// Where a link leads.
    Target,
    /// Extended attributes or access control lists.
    Attributes,
}

/// A set of aspects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aspects(u8);

impl Aspects {
    const ALL: [Aspect; 8] = [
        Aspect::Type,
        Aspect::Size,
        Aspect::Content,
        Aspect::Mode,
        Aspect::Owner,
        Aspect::Time,
        Aspect::Target,
        Aspect::Attributes,
    ];

    /// Adds one where `differs`.
    pub fn set(&mut self, aspect: Aspect, differs: bool) {
        self.0 |= u8::from(differs) << aspect as u8;
    }

    /// Whether it has this one.
    pub fn has(self, aspect: Aspect) -> bool {
        self.0 & (1 << aspect as u8) != 0
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Each.
    pub fn iter(self) -> impl Iterator<Item = Aspect> {
        Self::ALL.into_iter().filter(move |aspect| self.has(*aspect))
    }
}

impl Serialize for Aspects {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for aspect in self.iter() {
            list.serialize_element(&aspect)?;
        }
        list.end()
    }
}

/// What kind of file something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A unix socket.
    Socket,
    /// A character or block device.
    Device,
}

impl FileKind {
    /// Of what `stat` found.
    pub fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => Self::Device,
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }
}

/// One side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: FileKind,
    /// Permission bits, in octal.
    #[serde(serialize_with = "octal")]
    pub mode: u32,
    /// The user it belongs to, as a number.
    pub owner: u32,
    /// The group it belongs to, as a number.
    pub group: u32,
    /// How many names it has; of directories it says nothing.
    #[serde(skip_serializing_if = "is_one")]
    pub links: u64,
    /// Device and number of its inode: two names with the same are one file.
    #[serde(skip)]
    pub inode: (u64, u64),
    /// Bytes; of regular files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes that are no hole, as far as the file system tells; of regular files.
    #[serde(skip)]
    pub data: u64,
    /// Where it leads; of links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Text>,
    /// Major and minor number; of devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
    /// Time of modification.
    pub modified: Timestamp,
    /// When it was changed last in any way, which nobody can set.
    #[serde(skip)]
    pub changed: Timestamp,
}

impl Node {
    /// From what `stat` found.
    pub fn new(stat: &Stat, target: Option<Text>) -> Self {
        let kind = FileKind::of(stat);
        let size = (kind == FileKind::File).then(|| u64::try_from(stat.st_size).unwrap_or(0));
        let device = (kind == FileKind::Device)
            .then(|| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)));
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            owner: stat.st_uid,
            group: stat.st_gid,
            links: if kind == FileKind::Directory { 1 } else { wide(stat.st_nlink) },
            inode: (stat.st_dev, stat.st_ino),
            size,
            data: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            target,
            device,
            modified: Timestamp::from_parts(stat.st_mtime, stat.st_mtime_nsec),
            changed: Timestamp::from_parts(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Its type is another one on every architecture.
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn octal<S: serde::Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

/// Why a path is not told completely, or cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// The directory or file cannot be read: what is below or in it is not told.
    Unreadable,
    /// What lies deeper has paths that no system call takes.
    TooDeep,
    /// It carries marks that no overlay of this kind makes.
    Forged,
    /// A file that fuse-overlayfs left when it was to copy a pipe, a socket or a device of the host.
    Miscopied,
}

impl Trouble {
    /// As a remark behind the path.
    pub fn remark(self) -> &'static str {
        match self {
            Self::Unreadable => "cannot be read",
            Self::TooDeep => "what lies deeper has no path",
            Self::Forged => "has forged overlay marks",
            Self::Miscopied => "left by fuse-overlayfs, which cannot copy what the host has there",
        }
    }
}
