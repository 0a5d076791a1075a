//! Layers that memory held while their run lasted (`--disk`): what the record says of them, and how they come
//! into the store.
//!
//! # Theory of operation
//! ```text
//! coming/N      layer N while it is copied
//! arrived/N     all of them are copied: this rename is the moment from which nothing can go lost
//! upper-N       where they are put then, one by one; what was there before goes to arrived/before-N
//! ```
//! Who is interrupted leaves either `coming`, which is removed, or `arrived`, with which the next sweep goes on.
//! What memory held when its run was killed is gone, and the record of that run says so.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, mkdirat, renameat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::directory;
use super::error::StateError;
use super::layer::names_there;
use super::remove::remove_named;
use super::sandbox::SandboxDirectory;
use crate::plan::step::LayerNumber;
use crate::spec::Text;

const COMING: &str = "coming";
const ARRIVED: &str = "arrived";

/// What was written to layers that memory held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Bytes that it was bounded by.
    pub size: u64,
    /// Where it is.
    pub state: HeldState,
    /// Whether nothing was left of it when the run ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Files and attributes that the store's file system cannot hold, and that are not in the layers.
    #[serde(default)]
    pub left_out: u64,
    /// The first of them, relative to its layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_left_out: Option<Text>,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldState {
    /// In memory: the run goes on.
    Memory,
    /// In the store's layers.
    Kept,
    /// Nowhere: its run was killed, or nothing was to be kept.
    Gone,
}

impl Held {
    /// While the run goes on.
    pub fn in_memory(size: u64) -> Self {
        Self { size, state: HeldState::Memory, full: false, left_out: 0, first_left_out: None }
    }
}

impl SandboxDirectory {
    /// A directory for copies of the layers, which are called by their numbers there.
    pub fn receive(&self) -> Result<OwnedFd, StateError> {
        let failed = |source| StateError::Receive { id: self.id(), source };
        mkdirat(self.descriptor(), COMING, Mode::RWXU).map_err(failed)?;
        directory::open(self.descriptor(), COMING).map_err(failed)
    }

    /// The numbers of the layers that this run has.
    pub fn layer_numbers(&self) -> impl Iterator<Item = LayerNumber> {
        (0..u16::try_from(self.layers.len()).unwrap_or(u16::MAX)).map(LayerNumber)
    }

    /// All copies are there: makes them the layers. What was in the way is left for
    /// [`SandboxDirectory::clear_received`].
    pub fn settle(&self) -> Result<(), StateError> {
        let failed = |source| StateError::Receive { id: self.id(), source };
        renameat(self.descriptor(), COMING, self.descriptor(), ARRIVED).map_err(failed)?;
        self.put_arrived().map(drop).map_err(failed)
    }

    /// Puts what has arrived in its place; whether anything had.
    fn put_arrived(&self) -> Result<bool, Errno> {
        let Some(arrived) = directory::open_if_there(self.descriptor(), ARRIVED)? else {
            return Ok(false);
        };
        for name in directory::names_in(&arrived)? {
            let number = name.to_str().ok().and_then(|name| name.parse().ok());
            let Some(number) = number.map(LayerNumber) else { continue };
            let upper = self.upper_name(number)?;
            let before = format!("before-{}", number.0);
            match renameat(self.descriptor(), &upper, &arrived, before) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            renameat(&arrived, name.as_c_str(), self.descriptor(), &upper)?;
        }
        Ok(true)
    }

    /// That of the layer, also between the two renames above.
    fn upper_name(&self, number: LayerNumber) -> Result<String, Errno> {
        Ok(names_there(self.descriptor(), number)?.upper)
    }

    /// Removes what is left of receiving. Errors: [`StateError::ForeignIds`] where it is not the caller's to
    /// remove.
    pub fn clear_received(&self) -> Result<(), StateError> {
        for name in [COMING, ARRIVED] {
            let there = directory::file_type(self.descriptor(), name);
            if there.map_err(|source| StateError::Receive { id: self.id(), source })?.is_some() {
                let name = CString::new(name).unwrap_or_default();
                remove_named(self.descriptor().as_fd(), &name, self.id(), &mut u64::MAX.clone())?;
            }
        }
        Ok(())
    }

    /// After a kill: goes on with what had arrived. Where that is now.
    pub(super) fn recover_held(&self) -> Result<HeldState, StateError> {
        let put = self.put_arrived();
        let put = put.map_err(|source| StateError::Receive { id: self.id(), source })?;
        match self.clear_received() {
            // It goes with the sandbox.
            Ok(()) | Err(StateError::ForeignIds { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(if put { HeldState::Kept } else { HeldState::Gone })
    }
}
