//! Asks the user's systemd for a scope: a group of control groups that is ours.
//!
//! # Theory of operation
//! One call on the manager's own socket, where no bus stands between: `StartTransientUnit` with the sandbox's
//! process, for a scope without processes is refused; then its `JobRemoved`. The manager takes the process out
//! of the login session (it may, we may not) and gives the scope to us (`Delegate=yes`). When the last process
//! in it has ended it removes the scope by itself, also a failed one (`CollectMode`).
//!
//! # Decisions
//! - Not by `zbus`: one call and one signal, against some 400 KiB of program, a second thread, and a bus in
//!   between. [`dbus`](super::dbus) is what these two take.
//! - Who listens at the socket must be the caller, or root.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, geteuid};

use super::dbus::{self, Message, Value};
use crate::spec::HostPath;
use crate::sys::errno::{Errno, Failure, Result};

/// How long the manager may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line of the handshake.
const LONGEST_LINE: usize = 512;

/// What a scope is made of.
pub(super) struct Scope<'a> {
    /// Its name.
    pub(super) unit: &'a str,
    /// The process in it.
    pub(super) pid: Pid,
    /// Its shares, by the manager's names for them.
    pub(super) weights: [(&'static str, Option<u64>); 2],
}

/// Makes a scope; its directory, below `mount`.
pub(super) fn make(
    socket: &HostPath,
    mount: &HostPath,
    scope: &Scope<'_>,
) -> std::result::Result<HostPath, Failure> {
    let Scope { unit, pid, .. } = *scope;
    let mut manager = Manager::connect(socket)?;
    let job = manager.start(scope)?;
    manager.wait_for(&job, unit)?;
    let number = pid.as_raw_nonzero();
    let path = std::fs::read_to_string(format!("/proc/{number}/cgroup")).map_err(errno)?;
    let below = path.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    if below.rsplit('/').next() != Some(unit) {
        let said = format!("the sandbox is in `{below}`");
        return Err(Failure { errno: Errno::ESTALE, said });
    }
    Ok(mount.join(below).map_err(|_| Errno::EINVAL)?)
}

/// Moves a process into a group below a scope. From outside of the manager's groups only it can.
pub(super) fn attach(
    socket: &HostPath,
    unit: &str,
    below: &str,
    pid: Pid,
) -> std::result::Result<(), Failure> {
    let mut manager = Manager::connect(socket)?;
    manager.say(&dbus::attach(unit, below, pid.as_raw_nonzero().get().unsigned_abs()))?;
    manager.answer().map(drop)
}

/// The manager, and what it said that was not read yet.
struct Manager {
    stream: UnixStream,
    unread: Vec<u8>,
    until: Instant,
}

impl Manager {
    fn connect(socket: &HostPath) -> std::result::Result<Self, Failure> {
        let stream = UnixStream::connect(socket.as_path()).map_err(errno)?;
        let peer = socket_peercred(stream.as_fd())?;
        if peer.uid != geteuid() && !peer.uid.is_root() {
            let said = format!("user {} listens there", peer.uid.as_raw());
            return Err(Failure { errno: Errno::EPERM, said });
        }
        let mut manager = Self { stream, unread: Vec::new(), until: Instant::now() + PATIENCE };
        // The digits of the uid, as hexadecimal digits of their bytes.
        let uid: String =
            geteuid().as_raw().to_string().chars().flat_map(|digit| ['3', digit]).collect();
        manager.say(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let line = manager.line()?;
        if !line.starts_with(b"OK ") {
            let said = String::from_utf8_lossy(&line).trim().to_owned();
            return Err(Failure { errno: Errno::EACCES, said });
        }
        manager.say(b"BEGIN\r\n")?;
        Ok(manager)
    }

    /// Asks for the scope; the job that makes it.
    fn start(&mut self, scope: &Scope<'_>) -> std::result::Result<String, Failure> {
        let pid = scope.pid.as_raw_nonzero().get().unsigned_abs();
        let mut properties = vec![
            ("Description", Value::Text("a sandbox of bryo".to_owned())),
            ("PIDs", Value::Numbers(vec![pid])),
            ("Delegate", Value::Flag(true)),
            ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
        ];
        let weights = scope.weights.into_iter();
        properties
            .extend(weights.filter_map(|(name, weight)| Some((name, Value::Number(weight?)))));
        self.say(&dbus::start_transient_unit(scope.unit, &properties))?;
        self.answer()
    }

    /// What it answers to a call.
    fn answer(&mut self) -> std::result::Result<String, Failure> {
        loop {
            match self.message()? {
                Message::Reply { first } => return Ok(first),
                Message::Error { name, first } => {
                    return Err(Failure { errno: Errno::EACCES, said: said(&name, &first) });
                }
                Message::JobRemoved { .. } | Message::Other => {}
            }
        }
    }

    fn wait_for(&mut self, wanted: &str, unit: &str) -> std::result::Result<(), Failure> {
        loop {
            if let Message::JobRemoved { job, result } = self.message()?
                && job == wanted
            {
                return match result.as_str() {
                    "done" => Ok(()),
                    other => {
                        let said = format!("its job for `{unit}` ended as {}", said(other, ""));
                        Err(Failure { errno: Errno::ECANCELED, said })
                    }
                };
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.wait()?;
        self.stream.write_all(bytes).map_err(errno)
    }

    /// The next message.
    fn message(&mut self) -> Result<Message> {
        let head = self.bytes(dbus::HEAD)?;
        let length = dbus::length(&head).ok_or(Errno::EPROTO)?;
        let rest = self.bytes(length - dbus::HEAD)?;
        dbus::read(&[head, rest].concat()).ok_or(Errno::EPROTO)
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                return Ok(self.unread.drain(..end + 2).collect());
            }
            if self.unread.len() > LONGEST_LINE {
                return Err(Errno::EPROTO);
            }
            self.hear()?;
        }
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.unread.len() < count {
            self.hear()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn hear(&mut self) -> Result<()> {
        self.wait()?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer).map_err(errno)? {
            0 => Err(Errno::ECONNRESET),
            length => {
                self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Neither reading nor writing waits for longer than there is time.
    fn wait(&self) -> Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).map_err(errno)?;
        self.stream.set_write_timeout(Some(left)).map_err(errno)?;
        if Instant::now() < self.until { Ok(()) } else { Err(Errno::ETIMEDOUT) }
    }
}

/// The manager's own words, the beginning of them.
fn said(name: &str, text: &str) -> String {
    let words = if text.is_empty() { name } else { text };
    format!("it says `{}`", words.chars().take(200).collect::<String>())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn errno(error: std::io::Error) -> Errno {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => Errno::ETIMEDOUT,
        _ => Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO.raw())),
    }
}
