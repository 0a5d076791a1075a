//! Why something about a network of several sandboxes could not be done.

use super::connect::Elsewhere;
use crate::host::HostError;
use crate::launch::holder::HolderError;
use crate::plan::PlanError;
use crate::report::Explain;
use crate::spec::Text;
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
    /// There is no such network, and nothing to be done to one.
    #[error("cannot find a network `{0}`")]
    NotThere(NetworkName),
    /// It is not on it.
    #[error("cannot disconnect sandbox `{sandbox}` from the network `{network}`: it is not on it")]
    NotOn {
        /// Which.
        sandbox: Text,
        /// From which.
        network: NetworkName,
    },
    /// Sandboxes are on it.
    #[error("cannot remove the network `{name}`: {members} {} on it", if *members == 1 { "sandbox is" } else { "sandboxes are" })]
    Busy {
        /// Which.
        name: NetworkName,
        /// How many.
        members: usize,
    },
    /// The sandbox to be connected.
    #[error(transparent)]
    Ops(#[from] Box<crate::ops::OpsError>),
    /// So too.
    #[error("cannot {verb} sandbox `{sandbox}`: it is not running")]
    NotRunning {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        sandbox: Text,
    },
    /// It has no network that can be added to.
    #[error("cannot connect sandbox `{sandbox}` to the network `{network}`: {}", why.text())]
    Elsewhere {
        /// Which.
        sandbox: Text,
        /// To which.
        network: NetworkName,
        /// Why not.
        why: Elsewhere,
    },
    /// It is on it.
    #[error("cannot connect sandbox `{sandbox}` to the network `{network}`: it is on it")]
    Already {
        /// Which.
        sandbox: Text,
        /// To which.
        network: NetworkName,
    },
    /// It is on another with addresses of this one.
    #[error(
        "cannot connect sandbox `{sandbox}` to the network `{network}`: it is on `{other}`, which has the same addresses"
    )]
    Theirs {
        /// Which.
        sandbox: Text,
        /// To which.
        network: NetworkName,
        /// Where it is.
        other: NetworkName,
    },
    /// The way into it.
    #[error("cannot find a program of sandbox `{0}`, which is to be connected")]
    NoProgram(Text),
    /// What is inside.
    #[error("cannot give sandbox `{sandbox}` another interface")]
    Plug {
        /// Which.
        sandbox: Text,
        /// Why.
        #[source]
        source: Errno,
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

impl NetworksError {
    /// Whether there is nothing of what was to be taken away.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotThere(_) | Self::NotOn { .. })
    }
}

impl Elsewhere {
    fn text(self) -> String {
        match self {
            Self::Shares => "it shares the network of another sandbox".to_owned(),
            Self::Own(mode) => format!(
                "it was started with `--network {mode}`, and the kernel lays a cable only into sandboxes that were \
                 started on such a network"
            ),
        }
    }
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
            Self::Ops(error) => error.hint(),
            Self::NotRunning { .. } => Some("`bryo ps` lists those that run".to_owned()),
            Self::Elsewhere { network, why: Elsewhere::Own(_), .. } => Some(format!(
                "start it on one: `bryo run --network bridge:{network}`; then others can be added"
            )),
            Self::Elsewhere { why: Elsewhere::Shares, .. } => {
                Some("connect the sandbox whose network it is".to_owned())
            }
            Self::Theirs { .. } => {
                Some("make one with others: `bryo network create --subnet RANGE`".to_owned())
            }
            Self::NotThere(_) => Some("`bryo network ls` lists all".to_owned()),
            Self::NotOn { network, .. } => {
                Some(format!("`bryo network inspect {network}` lists those that are"))
            }
            Self::Segment { source, .. } => source.hint().map(str::to_owned),
            Self::Start { .. } | Self::Already { .. } | Self::NoProgram(_) | Self::Plug { .. } => {
                None
            }
        }
    }
}
