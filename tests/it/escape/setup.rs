//! Links planted where the set-up of a sandbox mounts or makes something.

use std::os::unix::fs::symlink;

use super::{attack, sandbox_that_writes};
use crate::support::{Host, Need, World, copy, has};

/// A tree with a program in it, to be used as a root; and a victim beside it.
fn tree(world: &World) -> String {
    let probe =
        attack(world, "probe", "#include <stdio.h>\nint main(void) { puts(\"ran\"); return 0; }");
    for folder in ["tree/bin", "tree/etc", "victim"] {
        world.folder(folder);
    }
    copy(probe.as_ref(), &world.path("tree/bin/probe"));
    world.path("tree").to_str().unwrap().to_owned()
}

#[test]
fn a_mount_point_that_is_a_planted_link_makes_nothing_outside_the_root() {
    let world = World::new();
    world.host(Host::MayChange);
    let tree = tree(&world);
    let victim = world.path("victim");
    let source = world.folder("source");
    symlink(&victim, world.path("tree/absolute")).unwrap();
    symlink("../victim", world.path("tree/climbing")).unwrap();
    symlink("../../../../../../../../../../tmp", world.path("tree/high")).unwrap();
    // The control: who follows the links makes a directory in the victim.
    world.outside("mkdir tree/absolute/a tree/climbing/b").succeeds();
    let made = || std::fs::read_dir(&victim).unwrap().count();
    assert_eq!(made(), 2);
    world.outside("rmdir victim/*").succeeds();
    for target in
        ["/absolute/new", "/climbing/new", "/high/bryo-test-new", "/absolute", "/climbing"]
    {
        let volume = format!("{}:{target}", source.display());
        let run = sandbox_of(&world, &tree).arg("-v").arg(&volume);
        let ended = run.exec(["/bin/probe"]);
        assert!(matches!(ended.status.code(), Some(0 | 125)), "{ended}");
        assert_eq!(made(), 0, "{target}");
        assert!(!std::path::Path::new("/tmp/bryo-test-new").exists());
    }
}

#[test]
fn masks_and_devices_that_are_planted_links_do_not_reach_the_host() {
    let world = World::new();
    world.host(Host::MayChange);
    for (name, to) in [
        ("proc", "../victim"),
        ("sys", "../victim"),
        ("dev", "../victim"),
        ("tmp", "../victim"),
        ("run", "../victim"),
    ] {
        let tree = tree(&world);
        let planted = world.path("tree").join(name);
        symlink(to, &planted).unwrap();
        world.outside(&format!("touch tree/{name}/null && rm victim/null")).succeeds();
        let ended = sandbox_of(&world, &tree).exec(["/bin/probe"]);
        assert!(matches!(ended.status.code(), Some(0 | 125)), "{ended}");
        assert_eq!(std::fs::read_dir(world.path("victim")).unwrap().count(), 0, "{name}");
        std::fs::remove_file(planted).unwrap();
    }
}

#[test]
fn a_volume_whose_source_is_swapped_while_the_sandbox_starts_does_not_show_another_place() {
    // Two names change places, again and again.
    const SWAP: &str = r#"
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <stdio.h>
    int main(int argc, char **argv) {
        puts("swaps");
        fflush(stdout);
        while (!renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE))
            ;
        return 1;
    }
    "#;
    let world = World::new();
    world.host(Host::MayChange);
    let swap = attack(&world, "swap", SWAP);
    // The first run makes the store: what nobody is ever shown, whatever leads there.
    world.bryo(["run", "--rm"]).run("true").succeeds();
    world.file(".local/share/bryo/seccomp/mark", "the store");
    world.file("race/real/mark", "own");
    symlink(world.store().join("seccomp"), world.path("race/link")).unwrap();
    let (real, link) = (world.path("race/real"), world.path("race/link"));
    let swapping = world.program(&swap, [&real, &link]).starts();
    swapping.says("swaps");
    let look = format!("for i in 1 2 3 4 5 6 7 8 9 0; do cat {}/mark; done", real.display());
    let mut seen = String::new();
    while !(seen.contains("own") && seen.contains("the store")) {
        seen += &world.outside(&look).stdout();
    }
    let (mut shown, mut refused) = (0, 0);
    for mode in ["ro", "rw", "cow"].iter().cycle().take(60) {
        let volume = format!("{}:/mnt:{mode}", real.display());
        let run = world.bryo(["run", "--rm", "-v", &volume]);
        let ended = run.run("cat /mnt/mark /mnt/*/mark 2>/dev/null; true");
        match ended.status.code() {
            Some(0) => shown += 1,
            Some(125) => refused += 1,
            _ => panic!("{ended}"),
        }
        assert!(!ended.stdout().contains("store"), "{ended}");
    }
    assert!(shown > 0 && refused > 0, "no race: {shown} shown, {refused} refused");
    swapping.kill(rustix::process::Signal::KILL);
    swapping.ends().dies_of(9);
    std::fs::remove_file(world.store().join("seccomp/mark")).unwrap();
}

/// `--rootfs` is copy-on-write: served by fuse-overlayfs in its pass, by the kernel in the others.
fn sandbox_of(world: &World, tree: &str) -> crate::support::Invocation {
    let overlay = if crate::support::overlay_is_one_of(&[crate::support::Overlay::Fuse]) {
        "fuse"
    } else {
        "kernel"
    };
    world.bryo(["run", "--rm", "--overlay", overlay, "-w", "/", "--rootfs", tree])
}

#[test]
fn a_rename_between_directories_works_within_a_tree_and_not_out_of_it() {
    const RENAME: &str = r#"
    #define _GNU_SOURCE
    #include <stdio.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <string.h>
    int main(int argc, char **argv) {
        int no = renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], argc > 3 ? RENAME_EXCHANGE : 0);
        printf("%s\n", no ? strerrorname_np(errno) : "renamed");
        return 0;
    }
    "#;
    if !has(Need::Landlock(2)) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    let rename = attack(&world, "rename", RENAME);
    for folder in ["project/a", "project/b", "shown"] {
        world.folder(folder);
    }
    world.file("project/a/file", "moved");
    world.file("shown/file", "theirs");
    let shown = world.path("shown");
    let run = || sandbox_that_writes(&world).arg("--read").arg(&shown);
    run().exec([&rename, "a/file", "b/file"]).succeeds().stdout_is("renamed\n");
    run().exec([&rename, "b/file", "../shown/file"]).stdout_lacks("renamed");
    run().exec([&rename, "b/file", "../shown/file", "exchange"]).stdout_lacks("renamed");
    assert_eq!(
        (world.read("project/b/file"), world.read("shown/file")),
        ("moved".into(), "theirs".into())
    );
    world.program(&rename, ["b/file", "../shown/file", "exchange"]).ends().stdout_is("renamed\n");
    assert_eq!(world.read("shown/file"), "moved", "the control");
}
