//! What is known of a run: what was wanted, what was enforced, how it ended, what it left.
//!
//! # Theory of operation
//! One JSON object, `record.json` in the sandbox's directory; `bryo inspect` and `--report` show the
//! same. It is written twice: when the sandbox exists ([`Outcome::Running`]), so that the changes of a
//! run that is killed can still be read, and at its end.
//!
//! # Decisions
//! - [`Record::VERSION`] is raised when a reader of the old form would misunderstand the new one; what
//!   is only added is not a new version.
//! - [`Summary`](super::Summary) reads the few fields that listings need and passes over the rest, so that `ps` and
//!   `rm` work on records of other versions too, and are quick.

use serde::{Deserialize, Serialize};

use super::health::Health;
use super::held::Held;
use super::id::SandboxId;
use super::launcher::Launcher;
pub use super::memory::MemoryKills;
use super::timestamp::Timestamp;
use super::view::layer_records;
use crate::plan::Plan;
use crate::plan::facts::Target;
use crate::plan::publish::PublishedPort;
use crate::plan::step::{Action, FsStep, Layer, Named, Notice, Stage};
use crate::plan::traffic::{NetworkLoss, Traffic};
use crate::spec::command::Keep;
use crate::spec::text::pretty_json;
use crate::spec::{HostPath, SandboxPath, Spec, Text};

/// Everything known of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::VERSION`] of the bryo that wrote it.
    pub version: u32,
    /// The sandbox.
    pub id: SandboxId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// When the launcher made it.
    pub created: Timestamp,
    /// The launcher's current directory; none when it had been removed or cannot be read.
    pub from: Option<HostPath>,
    /// Which process started it.
    pub launcher: Launcher,
    /// Whether it runs, or how it ended.
    pub outcome: Outcome,
    /// What was wanted.
    pub spec: Spec,
    /// The sandbox whose network it shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Where the paths led that it named: what it goes on with must be that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<Named>,
    /// Its copy-on-write layers, by number.
    pub layers: Vec<LayerRecord>,
    /// What the user was told once.
    pub notices: Vec<Notice>,
    /// Supplementary groups that stayed with the payload.
    pub groups_kept: Vec<u32>,
    /// What was enforced, in order: read back, or returned by the step that did it.
    pub enforced: Vec<Enforced>,
    /// What the supervisor watched, and acted on when it saw it: not before it happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Text>,
    /// System calls that were refused, most frequent first.
    pub denied: Vec<DeniedCall>,
    /// Ports of the host that were open for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PublishedPort>,
    /// What its network refused, and what it used of it where that was to be learnt; none without a
    /// network of its own that leads out, and where the one of several sandboxes did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// How that network ended, where it was not with the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_loss: Option<NetworkLoss>,
    /// The control group; none when it has none of its own, and after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<HostPath>,
    /// Its processes that the kernel killed for want of memory; none where that was not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_kills: Option<MemoryKills>,
    /// What its checks said; none where there were none. Of one that runs it is beside the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What memory held of the layers; none where they were in the store all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What the layers held at the end.
    pub changes: Option<ChangeCounts>,
    /// Bytes of the disk that the layers took then; none where that was not counted to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When the run began that all this is of, where it went on with the layers of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued: Option<Timestamp>,
    /// The runs that these layers had before, oldest first; the last [`Record::MOST_EARLIER`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierRun>,
}

/// What is kept of a run when another goes on with its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierRun {
    /// When it began.
    pub began: Timestamp,
    /// Its launcher's current directory.
    pub from: Option<HostPath>,
    /// The profile's name.
    pub profile: String,
    /// Program and arguments.
    pub argv: Vec<Text>,
    /// How it ended.
    pub outcome: Outcome,
    /// It, or one before it, ran in nobody's foreground.
    #[serde(default, skip_serializing_if = "<&bool as std::ops::Not>::not")]
    pub apart: bool,
}

/// Whether a sandbox runs, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Outcome {
    /// It was running when this was written; whether it still is, the lock tells.
    Running,
    /// The payload ended and the launcher saw it.
    Exited {
        /// When.
        ended: Timestamp,
        /// Microseconds from the payload's start to its end, by the monotonic clock.
        duration_us: u64,
        /// How.
        exit: Exit,
    },
    /// The launcher was killed, or the machine stopped; everything in the sandbox ended with it.
    Killed {
        /// When another command found it so.
        found: Timestamp,
    },
}

impl Outcome {
    /// The status that `bryo run` ended with, or would have; none while it runs.
    pub fn status(&self) -> Option<u8> {
        match self {
            Self::Running => None,
            Self::Exited { exit, .. } => Some(exit.status()),
            // All of it was.
            Self::Killed { .. } => Some(0x80 | 9),
        }
    }

    /// When it ended, or was found to have been killed; none while it runs.
    pub fn ended(&self) -> Option<Timestamp> {
        match self {
            Self::Running => None,
            Self::Exited { ended, .. } => Some(*ended),
            Self::Killed { found } => Some(*found),
        }
    }
}

/// How a payload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this status.
    Code(u8),
    /// By this signal.
    Signal(i32),
    /// Killed because its time was over.
    Timeout,
    /// Killed because the store's file system was nearly full.
    NoSpace,
    /// Killed by the kernel for want of memory.
    OutOfMemory,
    /// Pid 1 of the sandbox was killed from outside.
    Lost,
    /// A server of its overlays ended before it did.
    ServerLost,
    /// Its network ended before it did, which it was not to outlive.
    NetworkLost,
    /// It never started: a step of its set-up failed.
    NotStarted,
}

