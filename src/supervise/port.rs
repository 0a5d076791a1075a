//! One end of what the supervisor relays: how to read or write it without ever waiting.
//!
//! # Theory of operation
//! The loop must go on whatever another process does, so nothing here waits. Our own ends of pipes
//! and ptys are non-blocking. The caller's descriptors are shared with other programs, which
//! would see it if `O_NONBLOCK` were set on them: a terminal is opened once more instead, a socket is
//! asked for each call, and to a pipe no more is written than a poll promised room for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{RecvFlags, SendFlags};

use crate::sys::errno::{Errno, Result};

/// `PIPE_BUF`: a pipe that polls as writable takes this much at once.
const PIPE_ROOM: usize = 4096;

/// A terminal that could not be opened again may take less than this and then wait: small.
const TERMINAL_ROOM: usize = 256;

/// How not to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// The descriptor is non-blocking.
    NonBlocking,
    /// Never waits, or only for as much as this.
    AtMost(usize),
    /// Per call.
    Socket,
}

#[derive(Debug)]
enum Holder {
    Caller(BorrowedFd<'static>),
    Ours(Rc<OwnedFd>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Port {
    holder: Holder,
    method: Method,
    terminal: bool,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes.
    Bytes(usize),
    /// None now.
    Nothing,
    /// There will be no more.
    End,
}

/// The caller's descriptor with this number, 0 to 2.
pub(super) fn of_caller(number: u8) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

impl Port {
    /// One of the caller's.
    pub(super) fn caller(number: u8) -> Result<Self> {
        let fd = of_caller(number);
        let mode = rustix::fs::fstat(fd)?.st_mode;
        let terminal = rustix::termios::isatty(fd);
        if let Some(again) = terminal.then(|| open_again(number)).flatten() {
            let holder = Holder::Ours(Rc::new(again));
            return Ok(Self { holder, method: Method::NonBlocking, terminal });
        }
        let method = match FileType::from_raw_mode(mode) {
            FileType::Socket => Method::Socket,
            FileType::RegularFile => Method::AtMost(usize::MAX),
            _ if terminal => Method::AtMost(TERMINAL_ROOM),
            _ => Method::AtMost(PIPE_ROOM),
        };
        Ok(Self { holder: Holder::Caller(fd), method, terminal })
    }

    /// One of ours, which becomes non-blocking.
    pub(super) fn ours(fd: Rc<OwnedFd>) -> Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { holder: Holder::Ours(fd), method: Method::NonBlocking, terminal: false })
    }

    /// Whether it is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Reads what is there.
    pub(super) fn read(&self, bytes: &mut [u8]) -> Result<Got> {
        let got = match self.method {
            Method::Socket => {
                rustix::net::recv(self, &mut *bytes, RecvFlags::DONTWAIT).map(|(length, _)| length)
            }
            Method::NonBlocking | Method::AtMost(_) => rustix::io::read(self, bytes),
        };
        match got {
            Ok(0) => Ok(Got::End),
            Ok(length) => Ok(Got::Bytes(length)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Got::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes what fits, which may be nothing.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize> {
        let written = match self.method {
            Method::Socket => {
                rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            Method::NonBlocking => rustix::io::write(self, bytes),
            Method::AtMost(room) => {
                rustix::io::write(self, bytes.get(..room.min(bytes.len())).unwrap_or(bytes))
            }
        };
        match written {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(0),
            other => other.map_err(Errno::from),
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.holder {
            Holder::Caller(fd) => *fd,
            Holder::Ours(fd) => fd.as_fd(),
        }
    }
}

/// Opens the terminal at one of the caller's descriptors once more, for non-blocking use by us alone.
///
/// By its descriptor, which fails when the terminal belongs to somebody else, as after `su`; then by
/// `/dev/tty`, if it is our controlling terminal.
fn open_again(number: u8) -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let by_descriptor = format!("/proc/self/fd/{number}");
    let opened = rustix::fs::open(by_descriptor, flags, Mode::empty()).ok();
    let controlling =
        || rustix::termios::tcgetsid(of_caller(number)).ok() == rustix::process::getsid(None).ok();
    opened.filter(|fd| rustix::termios::isatty(fd)).or_else(|| {
        controlling().then(|| rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()).flatten()
    })
}

/// Sets `O_NONBLOCK`.
pub(super) fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}
