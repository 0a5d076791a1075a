//! Making processes and namespaces: `clone3(2)`, `clone(2)`, `unshare(2)`, `setns(2)`.
//!
//! # Theory of operation
//! The clone here is a fork: the child gets a copy of the memory and goes on behind the call. It
//! is made by the bare system call, so no `pthread_atfork` handler runs and what glibc believes
//! about its own thread id is stale in the child (`raise` and `abort` ask the kernel since glibc
//! 2.34). That is sound for a process with one thread, and nearly nothing is allowed for one with
//! several: a lock another thread held stays locked for ever. Callers check with
//! [`assert_single_threaded`] first.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

use super::errno::{Errno, Result, check};

super::flags! {
    /// Which namespaces a call makes or enters, `CLONE_NEW*` of `namespaces(7)`.
    CloneFlags: u64 {
        /// `CLONE_NEWUSER`
        NEW_USER = 0x1000_0000;
        /// `CLONE_NEWNS`
        NEW_MOUNT = 0x0002_0000;
        /// `CLONE_NEWPID`
        NEW_PID = 0x2000_0000;
        /// `CLONE_NEWNET`
        NEW_NET = 0x4000_0000;
        /// `CLONE_NEWIPC`
        NEW_IPC = 0x0800_0000;
        /// `CLONE_NEWUTS`
        NEW_UTS = 0x0400_0000;
        /// `CLONE_NEWCGROUP`
        NEW_CGROUP = 0x0200_0000;
        /// `CLONE_NEWTIME`, since Linux 5.6; not for clone(2), whose flags hold the exit signal there.
        NEW_TIME = 0x80;
        /// `CLONE_PARENT`: the new process is a child of the caller's parent, which its end is told to.
        PARENT = 0x8000;
        /// `CLONE_FS`, for `unshare`: an own root, current directory and umask.
        FS = 0x200;
        /// `CLONE_FILES`, for `unshare`: an own table of descriptors.
        FILES = 0x400;
    }
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_THREAD: libc::c_int = 0x1_0000;

/// On which side of a clone the caller finds itself.
#[derive(Debug)]
pub enum Cloned {
    /// In the process that called.
    Parent {
        /// The new process, as the caller's pid namespace numbers it.
        pid: Pid,
        /// A descriptor of the new process, close-on-exec.
        pidfd: OwnedFd,
    },
    /// In the new process.
    Child,
}

/// Why a process may not be cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThreadsError {
    /// There are other threads.
    #[error("cannot clone a process with several threads")]
    Several,
    /// Neither the kernel nor `/proc` would say.
    #[error("cannot find out whether this process has several threads")]
    Unknown(#[source] Errno),
}

/// Makes sure that the calling process has one thread.
///
/// It asks by `unshare(CLONE_THREAD)`, which does nothing for a process with one thread and is
/// `EINVAL` otherwise (`unshare(2)`), and so needs no `/proc`; where a seccomp filter refuses
/// that, `/proc/self/task` is counted.
pub fn assert_single_threaded() -> std::result::Result<(), ThreadsError> {
    // SAFETY: CLONE_THREAD alone changes nothing (see above); no memory is involved.
    match check(unsafe { libc::unshare(CLONE_THREAD) }) {
        Ok(_) => Ok(()),
        Err(Errno::EINVAL) => Err(ThreadsError::Several),
        Err(refused) => match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
            Ok(1) => Ok(()),
            Ok(_) => Err(ThreadsError::Several),
            Err(_) => Err(ThreadsError::Unknown(refused)),
        },
    }
}

/// `clone3(2)`, since Linux 5.3: a process in new namespaces, forked from the calling thread.
///
/// With `cgroup` (a descriptor of a cgroup v2 directory, since 5.7) the new process begins there.
/// The exit signal is `SIGCHLD`, with [`CloneFlags::PARENT`] the caller's. Where a filter answers `ENOSYS` to `clone3`, as container
/// runtimes do, `clone(2)` is taken instead; it can do neither `cgroup` nor
/// [`CloneFlags::NEW_TIME`], and then the `ENOSYS` stays.
pub fn clone3(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let mut args =
        CloneArgs { flags: flags.bits(), exit_signal: exit_signal(flags), ..CloneArgs::default() };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    }
    match clone_with(&args) {
        Err(Errno::ENOSYS) if cgroup.is_none() && !flags.contains(CloneFlags::NEW_TIME) => {
            clone_old(flags)
        }
        other => other,
    }
}

/// The call, with a pidfd; `set_tid` is null, or points to one live integer.
fn clone_with(args: &CloneArgs) -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let args =
        CloneArgs { flags: args.flags | CLONE_PIDFD, pidfd: (&raw mut pidfd) as u64, ..*args };
    // SAFETY: `args` is the kernel's structure with its size, and what it points to is alive: `pidfd`, which
    // the kernel writes in the parent, and what the caller vouches for; without CLONE_VM and with no stack
    // the child has a copy of this memory and returns here, as from fork.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    check(ret).map(|pid| cloned(pid, pidfd))
}

/// A fork of the calling process with a pidfd and no new namespace.
pub fn fork() -> Result<Cloned> {
    clone3(CloneFlags::empty(), None)
}

