//! `--health-cmd`: a sandbox is asked whether it is well, by what is confined as its payload is.

use super::{bryo, field, record, start, until};
use crate::support::World;

/// Waits until it is said to be so.
#[track_caller]
fn until_it_is(world: &World, id: &str, health: &str) {
    until(health, || field(world, id, "health") == health);
}

#[test]
fn what_checks_say_is_told_by_ps_inspect_and_events() {
    let world = World::new();
    let check = r"printf '\033[31mseen\377 '; id -u; test -e /tmp/ok";
    let flags = ["--name", "h", "--health-cmd", check, "--health-interval", "50ms"];
    let id = start(&world, &[&flags[..], &["--health-retries", "2"]].concat(), "sleep 1000");
    until_it_is(&world, "h", "unhealthy");
    bryo(&world, &["ps"]).succeeds().stdout_has("running (unhealthy)");
    bryo(&world, &["exec", "h", "touch", "/tmp/ok"]).succeeds();
    until_it_is(&world, "h", "healthy");
    bryo(&world, &["ps", "-q", "-f", "health=healthy"]).succeeds().stdout_is(&format!("{id}\n"));
    bryo(&world, &["ps", "-q", "-f", "health=unhealthy"]).succeeds().stdout_is("");
    bryo(&world, &["ps", "--format", "{{.Status}} {{.Health}}"])
        .succeeds()
        .stdout_is("running (healthy) healthy\n");
    bryo(&world, &["stop", "-t", "0", "h"]).succeeds();
    // Of one that ended, what was last known is in its record.
    assert_eq!(field(&world, "h", "health"), serde_json::Value::Null);
    let health = record(&world, "h")["health"].clone();
    assert_eq!(health["status"], "healthy");
    let checks = health["checks"].as_array().unwrap();
    assert!(!checks.is_empty() && checks.len() <= 5, "{health}");
    let output = checks[0]["output"].as_str().unwrap();
    assert!(output.starts_with("\u{1b}[31mseen\u{fffd} "), "{output:?}");
    bryo(&world, &["inspect", "h"]).succeeds().stdout_lacks("\u{1b}");
    let since = ["events", "--since", "1h", "--until", "1ms", "-f", "event=health_status"];
    let events = bryo(&world, &since).succeeds().stdout();
    let said: Vec<&str> =
        events.lines().map(|line| line.split(' ').nth(2).unwrap_or_default()).collect();
    assert_eq!(said, ["unhealthy", "healthy"], "{events}");
    // It begins anew.
    bryo(&world, &["start", "h"]).succeeds();
    until_it_is(&world, "h", "unhealthy");
    bryo(&world, &["rm", "-f", "h"]).succeeds();
}

#[test]
fn a_check_that_says_now_this_and_now_that_does_not_fill_the_list_of_events() {
    let world = World::new();
    let check = "echo >>/tmp/n; [ -e /tmp/x ] && rm /tmp/x || { touch /tmp/x; exit 1; }";
    let flags = ["--name", "h", "--health-cmd", check, "--health-interval", "1ms"];
    let begun = std::time::Instant::now();
    start(&world, &[&flags[..], &["--health-retries", "1"]].concat(), "exec sleep 1000");
    until("sixty checks", || {
        let count = bryo(&world, &["exec", "h", "sh", "-c", "wc -l </tmp/n || echo 0"]).stdout();
        count.trim().parse::<u32>().unwrap_or(0) >= 60
    });
    bryo(&world, &["rm", "-f", "h"]).succeeds();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    let since = ["events", "--since", "1h", "--until", "1ms", "-f", "event=health_status"];
    let events = bryo(&world, &since).succeeds().stdout();
    let told = events.lines().count();
    assert!((10..=11 + seconds).contains(&told), "{told} in {seconds} s");
}

#[test]
fn a_check_that_hangs_ends_with_its_pipeline_and_there_is_one_at_a_time() {
    let world = World::new();
    let hangs = "sleep 4711 | sleep 4711";
    let flags = ["--name", "h", "--health-cmd", hangs, "--health-interval", "20ms"];
    let more = ["--health-timeout", "200ms", "--health-retries", "1"];
    start(&world, &[&flags[..], &more].concat(), "exec sleep 1000");
    until_it_is(&world, "h", "unhealthy");
    until("five checks", || {
        record(&world, "h")["health"]["checks"].as_array().is_some_and(|all| all.len() == 5)
    });
    assert_eq!(record(&world, "h")["health"]["checks"][4]["exit"], serde_json::Value::Null);
    let count = "grep -lx sleep /proc/[0-9]*/comm | wc -l";
    // The payload, and those of one check; what was killed just now may still be to be reaped. Checks that went on would be
    // ever more.
    until("there is one at a time", || {
        let sleeps = bryo(&world, &["exec", "h", "sh", "-c", count]).succeeds().stdout();
        sleeps.trim().parse::<u32>().unwrap() <= 3
    });
    bryo(&world, &["rm", "-f", "h"]).succeeds();
}

