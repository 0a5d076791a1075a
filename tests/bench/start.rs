//! How long a run of a program takes that does nothing, teardown counted.

use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, seconds};

const ROUNDS: usize = 300;

/// A default run, everything on.
pub(crate) fn rows(tools: &Tools) -> Vec<Row> {
    let true_ = "/bin/true";
    let milliseconds = |seconds: f64| seconds * 1e3;
    let crun = tools.crun();
    let sides = vec![
        Side::new("bryo run", || seconds(&mut tools.bryo(&[], true_)).map(milliseconds)),
        Side::new("clone3 + exec, static", || seconds(&mut tools.clone3(true_)).map(milliseconds)),
        Side::new("bwrap --unshare-all", || seconds(&mut tools.bwrap(true_)).map(milliseconds)),
        Side::new("crun run", || {
            seconds(&mut crun.as_ref().map_err(Clone::clone)?()).map(milliseconds)
        }),
        Side::new("no sandbox", || seconds(&mut tools.outside(true_)).map(milliseconds)),
    ];
    let aims = [
        Aim::Ratio { to: "clone3 + exec, static", most: 1.6 },
        Aim::Ratio { to: "bwrap --unshare-all", most: 0.85 },
        Aim::Ratio { to: "crun run", most: 0.4 },
    ];
    vec![
        Row::compare("start: a default run of /bin/true", "ms", ROUNDS, sides, &aims),
        detached(tools),
    ]
}

/// The command that starts one and leaves it alone, against one that waits for its end.
fn detached(tools: &Tools) -> Row {
    let milliseconds = |seconds: f64| seconds * 1e3;
    let sides = vec![
        Side::new("bryo run -d", || {
            seconds(&mut tools.bryo(&["-d", "--rm"], "/bin/true")).map(milliseconds)
        }),
        Side::new("bryo run", || {
            seconds(&mut tools.bryo(&["--rm"], "/bin/true")).map(milliseconds)
        }),
    ];
    let aims = [Aim::Ratio { to: "bryo run", most: 1.3 }];
    Row::compare("start: run -d until it returns", "ms", ROUNDS, sides, &aims)
}
