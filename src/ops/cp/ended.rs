//! Copies out of a sandbox that ended: what it changed, as it is in its layer.
//!
//! # Theory of operation
//! Paths are those of the host, as `bryo diff` lists them. What lies below the one that was asked for is packed in
//! the order of the changes, in a thread of its own, and unpacked as what comes from a sandbox that runs. The
//! sandbox is locked meanwhile.
//!
//! # Decisions
//! - A directory comes with what was changed below it alone. The rest is the host's own, secrets that the sandbox was
//!   never shown among it: a copy of a sandbox must not hold them.

use std::io::{BufReader, BufWriter, Write as _, copy};
use std::os::fd::OwnedFd;

use rustix::fs::fstat;
use rustix::io::pread;
use rustix::pipe::{PipeFlags, pipe_with};

use super::halves::receive;
use super::{CpError, Outside, Progress, Wanted};
use crate::archive::{Archive, Entry, Kind, Shared, Told, Why, extents};
use crate::changes::{Change, Changes, ChangesError, FileKind, Node, Sources};
use crate::ops::error::OpsError;
use crate::plan::errand::Keep;
use crate::spec::HostPath;
use crate::state::Found;
use crate::supervise::errand::{Halt, take_signals};
use crate::supervise::{Signals, block_signals};

const CHUNK: usize = 256 << 10;

pub(super) fn copy_out(
    found: &Found,
    (wanted, shared): (&Wanted, &Shared),
    progress: &mut Progress<'_>,
) -> Result<Told, CpError> {
    let sandbox = found.lock().map_err(OpsError::from)?;
    let record = found.record().map_err(OpsError::from)?;
    let open = |number| Ok::<_, OpsError>(sandbox.open_upper(number)?);
    let changes = Changes::open::<OpsError>(&record.layers, open)?;
    let sources = Sources::open::<OpsError>(&record.layers, open)?;
    let (path, id) = (wanted.inside.clone(), found.id());
    let Some(root) = host_path(wanted.inside.as_bytes()) else {
        return Err(CpError::Unchanged { path, id });
    };
    let root = &root;
    let mut below = changes
        .filter(|change| change.as_ref().map_or(true, |change| change.path.starts_with(root)));
    let first = below.next().transpose().map_err(OpsError::from)?;
    let Some(first) = first else { return Err(CpError::Unchanged { path, id }) };
    if first.path == *root && first.now.is_none() {
        return Err(CpError::Removed { path, id });
    }
    let source = Source { sources, first, root: root.clone() };
    carry(found, (wanted, shared), (source, below), progress)
}

/// What there is to copy.
struct Source {
    sources: Sources,
    /// The first change.
    first: Change,
    root: HostPath,
}

/// Packs in a thread, and receives here.
fn carry(
    found: &Found,
    (wanted, shared): (&Wanted, &Shared),
    (source, rest): (Source, impl Iterator<Item = Result<Change, ChangesError>> + Send),
    progress: &mut Progress<'_>,
) -> Result<Told, CpError> {
    let failed = |errno: rustix::io::Errno| CpError::Stream("through a pipe", errno.into());
    let signals = block_signals()?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let name = match (&wanted.outside, source.root.file_name()) {
        (Outside::Stream, Some(name)) => name.as_encoded_bytes().to_vec(),
        _ => b".".to_vec(),
    };
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| pack(source, rest, (name, wanted.keep), write));
        let mut halt = None;
        let (signals, halted) = (&signals, &mut halt);
        let counted = Counted { file: read.into(), total: 0, progress, signals, halt: halted };
        let mut input = BufReader::with_capacity(CHUNK, counted);
        let received = match &wanted.outside {
            Outside::Path(to) => receive(&mut input, (wanted, shared), (found, to)),
            Outside::Stream => copy(&mut input, &mut std::io::stdout().lock())
                .map(|_| Told::default())
                .map_err(|error| CpError::Stream(super::TO_STDOUT, error)),
        };
        drop(input);
        if let Some(halt) = halt {
            return Err(CpError::Halted(halt));
        }
        let packed = packing.join().unwrap_or(Err(CpError::Lost(None)));
        match (received, packed) {
            (Ok(mut told), Ok(packed)) => {
                told.bytes = told.bytes.max(packed.bytes);
                told.add(packed);
                Ok(told)
            }
            // Whoever failed first has the other see a pipe that ended.
            (Err(_), Err(error)) if !is_broken(&error) => Err(error),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    })
}

/// Writes all of it into a pipe.
fn pack(
    source: Source,
    rest: impl Iterator<Item = Result<Change, ChangesError>>,
    (name, keep): (Vec<u8>, Keep),
    into: OwnedFd,
) -> Result<Told, CpError> {
    let Source { sources, first, root } = source;
    let mut file = BufWriter::with_capacity(CHUNK, std::fs::File::from(into));
    let mut told = Told::default();
    let archive = Archive::new(&mut file);
    let mut packing = Packing { archive, sources, root: &root, name, keep, told: &mut told };
    let packed = packing.all(&first, rest).and_then(|()| packing.finish());
    let written = packed.and_then(|()| file.flush().map_err(write_failed));
    // What is left of a failure has no reader.
    drop(file.into_parts());
    written.map(|()| told)
}

