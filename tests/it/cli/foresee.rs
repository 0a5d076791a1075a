//! What `--dry-run` says of a run that would fail, held against the run itself.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::World;

/// A project with programs that start, and some that do not.
fn project() -> World {
    let world = World::new();
    let script = |name: &str, text: &str, mode: u32| {
        world.file(name, text);
        std::fs::set_permissions(world.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    script("project/good", "#!/bin/sh\n", 0o755);
    script("project/plain", "#!/bin/sh\n", 0o644);
    script("project/strange", "#! /nonexistent/reader -x\n", 0o755);
    world.folder("project/folder");
    symlink("good", world.path("project/link")).unwrap();
    symlink("folder/../strange", world.path("project/crooked")).unwrap();
    symlink("gone", world.path("project/dangling")).unwrap();
    symlink("/bin/ls/x", world.path("project/through")).unwrap();
    world
}

/// Flags and the program, what is foreseen, and the status of the run; none of what is said if it starts.
const RUNS: &[(&[&str], &str, i32)] = &[
    (&["./good"], "", 0),
    (&["./link"], "", 0),
    (&["sh", "-c", "true"], "", 0),
    (&["./plain"], "`./plain` cannot be executed", 126),
    (&["./folder"], "`./folder` cannot be executed", 126),
    (
        &["./strange"],
        "`/nonexistent/reader`, the interpreter of `./strange`, is not seen inside",
        127,
    ),
    (
        &["./crooked"],
        "`/nonexistent/reader`, the interpreter of `./crooked`, is not seen inside",
        127,
    ),
    (&["./dangling"], "`./dangling` is not seen inside", 127),
    (&["--hide", "/usr", "./good"], "`/bin/sh`, the interpreter of `./good`", 127),
    (&["-w", "folder", "true"], "", 0),
    (&["-w", "/tmp", "true"], "", 0),
    (&["-w", "/proc/self", "true"], "whether `/proc/self` is there is known only when it runs", 0),
    (&["--tmpfs", "/new/place", "-w", "/new", "true"], "", 0),
    (&["-w", "/nosuch", "true"], "`/nosuch`, to start in, is not seen inside", 125),
    (&["-w", "/tmp/x", "true"], "`/tmp/x`, to start in, is not seen inside", 125),
    (&["-w", "through", "true"], "to start in, is not seen inside", 125),
    (&["-w", "good", "true"], "to start in, is not a directory", 125),
    (&["-w", "/etc/passwd", "true"], "`/etc/passwd`, to start in, is not a directory", 125),
    (&["--report", "/nosuch/r", "true"], "`/nosuch/r` cannot be written", 125),
    (&["--network", "user", "--pcap", "/etc/p", "true"], "`/etc/p` cannot be written", 125),
];

#[test]
fn a_dry_run_foresees_what_the_run_fails_at_and_nothing_else() {
    let world = project();
    let telling = ["would start", "is known only when it runs"];
    for (words, said, status) in RUNS {
        let run = |first: &[&str]| {
            let run = world.bryo(["run"]).in_folder(world.project()).args(first);
            run.args(*words).ends()
        };
        let told = run(&["--dry-run"]).succeeds().stdout();
        let is_told = telling.iter().any(|words| told.contains(words));
        assert!(is_told != said.is_empty() && told.contains(said), "{words:?}: {told}");
        run(&["--rm"]).exits_with(*status);
    }
    assert!(!world.exists("project/r"));
}

#[test]
fn a_dry_run_says_what_it_does_not_try() {
    let world = World::new();
    let run = world.bryo(["run", "--dry-run", "-p", "127.0.0.1:0:80", "--", "true"]);
    run.ends().succeeds().stdout_has("whether the ports to be published are free is not tried");
}
