//! How much of the disk layers take, added up while they are walked: no file is looked at twice for it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;

/// Shared by the walks of one sandbox, which may run in a thread of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct Allocated(Arc<Mutex<Sum>>);

#[derive(Debug, Default)]
struct Sum {
    bytes: u64,
    /// Files with several names that were counted.
    linked: HashSet<(u64, u64)>,
}

/// Unit of `st_blocks`: stat(2).
const BLOCK: u64 = 512;

impl Allocated {
    fn sum(&self) -> MutexGuard<'_, Sum> {
        // Whoever panicked had added or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the layer has in a place; each file once, however many names it has.
    pub(super) fn add(&self, stat: &Stat) {
        let mut sum = self.sum();
        let is_directory = super::FileKind::of(stat) == super::FileKind::Directory;
        if is_directory || stat.st_nlink < 2 || sum.linked.insert((stat.st_dev, stat.st_ino)) {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
            sum.bytes = sum.bytes.saturating_add(blocks.saturating_mul(BLOCK));
        }
    }

    /// What was added so far.
    pub(super) fn bytes(&self) -> u64 {
        self.sum().bytes
    }
}
