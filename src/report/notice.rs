//! What the user is told once of a plan.

use crate::plan::step::{FuseReason, Missing, Notice};

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

/// A notice, as a sentence without a full stop.
pub fn sentence(notice: &Notice) -> String {
    match notice {
        Notice::LoopbackReachable => {
            "every service on this machine's loopback can be reached from inside".to_owned()
        }
        Notice::PrivateWorkdir(at) => {
            format!("`{at}` is never shared: the program starts in a private, empty one")
        }
        Notice::NoWorkdir => {
            "the current directory cannot be entered: the program starts in `/`".to_owned()
        }
        Notice::Warned(path) => format!(
            "`{path}` may hold secrets and is visible inside; to hide it: --hide {}",
            shell_quote(path.as_path())
        ),
        Notice::Fuse { at, why } => {
            format!("`{at}` is served by fuse-overlayfs, which is slower: {}", fuse_reason(*why))
        }
        Notice::Missing(missing) => missing_sentence(*missing).to_owned(),
        Notice::ReadOnlyFile(path) => {
            format!("`{path}` is too large to be copied and is read-only inside")
        }
        Notice::ForeignIds(path) => format!(
            "`{path}` holds files of other ids, and writing to them may fail: with fuse-overlayfs \
             installed they can be written"
        ),
        Notice::Nesting => {
            "with nesting, Landlock holds no files and the program may mount".to_owned()
        }
    }
}

fn fuse_reason(why: FuseReason) -> &'static str {
    match why {
        FuseReason::Asked => "it was asked for",
        FuseReason::KernelRefuses => "this kernel mounts no overlay for ordinary users",
        FuseReason::StoreFileSystem => "the store's file system cannot hold the kernel's layers",
        FuseReason::ForeignIds => "it holds files of other ids that you may write",
        FuseReason::RootOverHost => "the host's files are shown as root's",
    }
}

fn missing_sentence(missing: Missing) -> &'static str {
    match missing {
        Missing::Landlock => "this kernel has no Landlock: mounts alone hold the file tree",
        Missing::LandlockScopes => {
            "this kernel's Landlock does not bound signals and abstract sockets"
        }
        Missing::SeccompNotify => {
            "another sandbox listens already: refused system calls cannot be named"
        }
        Missing::Procfs => "`/proc` is empty inside: the outer one is masked",
        Missing::ProcessLimit => "the kernel holds root to no number of processes",
        Missing::UserCounts => "the ceilings for inotify and namespaces could not be lowered",
        Missing::Store => "there is no store: changes are held in memory and end with the run",
    }
}
