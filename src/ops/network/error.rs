//! Why something about a network of several sandboxes could not be done.

use crate::host::HostError;
use crate::launch::holder::HolderError;
use crate::plan::PlanError;
use crate::report::Explain;
use crate::spec::net::segment::SegmentError;
use crate::spec::net::{NetworkName, Prefix};
use crate::state::{NetworkError, StateError};
use crate::sys::errno::Errno;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// Its definition.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Its holder.
    #[error(transparent)]
    Holder(#[from] HolderError),
    /// Looking at this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The store.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something that its way out needs.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The filters of its processes.
    #[error(transparent)]
    Seccomp(#[from] crate::confine::seccomp::SeccompError),
    /// No directory for it.
    #[error("cannot find a place for the definitions of networks")]
    NoStore,
    /// No range is free.
    #[error(
        "cannot find a range of addresses for the network `{0}` that this machine has no route to"
    )]
    NoRange(NetworkName),
    /// The range that was asked for is in use.
    #[error("cannot take `{subnet}`: this machine has a route to `{route}`")]
    Overlap {
        /// Asked for.
        subnet: Prefix,
        /// The machine's.
        route: Prefix,
    },
    /// It cannot be so.
    #[error("cannot make the network `{name}`")]
    Segment {
        /// Which.
        name: NetworkName,
        /// Why.
        #[source]
        source: SegmentError,
    },
    /// Sandboxes are on it.
    #[error("cannot remove the network `{name}`: {members} {} on it", if *members == 1 { "sandbox is" } else { "sandboxes are" })]
    Busy {
        /// Which.
        name: NetworkName,
        /// How many.
        members: usize,
    },
    /// Its holder does not start.
    #[error("cannot start the holder of the network `{name}`")]
    Start {
        /// Which.
        name: NetworkName,
        /// Why.
        #[source]
        source: Errno,
    },
}

impl Explain for NetworksError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Network(error) => error.hint(),
            Self::Holder(error) => error.hint(),
            Self::Host(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Seccomp(error) => error.hint().map(str::to_owned),
            Self::NoStore => {
                Some("let BRYO_STORE name a directory of yours on a local file system".to_owned())
            }
            Self::NoRange(_) | Self::Overlap { .. } => {
                Some("`--subnet` with a private range that is in use nowhere near".to_owned())
            }
            Self::Busy { name, .. } => Some(format!("`bryo network inspect {name}` lists them")),
            Self::Segment { .. } | Self::Start { .. } => None,
        }
    }
}
