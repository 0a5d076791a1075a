//! Why this machine could not be looked at.

use rustix::io::Errno;

use crate::spec::{HostPath, Text};

/// Why a fact could not be had. Whatever can be told by a fact's own value (absent, forbidden) is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// A file of the kernel's or the system's cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: Text,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A file is longer than anything sensible.
    #[error("cannot read `{path}`: it is longer than {limit} bytes")]
    TooLong {
        /// Which.
        path: Text,
        /// The most that is read.
        limit: usize,
    },
    /// The mount table does not read as one.
    #[error("cannot understand line {line} of the mount table: {fault}")]
    MountTable {
        /// From 1.
        line: usize,
        /// What is wrong.
        fault: super::mountinfo::Fault,
    },
    /// The kernel calls itself something that does not begin with two numbers.
    #[error("cannot understand the kernel's release `{0}`")]
    Release(Text),
    /// A directory cannot be listed that has to be.
    #[error("cannot list `{path}`")]
    List {
        /// Which.
        path: HostPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A directory has more entries than are looked at.
    #[error("cannot list `{path}`: it has more than {limit} entries")]
    TooManyEntries {
        /// Which.
        path: HostPath,
        /// The most.
        limit: usize,
    },
    /// Patterns match more than can be hidden.
    #[error("cannot hide what the patterns match: more than {limit} places")]
    TooManyMatches {
        /// The most.
        limit: usize,
    },
    /// More sockets than are covered.
    #[error("cannot cover the sockets of the host that would be seen: there are more than {most}")]
    TooManySockets {
        /// The most.
        most: usize,
    },
    /// What was refuted cannot be remembered.
    #[error("cannot remember in `{store}` what this machine lacks")]
    Remember {
        /// The store.
        store: HostPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// Where the caller is at home is known to a directory service alone, and that does not say.
    #[error(
        "cannot tell where the home of user {uid} is, and so which secrets to hide: `getent passwd {uid}` failed, or took \
         more than {} s", super::subid::PATIENCE.as_secs()
    )]
    Silent {
        /// The caller.
        uid: u32,
    },
    /// What runs could write cannot be noted.
    #[error("cannot note in `{store}` what this run can write")]
    Note {
        /// The store.
        store: HostPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// What was noted cannot be read.
    #[error("cannot read in `{store}` what earlier runs could write")]
    Recall {
        /// The store.
        store: HostPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A variable names a store that is not an absolute path.
    #[error("cannot use `{value}` as the store")]
    Store {
        /// What the variable holds.
        value: Text,
        /// Why it is no path.
        #[source]
        source: crate::spec::path::PathError,
    },
}

impl HostError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { path, .. } if path.as_bytes().starts_with(b"/proc/") => {
                Some("mount a procfs at `/proc`".to_owned())
            }
            Self::TooManyEntries { .. } => Some(
                "its entries must be known one by one, as a mount below it is shown or a pattern is \
                 matched in it: unmount what is below, or hide the directory with `--hide`"
                    .to_owned(),
            ),
            Self::TooManyMatches { .. } => {
                Some("narrow the wildcards of `secrets` and `hidden` in the profile".to_owned())
            }
            Self::TooManySockets { .. } => Some(
                "they lie below `--write` or `-v …:rw`, or in the system's directories: let a directory without them be \
                 written, or a copy: `--cow`"
                    .to_owned(),
            ),
            Self::Silent { .. } => Some(
                "try again when the directory service answers; a line for the user in /etc/passwd spares the question"
                    .to_owned(),
            ),
            Self::Note { .. } | Self::Recall { .. } => Some(
                "later runs follow no link that this one or an earlier one can have planted, and this tells them; \
                 without `--write` and volumes nothing is noted"
                    .to_owned(),
            ),
            Self::Store { .. } => Some("set `BRYO_STORE` to an absolute path, or unset it".to_owned()),
            Self::Read { .. }
            | Self::TooLong { .. }
            | Self::MountTable { .. }
            | Self::Release(_)
            | Self::Remember { .. }
            | Self::List { .. } => None,
        }
    }
}
