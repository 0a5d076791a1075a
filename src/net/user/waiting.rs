//! Connections that have ended, ours first: a repeated FIN of the payload's kernel gets its answer.
//!
//! The link hardly ever loses a packet, so few seconds are enough, and an entry is a few numbers.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::frame::Control;
use super::stream::Ends;

/// How long.
const LIFE: Duration = Duration::from_secs(5);

/// How many at most; the oldest make room.
const MOST: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub struct Waiting {
    entries: HashMap<Ends, (u32, u32, Instant)>,
    order: VecDeque<(Instant, Ends)>,
}

impl Waiting {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Adds a connection with its last answer.
    pub fn add(&mut self, ends: Ends, last: Control, now: Instant) {
        while self.order.len() >= MOST {
            self.drop_oldest();
        }
        self.entries.insert(ends, (last.seq, last.ack, now));
        self.order.push_back((now, ends));
    }

    fn drop_oldest(&mut self) {
        if let Some((added, ends)) = self.order.pop_front()
            // It may have been used again since.
            && self.entries.get(&ends).is_some_and(|(_, _, when)| *when == added)
        {
            self.entries.remove(&ends);
        }
    }

    /// Forgets one: its ends are used again.
    pub fn remove(&mut self, ends: &Ends) {
        self.entries.remove(ends);
    }

    /// The answer to whatever came for one.
    pub fn answer(&self, ends: &Ends) -> Option<Control> {
        let (seq, ack, _) = *self.entries.get(ends)?;
        let flags = super::packet::Flags::ACK;
        Some(Control { seq, ack, flags, window: 0, options: None })
    }

    /// Forgets those whose time is over.
    pub fn expire(&mut self, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|(added, _)| now.saturating_duration_since(*added) > LIFE)
        {
            self.drop_oldest();
        }
    }
}
