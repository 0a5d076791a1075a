//! A person at a terminal, with a shell that has job control.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetpgrp, tcsetwinsize};

use super::{Init, Setup, child, watched, write_all};
use crate::sys::event::Poller;
use crate::sys::pidfd::{self, Change, Changes};
use crate::sys::pty::Master;
use crate::sys::signal::{self, SignalFd, SignalNumber, SignalSet};
use crate::sys::socket;
use std::os::fd::AsFd as _;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where bryo is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Foreground,
    Background,
}

/// What the person sees and can do.
pub(super) struct Person {
    screen: Master,
    shell: OwnedFd,
    seen: Vec<u8>,
    pub(super) bryo: Pid,
    ended: String,
}

impl Person {
    /// Sits down, and starts bryo with this stand-in.
    pub(super) fn starts(place: Place, setup: Setup, init: impl FnOnce(Init)) -> Self {
        let screen = Master::open_host().unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&screen, size).unwrap();
        let terminal = screen.open_slave().unwrap();
        let (ours, theirs) = socket::pair().unwrap();
        let mut held = Some((screen, ours));
        child(|| {
            drop(held.take());
            shell(&terminal, &theirs, place, setup, init);
        });
        drop(terminal);
        let (screen, shell) = held.unwrap();
        let mut person = Self {
            screen,
            shell,
            seen: Vec::new(),
            bryo: rustix::process::getpid(),
            ended: String::new(),
        };
        let pid = person.hears("pid ");
        person.bryo = Pid::from_raw(pid.parse().unwrap()).unwrap();
        person
    }

    pub(super) fn types(&self, keys: &[u8]) {
        write_all(&self.screen, keys);
    }

    /// Waits until this stands on the screen; what was there since the last time.
    #[track_caller]
    pub(super) fn sees(&mut self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = find(&self.seen, wanted.as_bytes()) {
                let read: Vec<u8> = self.seen.drain(..at + wanted.len()).collect();
                return String::from_utf8_lossy(&read).into_owned();
            }
            assert!(
                self.looks(until),
                "no {wanted:?}, only {:?}",
                String::from_utf8_lossy(&self.seen)
            );
        }
    }

    fn looks(&mut self, until: Instant) -> bool {
        let mut poller = Poller::new();
        poller.readable((), self.screen.as_fd());
        let left = until.saturating_duration_since(Instant::now());
        if poller.wait(Some(left)).unwrap().is_empty() {
            return false;
        }
        let mut bytes = [0; 4096];
        match rustix::io::read(&self.screen, &mut bytes) {
            Ok(length) => self.seen.extend_from_slice(&bytes[..length]),
            Err(_) => return false,
        }
        true
    }

    /// Waits for what the shell says next, which begins like this; the rest.
    #[track_caller]
    pub(super) fn hears(&mut self, wanted: &str) -> String {
        let mut poller = Poller::new();
        poller.readable((), self.shell.as_fd());
        assert!(
            !poller.wait(Some(PATIENCE)).unwrap().is_empty(),
            "the shell does not say {wanted}"
        );
        let mut bytes = [0; 4096];
        let (length, _) = socket::receive(&self.shell, &mut bytes).unwrap();
        let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
        match said.strip_prefix(wanted) {
            Some(rest) => rest.to_owned(),
            None => panic!("the shell says {said:?}, not {wanted:?}"),
        }
    }

    /// `fg` and `bg`.
    pub(super) fn continues(&self, place: Place) {
        let order: &[u8] = if place == Place::Foreground { b"fg" } else { b"bg" };
        socket::send(&self.shell, order, &[]).unwrap();
    }

    /// `fg` of a job that runs: the shell gives it the terminal, and sends nothing.
    pub(super) fn brings_forward(&self) {
        socket::send(&self.shell, b"give", &[]).unwrap();
    }

    pub(super) fn resizes(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.screen, size).unwrap();
    }

    /// The modes of the terminal now: the master shows those of the other side.
    pub(super) fn modes(&self) -> Termios {
        tcgetattr(&self.screen).unwrap()
    }

    pub(super) fn is_raw(&self) -> bool {
        !self.modes().local_modes.contains(rustix::termios::LocalModes::ICANON)
    }

    /// Waits until the terminal is raw, or is not.
    #[track_caller]
    pub(super) fn waits_until_raw(&self, wanted: bool) {
        let until = Instant::now() + PATIENCE;
        while self.is_raw() != wanted {
            assert!(Instant::now() < until, "the terminal's mode stays as it is");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end; what the supervisor returned.
    #[track_caller]
    pub(super) fn ends(&mut self) -> String {
        self.ended = self.hears("result ");
        self.hears("ended 0");
        self.ended.clone()
    }

    /// What can still be read from the keyboard's side: nothing, after a flush.
    pub(super) fn leftover_keys(&self) -> usize {
        let slave = self.screen.open_slave().unwrap();
        usize::try_from(rustix::io::ioctl_fionread(slave).unwrap()).unwrap()
    }
}

fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    all.windows(part.len()).position(|window| window == part)
}

