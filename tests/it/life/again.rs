//! Runs that go on with the layer of another: `--continue SANDBOX`, and `--name` of one that there is.

use super::{applies, changes, ids};
use crate::support::{Host, Stdin, World};

fn record(world: &World, sandbox: &str) -> serde_json::Value {
    serde_json::from_str(&world.bryo(["inspect", sandbox]).ends().succeeds().stdout()).unwrap()
}

#[test]
fn a_run_goes_on_with_what_another_wrote() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/d/a", "old\n");
    world.file("project/gone", "old\n");
    let first = "echo one >new; rm gone; rm -r d; mkdir d; echo x >d/b; exit 3";
    world.sandbox().run(first).exits_with(3);
    let id = ids(&world).remove(0);
    let again =
        |script: &str| world.sandbox().args(["--continue", &id[..6]]).run(script).succeeds();
    again("cat new; ls; ls d; echo two >>new").stdout_is("one\nd\nnew\nb\n");
    again("cat new; echo back >gone; mv new newer").stdout_is("one\ntwo\n");
    assert_eq!(ids(&world), std::slice::from_ref(&id));
    assert_eq!(changes(&world, &id), ["D d/a", "A d/b", "C gone", "A newer"]);
    let record = record(&world, &id);
    assert_eq!(record["outcome"]["exit"]["code"], 0);
    assert_eq!(record["earlier"].as_array().unwrap().len(), 2);
    assert_eq!(record["earlier"][0]["outcome"]["exit"]["code"], 3);
    assert_eq!(record["earlier"][0]["argv"][2], first);
    assert!(record["continued"].as_str().unwrap() > record["created"].as_str().unwrap());
}

#[test]
fn a_run_that_takes_everything_back_leaves_nothing() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.sandbox().run("echo x >new").succeeds();
    let id = ids(&world).remove(0);
    world.sandbox().args(["--continue", &id]).run("rm new").succeeds();
    assert!(ids(&world).is_empty());
}

#[test]
fn a_name_is_a_layer_that_every_run_of_that_name_goes_on_with() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let named = || world.sandbox().args(["--name", "n"]);
    // It is there to be referred to, also when nothing was written.
    named().run("exit 4").exits_with(4);
    assert_eq!(record(&world, "n")["outcome"]["exit"]["code"], 4);
    let id = ids(&world).remove(0);
    named().run("echo one >a").succeeds();
    named().run("cat a; echo two >b").succeeds().stdout_is("one\n");
    assert_eq!(ids(&world), [id]);
    assert_eq!(changes(&world, "n"), ["A a", "A b"]);
    named().arg("--rm").run("true").refuses_with(&["`--rm`", "bryo discard n"]);
    assert_eq!(changes(&world, "n"), ["A a", "A b"]);
}

#[test]
fn one_that_runs_is_not_gone_on_with() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let named = || world.sandbox().args(["--name", "n"]);
    let running = named().start("echo up; read line <&2; echo x >a; sleep 100");
    running.says("up");
    named()
        .run("true")
        .refuses_with(&["cannot go on with sandbox `n`: it is running", "leave out"]);
    world.sandbox().args(["--continue", "n"]).run("true").refuses_with(&["it is running"]);
    world.bryo(["rm", "-f", "n"]).ends().succeeds();
    running.ends().dies_of(9);
    named().run("echo x >a").succeeds();
    world
        .sandbox()
        .args(["--continue", "none"])
        .run("true")
        .refuses_with(&["cannot find a sandbox `none`"]);
    world
        .sandbox()
        .args(["--continue", "n", "--rm"])
        .run("true")
        .refuses_with(&["cannot take both `--continue` and `--rm`"]);
}

