//! Looking at sandboxes that run: stats and top, what a payload can do about them, and what does not run.

use std::time::{Duration, Instant};

use super::{bryo, start, until, until_logged};
use crate::support::World;

const BUSY: &str = "echo up; while :; do :; done";

fn stats(world: &World, words: &[&str]) -> serde_json::Value {
    let words = [&["stats", "--no-stream", "--json"], words].concat();
    serde_json::from_str(&bryo(world, &words).succeeds().stdout()).unwrap()
}

fn end(world: &World, ids: &[&String]) {
    for id in ids {
        bryo(world, &["rm", "-f", id]).succeeds();
    }
}

#[test]
fn who_works_is_told_from_who_sleeps() {
    let world = World::new();
    let busy = start(&world, &["--name", "busy"], BUSY);
    let idle = start(&world, &["--name", "idle"], "echo up; exec sleep 1000");
    for id in [&busy, &idle] {
        until_logged(&world, id, "up");
    }
    let cpu = |row: &serde_json::Value| row["cpu_percent"].as_f64().unwrap();
    let mut rows = serde_json::Value::Null;
    // However little of the machine is left for it: in one of the looks it had some.
    until("the busy one is seen to work", || {
        rows = stats(&world, &["idle", "busy"]);
        cpu(&rows[1]) > 2.0
    });
    assert_eq!((&rows[0]["name"], &rows[1]["name"]), (&"idle".into(), &"busy".into()), "{rows}");
    assert!(cpu(&rows[0]) < cpu(&rows[1]) / 2.0, "{rows}");
    assert_eq!(rows[0]["tasks"], 2, "init and sleep: {rows}");
    assert!(rows[0]["memory"].as_u64().unwrap() > 0);
    // Without a group there is no limit to tell, and without a network no traffic: not 0.
    for none in ["memory_limit", "tasks_limit", "received", "sent"] {
        assert_eq!(rows[0][none], serde_json::Value::Null, "{none}");
    }
    assert_eq!(rows[0]["of_group"], serde_json::json!([]));
    let format = ["stats", "--no-stream", "--format", "{{.Name}} {{.NetIO}} {{.PIDs}}", &idle[..5]];
    bryo(&world, &format).succeeds().stdout_is("idle - / - 2\n");
    end(&world, &[&busy, &idle]);
    // All that run: none.
    bryo(&world, &["stats", "--no-stream", "--format", "{{.ID}}"]).succeeds().stdout_is("");
}

#[test]
fn what_is_enforced_is_told_while_it_runs() {
    let world = World::new();
    let id = start(&world, &["--pids-limit", "77"], "echo up; exec sleep 1000");
    until("the record has it", || {
        let record = super::record(&world, &id);
        let steps = record["enforced"].as_array().unwrap();
        steps.iter().any(|step| step["title"].as_str().unwrap().contains("77"))
    });
    end(&world, &[&id]);
}

#[test]
fn a_stream_ends_with_those_that_were_named() {
    let world = World::new();
    let id = start(&world, &["--name", "s"], "echo up; exec sleep 1000");
    let streaming = world.bryo(["stats", "s"]).leaves().starts();
    streaming.says(&id);
    end(&world, &[&id]);
    streaming.ends().succeeds();
}

#[test]
fn processes_are_listed_with_both_numbers_and_without_tricks() {
    let world = World::new();
    let script = "\
import os, sys, time
print('up', flush=True)
os.execv('/bin/sleep', ['sl\\x1b[2Jeep\\n', '1000'])
";
    world.file("project/name.py", script);
    let id = start(&world, &["--name", "t"], "python3 name.py & echo up; exec sleep 1000");
    until_logged(&world, &id, "up");
    let rows = || -> serde_json::Value {
        let json = bryo(&world, &["top", "--json", "t"]).succeeds().stdout();
        serde_json::from_str(&json).unwrap()
    };
    until("both are there", || {
        let rows = rows();
        rows[1]["command"][0] == "sleep" && rows[2]["command"].to_string().contains("001b")
    });
    let rows = rows();
    let pids: Vec<i64> = (0..3).map(|n| rows[n]["pid"].as_i64().unwrap()).collect();
    assert_eq!(pids[0], 1, "{rows}");
    assert_eq!(rows[1]["command"], serde_json::json!(["sleep", "1000"]));
    // What the host says of that number is the same program, in the sandbox's pid namespace.
    let status = format!("/proc/{}/status", rows[1]["host_pid"]);
    let status = std::fs::read_to_string(status).unwrap();
    assert!(status.contains(&format!("\t{}\n", pids[1])), "{status}");
    let shown = bryo(&world, &["top", "t"]).succeeds().stdout();
    assert!(!shown.contains('\x1b') && shown.lines().count() == 4, "{shown}");
    assert!(shown.contains("\\033[2J"), "{shown}");
    // A process of another sandbox, and of the host, is none of its.
    let other = start(&world, &[], "echo up; exec sleep 999");
    until_logged(&world, &other, "up");
    assert!(!bryo(&world, &["top", "t"]).succeeds().stdout().contains("999"));
    assert!(bryo(&world, &["top", &other]).succeeds().stdout().contains("999"));
    end(&world, &[&id, &other]);
}

