//! The control group of a run: made, bounded, looked at while the payload runs, and removed.
//!
//! # Theory of operation
//!
//! ```text
//! base                     a delegated group, or a scope of the user's systemd
//! ├── bryo-supervisor      what sat in a delegated base: the launcher, the shell it came from
//! └── bryo-ID              the run's own: here are the limits, and what serves the sandbox from outside
//!     └── sandbox          here are its own processes; this is what is frozen ([`inner`])
//! ```
//!
//! A group with processes in it cannot turn on controllers for its children, so what sits in a delegated base
//! is moved into a leaf, and back when the last run of that base has ended. Between taking the base and the
//! clone the base is locked (`flock`): a group without a process yet looks like one that a killed run left,
//! and those are removed by the next run.
//!
//! What fuse-overlayfs and the netstack use is used by the payload: it can make the one remember names without
//! end and read and write disks, and the other hold connections. So they are in the run's group, before there is a
//! payload, and not where it is frozen: who waits for an answer of them could not stop. A limit of memory that they
//! reach ends them as it ends any program. Controllers are on for the run's group and not below it, so it may have
//! processes beside a group.
//!
//! Every limit is read back. The kernel rounds sizes down to pages and nothing else.
//!
//! # Decisions
//! - The leaf has our name in it: a delegated group may have a `supervisor` of somebody else's.
//! - The supervisor stays outside: it acts for the caller, it has to end what is in the group, and what a payload
//!   can make it hold is bounded by itself (logs, relays, denials). So does the netstack of a network of several
//!   sandboxes, which is none's.
//! - A number of processes counts the one or two helpers too.
//! - Whoever may read the base can hold its lock, so it is waited for only so long.
//!
//! # Not here
//! Asking systemd ([`scope`](super::scope)). Where a group can be made (`host`), and in which (`plan`).

mod base;
mod files;
mod freezer;
mod inner;
mod kills;
mod usage;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, mkdirat};
use rustix::process::Pid;

use super::scope;
use crate::plan::facts::Controller;
use crate::plan::step::{GroupLimit, GroupStep};
use crate::spec::HostPath;
use crate::spec::group::{CPU_PERIOD, CpuSet};
use crate::sys::errno::{Errno, Failure, Result};
use base::{Base, PATIENCE, remove_when_empty};
use files::{open, open_directory, read, write};
pub use freezer::{Freezer, Motion, is_frozen, wait_until_frozen};
use inner::{Inner, Place};
pub use kills::{Kills, kills};
pub use usage::{Usage, usage};

/// What all our groups begin with.
pub const PREFIX: &str = "bryo-";
/// The leaf for what sat in the base.
pub const LEAF: &str = "bryo-supervisor";
/// Where in the run's group its sandbox is.
const SANDBOX: &str = "sandbox";
/// What a payload may make of groups in the run's, where it can make any: the kernel keeps memory for each, and
/// whoever looks at them walks down.
const MOST: [(&str, &str); 2] = [("cgroup.max.depth", "64"), ("cgroup.max.descendants", "1024")];

/// The control group of a run, in the making and then whole.
#[derive(Debug)]
pub struct Group {
    /// `bryo-ID`.
    name: String,
    base: Option<Base>,
    made: Option<Made>,
    inner: Option<Inner>,
    /// The memory controller is on.
    counts_kills: bool,
}

#[derive(Debug)]
struct Made {
    path: HostPath,
    directory: OwnedFd,
}

impl Group {
    /// Nothing yet; `id` is the sandbox's.
    pub fn new(id: &str) -> Self {
        let name = format!("{PREFIX}{id}");
        Self { name, base: None, made: None, inner: None, counts_kills: false }
    }

    /// Where it is, once it is made.
    pub fn path(&self) -> Option<&HostPath> {
        self.made.as_ref().map(|made| &made.path)
    }

