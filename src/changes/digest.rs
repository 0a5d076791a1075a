//! The digest of a review: what a list of changes would bring to the host, as 32 bytes.
//!
//! # Theory of operation
//! `bryo diff` ends with it; `bryo apply --reviewed DIGEST` computes it anew over the same selection of
//! paths, goes on only when it is the same, and then brings each file over only when the bytes it copied
//! have the hash that went into the digest. So what is applied is what was looked at, whoever writes to the
//! layer or exchanges its files in between.
//!
//! # The encoding
//! Numbers are unsigned, little-endian, 64 bits; *bytes* are their number and themselves. Each change is
//! encoded as
//!
//! 1. the path, as bytes;
//! 2. the kind: 1 added, 2 changed, 3 deleted;
//! 3. 1 where the host has something there that the sandbox was not shown, else 0;
//! 4. the trouble: 0 none, 1 unreadable, 2 too deep, 3 forged;
//! 5. what the host has there: 0 nothing, 1 file, 2 directory, 3 link, 4 fifo, 5 socket, 6 device;
//! 6. what the layer has there, the same; when that is not nothing, followed by
//!    1. permission bits, owner, group;
//!    2. time of modification of files, in nanoseconds since 1970; 0 for others, whose times say nothing;
//!    3. major and minor number of a device, else 0 and 0;
//!    4. the target of a link, as bytes, else no bytes;
//!    5. the path of the first change of the list that is a hard link of the same file, as bytes; no bytes
//!       when it is the first or the only one;
//!    6. the content: 0 when it has none, 1 and the size and the 32 bytes of its [`ContentHash`], or 2 when it
//!       cannot be read;
//!    7. the number of the payload's own attributes, 64 set bits when they cannot be read; of each, sorted by
//!       name, name and value as bytes.
//!
//! The SHA-256 of an encoding is the change's [`Fingerprint`]. The digest is the SHA-256 of the bytes
//! `bryo reviewed 1` and a line feed, followed by the fingerprints in the order of the list, which is that of
//! the paths by their bytes.
//!
//! # Decisions
//! - What the host has is in it only as the kind of file: that it changed meanwhile is a conflict, which `apply`
//!   finds by itself and tells better than by another digest.
//! - The sandbox is not in it: two that did the same have the same digest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::change::{Change, FileKind, Kind, Node, Trouble};
use super::source::{Content, Held};
use crate::spec::HostPath;

/// What every digest begins with; the number is raised when the encoding changes.
const MAGIC: &[u8] = b"bryo reviewed 1\n";

/// What a list of changes would bring to the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// Why some text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot take this as a digest: it is not 64 hexadecimal digits")]
pub struct NoDigest;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(NoDigest);
        }
        let digit = |byte: u8| {
            char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(NoDigest)
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One change with everything that it would bring to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Makes a [`Digest`] of changes, one after another.
#[derive(Debug)]
pub struct Digester {
    hash: Sha256,
    links: Links,
    encoded: Vec<u8>,
}

impl Default for Digester {
    fn default() -> Self {
        Self { hash: Sha256::new_with_prefix(MAGIC), links: Links::default(), encoded: Vec::new() }
    }
}

impl Digester {
    /// Takes in the next change, in the order of the list.
    pub fn add(&mut self, change: &Change, held: &Held) -> Fingerprint {
        self.encoded.clear();
        encode(change, held, self.links.first(change), &mut self.encoded);
        let fingerprint = Fingerprint(Sha256::digest(&self.encoded).into());
        self.hash.update(fingerprint.0);
        fingerprint
    }

    /// Of all that was taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.hash.finalize().into())
    }
}

/// Where files with several names were met first.
#[derive(Debug, Default)]
pub struct Links(HashMap<(u64, u64), HostPath>);

