//! The commands that everybody types first.

use crate::support::{Host, Overlay, World, overlay_is_one_of};

const COPY_ON_WRITE: &[Overlay] = &[Overlay::Kernel, Overlay::Fuse];

#[test]
fn the_payloads_exit_status_is_that_of_the_run() {
    let world = World::new();
    world.sandbox().run("exit 0").succeeds().stdout_is("").stderr_is("");
    world.sandbox().run("echo out; echo err >&2; exit 7").exits_with(7).stdout_is("out\n");
    world.sandbox().run("kill -9 $$").exits_with(128 + 9);
    world.sandbox().exec(["/no/such/program"]).exits_with(127);
    world.sandbox().exec(["/etc/passwd"]).exits_with(126);
}

#[test]
fn what_is_written_stays_in_a_layer_that_diff_shows() {
    if !overlay_is_one_of(COPY_ON_WRITE) {
        return;
    }
    let world = World::new();
    world.file("project/changed", "old\n");
    world.file("project/deleted", "");
    world
        .sandbox()
        .run("echo new >changed; rm deleted; echo x >added; cat changed")
        .stdout_is("new\n");
    assert_eq!(world.read("project/changed"), "old\n");
    let project = world.project();
    let project = project.display();
    world
        .bryo(["diff", "--name-status"])
        .ends()
        .succeeds()
        .stdout_is(&format!("A {project}/added\nC {project}/changed\nD {project}/deleted\n"));
    world.keeps(1);
}

#[test]
fn a_run_that_writes_nothing_or_is_not_kept_leaves_no_record() {
    let world = World::new();
    world.sandbox().run("cat /etc/hostname; ls ~").succeeds();
    world.sandbox().arg("--rm").run("echo x >added").succeeds();
}

#[test]
fn what_is_named_with_write_changes_on_the_host_and_nothing_else_does() {
    let world = World::new();
    world.host(Host::MayChange);
    let out = world.folder("project/out");
    world
        .sandbox()
        .arg("--rm")
        .arg("--write")
        .arg(&out)
        .run("echo made >out/a; echo x >../b")
        .succeeds();
    assert_eq!(world.read("project/out/a"), "made\n");
    assert!(!world.exists("b"));
}

#[test]
fn a_private_key_cannot_be_read() {
    let world = World::new();
    world.file(".ssh/id_ed25519", "the key");
    world.outside("cat .ssh/id_ed25519").stdout_is("the key");
    world.sandbox().run("cat ~/.ssh/id_ed25519").fails().stdout_is("");
}

#[test]
fn a_payload_on_a_terminal_has_one_of_its_own_that_follows_the_callers() {
    let world = World::new();
    let device = "stat -c %d /dev/pts";
    let outer = world.outside(device).succeeds().stdout();
    let mut terminal = world.sandbox().args(["--rm", "--", "/bin/sh", "-i"]).on_terminal();
    terminal.types(&format!("echo on $({device}) th''at\r")).shows(" that");
    assert!(!terminal.screen().contains(&format!("on {} that", outer.trim())), "{outer}");
    terminal.types("tty; stty size\r").shows("/dev/pts/").shows("24 80");
    terminal.resize(30, 100);
    terminal.types("stty size\r").shows("30 100");
    // Who says so is who is in the foreground by then, and so is interrupted.
    terminal.types("sh -c 'echo sleep\"\"ing; exec sleep 100'\r").shows("sleeping\r\n");
    terminal.types("\x03").shows("$ ");
    terminal.types("echo st''ill here\r").shows("still here").types("exit 3\r");
    terminal.ends().exits_with(3);
}

#[test]
fn the_payload_may_use_the_processors_that_its_caller_may() {
    let world = World::new();
    let asked = "grep ^Cpus_allowed_list /proc/self/status";
    let all = world.outside(asked).succeeds().stdout();
    // The payload's from its first instruction on. Pid 1 leaves its processor to the payload, and so may use one less
    // for a moment beside it; if that stayed, this would not end before the limit.
    let both = format!(
        "{asked}; until [ \"$(grep ^Cpus_allowed_list /proc/1/status)\" = '{}' ]; do sleep 0.01; done",
        all.trim_end()
    );
    world.sandbox().args(["--timeout", "60s"]).run(&both).succeeds().stdout_is(&all);
    // One of them alone, as `taskset -c 0` leaves it to its caller.
    let bryo = crate::support::bryo();
    let one = ["-c", "0", &bryo.to_string_lossy(), "run", "--rm", "--", "sh", "-c", asked]
        .map(str::to_owned);
    world.program("/usr/bin/taskset", one).ends().succeeds().stdout_is("Cpus_allowed_list:\t0\n");
}
