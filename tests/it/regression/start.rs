//! What keeps a program from being started.

use std::os::unix::fs::PermissionsExt;

use crate::support::World;

#[test]
fn a_missing_interpreter_is_named() {
    let world = World::new();
    for (name, text) in
        [("script", "#! /nonexist\u{1b}[2J -x\n"), ("fine", "#!/bin/sh\necho ran\n")]
    {
        let path = world.project().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.sandbox().exec(["./fine"]).succeeds().stdout_is("ran\n");
    let ended = world.sandbox().exec(["./script"]).exits_with(127).stdout_is("");
    ended.stderr_has(
        "bryo: cannot find `/nonexist\\u{1b}[2J` in the sandbox, the interpreter of `./script`\n",
    );
    world.sandbox().exec(["./gone"]).exits_with(127).stderr_has("bryo: cannot find `./gone` in");
}

#[test]
fn what_no_exec_takes_is_refused_with_its_name() {
    let world = World::new();
    std::fs::write(world.project().join("big.env"), format!("BIG={}\n", "x".repeat(900_000)))
        .unwrap();
    world.sandbox().args(["--env-file", "big.env"]).run("true").refuses_with(&[
        "bryo: cannot pass the variable `BIG`, 900004 bytes long: the kernel takes 131071 in one\n",
        "hint: give it in a file",
    ]);
}

#[test]
fn a_policy_under_which_nothing_starts_is_refused() {
    let world = World::new();
    for action in ["KILL", "NOTIFY", "ERRNO"] {
        let json = format!(r#"{{"defaultAction":"SCMP_ACT_{action}","syscalls":[]}}"#);
        std::fs::write(world.project().join("policy.json"), json).unwrap();
        world.sandbox().args(["--seccomp", "./policy.json"]).run("true").refuses_with(&[
            "bryo: cannot start a program under seccomp policy `",
            "`: it refuses `execve`, without which nothing starts\n",
            "hint: allow `execve` and `sendmsg`",
        ]);
    }
}
