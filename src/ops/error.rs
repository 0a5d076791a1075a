//! Why an operation on existing sandboxes failed: the errors of the parts below, and writing.
//!
//! Long because every reason is one variant of one type, with its text.

use super::export::ExportError;
use super::merge::TooLate;
use crate::changes::ChangesError;
use crate::changes::apply::{ApplyError, PutAside};
use crate::host::HostError;
use crate::limits::group::Motion;
use crate::report::quote::shell_quote;
use crate::report::{EXIT_FAILED, Explain};
use crate::spec::net::Transport;
use crate::spec::{HostPath, Text};
use crate::state::{SandboxId, StateError};
use crate::supervise::SuperviseError;
use crate::supervise::errand::Halt;
use crate::sys::errno::Errno;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The store, a sandbox or its record.
    #[error(transparent)]
    State(#[from] StateError),
    /// Neither a name nor a current directory.
    #[error("cannot tell which sandbox is meant: the current directory is not there")]
    NoWorkdir,
    /// No part of a record has that name.
    #[error("cannot find `{field}` in what is known of a sandbox")]
    NoField {
        /// The names that lead there, escaped.
        field: String,
        /// What there is beside the one that is not there, escaped; nothing where there is none.
        there: String,
    },
    /// A port that nobody can come to.
    #[error("cannot find a published port {port}/{transport} of sandbox `{id}`")]
    NotPublished {
        /// Which sandbox.
        id: SandboxId,
        /// Which port of it.
        port: u16,
        /// Of which protocol.
        transport: Transport,
    },
    /// Looking at this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A layer.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// Bringing what a layer holds to the host.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// git does not end.
    #[error(transparent)]
    Merge(#[from] TooLate),
    /// It is not what was reviewed.
    #[error("cannot apply sandbox `{0}`: it is not what was reviewed")]
    NotReviewed(SandboxId),
    /// Its layer is in use.
    #[error("cannot take sandbox `{id}`: its layer is mounted, where process {process} is")]
    Mounted {
        /// Which.
        id: SandboxId,
        /// One that sees the mount.
        process: u32,
    },
    /// Somebody did not want to wait until all was applied.
    #[error("cannot apply all of sandbox `{id}`: {halt}, with {done} of {all} changes on the host")]
    ApplyHalted {
        /// Which.
        id: SandboxId,
        /// How many changes were applied.
        done: usize,
        /// Of how many.
        all: usize,
        /// Whether some of its changes were named.
        named: bool,
        /// Why.
        halt: Halt,
    },
    /// Something else has to be finished first.
    #[error("cannot go on with sandbox `{0}`: an apply of it was interrupted")]
    ApplyInterrupted(SandboxId),
    /// So too, before it is removed.
    #[error("cannot remove sandbox `{0}`: an apply of it was interrupted")]
    RemovesUnfinished(SandboxId),
    /// Somebody did not want to go on.
    #[error("cannot apply: nothing was chosen, and nothing was done")]
    Quit,
    /// And something of the host's stands elsewhere, which has to be told in any case.
    #[error("cannot finish the apply; {}", list(kept))]
    KeptAside {
        /// What, and where it is.
        kept: Vec<PutAside>,
        /// Why the apply did not come to its end.
        source: Box<OpsError>,
    },
    /// It was asked about as it was, and ran again since.
    #[error("cannot discard sandbox `{0}`: it ran again meanwhile")]
    RanAgain(SandboxId),
    /// There is nothing to do.
    #[error("cannot rename sandbox `{0}`: it has that name already")]
    SameName(String),
    /// What can be done to one that runs alone.
    #[error("cannot {verb} sandbox `{id}`: it is not running")]
    NotRunning {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
    },
    /// Its supervisor says no.
    #[error("cannot {verb} sandbox `{id}`: {why}")]
    Refused {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
        /// In the supervisor's words.
        why: Text,
    },
    /// Its supervisor says nothing at all, and lives.
    #[error("cannot {verb} sandbox `{id}`: its supervisor does not listen, and it runs on")]
    NotHeard {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
    },
    /// None of its processes runs.
    #[error("cannot {verb} sandbox `{id}`: it is paused")]
    Paused {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
    },
    /// It ended, and is about to be started again.
    #[error("cannot {verb} sandbox `{id}`: it ended, and waits for its restart")]
    Restarting {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
    },
    /// There is nothing that could be frozen as one.
    #[error("cannot {verb} sandbox `{0}`: it has no control group of its own", verb = motion(*.1))]
    NoGroup(SandboxId, Motion),
    /// Something in it is busy in the kernel.
    #[error(
        "cannot pause sandbox `{0}`: the kernel does not get all of its processes to stop; it goes on"
    )]
    NotFrozen(SandboxId),
    /// It is to be removed, and runs.
    #[error("cannot remove sandbox `{0}`: it is running")]
    StillRuns(SandboxId),
    /// It would be gone before it could be started again.
    #[error("cannot restart sandbox `{0}`: it was started with --rm, and is removed when it ends")]
    NotKept(SandboxId),
    /// It runs in somebody's foreground, where nobody else can get at it.
    #[error("cannot {verb} sandbox `{id}`: it was not started with --detach")]
    Foreground {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
    },
    /// It was asked to listen, and does not.
    #[error("cannot {verb} sandbox `{id}`: its supervisor does not answer")]
    NoAnswer {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
        /// The supervisor, where it is stopped.
        stopped: Option<i32>,
    },
    /// Somebody did not want to wait for an answer.
    #[error("cannot {verb} sandbox `{id}`: {halt}")]
    Halted {
        /// What was to be done.
        verb: &'static str,
        /// Which.
        id: SandboxId,
        /// Why not.
        halt: Halt,
    },
    /// Nothing was kept of what it wrote.
    #[error(
        "cannot show what sandbox `{0}` wrote: it was not started with --detach, and has no log"
    )]
    NoLog(SandboxId),
    /// A run in the foreground that left nothing.
    #[error("cannot tell how sandbox `{0}` ended: it left no record")]
    NoRecord(SandboxId),
    /// It was asked to end, and killed, and is still there.
    #[error("cannot wait any longer for sandbox `{0}` to end")]
    StillThere(SandboxId),
    /// Its supervisor.
    #[error("cannot speak with the supervisor of sandbox `{id}`")]
    Supervisor {
        /// Which.
        id: SandboxId,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A process of ours.
    #[error("cannot send a signal to the launcher of sandbox `{id}`")]
    Launcher {
        /// Which.
        id: SandboxId,
        /// Why.
        #[source]
        source: Errno,
    },
    /// Waiting for what comes.
    #[error("cannot wait for sandbox `{id}`")]
    Wait {
        /// Which.
        id: SandboxId,
        /// Why.
        #[source]
        source: Errno,
    },
    /// Waiting for anything.
    #[error("cannot wait for what happens")]
    Poll(#[source] Errno),
    /// Being attached to one.
    #[error(transparent)]
    Attach(#[from] SuperviseError),
    /// There is nothing to drop.
    #[error("cannot discard `{path}`: sandbox `{id}` changed nothing at or below it")]
    NotChanged {
        /// Which.
        path: HostPath,
        /// The sandbox.
        id: SandboxId,
        /// What a volume showed there, whose name its changes have.
        meant: Option<HostPath>,
    },
    /// What is above it has to be dropped.
    #[error("cannot discard `{path}` alone: the sandbox has no directory `{above}` any more")]
    Within {
        /// Which.
        path: HostPath,
        /// Deleted, or replaced by something else.
        above: HostPath,
    },
    /// An export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What there is to show.
    #[error("cannot write the output")]
    Write(#[source] std::io::Error),
    /// What there is to show, as JSON.
    #[error("cannot write the output as JSON")]
    Json(#[source] serde_json::Error),
}

/// The word for it.
fn motion(motion: Motion) -> &'static str {
    if motion == Motion::Frozen { "pause" } else { "unpause" }
}

/// What stands where.
fn list(kept: &[PutAside]) -> String {
    let one = |kept: &PutAside| {
        format!("`{}` stays at `{}`: it changed after it had been put aside", kept.path, kept.at)
    };
    kept.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Where a path is not among the changes.
fn changed_under(id: SandboxId, meant: Option<&HostPath>) -> String {
    let Some(meant) = meant else { return format!("bryo diff {id} lists what it changed") };
    let meant = shell_quote(meant.as_path());
    format!("changes have the names of the host: bryo discard {id} {meant}")
}

/// Of an apply that failed on its way.
const GOES_ON: &str = "nothing is lost: the same command again goes on where this one stopped";

impl Explain for OpsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => error.hint(),
            Self::KeptAside { source, .. } => source.hint(),
            Self::NoWorkdir => Some("name one; `bryo ps -a` lists them".to_owned()),
            Self::NoField { there, .. } => (!there.is_empty()).then(|| format!("there is {there}")),
            Self::Host(error) => error.hint(),
            Self::Merge(TooLate { repository, .. }) => Some(without_merge(repository.as_ref())),
            Self::NotReviewed(id) => Some(format!(
                "bryo diff --content {id} shows what it is; the same paths and --exclude belong to it"
            )),
            Self::ApplyInterrupted(id) => Some(format!("bryo apply {id} finishes it")),
            Self::RemovesUnfinished(id) => Some(finishes(*id)),
            Self::Mounted { .. } => Some("end that process, or unmount the layer there".to_owned()),
            Self::Apply(ApplyError::Path { .. } | ApplyError::Sync(_) | ApplyError::Journal(_)) => {
                Some(GOES_ON.to_owned())
            }
            Self::ApplyHalted { id, named, .. } => Some(go_on_applying(*id, *named)),
            Self::Export(error) => error.hint(),
            Self::RanAgain(id) => Some(format!("bryo diff {id} shows what it holds now")),
            Self::NotChanged { id, meant, .. } => Some(changed_under(*id, meant.as_ref())),
            Self::Within { above, .. } => Some(discards(above)),
            Self::NotPublished { .. }
            | Self::Paused { .. }
            | Self::Restarting { .. }
            | Self::NoGroup(..)
            | Self::NotRunning { .. }
            | Self::Foreground { .. }
            | Self::NoLog(_)
            | Self::StillRuns(_)
            | Self::StillThere(_)
            | Self::NotHeard { .. }
            | Self::NoAnswer { .. } => self.hint_about_running(),
            Self::Attach(error) => error.hint().map(str::to_owned),
            Self::Changes(_)
            | Self::Write(_)
            | Self::Json(_)
            | Self::Apply(_)
            | Self::Quit
            | Self::Refused { .. }
            | Self::NotFrozen(_)
            | Self::NotKept(_)
            | Self::NoRecord(_)
            | Self::Supervisor { .. }
            | Self::Halted { .. }
            | Self::Launcher { .. }
            | Self::Poll(_)
            | Self::SameName(_)
            | Self::Wait { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Halted { halt, .. } | Self::ApplyHalted { halt, .. } => halt.exit_code(),
            Self::KeptAside { source, .. } => source.exit_code(),
            _ => EXIT_FAILED,
        }
    }
}

/// The command for the rest.
fn go_on_applying(id: SandboxId, named: bool) -> String {
    let same = if named { ", with the same paths," } else { "" };
    format!(
        "nothing is lost: bryo apply {id}{same} goes on there; bryo diff {id} lists what remains"
    )
}

/// What to do where git waits.
fn without_merge(repository: Option<&HostPath>) -> String {
    let look = repository.map_or_else(String::new, |at| {
        let git = at.as_path().join(".git");
        format!("; a pipe or a lost file system in {} keeps git waiting", shell_quote(&git))
    });
    format!("nothing was applied: leave out --merge{look}")
}

/// The commands for an apply that was interrupted.
fn finishes(id: SandboxId) -> String {
    format!(
        "bryo apply {id} finishes it; bryo rm --force {id} leaves on the host what stands beside its place there"
    )
}

/// The command for a directory of changes.
fn discards(above: &HostPath) -> String {
    format!("the whole of it: bryo discard SANDBOX {}", shell_quote(above.as_path()))
}

impl OpsError {
    /// What to do about a sandbox that runs, or does not.
    fn hint_about_running(&self) -> Option<String> {
        match self {
            Self::NotPublished { id, .. } => Some(format!("bryo port {id} lists all")),
            Self::Paused { id, .. } => Some(format!("bryo unpause {id} lets it go on")),
            Self::Restarting { id, .. } => Some(format!(
                "bryo logs {id} tells why it ends; bryo restart {id} starts it at once"
            )),
            Self::NoGroup(..) => Some(
                "any limit that takes one makes it possible, from the start on: --cpu-weight 100 leaves its share of \
                 the processors as it is"
                    .to_owned(),
            ),
            Self::NotRunning { id, .. } => Some(format!("bryo start {id} runs it again")),
            Self::Foreground { .. } | Self::NoLog(_) => {
                Some("what it writes goes to where it was started".to_owned())
            }
            Self::StillRuns(id) => Some(format!("bryo rm -f {id} kills it first")),
            Self::StillThere(id) | Self::NotHeard { id, .. } => Some(format!("bryo rm -f {id} kills its supervisor too")),
            Self::NoAnswer { stopped: Some(pid), .. } => Some(format!(
                "it is stopped, as by Ctrl-Z: `fg` in its shell, or `kill -CONT {pid}`, lets it go on"
            )),
            Self::NoAnswer { id, .. } => Some(format!(
                "this machine may have too much to do: try again later; bryo rm -f {id} kills it"
            )),
            _ => None,
        }
    }

    /// Whether the reader of the output went away, which is no reason to complain.
    pub fn is_broken_pipe(&self) -> bool {
        let kind = match self {
            Self::Write(error) | Self::Export(ExportError::Write(error)) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            _ => None,
        };
        kind == Some(std::io::ErrorKind::BrokenPipe)
    }
}
