//! The attributes by which an overlay marks directories, told from the payload's own.
//!
//! # Decisions
//! - Since Linux 6.7 the kernel stores a payload's `user.overlay.X` as `user.overlay.overlay.X`: that is
//!   the payload's own attribute. So a redirect or a metadata-only mark was made by nobody's overlay.
//! - fuse-overlayfs (1.10 tried) stores a payload's `user.overlay.opaque` as it is, and obeys it: then
//!   the directory does hide what the host has, as if the payload had deleted it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;

use super::source::Attribute;
use crate::plan::step::Backend;

/// As long as the kernel lets a list of names or a value be.
const LONGEST: usize = 64 * 1024;
const KERNEL: &[u8] = b"user.overlay.";
pub(super) const ESCAPED: &[u8] = b"user.overlay.overlay.";
const FUSE: &[u8] = b"user.fuseoverlayfs.";
const CONTAINERS: &[u8] = b"user.containers.";

/// What the attributes of a directory or file say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// What the host has below is hidden.
    pub(super) opaque: bool,
    /// Marks that no overlay of this kind makes.
    pub(super) forged: bool,
    /// It was made from something that the host had in the place where it was first.
    pub(super) copied: bool,
    /// The payload's own attributes, under the names it gave them: name as stored, by name as given.
    own: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Marks {
    /// Of something in a layer.
    pub(super) fn of_upper(file: impl AsFd, backend: Backend) -> Result<Self, Errno> {
        let mut marks = Self::default();
        for stored in names(&file)? {
            marks.read(&file, backend, stored)?;
        }
        Ok(marks)
    }

    /// Of something of the host: overlays keep their own marks to themselves.
    pub(super) fn of_host(file: impl AsFd) -> Result<Self, Errno> {
        let mut own = BTreeMap::new();
        for name in names(file)? {
            if is_compared(&name) && !is_any_overlays(&name) {
                own.insert(name.clone(), name);
            }
        }
        Ok(Self { own, ..Self::default() })
    }

    fn read(&mut self, file: impl AsFd, backend: Backend, stored: Vec<u8>) -> Result<(), Errno> {
        if let Some(given) = stored.strip_prefix(ESCAPED)
            && backend == Backend::Kernel
        {
            let given = [KERNEL, given].concat();
            self.own.insert(given, stored);
            return Ok(());
        }
        let mark = stored
            .strip_prefix(KERNEL)
            .or_else(|| stored.strip_prefix(FUSE).filter(|_| backend == Backend::Fuse));
        match mark {
            Some(b"opaque") => match value(file, &stored)?.as_deref() {
                Some(b"y") => self.opaque = true,
                Some(_) => self.forged = true,
                None => {}
            },
            Some(b"redirect" | b"metacopy" | b"whiteout") => self.forged = true,
            Some(b"origin") => self.copied = true,
            None if is_compared(&stored) && !is_any_overlays(&stored) => {
                self.own.insert(stored.clone(), stored);
            }
            _ => {}
        }
        Ok(())
    }

    /// The payload's own attributes, under the names it gave them, with their values; sorted by name. What
    /// vanished meanwhile is left out.
    pub(super) fn values(&self, upper: impl AsFd) -> Result<Vec<Attribute>, Errno> {
        let read = |(name, stored): (&Vec<u8>, &Vec<u8>)| match value(&upper, stored) {
            Ok(value) => value.map(|value| Ok((name.clone(), value))),
            Err(error) => Some(Err(error)),
        };
        self.own.iter().filter_map(read).collect()
    }

    /// The payload's own attributes, by the names under which they are stored.
    pub(super) fn stored(&self) -> impl Iterator<Item = &[u8]> {
        self.own.values().map(Vec::as_slice)
    }

    /// Whether the payload's own attributes are those of the host's file.
    pub(super) fn same_as(
        &self,
        upper: impl AsFd,
        other: &Self,
        host: impl AsFd,
    ) -> Result<bool, Errno> {
        if !self.own.keys().eq(other.own.keys()) {
            return Ok(false);
        }
        for (name, stored) in &self.own {
            if value(&upper, stored)? != value(&host, name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What belongs to the file and not to the machine: no labels of security modules.
pub(super) fn is_compared(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

pub(super) fn is_any_overlays(name: &[u8]) -> bool {
    [KERNEL, FUSE, CONTAINERS].iter().any(|prefix| name.starts_with(prefix))
}

/// The names of all attributes, as they are stored; none on file systems without.
pub(super) fn names(file: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut small = [0_u8; 512];
    let mut large;
    let list = match flistxattr(&file, &mut small[..]) {
        Err(Errno::RANGE) => {
            large = vec![0_u8; LONGEST];
            let length = flistxattr(&file, &mut large[..])?;
            &large[..length]
        }
        Err(Errno::NOTSUP) => &[],
        other => &small[..other?],
    };
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// An attribute's value; none if it vanished.
fn value(file: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut small = [0_u8; 256];
    match fgetxattr(&file, name, &mut small[..]) {
        Ok(length) => Ok(Some(small[..length].to_vec())),
        Err(Errno::RANGE) => {
            let mut large = vec![0_u8; LONGEST];
            let length = fgetxattr(&file, name, &mut large[..])?;
            large.truncate(length);
            Ok(Some(large))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error),
    }
}
