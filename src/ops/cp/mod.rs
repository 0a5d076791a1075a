//! `bryo cp`: files in and out of a sandbox.
//!
//! # Theory of operation
//! ```text
//! out:  entry: resolve, pack ──pipe──▶ this process: unpack     (or standard output)
//! in:   this process: pack   ──pipe──▶ entry: resolve, unpack   (or standard input)
//! ```
//! The half inside is an entry as `bryo exec` makes one, confined as the payload is, that runs no program
//! ([`archive`]). So a path inside is what the payload finds there, and a link or a mount that leads
//! elsewhere leads where it leads the payload. The half out here follows the links of the path that the user
//! typed, and none besides; of those not one that lies where a sandbox writes straight to the host ([`writable`]).
//!
//! Of a sandbox that ended what it changed can be copied: [`ended`]. The rest of what it saw is the host's own.
//!
//! # Decisions
//! - Permissions of what comes out are limited by the caller's umask, and owners are the caller's: the payload
//!   chose both. Set-id bits, devices, sockets and pipes stay where they are.
//! - Nothing is copied into the layer of a sandbox that ended: without its mounts that layer is not what the next run
//!   sees.

mod ended;
mod halves;
mod pipes;
mod writable;

use std::io;
use std::time::Duration;

use crate::archive::Stop;
pub use crate::archive::Told;
use crate::archive::errand::ErrandError;
pub use crate::plan::errand::Keep;
use crate::report::Explain;
use crate::spec::Text;
use crate::spec::text::escape;
use crate::state::{Found, SandboxId};
use crate::supervise::SuperviseError;
use crate::supervise::errand::Halt;
use crate::sys::errno::Errno;
use crate::sys::signal::SignalNumber;

use super::error::OpsError;
use super::exec::ExecError;
use super::stores::Here;
use super::sweep::sweep;

/// What is copied where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The sandbox.
    pub sandbox: Text,
    /// The path inside; relative ones begin at the root.
    pub inside: Text,
    /// The other end.
    pub outside: Outside,
    /// Which way.
    pub way: Way,
    /// Whether a link at the end of the source's path is followed.
    pub follow: bool,
    /// What is kept.
    pub keep: Keep,
}

/// The end that is not in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// A path of the host.
    Path(Text),
    /// An archive at standard input or output.
    Stream,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Out of the sandbox.
    Out,
    /// Into it.
    In,
}

/// How long a sandbox may take to end that took what copies inside along.
const ENDING: Duration = Duration::from_secs(5);

/// Hears how many bytes have been copied.
pub type Progress<'a> = dyn FnMut(u64) + 'a;

