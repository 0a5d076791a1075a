//! Absolute paths in two worlds that never mix: the host's tree and the sandbox's.
//!
//! A path is normalised when it is made: no `.`, no `..`, no doubled slash, no NUL, at most
//! [`PATH_MAX`] bytes. It says nothing about what exists; links are resolved by whoever probes
//! (`host`) or acts (`sys::open`).
//!
//! Long because both worlds have the same operations, which are written once.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text::{Escaped, Text};

/// The longest path the kernel takes in one call, in bytes, its final NUL counted.
pub const PATH_MAX: usize = 4096;

/// Marks a path of the host's tree.
#[derive(Debug, Clone, Copy)]
pub enum Host {}
/// Marks a path of the sandbox's tree.
#[derive(Debug, Clone, Copy)]
pub enum Sandbox {}

/// A path as the launcher's mount namespace resolves it.
pub type HostPath = AbsolutePath<Host>;
/// A path as the payload resolves it.
pub type SandboxPath = AbsolutePath<Sandbox>;

/// An absolute, normalised path in the world `W`.
pub struct AbsolutePath<W> {
    path: PathBuf,
    world: PhantomData<fn() -> W>,
}

/// Why some bytes are no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("cannot take `{0}` as a path: it is not absolute")]
    Relative(Text),
    /// It climbs with `..`, which means something else wherever a link stands before it.
    #[error("cannot take `{0}` as a path: it contains `..`")]
    Climbs(Text),
    /// It contains a NUL byte.
    #[error("cannot take a path that contains a NUL byte")]
    Nul,
    /// It is longer than [`PATH_MAX`].
    #[error("cannot take a path of {0} bytes: the kernel takes at most 4095")]
    TooLong(usize),
}

impl<W> AbsolutePath<W> {
    /// Normalises `path`. Errors: relative, `..`, NUL, too long.
    pub fn new(path: impl AsRef<OsStr>) -> Result<Self, PathError> {
        let bytes = path.as_ref().as_bytes();
        let name = || Text::from(path.as_ref().to_owned());
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if bytes.len() >= PATH_MAX {
            return Err(PathError::TooLong(bytes.len()));
        }
        if bytes.first() != Some(&b'/') {
            return Err(PathError::Relative(name()));
        }
        let normal = Vec::with_capacity(bytes.len());
        Self::with_names(normal, bytes).ok_or_else(|| PathError::Climbs(name()))
    }

    /// `normal`, which is empty for `/`, with the names in `bytes` appended; none when one is `..`.
    fn with_names(mut normal: Vec<u8>, bytes: &[u8]) -> Option<Self> {
        if is_normal(bytes) {
            if bytes.first() != Some(&b'/') {
                normal.push(b'/');
            }
            normal.extend_from_slice(bytes);
            return Some(Self::from_normal(PathBuf::from(OsString::from_vec(normal))));
        }
        for part in bytes.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".") {
            if part == b".." {
                return None;
            }
            normal.push(b'/');
            normal.extend_from_slice(part);
        }
        if normal.is_empty() {
            normal.push(b'/');
        }
        Some(Self::from_normal(PathBuf::from(OsString::from_vec(normal))))
    }

    const fn from_normal(path: PathBuf) -> Self {
        Self { path, world: PhantomData }
    }

    /// `/`.
    pub fn root() -> Self {
        Self::from_normal(PathBuf::from("/"))
    }

    /// The path for calls of the standard library.
    pub fn as_path(&self) -> &Path {
        &self.path
    }

    /// The bytes as they are.
    pub fn as_bytes(&self) -> &[u8] {
        self.path.as_os_str().as_bytes()
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.as_bytes() == b"/"
    }

    /// How many names stand in the path: 0 for `/`.
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// The names from the root down.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty()).map(OsStr::from_bytes)
    }

    /// The last name; none for `/`.
    pub fn file_name(&self) -> Option<&OsStr> {
        let name = self.as_bytes().rsplit(|b| *b == b'/').next()?;
        (!name.is_empty()).then(|| OsStr::from_bytes(name))
    }

    /// The directory it stands in; none for `/`.
    pub fn parent(&self) -> Option<Self> {
        parent_of(self.as_bytes()).map(Self::from_normal_bytes)
    }

    /// Every directory above it, nearest first, `/` last.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(parent_of(self.as_bytes()), |path| parent_of(path))
            .map(Self::from_normal_bytes)
    }

    fn from_normal_bytes(bytes: &[u8]) -> Self {
        Self::from_normal(PathBuf::from(OsStr::from_bytes(bytes)))
    }

    /// Whether it is `other` or lies below it.
    pub fn starts_with(&self, other: &Self) -> bool {
        // Both are normal, so a name ends where a slash stands: by bytes it takes a tenth of the time, and
        // most pairs differ there already.
        let (path, start) = (self.as_bytes(), other.as_bytes());
        let ends_a_name = match path.get(start.len()) {
            Some(byte) => *byte == b'/',
            None => path.len() == start.len(),
        };
        ends_a_name && path.starts_with(start) || other.is_root()
    }

    /// Whether it lies below `other` and is not `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.as_bytes().len() > other.as_bytes().len() && self.starts_with(other)
    }

    /// What remains after `base`: relative, empty when both are equal; none when it is not below.
    pub fn relative_to(&self, base: &Self) -> Option<&Path> {
        let rest = if base.is_root() { self.as_bytes().get(1..) } else { self.rest_after(base) };
        rest.map(|rest| Path::new(OsStr::from_bytes(rest)))
    }

    /// The place below `to` that this is below `from`; none when it is not below, or would be too long.
    pub fn moved<V>(&self, from: &Self, to: &AbsolutePath<V>) -> Option<AbsolutePath<V>> {
        let rest = self.relative_to(from)?.as_os_str().as_bytes();
        let base = if to.is_root() { &[][..] } else { to.as_bytes() };
        if rest.is_empty() {
            return Some(to.clone());
        }
        if base.len() + 1 + rest.len() >= PATH_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(base.len() + 1 + rest.len());
        bytes.extend_from_slice(base);
        bytes.push(b'/');
        bytes.extend_from_slice(rest);
        Some(AbsolutePath::from_normal(PathBuf::from(OsString::from_vec(bytes))))
    }

    /// What follows `base`, which is not `/`, without the slash between. By bytes: both are normal, and
    /// the standard library's way by components costs ten times as much.
    fn rest_after(&self, base: &Self) -> Option<&[u8]> {
        match self.as_bytes().strip_prefix(base.as_bytes())? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    /// The path with `relative` appended. Errors as [`AbsolutePath::new`].
    pub fn join(&self, relative: impl AsRef<OsStr>) -> Result<Self, PathError> {
        let relative = relative.as_ref().as_bytes();
        let length = self.as_bytes().len() + 1 + relative.len();
        if relative.contains(&0) {
            return Err(PathError::Nul);
        }
        if length >= PATH_MAX {
            return Err(PathError::TooLong(length));
        }
        let mut normal = Vec::with_capacity(length);
        if !self.is_root() {
            normal.extend_from_slice(self.as_bytes());
        }
        Self::with_names(normal, relative).ok_or_else(|| {
            let joined = [self.as_bytes(), b"/", relative].concat();
            PathError::Climbs(OsString::from_vec(joined).into())
        })
    }
}

