//! Changes as a layer of an OCI image: a tar archive with `.wh.NAME` for what was deleted.
//!
//! # Decisions
//! - Paths are those of the host, without the slash they begin with; the directories above are not in it, unless
//!   they changed.
//! - Where a directory replaced the host's, `.wh..wh..opq` says so, before what is in it.
//! - Owners are numbers, as in the layer. Set-id bits are left out and told: an archive is unpacked by
//!   programs that obey them.
//! - Sockets, devices, forged marks, and what cannot be read are left out and told; so is a file whose own name
//!   would mean a deletion.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::fstat;
use rustix::io::{Errno, pread};

use super::{ExportError, LeftOut, Why};
use crate::archive::{Archive, Entry, Extent, Kind, extents};
use crate::changes::{Attribute, Change, FileKind, Links, Node, Sources, Trouble};
use crate::spec::HostPath;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const CHUNK: usize = 256 * 1024;

/// Writes changes, in their order, into an archive.
pub(super) struct LayerWriter<'a> {
    pub(super) archive: Archive<'a>,
    pub(super) sources: Sources,
    pub(super) left_out: Vec<LeftOut>,
    links: Links,
    /// The directory that was met last, and whether it replaced the host's.
    directory: Option<(HostPath, bool)>,
}

impl<'a> LayerWriter<'a> {
    pub(super) fn new(archive: Archive<'a>, sources: Sources) -> Self {
        let (left_out, links) = (Vec::new(), Links::default());
        Self { archive, sources, left_out, links, directory: None }
    }

    /// Writes one change.
    pub(super) fn write(&mut self, change: &Change) -> Result<(), ExportError> {
        let why = match change.trouble {
            Some(Trouble::Forged) => Some(Why::Forged),
            Some(Trouble::TooDeep) => Some(Why::TooDeep),
            Some(Trouble::Miscopied) => Some(Why::Miscopied),
            Some(Trouble::Unreadable) if change.now.is_none() => None,
            Some(Trouble::Unreadable) => Some(Why::Unreadable),
            None => None,
        };
        if let Some(why) = why {
            self.leave_out(change, why);
            return Ok(());
        }
        let read = |source| ExportError::Read { path: change.path.clone(), source };
        let replaced = self.replaced(change)?;
        match &change.now {
            None if replaced => Ok(()),
            None => self.whiteout(change),
            Some(_) if has_whiteout_name(&change.path) => {
                self.leave_out(change, Why::Name);
                Ok(())
            }
            Some(now) => match now.kind {
                FileKind::File => self.file(change, now),
                FileKind::Directory => {
                    let directory = match self.sources.directory(change) {
                        Err(Errno::ACCESS) => {
                            self.leave_out(change, Why::Unreadable);
                            return Ok(());
                        }
                        other => other.map_err(read)?,
                    };
                    let attributes = self.sources.attributes(change, &directory).map_err(read)?;
                    self.plain(change, now, Kind::Directory, &attributes)
                }
                FileKind::Link => self.plain(change, now, Kind::Link, &[]),
                FileKind::Fifo => self.plain(change, now, Kind::Fifo, &[]),
                FileKind::Socket => {
                    self.leave_out(change, Why::Socket);
                    Ok(())
                }
                FileKind::Device => {
                    self.leave_out(change, Why::Device);
                    Ok(())
                }
            },
        }
    }

    fn leave_out(&mut self, change: &Change, why: Why) {
        self.left_out.push(LeftOut { path: change.path.clone(), why });
    }

    /// Whether the directory that a change lies in replaced the host's; then that is written first.
    fn replaced(&mut self, change: &Change) -> Result<bool, ExportError> {
        let Some(parent) = change.path.parent() else { return Ok(false) };
        if let Some((known, replaced)) = &self.directory
            && *known == parent
        {
            return Ok(*replaced);
        }
        let failed = |source| ExportError::Read { path: parent.clone(), source };
        let replaced = self.sources.replaces(change).map_err(failed)?;
        if replaced {
            let mut name = in_archive(&parent);
            name.push(b'/');
            name.extend_from_slice(OPAQUE);
            self.mark(&name)?;
        }
        self.directory = Some((parent, replaced));
        Ok(replaced)
    }

