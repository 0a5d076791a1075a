//! Files that other programs will run or believe later: they stay as they were, also when they do not
//! exist yet.

use super::{home_is_a_copy, sandbox};
use crate::support::{Host, World};

/// Below `$HOME`; none of them is there before.
const LATER: [&str; 9] = [
    ".bashrc",
    ".profile",
    ".config/autostart/x.desktop",
    ".config/systemd/user/x.service",
    ".config/bryo/profiles/default.toml",
    ".local/bin/ls",
    "project/.git/hooks/pre-commit",
    "project/.git/config",
    "project/.vscode/tasks.json",
];

fn plant() -> String {
    let one = |path| format!("mkdir -p $(dirname ~/{path}); echo planted >~/{path}; ");
    LATER.map(one).concat() + "true"
}

/// Takes what is around the store, the settings and a secret away, and puts others there.
const REPLACE: &str = "mv ~/.config ~/c2; mv ~/.local/share ~/.local/old; mv ~/.local ~/l2; \
    mkdir -p ~/.config/bryo/profiles ~/.local/share/bryo/kept; echo >~/.config/bryo/profiles/x.toml; \
    echo >~/.local/share/bryo/kept/forged; rm -rf ~/.config; true";

#[test]
fn what_later_runs_trust_is_not_replaced_from_a_directory_that_is_written() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.file(".config/gh/hosts.yml", "the key\n");
    world.file(".config/mine", "mine\n");
    let home = world.home().to_str().unwrap().to_owned();
    let there = "ls -A ~/c2 ~/l2 ~/.local/old ~/.config/bryo ~/.local/share/bryo/kept/forged 2>/dev/null; \
                 cat ~/.config/gh/hosts.yml; true";
    let run = || sandbox(&world).args(["--write", &home]);
    run().run(REPLACE).succeeds().stderr_has("later runs take profiles from there");
    let left = world.outside(there).stdout();
    assert!(left.ends_with("the key\n"), "{left}");
    assert!(!["c2", "l2", "old", "profiles", "forged"].iter().any(|n| left.contains(n)), "{left}");
    // What is beside it can be written, and moved out of there.
    let uses = "echo new >~/.config/new && mv ~/.config/new ~/moved && cat ~/moved";
    run().run(uses).succeeds().stdout_is("new\n");
    run().arg("--nesting").run("true").exits_with(125).stderr_has("what later runs trust");
    // The control: without a sandbox all of it is done.
    world.outside(REPLACE);
    let left = world.outside(there).stdout();
    assert!(["c2", "l2"].iter().all(|name| left.contains(name)), "{left}");
    world.outside("rm -r ~/.local").succeeds();
}

#[test]
fn what_would_run_later_is_not_planted_on_the_host() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.file(".zshrc", "mine\n");
    // That the host's tree is as it was, the world compares after each run.
    let attack = format!("{}; echo planted >>~/.zshrc; cat ~/.zshrc", plant());
    sandbox(&world).run(&attack).stdout_is("mine\nplanted\n");
    for path in LATER {
        assert!(!world.exists(path), "{path}");
    }
    // The control.
    world.host(Host::MayChange);
    world.outside(&plant()).succeeds();
    for path in LATER {
        assert!(world.exists(path), "{path}");
    }
}

#[test]
fn write_opens_the_place_that_was_named_and_nothing_beside_it() {
    let world = World::new();
    world.host(Host::MayChange);
    let out = world.folder("project/out");
    std::fs::create_dir_all(world.path("beside")).unwrap();
    let attack = "echo planted >out/named; cd out && echo planted >../../beside/planted 2>/dev/null; \
                  ln -s ../../beside way && echo planted >way/planted 2>/dev/null; true";
    sandbox(&world).arg("--write").arg(&out).run(attack);
    assert!(world.exists("project/out/named"), "the control: what is named is written");
    assert!(!world.exists("beside/planted"));
    world.program("/bin/sh", ["-c", "echo planted >out/way/planted"]).ends().succeeds();
    assert!(world.exists("beside/planted"), "the control: the link leads there");
}

#[test]
fn a_profile_that_the_payload_writes_is_not_used_by_the_next_run() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    let open = "extends = ['default']\\n[environment]\\npass = ['TOKEN']\\n";
    let plant = format!(
        "mkdir -p ~/.config/bryo/profiles; printf \"{open}\" >~/.config/bryo/profiles/mine.toml"
    );
    let read = || sandbox(&world).args(["--profile", "mine"]).env("TOKEN", "of the caller");
    sandbox(&world).run(&plant).succeeds();
    read().run("echo $TOKEN").refuses_with(&["mine"]);
    // The control: planted outside, it counts.
    world.host(Host::MayChange);
    world.outside(&plant).succeeds();
    read().run("echo $TOKEN").succeeds().stdout_is("of the caller\n");
}

