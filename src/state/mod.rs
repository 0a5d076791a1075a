//! The store: records, layers and locks of sandboxes, and the sweeping of what a crash left.
//!
//! # Theory of operation
//! `store` has the layout and its reasons, `sandbox` the life of one sandbox's directory as its
//! launcher sees it, `found` and `find` what other commands do with it:
//! ```text
//! Store::open → create → SandboxDirectory    made and locked
//!    make_layer …                            before the clone
//!    begin(record)                           while pid 1 mounts, before the payload starts
//!    … Store::sweep                          while the tree is built
//!    remove_if_untouched                     gone (a spare for the next run), or
//!    keep(record) | remove                   after `changes` has looked at the layers
//! ```
//!
//! # Not here
//! What a layer's content means (`changes`), where the store is (`host` and `plan`).

mod again;
mod bin;
mod copying;
mod directory;
pub mod error;
pub mod events;
mod farewell;
mod find;
mod found;
pub mod health;
mod held;
pub mod id;
mod joined;
pub mod launcher;
mod layer;
mod life;
pub mod log;
mod mask;
mod memory;
pub mod networks;
pub mod record;
mod remove;
mod rewrite;
mod sandbox;
mod spare;
mod store;
mod summary;
mod sweep;
pub mod timestamp;
mod usage;
mod view;
pub mod worker;

pub use bin::Bin;
pub use copying::Copying;
pub use error::StateError;
pub use farewell::Farewell;
pub use find::{Stores, Which};
pub use found::Found;
pub use health::Health;
pub use held::{Held, HeldState};
pub use id::SandboxId;
pub use joined::JoinedNetwork;
pub use launcher::Launcher;
pub use life::Line;
pub use networks::{LockedNetwork, NetworkError, NetworkRecord};
pub use record::{Beginning, EarlierRun, Enforced, Exit, Mark, Outcome, Record};
pub use remove::make_accessible;
pub use sandbox::{LayerDirectories, SandboxDirectory};
pub use store::{Store, make_own};
pub use summary::Summary;
pub use sweep::{Effort, HoldsChanges, Swept};
pub use timestamp::Timestamp;
pub use usage::{Part, Usage};