    /// Where in it the sandbox is: the directory, for a clone into it.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_ref().map(AsFd::as_fd)
    }

    /// Takes a step; `sandbox` is its process, once there is one. What was read back, where a limit was set.
    pub fn take(
        &mut self,
        step: &GroupStep,
        sandbox: Option<Pid>,
    ) -> std::result::Result<Option<String>, Failure> {
        match step {
            GroupStep::Base(path) => self.base = Some(Base::lock(path, PATIENCE)?),
            GroupStep::Vacate => self.base()?.vacate()?,
            GroupStep::Scope { socket, mount, cpu_weight, io_weight } => {
                let pid = sandbox.ok_or(Errno::ESRCH)?;
                let unit = format!("{}.scope", self.name);
                let weights = [("CPUWeight", *cpu_weight), ("IOWeight", *io_weight)];
                let scope = scope::Scope { unit: &unit, pid, weights };
                let path = scope::make(socket, mount, &scope)?;
                let directory = open_directory(&path)?;
                let manager = Some(socket.clone());
                self.base = Some(Base { path, directory, manager, locked: false });
            }
            GroupStep::Make => self.make()?,
            GroupStep::Enter => {
                let pid = sandbox.ok_or(Errno::ESRCH)?;
                let inner = self.inner.as_ref().ok_or(Errno::EINVAL)?;
                write(inner.home(), "cgroup.procs", &pid.as_raw_nonzero().to_string())?;
            }
            GroupStep::Divide => {
                let made = self.made.as_ref().ok_or(Errno::EINVAL)?;
                self.inner.as_mut().ok_or(Errno::EINVAL)?.divide(&made.directory)?;
            }
            GroupStep::Delegate(controllers) => {
                let made = self.made.as_ref().ok_or(Errno::EINVAL)?;
                let inner = self.inner.as_ref().ok_or(Errno::EINVAL)?;
                inner.delegate(&made.directory, controllers)?;
            }
            GroupStep::Enable(controllers) => {
                self.base()?.enable(controllers)?;
                self.counts_kills |= controllers.contains(&Controller::Memory);
            }
            GroupStep::Set(limit) => {
                let made = self.made.as_ref().ok_or(Errno::EINVAL)?;
                let base = self.base()?;
                let at_base = limit.is_share() && base.manager.is_some();
                let directory = if at_base { &base.directory } else { &made.directory };
                return set(directory, limit).map(Some);
            }
        }
        Ok(None)
    }

    fn base(&self) -> Result<&Base> {
        self.base.as_ref().ok_or(Errno::EINVAL)
    }

    fn make(&mut self) -> std::result::Result<(), Failure> {
        let base = self.base()?;
        mkdirat(&base.directory, &self.name, Mode::from_raw_mode(0o755))?;
        let path = base.path.join(&self.name).map_err(|_| Errno::ENAMETOOLONG)?;
        let opened = open_directory(&path).and_then(|directory| {
            MOST.iter().try_for_each(|(file, most)| write(&directory, file, most))?;
            let inner = Inner::make(&directory)?;
            Ok((directory, inner))
        });
        match opened {
            Ok((directory, inner)) => {
                (self.made, self.inner) = (Some(Made { path, directory }), Some(inner));
                Ok(())
            }
            Err(errno) => {
                remove_when_empty(&base.directory, &self.name, PATIENCE)?;
                Err(errno.into())
            }
        }
    }

    /// Puts another process to the sandbox's.
    pub fn admit(&self, pid: Pid) -> std::result::Result<(), Failure> {
        self.put(self.inner.as_ref().ok_or(Errno::EINVAL)?.entrance(), pid)
    }

    /// Puts a process into it that serves the sandbox from outside.
    pub fn admit_helper(&self, pid: Pid) -> std::result::Result<(), Failure> {
        let made = self.made.as_ref().ok_or(Errno::EINVAL)?;
        let helpers = self.inner.as_ref().and_then(Inner::helpers);
        self.put(helpers.unwrap_or((&made.directory, "")), pid)
    }

    fn put(&self, (into, below): Place<'_>, pid: Pid) -> std::result::Result<(), Failure> {
        let Some(socket) = &self.base()?.manager else {
            return Ok(write(into, "cgroup.procs", &pid.as_raw_nonzero().to_string())?);
        };
        let name = &self.name;
        scope::attach(socket, &format!("{name}.scope"), &format!("/{name}{below}"), pid)
    }

    /// The sandbox is in it: nobody can mistake it for a left one.
    pub fn is_entered(&mut self) -> Result<()> {
        self.base.as_mut().map_or(Ok(()), Base::unlock)
    }

    /// A descriptor that is ready, for `POLLPRI`, when something was killed for want of memory; none without
    /// a limit that could be its reason.
    pub fn events(&self) -> Result<Option<OwnedFd>> {
        let Some(made) = self.made.as_ref().filter(|_| self.counts_kills) else { return Ok(None) };
        open(&made.directory, "memory.events", OFlags::RDONLY).map(Some)
    }

    /// What freezes it; none before it is made.
    pub fn freezer(&self) -> Result<Option<Freezer>> {
        self.inner.as_ref().map(Inner::top).map(Freezer::new).transpose()
    }

    /// Removes it, and puts a base that was vacated back as it was when no other run needs it. Every process
    /// of the sandbox must have ended.
    pub fn remove(mut self) -> Result<()> {
        let (made, Some(base)) = (self.made.take(), self.base.as_mut()) else { return Ok(()) };
        let removed = match made {
            Some(_) => remove_when_empty(&base.directory, &self.name, PATIENCE),
            None => Ok(()),
        };
        if base.manager.is_some() {
            base.remove_scope();
            return removed;
        }
        let restored = base.lock_again(PATIENCE).and_then(|()| base.restore());
        removed.and(restored).and(base.unlock())
    }
}