impl Exit {
    /// The status that `bryo run` ends with.
    pub fn status(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(signal).map_or(u8::MAX, |n| n | 0x80),
            Self::Timeout => 124,
            // By SIGKILL, as everything ends whose pid 1 does.
            Self::OutOfMemory | Self::Lost => 137,
            Self::NoSpace | Self::ServerLost | Self::NetworkLost | Self::NotStarted => 125,
        }
    }
}

/// One step that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// The step's number as shown, from 1.
    pub step: u32,
    /// What it is, as the dry run words it.
    pub title: Text,
    /// What was read back or returned, where there is more to say than that it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Text>,
}

/// A system call that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedCall {
    /// Its name on this architecture; `syscall_N` when it has none here.
    pub name: String,
    /// Its number.
    pub number: i64,
    /// How often it was tried.
    pub count: u64,
    /// What the payload was answered.
    pub errno: i32,
}

/// How many paths differ from the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCounts {
    /// That the host does not have.
    pub added: u64,
    /// That both have, and differ.
    pub changed: u64,
    /// That only the host has.
    pub deleted: u64,
    /// Counting was given up: there are at least as many.
    #[serde(default)]
    pub at_least: bool,
}

impl ChangeCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.added + self.changed + self.deleted
    }
}

/// A layer and what is needed to read it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The layer as planned.
    pub layer: Layer,
    /// Relative places, written as from `/`, where the host has something that the sandbox was not
    /// shown: what the payload made there is not a change of what the host has.
    pub masked: Vec<SandboxPath>,
    /// When the sandbox was shown single things of the host's directory and not the directory itself:
    /// these, relative, as they stood in a shadow of it. Whatever else the host has is as if masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Vec<SandboxPath>>,
    /// The change time that a file touched at the start had on the file system the layer lies over; a
    /// file of the host with a later one was changed meanwhile. None where that could not be told.
    pub mark: Option<Timestamp>,
    /// The number that the directory it lies over had then, as far as that is known: another one in its place is
    /// not what the sandbox saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<u64>,
}

/// What is known of the directory that a layer lies over when its sandbox starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// For [`LayerRecord::mark`].
    pub time: Option<Timestamp>,
    /// For [`LayerRecord::root`].
    pub root: Option<u64>,
}

/// What is known when a sandbox starts.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// The launcher's current directory.
    pub from: Option<HostPath>,
    /// Which process started it.
    pub launcher: Launcher,
    /// What is wanted.
    pub spec: &'a Spec,
    /// The sandbox whose network it shares.
    pub target: Option<&'a Target>,
    /// What will be done.
    pub plan: &'a Plan,
    /// [`LayerDirectories::mark`](super::LayerDirectories) of each layer, by number.
    pub marks: &'a [Mark],
    /// Ports of the host that are open for it.
    pub published: &'a [PublishedPort],
}

impl Record {
    /// The form that this bryo writes.
    pub const VERSION: u32 = 1;
    /// How many of [`Record::earlier`] are kept.
    pub const MOST_EARLIER: usize = 100;

    /// The record of a sandbox that is starting.
    pub fn begin(id: SandboxId, created: Timestamp, beginning: Beginning<'_>) -> Self {
        let Beginning { from, launcher, spec, target, plan, marks, published } = beginning;
        Self {
            version: Self::VERSION,
            id,
            name: spec.name.clone(),
            created,
            from,
            launcher,
            outcome: Outcome::Running,
            spec: spec.clone(),
            target: target.cloned(),
            named: plan.named.clone(),
            layers: layer_records(plan, marks),
            notices: plan.notices.clone(),
            groups_kept: plan.groups_kept.clone(),
            enforced: Vec::new(),
            watched: plan.of(Stage::Supervise).map(|(_, step)| step.to_string().into()).collect(),
            denied: Vec::new(),
            published: published.to_vec(),
            traffic: None,
            network_loss: None,
            cgroup: None,
            memory_kills: None,
            health: None,
            held: plan.steps.iter().find_map(|step| match step.action {
                Action::Fs(FsStep::Hold { size }) if !plan.layers.is_empty() => {
                    Some(Held::in_memory(size))
                }
                _ => None,
            }),
            changes: None,
            size: None,
            continued: None,
            earlier: Vec::new(),
        }
    }

    /// Whether it ran in nobody's foreground.
    pub fn is_apart(&self) -> bool {
        self.spec.lifetime.detached.is_some()
    }

    /// Whether anything of it may stay after its end.
    pub fn may_stay(&self) -> bool {
        self.spec.lifetime.keep != Keep::Nothing
    }

    /// Whether it, or a run before it, ran in nobody's foreground.
    pub(super) fn was_apart(&self) -> bool {
        self.is_apart() || self.earlier.iter().any(|run| run.apart)
    }

    /// Whether it stays after its end whatever it wrote. A name is there to refer to it by; of one that ran in nobody's
    /// foreground the record and the log are all that tells how it ended, and its id is what it is started by again.
    pub fn stays(&self, name: Option<&str>) -> bool {
        self.may_stay() && (self.was_apart() || name.is_some())
    }

    /// What a run was, with how it ended and nothing else of its end.
    pub(super) fn end_of(&self, begun: Self) -> Self {
        Self {
            outcome: self.outcome.clone(),
            cgroup: self.cgroup.clone(),
            held: self.held.clone(),
            changes: self.changes,
            size: self.size,
            ..begun
        }
    }

    /// As `bryo inspect` and `--report` show it: indented, one newline at the end.
    pub fn to_pretty_json(&self) -> Result<String, serde_json::Error> {
        pretty_json(self)
    }
}
