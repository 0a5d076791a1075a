//! Whether a layer is mounted somewhere: by hand, or by a program that outlived its sandbox.
//!
//! # Decisions
//! - The mount tables of all processes that may be read are looked at, each namespace once. Others' are not
//!   the caller's, and hold no layer of the caller's store, which nobody else may enter.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::state::SandboxId;

/// A process in whose mount namespace a layer of this sandbox is mounted; none if there is none.
pub(in crate::ops) fn by_whom(id: SandboxId) -> Option<u32> {
    let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
    let layers = [format!("/{id}/upper-"), format!("/{id}/layer-")];
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(namespace) = std::fs::read_link(entry.path().join("ns/mnt")) else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        let Ok(table) = std::fs::read(entry.path().join("mountinfo")) else { continue };
        let table = String::from_utf8_lossy(&table);
        if table.lines().any(|line| layers.iter().any(|layer| line.contains(layer.as_str()))) {
            return Some(process);
        }
    }
    None
}
