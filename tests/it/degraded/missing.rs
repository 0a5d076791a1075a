//! Devices, helpers and file systems that are missing.

use super::{after, then_as_user};
use crate::support::{Host, Need, Overlay, World, has, overlay, overlay_is_one_of};

const NO_FUSE: &str = "mount --bind /dev/null /dev/fuse";

#[test]
fn without_fuse_only_what_needs_it_is_refused() {
    let world = World::new();
    let ended = world.sandbox().under(then_as_user(NO_FUSE)).run("pwd");
    let project = world.project().display().to_string();
    if overlay() == Overlay::Fuse {
        ended.exits_with(125).stdout_is("").stderr_is(&format!(
            "bryo: cannot mount an overlay over `{}`: it takes fuse-overlayfs, and `/dev/fuse` cannot be opened\n\
             hint: `sudo modprobe fuse && sudo chmod 666 /dev/fuse`\n",
            world.home().display()
        ));
    } else {
        ended.succeeds().stdout_is(&format!("{project}\n")).stderr_is("");
    }
}

#[test]
fn without_the_helper_only_subordinate_ids_are_refused() {
    let world = World::new();
    let missing = "mount --bind /dev/null /usr/bin/newuidmap";
    let run = world.sandbox().under(then_as_user(missing));
    run.run("echo up").succeeds().stdout_is("up\n").stderr_is("");
    let run = world.sandbox().args(["--ids", "subid"]).under(then_as_user(missing));
    run.run("echo up").exits_with(125).stdout_is("").stderr_is(
        "bryo: cannot find `newuidmap`, which maps subordinate ids\n\
         hint: install it: `sudo apt install uidmap`, or leave out `--ids subid`\n",
    );
}

#[test]
fn a_helper_without_its_privilege_is_told_from_a_missing_one() {
    let world = World::new();
    // In a user namespace that does not map root, nobody becomes root by a set-user-id bit.
    let run = world.sandbox().args(["--ids", "subid"]).under(then_as_user("true"));
    run.run("echo up").exits_with(125).stdout_is("").stderr_is(
        "bryo: cannot map ids with `/usr/bin/newuidmap`: it is neither set-user-id root nor has its capability\n\
         hint: `sudo apt install --reinstall uidmap` restores it\n",
    );
}

#[test]
fn subordinate_ids_are_mapped_where_the_host_has_them() {
    if !has(Need::Subids) || !overlay_is_one_of(&[Overlay::Kernel]) {
        return;
    }
    let world = World::new();
    let ended = world.sandbox().args(["--ids", "subid"]).run("cat /proc/self/uid_map; id -u");
    let ended = ended.succeeds().stderr_is("");
    let mapped: u64 = ended
        .stdout()
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
        .sum();
    assert!(mapped > 65536, "{ended}");
}

#[test]
fn without_tun_only_a_network_of_its_own_is_refused() {
    let world = World::new();
    for missing in ["mount -t tmpfs none /dev/net", "mount --bind /dev/null /dev/net/tun"] {
        let run = world.sandbox().under(then_as_user(missing));
        run.run("echo up").succeeds().stdout_is("up\n").stderr_is("");
        let run = world.sandbox().args(["--network", "user"]).under(then_as_user(missing));
        run.run("echo up").exits_with(125).stdout_is("").stderr_is(
            "bryo: cannot make a network of its own: `/dev/net/tun` cannot be opened\n\
             hint: `sudo modprobe tun && sudo chmod 0666 /dev/net/tun`, or `--network none`\n",
        );
    }
}

#[test]
fn a_store_on_a_file_system_that_holds_no_upper_is_refused_or_replaced() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    for folder in ["lower", "upper", "work", "merged"] {
        world.folder(folder);
    }
    world.host(Host::MayChange);
    let script = "cd ..; mkdir -p lower/store; chmod 700 lower/store; \
                  mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work o merged; \
                  cd project";
    let store = world.path("merged/store");
    let start = || world.bryo(["run", "--rm"]).env("BRYO_STORE", &store).under(after(script));
    // Chosen by name, it is the kernel or nothing.
    start().args(["--overlay", "kernel"]).run("echo up").exits_with(125).stdout_is("").stderr_is(&format!(
        "bryo: cannot mount an overlay over `{}`: the store's file system cannot hold what is written\n\
         hint: let BRYO_STORE name a directory on a local file system, or leave out `--overlay kernel`\n",
        world.home().display()
    ));
    // Left alone, it is what works.
    start().run("echo up >x; cat x").succeeds().stdout_is("up\n").stderr_is("");
}
