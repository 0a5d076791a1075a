//! The networks that sandboxes share, as they were made: a directory each in the store.
//!
//! ```text
//! networks/NAME/       locked while a holder is started, ends, or the network is removed
//!   network.json       its definition
//!   socket             of its holder, while there is one
//! ```
//!
//! # Decisions
//! - A directory without a definition is no network: what was interrupted while it was made, or removed.
//! - What is read is checked as if somebody else had written it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::directory;
use super::store::Store;
use super::timestamp::Timestamp;
use crate::spec::net::segment::SegmentError;
use crate::spec::net::{NetworkName, Segment};
use crate::spec::order;

const NETWORKS: &str = "networks";
const DEFINITION: &str = "network.json";
const FRESH: &str = "network.new";
const SOCKET: &str = "socket";

/// Longest definition that is read.
const LONGEST: usize = 1 << 20;

/// What stands in a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecord {
    /// [`NetworkRecord::VERSION`].
    pub version: u32,
    /// When it was made.
    pub created: Timestamp,
    /// What it is like.
    pub segment: Segment,
    /// What was written on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl NetworkRecord {
    /// The form that this bryo writes.
    pub const VERSION: u32 = 1;
}

/// Why something about a network could not be done.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is none of this name.
    #[error("cannot find a network `{0}`")]
    Missing(NetworkName),
    /// There is one.
    #[error("cannot make the network `{0}`: there is one")]
    Exists(NetworkName),
    /// Its directory or a file in it.
    #[error("cannot use the directory of the network `{name}`")]
    Directory {
        /// Which.
        name: NetworkName,
        /// Why.
        #[source]
        source: Errno,
    },
    /// All of them.
    #[error("cannot list the networks")]
    List(#[source] Errno),
    /// Its definition is none.
    #[error("cannot read the definition of the network `{name}`")]
    Parse {
        /// Which.
        name: NetworkName,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Its definition is another's, or of a newer bryo.
    #[error(
        "cannot take the definition of the network `{0}`: it is of another one, or newer than this bryo"
    )]
    Foreign(NetworkName),
    /// Its definition says what cannot be.
    #[error("cannot take the definition of the network `{name}`")]
    Invalid {
        /// Which.
        name: NetworkName,
        /// Why.
        #[source]
        source: SegmentError,
    },
}

impl NetworkError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing(name) => {
                format!("`bryo network create {name}` makes it; `bryo network ls` lists all")
            }
            Self::Exists(name) => format!("`bryo network rm {name}` removes it"),
            Self::Parse { name, .. } | Self::Foreign(name) | Self::Invalid { name, .. } => {
                format!("`bryo network rm {name}`, and make it anew")
            }
            Self::Directory { .. } | Self::List(_) => return None,
        })
    }
}

/// The directory of a network; it is locked as long as [`LockedNetwork`] lives.
#[derive(Debug)]
pub struct LockedNetwork {
    name: NetworkName,
    directory: OwnedFd,
}

impl Store {
    /// The names of all networks, sorted. What may not be looked at is none: nobody could have started a holder in it.
    pub fn networks(&self) -> Result<Vec<NetworkName>, NetworkError> {
        let Some(all) =
            directory::open_if_there(&self.0.root, NETWORKS).map_err(NetworkError::List)?
        else {
            return Ok(Vec::new());
        };
        let names = directory::names_in(&all).map_err(NetworkError::List)?;
        let mut found = Vec::new();
        for name in names.iter().filter_map(|name| NetworkName::new(name.to_str().ok()?).ok()) {
            let one = format!("{name}/{DEFINITION}");
            if matches!(directory::file_type(&all, &one), Ok(Some(_))) {
                found.push(name);
            }
        }
        order::sort(&mut found);
        Ok(found)
    }

    /// Locks a network, if there is one of this name; waits for whoever has it.
    pub fn lock_network(&self, name: &NetworkName) -> Result<Option<LockedNetwork>, NetworkError> {
        let failed = |source| NetworkError::Directory { name: name.clone(), source };
        let all = directory::open_if_there(&self.0.root, NETWORKS).map_err(failed)?;
        let Some(all) = all else { return Ok(None) };
        loop {
            let directory = directory::open_if_there(&all, name.as_str()).map_err(failed)?;
            let Some(directory) = directory else { return Ok(None) };
            let locked = LockedNetwork::lock(name, directory)?;
            if locked.is_there().map_err(failed)? {
                let defined =
                    directory::file_type(&locked.directory, DEFINITION).map_err(failed)?;
                return Ok(defined.map(|_| locked));
            }
        }
    }

    /// The directory of a network, whoever has it locked.
    pub fn look_at_network(&self, name: &NetworkName) -> Result<Option<OwnedFd>, NetworkError> {
        let failed = |source| NetworkError::Directory { name: name.clone(), source };
        let all = directory::open_if_there(&self.0.root, NETWORKS).map_err(failed)?;
        let Some(all) = all else { return Ok(None) };
        directory::open_if_there(all, name.as_str()).map_err(failed)
    }

