//! The supervisor's end of the socket to init.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::port::set_nonblocking;
use crate::launch::wire::{FromSandbox, Malformed, SIZE, ToSandbox};
use crate::sys::errno::{Errno, Result};
use crate::sys::socket;

/// Orders that wait for room in the socket. Init answers in microseconds; one that does not is lost
/// for other reasons.
const WAITING: usize = 64;

/// What came from init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Message(FromSandbox),
    Nothing,
    End,
    Malformed(Malformed),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Control {
    socket: OwnedFd,
    waiting: VecDeque<ToSandbox>,
    ended: bool,
}

impl Control {
    pub(super) fn new(socket: OwnedFd) -> Result<Self> {
        set_nonblocking(&socket)?;
        Ok(Self { socket, waiting: VecDeque::new(), ended: false })
    }

    /// The socket, until init has closed its end.
    pub(super) fn listening(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended).then(|| self.socket.as_fd())
    }

    /// The socket, when orders wait for room.
    pub(super) fn loaded(&self) -> Option<BorrowedFd<'_>> {
        self.listening().filter(|_| !self.waiting.is_empty())
    }

    /// Sends an order. One that waits already is not sent twice: signals of a kind count once.
    pub(super) fn order(&mut self, order: ToSandbox) -> Result<()> {
        if !self.waiting.contains(&order) && self.waiting.len() < WAITING {
            self.waiting.push_back(order);
        }
        self.send()
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn send(&mut self) -> Result<()> {
        while let Some(order) = self.waiting.front().filter(|_| !self.ended) {
            match socket::send(&self.socket, &order.encode(), &[]) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(Errno::EAGAIN) => break,
                // Init has ended, which its pidfd tells.
                Err(Errno::EPIPE | Errno::ECONNRESET) => self.waiting.clear(),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// The next message.
    pub(super) fn hear(&mut self) -> Result<Heard> {
        let mut bytes = [0; SIZE + 1];
        match socket::receive(&self.socket, &mut bytes) {
            Err(Errno::EAGAIN) => Ok(Heard::Nothing),
            Err(Errno::EMSGSIZE) => Ok(Heard::Malformed(Malformed)),
            Ok((0, _)) | Err(Errno::ECONNRESET) => {
                self.ended = true;
                Ok(Heard::End)
            }
            // None of the messages of this phase brings a descriptor.
            Ok((_, fds)) if !fds.is_empty() => Ok(Heard::Malformed(Malformed)),
            Ok((length, _)) => {
                let message = bytes.get(..length).map_or(Err(Malformed), FromSandbox::decode);
                Ok(message.map_or_else(Heard::Malformed, Heard::Message))
            }
            Err(errno) => Err(errno),
        }
    }
}
