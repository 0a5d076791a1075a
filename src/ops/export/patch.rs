//! Changes of text as a patch that `git apply` takes.
//!
//! # Decisions
//! - Paths are relative to a base directory; what changed elsewhere is counted, not written.
//! - What git keeps of a file is its text, whether it is executable, and where a link leads. What cannot be said
//!   with these is left out and told: binary files, attributes, fifos, empty directories.
//! - What was deleted with its directory is written file by file: a patch has no deletion of a directory.
//! - The bytes are those of the files: a patch that hides something from a reader of a terminal is shown
//!   escaped there by whoever prints it.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

use super::{ExportError, LeftOut, Why};
use crate::changes::{Aspect, Change, FileKind, Kind, Node, Sources, Trouble};
use crate::ops::diff::side::{Side, read_both, read_file};
use crate::ops::diff::unified::hunks;
use crate::spec::HostPath;
use crate::spec::Text;
use crate::spec::order;

/// How deep a deleted directory is gone into.
const DEEPEST: usize = 256;

/// What git keeps of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blob {
    mode: &'static str,
    text: Vec<u8>,
}

/// Writes changes, in their order, as a patch.
pub(super) struct PatchWriter<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) sources: Sources,
    pub(super) base: HostPath,
    pub(super) left_out: Vec<LeftOut>,
    /// How many changes lie elsewhere than below the base.
    pub(super) elsewhere: u64,
}

impl PatchWriter<'_> {
    /// Writes one change.
    pub(super) fn write(&mut self, change: &Change) -> Result<(), ExportError> {
        if !change.path.is_below(&self.base) {
            self.elsewhere += 1;
            return Ok(());
        }
        let why = match change.trouble {
            Some(Trouble::Forged) => Some(Why::Forged),
            Some(Trouble::TooDeep) => Some(Why::TooDeep),
            Some(Trouble::Miscopied) => Some(Why::Miscopied),
            Some(Trouble::Unreadable) => Some(Why::Unreadable),
            None if change.hidden => Some(Why::Hidden),
            None => None,
        };
        if let Some(why) = why {
            self.leave_out(&change.path, why);
            return Ok(());
        }
        if is_directory(change.was.as_ref()) && !is_directory(change.now.as_ref()) {
            self.delete_below(&change.path)?;
        }
        let read = |source| ExportError::Read { path: change.path.clone(), source };
        let (old, new) = read_both(change, &mut self.sources).map_err(read)?;
        let blobs = (blob(change.was.as_ref(), old), blob(change.now.as_ref(), new));
        match blobs {
            (Ok(old), Ok(new)) => {
                self.check(change, old.as_ref(), new.as_ref());
                self.one(&change.path, old.as_ref(), new.as_ref())
            }
            (Err(why), _) | (_, Err(why)) => {
                self.leave_out(&change.path, why);
                Ok(())
            }
        }
    }

    fn leave_out(&mut self, path: &HostPath, why: Why) {
        self.left_out.push(LeftOut { path: path.clone(), why });
    }

    /// Tells what a patch cannot say of a change.
    fn check(&mut self, change: &Change, old: Option<&Blob>, new: Option<&Blob>) {
        let of_directory = is_directory(change.now.as_ref())
            && change.kind == Kind::Changed
            && !change.differs.has(Aspect::Type);
        let unsaid = change.differs.has(Aspect::Mode) && old == new;
        if change.differs.has(Aspect::Attributes) {
            self.leave_out(&change.path, Why::Attributes);
        } else if of_directory || unsaid {
            self.leave_out(&change.path, Why::Permissions);
        }
    }

    /// The files of a directory of the host that is no more.
    fn delete_below(&mut self, path: &HostPath) -> Result<(), ExportError> {
        let failed = |source| ExportError::Read { path: path.clone(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let top = openat2(CWD, path.as_path(), flags, Mode::empty(), resolve).map_err(failed)?;
        self.delete_in(&top, path, 0)
    }

    fn delete_in(
        &mut self,
        directory: &OwnedFd,
        path: &HostPath,
        depth: usize,
    ) -> Result<(), ExportError> {
        let failed = |source| ExportError::Read { path: path.clone(), source };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name().to_owned());
        }
        order::sort(&mut names);
        for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
            let Ok(below) = path.join(std::ffi::OsStr::from_bytes(name.to_bytes())) else {
                self.leave_out(path, Why::TooDeep);
                continue;
            };
            self.delete_one(directory, name, &below, depth)?;
        }
        Ok(())
    }

    fn delete_one(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        path: &HostPath,
        depth: usize,
    ) -> Result<(), ExportError> {
        let failed = |source| ExportError::Read { path: path.clone(), source };
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match FileKind::of(&stat) {
            FileKind::Directory if depth >= DEEPEST => {
                self.leave_out(path, Why::TooDeep);
                Ok(())
            }
            FileKind::Directory => {
                match openat(directory, name, flags | OFlags::DIRECTORY, Mode::empty()) {
                    Ok(below) => self.delete_in(&below, path, depth + 1),
                    Err(Errno::ACCESS) => {
                        self.leave_out(path, Why::Unreadable);
                        Ok(())
                    }
                    Err(error) => Err(failed(error)),
                }
            }
            kind => {
                let side = match kind {
                    FileKind::File => {
                        let opened = openat(directory, name, flags, Mode::empty());
                        read_file(opened).map_err(failed)?
                    }
                    _ => Side::Nothing,
                };
                let target = (kind == FileKind::Link)
                    .then(|| rustix::fs::readlinkat(directory, name, Vec::new()))
                    .transpose()
                    .map_err(failed)?;
                let target =
                    target.map(|target| Text::from(std::ffi::OsStr::from_bytes(target.to_bytes())));
                match blob(Some(&Node::new(&stat, target)), side) {
                    Ok(old) => self.one(path, old.as_ref(), None),
                    Err(why) => {
                        self.leave_out(path, why);
                        Ok(())
                    }
                }
            }
        }
    }

    /// One file: from `old` to `new`.
    fn one(
        &mut self,
        path: &HostPath,
        old: Option<&Blob>,
        new: Option<&Blob>,
    ) -> Result<(), ExportError> {
        match (old, new) {
            (Some(old), Some(new)) if is_link(old) != is_link(new) => {
                // git has no change of type: one goes, another comes.
                self.one(path, Some(old), None)?;
                return self.one(path, None, Some(new));
            }
            (None, None) => return Ok(()),
            (Some(old), Some(new)) if old == new => return Ok(()),
            _ => {}
        }
        let relative = path.relative_to(&self.base).map(|path| path.as_os_str().as_bytes());
        let relative = relative.unwrap_or_default();
        let (a, b) = (quoted(b"a/", relative), quoted(b"b/", relative));
        let mut text = [b"diff --git ", &a[..], b" ", &b, b"\n"].concat();
        let modes = match (old, new) {
            (None, Some(new)) => format!("new file mode {}\n", new.mode),
            (Some(old), None) => format!("deleted file mode {}\n", old.mode),
            (Some(old), Some(new)) if old.mode != new.mode => {
                format!("old mode {}\nnew mode {}\n", old.mode, new.mode)
            }
            _ => String::new(),
        };
        text.extend_from_slice(modes.as_bytes());
        let hunks = hunks(bytes(old), bytes(new));
        if !hunks.is_empty() {
            let name = |blob: Option<&Blob>, name: &[u8]| match blob {
                Some(_) => name.to_vec(),
                None => b"/dev/null".to_vec(),
            };
            text.extend([b"--- ", &name(old, &a)[..], b"\n+++ ", &name(new, &b), b"\n"].concat());
            for hunk in hunks {
                hunk.raw(&mut text);
            }
        }
        self.out.write_all(&text).map_err(ExportError::Write)
    }
}