#[test]
fn what_entered_is_seen_too() {
    let world = World::new();
    let id = start(&world, &["--name", "e"], "echo up; exec sleep 1000");
    until_logged(&world, &id, "up");
    let entered = world.bryo(["exec", "e", "sh", "-c", "echo in; exec sleep 998"]).starts();
    entered.says("in");
    until("it is seen", || bryo(&world, &["top", "e"]).succeeds().stdout().contains("sleep 998"));
    end(&world, &[&id]);
    drop(entered.ends());
}

#[test]
fn without_a_name_the_newest_that_runs_is_meant() {
    let world = World::new();
    let older = start(&world, &[], "exec sleep 997");
    let runs = start(&world, &[], "exec sleep 996");
    let ended = start(&world, &[], "true");
    bryo(&world, &["wait", &ended]).succeeds();
    let top = bryo(&world, &["top"]).succeeds();
    top.stdout_has("sleep 996").stdout_lacks("sleep 997");
    bryo(&world, &["port"]).succeeds().stdout_is("");
    end(&world, &[&runs]);
    bryo(&world, &["top"]).succeeds().stdout_has("sleep 997");
    end(&world, &[&older]);
    // Where none runs, the newest says so.
    bryo(&world, &["top"]).refuses_with(&["it is not running"]);
    end(&world, &[&ended]);
}

#[test]
fn a_payload_that_forks_and_one_that_is_stopped_hold_up_nobody() {
    let world = World::new();
    let forks = start(&world, &[], "echo up; while :; do (:) & (:) & wait; done");
    let stopped = start(&world, &[], "echo up; kill -STOP $$");
    for id in [&forks, &stopped] {
        until_logged(&world, id, "up");
    }
    let began = Instant::now();
    let rows = stats(&world, &[]);
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    bryo(&world, &["top", &forks]).succeeds();
    bryo(&world, &["top", &stopped]).succeeds();
    // Its supervisor is stopped: it is asked for nothing.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let rows = rows.as_array().unwrap();
    let busy = rows.iter().find(|row| row["id"] == forks.as_str()).unwrap();
    assert!(busy["cpu_usec"].as_u64().unwrap() > 0, "{busy}");
    end(&world, &[&forks, &stopped]);
}

#[test]
fn what_does_not_run_is_refused_and_a_storm_of_looks_says_one_thing() {
    let world = World::new();
    world.keeps(1);
    let ended = start(&world, &["--name", "gone"], "true");
    bryo(&world, &["wait", "gone"]).succeeds();
    for verb in ["stats", "top"] {
        bryo(&world, &[verb, "nobody"]).refuses_with(&["cannot find a sandbox `nobody`"]);
        bryo(&world, &[verb, "gone"]).refuses_with(&["is not running", "bryo start"]);
    }
    bryo(&world, &["stats", "--format", "{{.Cpu}}"]).refuses_with(&["CPUPerc"]);
    let id = start(&world, &["--name", "storm"], "echo up; exec sleep 1000");
    until_logged(&world, &id, "up");
    let orders: [&[&str]; 6] = [
        &["top", "storm"],
        &["stats", "--no-stream"],
        &["stats", "--no-stream", "storm"],
        &["pause", "storm"],
        &["exec", "storm", "true"],
        &["rm", "-f", "storm"],
    ];
    let all: Vec<_> =
        orders.iter().cycle().take(24).map(|words| world.bryo(*words).leaves().starts()).collect();
    for running in all {
        let ended = running.ends();
        assert!(matches!(ended.status.code(), Some(0 | 125 | 137)), "{ended}");
        assert!(ended.stderr().lines().filter(|line| line.starts_with("bryo:")).count() <= 1);
    }
    until("it is gone", || bryo(&world, &["ps", "-q"]).stdout().is_empty());
    assert_ne!(ended, id);
}

