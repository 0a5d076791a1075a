//! What a run finds in the store of other runs.

use rustix::process::Signal;

use crate::support::{Need, Overlay, Running, World, has, overlay_is_one_of};

#[test]
fn changes_through_a_server_are_kept_after_runs_that_had_none() {
    // In the pass of the kernel's overlays both are there.
    if !overlay_is_one_of(&[Overlay::Kernel]) || !has(Need::FuseOverlayfs) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    // At the same time: each leaves a directory, and where there are three the next run takes one.
    let start = || world.sandbox().start("echo up; exec sleep 60");
    let four: Vec<Running> = (0..4).map(|_| start()).collect();
    for one in four {
        one.says("up").kill(Signal::TERM);
        one.ends().exits_with(128 + 15);
    }
    let spares = world.outside("ls .local/share/bryo/spare | wc -l").stdout();
    assert_eq!(spares, "4\n", "the control");
    let served = ["run", "--overlay", "fuse", "--", "sh", "-c", "echo written >x"];
    world.bryo(served).in_folder(world.project()).ends().succeeds();
    let added = format!("A {}\n", world.path("project/x").display());
    world
        .bryo(["diff", "--name-status"])
        .in_folder(world.project())
        .ends()
        .succeeds()
        .stdout_is(&added);
}
