//! Reviewing many changes: `diff` of a layer with 100,000 changed files, over trees of two sizes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, seconds, succeed};

const DIRECTORIES: usize = 500;
/// Files of each directory that are changed.
const CHANGED: usize = 200;
/// Files of each directory in the large tree.
const LARGE: usize = 1000;

/// One row: against `find` over the layer and the same names below, and against a small tree.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let prepared = prepare(tools, "large", LARGE).and_then(|large| {
        let small = prepare(tools, "small", CHANGED)?;
        Ok((large, small))
    });
    let (large, small) = match prepared {
        Ok(both) => both,
        Err(text) => {
            eprintln!("bench: review: {text}");
            return Vec::new();
        }
    };
    let changed = DIRECTORIES * CHANGED;
    let sides = vec![
        Side::new("bryo diff", || seconds(&mut large.diff(tools))),
        Side::new("find, both sides", || seconds(&mut large.find(tools))),
        Side::new("bryo diff, small tree", || seconds(&mut small.diff(tools))),
    ];
    let aims = [
        Aim::Ratio { to: "find, both sides", most: 1.5 },
        Aim::Ratio { to: "bryo diff, small tree", most: 1.2 },
    ];
    let title =
        format!("review: diff of {changed} changed files, {} in the tree", DIRECTORIES * LARGE);
    let row = Row::compare(title, "s", 7, sides, &aims);
    large.remove(tools);
    small.remove(tools);
    vec![row]
}

/// A tree, and the sandbox that changed a part of it.
struct Reviewed {
    folder: PathBuf,
    sandbox: String,
    upper: PathBuf,
    /// The names that were changed, below the home.
    names: PathBuf,
}

fn prepare(tools: &Tools, name: &'static str, files: usize) -> Result<Reviewed, String> {
    let folder = tools.home().join(name);
    let new = tools.home().join(format!("{name}-new"));
    let mut names = String::new();
    for directory in 0..DIRECTORIES {
        for file in 0..files {
            let below = format!("d{directory:03}/file-{file:04}");
            write(&folder.join(&below), "old\n")?;
            if file < CHANGED {
                write(&new.join(&below), "what is new\n")?;
                write!(names, "{name}/{below}\0").unwrap_or_default();
            }
        }
    }
    let list = tools.home().join(format!("{name}-names"));
    fs::write(&list, names).map_err(|e| e.to_string())?;
    let from = new.join(".");
    let mut run = tools.outside(tools.bryo_path());
    run.args(["run", "--name", name, "--", "cp", "-r"]).arg(from).arg(".").current_dir(&folder);
    succeed(&mut run)?;
    fs::remove_dir_all(new).map_err(|e| e.to_string())?;
    let mut which = tools.outside(tools.bryo_path());
    which.args(["inspect", name]).stdout(Stdio::piped());
    let record = which.output().map_err(|e| e.to_string())?.stdout;
    let record: serde_json::Value = serde_json::from_slice(&record).map_err(|e| e.to_string())?;
    let sandbox = record["id"].as_str().unwrap_or_default().to_owned();
    let upper = tools.home().join(".local/share/bryo/kept").join(&sandbox).join("upper-0");
    Ok(Reviewed { folder, sandbox, upper, names: list })
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    match fs::write(path, text) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = path.parent().unwrap_or(path);
            fs::create_dir_all(above)
                .and_then(|()| fs::write(path, text))
                .map_err(|e| e.to_string())
        }
        written => written.map_err(|e| e.to_string()),
    }
}

impl Reviewed {
    fn diff(&self, tools: &Tools) -> Command {
        let mut command = tools.outside(tools.bryo_path());
        command.args(["diff", &self.sandbox]);
        command
    }

    /// What the kernel is asked at least: everything in the layer, and the same names below.
    fn find(&self, tools: &Tools) -> Command {
        let script = r#"find "$1" -printf '%s %m %T@\n'; cd "$2" && find -files0-from "$3" -printf '%s %m %T@\n'"#;
        let mut command = tools.outside("/bin/sh");
        command.args(["-c", script, "-"]);
        command.arg(&self.upper).arg(tools.home()).arg(&self.names);
        command
    }

    fn remove(&self, tools: &Tools) {
        let mut command = tools.outside(tools.bryo_path());
        let removed = succeed(command.args(["rm", &self.sandbox])).is_ok();
        let gone = [fs::remove_dir_all(&self.folder).is_ok(), fs::remove_file(&self.names).is_ok()];
        if !removed || gone.contains(&false) {
            eprintln!("bench: review: could not remove `{}`", self.folder.display());
        }
    }
}
