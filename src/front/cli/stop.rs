//! `bryo stop`, `kill`, `wait`, `pause`, `unpause`, `start`, `restart`, `rename`.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::OpsError;
use crate::ops::detach::Cause;
use crate::ops::pause::{Motion, set_motion};
use crate::ops::stop::{self, Patience, Stop};
use crate::ops::stores::Here;
use crate::ops::{rename, start};
use crate::profile::value::ValueError;
use crate::report::Failure;
use crate::spec::{Text, is_valid_name};

use super::error::CliError;
use super::execute;
use super::flag::{is_set, many, one, one_parsed, quoted, switch, text, value};
use super::output::Answer;
use super::run::{parse_patience, parse_signal, service};
use super::surroundings::Surroundings;
use super::usage::{self, Asked};

/// Names, ids, or beginnings of them; one at least.
pub fn sandboxes() -> Arg {
    Arg::new("sandbox")
        .value_name("SANDBOX")
        .help("Names, ids, or beginnings of them")
        .num_args(1..)
        .required(true)
        .value_parser(ValueParser::os_string())
}

fn signal_flag(help: &'static str) -> Arg {
    value("signal", "SIGNAL", help).short('s')
}

fn time_flag() -> Arg {
    value("time", "TIME", "Kill it after this time; its --stop-timeout otherwise, -1 for never")
        .short('t')
        .visible_alias("timeout")
        .allow_negative_numbers(true)
}

/// `bryo stop`, as clap knows it.
pub fn stop_command() -> Command {
    Command::new("stop")
        .about("Ask sandboxes to end, and kill those that do not")
        .arg(signal_flag("Ask with this signal; with its --stop-signal otherwise"))
        .arg(time_flag())
        .arg(sandboxes())
}

/// `bryo kill`, as clap knows it.
pub fn kill_command() -> Command {
    Command::new("kill")
        .about("Send sandboxes a signal; KILL ends everything in them")
        .arg(signal_flag("Another signal than KILL"))
        .arg(sandboxes())
}

/// `bryo wait`, as clap knows it.
pub fn wait_command() -> Command {
    Command::new("wait")
        .about("Wait until sandboxes have ended, and print the exit status of each")
        .arg(sandboxes())
}

/// `bryo pause`, as clap knows it.
pub fn pause_command() -> Command {
    Command::new("pause")
        .about("Let no process of sandboxes run")
        .after_help(
            "It takes a control group, which a sandbox has that was started with a limit like --memory, --cpus or \
             --cpu-weight. `stop` and `kill` let it go on or end it; `exec` and `attach` wait for `unpause`.",
        )
        .arg(sandboxes())
}

/// `bryo unpause`, as clap knows it.
pub fn unpause_command() -> Command {
    Command::new("unpause").about("Let the processes of sandboxes run again").arg(sandboxes())
}

/// `bryo start`, as clap knows it.
pub fn start_command() -> Command {
    Command::new("start")
        .about("Run sandboxes that ended once more, each with its flags, on its layer")
        .arg(switch("attach", "Attach to it, and end with its exit status").short('a'))
        .arg(switch("interactive", "As --attach, and pass on what is typed").short('i'))
        .arg(super::attach::detach_keys())
        .arg(switch("foreground", "Run it here, as `bryo run` does, and end with its exit status"))
        .args(service::flags())
        .arg(sandboxes())
}

/// `bryo restart`, as clap knows it.
pub fn restart_command() -> Command {
    Command::new("restart")
        .about("Stop sandboxes and start them again")
        .arg(signal_flag("Ask with this signal; with its --stop-signal otherwise"))
        .arg(time_flag())
        .arg(sandboxes())
}

/// `bryo rename`, as clap knows it.
pub fn rename_command() -> Command {
    let word = |id, name, help| {
        Arg::new(id)
            .value_name(name)
            .help(help)
            .required(true)
            .value_parser(ValueParser::os_string())
    };
    Command::new("rename")
        .about("Give a sandbox another name")
        .arg(word("sandbox", "SANDBOX", "Its name, its id, or the beginning of it"))
        .arg(word("new", "NAME", "What it is called from now on"))
}