/// Removes the group of a run whose supervisor was killed, where it has no process any more, and gives a delegated
/// base its processes back. Nothing where all of that is gone, as a scope of systemd's is. It waits so long for
/// whoever is at the base, and for processes that end.
pub fn remove_left(path: &HostPath, patience: Duration) -> Result<()> {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    let Some((name, base)) = name.filter(|name| name.starts_with(PREFIX)).zip(path.parent()) else {
        return Ok(());
    };
    match Base::lock(&base, patience) {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        Err(errno) => Err(errno),
        Ok(mut base) => {
            let removed = remove_when_empty(&base.directory, name, patience);
            let restored = removed.and_then(|()| base.restore());
            base.remove_scope();
            restored.and(base.unlock())
        }
    }
}

/// Removes the groups of a run that [`remove_left`] may not, or [`Group::remove`], for who may: those that a payload
/// with subordinate ids has given to others of them. The base stays as it is.
pub fn clear_left(path: &HostPath, patience: Duration) -> Result<()> {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    let Some((name, base)) = name.filter(|name| name.starts_with(PREFIX)).zip(path.parent()) else {
        return Ok(());
    };
    remove_when_empty(&files::open_directory(&base)?, name, patience)
}

/// Writes a limit and reads it back.
fn set(group: &OwnedFd, limit: &GroupLimit) -> std::result::Result<String, Failure> {
    let (file, value) = (limit.file(), value(limit));
    write(group, file, &value).map_err(|errno| match errno {
        // Its own words are about numbers in general.
        Errno::ERANGE | Errno::EINVAL => {
            Failure { errno: Errno::EINVAL, said: format!("`{file}` does not take `{value}`") }
        }
        errno => errno.into(),
    })?;
    let is = read(group, file)?.trim().to_owned();
    if !holds(limit, &is) {
        let said = format!("`{file}` is `{is}`, not `{value}`");
        return Err(Failure { errno: Errno::EINVAL, said });
    }
    if let GroupLimit::Cpus(wanted) = limit {
        // Processors that are not there, or not ours, are left out without an error.
        let effective = read(group, "cpuset.cpus.effective")?.trim().to_owned();
        if effective.parse::<CpuSet>().as_ref() != Ok(wanted) {
            let said = format!("of the processors {wanted} this group may use {effective}");
            return Err(Failure { errno: Errno::EINVAL, said });
        }
    }
    Ok(format!("{file} is {is}"))
}

