//! Processes by descriptor: `pidfd_open(2)`, `pidfd_send_signal(2)`, `pidfd_getfd(2)`, `waitid(2)`.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags};

use super::errno::{Errno, Result, check};
use super::event::Poller;
use super::signal::SignalNumber;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called exit.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Which.
        number: SignalNumber,
        /// Whether a core was dumped.
        core: bool,
    },
}

/// What a child did that `waitid` tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It ended, and is reaped by the call that says so.
    Ended(Exit),
    /// It was stopped by this signal.
    Stopped(SignalNumber),
    /// It goes on after a stop.
    Continued,
}

/// Which changes [`wait_any`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// Ends only.
    Ended,
    /// Ends, stops and continuations.
    All,
}

/// `pidfd_open(2)`, since Linux 5.3: a descriptor of the process, readable once it ended.
pub fn open(pid: Pid) -> Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// `pidfd_send_signal(2)`, since Linux 5.1; `ESRCH` when the process has been reaped.
pub fn send_signal(pidfd: impl AsFd, signal: SignalNumber) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open; a null siginfo asks for that of kill(2); flags are 0.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.raw(), info, 0) })
        .map(drop)
}

/// The same with a value, as `sigqueue(3)` sends one: `si_code` is `SI_QUEUE`.
pub fn queue_signal(pidfd: impl AsFd, signal: SignalNumber, value: i32) -> Result<()> {
    /// `siginfo_t` of a queued signal, which libc shows no more of than its first three fields.
    #[repr(C)]
    struct Queued {
        signal: i32,
        errno: i32,
        code: i32,
        padding: i32,
        pid: i32,
        uid: u32,
        value: [i32; 2],
        rest: [i32; 24],
    }
    const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());
    let info = Queued {
        signal: signal.raw(),
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        uid: rustix::process::getuid().as_raw(),
        value: [value, 0],
        rest: [0; 24],
    };
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open; `info` has the size and the layout of the kernel's structure on 64-bit
    // machines, and is only read; flags are 0.
    check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.raw(), &raw const info, 0)
    })
    .map(drop)
}

/// `pidfd_getfd(2)`, since Linux 5.6: a copy of the descriptor with number `target` there.
///
/// Wants the right to ptrace that process. The number is of the other process' table, which is
/// why it is an integer.
pub fn get_fd(pidfd: impl AsFd, target: i32) -> Result<OwnedFd> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open and no memory is involved.
    let copy = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, fd, target, 0) })?;
    let copy = i32::try_from(copy).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel made this descriptor for the caller, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// `waitid(2)` with `P_PIDFD`, since Linux 5.4: waits until the child ended, and reaps it.
