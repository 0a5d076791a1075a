//! The networks that `bryo network connect` added to a sandbox, kept for its next run.
//!
//! # Theory of operation
//! `live/ID/networks`, one JSON list, which the commands that connect and disconnect write, one at a time. It stays with
//! the sandbox. Only one that stays has it: the directory of another may become the next one's.

use std::fs::File;
use std::io::Read as _;

use rustix::fs::{Mode, OFlags, openat, renameat};
use serde::{Deserialize, Serialize};

use super::error::StateError;
use super::found::Found;
use super::sandbox::write_all;
use crate::spec::net::{NetworkName, Seat};

const FILE: &str = "networks";
const NEW: &str = "networks.new";
/// The most that is read of it.
const LONGEST: u64 = 1 << 20;

/// A network, besides that of its spec, and the place there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinedNetwork {
    /// Which.
    pub network: NetworkName,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Seat::is_plain")]
    pub seat: Seat,
}

impl Found {
    /// Those it is to be connected with; none where that cannot be read.
    pub fn joined(&self) -> Vec<JoinedNetwork> {
        self.read_joined().unwrap_or_default()
    }

    fn read_joined(&self) -> Option<Vec<JoinedNetwork>> {
        let (directory, _) = self.open().ok()??;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(directory, FILE, flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(file).take(LONGEST).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes them beside the last ones and over them. Nothing where the sandbox is gone.
    pub fn write_joined(&self, joined: &[JoinedNetwork]) -> Result<(), StateError> {
        let failed = |source| StateError::WriteRecord { id: self.id(), source };
        let text = serde_json::to_vec(joined)
            .map_err(|source| StateError::EncodeRecord { id: self.id(), source })?;
        let Some((directory, _)) = self.open().map_err(failed)? else { return Ok(()) };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, NEW, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        write_all(&file, &text)
            .and_then(|()| renameat(&directory, NEW, &directory, FILE))
            .map_err(failed)
    }
}