/// Why nothing was copied, or not all.
#[derive(Debug, thiserror::Error)]
pub enum CpError {
    /// The sandbox, its record, its layer.
    #[error(transparent)]
    Ops(#[from] OpsError),
    /// The process that is to copy did not enter.
    #[error(transparent)]
    Enter(Box<ExecError>),
    /// The half inside, in its words.
    #[error("cannot copy `{path}` of sandbox `{id}`: {}", shown(text))]
    Inside {
        /// The path inside.
        path: Text,
        /// Which.
        id: SandboxId,
        /// As it was told: anything.
        text: String,
    },
    /// The half out here.
    #[error("cannot copy {way} `{path}`")]
    Here {
        /// `from` or `to`.
        way: &'static str,
        /// As it was typed.
        path: Text,
        /// Why.
        #[source]
        source: ErrandError,
    },
    /// What the half inside sends is no archive.
    #[error("cannot copy `{path}` of sandbox `{id}`")]
    Malformed {
        /// The path inside.
        path: Text,
        /// Which.
        id: SandboxId,
        /// Why.
        #[source]
        source: crate::archive::ReadError,
    },
    /// A pipe of ours, or standard input or output.
    #[error("cannot copy {0}")]
    Stream(&'static str, #[source] io::Error),
    /// Somebody wanted that.
    #[error("cannot go on copying: {0}")]
    Halted(Halt),
    /// The half inside ended without a word.
    #[error("cannot go on copying: what copies {} inside the sandbox", ended(*.0))]
    Lost(Option<SignalNumber>),
    /// The sandbox ended, and the half inside with it.
    #[error("cannot go on copying: sandbox `{0}` has ended")]
    EndedMeanwhile(SandboxId),
    /// It ended, and nothing is copied into it.
    #[error("cannot copy to sandbox `{0}`: it has ended")]
    Ended(SandboxId),
    /// It did not change what it is asked for.
    #[error("cannot copy `{path}` of sandbox `{id}`: it ended, and did not change that")]
    Unchanged {
        /// The path inside.
        path: Text,
        /// Which.
        id: SandboxId,
    },
    /// It removed it.
    #[error("cannot copy `{path}` of sandbox `{id}`: it removed that")]
    Removed {
        /// The path inside.
        path: Text,
        /// Which.
        id: SandboxId,
    },
    /// Signals.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

impl CpError {
    /// Whether the reader of standard output went away, which is no reason to complain.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stream(TO_STDOUT, error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Where [`CpError::Stream`] failed.
const TO_STDOUT: &str = "to standard output";

/// What came from inside, with every backslash as it is: names in it are escaped already.
fn shown(text: &str) -> String {
    text.split('\\').map(escape).collect::<Vec<_>>().join("\\")
}

fn ended(killed: Option<SignalNumber>) -> String {
    match killed {
        Some(signal) => format!("was killed by {signal}"),
        None => "ended".to_owned(),
    }
}

/// What to do about what failed inside, where only its words came out.
fn hint_inside(id: SandboxId, text: &str) -> Option<String> {
    let is = |errno: Errno| text.ends_with(&errno.description());
    if is(Errno::ENOENT) || is(Errno::ENOTDIR) {
        Some(format!(
            "paths inside are those that its program sees: bryo exec {id} ls -la / shows them"
        ))
    } else if is(Errno::EACCES) || is(Errno::EROFS) || is(Errno::EPERM) {
        Some(format!("its program may not do that either: bryo inspect {id} has what it may write"))
    } else {
        None
    }
}

impl From<ExecError> for CpError {
    fn from(error: ExecError) -> Self {
        Self::Enter(Box::new(error))
    }
}

impl Explain for CpError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ops(error) => error.hint(),
            Self::Enter(error) => error.hint(),
            Self::Supervise(error) => error.hint().map(str::to_owned),
            Self::Ended(id) | Self::EndedMeanwhile(id) => {
                Some(format!("`bryo start {id}` runs it again, on the same layer"))
            }
            Self::Unchanged { id, .. } => Some(format!(
                "`bryo diff {id}` lists what it changed; everything else is the host's own, as it is now"
            )),
            Self::Removed { .. } => Some("the host has it still".to_owned()),
            Self::Here { source: ErrandError::Resolve(Stop::Shared), .. } => Some(
                "name the place that the link leads to, if that is the one you mean".to_owned(),
            ),
            Self::Inside { id, text, .. } => hint_inside(*id, text),
            Self::Here { way: "to", source, .. } if source.is_missing() => {
                Some("`mkdir -p` makes the directories that lead there".to_owned())
            }
            Self::Stream(..)
            | Self::Here { .. }
            | Self::Malformed { .. }
            | Self::Halted(_)
            | Self::Lost(_) => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Enter(error) => error.exit_code(),
            Self::Halted(halt) => halt.exit_code(),
            _ => crate::report::EXIT_FAILED,
        }
    }
}

/// Copies.
pub fn copy(wanted: &Wanted, progress: &mut Progress<'_>) -> Result<Told, CpError> {
    let here = Here::look()?;
    sweep(&here.stores).map_err(OpsError::from)?;
    let found = here.stores.find(wanted.sandbox.as_bytes()).map_err(OpsError::from)?;
    let is_running = found.is_running().map_err(OpsError::from)?;
    let shared = &writable::look(&here)?;
    let done = match (wanted.way, is_running) {
        (Way::Out, true) => halves::copy_out(&found, (wanted, shared), progress),
        (Way::In, true) => halves::copy_in(&found, (wanted, shared), progress),
        (Way::Out, false) => ended::copy_out(&found, (wanted, shared), progress),
        (Way::In, false) => return Err(CpError::Ended(found.id())),
    };
    match done {
        Err(CpError::Lost(killed)) if is_running => Err(why_lost(&found, killed)),
        done => done,
    }
}

/// Why the half inside was lost: the end of a sandbox takes it along, before the sandbox is seen to have ended.
fn why_lost(found: &Found, killed: Option<SignalNumber>) -> CpError {
    found.await_free(ENDING);
    match found.is_running() {
        Ok(true) => CpError::Lost(killed),
        Ok(false) => CpError::EndedMeanwhile(found.id()),
        Err(error) => OpsError::from(error).into(),
    }
}
