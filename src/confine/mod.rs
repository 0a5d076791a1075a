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
//! | seccomp | which system calls exist | before anything else |
//!
//! # Not here
//! What is kept and granted (`plan`); namespaces, mounts and limits, which confine too.

pub mod capabilities;
pub mod landlock;
pub mod seccomp;

use std::fmt;

use crate::sys::errno::Errno;

/// Why a step of confinement failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the kernel answered; `EINVAL` when a library refused before asking it.
    pub errno: Errno,
    /// What the library said besides, often nothing.
    pub said: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

impl std::error::Error for Failure {}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, said: String::new() }
    }
}

impl Failure {
    /// From an error of a library: the errno at the root of its chain, and its text.
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        let mut errno = Errno::EINVAL;
        while let Some(link) = cause {
            if let Some(raw) =
                link.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
            {
                errno = Errno::from_raw(raw);
            }
            cause = link.source();
        }
        Self { errno, said: error.to_string() }
    }
}
