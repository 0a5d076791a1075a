//! Places that lie in a directory which a payload writes: it puts a link, or another directory, where the next run of
//! the same sandbox would look.

use std::path::Path;

use super::home_is_a_copy;
use crate::apart::{bryo, record, start, until, until_logged};
use crate::support::{Ended, Host, World};

/// A home with a directory that is written, one that nobody gives away, and a file in each.
fn world() -> World {
    let world = World::new();
    world.host(Host::MayChange);
    world.keeps(1);
    world.file("shared/sub/note", "in sub\n");
    world.file("shared/run/note", "in run\n");
    world.file("private/note", "of the caller\n");
    world
}

/// Flags with `@P` and `@V` for the two directories.
fn flags(world: &World, flags: &[&str]) -> Vec<String> {
    let (shared, private) = (world.path("shared"), world.path("private"));
    let put = |path: &Path, flag: &str, name: &str| flag.replace(name, path.to_str().unwrap());
    flags.iter().map(|flag| put(&private, &put(&shared, flag, "@P"), "@V")).collect()
}

fn refused(ended: Ended) {
    ended.exits_with(125).stderr_has("leads to").stderr_has("hint: what the sandbox wrote");
}

/// Ways to name a place that lies in one that is written, and where the payload then finds it.
const WAYS: [(&[&str], &str); 7] = [
    (&["--write", "@P", "-v", "@P/sub:/mnt/sub"], "/mnt/sub"),
    (&["-v", "@P:/mnt/p", "-v", "@P/sub:/mnt/sub"], "/mnt/sub"),
    (&["-v", "@P:/mnt/p", "-v", "@P/sub:/mnt/sub:ro"], "/mnt/sub"),
    (&["-v", "@P:/mnt/p", "--read", "@P/sub"], "@V"),
    (&["-v", "@P:/mnt/p", "--write", "@P/sub"], "@V"),
    (&["-v", "@P:/mnt/p", "-v", "@P/sub/note:/mnt/note:ro"], "/mnt"),
    (&["-v", "@P:/mnt/p", "--profile", "strict", "--read", "@P/sub"], "@V"),
];

#[test]
fn a_restart_follows_no_link_that_the_payload_planted() {
    for (named, seen) in WAYS {
        let world = world();
        let named = flags(&world, named);
        let [seen, private] = &flags(&world, &[seen, "@V"])[..] else { unreachable!() };
        let shared = if named[0] == "--write" { named[1].as_str() } else { "/mnt/p" };
        let attack = format!(
            "cd {shared}; if [ -d old ]; then cat {seen}/note; echo owned >{seen}/mark; exit 0; fi
             mv sub old; ln -s {private} sub; exit 1"
        );
        let mut all = vec!["--restart", "on-failure:3"];
        all.extend(named.iter().map(String::as_str));
        let id = start(&world, &all, &attack);
        until_logged(&world, &id, "leads to");
        bryo(&world, &["wait", &id]).succeeds();
        refused(bryo(&world, &["start", &id]));
        refused(bryo(&world, &["start", "-a", &id]));
        refused(bryo(&world, &["restart", &id]));
        refused(world.sandbox().args(["--continue", &id]).args(&named).run(&attack));
        assert!(!world.exists("private/mark"), "{named:?}");
        assert!(!bryo(&world, &["logs", &id]).stdout().contains("of the caller"), "{named:?}");
        // The control: it is a link to what was not given.
        world.outside("cat shared/sub/note").stdout_is("of the caller\n");
        // What was there put back, it goes on.
        world.outside("cd shared; rm sub; mv old sub").succeeds();
        bryo(&world, &["start", &id]).succeeds();
        bryo(&world, &["rm", "-f", &id]).succeeds();
        world.keeps(0);
    }
}

