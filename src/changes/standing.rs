//! What a layer has in one place, whatever the host has there.
//!
//! # Decisions
//! - Who asks wants to know whether something can be seen: whatever cannot be looked at counts as something, and so
//!   does a link on the way, which may lead to anything.
//! - A name beside its own whiteout (`.wh.NAME`, which a payload can make) counts as something, too.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, Stat, openat};
use rustix::io::Errno;

use super::alias::is_whiteout;
use super::change::FileKind;
use super::directory::{OPAQUE_NAME, WHITEOUT_PREFIX};
use super::entry::stat;
use super::marks::Marks;
use super::walk::READ;
use crate::plan::step::Backend;
use crate::spec::SandboxPath;

/// What is seen in a place through a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// What lies below the layer.
    Below,
    /// Nothing: the layer hides what lies below it.
    Nothing,
    /// What the layer holds here: the place, or what leads away on the way to it.
    Held(SandboxPath),
}

/// What is seen at a relative place, written as from `/`, through the layer with this upper directory.
pub fn standing(upper: impl AsFd, backend: Backend, place: &SandboxPath) -> Standing {
    let mut here = SandboxPath::root();
    look(upper, backend, place, &mut here).unwrap_or(Standing::Held(here))
}

/// Goes down as far as the layer does; `here` is the last name that it has.
fn look(
    upper: impl AsFd,
    backend: Backend,
    place: &SandboxPath,
    here: &mut SandboxPath,
) -> Result<Standing, Errno> {
    let mut directory = openat(upper, c".", READ, Mode::empty())?;
    let mut replaced = is_opaque(&directory, backend)?;
    let depth = place.depth();
    for (index, name) in (1..).zip(place.names()) {
        let next = here.join(name).map_err(|_| Errno::NAMETOOLONG)?;
        let Some(found) = stat_name(&directory, name)? else {
            let hidden = replaced || has_whiteout(&directory, backend, name)?;
            return Ok(if hidden { Standing::Nothing } else { Standing::Below });
        };
        if is_whiteout(&found) {
            return Ok(Standing::Nothing);
        }
        *here = next;
        match FileKind::of(&found) {
            _ if index == depth => break,
            FileKind::Directory => {
                directory = openat(&directory, name, READ, Mode::empty())?;
                replaced |= is_opaque(&directory, backend)?;
            }
            FileKind::Link => break,
            // Nothing is below what is no directory.
            _ => return Ok(Standing::Nothing),
        }
    }
    Ok(Standing::Held(here.clone()))
}

fn stat_name(directory: &OwnedFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    stat(directory, &CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?)
}

fn is_opaque(directory: &OwnedFd, backend: Backend) -> Result<bool, Errno> {
    let by_name = backend == Backend::Fuse && stat(directory, OPAQUE_NAME)?.is_some();
    Ok(by_name || Marks::of_upper(directory, backend)?.opaque)
}

fn has_whiteout(directory: &OwnedFd, backend: Backend, name: &OsStr) -> Result<bool, Errno> {
    let whiteout = [WHITEOUT_PREFIX, name.as_bytes()].concat();
    Ok(backend == Backend::Fuse && stat_name(directory, OsStr::from_bytes(&whiteout))?.is_some())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use rustix::fs::{CWD, FileType, XattrFlags, mknodat, setxattr};

    use super::Standing::{Below, Nothing};
    use super::*;

    fn of(layer: &Path, backend: Backend, place: &str) -> Standing {
        standing(File::open(layer).unwrap(), backend, &SandboxPath::new(place).unwrap())
    }

    fn held(place: &str) -> Standing {
        Standing::Held(SandboxPath::new(place).unwrap())
    }

    #[test]
    fn what_a_layer_has_is_told_from_what_it_lets_be_seen_and_what_it_hides() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for directory in ["d/e", "new", "wh"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in ["d/file", "d/.wh.gone", "d/.wh.both", "d/both", "wh/.wh..wh..opq"] {
            fs::write(at(file), "").unwrap();
        }
        symlink("d", at("link")).unwrap();
        mknodat(CWD, at("d/white"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        setxattr(at("new"), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        for (place, kernel, fuse) in [
            ("/none", Below, Below),
            ("/d", held("/d"), held("/d")),
            ("/d/e/f/g", Below, Below),
            ("/d/file", held("/d/file"), held("/d/file")),
            ("/d/file/below", Nothing, Nothing),
            ("/d/white", Nothing, Nothing),
            ("/d/white/below", Nothing, Nothing),
            ("/new/name", Nothing, Nothing),
            ("/link/any/thing", held("/link"), held("/link")),
            ("/d/gone", Below, Nothing),
            ("/d/gone/below", Below, Nothing),
            ("/d/both", held("/d/both"), held("/d/both")),
            ("/wh/name", Below, Nothing),
        ] {
            assert_eq!(of(dir.path(), Backend::Kernel, place), kernel, "{place}");
            assert_eq!(of(dir.path(), Backend::Fuse, place), fuse, "{place}");
        }
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_something() {
        if rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        for mode in [0o000, 0o600, 0o300] {
            fs::set_permissions(dir.path().join("d"), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(of(dir.path(), Backend::Kernel, "/d/e/f"), held("/d"), "{mode:o}");
        }
    }
}
