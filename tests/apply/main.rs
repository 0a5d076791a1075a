//! `changes::apply` on real layers: written through overlays that `unshare` mounts in a user namespace.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and counts what it met; the setting for tests does not reach helpers"
)]

mod attacks;
mod bed;
mod conflicts;
mod exchange;
mod kill;
mod oracle;
mod plan;
mod races;
#[path = "../oracle/random.rs"]
mod random;
mod trees;
