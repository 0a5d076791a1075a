//! Hosts that are containers, or forbid what a sandbox is made of; sandboxes in sandboxes; a root.

use super::{after, bryo, refusing, then_as_user};
use crate::support::{Host, Overlay, World, overlay_is_one_of};

#[test]
fn with_a_masked_proc_a_run_works_and_has_an_empty_one() {
    let world = World::new();
    let masked = "mount --bind /dev/null /proc/version";
    let run = world.sandbox().under(then_as_user(masked));
    run.run("echo up; ls /proc").succeeds().stdout_is("up\n").stderr_is("");
    // The control: with nothing masked there is one.
    let run = world.sandbox().under(then_as_user("true"));
    run.run("ls /proc").succeeds().stdout_has("\nself\n").stderr_is("");
}

#[test]
fn where_user_namespaces_are_switched_off_a_run_is_refused() {
    let world = World::new();
    let switched_off = "echo 0 >/proc/sys/user/max_user_namespaces";
    world.sandbox().under(after(switched_off)).run("echo up").exits_with(125).stdout_is("").stderr_is(
        "bryo: cannot make a sandbox: user namespaces are switched off: `user.max_user_namespaces` is 0: \
         cannot make the namespaces of a sandbox: ENOSPC (no space left on device)\n\
         hint: an administrator can allow them: `bryo doctor --fix-script` prints how\n",
    );
}

#[test]
fn where_nothing_more_can_be_watched_events_are_told_all_the_same() {
    let world = World::new();
    world.sandbox().args(["--rm"]).run("true").succeeds();
    let used_up = "echo 0 >/proc/sys/user/max_inotify_instances";
    // The control: somebody who watches is refused.
    let watch = "import ctypes; print(ctypes.CDLL(None).inotify_init())";
    let control = world.program("/usr/bin/python3", ["-c", watch]).under(then_as_user(used_up));
    control.ends().succeeds().stdout_is("-1\n");
    let words = ["events", "--since", "1h", "--until", "1s", "--format", "{{.Action}}"];
    let told = world.bryo(words).under(then_as_user(used_up)).ends().succeeds().stderr_is("");
    told.stdout_is(&world.bryo(words).ends().succeeds().stdout());
}

/// What is said where a filter forbids namespaces.
const FILTERED: &str = "bryo: cannot make a sandbox: a filter of system calls forbids user namespaces, as in a container: \
     cannot make the namespaces of a sandbox: EPERM (operation not permitted)\n\
     hint: start the container with a seccomp profile that allows `clone3`, `unshare` and `mount` (Docker: \
     `--security-opt seccomp=unconfined`; bryo: `--nesting`), or run bryo on the host\n";

#[test]
fn where_a_filter_forbids_namespaces_a_run_is_refused() {
    let world = World::new();
    let calls = [(libc::SYS_clone3, libc::EPERM)];
    let run = world.sandbox().under(refusing(&world, &calls));
    run.run("echo up").exits_with(125).stdout_is("").stderr_is(FILTERED);
}

#[test]
fn in_a_sandbox_a_run_is_refused() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    let inner = bryo(&world);
    let run = world.sandbox().arg("--rm");
    run.exec([&inner, "run", "--", "/bin/true"]).exits_with(125).stdout_is("").stderr_is(FILTERED);
}

#[test]
fn in_a_sandbox_that_allows_nesting_a_run_works() {
    if !overlay_is_one_of(&[Overlay::Kernel]) {
        return;
    }
    let world = World::new();
    let inner = bryo(&world);
    let run = world.sandbox().args(["--rm", "--nesting"]);
    run.run(&format!(
        "echo outer >x; {inner} run --rm -- /bin/sh -c 'cat x; echo inner >x; cat x; id -u'; cat x"
    ))
    .succeeds()
    .stdout_is(&format!("outer\ninner\n{}\nouter\n", rustix::process::getuid().as_raw()))
    .stderr_is("");
}

#[test]
fn in_a_sandbox_that_writes_to_the_host_a_nested_run_is_refused_with_the_reason() {
    if !overlay_is_one_of(&[Overlay::Kernel]) {
        return;
    }
    let world = World::new();
    world.folder("project/out");
    let inner = bryo(&world);
    let run = world.sandbox().args(["--rm", "--nesting", "--write", "out"]);
    run.exec([&inner, "run", "--", "/bin/true"])
        .exits_with(125)
        .stdout_is("")
        .stderr_has("a filter hides it")
        .stderr_has("without `--write`");
}

#[test]
fn a_caller_who_is_root_gets_a_sandbox_like_any_other() {
    let world = World::new();
    let run = world.sandbox().arg("--rm").under(after("true"));
    run.run("id -u; echo x >x && cat x; grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo x >/etc/x || :")
        .succeeds()
        .stdout_is("0\nx\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n")
        .stderr_is("/bin/sh: 1: cannot create /etc/x: Read-only file system\n");
    // To the host it is the ordinary user that it was.
    let run = world.bryo(["run", "--rm", "--write"]).arg(world.project()).under(after("true"));
    world.host(Host::MayChange);
    run.run("echo y >y").succeeds();
    assert_eq!(world.read("project/y"), "y\n");
}

/// Says what becomes of a new keyring, of one with a name, and of a look at the session's.
const KEYS: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *call(long op, const char *name) {
    return syscall(SYS_keyctl, op, name, 0, 0, 0) < 0 ? strerrorname_np(errno) : "done";
}
int main(void) {
    printf("%s %s %s\n", call(1, 0), call(1, "name"), call(0, (const char *)-3));
}
"#;

#[test]
fn nesting_gives_a_new_keyring_and_no_other_call_about_keys() {
    let world = World::new();
    let keys = world.c_program("keys", &format!("#define _GNU_SOURCE\n{KEYS}"));
    world.outside("bin/keys").stdout_is("done done done\n");
    let to = keys.display().to_string();
    let run = || world.bryo(["run", "--rm", "--read"]).arg(&to);
    run().exec([&to]).succeeds().stdout_is("EPERM EPERM EPERM\n");
    run().arg("--nesting").exec([&to]).succeeds().stdout_is("done EPERM EPERM\n");
}
