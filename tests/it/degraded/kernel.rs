//! Kernels that do not know a call, made by a filter that says so.

use super::refusing;
use crate::support::World;

const LANDLOCK: [libc::c_long; 3] = [
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
];

#[test]
fn without_landlock_a_run_works_unless_it_is_required() {
    let world = World::new();
    let calls = LANDLOCK.map(|call| (call, libc::ENOSYS));
    let run = world.sandbox().arg("--rm").under(refusing(&world, &calls));
    run.run("echo up; echo x >x; echo x >/etc/x || echo refused")
        .succeeds()
        .stdout_is("up\nrefused\n")
        .stderr_is("/bin/sh: 1: cannot create /etc/x: Read-only file system\n");
}

#[test]
fn with_only_the_old_clone_a_run_works() {
    let world = World::new();
    let run = world.sandbox().under(refusing(&world, &[(libc::SYS_clone3, libc::ENOSYS)]));
    run.run("echo up").succeeds().stdout_is("up\n").stderr_is("");
}

#[test]
fn without_the_new_mount_calls_a_run_is_refused() {
    let world = World::new();
    for (call, name, since) in [
        (libc::SYS_mount_setattr, "mount_setattr", "5.12"),
        (libc::SYS_open_tree, "open_tree", "5.2"),
        (libc::SYS_openat2, "openat2", "5.6"),
        (libc::SYS_fsopen, "fsopen", "5.2"),
        (libc::SYS_move_mount, "move_mount", "5.2"),
        (libc::SYS_fsconfig, "fsconfig", "5.2"),
        (libc::SYS_fsmount, "fsmount", "5.2"),
    ] {
        let ended = world.sandbox().under(refusing(&world, &[(call, libc::ENOSYS)])).run("echo up");
        let said = ended.stderr();
        let ended = ended.exits_with(125).stdout_is("");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "call {call}: {ended}");
        let begins = format!(
            "bryo: cannot make a sandbox: the kernel has no `{name}`, which Linux {since} brought, or a filter \
             hides it: cannot "
        );
        assert!(lines[0].starts_with(&begins), "call {call}: {ended}");
        assert!(lines[0].ends_with(": ENOSYS (function not implemented)"), "call {call}: {ended}");
        assert_eq!(
            lines[1],
            "hint: boot Linux 5.12 or later; in a container, let its seccomp profile allow the call; in a sandbox \
             of bryo's, start that one without `--write`"
        );
    }
    // The control: the same filter for a call that nobody makes.
    let run = world.sandbox().under(refusing(&world, &[(libc::SYS_swapoff, libc::ENOSYS)]));
    run.run("echo up").succeeds().stdout_is("up\n").stderr_is("");
}
