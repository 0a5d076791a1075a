//! `bryo export`: what a sandbox changed, for other programs.
//!
//! # Theory of operation
//! The sandbox is locked, so that what is read is what will be there: one that runs, or whose layer is mounted,
//! is refused. Its changes go,
//! in their order, into an archive ([`layer`]) or a patch ([`patch`]). What these cannot hold is left out, and
//! every path of it is told.

mod layer;
mod patch;
mod target;

use std::io::{self, Write};

use rustix::io::Errno;

use super::apply::mounted;
use super::error::OpsError;
use super::sweep::sweep;
use crate::archive::Archive;
use crate::changes::{Changes, Selection, Sources};
use crate::ops::asked::AskedError;
use crate::report::Explain;
use crate::spec::HostPath;
use crate::state::{SandboxId, Stores, Which};
use layer::LayerWriter;
use patch::PatchWriter;
use target::Target;

/// What is made of the changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A layer of an OCI image.
    Layer(Packing),
    /// A patch, with paths relative to this directory; to the one the sandbox was started from without.
    Patch(Option<HostPath>),
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// With Zstandard.
    Zstd,
}

/// Where an export goes.
pub enum Destination<'a> {
    /// To this writer.
    Stream(&'a mut dyn Write),
    /// To this file, all of it or nothing.
    File(&'a HostPath),
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something in the layer, or the host's side of it.
    #[error("cannot read `{path}` to export it")]
    Read {
        /// Where on the host.
        path: HostPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The way to the directory of the export.
    #[error(transparent)]
    Asked(#[from] AskedError),
    /// The export itself.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
    /// The file it is to be written to.
    #[error("cannot write an export to `{path}`")]
    Open {
        /// Which.
        path: HostPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something stands there that is no regular file.
    #[error("cannot write an export to `{0}`: no regular file stands there")]
    Occupied(HostPath),
    /// Paths of a patch are relative to nothing.
    #[error("cannot tell from which directory the sandbox was started")]
    NoBase,
}

impl Explain for ExportError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Asked(error) => error.hint(),
            Self::Occupied(_) => Some("name a regular file, or one that is not there".to_owned()),
            Self::NoBase => {
                Some("name the directory that paths are relative to: `--base DIR`".to_owned())
            }
            Self::Read { .. } | Self::Write(_) | Self::Open { .. } => None,
        }
    }
}

/// Something that an export does not hold, or not wholly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where on the host.
    pub path: HostPath,
    /// Why.
    pub why: Why,
}

/// Why something is not in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A unix socket.
    Socket,
    /// A device.
    Device,
    /// A named pipe, which no patch has.
    Fifo,
    /// It has marks that no overlay of its kind makes.
    Forged,
    /// A file that fuse-overlayfs left when it was to copy what the host has there.
    Miscopied,
    /// It cannot be read.
    Unreadable,
    /// Its path is longer than a system call takes.
    TooDeep,
    /// Its name would mean a deletion in a layer.
    Name,
    /// Bits that make it run as somebody else; the rest is there.
    SetId,
    /// Its text is none, or too large.
    Binary,
    /// The host has something there that the sandbox was not shown.
    Hidden,
    /// Extended attributes, which no patch has; the rest is there.
    Attributes,
    /// Permissions that no patch has; the rest is there.
    Permissions,
}

impl Why {
    /// As a sentence behind the path.
    pub fn remark(self) -> &'static str {
        match self {
            Self::Socket => "a socket, left out",
            Self::Device => "a device, left out",
            Self::Fifo => "a fifo, left out",
            Self::Forged => "has forged overlay marks, left out",
            Self::Miscopied => {
                "left by fuse-overlayfs, which cannot copy what the host has there; left out"
            }
            Self::Unreadable => "cannot be read, left out",
            Self::TooDeep => "what lies deeper has no path, left out",
            Self::Name => "its name would mean a deletion, left out",
            Self::SetId => "without its set-id bits",
            Self::Binary => "binary or too large, left out",
            Self::Hidden => "the sandbox was not shown what the host has there, left out",
            Self::Attributes => "without its attributes",
            Self::Permissions => "without its permissions",
        }
    }
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Of which sandbox.
    pub id: SandboxId,
    /// What is not in it.
    pub left_out: Vec<LeftOut>,
    /// How many changes lie elsewhere than below the base of a patch.
    pub elsewhere: u64,
}

