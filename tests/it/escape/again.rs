//! What a run hides, against what an earlier run brought into the layer: masks lie below it.

use super::home_is_a_copy;
use crate::support::{Host, Invocation, World};

const MARK: &str = "the-mark-of-a-secret\n";

fn named(world: &World) -> Invocation {
    world.sandbox().args(["--name", "n"])
}

fn discard(world: &World, paths: &[&str]) {
    world.bryo(["discard", "n"]).args(paths).ends().succeeds();
}

fn diff(world: &World) -> String {
    world.bryo(["diff", "n"]).ends().succeeds().stdout()
}

fn record(world: &World) -> serde_json::Value {
    serde_json::from_str(&world.bryo(["inspect", "n"]).ends().succeeds().stdout()).unwrap()
}

#[test]
fn what_an_earlier_run_copied_is_not_seen_where_a_later_one_hides_it() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/.env", MARK);
    world.file("project/sub/pw", MARK);
    let look = "cat .env sub/pw 2>/dev/null; true";
    // The control: what was only touched lies in the layer, and is seen.
    named(&world).run("touch .env sub/pw").succeeds();
    named(&world).run(look).stdout_is(&MARK.repeat(2));
    let before = record(&world);
    let hiding = || named(&world).args(["--hide", "./.env", "--hide", "./sub"]);
    let project = world.project();
    let project = project.display();
    for run in [hiding(), hiding().arg("--dry-run")] {
        let said = format!("`{project}/.env` and 1 more");
        let drop = format!("{project}/.env {project}/sub drops that from the sandbox");
        run.run(look).stdout_is("").refuses_with(&["would be seen", &said, "bryo discard", &drop]);
    }
    assert_eq!(record(&world), before);
    discard(&world, &["./.env"]);
    hiding().run(look).stdout_is("").refuses_with(&[&format!("`{project}/sub`")]);
    discard(&world, &["./sub"]);
    hiding().run(look).succeeds().stdout_is("");
    hiding().run(look).succeeds().stdout_is("");
}

#[test]
fn a_secret_that_was_shown_once_is_not_seen_by_a_run_that_does_not_show_it() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let secret = world.file(".aws/credentials", MARK);
    let look = "cat ~/.aws/credentials 2>/dev/null; true";
    let showing = || named(&world).arg("--cow").arg(world.path(".aws"));
    showing().run("touch ~/.aws/credentials").succeeds();
    showing().run(look).succeeds().stdout_is(MARK);
    let refused = |run: Invocation| run.run(look).stdout_is("").refuses_with(&["/.aws`"]);
    refused(named(&world));
    refused(world.sandbox().args(["--continue", "n"]));
    refused(named(&world).arg("-d"));
    discard(&world, &[secret.parent().unwrap().to_str().unwrap()]);
    named(&world).run(look).succeeds().stdout_is("");
    // From here on it is the payload's own.
    named(&world).run("mkdir ~/.aws; echo own >~/.aws/credentials").succeeds();
    named(&world).run(look).succeeds().stdout_is("own\n");
}

#[test]
fn a_place_that_a_variable_makes_a_secret_is_not_seen_from_the_layer() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/cfg/credentials.toml", MARK);
    let look = "cat cfg/credentials.toml 2>/dev/null; true";
    named(&world).run("touch cfg/credentials.toml").succeeds();
    named(&world).run(look).stdout_is(MARK);
    let moved = || named(&world).env("CARGO_HOME", world.path("project/cfg"));
    moved().run(look).stdout_is("").refuses_with(&["cfg/credentials.toml`"]);
    discard(&world, &["./cfg/credentials.toml"]);
    moved().run(look).succeeds().stdout_is("");
}

#[test]
fn what_is_only_in_the_layer_is_not_said_to_be_hidden_and_seen() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    named(&world).run("mkdir sub; echo x >sub/own; ln -s sub link").succeeds();
    let hiding = |path: &str| named(&world).arg("--hide").arg(world.project().join(path));
    hiding("sub").run("ls sub").stdout_is("").refuses_with(&["project/sub`"]);
    // By way of a link of its own, too.
    hiding("link/own").run("cat link/own").stdout_is("").refuses_with(&["project/link`"]);
    hiding("sub/other").run("ls sub").succeeds().stdout_is("own\n");
    // What it deleted is not seen: it may be hidden.
    named(&world).run("rm -r sub link").succeeds();
    hiding("sub").run("test ! -e sub").succeeds();
}

