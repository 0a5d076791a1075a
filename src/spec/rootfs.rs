//! What the payload sees and where it writes.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use super::path::{HostPath, PathError, SandboxPath};
use super::text::Text;

/// The file tree of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rootfs {
    /// What stands at `/`.
    pub base: Base,
    /// Who serves copy-on-write trees.
    pub overlay: OverlayChoice,
    /// How the current directory is seen (host base only).
    pub workdir: WorkdirView,
    /// How `$HOME` outside the current directory is seen (host base only).
    pub home: HomeView,
    /// What the user or the profile asked for, path by path; a later one wins at the same place and
    /// origin.
    pub requests: Vec<PathRequest>,
    /// `SRC:DST` mounts, in order.
    pub volumes: Vec<Volume>,
    /// Files that hold secrets, matched when the sandbox starts.
    pub secrets: Vec<Pattern>,
    /// Other places that are hidden by default.
    pub hidden: Vec<Pattern>,
    /// Files that may hold secrets but are needed: shown, with a warning.
    pub warned: Vec<Pattern>,
    /// Nothing of the tree can be written but `/tmp`, `/run`, `/dev` and what is asked for by name.
    pub read_only: bool,
    /// Bytes that each private temporary file system may hold that was given none; an eighth of the machine's
    /// memory if none. Where all that is written is bounded, they share that instead.
    pub tmpfs_size: Option<u64>,
    /// Bytes that `/dev/shm` may hold; an eighth of the machine's memory if none.
    pub shm_size: Option<u64>,
    /// Directories that a `..` climbed from in the paths of flags, before links. Later runs of the same are told where it led.
    #[serde(default, skip_serializing)]
    pub climbed: Vec<HostPath>,
    /// Which of the secrets are some because a variable of the caller's leads there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<Moved>,
}

/// A place that is secret because a variable leads there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// Which variable.
    pub variable: Text,
    /// The place, before links or after.
    pub place: HostPath,
}

/// What stands at `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// The host's tree.
    Host,
    /// Nothing but what is asked for.
    Empty,
    /// A directory that holds a root file system, copy-on-write.
    Directory(HostPath),
}

/// Who serves copy-on-write trees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverlayChoice {
    /// The kernel where it can, else fuse-overlayfs.
    #[default]
    Auto,
    /// The kernel or nothing.
    Kernel,
    /// fuse-overlayfs or nothing.
    Fuse,
}

/// How the current directory is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkdirView {
    /// Copy-on-write.
    #[default]
    Cow,
    /// Read-only.
    Read,
}

/// How `$HOME` outside the current directory is seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HomeView {
    /// Copy-on-write, secrets hidden. With a network that reaches out the planner takes
    /// [`HomeView::Only`] instead, with the same list.
    #[default]
    Cow,
    /// An empty private directory that shows the listed places, copy-on-write.
    Only,
    /// An empty private directory.
    Empty,
}

/// One place asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRequest {
    /// Where, on the host and at the same place inside.
    pub path: Pattern,
    /// How it is seen.
    pub access: Access,
    /// Who asked: a flag beats a profile.
    pub origin: Origin,
}

/// How a place is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read-only.
    Read,
    /// Straight to the host.
    Write,
    /// Copy-on-write.
    Cow,
    /// Not at all.
    Hide,
    /// A private, empty, writable file system in its place.
    Tmpfs {
        /// Bytes; the kernel's default if none.
        size: Option<u64>,
    },
    /// A listening unix socket of the host, to connect to.
    Socket,
    /// A device node, or a directory of them.
    Device,
    /// A toolchain or cache below `$HOME` that stays visible, copy-on-write, where the home is
    /// [`HomeView::Only`]; nothing special where the whole home is shown.
    Toolchain,
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A profile. A place that does not exist is passed over.
    Profile,
    /// The command line. A place that does not exist is an error (but for `Hide` and `Tmpfs`).
    Flag,
}

