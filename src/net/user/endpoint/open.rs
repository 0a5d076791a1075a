//! A connection that we ask for: our SYN, and what comes back for it.

use super::{Endpoint, Fin, Received};
use crate::net::user::packet::{Flags, Segment};

impl Endpoint {
    /// For a connection that we ask for; `first` is our first number, unguessable. [`Endpoint::syn`] asks.
    pub fn active(first: u32, mss: u16) -> Self {
        Self {
            oldest: first,
            next: first,
            window: 0,
            scale: 0,
            // Offered; the answer tells whether the other side does.
            scaled: true,
            mss,
            expected: 0,
            granted: 0,
            told: 0,
            asking: true,
            open: false,
            fin: Fin::No,
            their_fin: false,
            duplicates: 0,
            recover: None,
            timer: None,
            attempts: 0,
        }
    }

    /// Takes a segment before the connection stands: RFC 9293, section 3.10.7.3.
    pub(super) fn receive_answer(&mut self, segment: &Segment<'_>) -> Received {
        let mut received = Received::default();
        let flags = segment.flags;
        let is_ours = flags.has(Flags::ACK) && segment.ack == self.next && self.oldest != self.next;
        if flags.has(Flags::RST) {
            received.reset = is_ours;
        } else if flags.has(Flags::ACK) && !is_ours {
            // Of an earlier connection between the same ends, which its other end has not forgotten.
            received.stray = true;
        } else if flags.has(Flags::SYN) && is_ours {
            self.agree(segment);
            received.answer = true;
        }
        received
    }

    fn agree(&mut self, segment: &Segment<'_>) {
        self.asking = false;
        self.open = true;
        self.oldest = segment.ack;
        self.expected = segment.seq.wrapping_add(1);
        self.granted = self.expected;
        self.told = self.expected;
        // The window of a SYN is never scaled.
        self.window = u32::from(segment.window);
        self.scale = segment.scale.unwrap_or(0);
        self.scaled = segment.scale.is_some();
        self.mss = segment.mss.unwrap_or(536).clamp(216, self.mss);
        self.timer = None;
        self.attempts = 0;
    }
}
