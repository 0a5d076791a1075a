//! Pseudoterminals and the modes of terminals.
//!
//! # Not here
//! `rustix::termios` has window sizes (`tcgetwinsize`, `tcsetwinsize`), `tcflush`, `tcsetpgrp`,
//! `isatty`; `rustix::process::ioctl_tiocsctty` makes a terminal the controlling one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, Winsize};

use super::errno::Result;

/// The master side of a pseudoterminal; close-on-exec, and never the controlling terminal.
#[derive(Debug)]
pub struct Master {
    fd: OwnedFd,
}

impl Master {
    /// Opens a pseudoterminal of the host, by `/dev/ptmx`, and unlocks the slave.
    pub fn open_host() -> Result<Self> {
        Self::open_path(CWD, "/dev/ptmx")
    }

    /// Opens a pseudoterminal of the devpts that is mounted on this directory, and unlocks the
    /// slave.
    ///
    /// By the directory and not by `/dev/ptmx`, which means whichever devpts is on `/dev/pts`. The
    /// devpts must be mounted with `ptmxmode=0666`: without, as on most hosts, it is `EACCES`.
    pub fn open(devpts: impl AsFd) -> Result<Self> {
        Self::open_path(devpts, "ptmx")
    }

    fn open_path(dir: impl AsFd, path: &str) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, path, flags, Mode::empty())?;
        rustix::pty::unlockpt(&fd)?;
        Ok(Self { fd })
    }

    /// Takes a master that came from another process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens the slave by `TIOCGPTPEER`, since Linux 4.13, with no path involved.
    pub fn open_slave(&self) -> Result<OwnedFd> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        Ok(rustix::pty::ioctl_tiocgptpeer(&self.fd, flags)?)
    }
}

impl AsFd for Master {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Master> for OwnedFd {
    fn from(master: Master) -> Self {
        master.fd
    }
}

/// What a new terminal takes over from another: its size, and its modes if they are those of a
/// terminal that somebody types lines into. A program that edits lines itself, as a shell at its
/// prompt, has others for as long as it does.
#[derive(Debug, Clone)]
pub struct Likeness {
    size: Winsize,
    modes: Option<Termios>,
}

impl Likeness {
    /// Of this terminal; `ENOTTY` for anything else.
    pub fn of(terminal: impl AsFd) -> Result<Self> {
        let modes = rustix::termios::tcgetattr(&terminal)?;
        let typed_into = modes.local_modes.contains(LocalModes::ICANON);
        let size = rustix::termios::tcgetwinsize(terminal)?;
        Ok(Self { size, modes: typed_into.then_some(modes) })
    }

    /// Gives it to another terminal.
    pub fn give(&self, terminal: impl AsFd) -> Result<()> {
        rustix::termios::tcsetwinsize(&terminal, self.size)?;
        match &self.modes {
            Some(modes) => Ok(rustix::termios::tcsetattr(terminal, OptionalActions::Now, modes)?),
            None => Ok(()),
        }
    }
}

/// The modes a terminal had, to be given back to it.
#[derive(Debug, Clone)]
pub struct SavedModes {
    modes: Termios,
}

/// Reads the modes of a terminal; `ENOTTY` for anything else.
pub fn save_modes(terminal: impl AsFd) -> Result<SavedModes> {
    Ok(SavedModes { modes: rustix::termios::tcgetattr(terminal)? })
}

/// Puts a terminal into raw mode: every byte passes as it is, no echo, no signals from keys.
///
/// What was written before is sent first. From a background process group it stops the caller
/// with `SIGTTOU`.
pub fn set_raw(terminal: impl AsFd, saved: &SavedModes) -> Result<()> {
    let mut modes = saved.modes.clone();
    modes.make_raw();
    Ok(rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &modes)?)
}

