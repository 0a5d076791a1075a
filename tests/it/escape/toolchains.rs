//! What somebody planted where a profile has toolchains: links out of them, and what is neither file nor directory.

use std::fs;
use std::os::unix::fs::symlink;

use super::{home_is_a_copy, sandbox};
use crate::support::{Host, Invocation, Need, World, has};

const MARK: &str = "the-mark-of-a-letter";

/// Runs in which a home shows its toolchains only.
fn networked(world: &World) -> Vec<Invocation> {
    let mut runs = vec![["--profile", "build"], ["--profile", "agent"]];
    if has(Need::Landlock(6)) {
        runs.push(["--network", "host"]);
    }
    runs.into_iter().map(|more| sandbox(world).args(more)).collect()
}

/// A home with letters, beside another home.
fn homes() -> (World, World) {
    let (world, other) = (World::new(), World::new());
    world.host(Host::MayChange);
    world.file("letters/one", MARK);
    other.file("letters/one", MARK);
    (world, other)
}

#[test]
fn a_link_in_the_place_of_a_toolchain_shows_nothing_that_is_none() {
    if !home_is_a_copy() {
        return;
    }
    let (world, other) = homes();
    let temporary = tempfile::Builder::new().prefix("bryo-letters-").tempdir_in("/tmp").unwrap();
    fs::write(temporary.path().join("one"), MARK).unwrap();
    let (other, temporary) = (other.home().display(), temporary.path().display());
    let links = [
        (".cargo/registry", "..".to_owned(), "letters/one"),
        (".cargo/registry", format!("{}/..", world.home().display()), "*/letters/one"),
        (".cargo/config", "../letters/one".to_owned(), ""),
        (".rustup", "letters".to_owned(), "one"),
        (".local/bin", "../letters".to_owned(), "one"),
        ("go", format!("{other}"), "letters/one"),
        ("go", format!("{other}/letters"), "one"),
        (".npm", temporary.to_string(), "one"),
        (".npm", "/proc/self/root".to_owned(), &format!("{temporary}/one")[1..]),
    ];
    for (link, target, letter) in links {
        let at = world.path(link);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(&target, &at).unwrap();
        let attack =
            format!("cat ~/{link}/{letter} ~/letters/one {other}/letters/one 2>/dev/null; true");
        let attack = attack.replace("/ ", " ");
        assert!(world.outside(&attack).stdout().len() > 2 * MARK.len(), "{link} -> {target}");
        for run in networked(&world) {
            run.run(&attack).stdout_is("");
        }
        fs::remove_file(&at).unwrap();
    }
}

#[test]
fn a_link_from_one_toolchain_into_another_or_to_what_is_seen_anyway_is_followed() {
    if !home_is_a_copy() {
        return;
    }
    let (world, _other) = homes();
    world.file("go/pkg/one", MARK);
    world.folder(".cargo");
    for (target, file) in [("../go/pkg", "one"), ("/usr/include", "stdio.h")] {
        let at = world.path(".cargo/registry");
        symlink(target, &at).unwrap();
        for run in networked(&world) {
            run.run(&format!("test -s ~/.cargo/registry/{file}")).succeeds();
        }
        fs::remove_file(&at).unwrap();
    }
}

#[test]
fn a_payload_plants_a_link_at_a_toolchain_in_vain() {
    if !home_is_a_copy() {
        return;
    }
    let (world, _other) = homes();
    world.folder(".cargo");
    let cargo = world.path(".cargo");
    sandbox(&world).arg("--write").arg(&cargo).run("ln -s ../ ~/.cargo/registry").succeeds();
    world.sandbox().args(["--name", "s"]).run("ln -s letters ~/.rustup; ln -s . ~/hl").succeeds();
    world.bryo(["apply", "s", "-y", "--allow-executed-later"]).ends();
    let attack = "cat ~/.cargo/registry/letters/one ~/.rustup/one ~/hl/letters/one";
    world.outside(attack).stdout_is(&MARK.repeat(3));
    for run in networked(&world) {
        let run = run.env("GOPATH", world.path("hl"));
        let ended = run.run(attack).stdout_is("");
        ended.stderr_has("No such file");
    }
    let told = sandbox(&world).args(["--profile", "build", "--dry-run"]).run("true").stdout();
    assert!(told.contains(".rustup` is not shown: it leads to"), "{told}");
    world.bryo(["rm", "-f", "s"]).ends();
}

/// What stands in the way of who looks at a place, which is `P`.
const PLANTS: [&str; 10] = [
    "mkfifo P",
    "ln -s nowhere P",
    "ln -s P P",
    "ln -s /run P",
    "ln -s /dev/null P",
    "ln -s / P",
    "echo >P",
    "mkdir P",
    "mkdir P; chmod 0 P",
    SOCKET,
];

#[test]
fn what_is_planted_at_a_place_of_a_profile_stops_no_later_run() {
    if !home_is_a_copy() {
        return;
    }
    for plant in PLANTS {
        let world = World::new();
        world.host(Host::MayChange);
        for place in [
            ".cargo/config",
            ".cargo/registry",
            ".local/bin",
            ".gitconfig",
            ".rustup",
            ".bashrc",
            ".ssh",
            ".config/fish",
            ".config/gh",
            ".claude.json",
            ".gnupg/x",
            "project/.env",
            "project/.git/config",
        ] {
            let at = world.path(place);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            world.outside(&plant.replace('P', at.to_str().unwrap())).succeeds();
        }
        let agent = sandbox(&world).args(["--profile", "agent"]);
        agent.run("echo runs").succeeds().stdout_is("runs\n");
        sandbox(&world).run("echo runs").succeeds().stdout_is("runs\n");
    }
    // And the same in the place of a directory around them.
    for plant in PLANTS.iter().filter(|plant| !plant.starts_with("mkdir")) {
        let world = World::new();
        world.host(Host::MayChange);
        for place in [".cargo", ".config", ".local/share/fonts", ".gnupg", "project/.git"] {
            let at = world.path(place);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            world.outside(&plant.replace('P', at.to_str().unwrap())).succeeds();
        }
        let agent = sandbox(&world).args(["--profile", "agent"]);
        agent.run("echo runs").succeeds().stdout_is("runs\n");
    }
}

const SOCKET: &str = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"P\")'";
