//! Why no plan can be made: every text names what failed and on what, every hint what to do.

use crate::spec::{HostPath, SandboxPath, Text};

/// Why there is no plan for a spec on a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A fact was read that nobody probed: a mistake in `needs`.
    #[error("cannot decide without knowing `{0}`, which was not probed")]
    Unprobed(&'static str),
    /// A path asked for on the command line is not there.
    #[error("cannot find `{0}` on the host")]
    NotFound(HostPath),
    /// Two flags want different things of one place.
    #[error("cannot give `{at}` both as {one} and as {other}")]
    Contradiction {
        /// Where.
        at: SandboxPath,
        /// One access, as its flag.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The command is empty.
    #[error("cannot run an empty command")]
    EmptyCommand,
    /// A variable's name or an argument cannot be passed.
    #[error("cannot pass `{0}`: it contains a NUL byte or `=` where none may be")]
    BadText(Text),
}

impl PlanError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some(
                "check the spelling; a path is taken from the host, links are followed".to_owned(),
            ),
            Self::EmptyCommand => {
                Some("give a command after `--`, as in `bryo run -- make`".to_owned())
            }
            Self::Contradiction { .. } => Some("keep one of the two".to_owned()),
            Self::Unprobed(_) | Self::BadText(_) => None,
        }
    }
}
