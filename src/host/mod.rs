//! Looks at this machine and fills in [`Facts`](crate::plan::Facts).
//!
//! # Theory of operation
//! One function per fact, none of which changes anything; a default run asks only for those its spec
//! needs, in a fraction of a millisecond. Tables of the kernel's and files of the system's are parsed
//! by pure, total functions and never read beyond a bound. What only trying would tell is assumed from
//! something cheap; what doing refutes is remembered (`refuted`), in a file that is all that a run
//! writes from here. `doctor` tries (`trial`), in children that end with what they tried.
//!
//! # Not here
//! What a fact means for a plan (`plan`). Findings and remedies (`ops::doctor`).

pub mod account;
mod answer;
mod bounded;
mod caller;
mod cgroup;
mod disk;
mod entries;
mod error;
pub mod fuse;
pub mod kernel;
mod listing;
pub mod logout;
mod lookup;
pub mod missing;
pub mod mountinfo;
pub mod output;
mod passwd;
mod place;
mod probe;
pub mod processes;
pub mod refuted;
mod resolve;
pub mod routes;
mod sockets;
mod split;
mod status;
pub mod stdio;
mod store;
pub mod subid;
pub mod tool;
pub mod trial;
mod trusted;
pub mod twins;
pub mod userns;
mod warned;
mod wildcard;
pub mod written;

pub use answer::FactsError;
pub use cgroup::Own;
pub use error::HostError;
pub use place::LookInto;
pub use probe::Probe;
pub use status::{ProcessStatus, is_in_sandbox};
