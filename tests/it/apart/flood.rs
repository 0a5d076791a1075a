//! A great deal of output with readers that do not keep up.
//!
//! `BRYO_TEST_FLOOD_MB=1024` writes that much; the figures are printed.

use std::time::{Duration, Instant};

use super::{bryo, record, start, until};
use crate::support::{Host, World};

/// Bytes of the log that are asked for.
const BOUND: u64 = 1 << 20;
/// Bytes that its heads of files and of entries may take beyond twice of that.
const HEADS: u64 = 64 << 10;
/// Kilobytes by which the supervisor may grow.
const GROWTH: u64 = 2048;

fn megabytes() -> u64 {
    std::env::var("BRYO_TEST_FLOOD_MB").map_or(48, |text| text.parse().unwrap())
}

/// Kilobytes of memory that are the process's own.
fn anonymous(pid: u64) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn on_disk(world: &World, id: &str) -> u64 {
    let size = |place: &str, name: &str| {
        std::fs::metadata(world.store().join(format!("{place}/{id}/{name}"))).map_or(0, |m| m.len())
    };
    ["live", "kept"].iter().map(|place| size(place, "log") + size(place, "log.old")).sum()
}

/// A payload that writes numbered lines of 100 bytes once it is let.
fn writer(world: &World) -> String {
    let lines = megabytes() * 10_000;
    let script =
        format!("echo ready; while [ ! -e /tmp/go ]; do sleep 0.1; done; seq -f %099.0f 1 {lines}");
    let id = start(world, &["--log-max-size", &BOUND.to_string()], &script);
    super::until_logged(world, &id, "ready");
    id
}

/// Lets it write; how long that took, and the most that its supervisor and its log grew to meanwhile.
fn watched(world: &World, id: &str) -> (Duration, u64, u64) {
    let supervisor = record(world, id)["launcher"]["pid"].as_u64().unwrap();
    let before = anonymous(supervisor).unwrap();
    bryo(world, &["exec", id, "touch", "/tmp/go"]).succeeds();
    let began = Instant::now();
    let waiting = world.bryo(["wait", id]).leaves().patience(Duration::from_mins(5)).starts();
    let (mut grown, mut size) = (0, 0);
    // The supervisor ends with its payload.
    while let Some(memory) = anonymous(supervisor) {
        grown = grown.max(memory.saturating_sub(before));
        size = size.max(on_disk(world, id));
        std::thread::sleep(Duration::from_millis(30));
    }
    waiting.ends().succeeds().stdout_is("0\n");
    (began.elapsed(), grown, size)
}

/// What is kept is the end of it, and as much as was asked for.
fn is_whole(world: &World, id: &str) {
    let text = bryo(world, &["logs", id]).succeeds().stdout();
    // The bound is one of the file, which has the heads of its entries in it.
    assert!(text.len() as u64 + HEADS >= BOUND, "{}", text.len());
    let numbers: Vec<u64> = text.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&(megabytes() * 10_000)));
    assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]));
}

#[test]
fn a_flood_of_output_is_bounded_on_disk_and_in_memory_whoever_reads() {
    let world = World::new();
    world.host(Host::MayChange).keeps(2);
    let alone = writer(&world);
    let (unread, ..) = watched(&world, &alone);
    is_whole(&world, &alone);

    let id = writer(&world);
    let read = world.path("read").display().to_string();
    // One that reads nothing until all is over, one that reads a little now and then.
    let never = "\"$@\" | (while [ ! -e $0 ]; do sleep 0.2; done; head -c 20 >/dev/null)";
    let slow =
        "\"$@\" | (while [ ! -e $0 ]; do head -c 2000 >/dev/null; sleep 0.1; done; tail -n 1)";
    let readers = [never, slow].map(|script| {
        let reader = world.bryo(["logs", "-f", &id]).under(["/bin/sh", "-c", script, &read]);
        reader.patience(Duration::from_mins(5)).starts()
    });
    let (took, grown, size) = watched(&world, &id);
    eprintln!(
        "{} MB: {:.1} s unread, {:.1} s with slow readers; the supervisor grew by {grown} kB; {size} bytes of log",
        megabytes(),
        unread.as_secs_f64(),
        took.as_secs_f64()
    );
    assert!(grown <= GROWTH, "{grown} kB");
    assert!((BOUND..=2 * BOUND + HEADS).contains(&size), "{size}");
    is_whole(&world, &id);
    world.file("read", "");
    let [never, slow] = readers;
    drop(never.ends());
    // It missed some, was told so, and came to the end.
    let slow = slow.ends().succeeds().stderr_has("some of the output was dropped");
    assert_eq!(slow.stdout().trim().trim_start_matches('0'), (megabytes() * 10_000).to_string());
    until("nobody reads", || on_disk(&world, &id) > 0);
}