/// What was asked of which sandboxes.
struct Many {
    matches: ArgMatches,
    wanted: Vec<Text>,
    here: Here,
}

fn asked(command: Command, arguments: &[OsString]) -> Result<Asked<Many>, Failure> {
    let asked = usage::matches(command, arguments, |_, _| None)?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Asked::Help(text)),
        Asked::For(matches) => matches,
    };
    let wanted = many(&matches, "sandbox").map(Text::from).collect();
    let here = Here::look()?;
    Ok(Asked::For(Many { matches, wanted, here }))
}

/// One line for each that went well, on stdout; one error for each that did not.
fn told<T>(
    wanted: &[Text],
    results: Vec<Result<T, Failure>>,
    line: impl Fn(&Text, T) -> String,
) -> Result<Answer, Failure> {
    let mut lines = String::new();
    let mut failures = Vec::new();
    for (name, result) in wanted.iter().zip(results) {
        match result {
            // Writing to a string cannot fail.
            Ok(value) => writeln!(lines, "{}", line(name, value)).unwrap_or_default(),
            Err(failure) => failures.push(failure),
        }
    }
    let answer = Answer::text(lines);
    match Failure::all(failures) {
        None => Ok(answer),
        Some(failure) => {
            answer.print()?;
            Err(failure)
        }
    }
}

fn failures<T>(results: stop::Results<T>) -> Result<Vec<Result<T, Failure>>, Failure> {
    let failure = |error: OpsError| Failure::new(&error);
    Ok(results.map_err(failure)?.into_iter().map(|one| one.map_err(failure)).collect())
}

fn name_alone(name: &Text, (): ()) -> String {
    name.to_string()
}

fn how(matches: &ArgMatches) -> Result<Stop, CliError> {
    let patience = |text: &str| match text {
        "-1" => Ok(Patience::Forever),
        text => parse_patience(text).map(Patience::For),
    };
    Ok(Stop {
        signal: one_parsed(matches, "signal", "--signal", parse_signal)?,
        timeout: one_parsed(matches, "time", "--time", patience)?,
    })
}

/// Answers the words after `bryo stop`.
pub fn stop(arguments: &[OsString]) -> Result<Answer, Failure> {
    let Many { matches, wanted, here } = match asked(stop_command(), arguments)? {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(many) => many,
    };
    let how = how(&matches)?;
    told(&wanted, failures(stop::stop(&here.stores, &wanted, how))?, name_alone)
}

/// Answers the words after `bryo kill`.
pub fn kill(arguments: &[OsString]) -> Result<Answer, Failure> {
    let Many { matches, wanted, here } = match asked(kill_command(), arguments)? {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(many) => many,
    };
    let signal = one_parsed(&matches, "signal", "--signal", parse_signal);
    let signal = signal?;
    let signal = signal.unwrap_or(stop::SignalNumber::KILL);
    told(&wanted, failures(stop::kill(&here.stores, &wanted, signal))?, name_alone)
}

/// Answers the words after `bryo wait`.
pub fn wait(arguments: &[OsString]) -> Result<Answer, Failure> {
    let Many { wanted, here, .. } = match asked(wait_command(), arguments)? {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(many) => many,
    };
    told(&wanted, failures(stop::wait(&here.stores, &wanted))?, |_, code| code.to_string())
}

/// Answers the words after `bryo pause`.
pub fn pause(arguments: &[OsString]) -> Result<Answer, Failure> {
    in_motion(pause_command(), arguments, Motion::Frozen)
}

/// Answers the words after `bryo unpause`.
pub fn unpause(arguments: &[OsString]) -> Result<Answer, Failure> {
    in_motion(unpause_command(), arguments, Motion::Free)
}

