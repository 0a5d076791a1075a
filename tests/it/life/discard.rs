//! `bryo discard`.

use super::{applies, changes, ids};
use crate::support::{Host, World};

/// A sandbox called `n` that changed, added, deleted and replaced.
fn written(world: &World) {
    for file in ["changed", "deleted", "d/a", "d/b", "d/e/f"] {
        world.file(format!("project/{file}"), "old\n");
    }
    let script = "echo new >changed; rm deleted; echo x >added; ln added link; \
                  rm -r d; mkdir d; echo x >d/new; mkdir closed; echo x >closed/x; chmod 0 closed";
    world.sandbox().args(["--name", "n"]).run(script).succeeds();
}

#[test]
fn a_sandbox_is_dropped_with_all_it_wrote_and_its_name() {
    if !applies() {
        return;
    }
    let world = World::new();
    written(&world);
    world.bryo(["discard", "n", "--dry-run"]).ends().succeeds().stdout_has(" n ");
    assert_eq!(ids(&world).len(), 1);
    world.bryo(["discard", "n"]).ends().succeeds().stdout_is("n\n");
    assert!(ids(&world).is_empty());
    world.bryo(["discard", "n"]).ends().refuses_with(&["cannot find a sandbox `n`"]);
}

#[test]
fn one_path_is_dropped_and_the_rest_means_what_it_meant() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    written(&world);
    let all = changes(&world, "n");
    assert_eq!(
        all,
        [
            "A added",
            "C changed",
            "A closed",
            "D d/a",
            "D d/b",
            "D d/e",
            "A d/new",
            "D deleted",
            "A link"
        ]
    );
    let discard = |path: &str| world.bryo(["discard", "n", "--", path]).ends().succeeds();
    let without = |gone: &[&str]| -> Vec<String> {
        all.iter()
            .filter(|line| !gone.iter().any(|path| line[2..].starts_with(path)))
            .cloned()
            .collect()
    };
    // Of a directory that replaced the host's: one name shows again, the others stay away.
    discard("d/a");
    assert_eq!(changes(&world, "n"), without(&["d/a"]));
    discard("d/e");
    assert_eq!(changes(&world, "n"), without(&["d/a", "d/e"]));
    discard("added");
    discard("deleted");
    discard("closed");
    assert_eq!(changes(&world, "n"), ["C changed", "D d/b", "A d/new", "A link"]);
    world
        .bryo(["discard", "n", "--", "deleted"])
        .ends()
        .refuses_with(&["changed nothing at or below it", "bryo diff"]);
    world.bryo(["discard", "n", "./d", "./changed", "./link"]).ends().succeeds();
    // It has a name: the next run can go on with it.
    assert_eq!(changes(&world, "n"), [""; 0]);
    assert_eq!(ids(&world).len(), 1);
}

#[test]
fn what_is_below_something_deleted_is_dropped_with_it_alone() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.file("project/d/a", "old\n");
    world.sandbox().run("rm -r d").succeeds();
    let refused = world.bryo(["discard", "./d/a"]).ends();
    refused.refuses_with(&["has no directory", "bryo discard SANDBOX "]);
    world.bryo(["discard", "./d"]).ends().succeeds();
    // Nothing was left of it, and it has no name.
    assert!(ids(&world).is_empty());
}

#[test]
fn what_runs_is_refused_and_passed_over() {
    if !applies() {
        return;
    }
    let world = World::new();
    let running = world.sandbox().args(["--name", "busy"]).start("echo x >a; echo up; sleep 100");
    running.says("up");
    world.bryo(["discard", "busy"]).ends().refuses_with(&["it is running"]);
    world.bryo(["discard", "busy", "./a"]).ends().refuses_with(&["it is running", "bryo stop "]);
    world.bryo(["discard", "--all", "--yes"]).ends().succeeds().stdout_is("");
    assert_eq!(ids(&world).len(), 1);
    world.bryo(["rm", "-f", "busy"]).ends().succeeds();
    running.ends().dies_of(9);
}

#[test]
fn a_word_that_names_nothing_may_be_a_path_and_nothing_is_discarded() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.sandbox().args(["--name", "s"]).run("echo x >apple; echo x >bread").succeeds();
    let why = ["cannot find a sandbox `apple`", "nothing was discarded", "./PATH"];
    world.bryo(["discard", "--yes", "s", "apple"]).ends().refuses_with(&why);
    world.bryo(["discard", "s", "./apple"]).ends().succeeds();
    let left = world.bryo(["diff", "s", "--name-only"]).ends().succeeds().stdout();
    assert!(left.ends_with("/bread\n") && !left.contains("/apple\n"), "{left}");
}

#[test]
fn what_was_not_named_is_asked_about() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.sandbox().run("echo x >a").succeeds();
    world.sandbox().run("echo x >b; echo x >c").succeeds();
    world.bryo(["discard"]).ends().refuses_with(&["this is no terminal", "--yes"]);
    let mut terminal = world.bryo(["discard", "--all"]).on_terminal();
    terminal.shows("Discard 2 sandboxes with 3 changes? [y/N]").types("\r");
    terminal.ends().exits_with(1);
    assert_eq!(ids(&world).len(), 2);
    let mut terminal = world.bryo(["discard"]).on_terminal();
    terminal.shows("Discard 1 sandbox with 2 changes? [y/N]").types("y\r");
    terminal.ends().succeeds();
    assert_eq!(ids(&world).len(), 1);
    world.bryo(["discard", "--older-than", "1h", "-f"]).ends().succeeds().stdout_is("");
    world.bryo(["discard", "--older-than", "1ms", "-f"]).ends().succeeds();
    assert!(ids(&world).is_empty());
}

#[test]
fn programs_are_told_what_went() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.sandbox().args(["--name", "n"]).run("echo x >a; echo x >b").succeeds();
    let json = |words: &[&str]| -> serde_json::Value {
        serde_json::from_str(&world.bryo(words).ends().succeeds().stdout()).unwrap()
    };
    let part = json(&["discard", "--json", "n", "./a"]);
    assert_eq!(part["paths"][0]["changes"], 1);
    assert_eq!(part["paths"][0]["discarded"], true);
    assert_eq!((&part["left"]["added"], &part["gone"]), (&1.into(), &false.into()));
    let dry = json(&["discard", "--json", "-n", "n"]);
    assert_eq!((&dry[0]["name"], &dry[0]["discarded"]), (&"n".into(), &false.into()));
    let whole = json(&["discard", "--json", "n"]);
    assert_eq!(whole[0]["discarded"], true);
    assert_eq!(whole[0]["changes"]["added"], 1);
}

#[test]
fn what_a_volume_showed_is_named_as_on_the_host() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("data/old", "old\n");
    let volume = format!("{}:/mnt/d:cow", world.path("data").display());
    world.sandbox().args(["--name", "v", "-v", &volume]).run("echo n >/mnt/d/new").succeeds();
    let told = world.bryo(["discard", "v", "/mnt/d/new"]).ends().exits_with(125);
    let there = world.path("data/new").canonicalize().unwrap_or_else(|_| world.path("data/new"));
    let hint = "changes have the names of the host: bryo discard ";
    told.stderr_has(hint).stderr_has(&there.display().to_string());
    world.bryo(["discard", "v", there.to_str().unwrap()]).ends().succeeds();
    // Elsewhere nothing is known of it.
    world
        .bryo(["discard", "v", "/mnt/e"])
        .ends()
        .exits_with(125)
        .stderr_has("lists what it changed");
}