#[test]
fn a_profile_in_the_current_directory_is_not_used_by_itself() {
    let world = World::new();
    let open = "[environment]\npass = ['TOKEN']\n";
    for name in ["default.toml", "bryo.toml", ".bryo.toml", ".bryo/profiles/default.toml"] {
        world.file(format!("project/{name}"), open);
    }
    let run = || sandbox(&world).env("TOKEN", "of the caller");
    run().run("echo $TOKEN").succeeds().stdout_is("\n");
    // The control: by its path it would.
    std::fs::write(world.project().join("own.toml"), format!("extends = ['default']\n{open}"))
        .unwrap();
    let named = run().args(["--profile", "./own.toml"]);
    named.run("echo $TOKEN").succeeds().stdout_is("of the caller\n");
}

#[test]
fn the_records_of_other_runs_can_be_neither_seen_nor_changed_and_no_flag_opens_them() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.sandbox().run("echo earlier >note").succeeds();
    let store = world.store();
    let look = format!(
        "find {} -name note; find / \\( -path /proc -o -path /sys -o -path /usr \\) -prune -o -name note -print 2>/dev/null; true",
        store.display()
    );
    world.outside(&look).stdout_has("/note");
    sandbox(&world).run(&look).stdout_is("");
    let parent = store.parent().unwrap().to_owned();
    let volume = |path: &std::path::Path| format!("{}:/tmp/seen", path.display());
    for (flag, value) in [
        ("--read", store.display().to_string()),
        ("--write", store.display().to_string()),
        ("--cow", store.display().to_string()),
        ("--read", store.join("kept").display().to_string()),
        ("-v", volume(&store)),
        ("-v", volume(&store.join("kept"))),
        ("--read", parent.display().to_string()),
        ("-v", volume(&parent)),
        ("-v", volume(world.home())),
        ("--rootfs", parent.display().to_string()),
    ] {
        world.host(Host::MayChange);
        let run = sandbox(&world).args([flag, &value]);
        let look = "find / \\( -path /proc -o -path /sys -o -path /usr \\) -prune -o -name note -print 2>/dev/null; true";
        let ended = run.run(look).stdout_lacks("note");
        // It is refused, or the store is not in what is shown.
        assert!(
            ended.status.code().is_some_and(|code| [0, 125, 126, 127].contains(&code)),
            "{flag} {value}\n{ended}"
        );
    }
}

/// Where bryo itself lies, or a directory of `PATH`, what is put there runs outside: it is told.
#[test]
fn programs_that_a_payload_may_replace_are_told() {
    let world = World::new();
    world.host(Host::MayChange);
    let (own, tools) = (world.folder("shared/own"), world.folder("shared/tools"));
    world.folder("beside");
    let (own, bryo) = (own.join("bryo"), crate::support::bryo());
    crate::support::copy(&bryo, &own);
    std::os::unix::fs::symlink("tools", world.path("shared/link")).unwrap();
    let path = |first: &std::path::Path| format!("{}:/usr/bin:/bin", first.display());
    let (shared, beside) = (world.path("shared"), world.path("beside"));
    let run = |write: &std::path::Path, more: &[&str], first: &std::path::Path, script: &str| {
        let words = ["-c", "shift; exec \"$0\" \"$@\"", own.to_str().unwrap()];
        let run = sandbox(&world).arg("--write").arg(write).args(more).env("PATH", path(first));
        run.under(std::iter::once("/bin/sh").chain(words)).run(script)
    };
    let link = world.path("shared/link");
    let attack = format!(
        "echo owned >{0}/ls && rm -f {1} && echo owned >{1}",
        tools.display(),
        own.display()
    );
    for first in [&tools, &link] {
        let told = run(&shared, &["--verbose"], first, "true").succeeds();
        told.stderr_has("this bryo, `").stderr_has(&format!("`{}`, which can be", first.display()));
        run(&shared, &["--verbose"], first, "true").stderr_has("--read ");
    }
    run(&beside, &["--verbose"], &tools, "true")
        .stderr_lacks("this bryo")
        .stderr_lacks("your PATH");
    // What the text says keeps it.
    let (read, own_file) = ("--read", own.to_str().unwrap());
    let kept = run(&shared, &["--verbose", read, own_file], &tools, &attack).fails();
    kept.stderr_lacks("this bryo").stderr_has("your PATH");
    assert_eq!(std::fs::read(&own).unwrap(), std::fs::read(&bryo).unwrap());
    // The control: it is no idle warning.
    run(&shared, &[], &tools, &attack).succeeds();
    assert_eq!(std::fs::read(&own).unwrap(), b"owned\n");
    assert_eq!(world.read("shared/tools/ls"), "owned\n");
}