pub fn wait(pidfd: impl AsFd) -> Result<Exit> {
    loop {
        match waitid(libc::P_PIDFD, pidfd_id(&pidfd)?, libc::WEXITED) {
            Ok(Some((_, Change::Ended(exit)))) => return Ok(exit),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The same for a child by its number, which nobody else may reap meanwhile.
pub fn wait_child(pid: Pid) -> Result<Exit> {
    loop {
        let id = libc::id_t::try_from(pid.as_raw_nonzero().get()).map_err(|_| Errno::ESRCH)?;
        match waitid(libc::P_PID, id, libc::WEXITED) {
            Ok(Some((_, Change::Ended(exit)))) => return Ok(exit),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether the process has ended, or does so within that time.
pub fn has_ended(pidfd: impl AsFd, within: Duration) -> Result<bool> {
    let mut poller = Poller::new();
    poller.readable((), pidfd.as_fd());
    Ok(!poller.wait(Some(within))?.is_empty())
}

/// `SIGKILL`; no error when the process has ended by itself.
pub fn kill(pidfd: impl AsFd) -> Result<()> {
    match send_signal(pidfd, SignalNumber::KILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Kills a child and reaps it; `ETIMEDOUT` when it has not died after that time.
pub fn kill_and_reap(pidfd: impl AsFd, within: Duration) -> Result<()> {
    kill(&pidfd)?;
    if !has_ended(&pidfd, within)? {
        return Err(Errno::ETIMEDOUT);
    }
    wait(pidfd).map(drop)
}

/// As [`wait`], but `None` when the child has not ended.
pub fn try_wait(pidfd: impl AsFd) -> Result<Option<Exit>> {
    match waitid(libc::P_PIDFD, pidfd_id(&pidfd)?, libc::WEXITED | libc::WNOHANG)? {
        Some((_, Change::Ended(exit))) => Ok(Some(exit)),
        _ => Ok(None),
    }
}

/// `waitid(2)` with `P_ALL` and `WNOHANG`: the next change of any child; `None` when there is none
/// now, `ECHILD` when there is no child at all.
pub fn wait_any(changes: Changes) -> Result<Option<(Pid, Change)>> {
    let options = match changes {
        Changes::Ended => libc::WEXITED,
        Changes::All => libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED,
    };
    waitid(libc::P_ALL, 0, options | libc::WNOHANG)
}

fn pidfd_id(pidfd: impl AsFd) -> Result<libc::id_t> {
    libc::id_t::try_from(pidfd.as_fd().as_raw_fd()).map_err(|_| Errno::EBADF)
}

fn waitid(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> Result<Option<(Pid, Change)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is room for one siginfo_t.
    check(unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) })?;
    // SAFETY: zeroed before, and all-zero is a valid siginfo_t.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills in the child fields, or leaves all zero when it found nothing.
    let Some(pid) = Pid::from_raw(unsafe { info.si_pid() }) else { return Ok(None) };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let signal = || SignalNumber::new(status).ok_or(Errno::EINVAL);
    let change = match info.si_code {
        // Exit codes have eight bits.
        libc::CLD_EXITED => Change::Ended(Exit::Code(u8::try_from(status & 0xff).unwrap_or(0xff))),
        libc::CLD_KILLED => Change::Ended(Exit::Signal { number: signal()?, core: false }),
        libc::CLD_DUMPED => Change::Ended(Exit::Signal { number: signal()?, core: true }),
        libc::CLD_STOPPED | libc::CLD_TRAPPED => Change::Stopped(signal()?),
        libc::CLD_CONTINUED => Change::Continued,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Some((pid, change)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{Cloned, fork};
    use crate::sys::process;
    use crate::sys::testing::alone;

    /// A child that waits to be killed.
    fn sleeper() -> (Pid, OwnedFd) {
        match fork().unwrap() {
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
            Cloned::Child => loop {
                rustix::event::pause();
            },
        }
    }

    fn next(changes: Changes) -> (Pid, Change) {
        for _ in 0..1000 {
            if let Some(change) = wait_any(changes).unwrap() {
                return change;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        unreachable!("no child changed within five seconds")
    }

    #[test]
    fn every_way_to_end_is_told_apart() {
        alone(module_path!(), "every_way_to_end_is_told_apart", || {
            for code in [0, 1, 255] {
                let Cloned::Parent { pidfd, .. } = fork().unwrap() else { process::exit_now(code) };
                assert_eq!(wait(&pidfd), Ok(Exit::Code(code)));
            }
            let (_, pidfd) = sleeper();
            assert_eq!(try_wait(&pidfd), Ok(None));
            send_signal(&pidfd, SignalNumber::TERM).unwrap();
            let exit = Exit::Signal { number: SignalNumber::TERM, core: false };
            assert_eq!(wait(&pidfd), Ok(exit));
            assert_eq!(send_signal(&pidfd, SignalNumber::TERM), Err(Errno::ESRCH));
            assert_eq!(wait_any(Changes::All), Err(Errno::ECHILD));
        });
    }

    #[test]
    fn stops_and_continuations_are_told() {
        alone(module_path!(), "stops_and_continuations_are_told", || {
            let (pid, pidfd) = sleeper();
            assert_eq!(wait_any(Changes::All), Ok(None));
            send_signal(&pidfd, SignalNumber::STOP).unwrap();
            assert_eq!(next(Changes::All), (pid, Change::Stopped(SignalNumber::STOP)));
            send_signal(&pidfd, SignalNumber::CONT).unwrap();
            assert_eq!(next(Changes::All), (pid, Change::Continued));
            send_signal(&pidfd, SignalNumber::KILL).unwrap();
            let exit = Exit::Signal { number: SignalNumber::KILL, core: false };
            assert_eq!(next(Changes::Ended), (pid, Change::Ended(exit)));
        });
    }

    #[test]
    fn a_descriptor_of_a_child_can_be_taken() {
        alone(module_path!(), "a_descriptor_of_a_child_can_be_taken", || {
            let (read, write) = rustix::pipe::pipe().unwrap();
            let (_, pidfd) = sleeper();
            drop(write);
            let number = write_number(&read);
            let copy = get_fd(&pidfd, number).unwrap();
            rustix::io::write(&copy, b"x").unwrap();
            assert_eq!(rustix::io::read(&read, &mut [0; 4]), Ok(1));
            send_signal(&pidfd, SignalNumber::KILL).unwrap();
            wait(&pidfd).unwrap();
        });
    }

    /// pipe(2) takes the two lowest free numbers, one after the other.
    fn write_number(read: &OwnedFd) -> i32 {
        read.as_raw_fd() + 1
    }

    #[test]
    fn a_process_can_be_opened_by_its_number() {
        let own = open(rustix::process::getpid()).unwrap();
        assert_eq!(try_wait(own), Err(Errno::ECHILD));
    }
}