fn in_motion(command: Command, arguments: &[OsString], motion: Motion) -> Result<Answer, Failure> {
    let Many { wanted, here, .. } = match asked(command, arguments)? {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(many) => many,
    };
    told(&wanted, failures(set_motion(&here.stores, &wanted, motion))?, name_alone)
}

/// Answers the words after `bryo start`.
pub fn start(arguments: &[OsString]) -> Result<Answer, Failure> {
    let Many { matches, wanted, here } = match asked(start_command(), arguments)? {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(many) => many,
    };
    let attached = is_set(&matches, "attach") || is_set(&matches, "interactive");
    let foreground = is_set(&matches, "foreground");
    let typed = |id: &str| matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    if !foreground && service::IDS.into_iter().any(typed) {
        let flag = "--sdnotify, --listen-fds and --cgroups";
        return Err(Failure::new(&CliError::Alone { flag, needs: "--foreground" }));
    }
    if !attached && typed("detach-keys") {
        let (flag, needs) = ("--detach-keys", "--attach");
        return Err(Failure::new(&CliError::Alone { flag, needs }));
    }
    if attached && foreground {
        let (one, other) = ("--attach".to_owned(), "--foreground".to_owned());
        return Err(Failure::new(&CliError::Contradiction { one, other }));
    }
    if let [name] = wanted.as_slice()
        && foreground
    {
        return start_here(&matches, &here, name);
    }
    if (attached || foreground) && wanted.len() > 1 {
        let (one, other) = ("--attach".to_owned(), "several sandboxes".to_owned());
        return Err(Failure::new(&CliError::Contradiction { one, other }));
    }
    if let Some(name) = wanted.first().filter(|_| attached) {
        return super::attach::start(&here, name, &matches);
    }
    let each = |name: &Text| start::start(&here.stores, name, None, Cause::Start).map(drop);
    told(&wanted, wanted.iter().map(each).collect(), name_alone)
}

/// As its first run was, in this process.
fn start_here(matches: &ArgMatches, here: &Here, name: &Text) -> Result<Answer, Failure> {
    let caller = Surroundings::of_process();
    let service = service::asked(matches, &caller)?;
    let mut spec = start::here(&here.stores, name)?;
    service::dress(&mut spec, service, &caller);
    execute::started(&spec)
}

/// Answers the words after `bryo restart`.
pub fn restart(arguments: &[OsString]) -> Result<Answer, Failure> {
    let Many { matches, wanted, here } = match asked(restart_command(), arguments)? {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(many) => many,
    };
    let how = how(&matches)?;
    for name in &wanted {
        // What else is wrong with one of them, the others are restarted all the same.
        if let Err(error @ OpsError::NotKept(_)) = start::verify_stays(&here.stores, name) {
            return Err(Failure::new(&error));
        }
    }
    let stopped = failures(stop::stop(&here.stores, &wanted, how))?;
    let each = |(name, stopped): (&Text, Result<(), Failure>)| {
        stopped.and_then(|()| start::start(&here.stores, name, None, Cause::Restart).map(drop))
    };
    told(&wanted, wanted.iter().zip(stopped).map(each).collect(), name_alone)
}

/// Answers the words after `bryo rename`.
pub fn rename(arguments: &[OsString]) -> Result<Answer, Failure> {
    let Many { matches, wanted, here } = match asked(rename_command(), arguments)? {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(many) => many,
    };
    let new = new_name(&matches)?;
    let wanted = wanted.first().cloned().unwrap_or_default();
    let renamed = rename::rename(&here.stores, &wanted, &new);
    renamed.map(|_| Answer::text("")).map_err(Failure::from)
}

fn new_name(matches: &ArgMatches) -> Result<String, CliError> {
    let given = one(matches, "new").unwrap_or_default();
    let name = text("NAME", given)?;
    if is_valid_name(name) {
        return Ok(name.to_owned());
    }
    Err(CliError::BadValue { flag: "NAME", value: quoted(given), source: ValueError::NotAName })
}
