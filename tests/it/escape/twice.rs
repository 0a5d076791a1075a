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

/// Mounts an empty file system; the program that is tested stays where it is, which may be below that.
fn mount_over(at: &str) -> String {
    let program = crate::support::bryo();
    let folder = program.parent().unwrap();
    let mount = format!("mount -t tmpfs t {at}");
    if !folder.starts_with(at) {
        return mount;
    }
    let folder = folder.display();
    format!(
        "exec 9<{folder}; {mount}; mkdir -p {folder}; mount -c --bind /proc/self/fd/9 {folder}; exec 9<&-"
    )
}

#[test]
fn what_is_hidden_by_default_is_hidden_where_a_mount_shows_it_once_more() {
    if !home_is_a_copy() {
        return;
    }
    let other = World::new();
    other.host(Host::MayChange);
    other.file("file", MARK);
    let other = other.home().to_str().unwrap();
    for place in ["/opt", "/usr/local/lib", "$HOME/project/again"] {
        let world = World::new();
        world.host(Host::MayChange);
        world.folder("project/again");
        let place = place.replace("$HOME", world.home().to_str().unwrap());
        let disk = |at: &str, path: &str| {
            let mount = mount_over(at);
            (format!("{mount}; mkdir -p {path}; printf %s {MARK} >{path}/file"), path.to_owned())
        };
        for (made, hidden) in [
            ("true".to_owned(), other.to_owned()),
            disk("/mnt", "/mnt"),
            disk("/srv", "/srv/part"),
            disk("/tmp", "/tmp"),
            disk("/tmp", "/tmp/part"),
            disk("/run", "/run"),
        ] {
            // In the caller's own trees disks are mounted to be seen.
            if place.ends_with("again") && hidden == "/srv/part" {
                continue;
            }
            let script = format!("{made}; mount --bind {hidden} {place}; cd \"$PWD\"");
            let attack = format!("cat {place}/file; true");
            let outside = world.program("/bin/sh", ["-c", &attack]);
            outside.under(then_as_user(&script)).ends().stdout_is(MARK);
            let run = || sandbox(&world).env("BRYO_STORE", world.store());
            run().under(then_as_user(&script)).run(&attack).stdout_is("");
            // What is asked for by that name is shown.
            let run = run().args(["--read", &place]).under(then_as_user(&script));
            run.run(&attack).stdout_is(MARK);
        }
    }
}

#[test]
fn a_home_that_is_not_seen_is_not_seen_where_a_mount_shows_it_once_more() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.file("mail", MARK);
    world.file("project/file", "seen");
    let flags = [["--network", "host"], ["--profile", "build"], ["--profile", "strict"]];
    for flags in flags {
        for whole in ["$HOME", "/"] {
            let script = format!("mount --rbind {whole} /opt; cd \"$PWD\"");
            let inside = if whole == "/" { world.home().to_str().unwrap() } else { "" };
            let attack =
                format!("cat /opt{inside}/mail; cat /opt{inside}/project/file; cat file; true");
            let outside = world.program("/bin/sh", ["-c", &attack]).under(then_as_user(&script));
            outside.ends().stdout_is(&format!("{MARK}seenseen"));
            let run = sandbox(&world).args(flags).under(then_as_user(&script));
            run.run(&attack).stdout_is("seen");
            // Who stands there sees that, and no more.
            let script = format!("{script}; cd /opt{inside}/project");
            let run = sandbox(&world).args(flags).under(then_as_user(&script));
            run.run(&attack).stdout_is("seenseen");
        }
    }
}

#[test]
fn settings_that_are_not_there_yet_are_kept_where_a_mount_shows_their_folder_once_more() {
    let script = "mount --bind \"$HOME\" /opt; cd \"$PWD\"";
    let attack = "mkdir -p /opt/.config/bryo/profiles; mv /opt/.config /opt/.other; mkdir -p /opt/.config/bryo/profiles; \
                  echo forged >/opt/.config/bryo/profiles/x.toml; echo forged >/opt/.config/bryo/config.toml; true";
    for flags in [["--write", "/opt"], ["-v", "/opt:/opt:rw"]] {
        let world = World::new();
        world.host(Host::MayChange);
        let forged = [".config/bryo/profiles/x.toml", ".config/bryo/config.toml"];
        let run = sandbox(&world).args(flags).under(then_as_user(script));
        run.run(attack);
        assert!(!forged.iter().any(|path| world.exists(path)), "{flags:?}");
        let outside = world.program("/bin/sh", ["-c", attack]).under(then_as_user(script));
        outside.ends();
        assert!(forged.iter().all(|path| world.exists(path)), "the control");
    }
}

#[test]
fn a_store_that_is_not_there_yet_is_kept_where_a_mount_shows_its_place_once_more() {
    let script = "mount --bind \"$HOME\" /opt; cd \"$PWD\"";
    for flags in [["--write", "/opt"], ["-v", "/opt:/opt:rw"]] {
        for data_home in [".local/share", "other"] {
            let world = World::new();
            world.host(Host::MayChange);
            let forged = format!("{data_home}/bryo/sandboxes/forged");
            let attack = format!("mkdir -p /opt/{forged}; true");
            let run = sandbox(&world).args(flags).env("XDG_DATA_HOME", world.path(data_home));
            run.under(then_as_user(script)).run(&attack);
            assert!(!world.exists(&forged), "{flags:?} {data_home}");
            let outside = world.program("/bin/sh", ["-c", &attack]);
            outside.under(then_as_user(script)).ends();
            assert!(world.exists(&forged), "the control");
        }
    }
}

#[test]
fn what_is_hidden_and_is_a_mount_point_itself_is_hidden_in_what_is_written_around_it() {
    for way in [["--write", "HELD"], ["-v", "HELD:/seen:rw"]] {
        let world = World::new();
        world.host(Host::MayChange);
        world.folder("held/disk/in");
        let held = world.path("held").display().to_string();
        let script = format!(
            "mount -t tmpfs t {held}/disk; mkdir {held}/disk/in; mount -t tmpfs t {held}/disk/in; \
             printf %s {MARK} | tee {held}/disk/file >{held}/disk/in/file; cd \"$PWD\""
        );
        let seen = if way[0] == "-v" { "/seen" } else { &held };
        let attack = format!(
            "cat {seen}/disk/file {seen}/disk/in/file; echo x >{seen}/disk/in/x; echo x >{seen}/disk/x; \
             echo y >{seen}/beside; true"
        );
        let flags = way.map(|word| word.replace("HELD", &held));
        let run = || sandbox(&world).args(&flags).under(then_as_user(&script));
        run().run(&attack).stdout_is(&MARK.repeat(2));
        let run = run().args(["--hide", &format!("{held}/disk")]).run(&attack);
        run.succeeds().stdout_is("");
        assert_eq!(world.read("held/beside"), "y\n");
    }
}