#[test]
fn dockers_names_lead_to_what_they_mean() {
    let world = World::new();
    let flags =
        ["--name", "n", "--label", "a=b", "--restart", "on-failure:3", "--pids-limit", "50"];
    let id = start(&world, &flags, "echo up; exec sleep 1000");
    until_logged(&world, &id, "up");
    let shown = |format: &str| bryo(&world, &["inspect", "-f", format, "n"]).succeeds().stdout();
    let state = "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.FinishedAt}} \
                 {{.State.Health.Status}}";
    assert_eq!(shown(state), "running true 0 0001-01-01T00:00:00Z none\n");
    assert_eq!(shown("{{.State.StartedAt}}"), shown("{{.Created}}"));
    let pid = shown("{{.State.Pid}}");
    let row = bryo(&world, &["top", "n", "--json"]).succeeds().stdout();
    let row: serde_json::Value = serde_json::from_str(&row).unwrap();
    assert_eq!(pid.trim(), row[0]["host_pid"].to_string());
    assert_eq!(shown("{{.Path}} {{json .Config.Labels}}"), "/bin/sh {\"a\": \"b\"}\n");
    let host = "{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} \
                {{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.HostConfig.PidsLimit}}";
    assert_eq!(shown(host), "none on-failure 3 50\n");
    let typo = bryo(&world, &["inspect", "-f", "{{.State.Statu}}", "n"]);
    typo.refuses_with(&["State.Statu", "Status, Running"]);
    bryo(
        &world,
        &["ps", "--filter", "network=none", "--format", "{{.Names}}{{.Ports}} {{.Networks}}"],
    )
    .succeeds()
    .stdout_is("n none\n");
    bryo(&world, &["ps", "-q", "--filter", "publish=80"]).succeeds().stdout_is("");
    bryo(&world, &["kill", "n"]).succeeds();
    bryo(&world, &["wait", "n"]).succeeds();
    let ended = "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.Pid}}";
    assert_eq!(shown(ended), "exited false 137 0\n");
    assert!(!shown("{{.State.FinishedAt}}").starts_with("0001"));
    end(&world, &[&id]);
}

#[test]
fn no_list_is_wider_than_the_terminal_but_where_it_is_asked_to_be() {
    let world = World::new();
    let name = "a-name-that-is-longer-than-half-of-the-screen";
    let command = ": what this does is of no interest but that it is long; exec sleep 1000";
    start(&world, &["--name", name], command);
    bryo(&world, &["network", "create", name, "--subnet", "10.97.0.0/24"]).succeeds();
    let narrow = |words: &str| {
        let script = format!("stty cols 40; exec {} {words}", crate::support::bryo().display());
        world.program("/bin/sh", ["-c", &script]).leaves().on_terminal().ends().succeeds().stdout()
    };
    let widest = |text: &str| text.lines().map(|line| line.trim_end().chars().count()).max();
    for words in
        ["ps", "ps -a", "system df", "network ls", "stats --no-stream", &format!("top {name}")]
    {
        let shown = narrow(words);
        assert!(shown.lines().count() > 1, "{words}: {shown}");
        assert!(widest(&shown) <= Some(40), "{words}:\n{shown}");
        // The control: it would be wider.
        let all = bryo(&world, &words.split(' ').collect::<Vec<_>>()).succeeds().stdout();
        assert!(widest(&all) > Some(40), "{words}:\n{all}");
    }
    let whole = narrow("ps --no-trunc");
    assert!(whole.contains(name) && whole.contains("sleep 1000"), "{whole}");
    let format = "ps --no-trunc --format {{.Command}}";
    assert!(narrow(format).contains(command), "{}", narrow(format));
    // The control: it is cut otherwise.
    let cut = bryo(&world, &["ps", "--format", "{{.Command}}"]).succeeds().stdout();
    assert!(cut.contains('…') && !cut.contains(command), "{cut}");
    bryo(&world, &["rm", "-f", name]).succeeds();
    // Asked as `system prune` asks: nothing goes unless somebody says so.
    bryo(&world, &["network", "prune"]).refuses_with(&["this is no terminal", "--yes"]);
    let answered = |answer: &str| {
        let mut terminal = world.bryo(["network", "prune"]).on_terminal();
        terminal.shows(name).shows("Remove 1 network? [y/N]").types(answer);
        terminal.ends()
    };
    answered("n\r").exits_with(1);
    bryo(&world, &["network", "inspect", name]).succeeds();
    answered("y\r").succeeds();
    bryo(&world, &["network", "inspect", name]).refuses_with(&["cannot find a network"]);
    // There is nothing to ask about any more.
    bryo(&world, &["network", "prune"]).succeeds().stdout_is("");
}
