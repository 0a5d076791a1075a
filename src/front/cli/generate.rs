//! `bryo generate systemd`.
//!
//! # Theory of operation
//! With `--` it is `bryo run` and its flags, which are read as that reads them, for their mistakes, and written
//! down as they were typed. Without, it is a sandbox that there is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::generate::{Unit, makes_a_group};
use crate::ops::inspect::inspect;
use crate::ops::stores::Here;
use crate::profile::value::{ValueError, parse_duration};
use crate::report::Failure;
use crate::spec::{HostPath, Spec, Terminal, Text, is_valid_name};

use super::error::CliError;
use super::flag::{bad, choice, is_set, one, one_parsed, switch, text, value};
use super::output::Answer;
use super::run::{self, Kind, Show, parse_patience};
use super::surroundings::Surroundings;
use super::usage::{self, Asked};

/// As systemd's `Restart=`.
const RESTARTS: &[&str] =
    &["no", "always", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort"];

/// Flags of `bryo run` that make no sense in a unit, and why.
const HERE: &str = "bryo generate systemd";

/// `bryo generate`, as clap knows it.
pub fn command() -> Command {
    Command::new("generate")
        .about("Write what other programs take: units of systemd")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(systemd_command())
}

fn systemd_command() -> Command {
    let time = |name, help| value(name, "TIME", help);
    own_flags(Command::new("systemd"))
        .about("Write a unit for your systemd that runs a sandbox as a service")
        .override_usage(
            "bryo generate systemd [FLAGS] SANDBOX\n       \
             bryo generate systemd [FLAGS] [FLAGS OF BRYO RUN] -- COMMAND [ARGUMENTS]...",
        )
        .after_help(
            "With a SANDBOX, the unit starts that one again, on its layer. With a COMMAND, it runs a new one each \
             time, or with --name goes on with the one of that name.\n\n\
             As in: bryo generate systemd --files --name web -- python3 -m http.server\n       \
             mv bryo-web.service ~/.config/systemd/user/\n       \
             systemctl --user enable --now bryo-web\n\n\
             What systemd listens at for it (a unit bryo-web.socket) is passed on.",
        )
        .arg(value("name", "NAME", "Call it bryo-NAME.service; after the sandbox or the program otherwise"))
        .arg(time("stop-timeout", "How long it may take to end before it is killed; 10s otherwise"))
        .arg(value("sdnotify", "WHO", "Who says that it is ready: bryo, payload, ignore; bryo otherwise"))
        .arg(
            Arg::new("sandbox")
                .value_name("SANDBOX")
                .help("Its name, its id, or the beginning of it")
                .required(true)
                .value_parser(ValueParser::os_string()),
        )
}

/// Those that `bryo run` does not have.
fn own_flags(command: Command) -> Command {
    command
        .arg(switch(
            "files",
            "Write it to a file in the current directory, and print the file's name",
        ))
        .arg(value(
            "restart-policy",
            "WHEN",
            "As systemd's Restart=: no, always, on-failure …; on-failure otherwise",
        ))
        .arg(value(
            "watchdog",
            "TIME",
            "Have it started again when systemd hears nothing of it for so long",
        ))
}

/// Answers the words after `bryo generate`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let caller = Surroundings::of_process();
    if let [name, rest @ ..] = arguments
        && name == "systemd"
        && rest.iter().any(|word| word == "--")
    {
        return of_run(rest, &caller);
    }
    let asked = usage::matches(command(), arguments, |_, _| None)?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(matches) => matches,
    };
    let Some((_, matches)) = matches.subcommand() else { return Ok(Answer::text("")) };
    let here = Here::look()?;
    let named = one(matches, "sandbox").map(Text::from);
    let record = here.which(named.as_ref()).and_then(|which| inspect(&here.stores, which));
    let record = record?;
    let unit = of_sandbox(matches, &record.spec, (record.id.as_str(), record.name), &caller);
    written(&unit?, matches)
}

/// Of a sandbox that there is.
fn of_sandbox(
    matches: &ArgMatches,
    spec: &Spec,
    (id, name): (&str, Option<String>),
    caller: &Surroundings,
) -> Result<Unit, CliError> {
    let given = one(matches, "name").map(stem).transpose()?;
    let speaker = choice(WHO, WHO);
    let speaker = one_parsed(matches, "sdnotify", "--sdnotify", speaker)?.unwrap_or("bryo");
    let mut words = vec![program()?, "start".into(), "--foreground".into()];
    let mut unit = begun(matches, spec, caller)?;
    unit.stop.timeout = one_parsed(matches, "stop-timeout", "--stop-timeout", parse_patience)?
        .or(spec.lifetime.stop.timeout);
    serve(&mut unit, &mut words, Some(speaker));
    words.push(id.into());
    unit.words = words;
    unit.stem = given.unwrap_or_else(|| format!("bryo-{}", name.as_deref().unwrap_or(id)));
    Ok(unit)
}

const WHO: &[&str] = &["bryo", "payload", "ignore"];

