//! `changes::apply` on real layers: written through overlays that `unshare` mounts in a user namespace.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

mod bed;
mod kill;
mod oracle;
mod trees;
