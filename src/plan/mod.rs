//! Decides: from what is wanted and what the host offers to steps with no choice left.
//!
//! # Theory of operation
//! `plan` is pure and deterministic: the same [`Spec`] and [`Facts`] give the same [`Plan`], so
//! that most of bryo is tested without a kernel. One planner per area appends its steps;
//! `check` then verifies the invariants every plan must satisfy, independently of how it was made.
//!
//! # Not here
//! Probing (`host`) and acting (`rootfs`, `net`, `confine`, `limits`, `launch`, `state`).

pub mod error;
pub mod facts;
pub mod seccomp;
pub mod step;

pub use error::PlanError;
pub use facts::Facts;
pub use step::{Action, Plan, Stage, Step};
