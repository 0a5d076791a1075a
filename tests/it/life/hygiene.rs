//! What the store takes, what goes, and what many commands at once make of it.

use super::{applies, changes, ids};
use crate::support::{Host, Need, World, has};

fn json(world: &World, words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&world.bryo(words).ends().succeeds().stdout()).unwrap()
}

#[test]
fn sizes_are_told_of_what_ended_and_of_what_was_killed() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.keeps(2);
    let write = "head -c 1000000 /dev/zero | tr '\\0' x >big; ln big other; truncate -s 1T sparse";
    world.sandbox().args(["--name", "ended"]).run(write).succeeds();
    let running = world
        .sandbox()
        .args(["--name", "killed"])
        .start(&format!("{write}; mkdir -p d/e; echo x >d/e/f; echo up; sleep 100"));
    running.says("up").kill(rustix::process::Signal::KILL);
    running.ends().dies_of(9);
    for row in json(&world, &["ps", "-a", "--json"]).as_array().unwrap() {
        let size = row["size"].as_u64().unwrap();
        assert!((1_000_000..1_100_000).contains(&size), "{row}");
        assert!(row["changes"]["added"].as_u64().unwrap() >= 3, "{row}");
        assert!(row["ended"].is_string(), "{row}");
    }
    let disk = json(&world, &["system", "df", "--json"]);
    for sandbox in disk["sandboxes"].as_array().unwrap() {
        let bytes = sandbox["usage"]["bytes"].as_u64().unwrap();
        assert!((1_000_000..1_200_000).contains(&bytes), "{sandbox}");
        assert_eq!(sandbox["usage"]["complete"], true);
    }
    assert!(disk["stores"][0]["trash"]["bytes"].is_u64());
    world
        .bryo(["system", "df"])
        .ends()
        .succeeds()
        .stdout_has("ended")
        .stdout_has("spare directories");
}

#[test]
fn prune_removes_what_nobody_misses_and_more_when_it_is_told() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.sandbox().args(["--name", "empty"]).run("true").succeeds();
    world.sandbox().args(["--name", "full"]).run("echo x >a").succeeds();
    world.bryo(["system", "prune"]).ends().refuses_with(&["this is no terminal", "--yes"]);
    world
        .bryo(["system", "prune", "-n"])
        .ends()
        .succeeds()
        .stdout_has("empty")
        .stdout_lacks("full");
    let mut terminal = world.bryo(["system", "prune"]).on_terminal();
    terminal.shows("empty").shows("Remove 1 sandbox? [y/N]").types("y\r").shows("freed ");
    terminal.ends().succeeds();
    assert_eq!(changes(&world, "full"), ["A a"]);
    let told = |words: &[&str]| {
        let all = [&["system", "prune", "-f", "--json"], words].concat();
        json(&world, &all).as_array().unwrap().len()
    };
    assert_eq!(told(&[]), 0);
    assert_eq!(told(&["--older-than", "1h"]), 0);
    assert_eq!(told(&["--filter", "state=killed"]), 0);
    assert_eq!(told(&["--filter", "name=other"]), 0);
    world
        .bryo(["system", "prune", "--filter", "stat=killed"])
        .ends()
        .refuses_with(&["stat=killed", "state"]);
    assert_eq!(ids(&world).len(), 1);
    assert_eq!(told(&["--filter", "until=1ms", "--filter", "name=full"]), 1);
    assert!(ids(&world).is_empty());
}

#[test]
fn what_subordinate_ids_wrote_is_removed() {
    if !applies() || !has(Need::Subids) {
        return;
    }
    let world = World::new();
    let run = |name: &str| {
        let words =
            ["run", "--ids", "subid", "--user", "root", "--cap-add", "chown", "--name", name];
        let script =
            "mkdir -p d/e; echo x >d/e/f; chown -R 5:5 d; chmod 700 d; echo x >a; chown 7:7 a";
        world.bryo(words).run(script).succeeds();
    };
    run("one");
    world.bryo(["rm", "one"]).ends().succeeds();
    run("two");
    world.bryo(["discard", "two", "./a"]).ends().succeeds();
    world.bryo(["discard", "two"]).ends().succeeds();
    assert!(ids(&world).is_empty());
    let trash = std::fs::read_dir(world.store().join("trash")).unwrap().count();
    assert_eq!(trash, 0);
}

/// What a storm consists of: all at once, on the sandboxes `kept`, `one` and `two`.
const STORM: [&[&str]; 17] = [
    &["apply", "kept", "./x/4"],
    &["apply", "kept", "./x/5", "./x/y/5", "--json"],
    &["apply", "one", "./x/6"],
    &["apply", "one", "./x/7", "./x/y/7"],
    &["apply", "two", "./x/8"],
    &["diff", "one"],
    &["discard", "one", "./x/1", "./d/a"],
    &["discard", "one", "./x/y"],
    &["rm", "one"],
    &["ps", "-a"],
    &["system", "df"],
    &["system", "prune", "-f", "--filter", "name=two"],
    &["discard", "two", "-f"],
    &["diff", "kept"],
    &["discard", "kept", "./x/y/2"],
    &["discard", "kept", "./x/y/3"],
    &["ps", "-a", "--json"],
];

#[test]
fn a_storm_of_commands_leaves_a_store_in_order() {
    if !applies() {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.file("project/d/a", "old\n");
    let write = "mkdir -p x/y; for i in 1 2 3 4 5 6 7 8; do echo $i >x/$i; echo $i >x/y/$i; done; rm -r d; mkdir d";
    for round in 0..4 {
        world.sandbox().args(["--name", "kept"]).run(write).succeeds();
        // Names that cannot be the beginning of an id: once they are gone, they are nobody.
        for name in ["one", "two"] {
            world.sandbox().args(["--name", name]).run(write).succeeds();
        }
        let running: Vec<_> = STORM.iter().map(|words| world.bryo(*words).starts()).collect();
        for (words, running) in STORM.iter().zip(running) {
            let ended = running.ends();
            let said = ended.stderr();
            // Who comes second finds it gone, or held just now, and says so; nobody panics.
            let expected = said.is_empty()
                // Two applies make the same directory: the second says that it changed meanwhile.
                || ["cannot find a sandbox", "it is running", "is at work on it", "changed nothing", "ran again", "--theirs"]
                    .iter()
                    .any(|reason| said.contains(reason));
            assert!(expected, "round {round}: {words:?} says {said}");
        }
        applied_is_whole(&world);
        let left = changes(&world, "kept");
        assert!(
            left.contains(&"A x/y/8".to_owned()) && left.contains(&"D d/a".to_owned()),
            "{left:?}"
        );
        world.bryo(["system", "prune", "-f", "--filter", "name=one"]).ends().succeeds();
        world.bryo(["system", "prune", "-f", "--filter", "name=two"]).ends().succeeds();
        assert_eq!(ids(&world).len(), 1, "round {round}");
    }
}

/// What was applied is whole, and nothing stands beside it; it goes, for the next round.
fn applied_is_whole(world: &World) {
    for (folder, names) in [("project/x", 4..9), ("project/x/y", 5..8)] {
        for name in names.filter(|name| world.exists(format!("{folder}/{name}"))) {
            assert_eq!(world.read(format!("{folder}/{name}")), format!("{name}\n"));
        }
    }
    world.outside("cd project && find . -name '.bryo*'").stdout_is("");
    world.outside("rm -rf project/x").succeeds();
}
