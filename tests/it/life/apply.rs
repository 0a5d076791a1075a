//! `bryo apply` as a person and a program use it.

use std::time::Duration;

use rustix::process::Signal;

use super::{applies, changes, ids};
use crate::support::{Host, Need, Stdin, World, has};

/// A world with a run in it that wrote something.
fn written(script: &str) -> World {
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("project/old", "1\n2\n3\n4\n5\n6\n7\n");
    world.sandbox().run(script).succeeds();
    world
}

#[test]
fn what_is_good_is_kept_and_the_rest_stays() {
    if !applies() {
        return;
    }
    let world =
        written("echo n >new; mkdir out; echo o >out/a; echo o >out/b.o; rm old; echo e >.envrc");
    world.bryo(["apply", "--dry-run"]).ends().exits_with(1).stdout_has("would apply 5 changes");
    assert!(world.exists("project/old") && !world.exists("project/new"));
    world
        .bryo(["apply", "out/", "--exclude", "*.o"])
        .ends()
        .succeeds()
        .stdout_is("applied 2 changes\n");
    assert!(world.exists("project/out/a") && !world.exists("project/out/b.o"));
    let told = world.bryo(["apply"]).ends().exits_with(1);
    told.stdout_has("not without a yes").stdout_has(".envrc").stderr_has("--allow-executed-later");
    assert!(!world.exists("project/old") && world.exists("project/out/b.o"));
    world.bryo(["apply", "--allow-executed-later"]).ends().succeeds();
    assert_eq!(world.read("project/.envrc"), "e\n");
    world.bryo(["apply"]).ends().succeeds().stdout_is("nothing to apply\n");
}

#[test]
fn a_conflict_is_told_with_both_sides_and_settled_by_a_choice() {
    if !applies() {
        return;
    }
    let world = written("echo theirs >old; echo n >new");
    std::thread::sleep(std::time::Duration::from_millis(20));
    world.file("project/old", "ours\n");
    let ended = world.bryo(["apply", "--json"]).ends().exits_with(1);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout()).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["applied"][0]["action"], "add");
    let left = &json["left"][0];
    assert_eq!((&left["reason"], &left["kind"]), (&"conflict".into(), &"changed".into()));
    assert_eq!((&left["sandbox"]["size"], &left["host"]["size"]), (&7.into(), &5.into()));
    assert_eq!(world.read("project/old"), "ours\n");
    world
        .bryo(["apply"])
        .ends()
        .exits_with(1)
        .stdout_has("  sandbox: file, 7 B")
        .stderr_has("--theirs");
    let unmerged = world.bryo(["apply", "--merge"]).ends().exits_with(1);
    unmerged.stderr_has("git merges what it had committed").stderr_lacks("--merge both");
    world.bryo(["apply", "--theirs", "--ours"]).ends().refuses_with(&["cannot take both"]);
    world.bryo(["apply", "--theirs"]).ends().succeeds();
    assert_eq!(world.read("project/old"), "theirs\n");
}

#[test]
fn both_sides_are_merged_where_git_has_what_they_began_with() {
    if !applies() || !has(Need::Program("git")) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("project/old", "1\n2\n3\n4\n5\n6\n7\n");
    let git = "git -c user.name=a -c user.email=a@b";
    let commit = format!("cd project && git init -q && git add old && {git} commit -qm x");
    world.outside(&commit).succeeds();
    world.sandbox().run("sed -i s/7/seven/ old").succeeds();
    std::thread::sleep(std::time::Duration::from_millis(20));
    world.file("project/old", "one\n2\n3\n4\n5\n6\n7\n");
    world.bryo(["apply"]).ends().exits_with(1);
    world.bryo(["apply", "--merge"]).ends().succeeds();
    assert_eq!(world.read("project/old"), "one\n2\n3\n4\n5\n6\nseven\n");
}

#[test]
fn exactly_what_was_shown_is_applied() {
    if !applies() {
        return;
    }
    let world = written("echo n >new; echo o >other");
    let shown = world.bryo(["diff", "--content", "--no-pager"]).ends().succeeds().stdout();
    let digest = shown.lines().last().unwrap().strip_prefix("digest ").unwrap().to_owned();
    let wrong = "0".repeat(64);
    world
        .bryo(["apply", "--reviewed", &wrong])
        .ends()
        .refuses_with(&["it is not what was reviewed"]);
    world.bryo(["apply", "--reviewed", "12"]).ends().refuses_with(&["64 hexadecimal digits"]);
    assert!(!world.exists("project/new"));
    world.bryo(["apply", "--reviewed", &digest]).ends().succeeds();
    assert!(world.exists("project/new") && world.exists("project/other"));
}

