//! The life of a layer after its run: dropped, run on top of, measured, removed.

mod discard;

use crate::support::{Overlay, World, overlay_is_one_of};

/// Whether there is a layer in this pass.
pub(crate) fn applies() -> bool {
    overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse])
}

/// What `bryo diff` lists, without the project's path.
#[track_caller]
pub(crate) fn changes(world: &World, sandbox: &str) -> Vec<String> {
    let ended = world.bryo(["diff", sandbox]).ends().succeeds();
    let project = world.project().display().to_string() + "/";
    ended.stdout().lines().map(|line| line.replace(&project, "")).collect()
}

/// The ids of all sandboxes.
#[track_caller]
pub(crate) fn ids(world: &World) -> Vec<String> {
    let ended = world.bryo(["ps", "-a", "-q"]).ends().succeeds();
    ended.stdout().lines().map(str::to_owned).collect()
}
