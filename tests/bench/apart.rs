//! Detached sandboxes: many at once, what one of them holds, how long it takes to list them, and to start one
//! more program in one.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::memory;
use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, seconds, succeed};

const MANY: usize = 200;

/// How often one is entered.
const ENTRIES: usize = 100;

/// Starting them all, one's memory, listing them, entering one; then they are removed.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let began = start_all(tools);
    let memory = began.as_ref().map_err(Clone::clone).and_then(|_| memory_of_one(tools));
    let listed = vec![Side::new("bryo ps", || {
        seconds(bryo(tools, &["ps", "-q"]).stdout(Stdio::null())).map(|s| s * 1e3)
    })];
    let list =
        Row::compare(format!("apart: ps of {MANY}"), "ms", 20, listed, &[Aim::Absolute(30.0)]);
    let entered = enter(tools);
    let all = ids(tools).unwrap_or_default();
    let removed = succeed(bryo(tools, &["rm", "-f"]).args(&all));
    if let Err(why) = removed {
        eprintln!("bench: cannot remove them: {why}");
    }
    vec![
        Row::single(&format!("apart: {MANY} started at once"), "s", began, 60.0),
        Row::single("apart: anonymous memory of a supervisor and its init", "MB", memory, 1.5),
        list,
        entered,
    ]
}

/// One more program, against one that joins the same namespaces and nothing else: no filter, no pid 1 of its own.
fn enter(tools: &Tools) -> Row {
    let title = "apart: exec of /bin/true";
    let target =
        ids(tools).and_then(|ids| ids.last().cloned().ok_or_else(|| "none runs".to_owned()));
    let target = target.and_then(|id| Ok((payload(tools, &id)?, id)));
    let (payload, id) = match target {
        Ok(target) => target,
        Err(why) => return Row::single(title, "ms", Err(why), 0.0),
    };
    let milliseconds = |seconds: f64| seconds * 1e3;
    let sides = vec![
        Side::new("bryo exec", || {
            seconds(&mut bryo(tools, &["exec", &id, "/bin/true"])).map(milliseconds)
        }),
        Side::new("nsenter", || {
            let mut command = tools.outside("nsenter");
            command.args(["--preserve-credentials", "-U", "-m", "-n", "-i", "-p", "-u", "-C"]);
            command.args(["-t", &payload, "/bin/true"]);
            seconds(&mut command).map(milliseconds)
        }),
    ];
    Row::compare(title, "ms", ENTRIES, sides, &[Aim::Ratio { to: "nsenter", most: 1.5 }])
}

/// The process of the sleeper, as the host numbers it.
fn payload(tools: &Tools, id: &str) -> Result<String, String> {
    let is_payload = |pid: &u32| memory::status_line(*pid, "Name:").as_deref() == Some("sleep");
    let tree = memory::descendants(supervisor(tools, id)?);
    Ok(tree.into_iter().find(is_payload).ok_or("no payload")?.to_string())
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
        command.arg("600").stdout(Stdio::null()).spawn().map_err(|e| e.to_string())
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
    let said = said(tools, &["ps", "-aq"])?;
    Ok(String::from_utf8_lossy(&said).lines().map(str::to_owned).collect())
}

/// Of any of them: they are alike.
fn memory_of_one(tools: &Tools) -> Result<f64, String> {
    let id = ids(tools)?.pop().ok_or("none runs")?;
    let ours = memory::ours(supervisor(tools, &id)?);
    let bytes: Result<Vec<f64>, String> =
        ours.iter().map(|pid| memory::anonymous_bytes(*pid)).collect();
    Ok(bytes?.iter().sum::<f64>() / 1e6)
}

fn supervisor(tools: &Tools, id: &str) -> Result<u32, String> {
    let said = said(tools, &["inspect", id])?;
    let record: serde_json::Value = serde_json::from_slice(&said).map_err(|e| e.to_string())?;
    let supervisor = record["launcher"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    supervisor.ok_or_else(|| "no supervisor".to_owned())
}

/// What a command of ours prints.
fn said(tools: &Tools, words: &[&str]) -> Result<Vec<u8>, String> {
    let output = bryo(tools, words).stdout(Stdio::piped()).output().map_err(|e| e.to_string())?;
    let why = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(output.stdout) } else { Err(why.into_owned()) }
}
