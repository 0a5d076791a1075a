//! What one sandbox that waits holds for itself.
//!
//! Anonymous memory: the pages of programs and libraries are shared by all sandboxes, and are no part of
//! what one more costs. What launcher and init share is counted once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::row::{Aim, Row, Side};
use crate::tools::Tools;

/// Anonymous memory of all processes of a run but the payload's.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let sleeper = |mut command: Command| {
        command.arg("60");
        overhead(&mut command)
    };
    let sides = vec![
        Side::new("bryo run", || sleeper(tools.bryo(&["--rm"], "/bin/sleep"))),
        Side::new("bwrap --unshare-all", || sleeper(tools.bwrap("/bin/sleep"))),
    ];
    vec![Row::compare(
        "memory: anonymous memory of one sandbox, without the payload",
        "MB",
        5,
        sides,
        &[Aim::Absolute(1.5)],
    )]
}

fn overhead(command: &mut Command) -> Result<f64, String> {
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let measured = wait_for_payload(&child).and_then(|processes| {
        let bytes: Result<Vec<f64>, String> =
            processes.iter().map(|pid| anonymous_bytes(*pid)).collect();
        Ok(bytes?.iter().sum::<f64>() / 1e6)
    });
    // bwrap's child outlives it.
    for pid in descendants(child.id()).into_iter().skip(1) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        // One that ended meanwhile needs no killing.
        kill_process(pid, Signal::KILL).unwrap_or_default();
    }
    // It may have ended with its child.
    child.kill().unwrap_or_default();
    child.wait().map_err(|e| e.to_string())?;
    measured
}

/// All processes of the run but the sleeper, once that runs.
fn wait_for_payload(child: &Child) -> Result<Vec<u32>, String> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let tree = descendants(child.id());
        let (payload, ours): (Vec<u32>, Vec<u32>) =
            tree.iter().partition(|pid| status_line(**pid, "Name:").as_deref() == Some("sleep"));
        if !payload.is_empty() {
            // Let the launcher finish what it does once the payload runs.
            sleep(Duration::from_millis(200));
            return Ok(ours);
        }
        sleep(Duration::from_millis(10));
    }
    Err("the payload did not start".to_owned())
}

/// The processes of a run that sleeps but the sleeper.
pub(crate) fn ours(root: u32) -> Vec<u32> {
    let is_ours = |pid: &u32| status_line(*pid, "Name:").as_deref() != Some("sleep");
    descendants(root).into_iter().filter(is_ours).collect()
}

/// A process and all below it.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        found.extend(
            children.unwrap_or_default().split_whitespace().filter_map(|p| p.parse::<u32>().ok()),
        );
        at += 1;
    }
    found
}

/// What stands behind a field in a process's `status`.
pub(crate) fn status_line(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(field))?.trim().to_owned())
}

/// The process's part of its anonymous memory. A process that cannot be looked at by its owner (bryo's
/// init) is asked of the sampler that `make bench` runs as root; without one, all its anonymous memory is
/// counted, which is more.
pub(crate) fn anonymous_bytes(pid: u32) -> Result<f64, String> {
    let rollup = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    if let Ok(text) = fs::read_to_string(&rollup) {
        return Ok(kilobytes(&text, "Pss_Anon:") * 1024.0);
    }
    if let Some(folder) = std::env::var_os("BRYO_BENCH_SAMPLER") {
        return ask_sampler(Path::new(&folder), pid);
    }
    let anonymous = status_line(pid, "RssAnon:").ok_or_else(|| format!("process {pid} is gone"))?;
    Ok(kilobytes(&format!("RssAnon: {anonymous}"), "RssAnon:") * 1024.0)
}

fn kilobytes(text: &str, field: &str) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(field))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
        .sum()
}

fn ask_sampler(folder: &Path, pid: u32) -> Result<f64, String> {
    let answer = folder.join(format!("answers/{pid}"));
    fs::write(folder.join(format!("questions/{pid}")), "").map_err(|e| e.to_string())?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        if let Ok(text) = fs::read_to_string(&answer)
            && text.ends_with("end\n")
        {
            return Ok(kilobytes(&text, "Pss_Anon:") * 1024.0);
        }
        sleep(Duration::from_millis(5));
    }
    Err("the sampler does not answer".to_owned())
}
