//! Decides how what is written is bounded: by a tmpfs that holds layers and private file systems while the run lasts.
//!
//! # Decisions
//! Of what an ordinary user can have, only a file system of its own ends a hostile writer at a number of bytes:
//! - project quotas have limits that only root sets, and one number for each project, not for each run;
//! - an image of a file system that a FUSE server mounts (`fuse2fs`) is no upper layer for the kernel, nor
//!   readable afterwards without that server, which would parse what the payload can influence;
//! - a watcher that adds up sees a write when it is done.
//!
//! A tmpfs is there everywhere, is full when it is full, and the kernel's overlay lies on it since it has user
//! attributes (Linux 6.6). It costs memory, so not more than half of it, which is what the kernel too lets a tmpfs
//! have; what is held counts as memory of the control group, so a limit of memory has to be above it. And it
//! is lost when bryo is killed: not for a sandbox that is to outlive its caller. Nor for one that may make namespaces,
//! in which it would mount as many more as it likes.
//!
//! # Not here
//! Who has how much of it (`fs::written`). Memory without a name (a memfd, shared memory of System V) is no disk
//! space: the limit of memory is for that.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::Facts;
use super::pseudo::procfs_is_mountable;
use super::step::{Missing, Notice};
use crate::spec::{Need, Network, SeccompChoice, Spec};

/// Why what is written cannot be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskObstacle {
    /// A tmpfs has no user attributes.
    OldKernel,
    /// It runs without its caller.
    Detached,
    /// It may mount a tmpfs of its own.
    Nesting,
    /// It is more than memory can hold: so many bytes at most.
    Memory(u64),
    /// The limit of memory comes first: of so many bytes.
    MemoryLimit(u64),
}

impl DiskObstacle {
    pub(super) fn text(self) -> String {
        match self {
            Self::OldKernel => "it takes Linux 6.6".to_owned(),
            Self::Detached => {
                "memory holds what is written until the run ends, and a detached one may end in a kill".to_owned()
            }
            Self::Nesting => {
                "with namespaces of its own a program mounts file systems in memory beside it".to_owned()
            }
            Self::Memory(most) => format!(
                "memory holds what is written until the run ends, and half of this machine's is {most} bytes"
            ),
            Self::MemoryLimit(limit) => format!(
                "memory holds what is written until the run ends, and it would reach the limit of memory, {limit} \
                 bytes, first"
            ),
        }
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::OldKernel => {
                "without it, the run is ended when 5 % of the store's file system are left; `--ulimit fsize=BYTES` \
                 bounds each file"
            }
            Self::Detached => "run it without `--detach`",
            Self::Nesting => {
                "leave out `--nesting` or the filter that allows namespaces, or bound memory, which counts those too: \
                 `--memory`"
            }
            Self::Memory(_) => "give a smaller size",
            Self::MemoryLimit(_) => "give more with `--memory`, or less with `--disk`",
        }
    }
}

/// Bytes that all that is written may take; none where that is not bounded.
pub(super) fn plan_disk(
    spec: &Spec,
    facts: &Facts,
    draft: &mut Draft,
) -> Result<Option<u64>, PlanError> {
    let Some(bound) = spec.limits.disk.as_ref().filter(|bound| bound.need != Need::Off) else {
        return Ok(None);
    };
    match obstacle(spec, facts, bound.at) {
        None => Ok(Some(bound.at)),
        Some(why) if bound.need == Need::Required => Err(PlanError::NoDiskLimit(why)),
        Some(_) => {
            draft.notice(Notice::Missing(Missing::Disk));
            Ok(None)
        }
    }
}

fn obstacle(spec: &Spec, facts: &Facts, size: u64) -> Option<DiskObstacle> {
    let memory = spec.limits.group.memory.as_ref().filter(|bound| bound.need != Need::Off);
    let most = facts.memory / 2;
    if !facts.kernel.at_least(6, 6) {
        Some(DiskObstacle::OldKernel)
    } else if spec.lifetime.detached.is_some() {
        Some(DiskObstacle::Detached)
    } else if nests(spec, facts) {
        Some(DiskObstacle::Nesting)
    } else if facts.memory > 0 && size > most {
        Some(DiskObstacle::Memory(most))
    } else {
        memory.filter(|memory| memory.at <= size).map(|memory| DiskObstacle::MemoryLimit(memory.at))
    }
}

/// Whether a user namespace can be made inside. By no call of a built-in filter, and by none where their number is 0,
/// which is not written into the one of another sandbox, nor where the outer `/proc` is masked.
fn nests(spec: &Spec, facts: &Facts) -> bool {
    let is_counted = !matches!(spec.network, Network::Sandbox(_)) && procfs_is_mountable(facts);
    let is_filtered = matches!(spec.confine.seccomp, SeccompChoice::Builtin(_));
    spec.confine.nesting || !is_counted && !is_filtered
}
