//! What can go wrong with the store and what to do about it.
//!
//! Long because every reason is one variant of one type, with its text.

use rustix::io::Errno;

use super::id::SandboxId;
pub use super::store::StoreFault;
use super::worker::Worker;
use crate::plan::step::LayerNumber;
use crate::spec::{HostPath, Text};

/// Why the store, a sandbox in it, or its record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store's directory cannot be opened.
    #[error("cannot open the store `{store}`")]
    OpenStore {
        /// Where.
        store: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The store's directory cannot be made.
    #[error("cannot make the store `{store}`")]
    MakeStore {
        /// Where.
        store: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// A directory of bryo's own cannot be made.
    #[error("cannot make the directory `{path}`, which no payload may put another in place of")]
    MakeOwn {
        /// Where.
        path: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The store is not the caller's alone.
    #[error("cannot use `{store}` as the store: {fault}")]
    ForeignStore {
        /// Where.
        store: HostPath,
        /// What is wrong with it.
        fault: StoreFault,
    },
    /// The directory of a sandbox cannot be made.
    #[error("cannot make a sandbox's directory in `{store}`")]
    Create {
        /// In which store.
        store: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// What a copy that was killed has left cannot be removed.
    #[error("cannot remove `{path}`, which a `bryo cp` that was killed has left{}", below(at))]
    RemoveCopy {
        /// What.
        path: HostPath,
        /// What of it is in the way; empty where it is all.
        at: Text,
        #[source]
        /// Why.
        source: Errno,
    },
    /// What hides places of the host's tree cannot be kept.
    #[error("cannot make a mask in the store `{store}`")]
    Mask {
        /// In which store.
        store: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The name is in use.
    #[error("cannot name the sandbox `{name}`: `{id}` has that name")]
    NameTaken {
        /// The wanted name.
        name: String,
        /// Who has it.
        id: SandboxId,
    },
    /// The name is another's id.
    #[error("cannot name the sandbox `{0}`: that is the id of a sandbox")]
    NameIsId(SandboxId),
    /// Names cannot be kept.
    #[error("cannot keep the name `{name}` in the store")]
    Name {
        /// Which.
        name: Text,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The directories of a layer cannot be made.
    #[error("cannot make the directories of layer {} of sandbox `{id}`", number.0)]
    Layer {
        /// Whose.
        id: SandboxId,
        /// Which.
        number: LayerNumber,
        #[source]
        /// Why.
        source: Errno,
    },
    /// What memory held of layers cannot be put into them.
    #[error("cannot put what memory held into the layers of sandbox `{id}`")]
    Receive {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: Errno,
    },
    /// A layer's directory cannot be opened.
    #[error("cannot open layer {} of sandbox `{id}`", number.0)]
    OpenLayer {
        /// Whose.
        id: SandboxId,
        /// Which.
        number: LayerNumber,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The record cannot be written.
    #[error("cannot write the record of sandbox `{id}`")]
    WriteRecord {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The record cannot be put into words.
    #[error("cannot encode the record of sandbox `{id}`")]
    EncodeRecord {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: serde_json::Error,
    },
    /// The record cannot be read.
    #[error("cannot read the record of sandbox `{id}`")]
    ReadRecord {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The record is not what bryo writes.
    #[error("cannot understand the record of sandbox `{id}`")]
    ParseRecord {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: serde_json::Error,
    },
    /// The record ends too early.
    #[error("cannot understand the record of sandbox `{0}`: a part of it is missing")]
    TornRecord(SandboxId),
    /// A newer bryo wrote the record.
    #[error("cannot understand the record of sandbox `{id}`: it has version {version}")]
    NewerRecord {
        /// Whose.
        id: SandboxId,
        /// Which version.
        version: u32,
    },
    /// Nothing has that id or name.
    #[error("cannot find a sandbox `{0}`")]
    NotFound(Text),
    /// No sandbox was started from a directory.
    #[error("cannot find a sandbox that was started from `{0}`")]
    NoneFrom(HostPath),
    /// Several ids begin so.
    #[error("cannot tell which sandbox `{prefix}` is: {}", list(candidates))]
    Ambiguous {
        /// What was asked for.
        prefix: Text,
        /// All whose ids or names begin so, sorted.
        candidates: Vec<SandboxId>,
    },
    /// Too few characters of an id or a name to remove anything by.
    #[error(
        "cannot remove anything by `{prefix}` alone: of an id or a name it takes {shortest} characters or more"
    )]
    TooShort {
        /// What was asked for.
        prefix: Text,
        /// How many it takes.
        shortest: usize,
    },
    /// It runs.
    #[error("cannot take sandbox `{0}`: it is running")]
    Running(SandboxId),
    /// It ended, and a command works on it.
    #[error("cannot take sandbox `{id}`: {}", busy(by.as_ref()))]
    AtWork {
        /// Which.
        id: SandboxId,
        /// Who; none where that cannot be told.
        by: Option<Worker>,
    },
    /// Its launcher is not a process of ours to be seen.
    #[error("cannot find the launcher of sandbox `{0}`")]
    NoLauncher(SandboxId),
    /// The launcher cannot be killed.
    #[error("cannot kill the launcher of sandbox `{id}`, process {pid}")]
    Kill {
        /// Whose.
        id: SandboxId,
        /// Which process.
        pid: u32,
        #[source]
        /// Why.
        source: Errno,
    },
    /// It was killed and does not end.
    #[error("cannot wait any longer for the processes of sandbox `{0}` to end")]
    StillThere(SandboxId),
    /// Reading a directory of the store.
    #[error("cannot list the sandboxes in `{store}`")]
    List {
        /// Where.
        store: HostPath,
        #[source]
        /// Why.
        source: Errno,
    },
    /// Locking failed for another reason than being locked.
    #[error("cannot lock sandbox `{id}`")]
    Lock {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: Errno,
    },
    /// Moving a sandbox inside the store.
    #[error("cannot move sandbox `{id}` to `{to}` in the store")]
    Move {
        /// Whose.
        id: SandboxId,
        /// The directory below the store.
        to: &'static str,
        #[source]
        /// Why.
        source: Errno,
    },
    /// Something of it cannot be removed.
    #[error("cannot remove `{at}`, left of sandbox `{id}`")]
    Remove {
        /// Whose.
        id: SandboxId,
        /// The name that could not be removed.
        at: Text,
        #[source]
        /// Why.
        source: Errno,
    },
    /// What a payload with subordinate ids wrote is not the caller's to remove.
    #[error("cannot remove `{at}`, left of sandbox `{id}`: it belongs to user {owner}")]
    ForeignIds {
        /// Whose.
        id: SandboxId,
        /// The name that could not be removed.
        at: Text,
        /// The owner.
        owner: u32,
    },
    /// Its log.
    #[error("cannot keep the log of sandbox `{id}`")]
    WriteLog {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: Errno,
    },
    /// Its log.
    #[error("cannot read the log of sandbox `{id}`")]
    ReadLog {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: Errno,
    },
    /// The socket by which its supervisor is spoken to.
    #[error("cannot listen for orders to sandbox `{id}`")]
    Listen {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: crate::sys::errno::Errno,
    },
    /// The same, from the other side.
    #[error("cannot speak with the supervisor of sandbox `{id}`")]
    Connect {
        /// Whose.
        id: SandboxId,
        #[source]
        /// Why.
        source: crate::sys::errno::Errno,
    },
    /// The caller's own process cannot be described.
    #[error("cannot read `{path}`")]
    Proc {
        /// Which file.
        path: &'static str,
        #[source]
        /// Why.
        source: Errno,
    },
}

/// At most ten of them.
fn list(ids: &[SandboxId]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<_> = ids.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
    match ids.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl StateError {
    /// Whether what has the name of a sandbox is none that bryo left so: a link, a file, somebody else's directory, one
    /// that may not be entered, a record that is none.
    pub fn is_no_sandbox(&self) -> bool {
        let (Self::Lock { source, .. } | Self::ReadRecord { source, .. }) = self else {
            return false;
        };
        // ENXIO: a socket in place of the record. ELOOP: a link. EFBIG: more than any record has.
        matches!(
            *source,
            Errno::NOTDIR
                | Errno::ACCESS
                | Errno::PERM
                | Errno::ISDIR
                | Errno::LOOP
                | Errno::NXIO
                | Errno::FBIG
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ForeignStore { store, fault: StoreFault::Open(_) } => {
                format!("chmod 0700 {}", quoted(store))
            }
            Self::OpenStore { .. } | Self::MakeStore { .. } | Self::ForeignStore { .. } => {
                "name another directory in BRYO_STORE".to_owned()
            }
            _ if self.is_no_sandbox() => {
                "what has that name in the store is nothing of bryo's, or was changed there: remove it there".to_owned()
            }
            Self::NameTaken { name, .. } => {
                format!(
                    "give another name, or remove that sandbox: bryo rm {name}, with -f while it runs"
                )
            }
            Self::NameIsId(_) => "give another name".to_owned(),
            Self::ParseRecord { id, .. } | Self::TornRecord(id) => format!(
                "what it changed lies in the store, below {id}, until bryo rm {id} removes it"
            ),
            Self::ReadLog { source: Errno::BADMSG, .. } => {
                "the file is damaged: the next start begins another".to_owned()
            }
            Self::NewerRecord { .. } => "a newer bryo made it: use that one".to_owned(),
            Self::NotFound(_) | Self::NoneFrom(_) | Self::TooShort { .. } => {
                "`bryo ps -a` lists all sandboxes".to_owned()
            }
            Self::Ambiguous { .. } => "give more of the id or the name".to_owned(),
            Self::Running(id) => format!("bryo stop {id} ends it first"),
            Self::AtWork { by: Some(by), .. } => format!(
                "wait until it has ended; where it hangs, `kill -9 {}` ends it, and what it had begun can be finished",
                by.pid
            ),
            Self::AtWork { by: None, .. } => "try again when it has ended".to_owned(),
            Self::NoLauncher(_) => {
                "it was started in another container or PID namespace: end it there".to_owned()
            }
            Self::ForeignIds { .. } => {
                "it ran with --ids subid: removing needs newuidmap and newgidmap".to_owned()
            }
            _ => return None,
        })
    }
}

/// Who is at work.
fn busy(by: Option<&Worker>) -> String {
    match by {
        Some(Worker { pid, verb: Some(verb) }) => {
            format!("`bryo {verb}` is at work on it, process {pid}")
        }
        Some(Worker { pid, verb: None }) => format!("process {pid} is at work on it"),
        None => "another command is at work on it".to_owned(),
    }
}

/// Where in a tree.
fn below(at: &Text) -> String {
    if at.as_bytes().is_empty() { String::new() } else { format!(" (at `{at}`)") }
}

/// For a shell: in single quotes where anything but plain characters occurs.
fn quoted(path: &HostPath) -> String {
    let text = path.to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+');
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
