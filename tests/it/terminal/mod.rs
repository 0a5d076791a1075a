//! bryo at a terminal, as a person and their shell see it.
//!
//! Keys are typed into a real terminal at which a real bash runs; `"$@"` there is `bryo run` with the
//! overlay of this pass.

mod jobs;
mod screen;

use crate::support::{Terminal, World};

/// A shell with job control, at its first prompt.
fn shell(world: &World) -> Terminal {
    let shell = world
        .sandbox()
        .arg("--rm")
        .under(["/bin/bash", "--norc", "--noediting", "-i", "-s"])
        .env("PS1", "prompt> ")
        .env("HISTFILE", "/dev/null")
        .env("TERM", "xterm");
    let mut terminal = shell.on_terminal();
    terminal.shows("prompt> ");
    terminal
}

/// Ends the shell.
fn leave(mut terminal: Terminal) {
    terminal.types("exit 0\r");
    terminal.ends().succeeds();
}