/// Gives a terminal back the modes that were saved.
pub fn restore_modes(terminal: impl AsFd, saved: &SavedModes) -> Result<()> {
    Ok(rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &saved.modes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::CloneFlags;
    use crate::sys::mount::{FsContext, MountAttr};
    use crate::sys::pidfd::Exit;
    use crate::sys::testing::{alone, mapped, ordinary_user};

    #[test]
    fn a_devpts_of_ones_own_gives_terminals_as_an_ordinary_user() {
        alone(module_path!(), "a_devpts_of_ones_own_gives_terminals_as_an_ordinary_user", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_MOUNT, 1000, || {
                let context = FsContext::open("devpts").unwrap();
                context.set_string("ptmxmode", "0666").unwrap();
                context.set_string("mode", "0620").unwrap();
                let devpts = context.mount(MountAttr::NOSUID | MountAttr::NOEXEC).unwrap();
                let master = Master::open(&devpts).unwrap();
                let slave = master.open_slave().unwrap();
                let listed = rustix::fs::statat(&devpts, "0", rustix::fs::AtFlags::empty());
                assert_eq!(listed.unwrap().st_ino, rustix::fs::fstat(slave).unwrap().st_ino);
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn what_the_slave_writes_the_master_reads() {
        let master = Master::open_host().unwrap();
        let slave = master.open_slave().unwrap();
        assert!(rustix::termios::isatty(&slave));
        let saved = save_modes(&slave).unwrap();
        set_raw(&slave, &saved).unwrap();
        rustix::io::write(&slave, b"out\n").unwrap();
        let mut bytes = [0; 16];
        let length = rustix::io::read(&master, &mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"out\n");
    }

    #[test]
    fn modes_come_back_after_raw() {
        let master = Master::open_host().unwrap();
        let slave = master.open_slave().unwrap();
        let echo = || rustix::termios::tcgetattr(&slave).unwrap().local_modes;
        let saved = save_modes(&slave).unwrap();
        assert!(echo().contains(LocalModes::ECHO | LocalModes::ISIG));
        set_raw(&slave, &saved).unwrap();
        assert!(!echo().intersects(LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON));
        restore_modes(&slave, &saved).unwrap();
        assert!(echo().contains(LocalModes::ECHO | LocalModes::ISIG));
        let pipe = rustix::pipe::pipe().unwrap().0;
        assert_eq!(save_modes(pipe).unwrap_err(), crate::sys::errno::Errno::ENOTTY);
    }

    #[test]
    fn a_likeness_is_size_and_modes_but_not_raw_ones() {
        let (one, other) = (Master::open_host().unwrap(), Master::open_host().unwrap());
        let (from, to) = (one.open_slave().unwrap(), other.open_slave().unwrap());
        let size = Winsize { ws_row: 33, ws_col: 44, ws_xpixel: 5, ws_ypixel: 6 };
        rustix::termios::tcsetwinsize(&from, size).unwrap();
        let saved = save_modes(&from).unwrap();
        set_raw(&from, &saved).unwrap();
        Likeness::of(&from).unwrap().give(&to).unwrap();
        let modes = || rustix::termios::tcgetattr(&to).unwrap();
        assert!(modes().local_modes.contains(LocalModes::ICANON));
        assert_eq!(rustix::termios::tcgetwinsize(&to).unwrap().ws_ypixel, 6);
        let mut typed = saved.modes;
        typed.special_codes[rustix::termios::SpecialCodeIndex::VERASE] = 8;
        rustix::termios::tcsetattr(&from, OptionalActions::Now, &typed).unwrap();
        Likeness::of(&from).unwrap().give(&to).unwrap();
        assert_eq!(modes().special_codes[rustix::termios::SpecialCodeIndex::VERASE], 8);
        let pipe = rustix::pipe::pipe().unwrap().0;
        assert_eq!(Likeness::of(pipe).unwrap_err(), crate::sys::errno::Errno::ENOTTY);
    }

    #[test]
    fn a_size_set_on_the_master_is_the_slaves() {
        let master = Master::open_host().unwrap();
        let slave = master.open_slave().unwrap();
        let size = Winsize { ws_row: 33, ws_col: 44, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).unwrap();
        let seen = rustix::termios::tcgetwinsize(&slave).unwrap();
        assert_eq!((seen.ws_row, seen.ws_col), (33, 44));
    }
}
