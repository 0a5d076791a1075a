//! Resource limits, `prlimit(2)`.

use std::fmt;
use std::mem::MaybeUninit;
use std::str::FromStr;

use rustix::process::Pid;

use super::errno::{Result, check};

macro_rules! resources {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $raw:ident;)*) => {
        /// What a limit is for; named as `ulimit` options of Docker and `limits.conf(5)` are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Resource {
            $($(#[$doc])* $variant,)*
        }

        impl Resource {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, such as `nofile`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            const fn raw(self) -> libc::__rlimit_resource_t {
                match self {
                    $(Self::$variant => libc::$raw,)*
                }
            }
        }
    };
}

resources! {
    /// Address space, bytes.
    AddressSpace = "as", RLIMIT_AS;
    /// Size of a core file, bytes.
    Core = "core", RLIMIT_CORE;
    /// Processor time, seconds.
    Cpu = "cpu", RLIMIT_CPU;
    /// Data segment, bytes.
    Data = "data", RLIMIT_DATA;
    /// Size of a file that is written, bytes.
    FileSize = "fsize", RLIMIT_FSIZE;
    /// File locks.
    Locks = "locks", RLIMIT_LOCKS;
    /// Locked memory, bytes.
    LockedMemory = "memlock", RLIMIT_MEMLOCK;
    /// Message queues, bytes.
    MessageQueues = "msgqueue", RLIMIT_MSGQUEUE;
    /// How far `nice` may go: 20 minus the limit.
    Nice = "nice", RLIMIT_NICE;
    /// Open files; one more than the highest descriptor.
    OpenFiles = "nofile", RLIMIT_NOFILE;
    /// Processes and threads of the user, counted per user namespace since Linux 5.14.
    Processes = "nproc", RLIMIT_NPROC;
    /// Resident memory; without effect since Linux 2.4.30.
    ResidentMemory = "rss", RLIMIT_RSS;
    /// Real-time priority.
    RealTimePriority = "rtprio", RLIMIT_RTPRIO;
    /// Time without a blocking call under real-time scheduling, microseconds.
    RealTime = "rttime", RLIMIT_RTTIME;
    /// Queued signals.
    PendingSignals = "sigpending", RLIMIT_SIGPENDING;
    /// Stack, bytes.
    Stack = "stack", RLIMIT_STACK;
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the resource, expected a name such as `nofile`")]
pub struct ResourceError;

impl FromStr for Resource {
    type Err = ResourceError;

    fn from_str(text: &str) -> std::result::Result<Self, ResourceError> {
        Self::ALL.iter().copied().find(|one| one.name() == text).ok_or(ResourceError)
    }
}

/// A limit; `None` is infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: Option<u64>,
    /// How far the process may raise it.
    pub hard: Option<u64>,
}

/// The limit of a process; `None` is the calling one.
pub fn get_limit(pid: Option<Pid>, resource: Resource) -> Result<Limit> {
    let mut old = MaybeUninit::<libc::rlimit64>::zeroed();
    // SAFETY: nothing is set; `old` is room for one rlimit64.
    check(unsafe {
        libc::prlimit64(raw(pid), resource.raw(), std::ptr::null(), old.as_mut_ptr())
    })?;
    // SAFETY: two integers, zeroed and then filled in by the kernel.
    let old = unsafe { old.assume_init() };
    Ok(Limit { soft: from_kernel(old.rlim_cur), hard: from_kernel(old.rlim_max) })
}

/// Bounds the calling process: a lower hard limit cannot be raised, and need not be.
pub fn lower_limit(resource: Resource, most: u64) -> Result<()> {
    let most = get_limit(None, resource)?.hard.map_or(most, |hard| hard.min(most));
    set_limit(None, resource, Limit { soft: Some(most), hard: Some(most) })
}

/// Sets the limit of a process; `None` is the calling one.
///
/// `EPERM` when the hard limit would rise, or for the process of somebody else; `EINVAL` when the
/// soft limit is above the hard one.
pub fn set_limit(pid: Option<Pid>, resource: Resource, limit: Limit) -> Result<()> {
    let new = libc::rlimit64 { rlim_cur: to_kernel(limit.soft), rlim_max: to_kernel(limit.hard) };
    let old = std::ptr::null_mut();
    // SAFETY: `new` is one rlimit64; the old one is not asked for.
    check(unsafe { libc::prlimit64(raw(pid), resource.raw(), &raw const new, old) }).map(drop)
}

fn raw(pid: Option<Pid>) -> libc::pid_t {
    pid.map_or(0, |pid| pid.as_raw_nonzero().get())
}

fn from_kernel(value: u64) -> Option<u64> {
    (value != libc::RLIM64_INFINITY).then_some(value)
}

fn to_kernel(value: Option<u64>) -> u64 {
    value.unwrap_or(libc::RLIM64_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::errno::Errno;
    use crate::sys::testing::{alone, ordinary_user};

    #[test]
    fn every_resource_has_a_name_that_reads_back() {
        for resource in Resource::ALL {
            assert_eq!(resource.name().parse(), Ok(*resource));
            assert!(get_limit(None, *resource).is_ok());
        }
        assert_eq!("NOFILE".parse::<Resource>(), Err(ResourceError));
    }

    #[test]
    fn a_hard_limit_once_lowered_stays_down() {
        alone(module_path!(), "a_hard_limit_once_lowered_stays_down", || {
            ordinary_user();
            let limit = Limit { soft: Some(0), hard: Some(1) };
            set_limit(None, Resource::Core, limit).unwrap();
            assert_eq!(get_limit(None, Resource::Core), Ok(limit));
            let more = Limit { soft: Some(0), hard: None };
            assert_eq!(set_limit(None, Resource::Core, more), Err(Errno::EPERM));
            let wrong = Limit { soft: Some(2), hard: Some(1) };
            assert_eq!(set_limit(None, Resource::Core, wrong), Err(Errno::EINVAL));
        });
    }
}
