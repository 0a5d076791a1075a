//! What bryo says, where, and how.

use crate::support::{Overlay, World, overlay_is_one_of};

#[test]
fn on_a_terminal_the_end_says_what_changed_and_how_to_see_it() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let mut terminal = world.sandbox().args(["--", "/bin/sh", "-c", "echo x > new"]).on_terminal();
    terminal.shows("1 added path in its layer; to see: bryo diff ");
    terminal.ends().succeeds();
}

#[test]
fn nothing_is_said_to_a_pipe_nor_with_quiet_nor_without_a_reason() {
    let world = World::new();
    world.sandbox().arg("--rm").run("touch x").succeeds().stderr_is("");
    let quiet =
        world.sandbox().args(["-q", "--rm", "--", "/bin/sh", "-c", "touch x; unshare -U true"]);
    assert!(!quiet.on_terminal().ends().stdout().contains("bryo:"));
    let silent = world.bryo(["run", "--", "/bin/true"]).on_terminal().ends().succeeds();
    silent.stdout_is("");
}

#[test]
fn a_refused_call_is_named_with_the_flag_that_allows_it() {
    let world = World::new();
    let words = ["--rm", "--", "/usr/bin/unshare", "--user", "true"];
    let mut terminal = world.sandbox().args(words).on_terminal();
    terminal.shows("refused system calls: unshare");
    terminal.shows("to allow: --nesting");
    terminal.ends().fails();
    world
        .sandbox()
        .args(["--rm", "--nesting"])
        .exec(["/usr/bin/unshare", "--user", "true"])
        .succeeds();
}

#[test]
fn verbose_says_to_a_pipe_too() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    let said = world.sandbox().args(["--rm", "--verbose"]).run("touch x").succeeds().stderr();
    assert!(said.contains("bryo: 1 added path in its layer, which is gone\n"), "{said}");
}

#[test]
fn what_a_payload_chose_never_reaches_a_terminal_raw() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    let name = "$(printf 'a\\033[31m\\nb\\342\\200\\256')";
    world
        .sandbox()
        .args(["--name", "raw"])
        .run(&format!("touch \"{name}\"; mkdir \"d{name}\""))
        .succeeds();
    for words in
        [&["diff", "raw"][..], &["diff", "raw", "--names"], &["ps", "-a"], &["inspect", "raw"]]
    {
        let screen = world.bryo(words).on_terminal().ends().succeeds().stdout();
        assert!(
            !screen.contains("\x1b[31m") && !screen.contains('\u{202e}'),
            "{words:?}: {screen:?}"
        );
    }
    world.bryo(["diff", "raw"]).ends().stdout_has("a\\u{1b}[31m\\nb\\u{202e}");
    world.bryo(["rm", "raw"]).ends().succeeds();
    world.sandbox().exec(["x\x1b[31m\ny"]).exits_with(127).stderr_has("`x\\u{1b}[31m\\ny`");
}
