//! What is left when a process of a run is killed, at any moment: nothing but the record and its changes.
//!
//! # Theory of operation
//! A moment is a system call: strace delivers the signal when the process enters its N-th one of that
//! name. So the moments are spread over the whole run, none is hit by chance, and they are the same
//! ones however loaded the machine is.
//! That no process is left one second later is seen by the keeper, that no mount, lock or record is left
//! by [`World`] when it ends.

mod crowd;
mod launcher;
mod processes;

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;

use crate::support::World;

/// The payload of most runs here: it changes something, then ends by itself.
const WRITES: &str = "echo written >x; echo up";

/// One in so many moments, the last ones, is after the payload's end.
const LATE: usize = 6;

/// A system call, and how many calls of that name it is: 1 is the first.
type Moment = (String, usize);

/// Words that send `signal` to a process when it enters that call: the process which is started, or any
/// of its descendants, each of which counts its own calls.
fn strace(signal: &str, (call, n): &Moment, descendants: bool) -> Vec<String> {
    let (trace, inject) =
        (format!("trace={call}"), format!("inject={call}:signal={signal}:when={n}"));
    let mut words = vec!["/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    words.extend(descendants.then_some("-f"));
    words.into_iter().map(str::to_owned).collect()
}

/// So many moments of the launcher's life, the first to the last, taken from a run of its own.
fn moments(world: &World, count: usize) -> Vec<Moment> {
    let all = calls(world, &[], WRITES);
    usable_and_removed(world);
    assert!(all.len() > count, "only {} calls", all.len());
    // Some of them when the payload has ended: by then its changes are there.
    let late = all.iter().rposition(|(call, _)| call == "waitid").map_or(0, |at| at + 1);
    let spread = |calls: &[Moment], count: usize| -> Vec<Moment> {
        (0..count).map(|index| calls[index * calls.len() / count].clone()).collect()
    };
    [spread(&all, count - count / LATE), spread(&all[late..], count / LATE)].concat()
}

/// All of them, of a run with these flags.
fn calls(world: &World, flags: &[&str], command: &str) -> Vec<Moment> {
    // The first run makes the store, and remembers what it found out; the second keeps what it hides of a home
    // that has a store in it.
    for _ in 0..2 {
        world.sandbox().run("true").succeeds();
    }
    // Beside the world: what is in it is compared after each run.
    let trace = tempfile::NamedTempFile::new_in(world.home().parent().unwrap()).unwrap();
    let words = ["/usr/bin/strace", "-qq", "-o", trace.path().to_str().unwrap()];
    world.sandbox().args(flags).under(words).run(command).succeeds();
    let text = fs::read_to_string(trace.path()).unwrap();
    let mut seen = HashMap::new();
    let mut all: Vec<Moment> = Vec::new();
    // The first one is the exec of bryo itself.
    for name in text.lines().skip(1).filter_map(|line| Some(line.split_once('(')?.0)) {
        let n = seen.entry(name).or_insert(0);
        *n += 1;
        all.push((name.to_owned(), *n));
    }
    all
}

/// What `bryo ps -a` lists, which also puts the store in order.
fn listed(world: &World) -> Vec<Value> {
    let ended = world.bryo(["ps", "-a", "--json"]).ends().succeeds().stderr_is("");
    serde_json::from_str::<Vec<Value>>(&ended.stdout()).unwrap()
}

fn id(sandbox: &Value) -> String {
    sandbox["id"].as_str().unwrap().to_owned()
}

/// Everything listed is usable: its changes can be read. Then all of it is removed. Gives how many there
/// were, and how many of them `ps` calls killed.
fn usable_and_removed(world: &World) -> (usize, usize) {
    let all = listed(world);
    let killed = all.iter().filter(|sandbox| sandbox["state"] == "died").count();
    for sandbox in &all {
        assert!(sandbox["command"][0] == "/bin/sh", "a record that says nothing: {sandbox}");
        let id = id(sandbox);
        world.bryo(["inspect", &id]).ends().succeeds().stderr_is("").stdout_has(&id);
        let changes =
            world.bryo(["diff", &id, "--name-status"]).ends().succeeds().stderr_is("").stdout();
        let line = format!("A {}\n", world.path("project/x").display());
        assert!(changes == line, "{sandbox}: {changes:?}");
        world.bryo(["rm", &id]).ends().succeeds();
    }
    assert_eq!(listed(world), Vec::<Value>::new());
    (all.len(), killed)
}

/// The children of a process, each with its name.
fn children(pid: i32) -> Vec<(i32, String)> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim().to_owned();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .map(|pid| (pid, name(pid)))
        .collect()
}

/// The namespaces of a run, held open: the kernel gives the number of a namespace that is gone to the
/// next one that is made, by any test. Not the mount namespace, which would keep its mounts, and whose
/// processes are all in the user namespace as well.
struct Namespaces(Vec<File>);

impl Namespaces {
    /// Those of a process.
    fn of(pid: i32) -> Self {
        let open = |kind| File::open(format!("/proc/{pid}/ns/{kind}")).unwrap();
        Self(["user", "pid", "net"].map(open).into())
    }

    /// Processes that are in one of them, as far as the caller may look: all of its own.
    fn processes(&self) -> Vec<String> {
        let number = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let own: Vec<_> = self.0.iter().map(|file| number(file.metadata().unwrap())).collect();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let processes =
            processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
        let links =
            processes.flat_map(|entry| fs::read_dir(entry.path().join("ns")).into_iter().flatten());
        links
            .flatten()
            .filter(|link| fs::metadata(link.path()).is_ok_and(|to| own.contains(&number(to))))
            .map(|link| link.path().display().to_string())
            .collect()
    }
}