#[test]
fn what_a_check_writes_and_leaves_behind_is_bounded() {
    let world = World::new();
    // It writes more than a pipe holds, and a child of it holds the pipe open.
    let floods = "head -c 1000000 /dev/zero | tr '\\0' x; sleep 1000 & yes >&2 & exit 0";
    let flags = ["--name", "h", "--health-cmd", floods, "--health-interval", "20ms"];
    start(&world, &flags, "exec sleep 1000");
    until_it_is(&world, "h", "healthy");
    let health = record(&world, "h")["health"].clone();
    assert_eq!(health["checks"][0]["output"], "x".repeat(4096));
    bryo(&world, &["stop", "-t", "0", "h"]).succeeds();
    bryo(&world, &["rm", "h"]).succeeds();
}

#[test]
fn checks_are_in_nobodys_way() {
    let world = World::new();
    let flags = ["--name", "h", "--health-cmd", "sleep 0.01", "--health-interval", "1ms"];
    start(&world, &flags, "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    for round in 0..4 {
        bryo(&world, &["restart", "-t", if round % 2 == 0 { "0" } else { "20" }, "h"]).succeeds();
        bryo(&world, &["exec", "h", "true"]).succeeds();
    }
    until_it_is(&world, "h", "healthy");
    bryo(&world, &["kill", "-s", "KILL", "h"]).succeeds();
    bryo(&world, &["wait", "h"]).succeeds().stdout_is("137\n");
    bryo(&world, &["start", "h"]).succeeds();
    bryo(&world, &["rm", "-f", "h"]).succeeds();
    bryo(&world, &["ps", "-aq"]).succeeds().stdout_is("");
}

#[test]
fn failures_at_the_beginning_do_not_count_for_a_while() {
    let world = World::new();
    let flags = ["--name", "h", "--health-cmd", "test -e /tmp/ok", "--health-interval", "1h"];
    let period = ["--health-start-period", "1h", "--health-start-interval", "20ms"];
    let retries = ["--health-retries", "1"];
    start(&world, &[&flags[..], &period, &retries].concat(), "exec sleep 1000");
    until("a check", || {
        record(&world, "h")["health"]["checks"].as_array().is_some_and(|all| all.len() > 2)
    });
    assert_eq!(field(&world, "h", "health"), "starting");
    bryo(&world, &["ps"]).succeeds().stdout_has("running (health: starting)");
    bryo(&world, &["exec", "h", "touch", "/tmp/ok"]).succeeds();
    until_it_is(&world, "h", "healthy");
    bryo(&world, &["rm", "-f", "h"]).succeeds();
}

#[test]
fn a_run_in_the_foreground_is_asked_too() {
    // One without a layer leaves no record by which to find it.
    if !crate::life::applies() {
        return;
    }
    let world = World::new();
    let flags = ["--rm", "--name", "f", "--health-cmd", "true", "--health-interval", "50ms"];
    let running = world.sandbox().args(flags).start("echo up; exec sleep 1000");
    running.says("up");
    until_it_is(&world, "f", "healthy");
    running.kill(rustix::process::Signal::TERM);
    running.ends().exits_with(143);
    // Nothing that was written makes it one that is kept.
    let flags = ["--health-cmd", "true", "--health-interval", "20ms"];
    world.sandbox().args(flags).run("sleep 0.3").succeeds();
    bryo(&world, &["ps", "-aq"]).succeeds().stdout_is("");
}

#[test]
fn profiles_say_it_and_flags_say_otherwise() {
    let world = World::new();
    let profile = "[health]\ncommand = 'true'\ninterval = '5s'\nretries = 7\n";
    let profile = world.file("checked.toml", profile);
    let profile = profile.to_str().unwrap();
    let plain = |flags: &[&str]| {
        let words = [&["--name", "h", "--profile", profile], flags].concat();
        start(&world, &words, "exec sleep 1000");
        let health = record(&world, "h")["spec"]["lifetime"]["health"].clone();
        bryo(&world, &["rm", "-f", "h"]).succeeds();
        health
    };
    let said = plain(&[]);
    assert_eq!(said["command"], "true");
    assert_eq!((&said["interval"]["secs"], &said["retries"]), (&5.into(), &7.into()));
    let other = plain(&["--health-cmd", "false", "--health-timeout", "1m"]);
    assert_eq!((&other["command"], &other["timeout"]["secs"]), (&"false".into(), &60.into()));
    assert_eq!(other["retries"], 7);
    assert_eq!(plain(&["--no-healthcheck"]), serde_json::Value::Null);
    let refused = |flags: &[&str], parts: &[&str]| {
        world.sandbox().args(flags).run("true").refuses_with(parts);
    };
    refused(&["--health-retries", "3"], &["--health-retries", "--health-cmd"]);
    refused(&["--no-healthcheck", "--health-cmd", "true"], &["--no-healthcheck", "--health-cmd"]);
    refused(&["--no-healthcheck", "--health-timeout", "1s"], &["--health-timeout"]);
    refused(&["--health-cmd", ""], &["--health-cmd"]);
    refused(&["--health-cmd", "true", "--health-retries", "0"], &["more than 0"]);
    refused(&["--health-cmd", "true", "--health-interval", "soon"], &["soon"]);
}
