//! Processes of a sandbox that the kernel killed for want of memory.

use serde::{Deserialize, Serialize};

/// Processes that the kernel killed for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryKills {
    /// How many.
    pub count: u64,
    /// The sandbox had reached its own limit; otherwise the machine's memory ran out, or that of a group above.
    pub own_limit: bool,
}
