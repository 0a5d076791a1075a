//! The store as its users see it, on a real file system, and the commands on what is in it.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

mod commands;
mod export;
mod fixture;
mod json;
mod lifecycle;
mod names;
mod record;
mod review;
mod spare;
