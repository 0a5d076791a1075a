//! `-w -i -t --init --pass-fd` and the command itself: how the payload starts.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{many, one, parsed, quoted, toggle, toggled, value, values};
use crate::front::cli::surroundings::Surroundings;
use crate::profile::value::{ValueError, parse_descriptor};
use crate::spec::order;
use crate::spec::rootfs::Base;
use crate::spec::{SandboxPath, Spec, Terminal};

pub(super) const HEADING: &str = "Process";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value("workdir", "DIR", "Start here; in the current directory otherwise").short('w'),
        toggle(
            "interactive",
            "Keep standard input connected: always so unless `--interactive=false`",
        )
        .short('i'),
        toggle(
            "tty",
            "Give it a terminal of its own even when you have none; `--tty=false`: never",
        )
        .short('t'),
        toggle("init", "Have a pid 1 that reaps and passes signals on: always so"),
        values("pass-fd", "N", "Pass an open descriptor above 2"),
    ]
}

/// What the flags say beside the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The caller's standard input.
    Connected,
    /// `/dev/null` in its place.
    Null,
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<Input, CliError> {
    if let Some(directory) = one(matches, "workdir") {
        spec.command.workdir = Some(workdir(directory, spec, caller)?);
    }
    match toggled(matches, "tty", "--tty")? {
        Some(true) => spec.command.terminal = Terminal::Always,
        Some(false) => spec.command.terminal = Terminal::Never,
        None => {}
    }
    if toggled(matches, "init", "--init")? == Some(false) {
        return Err(CliError::Refused {
            flag: "--init=false".to_owned(),
            why: "processes that outlive their parent need somebody to reap them",
            instead: "leave it out; the payload sees itself as any other process",
        });
    }
    for text in many(matches, "pass-fd") {
        let number = parsed("--pass-fd", text, parse_descriptor)?;
        if spec.command.descriptors.pass.contains(&number) {
            return Err(CliError::Repeated(format!("--pass-fd {number}")));
        }
        spec.command.descriptors.pass.push(number);
    }
    order::sort(&mut spec.command.descriptors.pass);
    match toggled(matches, "interactive", "--interactive")? {
        Some(false) if spec.command.terminal == Terminal::Always => Err(CliError::Contradiction {
            one: "--interactive=false".to_owned(),
            other: "--tty".to_owned(),
        }),
        Some(false) => Ok(Input::Null),
        Some(true) | None => Ok(Input::Connected),
    }
}

/// In the host's tree a relative directory begins at the current one; elsewhere it has to be absolute.
fn workdir(
    directory: &std::ffi::OsStr,
    spec: &Spec,
    caller: &Surroundings,
) -> Result<SandboxPath, CliError> {
    if matches!(spec.rootfs.base, Base::Host) {
        return Ok(caller.host_path("--workdir", directory)?.same_in_sandbox());
    }
    SandboxPath::new(directory).map_err(|error| CliError::BadValue {
        flag: "--workdir",
        value: quoted(directory),
        source: ValueError::inside(error),
    })
}