#[test]
fn a_path_in_which_nothing_changed_is_told() {
    if !applies() {
        return;
    }
    let world = written("mkdir d; echo n >d/new");
    let diff = world.bryo(["diff", "./dd", "./d"]).ends().succeeds();
    diff.stdout_has("d/new").stderr_has("changed nothing at or below").stderr_has("/dd");
    let nothing = world.bryo(["apply", "./dd"]).ends().exits_with(1);
    nothing.stdout_has("nothing changed at or below").stdout_has("nothing to apply");
    // The others are applied.
    let both = world.bryo(["apply", "./dd", "./d"]).ends().exits_with(1);
    both.stdout_has("applied 2 changes");
    assert_eq!(world.read("project/d/new"), "n\n");
    world
        .bryo(["apply", "--reviewed", &"0".repeat(64), "--merge"])
        .ends()
        .refuses_with(&["--merge"]);
}

#[test]
fn a_sandbox_that_runs_is_refused() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    let (read, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let run = world.sandbox().stdin(Stdin::File(read.into()));
    let running = run.start("echo x >new; echo ready; cat");
    running.says("ready");
    world.bryo(["apply"]).ends().refuses_with(&["it is running"]);
    assert!(!world.exists("project/new"));
    drop(held);
    running.ends().succeeds();
    world.bryo(["apply"]).ends().succeeds();
}

#[test]
fn a_run_that_succeeds_can_be_applied_at_once() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(3);
    world.sandbox().arg("--apply-on-success").run("echo 1 >one").succeeds();
    assert_eq!(world.read("project/one"), "1\n");
    world.sandbox().arg("--apply-on-success").run("echo 2 >two; exit 3").exits_with(3);
    assert!(!world.exists("project/two"));
    // What other programs execute stays, and the status says so.
    let told = world.sandbox().arg("--apply-on-success").run("echo 3 >three; echo e >.envrc");
    told.exits_with(125).stderr_has(".envrc");
    assert!(world.exists("project/three") && !world.exists("project/.envrc"));
}

#[test]
fn a_person_chooses_change_by_change() {
    if !applies() {
        return;
    }
    let world = written("echo yes >a; echo no >b; mkdir d; echo 1 >d/1; echo 2 >d/2; echo 8 >>old");
    let mut terminal = world.bryo(["apply"]).on_terminal();
    terminal.shows("Apply 6 changes? [y]es, [c]hoose, [q]uit: ").types("c\r");
    terminal.shows("/a").shows("[y,n,d,a,l,q,?]").types("\r").shows("n  no, it stays").shows("/a");
    terminal.types("d\r").shows("+yes").types("y\r");
    terminal.shows("/b").types("l\r").shows("y ").shows("/a").shows("? ").shows("/b");
    terminal.shows("/d/1").shows("/old").shows("/b").types("n\r").shows("/d").types("y\r");
    terminal.shows("/d/1").types("a\r").shows("/old").types("q\r");
    terminal.shows("Apply 4 changes? [y/N]").types("y\r");
    terminal.ends().succeeds();
    assert!(
        world.exists("project/a") && world.exists("project/d/1") && world.exists("project/d/2")
    );
    let sandbox = super::ids(&world).remove(0);
    assert_eq!(changes(&world, &sandbox), ["A b", "C old"]);
    let mut terminal = world.bryo(["apply"]).on_terminal();
    terminal.shows("Apply 2 changes?").types("q\r");
    terminal.ends().exits_with(1).stdout_lacks("bryo:");
    assert_eq!(changes(&world, &sandbox), ["A b", "C old"]);
    let mut terminal = world.bryo(["apply", &sandbox]).on_terminal();
    terminal.shows("Apply 2 changes?").types("\r").shows("c  ask for each").types("n\r");
    terminal.ends().exits_with(1);
    world.bryo(["apply", &sandbox, "./b"]).on_terminal().ends().succeeds();
    world.bryo(["apply", "-y", &sandbox]).on_terminal().ends().succeeds();
    assert!(changes(&world, &sandbox).is_empty());
}

