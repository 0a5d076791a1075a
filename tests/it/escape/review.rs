//! What a payload leaves for those who review it: contents, files and links made to harm who looks.

use std::time::Duration;

use super::home_is_a_copy;
use crate::support::{Host, World};

/// Every way to look at contents.
const LOOKS: [&[&str]; 5] = [
    &["diff"],
    &["diff", "--content"],
    &["diff", "--stat"],
    &["diff", "--json", "--content"],
    &["export", "--patch"],
];

/// The layer's own copy of a file of the project.
fn in_layer(world: &World, name: &str) -> std::path::PathBuf {
    let kept = std::fs::read_dir(world.store().join("kept")).unwrap().next().unwrap().unwrap();
    let mut uppers = Vec::new();
    for upper in ["upper-0", "layer-0/upper"] {
        let upper = kept.path().join(upper);
        uppers.extend([upper.join("project").join(name), upper.join(name)]);
    }
    uppers.into_iter().find(|path| path.symlink_metadata().is_ok()).unwrap()
}

#[test]
fn contents_reach_a_terminal_escaped() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let script = r"printf 'a\033]0;title\007\033[2Jb\342\200\256c\233d\rgone\n' >text; \
                   ln -s $(printf '\033[31mx') link";
    world.sandbox().run(script).succeeds();
    let harmful = |text: &str| {
        text.contains("\x1b]0;")
            || text.contains("\x1b[2J")
            || text.contains("\x1b[31mx")
            || text.contains(['\u{202e}', '\u{9b}'])
            || text.contains("d\rgone")
    };
    for words in LOOKS {
        let screen = world
            .bryo(words)
            .env("TERM", "xterm")
            .env("PAGER", "cat")
            .on_terminal()
            .ends()
            .stdout();
        assert!(!harmful(&screen), "{words:?}: {screen:?}");
        assert!(screen.contains("text"), "{words:?}: {screen:?}");
    }
    let piped = world.bryo(["diff", "--content"]).ends().succeeds().stdout();
    assert!(!harmful(&piped) && piped.contains("+a\\u{1b}]0;title\\u{7}"), "{piped:?}");
    // The control: shown by another program, it does something.
    let path = in_layer(&world, "text");
    let raw = world.program("/bin/cat", [path.to_str().unwrap()]).on_terminal().ends().stdout();
    assert!(harmful(&raw), "{raw:?}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/was", "text\n");
    world.sandbox().run("mkfifo new; rm was; mkfifo was").succeeds();
    for words in LOOKS {
        let ended = world.bryo(words).ends();
        assert!(ended.stderr().is_empty() || words[0] == "export", "{}", ended.stderr());
    }
    world.bryo(["diff"]).ends().stdout_has("/new  (fifo)").stdout_has("/was  (file -> fifo)");
    let archive = world.path("project/layer.tar");
    world.host(Host::MayChange);
    world.bryo(["export", "-o", archive.to_str().unwrap()]).ends().succeeds();
    let listed = world.program("/bin/tar", ["-tvf", archive.to_str().unwrap()]).ends().stdout();
    assert_eq!(listed.lines().filter(|line| line.starts_with('p')).count(), 2, "{listed}");
    // The control: who opens it, waits.
    let pipe = in_layer(&world, "was");
    world
        .program("/usr/bin/timeout", ["1", "/bin/cat", pipe.to_str().unwrap()])
        .ends()
        .exits_with(124);
}

#[test]
fn a_link_in_the_place_of_a_directory_shows_nothing_of_where_it_leads() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("secret/id", "the key\n");
    world.file("project/d/id", "mine\n");
    world.sandbox().run("rm -r d; ln -s ../secret d; ln -s ../../secret/id one").succeeds();
    for words in LOOKS {
        let shown = world.bryo(words).ends();
        assert!(!shown.stdout().contains("the key"), "{words:?}: {}", shown.stdout());
    }
    world.bryo(["diff", "d/id", "--content"]).ends().succeeds().stdout_is("");
    world.bryo(["diff", "d/"]).ends().stdout_has("/d  (directory -> link to `../secret`)");
    // The control: followed on the host, the link leads to the key.
    world.host(Host::MayChange);
    world
        .outside("mv project/d project/e && ln -s ../secret project/d && cat project/d/id")
        .stdout_is("the key\n");
}

#[test]
fn a_file_of_a_terabyte_without_data_costs_nothing() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/was", "x");
    world.sandbox().run("truncate -s 1T new was; echo end >>was").succeeds();
    for words in LOOKS {
        _ = world.bryo(words).patience(Duration::from_secs(30)).ends();
    }
    let shown = world.bryo(["diff", "--content"]).ends().succeeds();
    shown.stdout_has("sandbox: too large to be shown, 1.0 TiB").stdout_has("\ndigest ");
    world.host(Host::MayChange);
    let archive = world.path("project/layer.tar");
    world.bryo(["export", "-o", archive.to_str().unwrap()]).ends().succeeds();
    assert!(std::fs::metadata(&archive).unwrap().len() < 1 << 20);
    // The control: read to its end, it takes longer than anybody waits.
    let sparse = in_layer(&world, "new");
    let read = ["2", "/bin/cat", sparse.to_str().unwrap()];
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    world.program("/usr/bin/timeout", read).stdout_to(null).ends().exits_with(124);
}

#[test]
fn the_pager_is_not_one_that_lies_in_the_project_and_starts_no_other_program() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let planted = world.file("project/less", "#!/bin/sh\necho planted; exec cat\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(planted, mode).unwrap();
    world.sandbox().run("for n in $(seq 100); do echo $n >file-$n; done").succeeds();
    let open = "|/bin/sh -c 'echo opened %s'";
    let mut terminal = world
        .bryo(["diff"])
        .env("PATH", ".:/usr/bin:/bin")
        .env("LESSOPEN", open)
        .env("TERM", "xterm")
        .on_terminal();
    terminal.shows("file-100  (4 B)").types("q");
    let shown = terminal.ends().succeeds().stdout();
    assert!(!shown.contains("planted") && !shown.contains("opened"), "{shown}");
    // The control: by the same search path the planted one is found.
    let path = world.program("/usr/bin/env", ["less"]).env("PATH", ".:/usr/bin:/bin");
    path.in_folder(world.project()).ends().stdout_has("planted");
}

#[test]
fn what_other_programs_will_execute_is_marked() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/.git/config", "[core]\n");
    let script = "mkdir -p .git/hooks ../.config/autostart; \
                  printf '#!/bin/sh\\necho owned\\n' >.git/hooks/pre-commit; chmod 755 .git/hooks/pre-commit; \
                  echo evil >>../.bashrc; ln -s /tmp ../.config/systemd; echo all: >Makefile; echo x >plain";
    world.sandbox().run(script).succeeds();
    let shown = world.bryo(["diff"]).ends().succeeds();
    for part in [
        "/.git/hooks/pre-commit  (21 B, executable; git will execute it, or what it names)",
        "/.bashrc  (5 B; a shell will execute it)",
        "/.config/systemd  (link to `/tmp`; systemd will execute it)",
        "/Makefile  (5 B; a build will execute it)",
        "/plain  (2 B)\n",
        "4 that other programs will execute",
    ] {
        assert!(shown.stdout().contains(part), "{part}: {}", shown.stdout());
    }
    // The control: copied to the host, the hook runs.
    world.host(Host::MayChange);
    let hook = in_layer(&world, ".git/hooks/pre-commit");
    world.program(hook, [""; 0]).ends().stdout_is("owned\n");
}
