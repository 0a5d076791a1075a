//! Takes paths out of a layer: what the sandbox had at and below them is as if it had never been
//! written. What is dropped leaves a layer so, and what was applied.
//!
//! # Theory of operation
//! Only what the layer holds is touched; the host is read. Where the layer and the host's directory were
//! merged, taking an entry out lets the host's show again, and that is all. A directory of the layer that
//! *replaced* the host's (opaque, or inside an opaque one) hides every name of it: before something of it
//! can show again it is made one that is merged, with a whiteout for each name that it hid
//! ([`merge`](self::merge)). That changes nothing of what is seen. Then what is forgotten goes with one
//! rename. So whatever interrupts, the layer means what it meant before, or what it is to mean.
//!
//! Hard links in the layer keep their other names. Directories on the way that may not be entered are
//! opened for as long as it takes; they get their permission bits and times back.
//!
//! A directory on the way that is empty afterwards and no different from the host's was there only for
//! what was forgotten: it goes too.
//!
//! # Not here
//! Whole layers (`state` removes a sandbox); locks: whoever forgets holds the sandbox's.

mod merge;
mod origin;
mod way;

pub use origin::take_origins;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::ChangesError;
use super::directory::{Entry, Names};
use super::entry::stat;
use super::layer::OpenLayer;
use super::open_layers;
use crate::plan::step::{Backend, LayerNumber};
use crate::spec::HostPath;
use crate::state::Bin;
use crate::state::record::LayerRecord;
use way::{Stop, Way};

/// What became of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgot {
    /// The layers hold nothing at or below it any more.
    Path,
    /// They held nothing there.
    Nothing,
    /// It is gone because of what the layer has in the place of this directory above it: that has to be
    /// forgotten, with all below it.
    Within(HostPath),
}

/// Forgets each of `paths` in every layer; what leaves a layer is moved to `bin`. Gives a result for
/// each path, in their order.
///
/// Errors: `open`'s, [`ChangesError::OpenHost`], [`ChangesError::Forget`]; what was forgotten before
/// stays so.
pub fn forget<E: From<ChangesError>>(
    layers: &[LayerRecord],
    open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, E>,
    paths: &[HostPath],
    bin: &Bin,
) -> Result<Vec<Forgot>, E> {
    let opened = open_layers(layers, open)?;
    let mut results = Vec::new();
    for layer in opened.iter().filter(|layer| layer.backend == Backend::Fuse) {
        let failed = |source| ChangesError::Forget { path: layer.root.clone(), source };
        take_origins(&layer.upper).map_err(failed)?;
    }
    for path in paths {
        let mut result = Forgot::Nothing;
        for layer in &opened {
            let failed = |source| ChangesError::Forget { path: path.clone(), source };
            result = result.or(forget_in(layer, path, bin).map_err(failed)?);
        }
        results.push(result);
    }
    Ok(results)
}

impl Forgot {
    /// Of several layers: one that held it counts.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Path, _) | (_, Self::Path) => Self::Path,
            (Self::Nothing, other) => other,
            (this, _) => this,
        }
    }
}

fn forget_in(layer: &OpenLayer, path: &HostPath, bin: &Bin) -> Result<Forgot, Errno> {
    let mut result = Forgot::Nothing;
    for copied in layer.aliases.iter().filter(|copied| copied.from.starts_with(path)) {
        let names: Vec<CString> = copied.path.names().filter_map(c_name).collect();
        result = result.or(Way::new(layer, bin, Sight::Alone)?.forget(&names)?);
    }
    if layer.root.starts_with(path) {
        return Ok(result.or(forget_all(layer, path, bin)?));
    }
    let Some(relative) = path.relative_to(&layer.root) else { return Ok(result) };
    let names = names_of(relative);
    let kept = kept_below(layer, path, &names);
    Ok(result.or(Way::new(layer, bin, Sight::Host)?.forget_but(&names, &kept)?))
}

/// Whether the host's directories count: what lies under another name has none below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Host,
    Alone,
}

/// Empties the layer, and makes its root as it was.
fn forget_all(layer: &OpenLayer, path: &HostPath, bin: &Bin) -> Result<Forgot, Errno> {
    let kept = kept_below(layer, path, &[]);
    let mut way = Way::new(layer, bin, Sight::Host)?;
    let emptied = way.empty(&kept);
    let plain = way.plain_root();
    Ok(if emptied? | plain? { Forgot::Path } else { Forgot::Nothing })
}

/// Places below `names` that hold a file of the host's from elsewhere, which `path` does not name.
fn kept_below(layer: &OpenLayer, path: &HostPath, names: &[CString]) -> Vec<Vec<CString>> {
    let elsewhere = layer.aliases.iter().filter(|copied| !copied.from.starts_with(path));
    elsewhere
        .map(|copied| copied.path.names().filter_map(c_name).collect::<Vec<_>>())
        .filter_map(|place| place.strip_prefix(names).map(<[_]>::to_vec))
        .collect()
}

fn c_name(name: &OsStr) -> Option<CString> {
    CString::new(name.as_bytes()).ok()
}

fn names_of(relative: &Path) -> Vec<CString> {
    relative.iter().filter_map(c_name).collect()
}

/// What a directory of the layer has under a name.
enum Here {
    /// Nothing.
    Nothing,
    /// The mark that the host's is deleted.
    Whiteout,
    /// This.
    Entry(rustix::fs::Stat),
}

impl Here {
    fn look(way: &Way<'_>, name: &std::ffi::CStr) -> Result<Self, Errno> {
        let directory = way.upper();
        if way.has_whiteout_file(name)? {
            return Ok(Self::Whiteout);
        }
        Ok(match stat(directory, name)? {
            None => Self::Nothing,
            Some(found) if super::alias::is_whiteout(&found) => Self::Whiteout,
            Some(found) => Self::Entry(found),
        })
    }
}

/// The names in a directory of the layer, but for the marks that are names.
fn names_in(way: &Way<'_>) -> Result<Vec<(CString, Entry)>, Errno> {
    let (mut names, _) = Names::read_upper(way.readable()?.as_fd(), way.backend())?;
    names.sort();
    let mut found = Vec::new();
    while let Some((name, entry)) = names.get(found.len()) {
        found.push((name.to_owned(), entry));
    }
    Ok(found)
}

impl From<Stop> for Forgot {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::NotThere | Stop::NotOurs => Self::Nothing,
            Stop::Above(path) => Self::Within(path),
        }
    }
}
