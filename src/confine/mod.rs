//! Takes away what the payload does not need, in the one order that works.
//!
//! # Theory of operation
//! The payload's process takes these steps itself, after the tree stands and before its exec:
//!
//! | step | does | must not come |
//! |---|---|---|
//! | keyring | leaves the caller's keys behind | after seccomp, which refuses keyctl |
//! | securebits | user 0 means nothing | after the capabilities, which hold `CAP_SETPCAP` |
//! | capabilities | bounding first, then the other sets, then ambient | before chdir, which may need one |
//! | `no_new_privs` | no exec gives anything back | after Landlock and seccomp, which demand it |
//! | Landlock | what is readable, writable, executable; ports; scopes | after seccomp, which refuses its calls |
//! | attributes | with `--disk`: how long an attribute may be, by a filter of its own | after seccomp, which may refuse it |
//! | seccomp | which system calls exist | before anything else |
//!
//! # Not here
//! What is kept and granted (`plan`); namespaces, mounts and limits, which confine too.

pub mod capabilities;
pub mod landlock;
pub mod seccomp;

pub use crate::sys::errno::Failure;
