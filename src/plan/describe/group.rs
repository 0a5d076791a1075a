//! Steps on the control group, in words.

use std::fmt;

use crate::plan::facts::{Controller, Weigher};
use crate::plan::step::{GroupLimit, GroupStep};
use crate::spec::group::CPU_PERIOD;

impl fmt::Display for GroupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(group) => write!(f, "take the control group `{group}`"),
            Self::Vacate => f.write_str("move the processes in it to a leaf of it"),
            Self::Scope { .. } => f.write_str("have systemd make a scope for the sandbox"),
            Self::Make => f.write_str("make a control group in it"),
            Self::Divide => {
                f.write_str("make groups in that for the payload and what is beside it")
            }
            Self::Delegate(controllers) => {
                f.write_str("give the group of the payload")?;
                names(f, controllers)
            }
            Self::Enter => f.write_str("move the sandbox into its control group"),
            Self::Enable(controllers) => {
                f.write_str("turn on")?;
                names(f, controllers)
            }
            Self::Set(limit) => limit.fmt(f),
        }
    }
}

fn names(f: &mut fmt::Formatter<'_>, controllers: &[Controller]) -> fmt::Result {
    f.write_str(if controllers.is_empty() { " no controllers" } else { " the controllers" })?;
    controllers.iter().try_for_each(|controller| write!(f, " {controller}"))
}

impl fmt::Display for GroupLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "limit memory to {bytes} bytes"),
            Self::Swap(bytes) => write!(f, "limit swap space to {bytes} bytes"),
            Self::MemoryHigh(bytes) => write!(f, "slow down beyond {bytes} bytes of memory"),
            Self::CpuTime(time) => {
                write!(f, "limit processor time to {time} of {CPU_PERIOD} microseconds")
            }
            Self::CpuWeight(weight) => write!(f, "weigh its processor time {weight}"),
            Self::Cpus(cpus) => write!(f, "run on the processors {cpus}"),
            Self::Io(disk, rates) => write!(f, "limit the disk {disk} to {rates}"),
            Self::IoWeight(by, weight) => write!(f, "weigh its use of disks {weight}, for {by}"),
            Self::Processes(count) => write!(f, "limit processes to {count}"),
        }
    }
}

impl fmt::Display for Weigher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cost => "io.cost",
            Self::Bfq => "bfq",
        })
    }
}
