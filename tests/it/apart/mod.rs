//! Sandboxes that go on when the command that started them has ended.

mod attach;
mod crowd;
mod events;
mod flood;
mod health;
mod kill;
mod leave;
mod logs;
mod look;
mod restart;
mod start;
mod states;
mod stop;
mod storm;

use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::support::{Ended, Invocation, World};

/// `bryo run -d` with the overlay of this pass and these flags.
pub(crate) fn detached(world: &World, flags: &[&str]) -> Invocation {
    world.sandbox().arg("-d").args(flags).leaves()
}

/// Starts a shell command in a sandbox of its own; its id.
#[track_caller]
pub(crate) fn start(world: &World, flags: &[&str], command: &str) -> String {
    let id = detached(world, flags).run(command).succeeds().stderr_is("").stdout();
    let id = id.strip_suffix('\n').unwrap().to_owned();
    assert!(id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    id
}

/// `bryo` with these words.
#[track_caller]
pub(crate) fn bryo(world: &World, words: &[&str]) -> Ended {
    // A supervisor that a command starts again is not its own to end.
    world.bryo(words).leaves().ends()
}

/// One field of what `bryo ps -a --json` says of a sandbox; null when it is not listed.
pub(crate) fn field(world: &World, id: &str, field: &str) -> serde_json::Value {
    let rows = bryo(world, &["ps", "-a", "--json"]).succeeds().stdout();
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["id"] == id || row["name"] == id);
    row.map_or(serde_json::Value::Null, |row| row[field].clone())
}

/// The record.
pub(crate) fn record(world: &World, id: &str) -> serde_json::Value {
    serde_json::from_str(&bryo(world, &["inspect", id]).succeeds().stdout()).unwrap()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_mins(1), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until that many commands were attached so far, to whichever sandbox: from then on their signals are theirs.
#[track_caller]
pub(crate) fn until_attached(world: &World, times: usize) {
    until("it is attached", || {
        let events = ["events", "--since", "1h", "--until", "1ms", "-f", "event=attach"];
        bryo(world, &events).succeeds().stdout().lines().count() >= times
    });
}

/// Whether a process has a descriptor of that kind, as the kernel calls it.
pub(crate) fn has_open(pid: Pid, kind: &str) -> bool {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let mut links = all.filter_map(|one| std::fs::read_link(one.ok()?.path()).ok());
    links.any(|link| link.to_string_lossy().contains(kind))
}

/// Waits until the log has this.
#[track_caller]
pub(crate) fn until_logged(world: &World, id: &str, text: &str) {
    until(text, || {
        let ended = bryo(world, &["logs", id]).succeeds();
        ended.stdout().contains(text) || ended.stderr().contains(text)
    });
}