/// As [`fork`], with that number in the innermost pid namespace where it can be had: since Linux 5.5, with
/// `CAP_SYS_ADMIN` over that namespace, when nobody has it.
pub fn fork_as(pid: Pid) -> Result<Cloned> {
    let number = pid.as_raw_nonzero().get();
    let set_tid = (&raw const number) as u64;
    let exit_signal = exit_signal(CloneFlags::empty());
    match clone_with(&CloneArgs { set_tid, set_tid_size: 1, exit_signal, ..CloneArgs::default() }) {
        Err(Errno::EPERM | Errno::EEXIST | Errno::EINVAL | Errno::E2BIG | Errno::ENOSYS) => fork(),
        other => other,
    }
}

/// `unshare(2)`: moves the calling process into new namespaces (the children only, for pid).
///
/// `CLONE_NEWUSER` is `EINVAL` in a process with several threads.
pub fn unshare(flags: CloneFlags) -> Result<()> {
    let flags = libc::c_int::try_from(flags.bits()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: no memory is involved. With CLONE_FILES this process gets a copy of its table:
    // every descriptor it owns stays its own.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// `setns(2)`: enters the namespaces of the process behind a pidfd (since Linux 5.8), or the one
/// behind a descriptor of `/proc/PID/ns/NAME`.
pub fn setns(target: impl AsFd, flags: CloneFlags) -> Result<()> {
    let flags = libc::c_int::try_from(flags.bits()).map_err(|_| Errno::EINVAL)?;
    let target = target.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the length of the call; no memory is involved.
    check(unsafe { libc::setns(target, flags) }).map(drop)
}

/// `struct clone_args` of `linux/sched.h`, in its third version (88 bytes, Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// With `CLONE_PARENT` it is the caller's own, and clone3(2) takes no other (`EINVAL`).
fn exit_signal(flags: CloneFlags) -> u64 {
    if flags.contains(CloneFlags::PARENT) { 0 } else { libc::SIGCHLD as u64 }
}

/// `clone(2)`: flags and exit signal in one word, the pidfd where the parent's tid would go.
///
/// The order of the last two arguments differs between architectures; both are unused here.
fn clone_old(flags: CloneFlags) -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let word = flags.bits() | CLONE_PIDFD | exit_signal(flags);
    // SAFETY: `pidfd` points to a live integer; with a null stack and without CLONE_VM the child
    // has a copy of this memory and returns here, as from fork.
    let ret =
        unsafe { libc::syscall(libc::SYS_clone, word, 0usize, &raw mut pidfd, 0usize, 0usize) };
    check(ret).map(|pid| cloned(pid, pidfd))
}

fn cloned(pid: libc::c_long, pidfd: libc::c_int) -> Cloned {
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // SAFETY: the kernel made this descriptor for the caller, nobody else owns it.
        Some(pid) => Cloned::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } },
        None => Cloned::Child,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pidfd::{self, Exit};
    use crate::sys::process;
    use crate::sys::testing::{alone, ordinary_user, without};
    use rustix::fs::{Mode, OFlags};

    fn exit_of(cloned: Cloned, child: impl FnOnce() -> u8) -> Exit {
        match cloned {
            Cloned::Parent { pidfd, .. } => pidfd::wait(&pidfd).unwrap(),
            Cloned::Child => process::exit_now(child()),
        }
    }

    #[test]
    fn a_process_with_threads_is_told_from_one_without() {
        let (tx, rx) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || rx.recv().is_err());
        assert_eq!(assert_single_threaded(), Err(ThreadsError::Several));
        drop(tx);
        assert!(other.join().unwrap());
        alone(module_path!(), "a_process_with_threads_is_told_from_one_without", || {
            assert_eq!(assert_single_threaded(), Ok(()));
        });
    }

    #[test]
    fn a_fork_returns_its_exit_code() {
        alone(module_path!(), "a_fork_returns_its_exit_code", || {
            assert_eq!(exit_of(fork().unwrap(), || 7), Exit::Code(7));
            without(libc::SYS_clone3);
            assert_eq!(exit_of(fork().unwrap(), || 8), Exit::Code(8));
            let own = rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap();
            assert_eq!(clone3(CloneFlags::empty(), Some(own.as_fd())).unwrap_err(), Errno::ENOSYS);
        });
    }

    #[test]
    fn a_clone_with_every_namespace_is_pid_1_as_an_ordinary_user() {
        alone(module_path!(), "a_clone_with_every_namespace_is_pid_1_as_an_ordinary_user", || {
            ordinary_user();
            let all = CloneFlags::NEW_USER
                | CloneFlags::NEW_PID
                | CloneFlags::NEW_MOUNT
                | CloneFlags::NEW_NET
                | CloneFlags::NEW_IPC
                | CloneFlags::NEW_UTS
                | CloneFlags::NEW_CGROUP;
            let pid = || u8::try_from(rustix::process::getpid().as_raw_nonzero().get()).unwrap();
            assert_eq!(exit_of(clone3(all, None).unwrap(), pid), Exit::Code(1));
            without(libc::SYS_clone3);
            assert_eq!(exit_of(clone3(all, None).unwrap(), pid), Exit::Code(1));
        });
    }

    #[test]
    fn flags_print_their_names() {
        let flags = CloneFlags::NEW_USER | CloneFlags::NEW_PID;
        assert_eq!(format!("{flags:?}"), "{NEW_USER, NEW_PID}");
    }
}
