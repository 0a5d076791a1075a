//! The directories that could hold layers, and where they are seen.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::spec::HostPath;

/// A directory that could hold layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreCandidate {
    /// The store's own directory (`…/bryo`), links resolved as far as it exists.
    pub path: HostPath,
    /// Which rule named it.
    pub source: StoreSource,
    /// Magic number of the file system it is or would be on.
    pub fs_magic: u64,
    /// Whether it can be used.
    pub state: StoreState,
}

/// Where a store's path came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreSource {
    /// `$BRYO_STORE`: asked for, so it or an error.
    Variable,
    /// `$XDG_DATA_HOME/bryo` or `~/.local/share/bryo`.
    DataHome,
    /// `/var/tmp/bryo-UID`.
    VarTmp,
}

/// Whether a store can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// It exists, is the caller's, and has mode 0700; or can be made.
    Usable,
    /// It cannot be made or written.
    Unwritable,
    /// It belongs to somebody else, is a link, or others may enter it: refused.
    Foreign,
}

impl Facts {
    /// Every place at which a store is seen: its own, and those at which a mount shows it once more.
    pub fn store_places(&self) -> impl Iterator<Item = Cow<'_, HostPath>> {
        let of = |store: &StoreCandidate| {
            let path = store.path.clone();
            self.twins.iter().filter_map(move |twin| twin.name_of(&path)).map(Cow::Owned)
        };
        let own = self.stores.iter().map(|store| Cow::Borrowed(&store.path));
        own.chain(self.stores.iter().flat_map(of))
    }
}
