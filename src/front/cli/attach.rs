//! `bryo attach`.

use clap::{Arg, ArgMatches, Command};

use crate::ops::attach::{DetachKeys, Left, Wanted, attach};
use crate::ops::start::start_attached;
use crate::ops::stores::Here;
use crate::profile::value::ValueError;
use crate::report::{EXIT_FAILED, Explain, Failure};
use crate::spec::Text;

use super::error::CliError;
use super::flag::{bad, is_set, one, sandbox, switch, toggle, toggled, value};
use super::output::Answer;

/// The supervisor was killed.
#[derive(Debug, thiserror::Error)]
#[error("cannot stay attached: the supervisor of the sandbox has ended, and everything with it")]
struct LostError;

impl Explain for LostError {}

/// `bryo attach`, as clap knows it.
pub fn command() -> Command {
    Command::new("attach")
        .about("Show what a detached sandbox writes, and pass on what is typed")
        .after_help(
            "Of one with a terminal (`bryo run -dit`), Ctrl-P Ctrl-Q leaves it alone again. One without gets Ctrl-C as a \
             signal, as with Docker: with --sig-proxy=false Ctrl-C leaves it alone. So does a terminal that closes. The \
             exit status is that of the command; of who leaves by a signal, 128 and its number. What it wrote before is in \
             `bryo logs`.",
        )
        .arg(switch("no-stdin", "Pass nothing on"))
        .arg(toggle("sig-proxy", "Pass signals on where it has no terminal: always so unless `=false`"))
        .arg(detach_keys())
        .arg(sandbox())
}

/// `--detach-keys`, for who attaches.
pub(super) fn detach_keys() -> Arg {
    value("detach-keys", "KEYS", "What is typed to leave, as in ctrl-x,x")
}

/// Answers `bryo attach`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let wanted = wanted(matches)?;
    let named: Option<Text> = one(matches, "sandbox").map(Into::into);
    let here = Here::look()?;
    carry_out(&here, named.as_ref(), wanted)
}

/// `bryo start -a`.
pub(super) fn start(here: &Here, name: &Text, matches: &ArgMatches) -> Result<Answer, Failure> {
    let keys = keys(matches).map_err(|error| Failure::new(&error))?;
    let wanted = Wanted { input: is_set(matches, "interactive"), signals: true, keys };
    told(start_attached(&here.stores, name, wanted)?)
}

fn carry_out(here: &Here, named: Option<&Text>, wanted: Wanted) -> Result<Answer, Failure> {
    let left = here.which(named).and_then(|which| attach(&here.stores, which, wanted));
    told(left?)
}

fn told(left: Left) -> Result<Answer, Failure> {
    match left {
        Left::Ended(code) => Ok(Answer::text("").with_code(code)),
        Left::Detached | Left::Closed => Ok(Answer::text("")),
        Left::Signalled(signal) => {
            let code = u8::try_from(128 + signal.raw()).unwrap_or(EXIT_FAILED);
            Ok(Answer::text("").with_code(code))
        }
        Left::Lost => Err(Failure { exit_code: EXIT_FAILED, ..Failure::new(&LostError) }),
    }
}

fn keys(matches: &ArgMatches) -> Result<DetachKeys, CliError> {
    match one(matches, "detach-keys") {
        None => Ok(DetachKeys::default()),
        Some(given) => given
            .to_str()
            .and_then(|text| DetachKeys::parse(text).ok())
            .ok_or_else(|| bad("--detach-keys", given, ValueError::NotKeys)),
    }
}

fn wanted(matches: &ArgMatches) -> Result<Wanted, CliError> {
    Ok(Wanted {
        input: !is_set(matches, "no-stdin"),
        signals: toggled(matches, "sig-proxy", "--sig-proxy")?.unwrap_or(true),
        keys: keys(matches)?,
    })
}
