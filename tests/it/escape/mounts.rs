//! Mounts that the payload wants undone: read-only ones, masks, and those below them.

use super::{attack, home_is_a_copy, sandbox};
use crate::support::{Host, World};

/// Everything that could lift a mount (first argument) or make one writable (second), with the calls
/// of old and of new kernels; prints what succeeds.
const LIFT: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(const char *name, long result) {
    if (result >= 0)
        printf("%s\n", name);
}
int main(int argc, char **argv) {
    const char *mask = argv[1], *fixed = argv[2];
    unsigned long writable[4] = {0, 1 /* MOUNT_ATTR_RDONLY */, 0, 0};
    mkdir("/tmp/there", 0755);
    say("remount", mount(0, fixed, 0, MS_REMOUNT | MS_BIND, 0));
    say("mount_setattr", syscall(442, AT_FDCWD, fixed, 0, writable, sizeof writable));
    say("mount_setattr-all", syscall(442, AT_FDCWD, fixed, 0x8000, writable, sizeof writable));
    int tree = syscall(428, AT_FDCWD, fixed, 1);
    if (tree >= 0)
        say("setattr-of-clone", syscall(442, tree, "", 0x1000, writable, sizeof writable));
    tree = syscall(428, AT_FDCWD, mask, 0);
    if (tree >= 0)
        say("move_mount", syscall(429, tree, "", AT_FDCWD, "/tmp/there", 4));
    say("move", mount(mask, "/tmp/there", 0, MS_MOVE, 0));
    say("umount", umount2(mask, 0));
    say("detach", umount2(mask, MNT_DETACH));
    puts("over");
    return 0;
}
"#;

#[test]
fn a_mask_cannot_be_lifted_and_a_read_only_mount_not_made_writable() {
    let world = World::new();
    let lift = attack(&world, "lift", LIFT);
    // The control: in a namespace of one's own, what one has mounted oneself.
    let own = "mount -t tmpfs x /etc/ssl && mount --bind /usr /usr && mount -o remount,bind,ro /usr && \
               mount -t tmpfs x /tmp && exec $0 /etc/ssl /usr";
    let control = world.program("/usr/bin/unshare", ["-Urm", "/bin/sh", "-c", own, &lift]);
    control
        .ends()
        .succeeds()
        .stdout_has("remount\n")
        .stdout_has("mount_setattr\n")
        .stdout_has("move");
    for (mask, fixed) in
        [("/proc/sys", "/proc/sys"), ("/etc/shadow", "/usr"), ("/sys/firmware", "/etc")]
    {
        sandbox(&world).exec([&lift, mask, fixed]).succeeds().stdout_is("over\n");
        let nested = ["/usr/bin/unshare", "-Urm", &lift, mask, fixed];
        // Namespaces are refused; where they are allowed, their mounts stay locked.
        sandbox(&world).exec(nested).fails().stdout_is("");
        sandbox(&world).arg("--nesting").exec(nested).succeeds().stdout_is("over\n");
    }
}

#[test]
fn a_secret_is_not_below_its_mask_for_who_may_mount() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.file(".ssh/id", "the key");
    let look =
        "umount ~/.ssh; mkdir -p /tmp/m; mount --bind ~ /tmp/m; cat ~/.ssh/id /tmp/m/.ssh/id; true";
    let masked = format!("mount -t tmpfs x ~/.ssh; mount -t tmpfs x /tmp; {look}");
    let control = world.program("/usr/bin/unshare", ["-Urm", "/bin/sh", "-c", &masked]);
    control.ends().stdout_has("the key");
    let nested = ["/usr/bin/unshare", "-Urm", "/bin/sh", "-c", look];
    sandbox(&world).arg("--nesting").exec(nested).succeeds().stdout_is("");
}

/// Copies the tree at the first argument without what is mounted in it, and prints the second from the copy.
const COPY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char text[64];
    int tree = syscall(428, AT_FDCWD, argv[1], 1 /* OPEN_TREE_CLONE */);
    int file = openat(tree, argv[2], O_RDONLY);
    ssize_t length = read(file, text, sizeof text);
    if (length > 0)
        fwrite(text, 1, length, stdout);
    puts("over");
    return 0;
}
"#;

