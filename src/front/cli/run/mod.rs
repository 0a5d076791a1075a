//! `bryo run` and `bryo shell`: flags to a [`Spec`].
//!
//! # Theory of operation
//! The profile is resolved first and completed; then each group of flags changes the spec. Where a flag
//! and the profile say different things of one thing, the flag holds; where two flags do, that is an
//! error.

mod confine;
mod egress;
pub(super) mod environment;
mod group;
mod health;
mod identity;
mod life;
mod lifetime;
mod limits;
mod net;
mod output;
mod places;
mod process;
mod refused;
pub(super) mod seat;
pub(super) mod service;
mod tree;

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::profile::health::Checks;
use crate::profile::{Reference, Wanted};
use crate::spec::{self, Lifetime, Spec, Text};

use super::error::CliError;
use super::flag::{many, one, value};
use super::surroundings::Surroundings;
use super::usage;

pub(super) use crate::profile::health::parse_period as parse_patience;
pub(super) use life::{parse_signal, read_label};
pub use output::Show;
pub use process::Input;
pub(super) use refused::refusal;

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What is wanted.
    pub spec: Spec,
    /// What is shown.
    pub show: Show,
    /// What stands at standard input.
    pub input: Input,
    /// Whether what it changed is applied when it succeeds.
    pub apply_on_success: bool,
}

/// Which of the two commands it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program.
    Run,
    /// The caller's shell.
    Shell,
}

/// `bryo run`, as clap knows it.
pub fn command() -> Command {
    let program = Arg::new("command")
        .value_name("COMMAND")
        .help("The program and its arguments")
        .num_args(1..)
        .trailing_var_arg(true)
        .value_parser(ValueParser::os_string());
    flags(Command::new("run"))
        .about("Run a program in a sandbox")
        .override_usage("bryo run [FLAGS] [--] COMMAND [ARGUMENTS]...")
        .after_help(
            "Flags stand before COMMAND; what follows it belongs to the program. Sizes have units (64m, \
             2g), so have times (90s, 10m). A flag beats the profile.\n\n\
             Exit status: the program's own; 124 timeout, 125 bryo failed, 126 not executable, 127 not \
             found, 128+N killed by signal N.",
        )
        .next_help_heading(None::<&str>)
        .arg(program)
}

/// `bryo shell`, as clap knows it.
pub fn shell_command() -> Command {
    flags(Command::new("shell"))
        .about("Run your shell in a sandbox")
        .override_usage("bryo shell [FLAGS] [-c COMMAND]")
        .next_help_heading(None::<&str>)
        .arg(
            value("line", "COMMAND", "Run this line in it, as `sh -c` does")
                .long("command")
                .short('c'),
        )
}

fn flags(command: Command) -> Command {
    let profile = value("profile", "NAME|FILE", "Begin with this profile in place of `default`");
    command
        .next_help_heading("Profile")
        .arg(profile)
        .next_help_heading(places::HEADING)
        .args(places::flags())
        .next_help_heading(tree::HEADING)
        .args(tree::flags())
        .next_help_heading(net::HEADING)
        .args(net::flags())
        .args(seat::flags())
        .args(egress::flags())
        .next_help_heading(process::HEADING)
        .args(process::flags())
        .args(environment::flags())
        .next_help_heading(identity::HEADING)
        .args(identity::flags())
        .next_help_heading(confine::HEADING)
        .args(confine::flags())
        .next_help_heading(limits::HEADING)
        .args(limits::flags())
        .args(group::flags())
        .next_help_heading(lifetime::HEADING)
        .args(lifetime::flags())
        .next_help_heading(life::HEADING)
        .args(life::flags())
        .args(health::flags())
        .next_help_heading(service::HEADING)
        .args(service::flags())
        .next_help_heading(output::HEADING)
        .args(output::flags())
}