/// Whether these are names, neither `.` nor `..`, with one slash between; perhaps one before them.
fn is_normal(bytes: &[u8]) -> bool {
    let is_name = |length: usize, dots: usize| length > 0 && (length > 2 || dots < length);
    let (mut length, mut dots) = (0, 0);
    for byte in bytes.strip_prefix(b"/").unwrap_or(bytes) {
        if *byte != b'/' {
            length += 1;
            dots += usize::from(*byte == b'.');
        } else if is_name(length, dots) {
            (length, dots) = (0, 0);
        } else {
            return false;
        }
    }
    is_name(length, dots)
}

/// The part of a normal path above its last name; none for `/`.
fn parent_of(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|b| *b == b'/')?;
    match slash {
        0 if path.len() == 1 => None,
        0 => path.get(..1),
        _ => path.get(..slash),
    }
}

impl HostPath {
    /// The place in the sandbox where a path of the host stands when it keeps its name.
    pub fn same_in_sandbox(&self) -> SandboxPath {
        AbsolutePath::from_normal(self.path.clone())
    }
}

impl SandboxPath {
    /// The path of the host that has the same name.
    pub fn same_on_host(&self) -> HostPath {
        AbsolutePath::from_normal(self.path.clone())
    }
}

impl<W> Clone for AbsolutePath<W> {
    fn clone(&self) -> Self {
        Self::from_normal(self.path.clone())
    }
}

impl<W> PartialEq for AbsolutePath<W> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<W> Eq for AbsolutePath<W> {}

impl<W> PartialOrd for AbsolutePath<W> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// By names, so that a directory is followed by what lies below it: a slash comes before every byte
/// of a name.
impl<W> Ord for AbsolutePath<W> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // As if name by name: a slash, which ends a name, comes before every other byte. What paths
        // begin with is mostly the same, and is compared eight bytes at once.
        let (one, other) = (self.as_bytes(), other.as_bytes());
        let eights = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
        let same = eights.take_while(|(a, b)| a == b).count() * 8;
        let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        one[same..].iter().map(rank).cmp(other[same..].iter().map(rank))
    }
}

impl<W> Hash for AbsolutePath<W> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// Escaped, for people.
impl<W> fmt::Display for AbsolutePath<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.as_bytes()).fmt(f)
    }
}

impl<W> fmt::Debug for AbsolutePath<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<W> Serialize for AbsolutePath<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text::from(self.path.clone().into_os_string()).serialize(serializer)
    }
}

