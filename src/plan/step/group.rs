//! Steps on the control group of a run, by the launcher.

use serde::{Deserialize, Serialize};

use crate::plan::facts::{Controller, Disk, Weigher};
use crate::spec::HostPath;
use crate::spec::group::{CpuSet, IoRates};

/// Steps on the control group of a run.
///
/// *Base* is the group in which the run's own is made: one that is delegated, or a scope that the user's
/// service manager makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupStep {
    /// Takes this delegated group as the base, locks it, and removes what killed runs left in it.
    Base(HostPath),
    /// Moves the processes that sit in the base into a leaf beside the run's group: with processes in it, a
    /// group cannot turn on controllers for others.
    Vacate,
    /// Has the caller's service manager make a scope, with the sandbox's process in it: the base.
    Scope {
        /// Where the manager listens.
        socket: HostPath,
        /// Where control groups are mounted.
        mount: HostPath,
        /// Its share of the processors: what is in a scope has nobody to share with.
        cpu_weight: Option<u64>,
        /// Its share of the disks, for the same reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        io_weight: Option<u64>,
    },
    /// Makes the run's group in the base, and in that one for the sandbox: what serves it from outside is beside.
    Make,
    /// Makes groups in those: one for the payload, which is the root of its cgroup namespace, one for what enters
    /// later, and one for what serves it. The payload has no name for what bounds or freezes it.
    Divide,
    /// Turns these controllers on for the payload's group, which may turn them on for groups of its own.
    Delegate(Vec<Controller>),
    /// Moves the sandbox's process to where it belongs in those.
    Enter,
    /// Turns controllers on for the groups in the base.
    Enable(Vec<Controller>),
    /// Writes a limit of the run's group, and a share of the scope, and reads it back.
    Set(GroupLimit),
}

/// One limit of a group, in the kernel's units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupLimit {
    /// Bytes of memory.
    Memory(u64),
    /// Bytes of swap space.
    Swap(u64),
    /// Bytes of memory beyond which it is slowed down.
    MemoryHigh(u64),
    /// Microseconds of processor time in each [`CPU_PERIOD`](crate::spec::group::CPU_PERIOD).
    CpuTime(u64),
    /// Share of the processors.
    CpuWeight(u64),
    /// Which processors.
    Cpus(CpuSet),
    /// Processes and threads, init counted.
    Processes(u64),
    /// How fast a disk may be used.
    Io(Disk, IoRates),
    /// Share of the disks, by what does the sharing.
    IoWeight(Weigher, u64),
}

impl GroupLimit {
    /// What enforces it.
    pub fn controller(&self) -> Controller {
        match self {
            Self::Memory(_) | Self::Swap(_) | Self::MemoryHigh(_) => Controller::Memory,
            Self::CpuTime(_) | Self::CpuWeight(_) => Controller::Cpu,
            Self::Cpus(_) => Controller::Cpuset,
            Self::Processes(_) => Controller::Pids,
            Self::Io(..) | Self::IoWeight(..) => Controller::Io,
        }
    }

    /// The file of the group that holds it.
    pub fn file(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory.max",
            Self::Swap(_) => "memory.swap.max",
            Self::MemoryHigh(_) => "memory.high",
            Self::CpuTime(_) => "cpu.max",
            Self::CpuWeight(_) => "cpu.weight",
            Self::Cpus(_) => "cpuset.cpus",
            Self::Processes(_) => "pids.max",
            Self::Io(..) => "io.max",
            Self::IoWeight(Weigher::Cost, _) => "io.weight",
            Self::IoWeight(Weigher::Bfq, _) => "io.bfq.weight",
        }
    }

    /// Whether it is a share: what is alone in a scope has it against what is beside the scope.
    pub fn is_share(&self) -> bool {
        matches!(self, Self::CpuWeight(_) | Self::IoWeight(..))
    }

    /// The flag that asks for it.
    pub fn flag(&self) -> &'static str {
        match self {
            Self::Memory(_) => "--memory",
            Self::Swap(_) => "--memory-swap",
            Self::MemoryHigh(_) => "--memory-high",
            Self::CpuTime(_) => "--cpus",
            Self::CpuWeight(_) => "--cpu-weight",
            Self::Cpus(_) => "--cpuset-cpus",
            Self::Processes(_) => "--pids-limit",
            Self::Io(..) => "--io-max",
            Self::IoWeight(..) => "--io-weight",
        }
    }
}
