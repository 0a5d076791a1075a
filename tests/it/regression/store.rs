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

#[test]
fn what_is_no_sandbox_in_the_store_is_told_and_stops_no_listing() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.sandbox().args(["--name", "n"]).run("echo x >y").succeeds();
    let foreign = [("kept", "abcdefabcdef"), ("live", "abcdefabcded")]
        .map(|(shelf, id)| world.store().join(shelf).join(id));
    for path in &foreign {
        std::os::unix::fs::symlink("/etc", path).unwrap();
    }
    let listed = world.bryo(["ps", "-a"]).ends().succeeds().stdout();
    assert_eq!(listed.matches("unreadable").count(), 2, "{listed}");
    assert!(listed.lines().any(|line| line.contains(" n ") && line.contains("exited")), "{listed}");
    for words in [&["ps", "-aq"][..], &["diff"], &["diff", "n"], &["system", "df"], &["ps"]] {
        world.bryo(words).ends().succeeds();
    }
    for path in &foreign {
        let id = path.file_name().unwrap().to_str().unwrap();
        world.bryo(["rm", "-f", id]).ends().exits_with(125).stderr_has("nothing of bryo's");
        std::fs::remove_file(path).unwrap();
    }
}
