//! Signals: numbers and names, blocking, `signalfd(2)`, and a clean slate for the payload.

use std::fmt;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::str::FromStr;

use rustix::process::Pid;

use super::errno::{Errno, Result, check};

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalNumber(i32);

/// Not a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the signal, expected a name such as `TERM` or a number from 1 to 64")]
pub struct SignalNumberError;

const LAST: i32 = 64;

macro_rules! signals {
    ($($name:ident = $raw:ident;)*) => {
        impl SignalNumber {
            $(#[doc = concat!("`", stringify!($raw), "`")] pub const $name: Self = Self(libc::$raw);)*
        }

        const NAMES: &[(&str, i32)] = &[$((stringify!($name), libc::$raw)),*];
    };
}

signals! {
    HUP = SIGHUP; INT = SIGINT; QUIT = SIGQUIT; ILL = SIGILL; TRAP = SIGTRAP; ABRT = SIGABRT;
    BUS = SIGBUS; FPE = SIGFPE; KILL = SIGKILL; USR1 = SIGUSR1; SEGV = SIGSEGV; USR2 = SIGUSR2;
    PIPE = SIGPIPE; ALRM = SIGALRM; TERM = SIGTERM; STKFLT = SIGSTKFLT; CHLD = SIGCHLD;
    CONT = SIGCONT; STOP = SIGSTOP; TSTP = SIGTSTP; TTIN = SIGTTIN; TTOU = SIGTTOU; URG = SIGURG;
    XCPU = SIGXCPU; XFSZ = SIGXFSZ; VTALRM = SIGVTALRM; PROF = SIGPROF; WINCH = SIGWINCH;
    IO = SIGIO; PWR = SIGPWR; SYS = SIGSYS;
}

impl SignalNumber {
    /// The last real-time signal.
    pub const RTMAX: Self = Self(LAST);

    /// The signal with this number, if there is one.
    pub const fn new(raw: i32) -> Option<Self> {
        if raw >= 1 && raw <= LAST { Some(Self(raw)) } else { None }
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Every signal, from 1 to 64.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=LAST).map(Self)
    }
}

impl fmt::Display for SignalNumber {
    /// `SIGTERM`; `signal 35` for a real-time signal, whose names libraries disagree on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, raw)| *raw == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for SignalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SignalNumber {
    type Err = SignalNumberError;

    /// `TERM`, `SIGTERM`, `sigterm`, `15`.
    fn from_str(text: &str) -> std::result::Result<Self, SignalNumberError> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return text.parse().ok().and_then(Self::new).ok_or(SignalNumberError);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, raw)| Self(*raw)).ok_or(SignalNumberError)
    }
}

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// The set of these.
    pub fn of(signals: &[SignalNumber]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set it points to, and cannot fail.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialised just above.
        let mut set = unsafe { set.assume_init() };
        for signal in signals {
            // SAFETY: an initialised set; a number that is none is refused and changes nothing.
            unsafe { libc::sigaddset(&raw mut set, signal.0) };
        }
        Self(set)
    }

    /// The set of all.
    pub fn full() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set it points to, and cannot fail.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: initialised just above.
        Self(unsafe { set.assume_init() })
    }

    /// Whether it holds this one.
    pub fn contains(&self, signal: SignalNumber) -> bool {
        // SAFETY: an initialised set.
        unsafe { libc::sigismember(&raw const self.0, signal.0) == 1 }
    }

    /// Blocks these signals, besides what is blocked already, in the calling thread; returns what
    /// was blocked before.
    pub fn block(&self) -> Result<Self> {
        self.set_mask(libc::SIG_BLOCK)
    }

    /// Blocks exactly these signals in the calling thread; returns what was blocked before.
    pub fn replace_mask(&self) -> Result<Self> {
        self.set_mask(libc::SIG_SETMASK)
    }

    fn set_mask(&self, how: libc::c_int) -> Result<Self> {
        let mut old = Self::of(&[]);
        // SAFETY: both sets are initialised. The call returns the error and leaves errno alone.
        match unsafe { libc::pthread_sigmask(how, &raw const self.0, &raw mut old.0) } {
            0 => Ok(old),
            errno => Err(Errno::from_raw(errno)),
        }
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(SignalNumber::all().filter(|one| self.contains(*one))).finish()
    }
}

