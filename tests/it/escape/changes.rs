//! What the payload leaves in the changes layer, and what `bryo diff` makes of it.

use std::os::unix::ffi::OsStrExt as _;

use super::{attack, home_is_a_copy};
use crate::support::{Host, Need, Overlay, World, has, overlay_is_one_of};

/// Makes names that do something when a terminal shows them.
const NAMES: &str = r#"
#include <fcntl.h>
#include <unistd.h>
int main(void) {
    static const char *names[] = {
        "line\nA passwd", "\033]0;title\007\033[2J", "invalid-\xff\xfe", "bidi-\xe2\x80\xae" "txt.exe",
        "c1-\xc2\x9b" "31m", "zero-\xe2\x80\x8bwidth", "back\\slash", "$(touch ran)", "-rf",
    };
    for (int i = 0; i < sizeof names / sizeof *names; i++)
        close(open(names[i], O_CREAT | O_WRONLY, 0644));
    symlink("\033[31m", "link");
    return 0;
}
"#;

#[test]
fn names_are_shown_escaped_by_diff_and_ps_and_inspect() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let names = attack(&world, "names", NAMES);
    let run = world.sandbox().args(["--", &names, "\x1b]0;title\x07", "\u{202e}"]);
    run.ends().succeeds();
    for words in [
        &["diff"][..],
        &["diff", "--names"],
        &["diff", "--json"],
        &["ps", "-a"],
        &["ps", "-a", "--json"],
        &["inspect"],
    ] {
        let shown = world.bryo(words).ends().succeeds();
        let text = String::from_utf8(shown.stdout.clone()).unwrap();
        let raw = |c: char| {
            (c.is_control() && c != '\n')
                || ('\u{200b}'..='\u{200f}').contains(&c)
                || ('\u{202a}'..='\u{202e}').contains(&c)
        };
        assert!(!text.contains(raw), "{words:?}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("A passwd")), "{words:?}: {text}");
    }
    world.bryo(["diff"]).ends().stdout_has("title").stdout_has("invalid-").stdout_has("passwd");
    // The control: the names are what they are said to be.
    let program = world
        .program(&names, [""; 0])
        .in_folder(world.folder(".local/share/bryo/names-of-the-control"));
    program.ends().succeeds();
    let folder = world.path(".local/share/bryo/names-of-the-control");
    let raw = std::fs::read_dir(&folder).unwrap().flatten();
    let raw: Vec<u8> = raw.flat_map(|entry| entry.file_name().as_bytes().to_vec()).collect();
    assert!(raw.contains(&0x1b) && raw.contains(&0xff) && raw.contains(&b'\n'));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Sets attributes that an overlay understands on a directory and a file of its own.
const FORGE: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
int main(int argc, char **argv) {
    static const char *names[] = {
        "user.overlay.redirect", "user.overlay.metacopy", "user.overlay.opaque", "user.overlay.origin",
        "user.overlay.overlay.redirect", "trusted.overlay.redirect", "user.fuseoverlayfs.redirect",
        "user.fuseoverlayfs.opaque", "user.fuseoverlayfs.origin", "user.containers.override_stat",
        "security.capability",
    };
    int set = 0;
    for (int i = 0; i < sizeof names / sizeof *names; i++)
        for (int a = 1; a < argc; a++) {
            const char *value = strstr(names[i], "redirect") ? "/.ssh" : strstr(names[i], "stat") ? "0:0:4755" : "y";
            set += !setxattr(argv[a], names[i], value, strlen(value), 0);
        }
    mknod("whiteout", S_IFCHR | 0666, makedev(0, 0));
    mknod("device", S_IFCHR | 0666, makedev(1, 1));
    mknod(".wh.kept", S_IFREG | 0666, 0);
    printf("%s\n", set ? "forged" : "none");
    return 0;
}
"#;

#[test]
fn forged_attributes_show_no_hidden_place_and_invent_no_change() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file(".ssh/id", "the key");
    world.file("project/kept/file", "kept\n");
    let forge = attack(&world, "forge", FORGE);
    let look = "cat made/id ../.ssh/id file 2>/dev/null; cat kept/file; find . -type c; true";
    let run = format!("mkdir made; : >file; {forge} made file . kept; {look}");
    // The control: the attributes can be set, here or on the plain file system.
    let control = world.folder(".local/share/bryo-control");
    let outside = world.program(&forge, [control.to_str().unwrap()]).in_folder(&control);
    world.host(crate::support::Host::MayChange);
    outside.ends().stdout_is("forged\n");
    std::fs::remove_dir_all(&control).unwrap();
    world.host(crate::support::Host::Unchanged);
    world
        .sandbox()
        .run(&run)
        .succeeds()
        .stdout_lacks("the key")
        .stdout_has("kept\n")
        .stdout_lacks("./");
    let diff = world.bryo(["diff", "--names"]).ends().stdout();
    for invented in [".ssh", "/id\n", "kept/file", "device"] {
        assert!(!diff.contains(invented), "{diff}");
    }
    assert!(diff.contains("/made"), "{diff}");
}

#[test]
fn a_link_that_points_out_is_shown_as_a_link_and_not_followed() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("outside/one", "x");
    world.folder("project/d");
    let swap = "rm -rf d && ln -s ../outside d && ln -s /etc/passwd p && ln -s . loop";
    world.sandbox().run(swap).succeeds();
    let diff = world.bryo(["diff", "--names"]).ends().succeeds().stdout();
    let expected =
        ["d", "loop", "p"].map(|name| format!("{}/{name}\n", world.project().display())).concat();
    assert_eq!(diff, expected);
    // The control: followed, there is a file behind it.
    assert!(world.project().join("../outside/one").exists());
}

#[test]
fn a_hook_where_the_hosts_git_settings_have_it_is_not_applied_without_a_yes() {
    if !home_is_a_copy() || !has(Need::Program("git")) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("project/checks/README", "x\n");
    let init = "cd project && git init -q . && git config core.hooksPath checks && git worktree list >/dev/null";
    world.outside(init).succeeds();
    let plant =
        "printf '#!/bin/sh\\ntouch ~/was-here\\n' >checks/pre-commit; chmod 755 checks/pre-commit";
    world.sandbox().run(plant).succeeds();
    let told = world.bryo(["apply"]).ends().exits_with(1);
    told.stdout_has("checks/pre-commit").stdout_has("git will execute it");
    assert!(!world.exists("project/checks/pre-commit"));
    // The control: with a yes it is there, and git executes it.
    world.bryo(["apply", "--allow-executed-later"]).ends().succeeds();
    let commit = "cd project && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x";
    world.outside(commit).succeeds();
    assert!(world.exists("was-here"));
}
