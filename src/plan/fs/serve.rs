//! Decides who serves an overlay and where what is written goes.
//!
//! # Theory of operation
//! The kernel serves wherever it can; fuse-overlayfs where the kernel mounts none, where the store's
//! file system cannot hold its upper layer, where a tree holds files of other ids that the caller may
//! write, and for root over the host's tree. The store is the first candidate that can hold an upper
//! of the kernel's, else memory (since Linux 6.6, when a tmpfs got user attributes), else the first
//! usable one with fuse-overlayfs on it. What doing has refuted is taken back here, and nowhere else.

use super::super::error::{OverlayObstacle, PlanError};
use super::super::facts::{Facts, Refuted, StoreCandidate, StoreSource, StoreState};
use super::super::step::{FuseReason, OverlayServer};
use crate::spec::rootfs::OverlayChoice;
use crate::spec::{HostPath, SandboxPath, Spec};

/// File systems that cannot hold an upper layer of the kernel's, by their magic number (`statfs(2)`).
const NO_UPPER: [u64; 14] = [
    0x6969,      // nfs
    0xf15f,      // ecryptfs
    0x6573_5546, // fuse
    0x794c_7630, // overlay
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x517b,      // smb
    0x4d44,      // vfat
    0x2011_bab0, // exfat
    0x0102_1997, // 9p
    0x5346_414f, // afs
    0x00c3_6400, // ceph
    0x7366_746e, // ntfs3
    0x8584_58f6, // ramfs
];
const TMPFS: u64 = 0x0102_1994;

/// Where upper layers go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) enum UpperHome {
    /// The store, and whether the kernel takes its file system for an upper.
    Store { path: HostPath, kernel: bool },
    /// Memory.
    Scratch,
}

/// What overlays are needed for, as far as the choice depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Purpose {
    /// Read-only: only the kernel's ability counts.
    Read,
    /// Written.
    Write,
    /// Written, with files of other ids.
    WriteForeign,
    /// The host's tree shown as root's.
    AsRoot,
}

/// Whether the kernel mounts overlays.
fn kernel_mounts(facts: &Facts) -> Result<bool, PlanError> {
    let probed = facts.kernel_overlay.ok_or(PlanError::Unprobed("kernel_overlay"))?;
    Ok(probed && !facts.is_refuted(Refuted::KernelOverlay))
}

/// Whether the kernel takes a candidate's file system for an upper.
fn holds_upper(candidate: &StoreCandidate, facts: &Facts) -> bool {
    !NO_UPPER.contains(&candidate.fs_magic)
        && (candidate.fs_magic != TMPFS || facts.kernel.at_least(6, 6))
}

/// Chooses where upper layers go.
pub(in crate::plan) fn upper_home(spec: &Spec, facts: &Facts) -> Result<UpperHome, PlanError> {
    let store = |candidate: &StoreCandidate, kernel| UpperHome::Store {
        path: candidate.path.clone(),
        kernel,
    };
    let refuted = facts.is_refuted(Refuted::StoreHoldsUpper);
    if let Some(asked) = facts.stores.iter().find(|s| s.source == StoreSource::Variable) {
        return match asked.state {
            StoreState::Usable => Ok(store(asked, holds_upper(asked, facts) && !refuted)),
            StoreState::Unwritable | StoreState::Foreign => {
                Err(PlanError::UnusableStore(asked.path.clone()))
            }
        };
    }
    let usable: Vec<_> = facts.stores.iter().filter(|s| s.state == StoreState::Usable).collect();
    let by_kernel = spec.rootfs.overlay != OverlayChoice::Fuse && kernel_mounts(facts)?;
    if by_kernel {
        let mut holding = usable.iter().filter(|s| holds_upper(s, facts));
        if let Some(first) = holding.nth(usize::from(refuted)) {
            return Ok(store(first, true));
        }
        if facts.kernel.at_least(6, 6) {
            return Ok(UpperHome::Scratch);
        }
    }
    usable.first().map(|first| store(first, false)).ok_or(PlanError::NoStore)
}

