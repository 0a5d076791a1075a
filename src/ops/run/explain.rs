//! What to do about a run that failed, and the exit status it leads to.

use super::RunError;
use crate::launch::LaunchError;
use crate::report::{EXIT_FAILED, Explain, Failure};
use crate::supervise::VisitError;
use crate::supervise::protocol::Reply;
use crate::sys::errno::Errno;

/// What to do about a store that has less than was asked for.
const ROOM: &str = "give less, or make room: `bryo system df` tells what the store takes";
/// What to do about layers that have more than was asked for.
const FULLER: &str =
    "give more, or drop some of it: `bryo diff` lists it, `bryo discard` takes paths";
/// What to do about a limit that holds nothing.
const MORE: &str = "each file and directory counts 2 KiB beside what is in it: 128k is about the least with which a program can \
                    write a few files, 1m holds two hundred";
const TOO_LONG: &str = "run it without `--disk`, or drop that: `bryo discard` takes paths";
/// How a directory is shown.
const LEADS_OUT: &str = "`--read`, `--write` or `-v` shows a directory at a place of its own";
/// A call that is not there, or that somebody does not allow.
const OLD_KERNEL: &str = "boot Linux 5.12 or later; in a container, let its seccomp profile allow the call; in a sandbox of \
                          bryo's, start that one without `--write`";
/// Another run has the layer, which `run` and `start` would go on with.
const BUSY: &str = "wait until it ended, or end it with `bryo stop`; or, with `bryo run`, leave out its name: then the run \
                    has a layer of its own";
/// Found, and not executable.
const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Not found.
const EXIT_NOT_FOUND: u8 = 127;

impl Explain for RunError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotOpen(number) => Some(format!(
                "a shell opens it as in `bryo run --pass-fd {number} COMMAND {number}< FILE`"
            )),
            Self::ApplyInterrupted(id) => Some(format!("bryo apply {id} finishes it")),
            Self::Capture(error) => error.hint(),
            Self::Asked(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::LeadsOut(_) => Some(LEADS_OUT.to_owned()),
            Self::Namespaces { problem, .. } => Some(problem.hint().to_owned()),
            Self::Kernel { .. } => Some(OLD_KERNEL.to_owned()),
            Self::Host(error) => error.hint(),
            Self::Facts(error) => error.hint(),
            Self::Plan(error) => error.hint(),
            Self::Publish(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::Seccomp(error) => error.hint().map(str::to_owned),
            Self::Supervise(error) => error.hint().map(str::to_owned),
            Self::Launch(error) => launch_hint(error),
            Self::Check(_) | Self::NothingToTake | Self::Filter | Self::Encode(_) => {
                Some(REPORT.to_owned())
            }
            Self::Look(error) => error.hint(),
            Self::Networks(error) => error.hint(),
            Self::NotRunning(_) => Some("`bryo ps` lists those that do".to_owned()),
            Self::NoProgram(_) => Some(
                "is it stopping, or does it run a program that cannot be read? Try again"
                    .to_owned(),
            ),
            Self::Busy(_) => Some(BUSY.to_owned()),
            Self::WouldRemove(name) => {
                Some(format!("leave out --rm; to drop what it wrote: bryo discard {name}"))
            }
            Self::Again(error) => Some(error.hint()),
            Self::StillSeen(error) => Some(error.hint()),
            Self::Detach(error) => error.hint(),
            Self::Fuller { .. } => Some(FULLER.to_owned()),
            Self::TooLittle { .. } => Some(MORE.to_owned()),
            Self::TooLong => Some(TOO_LONG.to_owned()),
            Self::Room { .. } | Self::Bring { .. } | Self::Bringer(_) => Some(ROOM.to_owned()),
            Self::Random(_)
            | Self::Descriptor(_)
            | Self::Processes { .. }
            // The report knows what to do about every `EFBIG`.
            | Self::Size { .. }
            | Self::Left { .. }
            | Self::Changes(_)
            | Self::Apply(_) => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Launch(error) => launch_exit_code(error),
            _ => EXIT_FAILED,
        }
    }
}

