//! `bryo exec`.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::exec::{self as op, Keeper, Wanted};
use crate::profile::value::{ValueError, parse_user};
use crate::report::Failure;
use crate::spec::{SandboxPath, Terminal, Text, User};

use super::error::CliError;
use super::execute::disconnect_input;
use super::flag::{bad, is_set, many, one, one_parsed, switch, toggle, toggled, value};
use super::output::Answer;
use super::run::{Input, environment};
use super::surroundings::Surroundings;
use super::usage::{self, Asked};

/// `bryo exec`, as clap knows it.
pub fn command() -> Command {
    let word = |id, name, help| {
        Arg::new(id).value_name(name).help(help).value_parser(ValueParser::os_string())
    };
    Command::new("exec")
        .about("Run one more program in a sandbox that runs, confined as its own program is")
        .override_usage("bryo exec [FLAGS] SANDBOX [--] COMMAND [ARGUMENTS]...")
        .after_help(
            "Flags stand before SANDBOX. Variables, ids, limits and what is refused are those of the program that \
             the sandbox was started with.\n\n\
             Exit status: the program's own; 125 bryo failed, 126 not executable, 127 not found, 128+N killed by \
             signal N.",
        )
        .arg(
            switch("detach", "Return once it runs, and leave it alone; it ends with the sandbox")
                .short('d'),
        )
        .args(environment::flags())
        .arg(value("workdir", "DIR", "Start here, inside; where the sandbox's program did otherwise").short('w'))
        .arg(value("user", "USER", "Be root, or UID[:GID], inside; as the sandbox's program otherwise").short('u'))
        .arg(toggle("interactive", "Keep standard input connected: always so unless `--interactive=false`").short('i'))
        .arg(toggle("tty", "Give it a terminal of its own even when you have none; `--tty=false`: never").short('t'))
        .arg(word("sandbox", "SANDBOX", "Its name, its id, or the beginning of it"))
        .arg(
            word("command", "COMMAND", "The program and its arguments")
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

/// Answers the words after `bryo exec`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let asked = usage::matches(command(), arguments, |flag, _| refused(flag));
    let asked = asked.map_err(|e| Failure::new(&e))?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(matches) => matches,
    };
    let caller = Surroundings::of_process();
    let (wanted, input) = read(&matches, &caller).map_err(|e| Failure::new(&e))?;
    if input == Input::Null {
        disconnect_input().map_err(|e| Failure::new(&e))?;
    }
    let code = op::exec(&wanted).map_err(|e| Failure::new(&e))?;
    Ok(Answer::text("").with_code(code))
}

/// Docker's flags for what no entry can have.
fn refused(flag: &str) -> Option<CliError> {
    let (why, instead) = match flag {
        "--privileged" => (
            "what enters a sandbox is confined as its own program is",
            "`bryo run` takes what is needed: `--write PATH`, `--device PATH`, `--cap-add CAP`",
        ),
        "--detach-keys" => (
            "what is started here ends with the command that started it",
            "`--detach` starts it without a terminal, and leaves it alone",
        ),
        _ => return None,
    };
    Some(CliError::Refused { flag: flag.to_owned(), why, instead })
}

fn read(matches: &ArgMatches, caller: &Surroundings) -> Result<(Wanted, Input), CliError> {
    let missing = |what, example| CliError::Missing { what, example };
    let sandbox = one(matches, "sandbox")
        .map(Text::from)
        .ok_or(missing("a sandbox", "`bryo ps` lists those that run, as in `bryo exec NAME sh`"))?;
    // As with `run`, `--` may stand before the command.
    let mut argv: Vec<Text> = many(matches, "command").map(Text::from).collect();
    if argv.first().is_some_and(|first| first.as_bytes() == b"--") {
        argv.remove(0);
    }
    if argv.first().is_none_or(|program| program.as_bytes().is_empty()) {
        return Err(missing(
            "a command",
            "write it after the sandbox, as in `bryo exec NAME ls /`",
        ));
    }
    let terminal = match toggled(matches, "tty", "--tty")? {
        Some(true) => Terminal::Always,
        Some(false) => Terminal::Never,
        None => Terminal::Auto,
    };
    let input = match toggled(matches, "interactive", "--interactive")? {
        Some(false) if terminal == Terminal::Always => {
            return Err(CliError::Contradiction {
                one: "--interactive=false".to_owned(),
                other: "--tty".to_owned(),
            });
        }
        Some(false) => Input::Null,
        Some(true) | None => Input::Connected,
    };
    let keeper = keeper(matches, terminal)?;
    let workdir = match one(matches, "workdir") {
        Some(text) => Some(
            SandboxPath::new(text).map_err(|e| bad("--workdir", text, ValueError::inside(e)))?,
        ),
        None => None,
    };
    let user = match one_parsed(matches, "user", "--user", parse_user)? {
        None | Some(User::Caller) => None,
        Some(User::Root) => Some((0, 0)),
        Some(User::Numeric { uid, gid }) => Some((uid, gid)),
    };
    let environment = environment::listed(matches, caller)?;
    Ok((Wanted { sandbox, argv, environment, workdir, user, terminal, keeper }, input))
}

/// With whom it ends.
fn keeper(matches: &ArgMatches, terminal: Terminal) -> Result<Keeper, CliError> {
    if !is_set(matches, "detach") {
        return Ok(Keeper::Client);
    }
    // Nobody would be there who types, or looks.
    let other = match toggled(matches, "interactive", "--interactive")? {
        _ if terminal == Terminal::Always => "--tty",
        Some(true) => "--interactive",
        _ => return Ok(Keeper::Supervisor),
    };
    Err(CliError::Contradiction { one: "--detach".to_owned(), other: other.to_owned() })
}
