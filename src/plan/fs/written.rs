//! Divides what all that is written may take among the places that are written.
//!
//! # Decisions
//! Layers and private file systems share one tmpfs, so the sum ends at its size and nobody's part lies idle. A
//! place that was given less for itself keeps that as a file system of its own, which is taken off the sum; one that
//! was given no less than what is left for all is bounded by that anyway. What a profile gives to every
//! place without a size (`tmpfs-size`) is a default, and this takes its place.

use std::collections::BTreeMap;

use super::super::pseudo;
use super::super::step::Room;
use super::super::view::View;
use super::Node;
use crate::spec::{SandboxPath, Spec};

/// How it is divided.
pub(super) struct Written {
    /// Bytes for all who share.
    pub(super) held: u64,
    /// Bytes of those with a file system of their own.
    apart: BTreeMap<SandboxPath, u64>,
}

impl Written {
    /// Divides `size` bytes among the places of a tree.
    pub(super) fn divide(size: u64, root: Option<&Node<'_>>, spec: &Spec) -> Self {
        let mut asked: Vec<(u64, SandboxPath)> =
            spec.rootfs.shm_size.map(|size| (size, pseudo::shm())).into_iter().collect();
        if let Some(root) = root {
            collect(root, &mut asked);
        }
        asked.sort();
        let mut written = Self { held: size, apart: BTreeMap::new() };
        for (size, at) in asked {
            if size < written.held {
                written.held -= size;
                written.apart.insert(at, size);
            }
        }
        written
    }

    /// What a place may hold.
    pub(super) fn room(&self, at: &SandboxPath) -> Room {
        self.apart.get(at).map_or(Room::Held, |size| Room::Own(Some(*size)))
    }
}

fn collect(node: &Node<'_>, asked: &mut Vec<(u64, SandboxPath)>) {
    if let View::Tmpfs { size: Some(size), .. } = node.rule.view {
        asked.push((size, node.rule.at.clone()));
    }
    node.children.iter().for_each(|child| collect(child, asked));
}