fn is_directory(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.kind == FileKind::Directory)
}

fn is_link(blob: &Blob) -> bool {
    blob.mode == LINK
}

fn bytes(blob: Option<&Blob>) -> &[u8] {
    blob.map_or(&[], |blob| &blob.text)
}

const LINK: &str = "120000";

/// What git keeps of a side; none of a directory or of nothing.
fn blob(node: Option<&Node>, side: Side) -> Result<Option<Blob>, Why> {
    let Some(node) = node else { return Ok(None) };
    match (node.kind, side) {
        (FileKind::File, Side::Text(text)) => {
            let mode = if node.mode & 0o100 != 0 { "100755" } else { "100644" };
            Ok(Some(Blob { mode, text }))
        }
        (FileKind::File, Side::Other(_)) => Err(Why::Binary),
        (FileKind::File, Side::Nothing | Side::Unreadable) => Err(Why::Unreadable),
        (FileKind::Link, _) => {
            let text = node.target.as_ref().map_or_else(Vec::new, |t| t.as_bytes().to_vec());
            Ok(Some(Blob { mode: LINK, text }))
        }
        (FileKind::Directory, _) => Ok(None),
        (FileKind::Fifo, _) => Err(Why::Fifo),
        (FileKind::Socket, _) => Err(Why::Socket),
        (FileKind::Device, _) => Err(Why::Device),
    }
}

/// A name as git writes it: in quotes, with octal numbers, when it has anything in it that is not plain.
fn quoted(prefix: &[u8], path: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if path.iter().all(plain) {
        return [prefix, path].concat();
    }
    let mut out = [b"\"", prefix].concat();
    for byte in path {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_git_does() {
        assert_eq!(quoted(b"a/", b"x y.c"), b"a/x y.c");
        assert_eq!(quoted(b"a/", b"n\nt\t\"\\\x1b\xff"), b"\"a/n\\nt\\t\\\"\\\\\\033\\377\"");
    }
}
