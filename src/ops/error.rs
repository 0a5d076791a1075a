//! Why an operation on existing sandboxes failed: the errors of the parts below, and writing.

use crate::changes::ChangesError;
use crate::host::HostError;
use crate::report::Explain;
use crate::state::StateError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The store, a sandbox or its record.
    #[error(transparent)]
    State(#[from] StateError),
    /// Neither a name nor a current directory.
    #[error("cannot tell which sandbox is meant: the current directory is not there")]
    NoWorkdir,
    /// Looking at this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A layer.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// What there is to show.
    #[error("cannot write the output")]
    Write(#[source] std::io::Error),
    /// What there is to show, as JSON.
    #[error("cannot write the output as JSON")]
    Json(#[source] serde_json::Error),
}

impl Explain for OpsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::State(error) => error.hint(),
            Self::NoWorkdir => Some("name one; `bryo ps -a` lists them".to_owned()),
            Self::Host(error) => error.hint(),
            Self::Changes(_) | Self::Write(_) | Self::Json(_) => None,
        }
    }
}

impl OpsError {
    /// Whether the reader of the output went away, which is no reason to complain.
    pub fn is_broken_pipe(&self) -> bool {
        let kind = match self {
            Self::Write(error) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            Self::State(_) | Self::NoWorkdir | Self::Host(_) | Self::Changes(_) => None,
        };
        kind == Some(std::io::ErrorKind::BrokenPipe)
    }
}
