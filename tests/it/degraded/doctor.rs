//! What `bryo doctor` says of hosts that lack something, each made for real in namespaces of its own.

use super::{after, refusing};
use crate::support::{Ended, Overlay, World, overlay_is_one_of};

fn doctor_after(world: &World, script: &str) -> Ended {
    world.bryo(["doctor", "--json"]).under(after(script)).ends()
}

/// `bryo doctor --json` where these calls fail: pairs of a call's number and an errno.
fn doctor_refused(world: &World, calls: &[(libc::c_long, i32)]) -> Ended {
    world.bryo(["doctor", "--json"]).under(refusing(world, calls)).ends()
}

/// What doctor says of one thing: its state and its detail.
#[track_caller]
fn said(ended: &Ended, id: &str) -> (String, String) {
    let report: serde_json::Value = serde_json::from_str(&ended.stdout()).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == id).unwrap();
    let text = |key: &str| finding[key].as_str().unwrap().to_owned();
    (text("state"), text("detail"))
}

#[track_caller]
fn command(ended: &Ended, id: &str) -> String {
    let report: serde_json::Value = serde_json::from_str(&ended.stdout()).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == id).unwrap();
    finding["remedy"]["command"].as_str().unwrap().to_owned()
}

fn pair(state: &str, detail: &str) -> (String, String) {
    (state.to_owned(), detail.to_owned())
}

#[test]
fn doctor_finds_this_host_fit_and_leaves_nothing() {
    let world = World::new();
    let ended = world.bryo(["doctor", "--json"]).ends().succeeds().stderr_is("");
    for id in ["kernel", "user-namespaces", "mounts", "procfs", "overlay", "store", "seccomp"] {
        assert_eq!(said(&ended, id).0, "ok", "{id}: {}", ended.stdout());
    }
    // The store was tried where it would be, and is not there afterwards.
    assert!(!world.exists(".local"));
    world.bryo(["doctor"]).ends().succeeds().stdout_has("A default run works here");
}

#[test]
fn in_a_sandbox_doctor_says_so_and_what_the_run_around_it_needs() {
    if !overlay_is_one_of(&[Overlay::Kernel]) {
        return;
    }
    let world = World::new();
    let inner = super::bryo(&world);
    let doctor = |flags: &[&str], words: &[&str]| {
        let run = world.sandbox().arg("--rm").args(flags);
        run.exec([&[inner.as_str(), "doctor"], words].concat()).stderr_is("")
    };
    let ended = doctor(&[], &["--json"]).exits_with(1);
    assert_eq!(said(&ended, "around").0, "ok");
    for (id, flag) in [
        ("user-namespaces", "`--nesting`"),
        ("seccomp-listener", "`--no-notify`"),
        ("tun", "`--device /dev/net/tun`"),
    ] {
        assert_eq!(command(&ended, id), format!("give the run around it {flag}"));
    }
    // Nothing names a file or a program of the machine's administrator.
    for administrators in ["sudo", "/etc/", "boot with", "modprobe", "--fix-script"] {
        assert!(!ended.stdout().contains(administrators), "{administrators}: {}", ended.stdout());
        doctor(&[], &[]).exits_with(1).stdout_lacks(administrators);
    }
    doctor(&[], &["--fix-script"]).succeeds().stdout_has("# nothing that a script can fix");
    let given = ["--nesting", "--no-notify", "--device", "/dev/net/tun"];
    let ended = doctor(&given, &["--json"]).succeeds();
    for id in ["user-namespaces", "mounts", "seccomp-listener", "tun"] {
        assert_eq!(said(&ended, id).0, "ok", "{id}: {}", ended.stdout());
    }
    // Out here nothing is said of a sandbox.
    let outside = world.bryo(["doctor", "--json"]).ends().succeeds();
    assert!(outside.stdout().contains("\"in_sandbox\": false"), "{}", outside.stdout());
}

#[test]
fn a_helper_that_is_not_installed_is_named_with_its_package() {
    let world = World::new();
    let ended = doctor_after(&world, "mount --bind /dev/null /usr/bin/newuidmap").succeeds();
    assert_eq!(said(&ended, "subids"), pair("missing", "`newuidmap` is not installed"));
    assert!(command(&ended, "subids").ends_with("uidmap"));
}

#[test]
fn a_masked_proc_is_found_out_by_trying() {
    let world = World::new();
    let ended = doctor_after(&world, "mount --bind /dev/null /proc/version").succeeds();
    assert_eq!(said(&ended, "procfs"), pair("missing", "refused: EPERM (operation not permitted)"));
    // The control: in the same namespaces with nothing masked it can be mounted.
    let ended = doctor_after(&world, "true").succeeds();
    assert_eq!(said(&ended, "procfs"), pair("ok", "can be mounted"));
}

