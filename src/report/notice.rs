//! What the user is told once of a plan.

use crate::plan::step::{Missing, Notice};

use super::quote::shell_quote;

/// Whether a notice matters to everybody, or only to somebody who asked for details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It changes what one may expect.
    Said,
    /// The record has it.
    Detail,
}

/// How much a notice matters.
pub fn weight(notice: &Notice) -> Weight {
    match notice {
        Notice::Missing(missing) => match missing {
            Missing::Procfs | Missing::Store => Weight::Said,
            Missing::Landlock
            | Missing::LandlockScopes
            | Missing::SeccompNotify
            | Missing::ProcessLimit
            | Missing::UserCounts => Weight::Detail,
        },
        Notice::LoopbackReachable
        | Notice::PrivateWorkdir(_)
        | Notice::NoWorkdir
        | Notice::Warned(_)
        | Notice::Fuse { .. }
        | Notice::ReadOnlyFile(_)
        | Notice::ForeignIds(_)
        | Notice::Nesting => Weight::Said,
    }
}

/// A notice with what can be done about it, where something can.
pub fn sentence(notice: &Notice) -> String {
    match notice {
        Notice::Warned(path) => {
            format!("{notice}; to hide it: --hide {}", shell_quote(path.as_path()))
        }
        Notice::PrivateWorkdir(at) => {
            format!("{notice}; to share it: --cow {}", shell_quote(at.as_path()))
        }
        _ => notice.to_string(),
    }
}