impl Links {
    /// The path that was asked about earlier and is the same file; none when this is the first.
    pub fn first(&mut self, change: &Change) -> Option<&HostPath> {
        let now = change.now.as_ref()?;
        if now.links < 2 || now.kind == FileKind::Directory {
            return None;
        }
        match self.0.entry(now.inode) {
            Entry::Occupied(first) => Some(first.into_mut()),
            Entry::Vacant(place) => {
                place.insert(change.path.clone());
                None
            }
        }
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    number(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn encode(change: &Change, held: &Held, first: Option<&HostPath>, out: &mut Vec<u8>) {
    bytes(out, change.path.as_bytes());
    number(
        out,
        match change.kind {
            Kind::Added => 1,
            Kind::Changed => 2,
            Kind::Deleted => 3,
        },
    );
    number(out, change.hidden.into());
    number(
        out,
        match change.trouble {
            None => 0,
            Some(Trouble::Unreadable) => 1,
            Some(Trouble::TooDeep) => 2,
            Some(Trouble::Forged) => 3,
            Some(Trouble::Miscopied) => 4,
        },
    );
    number(out, kind(change.was.as_ref()));
    number(out, kind(change.now.as_ref()));
    if let Some(now) = &change.now {
        encode_node(now, out);
        bytes(out, first.map_or(&[], |path| path.as_bytes()));
        encode_held(held, out);
    }
}

fn kind(node: Option<&Node>) -> u64 {
    match node.map(|node| node.kind) {
        None => 0,
        Some(FileKind::File) => 1,
        Some(FileKind::Directory) => 2,
        Some(FileKind::Link) => 3,
        Some(FileKind::Fifo) => 4,
        Some(FileKind::Socket) => 5,
        Some(FileKind::Device) => 6,
    }
}

fn encode_node(now: &Node, out: &mut Vec<u8>) {
    for value in [now.mode, now.owner, now.group] {
        number(out, value.into());
    }
    let is_file = now.kind == FileKind::File;
    number(out, if is_file { now.modified.nanoseconds() } else { 0 });
    let (major, minor) = now.device.unwrap_or_default();
    number(out, major.into());
    number(out, minor.into());
    bytes(out, now.target.as_ref().map_or(&[], |target| target.as_bytes()));
}

fn encode_held(held: &Held, out: &mut Vec<u8>) {
    match &held.content {
        Content::None => number(out, 0),
        Content::Hashed { size, hash } => {
            number(out, 1);
            number(out, *size);
            out.extend_from_slice(&hash.0);
        }
        Content::Unreadable => number(out, 2),
    }
    let Some(attributes) = &held.attributes else { return number(out, u64::MAX) };
    number(out, attributes.len() as u64);
    for (name, value) in attributes {
        bytes(out, name);
        bytes(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{Aspects, ContentHasher};
    use crate::plan::step::LayerNumber;
    use crate::state::Timestamp;

    fn node() -> Node {
        Node {
            kind: FileKind::File,
            mode: 0o644,
            owner: 1000,
            group: 1000,
            links: 1,
            inode: (1, 2),
            size: Some(5),
            data: 512,
            target: None,
            device: None,
            modified: Timestamp::from_parts(1_000_000_000, 5),
            changed: Timestamp::from_parts(1_000_000_001, 5),
        }
    }

    fn change() -> Change {
        Change {
            path: HostPath::new("/home/al/note").unwrap(),
            kind: Kind::Added,
            differs: Aspects::default(),
            now: Some(node()),
            was: None,
            hidden: false,
            stale: false,
            trouble: None,
            layer: LayerNumber(0),
        }
    }

    fn held() -> Held {
        let mut hasher = ContentHasher::new();
        hasher.update(0, b"hello");
        let content = Content::Hashed { size: 5, hash: hasher.finish(5) };
        Held { content, attributes: Some(vec![(b"user.a".to_vec(), b"1".to_vec())]) }
    }

    fn digest(list: &[(Change, Held)]) -> Digest {
        let mut digester = Digester::default();
        for (change, held) in list {
            digester.add(change, held);
        }
        digester.finish()
    }

    /// The encoding is a promise: a digest that was noted down yesterday means the same today. The numbers
    /// were computed by another program from the description above.
    #[test]
    fn the_encoding_stays_what_it_is() {
        let nothing = digest(&[]).to_string();
        assert_eq!(nothing, "97ec3161b012c9fc1e3fca9f06ad4a160d378e043ab6b1f68cac0fceac6da1c6");
        let one = digest(&[(change(), held())]).to_string();
        assert_eq!(one, "3503959c9ce43ff24c00852b44c28876fa697b0685f8e4b5053cd8ebed79fba5");
    }

    #[test]
    fn whatever_would_be_applied_differently_has_another_digest() {
        let base = digest(&[(change(), held())]);
        let now = |f: fn(&mut Node)| {
            let mut other = change();
            f(other.now.as_mut().unwrap());
            (other, held())
        };
        let other = |f: fn(&mut Change)| {
            let mut other = change();
            f(&mut other);
            (other, held())
        };
        let holds = |held: Held| (change(), held);
        let mut list = vec![
            now(|n| n.mode = 0o755),
            now(|n| n.owner = 0),
            now(|n| n.group = 0),
            now(|n| n.kind = FileKind::Link),
            now(|n| n.target = Some("x".into())),
            now(|n| n.device = Some((1, 0))),
            now(|n| n.modified = Timestamp::from_parts(1, 0)),
            other(|c| c.path = HostPath::new("/home/al/other").unwrap()),
            other(|c| c.kind = Kind::Changed),
            other(|c| c.hidden = true),
            other(|c| c.trouble = Some(Trouble::Forged)),
            other(|c| c.was = Some(node())),
            other(|c| c.now = None),
            holds(Held { content: Content::Unreadable, ..held() }),
            holds(Held { content: Content::None, ..held() }),
            holds(Held { attributes: None, ..held() }),
            holds(Held { attributes: Some(Vec::new()), ..held() }),
            holds(Held { attributes: Some(vec![(b"user.a1".to_vec(), Vec::new())]), ..held() }),
        ];
        let mut digests: Vec<String> =
            list.drain(..).map(|one| digest(&[one]).to_string()).collect();
        digests.push(base.to_string());
        digests.push(digest(&[(change(), held()), (change(), held())]).to_string());
        let all = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), all);
    }

    #[test]
    fn names_of_one_file_are_told_from_two_files_with_one_content() {
        let pair = |links, second| {
            let mut list = [(change(), held()), (change(), held())];
            list[1].0.path = HostPath::new("/home/al/other").unwrap();
            for (change, _) in &mut list {
                change.now.as_mut().unwrap().links = links;
            }
            list[1].0.now.as_mut().unwrap().inode = (1, second);
            digest(&list)
        };
        assert_eq!(pair(1, 2), pair(2, 3));
        assert_ne!(pair(2, 2), pair(2, 3));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = digest(&[]);
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse::<Digest>(), Ok(digest));
        for bad in ["", "12", &"g".repeat(64), &"1".repeat(63), &format!("{digest}0")] {
            assert_eq!(bad.parse::<Digest>(), Err(NoDigest));
        }
    }
}
