//! `diff` and `export` as they are used: on terminals, in pipes, while a sandbox runs.

use crate::support::{Host, Overlay, World, overlay_is_one_of};

fn applies() -> bool {
    overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse])
}

fn typed(world: &World, line: &str) -> crate::support::Ended {
    let bryo = std::env::var("BRYO_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bryo").to_owned());
    let line = line.replace("bryo", &bryo);
    world.program("/bin/sh", ["-c", &line]).in_folder(world.project()).ends()
}

#[test]
fn colours_are_for_terminals_whose_user_does_not_object() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/f", "one\ntwo\n");
    world.sandbox().run("echo 2 >>f; echo x >new").succeeds();
    let coloured = world
        .bryo(["diff", "--content"])
        .env("TERM", "xterm")
        .on_terminal()
        .ends()
        .succeeds()
        .stdout();
    assert!(
        coloured.contains("\x1b[32m+2\x1b[0m") && coloured.contains("\x1b[36m@@"),
        "{coloured:?}"
    );
    let plain =
        world.bryo(["diff", "--content"]).env("TERM", "xterm").env("NO_COLOR", "1").on_terminal();
    let plain = plain.ends().succeeds().stdout().replace('\r', "");
    let piped = world.bryo(["diff", "--content"]).ends().succeeds().stdout();
    assert_eq!(plain, piped);
    assert!(!piped.contains('\x1b') && piped.contains("\n+2\n"), "{piped:?}");
    // A narrow terminal breaks lines by itself: what is copied from it is what was written.
    let narrow =
        world.bryo(["diff", "--stat"]).env("TERM", "xterm").env("NO_COLOR", "1").on_terminal();
    narrow.resize(24, 20);
    let narrow = narrow.ends().succeeds().stdout().replace('\r', "");
    assert_eq!(narrow, world.bryo(["diff", "--stat"]).ends().stdout());
}

#[test]
fn a_long_answer_goes_through_the_users_pager() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.sandbox().run("for n in $(seq 100); do echo $n >file-$n; done").succeeds();
    let pager = "sed 's/^/paged: /'";
    let long = world
        .bryo(["diff"])
        .env("TERM", "xterm")
        .env("PAGER", pager)
        .on_terminal()
        .ends()
        .succeeds()
        .stdout();
    assert!(long.contains("paged: \x1b[32mA\x1b[0m") && long.contains("paged: digest"), "{long}");
    for words in [&["diff", "--no-pager"][..], &["diff", "file-1", "--", "./file-1"]] {
        let words: Vec<&str> = words.iter().copied().filter(|word| *word != "file-1").collect();
        let shown = world.bryo(&words).env("PAGER", pager).on_terminal().ends().succeeds().stdout();
        assert!(!shown.contains("paged: "), "{words:?}: {shown}");
    }
    // Left early, or not there at all.
    world.bryo(["diff"]).env("PAGER", "head -n 1").on_terminal().ends().succeeds();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let script = "for n in $(seq 3000); do echo $n >a-name-that-fills-the-pipe-$n; done";
    world.sandbox().run(script).succeeds();
    for command in [
        "diff",
        "diff --content",
        "diff --json",
        "diff -z",
        "diff --stat",
        "export",
        "export --patch",
    ] {
        let line = format!("{{ bryo {command}; echo $? >&2; }} | head -c 100 >/dev/null");
        typed(&world, &line).succeeds().stderr_is("0\n");
    }
}

#[test]
fn a_sandbox_that_runs_is_shown_with_a_word_about_it_and_not_exported() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let running =
        world.sandbox().args(["--name", "busy"]).start("echo x >f; echo ready; exec sleep 100");
    running.says("ready");
    let shown = world.bryo(["diff", "busy"]).ends().succeeds();
    shown
        .stdout_has("/f  (2 B)")
        .stderr_has("still runs: what it changes from now on is not shown");
    world.bryo(["export", "busy"]).ends().refuses_with(&["it is running"]).stdout_is("");
    running.kill(rustix::process::Signal::TERM);
    running.ends();
    world.bryo(["diff", "busy"]).ends().succeeds().stderr_is("").stdout_has("/f  (2 B)");
}

#[test]
fn what_was_exported_is_what_was_changed() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/gone", "x");
    world.file("project/text", "old\n");
    world.sandbox().run("rm gone; echo new >text; mkdir d; echo in >d/f").succeeds();
    world.host(Host::MayChange);
    let pack = "bryo export -o c.tar.zst && bryo export | tar -tf - | sed 's,.*/project/,,'";
    let listed = typed(&world, pack).succeeds().stdout();
    assert_eq!(listed, "d/\nd/f\n.wh.gone\ntext\n");
    assert!(world.exists("project/c.tar.zst"));
    let patch = "git init -q ../copy && cp -a text gone ../copy/ && bryo export --patch >../p && \
                 cd ../copy && git apply ../p && cat text d/f && ls -A | grep -v .git";
    typed(&world, patch).succeeds().stdout_is("new\nin\nd\ntext\n");
    typed(&world, "ln -s text planted; bryo export -o planted").refuses_with(&["no regular file"]);
}
