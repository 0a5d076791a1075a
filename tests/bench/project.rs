//! A clean and an incremental build of a real C project.

use std::path::Path;
use std::process::Command;

use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, seconds, succeed};

/// Builds inside and outside. `$BRYO_BENCH_PROJECT` is a folder with a Makefile that has `clean`.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let Some(from) = std::env::var_os("BRYO_BENCH_PROJECT") else {
        let text = "BRYO_BENCH_PROJECT is not set: `make bench` does it".to_owned();
        return vec![Row::single("project", "", Err(text), 0.0)];
    };
    let tree = tools.project().join("tree");
    if let Err(text) = succeed(tools.outside("cp").arg("-r").args([Path::new(&from), &tree])) {
        return vec![Row::single("project", "", Err(text), 0.0)];
    }
    let make = |mut command: Command, arguments: &[&str]| {
        command.args(arguments).current_dir(&tree);
        seconds(&mut command)
    };
    let clean = || make(tools.outside("make"), &["-s", "clean"]);
    let touch = || succeed(tools.outside("touch").arg(tree.join("src/lj_api.c")));
    let full = ["-s", "-j2"];
    let sides = vec![
        Side::new("bryo run", || clean().and_then(|_| make(tools.bryo(&["--rm"], "make"), &full))),
        Side::new("no sandbox", || clean().and_then(|_| make(tools.outside("make"), &full))),
    ];
    let aims = [Aim::Ratio { to: "no sandbox", most: 1.03 }];
    let clean_build = Row::compare("project: a clean build", "s", 3, sides, &aims);

    let mut built = make(tools.outside("make"), &full).map(|_| ());
    let mut incremental = |command: Command| {
        std::mem::replace(&mut built, Ok(()))?;
        touch()?;
        make(command, &["-s"])
    };
    let shared = std::cell::RefCell::new(&mut incremental);
    let sides = vec![
        Side::new("bryo run", || (shared.borrow_mut())(tools.bryo(&["--rm"], "make"))),
        Side::new("no sandbox", || (shared.borrow_mut())(tools.outside("make"))),
    ];
    let aims = [Aim::Ratio { to: "no sandbox", most: 1.1 }];
    let incremental_build =
        Row::compare("project: one file changed since the last build", "s", 9, sides, &aims);
    vec![clean_build, incremental_build]
}
