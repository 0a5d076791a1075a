//! Attacks, one file for each class that broke a sandbox before. Every test has a control: the same
//! attack, succeeding where nothing stops it.

mod again;
mod changes;
mod descriptors;
mod filter;
mod ids;
mod later;
mod links;
mod mounts;
mod moved;
mod own_file;
mod planted;
mod processes;
mod review;
mod secrets;
mod setup;
mod sockets;
mod swap;
mod terminal;
mod toolchains;
mod twice;

use crate::support::{Host, Invocation, Overlay, World, copy, overlay_is_one_of};

/// `bryo run --rm` with the overlay of this pass.
fn sandbox(world: &World) -> Invocation {
    world.sandbox().arg("--rm")
}

/// Whether the home of this pass is a copy of the host's: without an overlay it is an empty one.
fn home_is_a_copy() -> bool {
    overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse])
}

/// Compiles a C program into the project, which every pass shows; gives its full path.
fn attack(world: &World, name: &str, source: &str) -> String {
    let built = world.c_program(name, source);
    let to = world.project().join(name);
    copy(&built, &to);
    to.to_str().unwrap().to_owned()
}

/// The same, with the project as the host's own: the pass without an overlay has it so already.
fn sandbox_that_writes(world: &World) -> Invocation {
    world.host(Host::MayChange);
    let run = sandbox(world);
    if home_is_a_copy() { run.arg("--write").arg(world.project()) } else { run }
}