/// A shell with one job.
fn shell(terminal: &OwnedFd, test: &OwnedFd, place: Place, setup: Setup, init: impl FnOnce(Init)) {
    rustix::process::setsid().unwrap();
    rustix::process::ioctl_tiocsctty(terminal).unwrap();
    rustix::stdio::dup2_stdin(terminal).unwrap();
    rustix::stdio::dup2_stdout(terminal).unwrap();
    let own = rustix::process::getpid();
    let ignored = [SignalNumber::TTOU, SignalNumber::TTIN, SignalNumber::TSTP];
    for signal in ignored {
        signal::ignore(signal).unwrap();
    }
    let children = SignalFd::new(&SignalSet::of(&[SignalNumber::CHLD])).unwrap();
    let (go, wait) = socket::pair().unwrap();
    let (job, _pidfd) = child(|| run_job(&wait, test, setup, init));
    if !setup.orphaned {
        rustix::process::setpgid(Some(job), None).unwrap();
        let group = if place == Place::Foreground { job } else { own };
        tcsetpgrp(terminal, group).unwrap();
    }
    socket::send(test, format!("pid {}", job.as_raw_nonzero()).as_bytes(), &[]).unwrap();
    socket::send(&go, b"go", &[]).unwrap();
    loop {
        let mut poller = Poller::new();
        poller.readable(true, test.as_fd()).readable(false, children.as_fd());
        for (from_test, _) in poller.wait(None).unwrap() {
            let over = if from_test {
                !obey(terminal, test, job)
            } else {
                tell(&children, test, own, terminal)
            };
            if over {
                return;
            }
        }
    }
}

/// Watches over the stand-in, and sends what came of it.
fn run_job(go: &OwnedFd, test: &OwnedFd, setup: Setup, init: impl FnOnce(Init)) {
    if !setup.orphaned {
        rustix::process::setpgid(None, None).unwrap();
    }
    socket::receive(go, &mut [0; 8]).unwrap();
    signal::reset_all().unwrap();
    let stderr = rustix::io::dup(rustix::stdio::stderr()).unwrap();
    rustix::stdio::dup2_stderr(rustix::stdio::stdout()).unwrap();
    let pipe = rustix::pipe::pipe().unwrap();
    if setup.piped {
        rustix::stdio::dup2_stdout(&pipe.1).unwrap();
    }
    let ended = watched(setup, |it| {
        rustix::stdio::dup2_stderr(&stderr).unwrap();
        init(it);
    });
    rustix::stdio::dup2_stderr(&stderr).unwrap();
    socket::send(test, format!("result {ended:?}").as_bytes(), &[]).unwrap();
}

fn obey(terminal: &OwnedFd, test: &OwnedFd, job: Pid) -> bool {
    let mut bytes = [0; 8];
    let (length, _) = socket::receive(test, &mut bytes).unwrap();
    match &bytes[..length] {
        b"fg" => tcsetpgrp(terminal, job).unwrap(),
        b"bg" => {}
        b"give" => {
            tcsetpgrp(terminal, job).unwrap();
            return true;
        }
        _ => return false,
    }
    signal::kill_group(job, SignalNumber::CONT).unwrap();
    true
}

/// Tells what became of the job; true when it has ended.
fn tell(children: &SignalFd, person: &OwnedFd, own: Pid, terminal: &OwnedFd) -> bool {
    while children.read().unwrap().is_some() {}
    while let Ok(Some((_, change))) = pidfd::wait_any(Changes::All) {
        let (text, over) = match change {
            Change::Stopped(signal) => (format!("stopped {signal}"), false),
            Change::Continued => continue,
            Change::Ended(pidfd::Exit::Code(code)) => (format!("ended {code}"), true),
            Change::Ended(pidfd::Exit::Signal { number, .. }) => (format!("killed {number}"), true),
        };
        tcsetpgrp(terminal, own).unwrap();
        socket::send(person, text.as_bytes(), &[]).unwrap();
        if over {
            return true;
        }
    }
    false
}
