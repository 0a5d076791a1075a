//! The half of `bryo cp` that runs inside a sandbox: packs what is copied out, or unpacks what is copied in. The half
//! outside is `ops::cp::halves`.
//!
//! # Theory of operation
//! Descriptor 0 or 1 is a pipe with the archive, 2 one for the [`Outcome`], which is written when the other is closed: who
//! is at their other ends reads one after the other, and neither waits for the other for ever. Nothing else is open.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::os::fd::AsFd;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::resolve::{Last, Start, Stop, resolve};
use super::unpack::Owners;
use super::write::Archive;
use super::{PackError, Reader, Told, UnpackError, locate, pack, unpack};
use crate::plan::errand::{Errand, Keep, Source};
use crate::spec::Text;
use crate::sys::process;

/// Bytes that are read or written at a time.
const CHUNK: usize = 256 << 10;

/// How an errand ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// What is to be told.
    pub told: Told,
    /// Why it did not come to its end: an error and its causes, in one line.
    pub error: Option<String>,
}

/// Why an errand did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    /// The path leads nowhere.
    #[error(transparent)]
    Resolve(#[from] Stop),
    /// Something that is no directory was named with a slash behind it.
    #[error("it is no directory")]
    NotDirectory,
    /// The archive.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// What is made of the archive.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The pipe.
    #[error("cannot reach whoever asked")]
    Pipe(#[source] std::io::Error),
}

impl ErrandError {
    /// Whether a directory on the way is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Resolve(Stop::Errno(Errno::NOENT)))
    }
}

/// Does it, and tells; the exit status.
pub fn run(errand: &Errand) -> u8 {
    let mut told = Told::default();
    let done = match errand {
        Errand::Pack { path, follow, name, keep } => {
            let last = if *follow { Last::Follow } else { Last::Keep };
            let name = name.as_ref().map(Text::as_bytes);
            let (path, from) = (path.as_bytes(), (Start::Root, last));
            duplicate(rustix::stdio::stdout()).map_err(ErrandError::Pipe).and_then(|file| {
                let mut out = BufWriter::with_capacity(CHUNK, file);
                pack_at(path, from, name, *keep, &mut out, &mut told)
            })
        }
        Errand::Unpack { path, source, keep } => {
            unpack_at(path.as_bytes(), source, *keep, &mut told)
        }
    };
    let error = done.err().map(|error| chain(&error));
    let code = u8::from(error.is_some());
    // Whoever writes or reads the archive sees the end of it, and then waits for this.
    let errors = rustix::stdio::stderr();
    if process::irrevocably_close_from(0, &[errors]).is_err() {
        return 2;
    }
    let text = serde_json::to_vec(&Outcome { told, error }).unwrap_or_default();
    match duplicate(errors).and_then(|mut file| file.write_all(&text)) {
        Ok(()) => code,
        Err(_) => 2,
    }
}

/// Packs what is at a path. `name` is what it is called in the archive, in place of its own name.
pub fn pack_at(
    path: &[u8],
    (from, last): (Start<'_>, Last),
    name: Option<&[u8]>,
    keep: Keep,
    out: &mut dyn std::io::Write,
    told: &mut Told,
) -> Result<(), ErrandError> {
    let found = resolve(path, from, last)?;
    if found.node.is_none() {
        return Err(Stop::Errno(Errno::NOENT).into());
    }
    if found.slash && found.kind() != Some(rustix::fs::FileType::Directory) {
        return Err(ErrandError::NotDirectory);
    }
    let own = if found.contents { None } else { found.own_name() };
    let name = name.or(own).unwrap_or(b".");
    pack(&found, name, keep, Archive::new(&mut *out), told)?;
    out.flush().map_err(|error| PackError::Write(error).into())
}

fn unpack_at(path: &[u8], source: &Source, keep: Keep, told: &mut Told) -> Result<(), ErrandError> {
    let place = locate(resolve(path, Start::Root, Last::Follow)?, source)?;
    let file = duplicate(rustix::stdio::stdin()).map_err(ErrandError::Pipe)?;
    let mut input = BufReader::with_capacity(CHUNK, file);
    let mut reader = Reader::new(&mut input);
    Ok(unpack(&mut reader, None, place, (keep, Owners::Kept), told, &mut |_, _, _| ())?)
}

fn duplicate(fd: impl AsFd) -> std::io::Result<File> {
    Ok(fd.as_fd().try_clone_to_owned()?.into())
}

/// An error and its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        match cause.downcast_ref::<Errno>() {
            Some(errno) => text.push_str(&crate::sys::errno::Errno::from(*errno).description()),
            None => text.push_str(&cause.to_string()),
        }
        next = cause.source();
    }
    text
}