#[test]
fn user_namespaces_that_are_switched_off_have_a_script_that_switches_them_on() {
    let world = World::new();
    let switched_off = "echo 0 >/proc/sys/user/max_user_namespaces";
    let ended = doctor_after(&world, switched_off).exits_with(1);
    assert_eq!(
        said(&ended, "user-namespaces"),
        pair("broken", "user namespaces are switched off: `user.max_user_namespaces` is 0")
    );
    world
        .bryo(["doctor"])
        .under(after(switched_off))
        .ends()
        .exits_with(1)
        .stdout_has("broken    user namespaces")
        .stdout_has("No default run works here.");
    let script =
        world.bryo(["doctor", "--fix-script"]).under(after(switched_off)).ends().succeeds();
    assert!(
        script.stdout().contains("\nset_sysctl user.max_user_namespaces "),
        "{}",
        script.stdout()
    );
    world
        .program("/bin/sh", ["-n"])
        .stdin(crate::support::Stdin::Text(script.stdout().into()))
        .ends()
        .succeeds();
}

#[test]
fn a_device_that_is_another_one_is_not_fuse() {
    let world = World::new();
    let ended = doctor_after(&world, "mount --bind /dev/null /dev/fuse").succeeds();
    assert_eq!(said(&ended, "fuse"), pair("missing", "`/dev/fuse` cannot be opened"));
    assert_eq!(command(&ended, "fuse"), "sudo modprobe fuse && sudo chmod 0666 /dev/fuse");
}

#[test]
fn a_store_on_a_file_system_that_holds_no_upper_is_told_with_its_path() {
    let world = World::new();
    for folder in ["lower", "upper", "work", "merged"] {
        world.folder(folder);
    }
    world.host(crate::support::Host::MayChange);
    let script = "cd ..; mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work o merged; \
                  mkdir -m 700 merged/store";
    let store = world.path("merged/store");
    let ended = world
        .bryo(["doctor", "--json"])
        .env("BRYO_STORE", &store)
        .under(after(script))
        .ends()
        .succeeds();
    let expected = format!(
        "{} is on a file system that cannot hold an upper layer of the kernel's",
        store.display()
    );
    assert_eq!(said(&ended, "store"), pair("missing", &expected));
}

#[test]
fn without_a_home_the_store_is_elsewhere() {
    let world = World::new();
    let ended = world.bryo(["doctor", "--json"]).env("HOME", "/nonexistent").ends().succeeds();
    assert_eq!(said(&ended, "home").0, "missing");
    let (state, detail) = said(&ended, "store");
    assert!(state == "ok" && detail.starts_with("/var/tmp/bryo-"), "{detail}");
}

#[test]
fn a_kernel_without_landlock_is_told() {
    let world = World::new();
    let calls = [(libc::SYS_landlock_create_ruleset, libc::ENOSYS)];
    let ended = doctor_refused(&world, &calls).succeeds();
    assert_eq!(
        said(&ended, "landlock"),
        pair("missing", "not there: ENOSYS (function not implemented)")
    );
}

#[test]
fn a_filter_that_knows_only_the_old_clone_is_no_obstacle() {
    let world = World::new();
    let ended = doctor_refused(&world, &[(libc::SYS_clone3, libc::ENOSYS)]).succeeds();
    assert_eq!(said(&ended, "user-namespaces"), pair("ok", "made, with all capabilities"));
}

#[test]
fn a_filter_that_forbids_namespaces_is_told_from_a_switch() {
    let world = World::new();
    let ended = doctor_refused(&world, &[(libc::SYS_clone3, libc::EPERM)]).exits_with(1);
    assert_eq!(
        said(&ended, "user-namespaces"),
        pair("broken", "a filter of system calls forbids user namespaces, as in a container")
    );
}

#[test]
fn without_the_new_mount_calls_no_sandbox_can_be_built() {
    let world = World::new();
    let ended = doctor_refused(&world, &[(libc::SYS_mount_setattr, libc::ENOSYS)]).exits_with(1);
    assert_eq!(
        said(&ended, "mounts"),
        pair(
            "broken",
            "a read-only copy of the host's tree: refused: ENOSYS (function not implemented)"
        )
    );
}

#[test]
fn two_answers_at_once_are_refused() {
    World::new()
        .bryo(["doctor", "--json", "--fix-script"])
        .ends()
        .refuses_with(&["--json", "--fix-script"]);
}

#[test]
fn without_a_proc_that_is_said_and_nothing_hangs() {
    let world = World::new();
    let ended = doctor_after(&world, "mount -t tmpfs none /proc").exits_with(1);
    assert_eq!(
        said(&ended, "user-namespaces"),
        pair("broken", "`/proc` is not mounted, and ids are mapped through it")
    );
    assert_eq!(
        said(&ended, "unread"),
        pair("broken", "cannot read `/proc/self/status`: no such file or directory")
    );
}

#[test]
fn a_deleted_directory_is_no_obstacle() {
    let world = World::new();
    let gone = world.folder("gone");
    world.host(crate::support::Host::MayChange);
    let script = "rmdir \"$PWD\"; exec \"$@\"";
    world
        .bryo(["doctor"])
        .under(["/bin/sh", "-c", script, "sh"])
        .in_folder(&gone)
        .ends()
        .succeeds()
        .stdout_has("A default run works here");
}