/// One `-v SRC:DST[:MODE]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// On the host.
    pub source: HostPath,
    /// In the sandbox.
    pub target: SandboxPath,
    /// `rw` without a mode, as in Docker.
    pub mode: VolumeMode,
}

/// How a volume is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeMode {
    /// Straight to the host.
    #[default]
    Rw,
    /// Read-only.
    Ro,
    /// Copy-on-write.
    Cow,
}

/// An absolute path, or one below the home directory (`~/…`); the names may hold `*` and `?`, which
/// match within one name. Only secrets, hidden places and warnings use wildcards; in a request they
/// are literal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "Text", try_from = "Text")]
pub struct Pattern {
    base: PatternBase,
    rest: SandboxPath,
}

/// What a pattern is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatternBase {
    /// `/`.
    Root,
    /// `$HOME`.
    Home,
    /// The current directory (`./…`).
    Workdir,
}

impl Pattern {
    /// Parses `/…`, `~`, `~/…`, `.`, `./…`. Errors as [`HostPath::new`].
    pub fn new(text: impl AsRef<OsStr>) -> Result<Self, PathError> {
        let bytes = text.as_ref().as_bytes();
        let (base, rest) = match bytes {
            b"~" => (PatternBase::Home, &b"/"[..]),
            b"." => (PatternBase::Workdir, &b"/"[..]),
            [b'~', rest @ ..] if rest.starts_with(b"/") => (PatternBase::Home, rest),
            [b'.', rest @ ..] if rest.starts_with(b"/") => (PatternBase::Workdir, rest),
            _ => (PatternBase::Root, bytes),
        };
        Ok(Self { base, rest: SandboxPath::new(OsStr::from_bytes(rest))? })
    }

    /// A path of the host, taken literally.
    pub fn literal(path: &HostPath) -> Self {
        Self { base: PatternBase::Root, rest: path.same_in_sandbox() }
    }

    /// What it is relative to.
    pub fn base(&self) -> PatternBase {
        self.base
    }

    /// The rest, from its base on.
    pub fn rest(&self) -> &SandboxPath {
        &self.rest
    }

    /// The same pattern below another home directory; none when it is not relative to the home.
    pub fn below_home(&self, home: &HostPath) -> Option<Self> {
        let relative = self.rest.as_bytes().get(1..).unwrap_or_default();
        let rest = home.same_in_sandbox().join(OsStr::from_bytes(relative)).ok()?;
        (self.base == PatternBase::Home).then_some(Self { base: PatternBase::Root, rest })
    }

    /// The path it names when no wildcard is looked at; none when it needs a home or a current
    /// directory that is not there, or would be too long.
    pub fn resolve(&self, home: Option<&HostPath>, workdir: Option<&HostPath>) -> Option<HostPath> {
        let relative = self.rest.as_bytes().get(1..).unwrap_or_default();
        match self.base {
            PatternBase::Root => Some(self.rest.same_on_host()),
            PatternBase::Home => home?.join(OsStr::from_bytes(relative)).ok(),
            PatternBase::Workdir => workdir?.join(OsStr::from_bytes(relative)).ok(),
        }
    }
}

impl From<Pattern> for Text {
    fn from(pattern: Pattern) -> Self {
        let prefix: &[u8] = match pattern.base {
            PatternBase::Root => b"",
            PatternBase::Home => b"~",
            PatternBase::Workdir => b".",
        };
        let rest = pattern.rest.as_bytes();
        let rest = if prefix.is_empty() || rest != b"/" { rest } else { b"" };
        Self::from(OsStr::from_bytes(&[prefix, rest].concat()).to_owned())
    }
}

impl TryFrom<Text> for Pattern {
    type Error = PathError;

    fn try_from(text: Text) -> Result<Self, PathError> {
        Self::new(text.as_os_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text::from(self.clone()).fmt(f)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
