//! What bryo does on a real kernel, as an ordinary user. `tests/README.md` says how these are run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the setting for tests does not reach helper functions"
)]

#[path = "../support/mod.rs"]
mod support;

mod apart;
mod cli;
mod degraded;
mod escape;
mod first_run;
mod fuse;
mod kill;
mod life;
mod netstack;
mod network;
mod readme;
mod regression;
mod terminal;
mod testbed;
