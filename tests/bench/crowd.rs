//! Many sandboxes: at once, and one after another; and what is left of them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, succeed};

const AT_ONCE: usize = 100;
const IN_A_ROW: usize = 1000;

/// Both rows, then the number of things left behind.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let before = traces(tools.home());
    let bryo = || tools.bryo(&[], "/bin/true");
    let bwrap = || tools.bwrap("/bin/true");
    let aims = [Aim::Ratio { to: "bwrap --unshare-all", most: 0.7 }];
    let sides = vec![
        Side::new("bryo run", || at_once(&bryo)),
        Side::new("bwrap --unshare-all", || at_once(&bwrap)),
    ];
    let together = Row::compare(format!("crowd: {AT_ONCE} at once"), "s", 7, sides, &aims);
    let sides = vec![
        Side::new("bryo run", || in_a_row(&bryo)),
        Side::new("bwrap --unshare-all", || in_a_row(&bwrap)),
    ];
    let row = Row::compare(format!("crowd: {IN_A_ROW} one after another"), "s", 3, sides, &aims);
    // As for a test: what is still ending is given one second.
    std::thread::sleep(Duration::from_secs(1));
    let after = traces(tools.home());
    let left: Vec<&String> = after.iter().filter(|trace| !before.contains(trace)).collect();
    for trace in left.iter().take(10) {
        eprintln!("bench: left behind: {trace}");
    }
    let count = Ok(f64::from(u32::try_from(left.len()).unwrap_or(u32::MAX)));
    vec![together, row, Row::single("crowd: left behind by bryo", "things", count, 0.0)]
}

fn at_once(command: &dyn Fn() -> Command) -> Result<f64, String> {
    let began = Instant::now();
    let children: Result<Vec<_>, _> = (0..AT_ONCE).map(|_| command().spawn()).collect();
    for child in children.map_err(|e| e.to_string())? {
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{}: {}", output.status, said.lines().next().unwrap_or("")));
        }
    }
    Ok(began.elapsed().as_secs_f64())
}

fn in_a_row(command: &dyn Fn() -> Command) -> Result<f64, String> {
    let began = Instant::now();
    for _ in 0..IN_A_ROW {
        succeed(&mut command())?;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// This user's processes named bryo, mounts, and files of the store.
fn traces(home: &Path) -> Vec<String> {
    let mut found = Vec::new();
    // The files of a process that is not dumpable belong to root, but its status tells its user.
    let own = format!("\nUid:\t{}\t", rustix::process::getuid().as_raw());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.starts_with("Name:\tbryo\n") && status.contains(&own) {
            found.push(format!("process {}", entry.path().display()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().map(|line| format!("mount {line}")));
    add_files(&home.join(".local"), &mut found);
    found
}

fn add_files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_files(&entry.path(), found);
        } else {
            found.push(format!("file {}", entry.path().display()));
        }
    }
}