/// One signal, as a [`SignalFd`] tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: SignalNumber,
    /// Who sent it; `None` for the kernel, or for a sender outside this pid namespace.
    pub pid: Option<Pid>,
    /// The real uid of the sender.
    pub uid: u32,
    /// `si_code`: for `SIGCHLD` one of `CLD_*`, else where the signal came from.
    pub code: i32,
    /// For `SIGCHLD`, the exit code or signal of the child.
    pub status: i32,
    /// For one that was queued, its value.
    pub value: i32,
}

/// `signalfd(2)`: the signals of a set as something to read, non-blocking and close-on-exec.
///
/// Only blocked signals arrive; several of one kind may arrive as one.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    /// Blocks the signals of the set and opens a descriptor for them.
    pub fn new(set: &SignalSet) -> Result<Self> {
        set.block()?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: an initialised set; -1 asks for a new descriptor.
        let raw = unsafe { libc::signalfd(-1, &raw const set.0, flags) };
        check(raw)?;
        // SAFETY: the kernel made this descriptor for the caller, nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(raw) } })
    }

    /// The next signal, `None` when there is none now.
    pub fn read(&self) -> Result<Option<Received>> {
        let mut bytes = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.fd, &mut bytes) {
            Ok(length) if length == bytes.len() => {}
            Ok(_) => return Err(Errno::EIO),
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        // SAFETY: the bytes are a whole signalfd_siginfo, which is plain integers; the array need
        // not be aligned for it, hence the unaligned read.
        let info = unsafe { bytes.as_ptr().cast::<libc::signalfd_siginfo>().read_unaligned() };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(SignalNumber::new);
        Ok(Some(Received {
            signal: signal.ok_or(Errno::EIO)?,
            pid: i32::try_from(info.ssi_pid).ok().and_then(Pid::from_raw),
            uid: info.ssi_uid,
            code: info.ssi_code,
            status: info.ssi_status,
            value: info.ssi_int,
        }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sets every signal to its default and unblocks all: what a fresh program expects.
///
/// Exec resets handlers but keeps what is ignored and blocked; Rust programs ignore `SIGPIPE`.
/// The bare system call is used because glibc keeps two signals to itself (32 and 33) and refuses
/// to change them.
pub fn reset_all() -> Result<()> {
    for signal in SignalNumber::all() {
        if signal != SignalNumber::KILL && signal != SignalNumber::STOP {
            set_disposition(signal, libc::SIG_DFL)?;
        }
    }
    SignalSet::of(&[]).replace_mask().map(drop)
}

/// Ignores a signal.
pub fn ignore(signal: SignalNumber) -> Result<()> {
    set_disposition(signal, libc::SIG_IGN)
}

/// Whether a signal is ignored, which a program may be from its start (`nohup(1)`).
pub fn is_ignored(signal: SignalNumber) -> Result<bool> {
    let mut now = KernelSigaction { handler: libc::SIG_DFL, rest: [0; 3] };
    let new = std::ptr::null::<KernelSigaction>();
    // SAFETY: nothing is changed; `now` is room for the kernel's structure, with a set of eight bytes.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal.0, new, &raw mut now, SIGSET_BYTES)
    })?;
    Ok(now.handler == libc::SIG_IGN)
}

/// Bytes of the kernel's signal sets.
const SIGSET_BYTES: usize = 8;

/// `struct sigaction` as the kernel has it, on x86-64 and arm64: with no handler, flags or mask,
/// only the first word is not zero, so the order of the others does not matter.
#[repr(C)]
struct KernelSigaction {
    handler: libc::sighandler_t,
    rest: [u64; 3],
}

/// `handler` is `SIG_DFL` or `SIG_IGN`.
fn set_disposition(signal: SignalNumber, handler: libc::sighandler_t) -> Result<()> {
    let action = KernelSigaction { handler, rest: [0; 3] };
    let old = std::ptr::null_mut::<KernelSigaction>();
    // SAFETY: `action` is the kernel's structure, with a set of eight bytes; no old action is
    // asked for; no handler of ours is installed.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal.0, &raw const action, old, SIGSET_BYTES)
    })
    .map(drop)
}