fn is_broken(error: &CpError) -> bool {
    matches!(error, CpError::Stream(_, error) if error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn write_failed(error: std::io::Error) -> CpError {
    CpError::Stream("through a pipe", error)
}

/// As the path of a change; none for one that leads up.
fn host_path(path: &[u8]) -> Option<HostPath> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let parts: Vec<&[u8]> = parts.collect();
    if parts.contains(&&b".."[..]) {
        return None;
    }
    let joined = [b"/", parts.join(&b'/').as_slice()].concat();
    HostPath::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&joined)).ok()
}

struct Packing<'a, 't> {
    archive: Archive<'a>,
    sources: Sources,
    root: &'t HostPath,
    /// Of the root in the archive.
    name: Vec<u8>,
    keep: Keep,
    told: &'t mut Told,
}

impl Packing<'_, '_> {
    fn all(
        &mut self,
        first: &Change,
        rest: impl Iterator<Item = Result<Change, ChangesError>>,
    ) -> Result<(), CpError> {
        if first.path != *self.root {
            // The directory itself is the host's.
            let name = self.name_of(self.root, FileKind::Directory);
            let entry = Entry {
                name: &name,
                kind: Kind::Directory,
                mode: 0o755,
                owner: 0,
                group: 0,
                modified: 0,
                target: b"",
                attributes: &[],
            };
            self.archive.entry(&entry, 0).map_err(write_failed)?;
        }
        self.one(first)?;
        for change in rest {
            self.one(&change.map_err(OpsError::from)?)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), CpError> {
        self.archive.finish().map_err(write_failed)
    }

    fn name_of(&self, path: &HostPath, kind: FileKind) -> Vec<u8> {
        let below = path.as_bytes().get(self.root.as_bytes().len()..).unwrap_or_default();
        let mut name = self.name.clone();
        if !below.is_empty() && !below.starts_with(b"/") {
            name.push(b'/');
        }
        name.extend_from_slice(below);
        if kind == FileKind::Directory {
            name.push(b'/');
        }
        name
    }

    fn one(&mut self, change: &Change) -> Result<(), CpError> {
        let Some(now) = &change.now else { return Ok(()) };
        let name = self.name_of(&change.path, now.kind);
        let why = match now.kind {
            _ if change.trouble.is_some() => Why::Unreadable,
            FileKind::Device => Why::Device,
            FileKind::Socket | FileKind::Fifo => Why::NoFile,
            FileKind::Directory => return self.plain(&name, Kind::Directory, now, b""),
            FileKind::Link => {
                let target = now.target.as_ref().map_or(&b""[..], |target| target.as_bytes());
                return self.plain(&name, Kind::Link, now, target);
            }
            FileKind::File => match self.sources.file(change) {
                Ok(file) => return self.file(&name, now, change, &file),
                Err(_) => Why::Unreadable,
            },
        };
        self.told.leave(&name, why);
        Ok(())
    }

    fn plain(&mut self, name: &[u8], kind: Kind, now: &Node, target: &[u8]) -> Result<(), CpError> {
        self.archive.entry(&entry(name, kind, now, target, &[]), 0).map_err(write_failed)
    }

    fn file(
        &mut self,
        name: &[u8],
        now: &Node,
        change: &Change,
        file: &OwnedFd,
    ) -> Result<(), CpError> {
        let read =
            |source| OpsError::from(ChangesError::Compare { path: change.path.clone(), source });
        if now.mode & 0o6000 != 0 {
            self.told.leave(name, Why::SetId);
        }
        let attributes = match self.keep {
            Keep::Some => Vec::new(),
            Keep::All => self.sources.attributes(change, file).map_err(read)?,
        };
        let size = u64::try_from(fstat(file).map_err(read)?.st_size).unwrap_or(0);
        let sparse = extents(file, size).map_err(read)?;
        let entry = entry(name, Kind::File, now, b"", &attributes);
        match &sparse {
            Some(extents) => self.archive.sparse(&entry, size, extents),
            None => self.archive.entry(&entry, size),
        }
        .map_err(write_failed)?;
        let mut chunk = vec![0; CHUNK];
        for (begin, length) in sparse.unwrap_or_else(|| vec![(0, size)]) {
            let mut offset = begin;
            while offset < begin + length {
                let most = usize::try_from(begin + length - offset).unwrap_or(CHUNK).min(CHUNK);
                let into = chunk.get_mut(..most).unwrap_or_default();
                let read = pread(file, &mut *into, offset).map_err(read)?;
                // Locked as it is, the layer does not shrink; if it does, zeros are what follows.
                if read == 0 {
                    break;
                }
                self.archive.data(into.get(..read).unwrap_or_default()).map_err(write_failed)?;
                offset += read as u64;
                self.told.bytes += read as u64;
            }
        }
        Ok(())
    }
}

fn entry<'a>(
    name: &'a [u8],
    kind: Kind,
    now: &Node,
    target: &'a [u8],
    attributes: &'a [crate::archive::Attribute],
) -> Entry<'a> {
    let modified = now.modified.nanoseconds();
    let mode = now.mode & 0o777;
    Entry { name, kind, mode, owner: now.owner, group: now.group, modified, target, attributes }
}

/// Counts what is read, and ends when somebody wants that.
struct Counted<'a> {
    file: std::fs::File,
    total: u64,
    progress: &'a mut Progress<'a>,
    signals: &'a Signals,
    halt: &'a mut Option<Halt>,
}

impl std::io::Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if let Err(halt) = take_signals(self.signals) {
            *self.halt = Some(halt);
            return Err(std::io::ErrorKind::Other.into());
        }
        let length = std::io::Read::read(&mut self.file, into)?;
        self.total += length as u64;
        (self.progress)(self.total);
        Ok(length)
    }
}