    /// What a network is like, whoever has it locked; none where there is none.
    pub fn read_network(&self, name: &NetworkName) -> Result<Option<NetworkRecord>, NetworkError> {
        let Some(directory) = self.look_at_network(name)? else { return Ok(None) };
        match read(name, &directory) {
            // It is being made, or removed.
            Err(NetworkError::Directory { source: Errno::NOENT, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Waits for who makes a network or starts a holder, and lets nobody else until the descriptor is closed. Whoever
    /// has the turn waits for no network's lock.
    pub fn take_turn(&self) -> Result<OwnedFd, NetworkError> {
        let all = directory::ensure(&self.0.root, NETWORKS).map_err(NetworkError::List)?;
        rustix::io::retry_on_intr(|| flock(&all, FlockOperation::LockExclusive))
            .map_err(NetworkError::List)?;
        Ok(all)
    }

    /// Removes what is left of networks that were being made or removed.
    pub fn sweep_networks(&self) -> Result<(), NetworkError> {
        let all = directory::open_if_there(&self.0.root, NETWORKS).map_err(NetworkError::List)?;
        let Some(all) = all else { return Ok(()) };
        let names = directory::names_in(&all).map_err(NetworkError::List)?;
        for name in names.iter().filter_map(|name| NetworkName::new(name.to_str().ok()?).ok()) {
            let Ok(Some(directory)) = directory::open_if_there(&all, name.as_str()) else {
                continue;
            };
            // Who is making it has the lock.
            if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let network = LockedNetwork { name: name.clone(), directory };
            let defined = directory::file_type(&network.directory, DEFINITION);
            if defined == Ok(None) && network.is_there() == Ok(true) {
                // What else is in it is nobody's of ours, and stays.
                self.remove_network(&network).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Makes a network, and locks it. Only for who has the turn.
    pub fn make_network(
        &self,
        segment: &Segment,
        labels: &BTreeMap<String, String>,
    ) -> Result<LockedNetwork, NetworkError> {
        let name = &segment.name;
        let failed = |source| NetworkError::Directory { name: name.clone(), source };
        let all = directory::ensure(&self.0.root, NETWORKS).map_err(failed)?;
        let locked = loop {
            let directory = directory::ensure(&all, name.as_str()).map_err(failed)?;
            let locked = LockedNetwork::lock(name, directory)?;
            if locked.is_there().map_err(failed)? {
                break locked;
            }
        };
        if directory::file_type(&locked.directory, DEFINITION).map_err(failed)?.is_some() {
            return Err(NetworkError::Exists(name.clone()));
        }
        let record = NetworkRecord {
            version: NetworkRecord::VERSION,
            created: Timestamp::now(),
            segment: segment.clone(),
            labels: labels.clone(),
        };
        locked.write(&record).map_err(failed)?;
        Ok(locked)
    }

    /// Removes a network that nobody holds.
    pub fn remove_network(&self, network: &LockedNetwork) -> Result<(), NetworkError> {
        let LockedNetwork { name, directory } = network;
        let failed = |source| NetworkError::Directory { name: name.clone(), source };
        for file in [DEFINITION, FRESH, SOCKET] {
            match unlinkat(directory, file, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        let all = directory::open(&self.0.root, NETWORKS).map_err(failed)?;
        unlinkat(all, name.as_str(), AtFlags::REMOVEDIR).map_err(failed)
    }
}

impl LockedNetwork {
    fn lock(name: &NetworkName, directory: OwnedFd) -> Result<Self, NetworkError> {
        let failed = |source| NetworkError::Directory { name: name.clone(), source };
        rustix::io::retry_on_intr(|| flock(&directory, FlockOperation::LockExclusive))
            .map_err(failed)?;
        Ok(Self { name: name.clone(), directory })
    }

    /// Whether it was not removed before it was locked.
    fn is_there(&self) -> Result<bool, Errno> {
        Ok(fstat(&self.directory)?.st_nlink > 0)
    }

    /// Its name.
    pub fn name(&self) -> &NetworkName {
        &self.name
    }

    /// What it is like.
    pub fn record(&self) -> Result<NetworkRecord, NetworkError> {
        read(&self.name, &self.directory)
    }

    /// Whole or not at all.
    fn write(&self, record: &NetworkRecord) -> Result<(), Errno> {
        let text = serde_json::to_vec(record).map_err(|_| Errno::INVAL)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, FRESH, flags, Mode::RUSR | Mode::WUSR)?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        renameat(&self.directory, FRESH, &self.directory, DEFINITION)
    }
}

impl AsFd for LockedNetwork {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The definition in a network's directory.
fn read(name: &NetworkName, directory: &OwnedFd) -> Result<NetworkRecord, NetworkError> {
    let text = read_text(directory)
        .map_err(|source| NetworkError::Directory { name: name.clone(), source })?;
    let record: NetworkRecord = serde_json::from_slice(&text)
        .map_err(|source| NetworkError::Parse { name: name.clone(), source })?;
    if record.version != NetworkRecord::VERSION || record.segment.name != *name {
        return Err(NetworkError::Foreign(name.clone()));
    }
    let verified = record.segment.verify();
    verified.map_err(|source| NetworkError::Invalid { name: name.clone(), source })?;
    Ok(record)
}

fn read_text(directory: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, DEFINITION, flags, Mode::empty())?;
    let mut text = Vec::new();
    let mut room = vec![0; 1 << 14];
    loop {
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut room))?;
        text.extend_from_slice(room.get(..length).unwrap_or_default());
        if length == 0 {
            return Ok(text);
        }
        if text.len() > LONGEST {
            return Err(Errno::FBIG);
        }
    }
}