/// `kill(2)` of one process. Numbers are reused: a pidfd is better where there is one.
pub fn kill(pid: Pid, signal: SignalNumber) -> Result<()> {
    send(pid.as_raw_nonzero().get(), signal)
}

/// `kill(2)` of a process group.
pub fn kill_group(group: Pid, signal: SignalNumber) -> Result<()> {
    send(-group.as_raw_nonzero().get(), signal)
}

/// Sends a signal to the calling process; for `SIGSTOP` it returns once it was continued.
pub fn raise(signal: SignalNumber) -> Result<()> {
    kill(rustix::process::getpid(), signal)
}

fn send(target: i32, signal: SignalNumber) -> Result<()> {
    // SAFETY: kill takes two integers.
    check(unsafe { libc::kill(target, signal.0) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{Cloned, fork};
    use crate::sys::pidfd::{self, Exit};
    use crate::sys::process;
    use crate::sys::testing::alone;

    #[test]
    fn names_and_numbers_name_the_same_signal() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(text.parse(), Ok(SignalNumber::TERM));
        }
        for text in ["", "0", "65", "-1", "SIG", "SIGSIGTERM", "15x", "99999999999"] {
            assert_eq!(text.parse::<SignalNumber>(), Err(SignalNumberError), "{text}");
        }
        assert_eq!(SignalNumber::TERM.to_string(), "SIGTERM");
        assert_eq!(SignalNumber::new(35).unwrap().to_string(), "signal 35");
    }

    #[test]
    fn a_blocked_signal_arrives_by_descriptor_with_its_sender() {
        alone(module_path!(), "a_blocked_signal_arrives_by_descriptor_with_its_sender", || {
            let set = SignalSet::of(&[SignalNumber::USR1, SignalNumber::CHLD]);
            let fd = SignalFd::new(&set).unwrap();
            assert_eq!(fd.read(), Ok(None));
            raise(SignalNumber::USR1).unwrap();
            let got = fd.read().unwrap().unwrap();
            assert_eq!(got.signal, SignalNumber::USR1);
            assert_eq!(got.pid, Some(rustix::process::getpid()));
            let Cloned::Parent { pid, pidfd } = fork().unwrap() else { process::exit_now(3) };
            pidfd::wait(pidfd).unwrap();
            let got = fd.read().unwrap().unwrap();
            assert_eq!((got.signal, got.pid), (SignalNumber::CHLD, Some(pid)));
            assert_eq!((got.code, got.status), (libc::CLD_EXITED, 3));
        });
    }

    #[test]
    fn a_reset_undoes_what_is_ignored_and_blocked() {
        alone(module_path!(), "a_reset_undoes_what_is_ignored_and_blocked", || {
            for prepare in [|| ignore(SignalNumber::PIPE), || SignalSet::full().block().map(drop)] {
                let run = |reset: bool| {
                    let Cloned::Parent { pidfd, .. } = fork().unwrap() else {
                        prepare().unwrap();
                        if reset {
                            reset_all().unwrap();
                        }
                        raise(SignalNumber::PIPE).unwrap();
                        process::exit_now(0);
                    };
                    pidfd::wait(pidfd).unwrap()
                };
                assert_eq!(run(false), Exit::Code(0));
                let killed = Exit::Signal { number: SignalNumber::PIPE, core: false };
                assert_eq!(run(true), killed);
            }
        });
    }

    #[test]
    fn what_is_ignored_is_told() {
        alone(module_path!(), "what_is_ignored_is_told", || {
            assert_eq!(is_ignored(SignalNumber::HUP), Ok(false));
            ignore(SignalNumber::HUP).unwrap();
            assert_eq!(is_ignored(SignalNumber::HUP), Ok(true));
        });
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = SignalSet::of(&[SignalNumber::INT]);
        assert!(set.contains(SignalNumber::INT) && !set.contains(SignalNumber::TERM));
        assert!(SignalSet::full().contains(SignalNumber::TERM));
        assert_eq!(format!("{set:?}"), "{SIGINT}");
    }
}
