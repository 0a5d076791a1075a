//! Limits that the caller has already.

use crate::support::{Invocation, Overlay, World, overlay_is_one_of};

/// A run whose caller has this limit.
fn limited(world: &World, limit: &str) -> Invocation {
    world.sandbox().under(["/usr/bin/prlimit", limit, "--"])
}

#[test]
fn who_may_have_no_core_files_runs_all_the_same() {
    let world = World::new();
    let limit = "ulimit -Hc; ulimit -Sc";
    limited(&world, "--core=0").run(limit).succeeds().stdout_is("0\n0\n").stderr_is("");
    let run = limited(&world, "--core=0").args(["--ulimit", "core=0"]);
    run.run(limit).succeeds().stdout_is("0\n0\n").stderr_is("");
    limited(&world, "--core=0").args(["--ulimit", "core=9"]).run("true").refuses_with(&[
        "bryo: cannot set the limit `core`: your own is 0, and cannot be raised\n",
        "hint: `--ulimit core=0` at most",
    ]);
}

#[test]
fn a_stricter_limit_of_processes_holds_and_leaves_the_caller_some() {
    let world = World::new();
    // Far more than a user of a loaded machine has.
    let limit = "grep -o 'Max processes *[0-9]* *[0-9]*' /proc/self/limits | tr -s ' '";
    let run = || limited(&world, "--nproc=3000");
    run().run(limit).succeeds().stdout_is("Max processes 2250 2250\n").stderr_is("");
    let told = "bryo: your own limit of `nproc` is stricter than what was asked for: 2250 at most, as a quarter of it \
                stays yours\n";
    let ended = run().args(["--pids-limit", "5000"]).run(limit);
    ended.succeeds().stdout_is("Max processes 2250 2250\n").stderr_is(told);
    let ended = run().args(["--pids-limit", "50"]).run(limit);
    ended.succeeds().stdout_is("Max processes 50 50\n").stderr_is("");
}

#[test]
fn a_bounded_file_size_is_told_and_is_the_programs_too() {
    let world = World::new();
    // Without a layer nothing is written before the program starts.
    if overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        // The last but one is enough for the first record, and not for the last.
        for limit in
            ["--fsize=0", "--fsize=5120", "--fsize=18432", "--fsize=18432:", "--fsize=262143"]
        {
            limited(&world, limit).run("true").refuses_with(&[
                "bryo: cannot ",
                "in the store: EFBIG (file too large)\n",
                "hint: the limit of the size of files (`ulimit -f`) holds for bryo too",
            ]);
        }
    }
    // What is asked for the program alone is no matter of bryo's.
    world.sandbox().args(["--ulimit", "fsize=16"]).run("true").succeeds();
    // What bryo ignores the program does not.
    let mask = "grep SigIgn /proc/self/status; head -c 2097152 /dev/zero >/tmp/big; echo $?";
    let ended = limited(&world, "--fsize=1048576").run(mask);
    ended.succeeds().stdout_is("SigIgn:\t0000000000000000\n153\n");
}

#[test]
fn a_log_that_could_not_come_to_its_bound_is_not_begun() {
    let world = World::new();
    world.keeps(1);
    let detached = |flags: &[&str]| {
        limited(&world, "--fsize=1048576").arg("-d").args(flags).leaves().run("echo said")
    };
    detached(&[]).refuses_with(&[
        "bryo: cannot keep files of 16777248 bytes in the store: EFBIG (file too large)\n",
        "hint: the limit of the size of files (`ulimit -f`) holds for bryo too",
    ]);
    let id = detached(&["--log-max-size", "512k"]).succeeds().stdout();
    world.bryo(["wait", id.trim()]).ends().succeeds();
    world.bryo(["logs", id.trim()]).ends().succeeds().stdout_is("said\n");
}
