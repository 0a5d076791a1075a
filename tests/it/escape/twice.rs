//! What is hidden at one place and seen at another: volumes, and mounts of the host's that show a place twice.

use super::{home_is_a_copy, sandbox};
use crate::degraded::then_as_user;
use crate::support::{Host, World};

const MARK: &str = "the-mark-of-a-secret";

#[test]
fn what_a_flag_hides_is_hidden_in_every_view_of_what_holds_it() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.file("held/a/file", MARK);
    world.file("held/b/in/it", MARK);
    let held = world.path("held").display().to_string();
    for mode in ["ro", "rw", "cow"] {
        let volume = format!("{held}:/tmp/seen:{mode}");
        let attack =
            format!("cat /tmp/seen/a/file /tmp/seen/b/in/it; grep -r {MARK} /tmp/seen; true");
        let run = || sandbox(&world).args(["-v", &volume]);
        run().run(&attack).stdout_has(&MARK.repeat(2));
        let hidden = ["--hide", "../held/a/file", "--hide", "../held/b"];
        run().args(hidden).run(&attack).stdout_is("");
        // What is named by itself was meant.
        let named = format!("{held}/b:/tmp/named:{mode}");
        let run = run().args(hidden).args(["-v", &named]);
        run.run("cat /tmp/named/in/it").succeeds().stdout_is(MARK);
    }
    let root = ["--rootfs", &held, "--hide", "/a/file"];
    let listed = sandbox(&world).args(root).exec(["/a/file"]);
    listed.exits_with(127);
}

#[test]
fn what_a_mount_shows_once_more_is_hidden_there_too() {
    if !home_is_a_copy() {
        return;
    }
    for place in ["/opt", "/usr/local/lib", "$HOME/project/again"] {
        let world = World::new();
        world.host(Host::MayChange);
        world.folder("project/again");
        world.file(".ssh/id", MARK);
        world.file(".netrc", MARK);
        world.file("dotfiles/hidden", MARK);
        world.file("shown", "shown");
        let place = place.replace("$HOME", world.home().to_str().unwrap());
        let script = format!("mount --bind \"$HOME\" {place}; cd \"$PWD\"");
        let attack = format!(
            "cat {place}/shown {place}/.ssh/id {place}/.netrc {place}/dotfiles/hidden; true"
        );
        let outside = world.program("/bin/sh", ["-c", &attack]).under(then_as_user(&script)).ends();
        outside.stdout_is(&format!("shown{}", MARK.repeat(3)));
        let run = || sandbox(&world).env("BRYO_STORE", world.store());
        let hide = ["--hide", "../dotfiles/hidden"];
        let seen = run().args(hide).under(then_as_user(&script)).run(&attack);
        seen.stdout_is("shown");
        // What is asked for by that name is opened.
        let named = format!("{place}/.netrc");
        let seen = run().args(["--read", &named]).under(then_as_user(&script)).run(&attack);
        seen.stdout_is(&format!("shown{}", MARK.repeat(2)));
    }
}

#[test]
fn the_store_stays_out_of_reach_where_a_mount_shows_it_once_more() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.folder(".config/bryo/profiles");
    let script = "mount --bind \"$HOME\" /opt; cd \"$PWD\"";
    let store = world.store().display().to_string();
    let again = store.replace(world.home().to_str().unwrap(), "/opt");
    let attack = format!(
        "echo forged >{again}/x; echo forged >/opt/.config/bryo/profiles/x.toml; \
         mv /opt/.config /opt/.other; find {again} /opt/.config/bryo -mindepth 1; true"
    );
    let run = sandbox(&world).args(["--write", "/opt"]).under(then_as_user(script));
    run.run(&attack).stdout_is("");
    assert!(!world.store().join("x").exists() && !world.exists(".config/bryo/profiles/x.toml"));
    assert!(!world.exists(".other"));
    let run = sandbox(&world).args(["--read", &again]).under(then_as_user(script));
    run.run("true").refuses_with(&["bryo keeps its layers there"]);
}
