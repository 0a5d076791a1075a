//! One attempt at a run: store, launch, supervision, record.

use std::os::fd::OwnedFd;

use super::refute::refuted;
use super::{Finished, RunError};
use crate::confine::seccomp;
use crate::launch::{self, Host, LaunchError, LayerDirectories, Running};
use crate::plan::facts::{Facts, Refuted};
use crate::plan::step::{Action, ConfineStep, FilterProgram, Plan, ProcessStep, Stage, StoreStep, WatchStep};
use crate::spec::command::Keep;
use crate::spec::{HostPath, Spec};
use crate::state::{Beginning, Enforced, Exit, Launcher, Outcome, Record, SandboxDirectory, StateError, Store, Timestamp};
use crate::supervise::{self, Ended};
use crate::sys::seccomp::Instruction;

/// Why an attempt failed.
pub(super) enum Failed {
    /// On an assumption: a plan without it may work.
    Refuted(Refuted, RunError),
    /// For good.
    Finally(RunError),
}

impl Failed {
    pub(super) fn into_error(self) -> RunError {
        match self {
            Self::Refuted(_, error) | Self::Finally(error) => error,
        }
    }
}

impl<E: Into<RunError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Finally(error.into())
    }
}
