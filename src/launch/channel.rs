//! The sockets between the processes of a run, with types: which messages go which way.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::wire::{FromSandbox, Malformed, SIZE, ToSandbox};
use crate::sys::errno::{Errno, Result};
use crate::sys::socket;

/// The end that the sandbox's processes hold.
#[derive(Debug)]
pub(super) struct Inside(pub(super) OwnedFd);

impl Inside {
    /// Tells the launcher something, with at most one descriptor.
    pub(super) fn tell(&self, message: &FromSandbox, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        self.tell_with(message, &fds)
    }

    /// Tells the launcher something, with several descriptors.
    pub(super) fn tell_with(&self, message: &FromSandbox, fds: &[BorrowedFd<'_>]) -> Result<()> {
        socket::send(&self.0, &message.encode(), fds)
    }

    /// Waits for an order; none when the launcher is gone.
    pub(super) fn order(&self) -> Result<Option<ToSandbox>> {
        let mut frame = [0; SIZE];
        match socket::receive(&self.0, &mut frame)? {
            (0, _) => Ok(None),
            (length, _) => {
                let bytes = frame.get(..length).ok_or(Errno::EPROTO)?;
                ToSandbox::decode(bytes).map(Some).map_err(|Malformed| Errno::EPROTO)
            }
        }
    }
}

impl AsFd for Inside {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What came from inside.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message and the descriptors that came along.
    Message(FromSandbox, Vec<OwnedFd>),
    /// The other end is closed everywhere.
    End,
    /// Something that is no message.
    Malformed(Malformed),
}

/// Reads one message from a socket whose other end is inside.
pub(super) fn hear(socket: impl AsFd) -> Result<Heard> {
    let mut frame = [0; SIZE];
    let (length, fds) = match socket::receive(socket, &mut frame) {
        // The other end was closed with something of ours unread.
        Err(Errno::ECONNRESET) => return Ok(Heard::End),
        other => other?,
    };
    if length == 0 {
        return Ok(Heard::End);
    }
    match FromSandbox::decode(frame.get(..length).unwrap_or_default()) {
        Ok(message) => Ok(Heard::Message(message, fds)),
        Err(malformed) => Ok(Heard::Malformed(malformed)),
    }
}

/// Sends an order.
pub(super) fn send(socket: impl AsFd, order: ToSandbox) -> Result<()> {
    socket::send(socket, &order.encode(), &[])
}
