//! The life of a layer after its run: dropped, run on top of, measured, removed.

mod again;
mod apply;
mod attributes;
mod copies;
mod discard;
mod disk;
mod exec;
mod hygiene;
mod oracle;

use crate::support::{Overlay, World, overlay_is_one_of};

/// Whether there is a layer in this pass.
pub(crate) fn applies() -> bool {
    overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse])
}

/// What `bryo diff` lists: a letter, and the path below the project.
#[track_caller]
pub(crate) fn changes(world: &World, sandbox: &str) -> Vec<String> {
    let ended = world.bryo(["diff", "--json", sandbox]).ends().succeeds();
    let json: serde_json::Value = serde_json::from_str(&ended.stdout()).unwrap();
    let project = world.project().display().to_string() + "/";
    let line = |change: &serde_json::Value| {
        let letter = change["kind"].as_str().unwrap()[..1].to_uppercase();
        format!("{letter} {}", change["path"].as_str().unwrap().replace(&project, ""))
    };
    json["changes"].as_array().unwrap().iter().map(line).collect()
}

/// The ids of all sandboxes.
#[track_caller]
pub(crate) fn ids(world: &World) -> Vec<String> {
    let ended = world.bryo(["ps", "-a", "-q"]).ends().succeeds();
    ended.stdout().lines().map(str::to_owned).collect()
}