impl<'de, W> Deserialize<'de> for AbsolutePath<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        Self::new(text.as_os_str()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(path: &str) -> HostPath {
        HostPath::new(path).unwrap()
    }

    #[test]
    fn a_path_is_normalised_when_it_is_made() {
        assert_eq!(host("//a/./b//"), host("/a/b"));
        assert_eq!(host("/").depth(), 0);
        assert_eq!(HostPath::new("a"), Err(PathError::Relative("a".into())));
        assert_eq!(HostPath::new("/a/../b"), Err(PathError::Climbs("/a/../b".into())));
        assert_eq!(HostPath::new("/a\0"), Err(PathError::Nul));
        assert_eq!(HostPath::new("/x".repeat(3000)), Err(PathError::TooLong(6000)));
    }

    /// Every text of slashes, dots and one letter, up to seven bytes.
    #[test]
    fn what_is_normal_already_is_what_normalising_gives() {
        let mut texts = vec![String::new()];
        for _ in 0..7 {
            let longer: Vec<String> = texts
                .iter()
                .flat_map(|text| ["/", ".", "a"].map(|c| format!("{text}{c}")))
                .collect();
            for text in &longer {
                let names: Vec<&str> =
                    text.split('/').filter(|name| !["", "."].contains(name)).collect();
                let expected = (!names.contains(&"..")).then(|| format!("/{}", names.join("/")));
                let made = host("/").join(text).ok().map(|path| path.to_string());
                assert_eq!(made, expected, "{text}");
                let whole = HostPath::new(format!("/{text}")).ok().map(|path| path.to_string());
                assert_eq!(whole, expected, "/{text}");
            }
            texts = longer;
        }
    }

    #[test]
    fn below_is_by_whole_names() {
        assert!(host("/home/al").is_below(&host("/home")));
        assert!(!host("/home/al2").starts_with(&host("/home/al")));
        assert!(host("/home/al/x").starts_with(&host("/home/al")));
        assert!(host("/home").starts_with(&host("/")) && !host("/").starts_with(&host("/home")));
        assert!(host("/a") < host("/a/b") && host("/a/b") < host("/a-b"));
        assert!(host("/") < host("/a") && host("/a").is_below(&host("/")));
        assert!(!host("/a").is_below(&host("/a")) && host("/a").starts_with(&host("/a")));
        assert_eq!(host("/a/b").relative_to(&host("/a")), Some(Path::new("b")));
        assert_eq!(host("/a").relative_to(&host("/a")), Some(Path::new("")));
        assert_eq!(host("/a/b").relative_to(&host("/")), Some(Path::new("a/b")));
        assert_eq!(host("/").relative_to(&host("/")), Some(Path::new("")));
        assert_eq!(host("/ab").relative_to(&host("/a")), None);
        let above: Vec<HostPath> = host("/a/bc/d").ancestors().collect();
        assert_eq!(above, [host("/a/bc"), host("/a"), host("/")]);
        assert_eq!((host("/").parent(), host("/a").parent()), (None, Some(host("/"))));
        assert_eq!(host("/a/bc").file_name(), Some(OsStr::new("bc")));
        assert_eq!((host("/").file_name(), host("/").ancestors().next()), (None, None));
        assert_eq!((host("/").depth(), host("/a/b").depth()), (0, 2));
        let moved = |path, from, to| host(path).moved(&host(from), &SandboxPath::new(to).unwrap());
        assert_eq!(moved("/a/b/c", "/a", "/x"), SandboxPath::new("/x/b/c").ok());
        assert_eq!(moved("/a/b", "/", "/"), SandboxPath::new("/a/b").ok());
        assert_eq!(moved("/a", "/a", "/"), SandboxPath::new("/").ok());
        assert_eq!(moved("/ab", "/a", "/"), None);
        let long = "/x".repeat(2000);
        assert_eq!(moved(&format!("/a{long}"), "/a", &long), None);
    }

    #[test]
    fn paths_are_in_the_order_of_their_names() {
        let paths = ["/", "/a", "/a/b", "/a/b/c", "/a!", "/a-b", "/a.b/c", "/aa", "/b", "/\u{1}"];
        for one in paths {
            for other in paths {
                let (one, other) = (host(one), host(other));
                assert_eq!(one.cmp(&other), one.names().cmp(other.names()), "{one} {other}");
            }
        }
    }

    #[test]
    fn names_are_appended_as_a_whole_path_is_made() {
        assert_eq!(host("/a").join("b//./c"), Ok(host("/a/b/c")));
        assert_eq!(host("/").join("b"), Ok(host("/b")));
        assert_eq!(host("/a").join(""), Ok(host("/a")));
        assert_eq!(host("/a").join("../b"), Err(PathError::Climbs("/a/../b".into())));
        assert_eq!(host("/a").join("b\0"), Err(PathError::Nul));
        assert_eq!(host("/a").join("x".repeat(4093)), Err(PathError::TooLong(4096)));
    }
}