/// Of a command and flags of `bryo run`.
fn of_run(arguments: &[OsString], caller: &Surroundings) -> Result<Answer, Failure> {
    let matches =
        usage::matches(own_flags(run::command()), arguments, |flag, _| run::refusal(flag));
    let matches = match matches? {
        Asked::Help(_) => {
            return Ok(Answer::text(usage::named(systemd_command()).render_help().to_string()));
        }
        Asked::For(matches) => matches,
    };
    let unit = unit_of_run(arguments, &matches, caller)?;
    written(&unit, &matches)
}

fn unit_of_run(
    arguments: &[OsString],
    matches: &ArgMatches,
    caller: &Surroundings,
) -> Result<Unit, CliError> {
    let typed = without_own(arguments);
    let run = match run::parse(Kind::Run, &typed, caller)? {
        Asked::For(run) => run,
        Asked::Help(_) => return Err(CliError::Unexpected("--help".into())),
    };
    let spec = &run.spec;
    let refused = [
        (spec.lifetime.detached.is_some(), "--detach"),
        (spec.command.terminal == Terminal::Always, "--tty"),
        (matches!(run.show, Show::Plan { .. }), "--dry-run"),
    ];
    if let Some((_, flag)) = refused.iter().find(|(given, _)| *given) {
        return Err(CliError::Contradiction { one: HERE.to_owned(), other: (*flag).to_owned() });
    }
    let mut unit = begun(matches, spec, caller)?;
    let workdir = caller.workdir.as_ref().ok_or(CliError::Missing {
        what: "a current directory, which the unit would start in",
        example: "go to one that is there",
    })?;
    unit.workdir = HostPath::new(workdir).ok();
    let mut words = vec![program()?, "run".into()];
    // A sandbox with a name is one, again and again; of others each start would leave one.
    if spec.name.is_none() && one(matches, "rm").is_none() && one(matches, "continue").is_none() {
        words.push("--rm".into());
    }
    let speaker = one(matches, "sdnotify").and_then(OsStr::to_str);
    unit.notifies = speaker != Some("ignore");
    serve(&mut unit, &mut words, if speaker.is_none() { Some("bryo") } else { None });
    words.extend(typed.into_iter().map(Text::from));
    unit.words = words;
    let program = spec.command.argv.first().map(Text::as_bytes).unwrap_or_default();
    unit.stem = match &spec.name {
        Some(name) => format!("bryo-{name}"),
        None => {
            stem(OsStr::from_bytes(program.rsplit(|byte| *byte == b'/').next().unwrap_or(program)))
                .unwrap_or_else(|_| "bryo-run".to_owned())
        }
    };
    Ok(unit)
}

/// What both forms have.
fn begun(matches: &ArgMatches, spec: &Spec, caller: &Surroundings) -> Result<Unit, CliError> {
    let often = one_parsed(matches, "watchdog", "--watchdog", parse_duration)?;
    let restart = choice(RESTARTS, RESTARTS);
    let restart = one_parsed(matches, "restart-policy", "--restart-policy", restart)?;
    Ok(Unit {
        stem: String::new(),
        about: spec.command.argv.first().cloned().unwrap_or_default(),
        workdir: None,
        store: caller.variable("BRYO_STORE").map(Text::from),
        words: Vec::new(),
        notifies: true,
        delegate: makes_a_group(spec),
        restart: restart.unwrap_or("on-failure"),
        stop: spec.lifetime.stop,
        watchdog: often,
    })
}

/// The words by which bryo is a service.
fn serve(unit: &mut Unit, words: &mut Vec<Text>, speaker: Option<&str>) {
    if let Some(speaker) = speaker {
        unit.notifies = speaker != "ignore";
        words.extend(["--sdnotify".into(), speaker.into()]);
    }
    words.push("--listen-fds".into());
    if unit.delegate {
        words.extend(["--cgroups".into(), "split".into()]);
    }
}

/// The words without the flags that are ours alone; what stands behind `--` is the program's.
fn without_own(arguments: &[OsString]) -> Vec<OsString> {
    let mut typed = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_bytes() {
            b"--" => {
                typed.push(word.clone());
                typed.extend(words.by_ref().cloned());
            }
            b"--files" => {}
            b"--restart-policy" | b"--watchdog" => drop(words.next()),
            other
                if other.starts_with(b"--restart-policy=") || other.starts_with(b"--watchdog=") => {
            }
            _ => typed.push(word.clone()),
        }
    }
    typed
}

fn stem(name: &OsStr) -> Result<String, CliError> {
    let name = text("--name", name)?;
    if is_valid_name(name) {
        return Ok(format!("bryo-{name}"));
    }
    Err(bad("--name", name, ValueError::NotAName))
}

/// This program, where it is.
fn program() -> Result<Text, CliError> {
    let path = std::env::current_exe().map_err(CliError::Output)?;
    Ok(Text::from(path.into_os_string()))
}

fn written(unit: &Unit, matches: &ArgMatches) -> Result<Answer, Failure> {
    let text = if is_set(matches, "files") {
        unit.write(".".as_ref()).map(|name| format!("{name}\n"))
    } else {
        unit.text()
    };
    text.map(Answer::text).map_err(Failure::from)
}