#[test]
fn a_restart_starts_nowhere_else_when_the_payload_moves_the_directory_it_was_started_in() {
    for more in [&["--write", "@P/sub"][..], &["--profile", "strict", "--read", "@P/sub"]] {
        let world = world();
        let more = flags(&world, more);
        let private = world.path("private");
        let attack = format!(
            "cd /mnt/p; [ -L sub ] && echo again; mv sub old; ln -s {} sub; exit 1",
            private.display()
        );
        let volume = format!("{}:/mnt/p", world.path("shared").display());
        let run = crate::apart::detached(&world, &["--restart", "on-failure:3", "-v", &volume]);
        let run = run.args(&more).in_folder(world.path("shared/sub"));
        let id = run.run(&attack).succeeds().stdout().trim().to_owned();
        until_logged(&world, &id, "leads to");
        for command in [&["start", &id][..], &["start", "-a", &id], &["restart", &id]] {
            bryo(&world, command).exits_with(125).stderr_has("cannot enter").stderr_has("hint: ");
        }
        assert!(!bryo(&world, &["logs", &id]).stdout().contains("again"));
        // The control: who goes there is somewhere else.
        let there = world.outside("cd shared/sub && pwd -P").succeeds();
        there.stdout_is(&format!("{}\n", private.canonicalize().unwrap().display()));
    }
}

#[test]
fn a_restart_takes_no_other_directory_that_the_payload_put_in_the_place() {
    let world = world();
    let named =
        flags(&world, &["--restart", "on-failure:3", "-v", "@P/sub:/mnt/sub", "-v", "@P:/mnt/p"]);
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let id = start(&world, &named, "cat /mnt/sub/note; cd /mnt/p; mv sub old; mv run sub; exit 1");
    until_logged(&world, &id, "is not the directory that it was");
    assert!(!bryo(&world, &["logs", &id]).stdout().contains("in run"));
    bryo(&world, &["start", &id]).exits_with(125).stderr_has("is not the directory that it was");
    world.outside("cat shared/sub/note").stdout_is("in run\n");
}

#[test]
fn a_socket_that_was_given_is_no_other_one_after_a_restart() {
    let world = world();
    let server = |at: &str| std::os::unix::net::UnixListener::bind(world.path(at)).unwrap();
    let _given = server("shared/run/s");
    let _private = server("private/s");
    let named =
        flags(&world, &["--socket", "@P/run/s", "-v", "@P:/mnt/p", "--restart", "on-failure:3"]);
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let swap =
        format!("cd /mnt/p; mv run old; ln -s {} run; exit 1", world.path("private").display());
    let id = start(&world, &named, &swap);
    until_logged(&world, &id, "leads to");
    refused(bryo(&world, &["start", &id]));
    std::os::unix::net::UnixStream::connect(world.path("shared/run/s")).unwrap();
}

#[test]
fn a_sandbox_gets_nothing_by_a_link_that_another_one_planted_while_it_waited() {
    let world = world();
    let (shared, private) = (world.path("shared"), world.path("private"));
    let volume = format!("{}:/mnt/sub", shared.join("sub").display());
    // It ends when it sees that it is time, and is started again.
    let waits = "echo begun; until [ -e /mnt/sub/go ]; do sleep 0.02; done; exit 1";
    let id = start(&world, &["--restart", "always", "-v", &volume], waits);
    until_logged(&world, &id, "begun");
    let plants = format!(
        "cd {}; touch sub/go; mv sub old; ln -s {} sub",
        shared.display(),
        private.display()
    );
    world.sandbox().args(["--rm", "--write"]).arg(&shared).run(&plants).succeeds();
    until("it is not started again", || bryo(&world, &["logs", &id]).stderr().contains("leads to"));
    assert!(!world.exists("private/mark"));
    refused(bryo(&world, &["start", &id]));
    world.outside("cat shared/sub/note").stdout_is("of the caller\n");
}

#[test]
fn what_the_caller_made_anew_is_taken_by_the_next_run() {
    let world = world();
    // As a build does it: nothing that a sandbox writes is around it.
    let volume = format!("{}:/mnt/sub:ro", world.path("shared/sub").display());
    let id = start(&world, &["-v", &volume], "cat /mnt/sub/note");
    bryo(&world, &["wait", &id]).succeeds();
    world.outside("rm -r shared/sub; mkdir shared/sub; echo anew >shared/sub/note").succeeds();
    bryo(&world, &["start", &id]).succeeds();
    bryo(&world, &["wait", &id]).succeeds();
    bryo(&world, &["logs", &id]).stdout_is("in sub\nanew\n");
    if home_is_a_copy() {
        assert!(record(&world, &id)["named"].as_array().is_some());
    }
}