#[test]
fn two_runs_with_one_new_name_are_one_run_and_a_refusal() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    // The one that runs does so until the others have ended.
    let (read, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let read = std::fs::File::from(read);
    let (tell, told) = std::sync::mpsc::channel();
    for _ in 0..4 {
        let run = world.sandbox().args(["--name", "n"]);
        let run = run.stdin(Stdin::File(read.try_clone().unwrap())).start("echo x >>a; cat");
        let tell = tell.clone();
        std::thread::spawn(move || tell.send(run.ends()));
    }
    drop(read);
    for _ in 0..3 {
        told.recv().unwrap().refuses_with(&["bryo: cannot "]);
    }
    drop(held);
    told.recv().unwrap().succeeds();
    assert_eq!(changes(&world, "n"), ["A a"]);
}

#[test]
fn a_killed_run_is_gone_on_with() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    let running = world.sandbox().args(["--name", "n"]).start("echo one >a; echo up; sleep 100");
    running.says("up").kill(rustix::process::Signal::KILL);
    running.ends().dies_of(9);
    let listed = world.bryo(["ps", "-a"]).ends().succeeds().stdout();
    assert!(listed.contains("died") && listed.contains("1A 0C 0D"), "{listed}");
    world.sandbox().args(["--name", "n"]).run("cat a; echo two >>a").succeeds().stdout_is("one\n");
    assert_eq!(changes(&world, "n"), ["A a"]);
    assert_eq!(record(&world, "n")["earlier"][0]["outcome"]["state"], "killed");
}

#[test]
fn a_start_that_fails_leaves_the_layer_and_its_record_as_they_were() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.sandbox().args(["--name", "n"]).run("echo one >a").succeeds();
    let before = record(&world, "n");
    world.sandbox().args(["--name", "n"]).exec(["/no/such/program"]).exits_with(127);
    world.sandbox().args(["--name", "n", "--workdir", "/nowhere"]).run("true").exits_with(125);
    assert_eq!(record(&world, "n"), before);
    assert_eq!(changes(&world, "n"), ["A a"]);
}

#[test]
fn other_layers_are_refused_with_what_differs() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.file("project/sub/file", "old\n");
    world.sandbox().args(["--name", "n"]).run("echo one >a").succeeds();
    let named = || world.sandbox().args(["--name", "n"]);
    named()
        .arg("--read-only")
        .run("true")
        .refuses_with(&["where this run has none", "bryo inspect"]);
    named().args(["--dry-run"]).run("true").succeeds().stdout_has("take layer 0 as it is");
    let other = if crate::support::overlay() == crate::support::Overlay::Kernel {
        "fuse"
    } else {
        "kernel"
    };
    world
        .bryo(["run", "--overlay", other, "--name", "n"])
        .run("true")
        .refuses_with(&["was served by", "add --overlay"]);
    // What is mounted over a part of it, or hidden, is not in the layer.
    named().args(["--tmpfs", "sub"]).run("ls sub; cat a").succeeds().stdout_is("one\n");
    named().args(["--hide", "sub"]).run("ls; cat a").succeeds();
    named().run("cat sub/file").succeeds().stdout_is("old\n");
    assert_eq!(changes(&world, "n"), ["A a"]);
}

#[test]
fn the_first_mark_stays_with_what_was_written_before() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("project/a", "old\n");
    let named = || world.sandbox().args(["--name", "n"]);
    let mark = || record(&world, "n")["layers"][0]["mark"].clone();
    named().run("true").succeeds();
    let empty = mark();
    named().run("echo new >a").succeeds();
    let written = mark();
    assert_ne!(empty, written, "a layer with nothing in it is marked anew");
    world.file("project/a", "changed by the host\n");
    named().run("cat a; echo more >b").succeeds().stdout_is("new\n");
    assert_eq!(mark(), written);
    // What the layer has was dropped: nothing of before is in it.
    world.bryo(["discard", "n", "./a", "./b"]).ends().succeeds();
    named().run("cat a").succeeds().stdout_is("changed by the host\n");
    assert_ne!(mark(), written);
}