#[test]
fn a_sandbox_whose_apply_was_interrupted_is_not_removed_before_that_is_finished() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange);
    world.sandbox().args(["--name", "n"]).run("echo n >new").succeeds();
    let id = ids(&world).remove(0);
    let journal = world.store().join("kept").join(&id).join("apply.journal");
    std::fs::write(journal, "\"begun\"\n").unwrap();
    let finish = format!("bryo apply {id}");
    let refused = ["an apply of it was interrupted", &finish];
    let again = world.sandbox().args(["--name", "n"]).run("true");
    again.refuses_with(&["an apply of it was interrupted", &finish]);
    let commands: [&[&str]; 6] = [
        &["rm", "n"],
        &["discard", "n"],
        &["discard", "-f", "--all"],
        &["discard", "n", "./new"],
        &["system", "prune", "-f", "--all"],
        &["export", "n", "-o", "out.tar"],
    ];
    for words in commands {
        let ended = world.bryo(words.iter().copied()).ends();
        refused.iter().fold(ended, |ended, part| ended.stderr_has(part));
        assert_eq!(ids(&world), std::slice::from_ref(&id), "{words:?}");
    }
    world.bryo(["apply", "n"]).ends().succeeds();
    assert_eq!(world.read("project/new"), "n\n");
    world.bryo(["rm", "n"]).ends().succeeds();
    assert!(ids(&world).is_empty());
}

#[test]
fn a_sandbox_whose_apply_cannot_be_finished_is_removed_by_force() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.sandbox().run("echo n >new").succeeds();
    let id = ids(&world).remove(0);
    let journal = world.store().join("kept").join(&id).join("apply.journal");
    std::fs::write(journal, "\"begun\"\n").unwrap();
    world.bryo(["rm", &id]).ends().refuses_with(&["rm --force"]);
    world.bryo(["rm", "--force", &id]).ends().succeeds();
    assert!(ids(&world).is_empty());
}

#[test]
fn whoever_works_on_a_sandbox_is_named() {
    if !applies() || !has(Need::Program("git")) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("project/old", "1\n2\n3\n");
    let git = "git -c user.name=a -c user.email=a@b";
    let commit = format!("cd project && git init -q && git add old && {git} commit -qm x");
    world.outside(&commit).succeeds();
    world.sandbox().args(["--name", "n"]).run("echo 4 >>old").succeeds();
    std::thread::sleep(Duration::from_millis(20));
    world.file("project/old", "0\n1\n2\n3\n");
    world.outside("cd project/.git && mv HEAD kept && mkfifo HEAD").succeeds();
    // git waits for the pipe, and is not killed before its time: so long the sandbox is held.
    let working = world.bryo(["apply", "--merge", "n"]).starts();
    world
        .outside(
            "until pgrep -P $APPLY git >/dev/null; do sleep 0.01; done"
                .replace("$APPLY", &working.pid().as_raw_nonzero().to_string())
                .as_str(),
        )
        .succeeds();
    let who = format!("`bryo apply` is at work on it, process {}", working.pid().as_raw_nonzero());
    for words in [&["apply", "n"][..], &["rm", "n"], &["rm", "-f", "n"], &["discard", "-f", "n"]] {
        let refused = world.bryo(words.iter().copied()).ends();
        refused.refuses_with(&[&who, "wait until it has ended"]).stderr_lacks("running");
    }
    world.sandbox().args(["--continue", "n"]).run("true").refuses_with(&[&who]);
    working.ends().refuses_with(&["git waits for something", "nothing was applied"]);
    world.outside("cd project/.git && mv kept HEAD").succeeds();
    world.bryo(["apply", "--merge", "n"]).ends().succeeds();
    assert_eq!(world.read("project/old"), "0\n1\n2\n3\n4\n");
}

#[test]
fn an_apply_that_is_interrupted_tells_how_far_it_came_and_leaves_order() {
    const FILES: usize = 4000;
    if !applies() {
        return;
    }
    let world = written(&format!("mkdir d; for i in $(seq {FILES}); do echo $i >d/$i; done"));
    let id = ids(&world).remove(0);
    let working = world.bryo(["apply", &id]).starts();
    world.outside("until ls project/d 2>/dev/null | grep -q .; do :; done").succeeds();
    working.kill(Signal::TERM);
    let told = working.ends().exits_with(128 + 15).stderr_has("interrupted by SIGTERM");
    let told = told.stderr_has(&format!("bryo apply {id} goes on")).stderr();
    let words: Vec<&str> = told.split_ascii_whitespace().collect();
    let at = words.iter().position(|word| *word == "changes").unwrap();
    let (done, all): (usize, usize) =
        (words[at - 3].parse().unwrap(), words[at - 1].parse().unwrap());
    let there = std::fs::read_dir(world.path("project/d")).unwrap().count();
    // The directory is a change as well.
    assert_eq!(all, FILES + 1);
    assert!(there > 0 && there < FILES, "{told}");
    assert!(done == there || done == there + 1, "{there}: {told}");
    // Nothing waits to be put in order.
    world.bryo(["export", &id, "-o", "out.tar"]).ends().succeeds();
    world.bryo(["apply", &id]).ends().succeeds();
    assert_eq!(std::fs::read_dir(world.path("project/d")).unwrap().count(), FILES);
    assert_eq!(world.read("project/d/7"), "7\n");
}
