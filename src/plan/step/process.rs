//! Steps on the process itself.

use std::ffi::CStr;

use serde::{Deserialize, Serialize};

use crate::plan::errand::Errand;
use crate::spec::{EnvironmentVariable, SandboxPath, Text};

/// What pid 1 of every sandbox is called, in there and on the host.
pub const INIT: &CStr = c"bryo-init";

/// Steps on the process itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessStep {
    /// Cannot be traced, and its `/proc` files belong to root.
    Undumpable,
    /// Joins the namespaces of a sandbox that runs.
    JoinNamespaces,
    /// Makes a cgroup namespace, whose root is the group that the process is in: the run's own.
    CgroupNamespace,
    /// Sets the host name of the new UTS namespace.
    Hostname(String),
    /// Gives up all supplementary groups and takes these ids inside.
    TakeIds {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
        /// Whether `setgroups` is called: only where the maps came from the helpers.
        drop_groups: bool,
    },
    /// By pid 1, last in its stage: a session of its own, and with a pty one of the sandbox's devpts as
    /// its controlling terminal, whose master goes to the supervisor. Init owns the session: a payload
    /// that led it would be in an orphaned group, and Ctrl-Z would be discarded.
    Session {
        /// Whether there is a pty.
        pty: bool,
    },
    /// A process group of the payload's own.
    ProcessGroup {
        /// Whether it begins in the foreground of the session's terminal. In the background of a
        /// terminal it is stopped as soon as it wants it, and the supervisor decides.
        foreground: bool,
    },
    /// Is killed when its parent ends: an entry into a sandbox whose pid 1 is not its parent.
    EndWithParent,
    /// Puts something at one of descriptors 0 to 2.
    Stdio {
        /// 0, 1, or 2.
        number: u8,
        /// What.
        with: StdioPlan,
    },
    /// Closes every descriptor above 2 but these, which lose their close-on-exec flag.
    CloseDescriptors {
        /// Numbers that stay; sorted.
        keep: Vec<u32>,
    },
    /// File mode creation mask.
    Umask(u32),
    /// The current directory.
    Workdir(SandboxPath),
    /// Puts its own number, as the sandbox numbers it, into these variables: `LISTEN_PID` names who is meant.
    OwnNumber(Vec<Text>),
    /// The exec, the last step: a program without a slash is looked up in these directories.
    Exec {
        /// Program and arguments.
        argv: Vec<Text>,
        /// Variables.
        environment: Vec<EnvironmentVariable>,
        /// Directories to look in, from the payload's own `PATH`.
        search: Vec<Text>,
    },
    /// In place of the exec, for an entry: the process does this itself, and ends. Every other descriptor but 0 to 2 is
    /// closed before.
    Errand(Errand),
}

/// What the payload gets at a standard descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdioPlan {
    /// The caller's own descriptor.
    Keep,
    /// `/dev/null`.
    Null,
    /// The sandbox's pty.
    Pty,
    /// A pipe, whose other end the supervisor relays.
    Relay,
}
