//! Copies in and out of a sandbox that runs: starts the half of the copy that is inside (`archive::errand`), and is its
//! other end out here.

use std::io::{BufReader, BufWriter, ErrorKind, Write as _, copy};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::pipes::{Begun, Flow, Pipe, begin};
use super::{CpError, Outside, Progress, Wanted};
use crate::archive::errand::{ErrandError, Outcome, pack_at};
use crate::archive::{
    Last, Member, Owners, PackError, ReadError, Reader, Shared, Start, Stop, Told, UnpackError,
    locate, resolve, unpack,
};
use crate::plan::errand::{Errand, Source, SourceKind};
use crate::spec::Text;
use crate::state::Found;

/// Bytes that are read or written at a time.
const CHUNK: usize = 256 << 10;

pub(super) fn copy_out(
    found: &Found,
    (wanted, shared): (&Wanted, &Shared),
    progress: &mut Progress<'_>,
) -> Result<Told, CpError> {
    let name = match &wanted.outside {
        Outside::Stream => None,
        Outside::Path(_) => Some(Text::from(".")),
    };
    let (path, follow, keep) = (wanted.inside.clone(), wanted.follow, wanted.keep);
    let begun = begin(found, Errand::Pack { path, follow, name, keep }, Flow::Out)?;
    let pipe = Pipe::new(begun.archive.as_fd(), &begun.errand, Some(progress));
    let mut input = BufReader::with_capacity(CHUNK, pipe);
    let done = match &wanted.outside {
        Outside::Path(to) => receive(&mut input, (wanted, shared), (found, to)),
        Outside::Stream => {
            let mut out = Pipe::new(rustix::stdio::stdout(), &begun.errand, None);
            copy(&mut input, &mut out)
                .map(|_| Told::default())
                .map_err(|error| CpError::Stream(super::TO_STDOUT, error))
        }
    };
    drop(input);
    end(found, wanted, begun, done)
}

/// Unpacks what comes, to where the user wants it.
pub(super) fn receive(
    input: &mut dyn std::io::Read,
    (wanted, shared): (&Wanted, &Shared),
    (found, to): (&Found, &Text),
) -> Result<Told, CpError> {
    let failed = |source: UnpackError| here("to", to, source.into());
    let mut reader = Reader::new(input);
    let first = reader.next_member().map_err(|error| failed(error.into()))?;
    let Some(first) = first else { return Err(failed(ReadError::CutOff.into())) };
    let source = source_of(&first, wanted.inside.as_bytes());
    let place = resolve(to.as_bytes(), Start::Here(shared), Last::Follow)
        .map_err(|stop| here("to", to, stop.into()))?;
    let place = locate(place, &source).map_err(failed)?;
    let mut told = Told::default();
    let copying = found.begin_copy().ok();
    let note = &mut |parent: BorrowedFd<'_>, name: &str, inode| {
        if let Some(copying) = &copying {
            copying.note(parent, name, inode);
        }
    };
    unpack(&mut reader, Some(first), place, (wanted.keep, Owners::Ours), &mut told, note)
        .map_err(failed)?;
    Ok(told)
}

/// What comes, by its first member and the path it was asked for by.
fn source_of(first: &Member, path: &[u8]) -> Source {
    let (name, contents) = own_name(path);
    let is_directory =
        first.kind == crate::archive::MemberKind::Plain(crate::archive::Kind::Directory);
    let kind = match (is_directory, contents) {
        (true, true) => SourceKind::Contents,
        (true, false) => SourceKind::Directory,
        (false, _) => SourceKind::File,
    };
    Source { kind, name }
}

/// The last part of a path, where it says something; and whether what a directory holds is meant.
fn own_name(path: &[u8]) -> (Option<Text>, bool) {
    let written = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let last = path.split(|byte| *byte == b'/').rfind(|part| !part.is_empty()).unwrap_or(b".");
    let contents = matches!(written, b"." | b"..") || matches!(last, b"." | b"..");
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(last);
    ((!contents).then(|| Text::from(name)), contents)
}

