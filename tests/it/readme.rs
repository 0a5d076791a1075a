//! The commands of README.md, each run as it stands there, but for the program after `--`: that one is
//! the reader's.

use crate::support::{Ended, Host, Overlay, World, overlay_is_one_of};

/// The lines of README's code blocks that begin with `bryo`, without their comments.
fn commands() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let lines = readme.lines().filter_map(|line| line.strip_prefix("    "));
    let typed = lines.map(|line| line.strip_prefix("$ ").unwrap_or(line).trim());
    let commands = typed.filter(|line| line.starts_with("bryo "));
    commands.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
}

/// Goes on until it is ended, and ends at once when it is started again.
const GOES_ON: &str = "sh -c 'test -e begun && exit; touch begun; exec sleep 1000'";

/// With a program that every machine has in the place of the reader's; one that goes on where it is detached.
fn with_a_program(command: &str) -> String {
    match command.split_once(" -- ") {
        Some((flags, "/usr/bin/true")) => format!("{flags} -- /usr/bin/true"),
        Some((flags, _)) if flags.contains(" -d") => format!("{flags} -- {GOES_ON}"),
        Some((flags, _)) => format!("{flags} -- true"),
        None => command.to_owned(),
    }
}

fn typed(world: &World, line: &str) -> Ended {
    let bryo = std::env::var("BRYO_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bryo").to_owned());
    let folder = std::path::Path::new(&bryo).parent().unwrap().display().to_string();
    let path = format!("{folder}:/usr/local/bin:/usr/bin:/bin");
    let typed = world.program("/bin/sh", ["-c", line]).env("PATH", path);
    // What is detached goes on, until a later example ends it.
    let goes_on = line.contains(" -d") || line.starts_with("bryo start");
    let typed = if goes_on { typed.leaves() } else { typed };
    typed.in_folder(world.project()).ends()
}

fn said_refused(ended: &Ended) -> bool {
    ended.stderr().starts_with("bryo: cannot enforce `--")
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    if !overlay_is_one_of(&[Overlay::Kernel]) {
        return;
    }
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    world.folder("project/out");
    world.folder("set");
    world.file(".config/tool/settings", "a = 1");
    typed(&world, "bryo run -- sh -c 'mkdir -p src; echo hello > note; echo more > draft; echo new > src/new'").succeeds();
    let commands = commands();
    assert!(commands.len() > 15, "README lost its examples: {commands:?}");
    for command in
        commands.iter().filter(|command| !command.contains(" ID") && !command.contains(":ID"))
    {
        let line = with_a_program(command);
        let ended = typed(&world, &line);
        // Not every machine has control groups of version 2 (`tests/vm` has), nor a tmpfs for layers.
        let takes_a_group = ["--memory", "--cpu", "--io-max", "--io-weight", "--disk"]
            .iter()
            .any(|flag| command.contains(flag));
        if takes_a_group && said_refused(&ended) {
            continue;
        }
        let said = ended.stderr();
        let learnt = command.contains("--learn-network") && said.contains("used no network");
        // What an example before it has applied is not there any more.
        let fine = said.is_empty() || learnt || said.contains("changed nothing at or below");
        assert!(fine, "`{line}` says: {said}");
        let was_applied = ended.stdout().starts_with("nothing changed at or below");
        ended.exits_with(i32::from(was_applied));
    }
}