#[test]
fn a_directory_that_nobody_may_enter_hides_no_copy() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/sub/pw", MARK);
    named(&world).run("touch sub/pw; chmod 0 sub").succeeds();
    let look = "chmod 700 sub; cat sub/pw";
    let hiding = || named(&world).args(["--hide", "./sub/pw"]);
    hiding().run(look).stdout_is("").refuses_with(&["project/sub`"]);
    named(&world).run(look).succeeds().stdout_is(MARK);
    hiding().run(look).stdout_is("").refuses_with(&["project/sub/pw`"]);
}

#[test]
fn what_a_payload_makes_where_something_is_hidden_stays_its_own_over_many_runs() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("project/.env", MARK);
    let hiding = || named(&world).args(["--hide", "./.env", "--hide", "./sub/pw"]);
    hiding().run("echo own >.env; mkdir sub; echo own >sub/pw").succeeds();
    for _ in 0..2 {
        hiding().run("cat .env sub/pw").succeeds().stdout_is("own\nown\n");
    }
    // The host gets the directory, and loses it.
    world.file("project/sub/pw", MARK);
    hiding().run("cat .env sub/pw").succeeds().stdout_is("own\nown\n");
    std::fs::remove_dir_all(world.path("project/sub")).unwrap();
    hiding().run("cat .env sub/pw").succeeds().stdout_is("own\nown\n");
    assert!(diff(&world).contains("the sandbox was not shown what the host has there"));
    // Shown in between, it may be the host's.
    named(&world).run("rm .env").succeeds();
    hiding().run("cat sub/pw").stdout_is("").refuses_with(&["project/sub/pw`"]);
    discard(&world, &["./sub"]);
    hiding().run("test ! -e .env && test ! -e sub").succeeds();
}

#[test]
fn a_deletion_is_told_of_what_was_hidden_in_another_run() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    for file in ["before", "after", "both"] {
        world.file(format!("project/{file}"), MARK);
    }
    let hiding = |file: &str| named(&world).arg("--hide").arg(world.project().join(file));
    hiding("before").run("test ! -e before").succeeds();
    named(&world).run("rm before after").succeeds();
    hiding("after").run("test ! -e after; echo own >after").succeeds();
    hiding("both").run("echo own >both").succeeds();
    let said = diff(&world);
    let line = |file: &str| {
        let at = |line: &&str| line.contains(&format!("/project/{file}"));
        said.lines().find(at).unwrap_or_else(|| panic!("{file}: {said}"))
    };
    assert!(line("before").starts_with("D "), "{said}");
    assert!(line("after").starts_with("C ") && !line("after").contains("not shown"), "{said}");
    assert!(line("both").starts_with("A ") && line("both").contains("not shown"), "{said}");
}

#[test]
fn a_detached_sandbox_starts_again_on_what_it_made_where_something_is_hidden() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/.env", MARK);
    let script = "cat .env 2>/dev/null; echo own >.env";
    let detached = world.sandbox().args(["-d", "--name", "n", "--hide", "./.env", "sh", "-c"]);
    detached.arg(script).ends().succeeds();
    world.bryo(["wait", "n"]).ends().succeeds().stdout_is("0\n");
    world.bryo(["start", "n"]).ends().succeeds();
    world.bryo(["wait", "n"]).ends().succeeds().stdout_is("0\n");
    world.bryo(["logs", "n"]).ends().succeeds().stdout_is("own\n");
}

#[test]
fn a_layer_of_an_older_bryo_is_looked_at_for_what_is_hidden_by_now() {
    if !home_is_a_copy() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let hiding = |file: &str| named(&world).arg("--hide").arg(world.project().join(file));
    hiding("one").run("echo own >one; echo own >two").succeeds();
    // What such a record does not say.
    let forget = || {
        let kept = world.store().join("kept");
        let sandbox = std::fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
        let path = sandbox.join("record.json");
        let mut record: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for layer in record["layers"].as_array_mut().unwrap() {
            assert!(layer["layer"].as_object_mut().unwrap().remove("hidden").is_some());
        }
        std::fs::write(&path, record.to_string()).unwrap();
    };
    forget();
    hiding("two").run("cat two").stdout_is("").refuses_with(&["project/two`"]);
    hiding("one").run("cat one").succeeds().stdout_is("own\n");
    // Of several runs it told what was hidden in any.
    forget();
    hiding("one").run("cat one").stdout_is("").refuses_with(&["project/one`"]);
}
