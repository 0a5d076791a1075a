//! Detached sandboxes: many at once, what one of them holds, and how long it takes to list them.

use std::process::Command;
use std::time::Instant;

use crate::memory;
use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, seconds, succeed};

const MANY: usize = 200;

/// Starting them all, one's memory, listing them; then they are removed.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let began = start_all(tools);
    let memory = began.as_ref().map_err(Clone::clone).and_then(|_| memory_of_one(tools));
    let listed = vec![Side::new("bryo ps", || {
        seconds(bryo(tools, &["ps", "-q"]).stdout(std::process::Stdio::null())).map(|s| s * 1e3)
    })];
    let list =
        Row::compare(format!("apart: ps of {MANY}"), "ms", 20, listed, &[Aim::Absolute(30.0)]);
    let all = ids(tools).unwrap_or_default();
    let removed = succeed(bryo(tools, &["rm", "-f"]).args(&all));
    if let Err(why) = removed {
        eprintln!("bench: cannot remove them: {why}");
    }
    vec![
        Row::single(&format!("apart: {MANY} started at once"), "s", began, 60.0),
        Row::single("apart: anonymous memory of a supervisor and its init", "MB", memory, 1.5),
        list,
    ]
}

fn bryo(tools: &Tools, words: &[&str]) -> Command {
    let mut command = tools.outside(tools.bryo_path());
    command.args(words);
    command
}

/// All at the same time; how long until the last one runs.
fn start_all(tools: &Tools) -> Result<f64, String> {
    let began = Instant::now();
    let start = |_| {
        let mut command = tools.bryo(&["-d"], "/bin/sleep");
        command.arg("600").stdout(std::process::Stdio::null()).spawn().map_err(|e| e.to_string())
    };
    let children: Result<Vec<_>, String> = (0..MANY).map(start).collect();
    for mut child in children? {
        let status = child.wait().map_err(|e| e.to_string())?;
        if !status.success() {
            return Err(status.to_string());
        }
    }
    Ok(began.elapsed().as_secs_f64())
}

fn ids(tools: &Tools) -> Result<Vec<String>, String> {
    let output = bryo(tools, &["ps", "-aq"]).output().map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Of any of them: they are alike.
fn memory_of_one(tools: &Tools) -> Result<f64, String> {
    let id = ids(tools)?.pop().ok_or("none runs")?;
    let output = bryo(tools, &["inspect", &id]).output().map_err(|e| e.to_string())?;
    let record: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let supervisor = record["launcher"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    let ours = memory::ours(supervisor.ok_or("no supervisor")?);
    let bytes: Result<Vec<f64>, String> =
        ours.iter().map(|pid| memory::anonymous_bytes(*pid)).collect();
    Ok(bytes?.iter().sum::<f64>() / 1e6)
}
