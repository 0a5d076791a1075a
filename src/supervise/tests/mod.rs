//! The supervisor with a stand-in for init, and with a terminal that the test plays.

mod person;
mod refused;
mod runs;
mod terminal;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::*;
use crate::launch::Relay;
use crate::launch::wire::{FromSandbox, SIZE, ToSandbox};
use crate::sys::clone::{Cloned, fork};
use crate::sys::process::exit_now;
use crate::sys::pty::Master;
use crate::sys::seccomp::Listener;
use crate::sys::socket;

/// What the launcher would have made.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a test sets")]
struct Setup {
    stdio: [StdioPlan; 3],
    foreground: bool,
    pty: bool,
    timeout: Option<Duration>,
    floor: Option<u8>,
    /// Whether bryo is in its shell's own process group.
    orphaned: bool,
    /// Whether the caller's output is a pipe.
    piped: bool,
    /// Whether the stand-in refuses itself a call.
    filtered: bool,
}

impl Setup {
    /// Nothing to relay.
    fn bare() -> Self {
        Self {
            stdio: [StdioPlan::Keep; 3],
            foreground: false,
            pty: false,
            timeout: None,
            floor: None,
            orphaned: false,
            piped: false,
            filtered: false,
        }
    }

    /// A pty in the foreground.
    fn on_pty() -> Self {
        Self { stdio: [StdioPlan::Pty; 3], foreground: true, pty: true, ..Self::bare() }
    }
}

/// Init and the payload in one, as a test plays them.
struct Init {
    control: OwnedFd,
    /// The payload's ends of pipes, by number.
    pipes: Vec<Relay>,
    /// The payload's side of the pty.
    terminal: Option<OwnedFd>,
}

impl Init {
    fn say(&self, message: &FromSandbox) {
        socket::send(&self.control, &message.encode(), &[]).unwrap();
    }

    fn order(&self) -> ToSandbox {
        let mut bytes = [0; SIZE];
        let (length, _) = socket::receive(&self.control, &mut bytes).unwrap();
        ToSandbox::decode(&bytes[..length]).unwrap()
    }

    fn writes(&self, bytes: &[u8]) {
        write_all(self.terminal.as_ref().unwrap(), bytes);
    }

    /// Reads the pty until this was read.
    fn reads(&self, wanted: &[u8]) {
        read_until(self.terminal.as_ref().unwrap(), wanted);
    }

    fn exits(&self, code: u8) {
        self.say(&FromSandbox::Exited { code });
    }
}

fn write_all(fd: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = rustix::io::write(&fd, bytes).unwrap();
        bytes = &bytes[written..];
    }
}

/// Reads until `wanted` is the end of what was read; all of it.
fn read_until(fd: impl AsFd, wanted: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(wanted) {
        let mut byte = [0];
        match rustix::io::read(&fd, &mut byte) {
            Ok(1) => read.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&read)),
        }
    }
    read
}

/// Runs `body` in a child, which ends with 0, or with 101 when it panics.
fn child(body: impl FnOnce()) -> (rustix::process::Pid, OwnedFd) {
    match fork().unwrap() {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            exit_now(if outcome.is_ok() { 0 } else { 101 })
        }
    }
}

fn root() -> OwnedFd {
    rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap()
}

/// Pipes for what is relayed: our ends and the payload's.
fn relayed(setup: &Setup) -> (Vec<Relay>, Vec<Relay>) {
    let (mut relays, mut pipes) = (Vec::new(), Vec::new());
    for number in 0..3 {
        if setup.stdio[usize::from(number)] == StdioPlan::Relay {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let (our_end, their_end) = if number == 0 { (write, read) } else { (read, write) };
            relays.push(Relay { number, end: our_end });
            pipes.push(Relay { number, end: their_end });
        }
    }
    (relays, pipes)
}

/// Starts the stand-in and watches over it.
fn watched(setup: Setup, init: impl FnOnce(Init)) -> Result<Ended, SuperviseError> {
    let signals = block_signals().unwrap();
    let (ours, theirs) = socket::pair().unwrap();
    let (relays, pipes) = relayed(&setup);
    let pty = setup.pty.then(|| Master::open_host().unwrap());
    let terminal = pty.as_ref().map(|pty| pty.open_slave().unwrap());
    let mut held = Some((pty, relays, ours));
    let (_, pidfd) = child(|| {
        drop(held.take());
        if setup.filtered {
            let listener = refused::install();
            socket::send(&theirs, b"x", &[listener.as_fd()]).unwrap();
        }
        init(Init { control: theirs, pipes, terminal });
    });
    let (pty, relays, control) = held.unwrap();
    let received = || socket::receive(&control, &mut [0]).unwrap().1.pop().unwrap();
    let listener = setup.filtered.then(|| Listener::new(received()));
    let running = Running {
        notify: None,
        pidfd,
        control,
        listener,
        pty,
        relays,
        servers: Vec::new(),
        held: None,
        netstack: None,
        namespaces: None,
        group: None,
        enforced: crate::launch::Enforced::default(),
    };
    // Something that nothing else would answer.
    let errno_for = |call: Call| Errno::from_raw(1000 + i32::try_from(call.number % 100).unwrap());
    let duties = Duties {
        over: Over::Sandbox,
        checkup: None,
        witness: None,
        service: None,
        timeout: setup.timeout,
        floor: setup.floor.map(|percent| Floor { store: root(), percent }),
        errno_for: &errno_for,
        stdio: setup.stdio,
        foreground: setup.foreground,
        station: None,
        open_door: None,
        model: None,
        ends_with_network: false,
        place: None,
        deputy: None,
    };
    supervise(running, duties, signals)
}