fn launch_exit_code(error: &LaunchError) -> u8 {
    match error {
        LaunchError::NotFound(_) | LaunchError::NoInterpreter { .. } => EXIT_NOT_FOUND,
        LaunchError::Exec { .. } => EXIT_NOT_EXECUTABLE,
        _ => EXIT_FAILED,
    }
}

/// What is told of a program that did not enter.
pub(super) fn visit(error: &VisitError) -> Reply {
    if matches!(error, VisitError::Over) {
        return Reply::Refused { why: "it has ended".to_owned() };
    }
    let Failure { text, hint, exit_code: code, .. } = Failure::new(error);
    Reply::Failed { text, hint, code }
}

impl Explain for VisitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Plan(error) => error.hint(),
            Self::Launch(error) => launch_hint(error),
            Self::TooMany => Some("end some of them first".to_owned()),
            Self::Over | Self::NoNamespaces | Self::Malformed => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Launch(error) => launch_exit_code(error),
            _ => EXIT_FAILED,
        }
    }
}

const REPORT: &str =
    "this is a mistake in bryo; please report it with the output of `bryo run --dry-run`";

fn launch_hint(error: &LaunchError) -> Option<String> {
    let hint = match error {
        LaunchError::NotFound(program) if looks_like_image(&program.to_string()) => {
            "it reads like an image: those will be named by `--image`, which is not there yet; \
             `--rootfs DIR` runs a program of a directory that holds an unpacked one"
        }
        LaunchError::NotFound(_) | LaunchError::NoInterpreter { .. } => {
            "is it installed below a place that the sandbox shows? `bryo run --dry-run` lists them; \
             `--read PATH` shows one more"
        }
        LaunchError::Exec { source: Errno::EACCES, .. } => "is it executable, and may you read it?",
        LaunchError::Exec { source: Errno::EAGAIN, .. } => {
            "`--pids-limit`, or your own `ulimit -u`, leaves room for no process: raise it"
        }
        LaunchError::Exec { source: Errno::ENOEXEC, .. } => {
            "a script begins with `#!` and its interpreter; or run the interpreter: `bryo run -- sh FILE`"
        }
        LaunchError::Workdir { .. } => {
            "it is looked up in the sandbox: `bryo run --dry-run` shows what is there; `--read PATH` shows \
             one place more, and `--tmpfs PATH` makes an empty one"
        }
        LaunchError::Holder(error) => return error.hint(),
        LaunchError::Helper { .. } => "`bryo doctor` checks the helpers and your ranges of ids",
        LaunchError::Enter(Errno::EPERM) => {
            "they belong to another user namespace, as one of `unshare` or a container: start it where the others on \
             that network were, or end those (`bryo network inspect`) and start them again from here"
        }
        LaunchError::Lost => "was it killed? the kernel's log tells when memory ran out",
        LaunchError::Step { source, .. } if source.errno == Errno::ESTALE => {
            "something was mounted there meanwhile; try again"
        }
        LaunchError::Step { source, .. } if source.errno == Errno::EMFILE => {
            "`--ulimit nofile`, or your own `ulimit -n`, is too low: bryo opens a few itself before the program starts"
        }
        LaunchError::Step { source, .. } if source.errno == Errno::ENOENT => {
            "something was removed meanwhile; try again"
        }
        LaunchError::Step { .. } | LaunchError::Map(_) => {
            "`bryo doctor` looks for what is missing on this machine"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether somebody who comes from Docker typed an image where a program belongs.
fn looks_like_image(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    let known = [
        "alpine",
        "ubuntu",
        "debian",
        "fedora",
        "busybox",
        "archlinux",
        "centos",
        "python",
        "node",
        "golang",
        "rust",
        "nginx",
        "redis",
        "postgres",
        "hello-world",
    ];
    let tagged =
        name.split_once(':').is_some_and(|(name, tag)| !name.is_empty() && !tag.is_empty());
    // A host name and a path, as `registry.example/team/image`.
    let registry = program.split_once('/').is_some_and(|(host, _)| host.contains('.'));
    !program.starts_with(['/', '.']) && (tagged || registry || known.contains(&name))
}