/// Exports the changes of a sandbox that are selected.
///
/// Errors: it runs; [`ExportError`] as [`OpsError::Export`].
pub fn export(
    stores: &Stores,
    which: Which<'_>,
    selection: &Selection,
    form: &Form,
    to: Destination<'_>,
) -> Result<Exported, OpsError> {
    sweep(stores)?;
    let found = stores.choose(which)?;
    let sandbox = found.lock()?;
    if let Some(process) = mounted::by_whom(sandbox.id()) {
        return Err(OpsError::Mounted { id: sandbox.id(), process });
    }
    if crate::changes::apply::was_interrupted(&sandbox)? {
        return Err(OpsError::ApplyInterrupted(sandbox.id()));
    }
    let record = found.record()?;
    let open = |number| Ok::<_, OpsError>(sandbox.open_upper(number)?);
    let source = Source {
        changes: Changes::open::<OpsError>(&record.layers, open)?,
        sources: Sources::open::<OpsError>(&record.layers, open)?,
        selection,
        base: record.from.clone(),
    };
    let (left_out, elsewhere) = match to {
        Destination::Stream(out) => source.write(form, out)?,
        Destination::File(path) => {
            let mut target = Target::create(path)?;
            let written = source.write(form, &mut io::BufWriter::new(&mut target.file));
            match written {
                Ok(told) => {
                    target.complete()?;
                    told
                }
                Err(error) => {
                    // What made it fail is what has to be told.
                    target.give_up().unwrap_or_default();
                    return Err(error);
                }
            }
        }
    };
    Ok(Exported { id: found.id(), left_out, elsewhere })
}

/// What there is to export.
struct Source<'a> {
    changes: Changes,
    sources: Sources,
    selection: &'a Selection,
    base: Option<HostPath>,
}

impl Source<'_> {
    fn write(self, form: &Form, out: &mut dyn Write) -> Result<(Vec<LeftOut>, u64), OpsError> {
        match form {
            Form::Layer(Packing::Plain) => {
                let told = self.write_layer(out)?;
                out.flush().map_err(ExportError::Write)?;
                Ok(told)
            }
            Form::Layer(Packing::Zstd) => {
                let failed = ExportError::Write;
                let mut packed = zstd::Encoder::new(&mut *out, LEVEL).map_err(failed)?;
                let told = self.write_layer(&mut packed)?;
                packed.finish().and_then(Write::flush).map_err(failed)?;
                Ok(told)
            }
            Form::Patch(base) => {
                let base = base.clone().or_else(|| self.base.clone());
                let base = base.ok_or(ExportError::NoBase)?;
                let told = self.write_patch(base, out)?;
                out.flush().map_err(ExportError::Write)?;
                Ok(told)
            }
        }
    }

    fn write_layer(self, out: &mut dyn Write) -> Result<(Vec<LeftOut>, u64), OpsError> {
        let mut writer = LayerWriter::new(Archive::new(out), self.sources);
        for change in self.changes.in_background() {
            let change = change?;
            if self.selection.takes(&change.path) {
                writer.write(&change)?;
            }
        }
        writer.archive.finish().map_err(ExportError::Write)?;
        Ok((writer.left_out, 0))
    }

    fn write_patch(
        self,
        base: HostPath,
        out: &mut dyn Write,
    ) -> Result<(Vec<LeftOut>, u64), OpsError> {
        let (left_out, elsewhere) = (Vec::new(), 0);
        let mut writer = PatchWriter { out, sources: self.sources, base, left_out, elsewhere };
        for change in self.changes.in_background() {
            let change = change?;
            if self.selection.takes(&change.path) {
                writer.write(&change)?;
            }
        }
        Ok((writer.left_out, writer.elsewhere))
    }
}

/// What zstd itself takes when it is not told.
const LEVEL: i32 = 3;
