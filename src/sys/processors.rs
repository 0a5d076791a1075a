//! On which processor a new process begins.
//!
//! # Theory of operation
//! A kernel puts a new process, or one that it wakes, where it finds an idle processor. A kernel that is itself a
//! guest may take every idle processor for one that its host has withdrawn, and then leaves the process in the queue
//! of the one that forked or woke it until that one sleeps: two processes that should run beside each other run one
//! after the other. So the parent says it: the child keeps away from the parent's processor
//! (`sched_setaffinity(2)`) until the parent takes that back.
//!
//! # Decisions
//! - Only the parent ever says anything, of the child or of itself, so what either may use is complete again when the
//!   parent has said so, whatever the child has done meanwhile.
//! - A caller that may not use every processor is left alone: a set that was asked for stays asked for when the
//!   system's administrator later gives its group more, and "all there are" is the only set of which that is no loss.
//! - It is a matter of speed alone: where the kernel refuses it, a child begins where the kernel puts it. That it
//!   may use every processor again is none, and an error.
//! - Nothing is said of a process that executes a payload: its own `taskset` could be undone. There the parent leaves.

use std::sync::OnceLock;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::errno::Result;

/// Where the processors that are there are told, as `0-3,6`.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// The processors that the calling process may use; none when it is to be left to the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Processors(Option<CpuSet>);

/// A process that keeps away from its parent's processor.
#[derive(Debug)]
#[must_use = "it keeps away until it is told otherwise"]
pub struct Apart(Option<Pid>);

impl Processors {
    /// Those of the calling process, when they are all there are, and more than one.
    pub fn all() -> Self {
        // Counted once for a process and all that it forks: it takes longer than all the rest.
        static NUMBER: OnceLock<Option<u32>> = OnceLock::new();
        let allowed = sched_getaffinity(None).ok().filter(|allowed| allowed.count() > 1);
        let online =
            || std::fs::read_to_string(ONLINE).ok().and_then(|list| number_of(list.trim_end()));
        Self(allowed.filter(|allowed| *NUMBER.get_or_init(online) == Some(allowed.count())))
    }

    /// Leaves the processor that the caller is on to the process that it has just forked, which has more to do: the
    /// caller goes on on another, or after it.
    pub fn leave(&self) {
        match self.apart(rustix::process::getpid()) {
            Apart(None) => std::thread::yield_now(),
            // Fails for nobody: it is the caller itself, and among every processor is the one that it is on.
            apart => apart.end().unwrap_or_default(),
        }
    }

    /// Has a child of the caller keep away from the processor that the caller is on.
    pub fn apart(&self, child: Pid) -> Apart {
        let Some(mut others) = self.0 else { return Apart(None) };
        let own = sched_getcpu();
        if own >= CpuSet::MAX_CPU {
            return Apart(None);
        }
        others.unset(own);
        Apart(sched_setaffinity(Some(child), &others).ok().map(|()| child))
    }
}

impl Apart {
    /// The child may use every processor again.
    pub fn end(self) -> Result<()> {
        let Some(child) = self.0 else { return Ok(()) };
        let mut every = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|number| every.set(number));
        Ok(sched_setaffinity(Some(child), &every)?)
    }

    /// For a child whose whole life that is.
    pub fn for_good(self) {}
}

/// How many a list of the kernel's names.
fn number_of(list: &str) -> Option<u32> {
    let length = |range: &str| {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
        high.checked_sub(low)?.checked_add(1)
    };
    list.split(',').map(length).try_fold(0u32, |sum, one| sum.checked_add(one?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{self, Cloned};
    use crate::sys::pidfd;
    use crate::sys::process::exit_now;
    use crate::sys::testing::alone;
    use rustix::process::Signal;

    fn mask(of: Pid) -> u32 {
        sched_getaffinity(Some(of)).unwrap().count()
    }

    #[test]
    fn a_child_keeps_away_from_one_processor_until_it_is_told() {
        alone(module_path!(), "a_child_keeps_away_from_one_processor_until_it_is_told", || {
            let Processors(Some(all)) = Processors::all() else {
                // One processor, or a part of them: nothing is said to anybody.
                let own = sched_getaffinity(None).unwrap();
                let here = Processors(None);
                here.apart(rustix::process::getpid()).end().unwrap();
                return assert_eq!(sched_getaffinity(None).unwrap(), own);
            };
            let Cloned::Parent { pid, pidfd } = clone::fork().unwrap() else {
                std::thread::sleep(std::time::Duration::from_mins(1));
                exit_now(1)
            };
            let apart = Processors::all().apart(pid);
            assert_eq!(mask(pid), all.count() - 1);
            apart.end().unwrap();
            assert_eq!(sched_getaffinity(Some(pid)).unwrap(), all);
            assert_eq!(sched_getaffinity(None).unwrap(), all);
            // The caller goes away, and may use every one again.
            Processors::all().leave();
            assert_eq!(sched_getaffinity(None).unwrap(), all);
            assert_eq!(sched_getaffinity(Some(pid)).unwrap(), all);
            rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
            pidfd::wait(&pidfd).unwrap();
        });
    }

    #[test]
    fn who_may_not_use_every_processor_is_left_alone() {
        alone(module_path!(), "who_may_not_use_every_processor_is_left_alone", || {
            let mut one = CpuSet::new();
            one.set(sched_getcpu());
            sched_setaffinity(None, &one).unwrap();
            assert!(Processors::all().0.is_none());
        });
    }

    #[test]
    fn the_kernel_s_lists_are_counted() {
        assert_eq!(number_of("0"), Some(1));
        assert_eq!(number_of("0-3"), Some(4));
        assert_eq!(number_of("0-1,4,6-7"), Some(5));
        for wrong in ["", "a", "3-1", "0-", "0,,1", "0-4294967295"] {
            assert_eq!(number_of(wrong), None, "{wrong}");
        }
    }
}
