//! Why there is no place on a network.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::process::Pid;

use super::ask::stopped;
use super::wire::Answer;
use crate::spec::net::{NetworkName, NoPlace};
use crate::sys::errno::Errno;

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// The socket.
    #[error("cannot speak with the holder of the network `{network}`")]
    Speak {
        /// Which network.
        network: NetworkName,
        /// Why.
        #[source]
        source: Errno,
    },
    /// It does not go on.
    #[error("cannot speak with the holder of the network `{network}`: it is stopped")]
    Stopped {
        /// Which network.
        network: NetworkName,
        /// The holder's process.
        pid: Pid,
    },
    /// It could not make the network, or the cable.
    #[error("cannot {what} for the network `{network}`")]
    Failed {
        /// Which network.
        network: NetworkName,
        /// What it was to do.
        what: String,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// No address is left.
    #[error("cannot join the network `{0}`: every address is taken")]
    Full(NetworkName),
    /// None is left of those that are given out.
    #[error("cannot join the network `{0}`: every address of its `--ip-range` is taken")]
    Spent(NetworkName),
    /// Nobody on it has such an address.
    #[error("cannot have `{at}` on the network `{network}`: it is no address of a member of it")]
    Outside {
        /// Which network.
        network: NetworkName,
        /// The address.
        at: IpAddr,
    },
    /// Somebody has it.
    #[error("cannot have `{at}` on the network `{network}`: it is taken")]
    Used {
        /// Which network.
        network: NetworkName,
        /// The address.
        at: IpAddr,
    },
    /// A kernel without it.
    #[error("cannot have `{at}` on the network `{network}`: this machine has no IPv6")]
    NoIpv6 {
        /// Which network.
        network: NetworkName,
        /// The address.
        at: Ipv6Addr,
    },
    /// Somebody took it from the network meanwhile.
    #[error("cannot stay on the network `{0}`: it was disconnected meanwhile")]
    Dismissed(NetworkName),
    /// The kernel lays no cable between them.
    #[error(
        "cannot connect a sandbox to the network `{0}`: each is in a user namespace of its own"
    )]
    Apart(NetworkName),
    /// It is on another, or on none.
    #[error("cannot disconnect it from the network `{0}`: it is not on it")]
    Absent(NetworkName),
    /// Somebody has this name.
    #[error("cannot join the network `{network}`: a sandbox on it is called `{name}`")]
    Taken {
        /// Which network.
        network: NetworkName,
        /// The name.
        name: String,
    },
    /// It was started by a bryo that says other things.
    #[error("cannot join the network `{0}`: another version of bryo holds it")]
    Other(NetworkName),
}

impl HolderError {
    /// Why nothing is heard by a connection.
    pub(super) fn silent(network: &NetworkName, connection: &OwnedFd, source: Errno) -> Self {
        let network = network.clone();
        match stopped(connection).filter(|_| source == Errno::ETIMEDOUT) {
            Some(pid) => Self::Stopped { network, pid },
            None => Self::Speak { network, source },
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Failed {
                source: Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT,
                ..
            } => {
                "`sudo modprobe -a bridge veth nf_tables`, or take `--network user`".to_owned()
            }
            Self::Full(_) => {
                "make one with more addresses: `bryo network create --subnet 10.99.0.0/16 NAME`"
                    .to_owned()
            }
            Self::Spent(_) => "`--ip ADDRESS` takes one of its others".to_owned(),
            Self::Taken { .. } => "give it another name".to_owned(),
            Self::Outside { network, .. } | Self::Used { network, .. } => {
                format!("`bryo network inspect {network}` has its addresses, and who has which")
            }
            Self::Other(_) => {
                "end the sandboxes on it first: `bryo network inspect` lists them".to_owned()
            }
            Self::Apart(_) => "it was on no network for a while, or one of both was started inside `unshare` or the \
                               like: start it again"
                .to_owned(),
            Self::Stopped { pid, .. } => format!(
                "`kill -CONT {0}` lets it go on; `kill -KILL {0}` ends it, and takes its network from those who are on it",
                pid.as_raw_nonzero()
            ),
            Self::Speak { source: Errno::ETIMEDOUT, .. } => {
                "this machine may have too much to do: try again later; it is a process called `bryo-network`".to_owned()
            }
            Self::Speak { .. }
            | Self::Failed { .. }
            | Self::NoIpv6 { .. }
            | Self::Dismissed(_)
            | Self::Absent(_) => {
                return None;
            }
        })
    }
}

/// Why there is no such place on a network.
pub fn no_place(network: &NetworkName, why: NoPlace) -> HolderError {
    let network = network.clone();
    match why {
        NoPlace::Full => HolderError::Full(network),
        NoPlace::Spent => HolderError::Spent(network),
        NoPlace::Outside(at) => HolderError::Outside { network, at },
        NoPlace::Taken(at) => HolderError::Used { network, at },
        NoPlace::NoIpv6(at) => HolderError::NoIpv6 { network, at },
    }
}

/// Why an answer is none that was asked for.
pub(super) fn refusal(network: &NetworkName, answer: Answer) -> HolderError {
    let network = network.clone();
    match answer {
        Answer::NoPlace(why) => no_place(&network, why),
        Answer::Absent => HolderError::Absent(network),
        Answer::Dismissed => HolderError::Dismissed(network),
        Answer::Taken(name) => HolderError::Taken { network, name },
        Answer::Failed(failure) => HolderError::Failed {
            network,
            what: failure.what,
            source: Errno::from_raw(failure.errno),
        },
        Answer::Unknown => HolderError::Other(network),
        Answer::Lease(_)
        | Answer::Space { .. }
        | Answer::Done
        | Answer::State { .. }
        | Answer::Members(_)
        | Answer::Look
        | Answer::Flow(_)
        | Answer::Cut => HolderError::Speak { network, source: Errno::EPROTO },
    }
}
