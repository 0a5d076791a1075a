//! Networks that are there before the sandbox: another one's, or one of several.

use serde::{Deserialize, Serialize};

use crate::plan::step::Link;
use crate::spec::net::{Egress, NetworkName};
use crate::spec::{Ids, Network, Text};

/// The running sandbox whose network is to be shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its id.
    pub sandbox: Text,
    /// Its ids: who joins lives in the same user namespace.
    pub ids: Ids,
    /// The network that it made itself; of one that shares another's, that one's.
    pub network: Network,
    /// Its rules, for the names that it knows.
    #[serde(default)]
    pub egress: Egress,
    /// Whether a payload in that user namespace keeps a capability.
    pub capable: bool,
    /// Whether user namespaces can be made in that one.
    pub nests: bool,
}

/// A place on a network that several sandboxes share, as its holder gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The network.
    pub network: NetworkName,
    /// The member's addresses, and those of the bridge and of the name server.
    pub link: Link,
    /// Whether nothing leaves the network, and nobody comes in.
    #[serde(default)]
    pub internal: bool,
    /// Whether its holder has the caller's subordinate ids.
    #[serde(default)]
    pub subids: bool,
}