fn value(limit: &GroupLimit) -> String {
    match limit {
        GroupLimit::Memory(number)
        | GroupLimit::Swap(number)
        | GroupLimit::MemoryHigh(number)
        | GroupLimit::CpuWeight(number)
        | GroupLimit::IoWeight(_, number)
        | GroupLimit::Processes(number) => number.to_string(),
        GroupLimit::CpuTime(time) => format!("{time} {CPU_PERIOD}"),
        GroupLimit::Cpus(set) => set.to_string(),
        GroupLimit::Io(disk, rates) => format!("{disk} {rates}"),
    }
}

/// Whether what was read back is what was asked for.
fn holds(limit: &GroupLimit, is: &str) -> bool {
    match limit {
        GroupLimit::Memory(bytes) | GroupLimit::Swap(bytes) | GroupLimit::MemoryHigh(bytes) => {
            let page = u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX);
            is.parse::<u64>().is_ok_and(|is| is <= *bytes && *bytes - is < page)
        }
        GroupLimit::Cpus(set) => is.parse::<CpuSet>().as_ref() == Ok(set),
        GroupLimit::Io(disk, rates) => {
            let disk = disk.to_string();
            let line = is.lines().find_map(|line| line.split_once(' ').filter(|of| of.0 == disk));
            let is = line.map(|(_, rates)| rates.trim()).unwrap_or_default();
            let wanted = rates.named().map(|(name, rate)| {
                format!("{name}={}", rate.map_or("max".to_owned(), |rate| rate.to_string()))
            });
            is == wanted.join(" ")
        }
        // Behind it stand disks with a weight of their own.
        GroupLimit::IoWeight(_, weight) => is.lines().next() == Some(&*format!("default {weight}")),
        _ => is == value(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::facts::{Disk, Weigher};
    use crate::spec::group::IoRates;

    #[test]
    fn what_is_read_back_may_be_less_by_a_part_of_a_page() {
        let memory = GroupLimit::Memory(10_000_000);
        assert!(holds(&memory, "9998336") && holds(&GroupLimit::Memory(4096), "4096"));
        for other in ["max", "0", "9994240", "10000001", "", "-1"] {
            assert!(!holds(&memory, other), "{other}");
        }
        let time = GroupLimit::CpuTime(50_000);
        assert!(holds(&time, "50000 100000"));
        assert!(!holds(&time, "max 100000") && !holds(&time, "50000 10000"));
        let rates = IoRates { rbps: Some(7), ..IoRates::default() };
        let disk = GroupLimit::Io(Disk { major: 8, minor: 0 }, rates);
        assert!(holds(
            &disk,
            "8:16 rbps=1 wbps=max riops=max wiops=max\n8:0 rbps=7 wbps=max riops=max wiops=max"
        ));
        assert!(!holds(&disk, "8:0 rbps=8 wbps=max riops=max wiops=max") && !holds(&disk, ""));
        assert!(!holds(&disk, "18:0 rbps=7 wbps=max riops=max wiops=max"));
        let weight = GroupLimit::IoWeight(Weigher::Cost, 200);
        assert!(holds(&weight, "default 200") && holds(&weight, "default 200\n8:0 100"));
        assert!(!holds(&weight, "default 100\n8:0 200") && !holds(&weight, "200"));
        let cpus = GroupLimit::Cpus("1,0".parse().unwrap());
        assert!(holds(&cpus, "0-1") && !holds(&cpus, "0") && !holds(&cpus, ""));
    }
}
