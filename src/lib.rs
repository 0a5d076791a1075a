//! bryo: a rootless sandbox. This file is the map.
//!
//! # Data flow
//!
//! ```text
//! argv · profile
//!     │   front: pure parsing
//!     ▼
//!   Spec     what is wanted
//!     │  +  Facts   what this host offers
//!     ▼   plan
//!   Plan     numbered steps, no choices left
//!     ▼   check, launch
//! Enforced   what was really applied
//! ```
//!
//! # Who may import whom
//!
//! | level | modules | may import |
//! |---|---|---|
//! | 0 | `sys`, `spec` | nothing of ours |
//! | 1 | `profile` | `spec` |
//! | 2 | `plan` | `spec` |
//! | 3 | `host` | `plan`, `spec`, `sys` |
//! | 3 | `rootfs`, `net`, `confine`, `limits` | `plan`, `spec`, `sys` |
//! | 3 | `state`, `archive` | `plan`, `spec`, `sys` |
//! | 4 | `launch` | the executors, `state`, `plan`, `spec`, `sys` |
//! | 4 | `supervise` | what lies below, and `launch`, whose sandbox it watches over |
//! | 4 | `changes`, `report` | what lies below |
//! | 5 | `ops` | everything below |
//! | 6 | `front` | `ops`, `profile`, `spec`, `report` |
//! | 7 | `main` | `front`, `report`, and the heap and a signal of `sys` |
//!
//! `tests/layering.rs` holds this table.
//!
//! # Glossary
//!
//! *launcher*: the caller's process; plans, clones, then supervises. *sandbox*: pid 1 of the new
//! namespaces until the payload is forked, *init* afterwards. *payload*: what was asked for.
//! *layer*: what was written over a copy-on-write tree. *record*: what is known about one run.

pub mod archive;
pub mod changes;
pub mod confine;
pub mod front;
pub mod host;
pub mod launch;
pub mod limits;
pub mod net;
pub mod ops;
pub mod plan;
pub mod profile;
pub mod report;
pub mod rootfs;
pub mod spec;
pub mod state;
pub mod supervise;
#[expect(unsafe_code, reason = "calls to the kernel; each block says why it is sound")]
pub mod sys;
