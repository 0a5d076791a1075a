//! From a policy to a BPF program, without asking the kernel or libseccomp.
//!
//! # Theory of operation
//! [`lower`] picks the rules of a policy that belong to one run and gives every number of every
//! architecture a [`Decision`]; numbers that share one become ranges. [`emit`] turns the ranges into
//! a binary tree of comparisons with the argument checks as its leaves. [`program`] holds the result
//! with the errno of every notified call, so that the supervisor can answer from the number alone.
//!
//! ```text
//! Policy + PolicyVariant --lower--> Lowered --emit--> [Instruction] --> Program
//!                 SyscallTable --^
//! ```
//!
//! `build.rs` includes this module by path and compiles the built-in policies with it.
//!
//! # Not here
//! libseccomp, the cache of custom programs, the embedded ones (`confine::seccomp`); the
//! installation (`sys`).
//!
//! # Decisions
//! * Our own compiler for our own policies, because libseccomp cannot say them: there is no masked
//!   *not equal*, so an allow-list cannot hold "every `ioctl` but TIOCSTI in the low 32 bits", and a
//!   call with an unconditional rule loses its conditional ones. Docker's files are libseccomp's own
//!   language and go through it. Where both can say a policy, a test holds them against each other.
//! * When a filter is installed the kernel runs it once for every number of every architecture
//!   (`seccomp_cache_prepare`), then translates it: both the longest path and the length count.

mod arch;
mod emit;
mod lower;
mod program;
mod table;

pub use arch::Arch;
pub use emit::{Instruction, emit, emit_before, return_value};
pub use lower::{ArchBlock, Check, Decision, Following, LowerError, Lowered, lower, lower_floor};
pub use program::{
    Denial, Denials, MAX_INSTRUCTIONS, ProgramError, canonical, canonical_builtin, common_variants,
    from_bytes, to_bytes, verify,
};
pub use table::{SyscallTable, SyscallTables, TableError, find_name};