    fn whiteout(&mut self, change: &Change) -> Result<(), ExportError> {
        let (Some(parent), Some(name)) = (change.path.parent(), change.path.file_name()) else {
            return Ok(());
        };
        let mut path = in_archive(&parent);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(WHITEOUT);
        path.extend_from_slice(name.as_bytes());
        self.mark(&path)
    }

    /// An empty file that only its name makes something.
    fn mark(&mut self, name: &[u8]) -> Result<(), ExportError> {
        let entry = Entry {
            name,
            kind: Kind::File,
            mode: 0,
            owner: 0,
            group: 0,
            modified: 0,
            target: b"",
            attributes: &[],
        };
        self.archive.entry(&entry, 0).map_err(ExportError::Write)
    }

    fn plain(
        &mut self,
        change: &Change,
        now: &Node,
        kind: Kind,
        attributes: &[Attribute],
    ) -> Result<(), ExportError> {
        let mut name = in_archive(&change.path);
        if kind == Kind::Directory {
            name.push(b'/');
        }
        let target = now.target.as_ref().map_or(&[][..], |target| target.as_bytes());
        let mode = self.permissions(change, now);
        let entry = entry(&name, kind, now, mode, target, attributes);
        self.archive.entry(&entry, 0).map_err(ExportError::Write)
    }

    /// Without the bits that make a file run as somebody else.
    fn permissions(&mut self, change: &Change, now: &Node) -> u32 {
        if now.kind == FileKind::File && now.mode & 0o6000 != 0 {
            self.leave_out(change, Why::SetId);
            return now.mode & 0o1777;
        }
        now.mode
    }

    fn file(&mut self, change: &Change, now: &Node) -> Result<(), ExportError> {
        let read = |source| ExportError::Read { path: change.path.clone(), source };
        let name = in_archive(&change.path);
        if let Some(first) = self.links.first(change) {
            let target = in_archive(first);
            let entry = entry(&name, Kind::HardLink, now, now.mode & 0o1777, &target, &[]);
            return self.archive.entry(&entry, 0).map_err(ExportError::Write);
        }
        let file = match self.sources.file(change) {
            Err(Errno::ACCESS | Errno::PERM) => {
                self.leave_out(change, Why::Unreadable);
                return Ok(());
            }
            other => other.map_err(read)?,
        };
        let attributes = self.sources.attributes(change, &file).map_err(read)?;
        let size = u64::try_from(fstat(&file).map_err(read)?.st_size).unwrap_or(0);
        let extents = extents(&file, size).map_err(read)?;
        let mode = self.permissions(change, now);
        let entry = entry(&name, Kind::File, now, mode, b"", &attributes);
        if let Some(extents) = extents {
            self.archive.sparse(&entry, size, &extents).map_err(ExportError::Write)?;
            return extents.iter().try_for_each(|extent| self.copy(change, &file, *extent));
        }
        self.archive.entry(&entry, size).map_err(ExportError::Write)?;
        self.copy(change, &file, (0, size))
    }

    fn copy(
        &mut self,
        change: &Change,
        file: &OwnedFd,
        (begin, length): Extent,
    ) -> Result<(), ExportError> {
        let mut chunk = vec![0; CHUNK];
        let (mut offset, end) = (begin, begin + length);
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
            match pread(file, &mut chunk[..most], offset) {
                // What was there is gone: zeros, so that what follows stands where it should.
                Ok(0) => {
                    chunk.fill(0);
                    self.archive.data(&chunk[..most]).map_err(ExportError::Write)?;
                    offset += most as u64;
                }
                Ok(read) => {
                    self.archive.data(&chunk[..read]).map_err(ExportError::Write)?;
                    offset += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(ExportError::Read { path: change.path.clone(), source });
                }
            }
        }
        Ok(())
    }
}

fn entry<'a>(
    name: &'a [u8],
    kind: Kind,
    now: &Node,
    mode: u32,
    target: &'a [u8],
    attributes: &'a [Attribute],
) -> Entry<'a> {
    let modified = now.modified.nanoseconds();
    Entry { name, kind, mode, owner: now.owner, group: now.group, modified, target, attributes }
}

/// The name in an archive: without the slash at the beginning.
fn in_archive(path: &HostPath) -> Vec<u8> {
    path.as_bytes()[1..].to_vec()
}

/// Whether some part of a path would be read as a deletion.
fn has_whiteout_name(path: &HostPath) -> bool {
    path.names().any(|name| name.as_bytes().starts_with(WHITEOUT))
}
