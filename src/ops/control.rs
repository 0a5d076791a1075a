//! Speaking with the supervisor of a sandbox that runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::supervise::protocol::{LONGEST, Message, Reply, Request};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::socket;

/// How long a supervisor may take to answer. It is one process with one loop, and never waits for others.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Supervisor(OwnedFd);

/// What came from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An answer.
    Reply(Reply),
    /// Nothing in time.
    Nothing,
    /// It closed the connection: it has ended, or does not listen to who asks.
    Gone,
}

impl Supervisor {
    /// Over a socket that is connected to it.
    pub fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The socket.
    pub fn into_socket(self) -> OwnedFd {
        self.0
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, request: &Request) -> Result<Heard> {
        match self.say(&Message::Request(request.clone())) {
            Ok(()) => self.hear(Some(Instant::now() + ANSWER)),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(Heard::Gone),
            Err(errno) => Err(errno),
        }
    }

    /// Sends a message that nothing answers, or whose answer is heard later.
    pub fn say(&self, message: &Message<'_>) -> Result<()> {
        socket::send(&self.0, &message.encode(), &[])
    }

    /// The next answer.
    pub fn hear(&self, until: Option<Instant>) -> Result<Heard> {
        let mut poller = Poller::new();
        poller.readable((), self.0.as_fd());
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if poller.wait(left)?.is_empty() {
            return Ok(Heard::Nothing);
        }
        let mut bytes = [0; LONGEST];
        match socket::receive(&self.0, &mut bytes) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Ok(Heard::Gone),
            Ok((length, _)) => {
                let reply = bytes.get(..length).and_then(Reply::decode);
                reply.map(Heard::Reply).ok_or(Errno::EPROTO)
            }
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Supervisor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