#[test]
fn a_capability_with_which_masks_are_lifted_does_not_stay() {
    let world = World::new();
    let hidden = world.file("shown/hid/one", "the key\n");
    let hidden = hidden.parent().unwrap().to_str().unwrap().to_owned();
    let shown = world.path("shown").to_str().unwrap().to_owned();
    let lift = attack(&world, "lift", LIFT);
    let copy = attack(&world, "copy", COPY);
    // The control: with that capability over the namespace in which the mask was made.
    let masked = "mount -t tmpfs x $1 && mount --bind /usr /usr && mount -o remount,bind,ro /usr && \
                  mount -t tmpfs x /tmp && $2 $3 hid/one && exec $0 $1 /usr";
    let own = ["-Urm", "/bin/sh", "-c", masked, &lift, &hidden, &copy, &shown];
    let control = world.program("/usr/bin/unshare", own).ends().succeeds();
    control.stdout_has("the key\n").stdout_has("mount_setattr\n").stdout_has("move_mount\n");
    world.host(Host::MayChange);
    let run =
        |flags: &[&str]| sandbox(&world).args(["--write", &shown, "--hide", &hidden]).args(flags);
    // Landlock is no answer to either call: it takes a filter.
    for flags in [
        &["--nesting", "--cap-add", "SYS_ADMIN"][..],
        &["--cap-add", "all", "--seccomp", "unconfined", "--landlock", "off"],
        &["--cap-add", "all", "--seccomp", "unconfined"],
    ] {
        let refused = run(flags).exec([&copy, &shown, "hid/one"]);
        refused.exits_with(125).stdout_is("").stderr_has("would lift every mask");
    }
    for flags in [
        &["--nesting"][..],
        &["--cap-add", "all"],
        &["--cap-add", "SYS_ADMIN", "--landlock", "off"],
        &["--cap-add", "all", "--cap-drop", "SYS_ADMIN", "--nesting"],
    ] {
        run(flags).exec([&copy, &shown, "hid/one"]).succeeds().stdout_is("over\n");
        run(flags).exec([&lift, &hidden, "/usr"]).succeeds().stdout_is("over\n");
    }
}

/// Mounts a private file system on the first argument, gives up what that took, and goes on as who it
/// was.
const MOUNTED: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
static void put(const char *file, const char *text) {
    int fd = open(file, O_WRONLY);
    write(fd, text, strlen(text));
    close(fd);
}
int main(int argc, char **argv) {
    char uid[64], gid[64];
    snprintf(uid, 64, "%d %d 1", getuid(), getuid());
    snprintf(gid, 64, "%d %d 1", getgid(), getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return 99;
    put("/proc/self/setgroups", "deny");
    put("/proc/self/gid_map", gid);
    put("/proc/self/uid_map", uid);
    if (mount("none", argv[1], "tmpfs", 0, "mode=0777"))
        return 98;
    execvp(argv[2], argv + 2);
    return 97;
}
"#;

#[test]
fn read_only_holds_on_every_mount_below() {
    let world = World::new();
    world.host(Host::MayChange);
    let below = world.folder("shown/below");
    let mounted = attack(&world, "mounted", MOUNTED);
    let write = "cd ../shown && for f in file below/file; do \
                 if (echo x >$f) 2>/dev/null; then echo wrote $f; fi; done; true";
    let with = || [mounted.as_str(), below.to_str().unwrap()];
    let control = world.program("/bin/sh", ["-c", write]).under(with()).ends();
    control.succeeds().stdout_is("wrote file\nwrote below/file\n");
    let shown = world.path("shown");
    let run = sandbox(&world).under(with()).arg("--read").arg(&shown);
    run.run(write).succeeds().stdout_is("");
    let run = sandbox(&world).under(with()).arg("-v").arg(format!("{}:/tmp/v:ro", shown.display()));
    run.run("for f in /tmp/v/file /tmp/v/below/file; do (echo x >$f) 2>/dev/null && echo wrote; done; true")
        .succeeds()
        .stdout_is("");
    // Written where that was asked for: the mount below is really there.
    let run = sandbox(&world).under(with()).arg("--write").arg(&shown);
    run.run(write).succeeds().stdout_is("wrote file\nwrote below/file\n");
}

#[test]
fn no_mount_inside_honours_set_id_and_only_the_listed_devices_are_there() {
    let world = World::new();
    let table = "while read -r _ _ _ _ at options _; do case $options in *nosuid*) ;; \
                 *) echo $at;; esac; done </proc/self/mountinfo";
    world.outside(table).stdout_has("/\n");
    sandbox(&world).run(table).succeeds().stdout_is("");
    let devices =
        "for f in /dev/*; do if [ ! -L $f ] && { [ -c $f ] || [ -b $f ]; }; then echo $f; fi; done";
    let outside = world.outside(devices).stdout();
    let devices = sandbox(&world).run(devices).stdout();
    let expected = ["full", "null", "random", "tty", "urandom", "zero"];
    assert_eq!(devices, expected.map(|name| format!("/dev/{name}\n")).concat());
    assert_ne!(outside, devices, "the control: the host has others");
}