/// Reads the words after `bryo run` or `bryo shell`.
pub fn parse(
    kind: Kind,
    arguments: &[OsString],
    caller: &Surroundings,
) -> Result<usage::Asked<Run>, CliError> {
    let command = match kind {
        Kind::Run => command(),
        Kind::Shell => shell_command(),
    };
    let refused = |flag: &str, words: &[OsString]| match kind {
        Kind::Shell if words.iter().any(|word| word == "--") => Some(CliError::Refused {
            flag: "--".to_owned(),
            why: "it is your shell that is run, and no other program",
            instead: "`bryo shell -c COMMAND` runs a line in it, `bryo run -- PROGRAM` a program",
        }),
        _ => refused::refusal(flag),
    };
    match usage::matches(command, arguments, refused)? {
        usage::Asked::Help(text) => Ok(usage::Asked::Help(text)),
        usage::Asked::For(matches) => read(kind, &matches, caller).map(usage::Asked::For),
    }
}

fn read(kind: Kind, matches: &ArgMatches, caller: &Surroundings) -> Result<Run, CliError> {
    let resolved = match one(matches, "profile") {
        Some(text) => caller.library().resolve(&Reference::parse(text)?)?,
        None => caller.library().resolve_usual()?,
    };
    let argv = match kind {
        Kind::Run => program(matches)?,
        Kind::Shell => {
            let line = one(matches, "line").map(|line| [Text::from("-c"), line.into()]);
            [shell(caller)].into_iter().chain(line.into_iter().flatten()).collect()
        }
    };
    let mut wanted = resolved.settings.finish();
    caller.follow_moved(&wanted.moved, &mut wanted.rootfs);
    let (mut spec, profile) = begin(resolved.name, argv, wanted);
    spec.passed_over = resolved.passed_over;
    tree::apply(matches, &mut spec, caller)?;
    identity::apply(matches, &mut spec)?;
    places::apply(matches, &mut spec, caller)?;
    net::apply(matches, &mut spec, &profile.refused_networks, caller)?;
    let input = process::apply(matches, &mut spec, caller)?;
    environment::apply(matches, &mut spec, caller, &profile.pass, profile.set)?;
    confine::apply(matches, &mut spec, caller)?;
    limits::apply(matches, &mut spec)?;
    group::apply(matches, &mut spec, caller)?;
    lifetime::apply(matches, &mut spec, caller)?;
    life::apply(matches, &mut spec)?;
    health::apply(matches, &mut spec, profile.health)?;
    service::apply(matches, &mut spec, caller)?;
    let apply_on_success = lifetime::applies(matches);
    Ok(Run { spec, show: output::read(matches)?, input, apply_on_success })
}

/// What of a profile does not stand in the spec as it is.
struct Rest {
    pass: Vec<String>,
    set: Vec<spec::EnvironmentVariable>,
    refused_networks: Vec<String>,
    health: Checks,
}

/// The spec that the profile alone asks for.
fn begin(profile: String, argv: Vec<Text>, wanted: Wanted) -> (Spec, Rest) {
    let command = spec::Command {
        argv,
        workdir: None,
        environment: Vec::new(),
        not_passed: Vec::new(),
        descriptors: spec::Descriptors::default(),
        terminal: spec::Terminal::Auto,
        umask: wanted.umask,
    };
    let spec = Spec {
        name: None,
        profile,
        passed_over: Vec::new(),
        command,
        ids: wanted.ids,
        rootfs: wanted.rootfs,
        network: wanted.network,
        egress: wanted.egress,
        publish: wanted.publish,
        seat: spec::net::Seat::default(),
        confine: wanted.confine,
        limits: wanted.limits,
        lifetime: Lifetime { timeout: wanted.timeout, ..Lifetime::default() },
        hostname: wanted.hostname,
    };
    let rest = Rest {
        pass: wanted.pass,
        set: wanted.set,
        refused_networks: wanted.refused_networks,
        health: wanted.health,
    };
    (spec, rest)
}

fn program(matches: &ArgMatches) -> Result<Vec<Text>, CliError> {
    let argv: Vec<Text> = many(matches, "command").map(Text::from).collect();
    match argv.first() {
        None => Err(CliError::Missing {
            what: "a command",
            example: "write it after the flags, as in `bryo run -- make`",
        }),
        Some(program) if program.as_bytes().is_empty() => Err(CliError::Missing {
            what: "a command: its name is empty",
            example: "is a variable unset that should hold it?",
        }),
        Some(_) => Ok(argv),
    }
}

fn shell(caller: &Surroundings) -> Text {
    let named = caller.variable("SHELL").filter(|shell| !shell.is_empty());
    Text::from(named.unwrap_or("/bin/sh".as_ref()))
}
