//! What bringing changes to the host costs, against copying the same files.

use std::path::Path;

use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, seconds, succeed};

const SMALL: &str = "for d in $(seq 100); do mkdir -p small/$d; for f in $(seq 100); do \
                     echo \"file $d $f\" >small/$d/$f; done; done";
const LARGE: &str = "head -c 1073741824 /dev/urandom >large";

/// Ten thousand small files, and one of a gibibyte.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let prepared = shell(tools, &format!("cd ..; {SMALL}; {LARGE}")).map(|_| ());
    if let Err(text) = prepared {
        return vec![Row::single("apply", "", Err(text), 0.0)];
    }
    let small = vec![
        Side::new("bryo apply", || apply(tools, "small")),
        Side::new("cp -a, sync -f", || copy(tools, "cp -a ../small to && sync -f to")),
    ];
    let large = vec![
        Side::new("bryo apply", || apply(tools, "large")),
        Side::new("cp --reflink", || copy(tools, "cp --reflink=auto ../large to")),
    ];
    let most = |to, most| [Aim::Ratio { to, most }];
    vec![
        Row::compare("apply: 10,000 small files", "s", 5, small, &most("cp -a, sync -f", 1.5)),
        Row::compare("apply: one file of 1 GiB", "s", 5, large, &most("cp --reflink", 1.1)),
    ]
}

fn shell(tools: &Tools, script: &str) -> Result<f64, String> {
    seconds(tools.outside("sh").args(["-ec", script]))
}

/// Nothing of one measurement is written to the disk in the time of the next.
fn settled(tools: &Tools) -> Result<(), String> {
    shell(tools, "rm -rf to small large; sync -f .").map(|_| ())
}

fn copy(tools: &Tools, script: &str) -> Result<f64, String> {
    settled(tools)?;
    shell(tools, script)
}

/// Written in a sandbox, and applied.
fn apply(tools: &Tools, name: &str) -> Result<f64, String> {
    let from = tools.home().join(name);
    let write =
        |from: &Path| succeed(tools.bryo(&[], "cp").arg("-a").args([from, Path::new(name)]));
    settled(tools)?;
    write(&from)?;
    shell(tools, "sync -f .")?;
    let bryo = |words: &[&str]| seconds(tools.outside(tools.bryo_path()).args(words));
    let took = bryo(&["apply"])?;
    let there = shell(tools, &format!("test -e {name}"));
    bryo(&["rm", "--force", newest(tools)?.trim()])?;
    there.map(|_| took)
}

/// The sandbox that was made last.
fn newest(tools: &Tools) -> Result<String, String> {
    let output = tools
        .outside(tools.bryo_path())
        .args(["ps", "-aq"])
        .stdout(std::process::Stdio::piped())
        .output()
        .map_err(|e| e.to_string())?;
    let ids = String::from_utf8_lossy(&output.stdout).into_owned();
    ids.lines().next().map(str::to_owned).ok_or_else(|| "there is no sandbox".to_owned())
}
