//! What the payload can talk to.

use serde::{Deserialize, Serialize};

/// The network of the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// An empty network namespace with loopback up.
    #[default]
    None,
    /// The host's network namespace. Abstract unix sockets stay closed, by Landlock's scope or,
    /// where the kernel has none, by refusing unix sockets.
    Host,
}

impl Network {
    /// Whether bytes can leave the machine.
    pub fn reaches_out(self) -> bool {
        self == Self::Host
    }
}
