//! The supervisor of a detached sandbox while nothing runs (`--restart`): it waits for the next start and takes orders.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::Station;
use crate::supervise::SuperviseError;
use crate::supervise::protocol::Reply;
use crate::supervise::signals::{Signals, asks_for_an_end};
use crate::sys::event::Poller;

/// What comes after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next start.
    Start,
    /// Nothing: somebody asked for an end.
    End,
}

impl Station {
    /// Waits so long, unless somebody asks for an end.
    pub fn pause(&mut self, time: Duration, signals: &Signals) -> Result<Next, SuperviseError> {
        self.resting = true;
        for client in std::mem::take(&mut self.owed) {
            self.tell(client, &Reply::Restarting, &[]);
        }
        let next = self.rest(time, signals);
        self.resting = false;
        next
    }

    fn rest(&mut self, time: Duration, signals: &Signals) -> Result<Next, SuperviseError> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.stopped {
                return Ok(Next::End);
            }
            if left.is_zero() {
                return Ok(Next::Start);
            }
            let mut poller = Poller::new();
            poller.readable(None, signals.as_fd());
            self.register(&mut poller, Some);
            for (event, ready) in poller.wait(Some(left)).map_err(SuperviseError::Wait)? {
                match event {
                    // What would be done to the payload is done: there is none.
                    Some(event) => drop(self.handle(event, ready)?),
                    None => self.take_signals(signals)?,
                }
            }
        }
    }

    fn take_signals(&mut self, signals: &Signals) -> Result<(), SuperviseError> {
        while let Some(received) = signals.next().map_err(SuperviseError::Signals)? {
            self.stopped |= asks_for_an_end(received.signal);
        }
        Ok(())
    }
}