pub(super) fn copy_in(
    found: &Found,
    (wanted, shared): (&Wanted, &Shared),
    progress: &mut Progress<'_>,
) -> Result<Told, CpError> {
    let source = match &wanted.outside {
        Outside::Stream => Source { kind: SourceKind::Stream, name: None },
        Outside::Path(from) => look(from, (Start::Here(shared), wanted.follow))
            .map_err(|error| here("from", from, error))?,
    };
    let (path, keep) = (wanted.inside.clone(), wanted.keep);
    let begun = begin(found, Errand::Unpack { path, source, keep }, Flow::In)?;
    let pipe = Pipe::new(begun.archive.as_fd(), &begun.errand, Some(progress));
    let mut out = BufWriter::with_capacity(CHUNK, pipe);
    let mut told = Told::default();
    let done = match &wanted.outside {
        Outside::Path(from) => {
            let last = if wanted.follow { Last::Follow } else { Last::Keep };
            let from_here = (Start::Here(shared), last);
            pack_at(from.as_bytes(), from_here, Some(b"."), wanted.keep, &mut out, &mut told)
                .map_err(|error| here("from", from, error))
        }
        Outside::Stream => {
            let mut input = Pipe::new(rustix::stdio::stdin(), &begun.errand, None);
            copy(&mut input, &mut out)
                .and_then(|_| out.flush())
                .map_err(|error| CpError::Stream("from standard input", error))
        }
    };
    // What is left of a failure has no reader.
    drop(out.into_parts());
    end(found, wanted, begun, done.map(|()| told))
}

/// What the user wants to be copied.
fn look(path: &Text, (from, follow): (Start<'_>, bool)) -> Result<Source, ErrandError> {
    let last = if follow { Last::Follow } else { Last::Keep };
    let found = resolve(path.as_bytes(), from, last)?;
    let (name, contents) = own_name(path.as_bytes());
    let kind = match found.kind() {
        None => return Err(Stop::Errno(Errno::NOENT).into()),
        Some(FileType::Directory) if contents => SourceKind::Contents,
        Some(FileType::Directory) => SourceKind::Directory,
        Some(FileType::RegularFile | FileType::Symlink) if !found.slash => SourceKind::File,
        Some(FileType::RegularFile | FileType::Symlink) => return Err(ErrandError::NotDirectory),
        Some(_) => return Err(PackError::NoFile.into()),
    };
    Ok(Source { kind, name })
}

/// What both halves have to say. The half inside knows why an archive ends early, or is not read to its end.
fn end(
    found: &Found,
    wanted: &Wanted,
    begun: Begun,
    done: Result<Told, CpError>,
) -> Result<Told, CpError> {
    if let (Err(_), Some(halt)) = (&done, begun.errand.borrow().halt()) {
        return Err(CpError::Halted(halt));
    }
    let is_broken = done.as_ref().is_err_and(ends_early);
    match (done, begun) {
        // Its own failure: what the half inside says then is that nobody listens.
        (Err(error), _) if !is_broken => Err(error),
        (done, begun) => {
            let Outcome { told: inside, error } = begun.finish()?;
            if let Some(text) = error {
                let (path, id) = (wanted.inside.clone(), found.id());
                return Err(CpError::Inside { path, id, text });
            }
            let mut told = done?;
            told.bytes = told.bytes.max(inside.bytes);
            told.add(inside);
            Ok(told)
        }
    }
}

/// Whether it is the other half that went.
fn ends_early(error: &CpError) -> bool {
    match error {
        CpError::Here { source, .. } => match source {
            ErrandError::Unpack(UnpackError::Read(error)) => matches!(error, ReadError::CutOff),
            ErrandError::Pack(PackError::Write(error)) => error.kind() == ErrorKind::BrokenPipe,
            _ => false,
        },
        // That of standard output went by itself.
        error if error.is_broken_pipe() => false,
        CpError::Stream(_, error) => error.kind() == ErrorKind::BrokenPipe,
        _ => false,
    }
}

fn here(way: &'static str, path: &Text, source: ErrandError) -> CpError {
    CpError::Here { way, path: path.clone(), source }
}
