//! The filter of system calls: from a policy to a program that can be installed.
//!
//! # Theory of operation
//! [`builtin`] finds a program that was compiled when bryo was built: a search in memory, no
//! libseccomp. [`compile`] makes one of any policy: our own with our own compiler, Docker's with
//! libseccomp and the *floor* before it, which holds what other protections rest on and hands
//! everything else on. [`compile_cached`] keeps the result by the hash of all that went into it;
//! [`program`] takes whichever way a plan's step asks for.
//!
//! [`Program::denials`] says what the supervisor answers to a notified call, from its number alone.
//!
//! # What it costs
//! Installing, median of 200 on Linux 6.18 with 2 cores; a single ALLOW takes 11 to 20 µs:
//!
//! | program | instructions | µs |
//! |---|---|---|
//! | `default` | 131 | 38 |
//! | `strict` | 167 | 44 |
//! | `default-32`, which has a second table | 272 | 66 |
//! | `init` | 45 | 24 |
//! | the same calls by libseccomp, a binary tree | 478 | 98 |
//! | the same calls by libseccomp, a list | 384 | 288 |
//!
//! Compiling `default` takes longer than that, hence the build. A call whose arguments no rule looks
//! at is in the kernel's cache of allowed numbers (since 5.11) and never comes to the program.
//!
//! # Not here
//! The policy's form (`spec::seccomp`), our compiler (`plan::seccomp`), the call that installs a
//! program (`sys::seccomp`).
//!
//! # Decisions
//! * 32-bit calls are refused by default: nearly nobody has 32-bit programs, the second table has been
//!   a way round many a filter, and it doubles what installing costs. They are notified, so that whoever
//!   has one reads which policy allows them (`default-32`).
//! * `io_uring` is answered as by a kernel without it, and not notified: runtimes try it at every start
//!   and have another way.
//! * With unix sockets refused, pairs stay for streams and sequenced packets only: an end of a
//!   `SOCK_DGRAM` or `SOCK_RAW` pair can be connected to any address (`tests/seccomp_refused.rs`).
//! * mkdir is not looked at: the kernel drops set-id bits of its mode (`tests/seccomp_modes.rs`).

mod builtin;
mod cache;
mod library;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub use builtin::{builtin, syscall_name};
pub use cache::compile_cached;

use crate::plan::seccomp::{
    Arch, Denial, Denials, LowerError, ProgramError, SyscallTables, emit, lower, to_bytes, verify,
};
use crate::plan::step::FilterProgram;
use crate::spec::seccomp::{
    Action, Call, Errno, Matching, Policy, PolicyError, PolicyVariant, Rule,
};
use crate::spec::text::escape;
use crate::sys::seccomp::Instruction;
use builtin::{NATIVE, builtin_policy};

/// A program and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    bytes: Cow<'static, [u8]>,
    denials: Cow<'static, [Denial]>,
    unknown_names: Vec<String>,
}

impl Program {
    /// As the kernel takes it: `struct sock_filter`, native byte order.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As [`crate::sys::seccomp`] takes it.
    pub fn instructions(&self) -> Vec<Instruction> {
        // Every program is whole instructions: the build and `compile` verify it.
        Instruction::read_all(&self.bytes).unwrap_or_default()
    }

    /// What is answered to notified calls, sorted.
    pub fn denials(&self) -> &[Denial] {
        &self.denials
    }

    /// What is answered to a notified call. `arch` is `seccomp_data.arch`.
    pub fn errno_for(&self, arch: u32, number: u32) -> Errno {
        match Arch::from_token(arch) {
            Some(arch) => Denials(&self.denials).errno_for(arch, number),
            None => Errno::ENOSYS,
        }
    }

    /// Names in the policy that no system call has. They were left out, as Docker does.
    pub fn unknown_names(&self) -> &[String] {
        &self.unknown_names
    }
}

/// A policy that did not become a program.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The policy itself.
    #[error("cannot use seccomp policy `{}`", escape(name))]
    Policy {
        /// The policy.
        name: String,
        /// Why.
        #[source]
        source: LowerError,
    },
    /// No built-in policy has this name.
    #[error("cannot find a built-in seccomp policy named `{}`", escape(name))]
    NotBuiltin {
        /// The name.
        name: String,
    },
    /// A built-in policy's text, for a variant that the build did not compile.
    #[error("cannot read the built-in seccomp policy")]
    Builtin(#[source] PolicyError),
    /// A table that is part of bryo.
    #[error("cannot read the built-in system call tables")]
    Tables(#[source] crate::plan::seccomp::TableError),
    /// Nothing could be started under it.
    #[error(
        "cannot start a program under seccomp policy `{}`: it refuses `{call}`, without which nothing starts",
        escape(name)
    )]
    NoStart {
        /// The policy.
        name: String,
        /// What it refuses.
        call: &'static str,
    },
    /// libseccomp refused a rule.
    #[error("cannot compile seccomp policy `{}` with libseccomp", escape(name))]
    Library {
        /// The policy.
        name: String,
        /// Why.
        #[source]
        source: libseccomp::error::SeccompError,
    },
    /// The compiled program could not be taken over.
    #[error("cannot export seccomp policy `{}` from libseccomp", escape(name))]
    Export {
        /// The policy.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Too long for the kernel.
    #[error("cannot use the program of seccomp policy `{}`", escape(name))]
    Program {
        /// The policy.
        name: String,
        /// Why.
        #[source]
        source: ProgramError,
    },
    /// A folder that cannot be written, a full disk.
    #[error("cannot write the compiled policy `{}`", escape(path.as_os_str().as_encoded_bytes()))]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// As `Cache`, and the half-written file could not be removed either.
    #[error("cannot write a compiled policy, nor remove what was written of it, `{}`", escape(path.as_os_str().as_encoded_bytes()))]
    CacheLeftover {
        /// What stays.
        path: PathBuf,
        /// Why it could not be written.
        #[source]
        source: std::io::Error,
    },
    /// The policy cannot be hashed.
    #[error("cannot write seccomp policy `{}` as JSON", escape(name))]
    Canonical {
        /// The policy.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl SeccompError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Policy { source: LowerError::UnknownName(_), .. } => {
                Some("check the spelling, or give the call by its number")
            }
            Self::NoStart { .. } => Some(
                "allow `execve` and `sendmsg`: who executes the program is under the policy already",
            ),
            Self::Program { source: ProgramError::Size(_), .. } => {
                Some("the kernel takes 4,096 instructions; use fewer rules with arguments")
            }
            _ => None,
        }
    }
}