/// Chooses who serves the overlay at `at`, and says why when it is not the kernel.
pub(in crate::plan) fn server(
    spec: &Spec,
    facts: &Facts,
    home: Option<&UpperHome>,
    purpose: Purpose,
    at: &SandboxPath,
) -> Result<(OverlayServer, Option<FuseReason>), PlanError> {
    let refuse = |why| Err(PlanError::NoOverlay { at: at.clone(), why });
    let writes = purpose != Purpose::Read;
    let choice = spec.rootfs.overlay;
    let store_refuses = writes && matches!(home, Some(UpperHome::Store { kernel: false, .. }));
    let (reason, obstacle) = if purpose == Purpose::AsRoot {
        (FuseReason::RootOverHost, OverlayObstacle::RootOverHost)
    } else if choice == OverlayChoice::Fuse && writes {
        (FuseReason::Asked, OverlayObstacle::KernelRefuses)
    } else if !kernel_mounts(facts)? {
        (FuseReason::KernelRefuses, OverlayObstacle::KernelRefuses)
    } else if store_refuses {
        (FuseReason::StoreFileSystem, OverlayObstacle::StoreFileSystem)
    } else if purpose == Purpose::WriteForeign && choice == OverlayChoice::Auto && has_fuse(facts)?
    {
        (FuseReason::ForeignIds, OverlayObstacle::KernelRefuses)
    } else {
        return Ok((OverlayServer::Kernel, None));
    };
    if choice == OverlayChoice::Kernel {
        return refuse(obstacle);
    }
    let fuse = facts.fuse.as_ref().ok_or(PlanError::Unprobed("fuse"))?;
    let Some(program) = &fuse.program else { return refuse(OverlayObstacle::NoFuseProgram) };
    if !fuse.device {
        return refuse(OverlayObstacle::NoFuseDevice);
    }
    let squash = match purpose {
        Purpose::AsRoot | Purpose::WriteForeign => Some(super::super::ids::inside(spec, facts)),
        Purpose::Read | Purpose::Write => None,
    };
    Ok((OverlayServer::Fuse { program: program.clone(), squash }, Some(reason)))
}

fn has_fuse(facts: &Facts) -> Result<bool, PlanError> {
    facts.fuse.as_ref().map(|fuse| fuse.usable().is_some()).ok_or(PlanError::Unprobed("fuse"))
}

/// Whether no overlay needs fuse-overlayfs for the sake of the store.
pub(in crate::plan) fn kernel_upper_is_possible(spec: &Spec, facts: &Facts) -> bool {
    match upper_home(spec, facts) {
        Ok(UpperHome::Store { kernel, .. }) => kernel,
        Ok(UpperHome::Scratch) => true,
        Err(_) => false,
    }
}

/// The store that keeps the mask of a tree: the kernel refuses a lower layer within another, so one that
/// is not in the tree. A store that was named is the only one.
pub(super) fn mask_store<'f>(facts: &'f Facts, tree: &HostPath) -> Option<&'f HostPath> {
    let named = facts.stores.iter().find(|store| store.source == StoreSource::Variable);
    let apart =
        |store: &HostPath, tree: &HostPath| !store.starts_with(tree) && !tree.starts_with(store);
    let holds = |store: &&StoreCandidate| {
        let mut twins = facts.twins.iter().filter_map(|twin| twin.name_of(tree));
        let is_apart = apart(&store.path, tree) && twins.all(|twin| apart(&store.path, &twin));
        store.state == StoreState::Usable && holds_upper(store, facts) && is_apart
    };
    if facts.is_refuted(Refuted::StoreHoldsUpper) {
        return None;
    }
    let found = match named {
        Some(named) => Some(named).filter(holds),
        None => facts.stores.iter().find(holds),
    };
    found.map(|store| &store.path)
}
