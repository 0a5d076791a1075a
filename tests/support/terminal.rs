//! A program on a terminal of its own, as a person would use it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize};

use super::Ended;
use super::invocation::{Invocation, Output, Running, wait_until};

/// A started program, and the side of the terminal where the person sits.
#[must_use]
pub(crate) struct Terminal {
    running: Running,
    /// Where the person types.
    near: File,
    /// What the program has; kept open, so that its settings can be looked at.
    far: File,
    screen: Output,
    seen: usize,
    patience: Duration,
}

impl Terminal {
    pub(super) fn start(invocation: Invocation) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap();
        let far = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
            .open(std::ffi::OsStr::from_bytes(name.as_bytes()))
            .unwrap();
        let near = File::from(near);
        set_size(&near, 24, 80);
        let patience = invocation.patience;
        let running = invocation.spawn(&["--tty"], |command| {
            for connect in [
                std::process::Command::stdin,
                std::process::Command::stdout,
                std::process::Command::stderr,
            ] {
                connect(command, Stdio::from(far.try_clone().unwrap()));
            }
        });
        let screen = Output::read(near.try_clone().unwrap());
        Self { running, near, far, screen, seen: 0, patience }
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// Types this, bytes as they are: `\r` is the Enter key, `\x03` is Ctrl-C.
    pub(crate) fn types(&mut self, keys: &str) -> &mut Self {
        self.near.write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Waits until this stands on the screen, after what an earlier call has waited for.
    #[track_caller]
    pub(crate) fn shows(&mut self, part: &str) -> &mut Self {
        let (screen, seen) = (self.screen.clone(), self.seen);
        let find = || screen.bytes()[seen..].windows(part.len()).position(|w| w == part.as_bytes());
        if wait_until(self.patience, || find().is_some()).is_err() {
            let text = String::from_utf8_lossy(&screen.bytes()).into_owned();
            panic!("the terminal does not show {part:?}; all of it:\n{text}");
        }
        self.seen += find().unwrap_or_default() + part.len();
        self
    }

    /// Waits until keys are for a job of the shell that was started, and no longer for the shell itself:
    /// `fg` says what it continues before it gives the terminal away, and a Ctrl-C between is the shell's.
    #[track_caller]
    pub(crate) fn gives_a_job_the_keys(&mut self) -> &mut Self {
        let shell = self.pid();
        let is_given = || tcgetpgrp(&self.near).is_ok_and(|foreground| foreground != shell);
        wait_until(self.patience, is_given)
            .unwrap_or_else(|()| panic!("the shell keeps the keys; all of it:\n{}", self.screen()));
        self
    }

    /// Everything that was ever written to the screen.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.bytes()).into_owned()
    }

    /// Resizes the window.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.near, rows, columns);
    }

    /// The settings of the caller's terminal now.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(&self.far).unwrap()
    }

    /// Waits for the end; what was on the screen is [`Ended::stdout`].
    #[track_caller]
    pub(crate) fn ends(self) -> Ended {
        let mut ended = self.running.ends();
        // With the last descriptor of the far side gone the reader comes to the end of what was written.
        drop(self.far);
        wait_until(self.patience, || self.screen.at_end())
            .unwrap_or_else(|()| panic!("{}: its terminal is still open elsewhere", ended.command));
        ended.stdout.clone_from(&self.screen.bytes());
        ended
    }
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}