/// Whether it was compiled when bryo was built, so that no folder is needed for it.
pub fn is_compiled(wanted: &FilterProgram) -> bool {
    match wanted {
        FilterProgram::Builtin { name, variant } => builtin(name, *variant).is_some(),
        FilterProgram::Custom { .. } => false,
    }
}

/// The program of a plan's step. What the build did not compile is compiled now, or found in the
/// folder of an earlier run, which must be out of the payload's reach.
pub fn program(wanted: &FilterProgram, folder: Option<&Path>) -> Result<Program, SeccompError> {
    match wanted {
        FilterProgram::Builtin { name, variant } => match builtin(name, *variant) {
            Some(program) => Ok(program),
            None => compile_cached(&builtin_policy(name)?, *variant, folder),
        },
        FilterProgram::Custom { policy, variant } => {
            if let Some(call) = refused_start(policy, *variant) {
                return Err(SeccompError::NoStart { name: policy.name.clone(), call });
            }
            compile_cached(policy, *variant, folder)
        }
    }
}

/// What the payload's process does under its policy before it is a program: it tells that it is confined.
const START: [&str; 2] = ["execve", "sendmsg"];

/// A call that the start takes and that the policy never lets through. A notified one is refused by the
/// supervisor, or hangs: nobody listens yet.
fn refused_start(policy: &Policy, variant: PolicyVariant) -> Option<&'static str> {
    let lets = |action: Action| matches!(action, Action::Allow | Action::Log);
    START.into_iter().find(|call| {
        let names = |one: &Call| matches!(one, Call::Name(name) if name == call);
        // Which call a number is does not matter: it may be this one.
        let may_mean = |one: &Call| names(one) || matches!(one, Call::Number(_));
        let of_run =
            || policy.rules.iter().filter(|rule| rule.only.hold(&variant, NATIVE.docker_name()));
        let let_through = of_run().any(|rule| lets(rule.action) && rule.calls.iter().any(may_mean));
        let always = |rule: &Rule| rule.args.is_empty() && rule.calls.iter().any(names);
        !let_through && (!lets(policy.default) || of_run().any(always))
    })
}

/// Compiles a policy for this machine.
pub fn compile(policy: &Policy, variant: PolicyVariant) -> Result<Program, SeccompError> {
    let tables = SyscallTables::known().map_err(SeccompError::Tables)?;
    if policy.matching == Matching::Merged {
        return library::compile(policy, variant, &tables);
    }
    let wrong = |source| SeccompError::Policy { name: policy.name.clone(), source };
    let lowered = lower(policy, &variant, &tables, NATIVE).map_err(wrong)?;
    let code = emit(&lowered);
    verify(&code).map_err(|source| SeccompError::Program { name: policy.name.clone(), source })?;
    Ok(Program {
        bytes: Cow::Owned(to_bytes(&code)),
        denials: Cow::Owned(lowered.denials),
        unknown_names: lowered.unknown_names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::seccomp::docker;

    #[test]
    fn a_policy_under_which_nothing_starts_is_told_with_the_call() {
        let refused = |json: &str| {
            let policy = docker::parse(json, "p").unwrap();
            refused_start(&policy, PolicyVariant::default())
        };
        let rule = |names: &str, action: &str| {
            format!(r#"{{"defaultAction":"{action}","syscalls":[{names}]}}"#)
        };
        let allows = |names: &str| format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW"}}"#);
        for action in ["SCMP_ACT_KILL", "SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO"] {
            assert_eq!(refused(&rule("", action)), Some("execve"), "{action}");
            assert_eq!(refused(&rule(&allows(r#""execve""#), action)), Some("sendmsg"));
            assert_eq!(refused(&rule(&allows(r#""sendmsg","execve""#), action)), None);
        }
        assert_eq!(refused(&rule("", "SCMP_ACT_ALLOW")), None);
        let kills = r#"{"names":["execve"],"action":"SCMP_ACT_KILL"}"#;
        assert_eq!(refused(&rule(kills, "SCMP_ACT_ALLOW")), Some("execve"));
    }
}
