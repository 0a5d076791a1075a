//! Finds sandboxes: by name, by id, by the beginning of either, or the newest of a directory.
//!
//! A whole id goes before everything: scripts keep what `bryo run -d` printed, and no name that somebody gives later may
//! lead them elsewhere. A whole name goes before the beginning of anything: a sandbox that is called `abc` is always
//! found as `abc`.
//!
//! # Decisions
//! - What is to be removed is found by no fewer than [`SHORTEST`] characters of an id or a name. One or two often are
//!   the beginning of one by chance: of a slip, or of a sandbox that was to be removed and is gone already.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use super::error::StateError;
use super::found::Found;
use super::id::{SandboxId, is_prefix};
use super::store::{Place, Store};
use crate::spec::order;
use crate::spec::{HostPath, Text, is_valid_name};

/// Fewest characters of an id or a name by which a sandbox is found to be removed.
const SHORTEST: usize = 3;

/// Which sandbox a command is about.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one with this name or id, or with one that begins so.
    Named(&'a Text),
    /// The newest one that was started from this directory.
    NewestFrom(&'a HostPath),
}

/// Every store that may hold sandboxes of the caller's.
#[derive(Debug, Default)]
pub struct Stores(Vec<Store>);

impl Stores {
    /// Opens those of `paths` that exist. One that is not the caller's alone holds nothing of the
    /// caller's: it is passed over when another is there, and an error when it is the only one named.
    pub fn open(paths: &[HostPath]) -> Result<Self, StateError> {
        let mut stores = Vec::new();
        for path in paths {
            match Store::open_existing(path) {
                Ok(store) => stores.extend(store),
                Err(error) if paths.len() == 1 => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Self(stores))
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Store> {
        self.0.iter()
    }

    /// All sandboxes, each once, by their ids.
    pub fn list(&self) -> Result<Vec<Found>, StateError> {
        let mut found = Vec::new();
        for store in &self.0 {
            found.extend(store.list()?);
        }
        order::sort_by_key(&mut found, Found::id);
        found.dedup_by_key(|found| found.id());
        Ok(found)
    }

    /// The name of every sandbox that has one. A record has the one that it had when it was written.
    pub fn names(&self) -> Result<BTreeMap<SandboxId, String>, StateError> {
        let mut names = BTreeMap::new();
        for store in &self.0 {
            names.extend(store.names_by_id()?);
        }
        Ok(names)
    }

    /// The sandbox that a command is about.
    pub fn choose(&self, which: Which<'_>) -> Result<Found, StateError> {
        match which {
            Which::Named(name) => self.find(name.as_bytes()),
            Which::NewestFrom(directory) => self.newest_from(directory),
        }
    }

    /// The same for what only one that runs can answer: of those from a directory, the newest that does.
    pub fn choose_running(&self, which: Which<'_>) -> Result<Found, StateError> {
        match which {
            Which::Named(name) => self.find(name.as_bytes()),
            Which::NewestFrom(directory) => {
                self.newest_of(directory, |found| found.is_running().unwrap_or_default())
            }
        }
    }

    /// The sandbox with this name; an id is none.
    pub fn named(&self, name: &[u8]) -> Result<Option<Found>, StateError> {
        for store in &self.0 {
            let failed = |source| StateError::List { store: store.path().clone(), source };
            if let Some(id) = store.by_name(name).map_err(failed)? {
                return Ok(Some(Found::new(store, id).called(String::from_utf8_lossy(name))));
            }
        }
        Ok(None)
    }

    /// The sandbox with this id, all of it.
    fn with_id(&self, id: SandboxId) -> Result<Option<Found>, StateError> {
        for store in &self.0 {
            let failed = |source| StateError::List { store: store.path().clone(), source };
            if store.exists(id).map_err(failed)? {
                return Ok(Some(Found::new(store, id)));
            }
        }
        Ok(None)
    }

    /// The one sandbox that `wanted` is: its id, its name, or the beginning of one of them.
    pub fn find(&self, wanted: &[u8]) -> Result<Found, StateError> {
        let text = || Text::from(OsStr::from_bytes(wanted).to_owned());
        if let Ok(id) = SandboxId::parse(wanted)
            && let Some(found) = self.with_id(id)?
        {
            return Ok(found);
        }
        if let Some(found) = self.named(wanted)? {
            return Ok(found);
        }
        // Neither the beginning of an id nor of a name.
        let mut found = if std::str::from_utf8(wanted).is_ok_and(is_valid_name) {
            self.that_begin(wanted)?
        } else {
            Vec::new()
        };
        order::sort_by_key(&mut found, Found::id);
        found.dedup_by_key(|found| found.id());
        match found.len() {
            0 => Err(StateError::NotFound(text())),
            1 => Ok(found.remove(0)),
            _ => Err(StateError::Ambiguous {
                prefix: text(),
                candidates: found.iter().map(Found::id).collect(),
            }),
        }
    }

    /// Those whose id or name begins so.
    fn that_begin(&self, wanted: &[u8]) -> Result<Vec<Found>, StateError> {
        let mut found = Vec::new();
        for store in &self.0 {
            let named = store.names_by_id()?.into_iter();
            let named = named.filter(|(_, name)| name.as_bytes().starts_with(wanted));
            for (id, name) in named {
                let failed = |source| StateError::List { store: store.path().clone(), source };
                if store.exists(id).map_err(failed)? {
                    found.push(Found::new(store, id).called(name));
                }
            }
            if is_prefix(wanted) {
                let mut others = store.list()?;
                others.retain(|found| found.id().as_str().as_bytes().starts_with(wanted));
                found.append(&mut others);
            }
        }
        Ok(found)
    }

    /// As [`Stores::find`], of what is to lose something.
    ///
    /// Errors: [`StateError::TooShort`] beside those.
    pub fn find_to_remove(&self, wanted: &[u8]) -> Result<Found, StateError> {
        let found = self.find(wanted)?;
        let is_whole = found.wanted_name().is_some_and(|name| name.as_bytes() == wanted);
        if wanted.len() < SHORTEST && !is_whole {
            let prefix = Text::from(OsStr::from_bytes(wanted).to_owned());
            return Err(StateError::TooShort { prefix, shortest: SHORTEST });
        }
        Ok(found)
    }

    /// The newest sandbox that was started from `directory`. What cannot be read is passed over.
    pub fn newest_from(&self, directory: &HostPath) -> Result<Found, StateError> {
        self.newest_of(directory, |_| false)
    }

    /// The newest of those that come first; where there are none, the newest.
    fn newest_of(
        &self,
        directory: &HostPath,
        comes_first: impl Fn(&Found) -> bool,
    ) -> Result<Found, StateError> {
        let started_here = |found: Found| {
            let summary = found.summary().ok()??;
            (summary.from.as_ref() == Some(directory))
                .then_some((summary.continued.unwrap_or(summary.created), found))
        };
        self.list()?
            .into_iter()
            .filter_map(started_here)
            .max_by_key(|(began, found)| (comes_first(found), *began, found.id()))
            .map(|(_, found)| found)
            .ok_or_else(|| StateError::NoneFrom(directory.clone()))
    }
}

impl Store {
    /// All sandboxes in this store, in no order, each once.
    pub fn list(&self) -> Result<Vec<Found>, StateError> {
        // One that is moved in between is seen on both shelves rather than on none.
        let mut ids = self.ids(Place::Live)?;
        ids.extend(self.ids(Place::Kept)?);
        order::sort(&mut ids);
        ids.dedup();
        Ok(ids.into_iter().map(|id| Found::new(self, id)).collect())
    }

    /// The name of every sandbox that has one.
    pub fn names_by_id(&self) -> Result<BTreeMap<SandboxId, String>, StateError> {
        let failed = |source| StateError::List { store: self.path().clone(), source };
        let mut names = BTreeMap::new();
        for name in self.names().map_err(failed)? {
            if let Some(id) = self.named(&name).map_err(failed)? {
                names.insert(id, name);
            }
        }
        Ok(names)
    }

    fn by_name(&self, wanted: &[u8]) -> Result<Option<SandboxId>, Errno> {
        let Ok(name) = std::str::from_utf8(wanted) else { return Ok(None) };
        if !is_valid_name(name) {
            return Ok(None);
        }
        let Some(id) = self.named(name)? else { return Ok(None) };
        Ok(self.exists(id)?.then_some(id))
    }
}
