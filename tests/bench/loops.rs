//! What running inside costs: system calls, opening files, starting programs.

use std::fs;
use std::process::Command;

use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, number};

const ROUNDS: usize = 15;

/// One loop: its name, its arguments, the most it may cost.
type Loop = (&'static str, [String; 3], f64);

fn loops(tools: &Tools) -> Result<Vec<Loop>, String> {
    let project = tools.project();
    let deep = project.join("a/b/c/d/e/f/g/h/i/j");
    fs::create_dir_all(&deep).map_err(|e| e.to_string())?;
    for folder in [&project, &deep] {
        fs::write(folder.join("file"), "text").map_err(|e| e.to_string())?;
    }
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let open = |file: String| ["open".to_owned(), "200000".to_owned(), file];
    Ok(vec![
        ("a cheap system call", ["syscall".to_owned(), "2000000".to_owned(), String::new()], 1.02),
        ("opening a file of the system", open("/usr/bin/env".to_owned()), 1.1),
        ("opening a file of the project", open(text(project.join("file"))), 1.1),
        ("opening one ten directories deep", open(text(deep.join("file"))), 1.1),
        ("exec", ["exec".to_owned(), "1000".to_owned(), "/bin/true".to_owned()], 1.1),
    ])
}

/// Each loop outside, inside, and inside bubblewrap, which has no filter of system calls.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let list = match loops(tools) {
        Ok(list) => list,
        Err(text) => return vec![Row::single("loops", "", Err(text), 0.0)],
    };
    let program = tools.loops();
    list.into_iter()
        .map(|(name, arguments, most)| {
            let run = |mut command: Command| number(command.args(&arguments));
            let sides = vec![
                Side::new("bryo run", || run(tools.bryo(&["--rm"], program))),
                Side::new("no sandbox", || run(tools.outside(program))),
                Side::new("bwrap --unshare-all", || run(tools.bwrap(program))),
            ];
            let aims = [Aim::Ratio { to: "no sandbox", most }];
            Row::compare(format!("loops: {name}"), "ns", ROUNDS, sides, &aims)
        })
        .collect()
}
