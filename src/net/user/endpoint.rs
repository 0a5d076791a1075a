//! The end of a TCP connection that faces the payload: numbers, windows and timers, no bytes.
//!
//! # Theory of operation
//! The other end is the kernel of the sandbox's network namespace, one link away. The link keeps the
//! order and loses a packet only when a queue is full. So what comes early is dropped and asked for
//! again, what is not acknowledged is sent again from the first byte on, and there is no congestion
//! window: the other end's window is all that bounds what is under way.
//!
//! The endpoint says what to do ([`Received`], [`Due`]); the flow that owns it moves the bytes. It follows
//! RFC 9293, with the answers of RFC 5961 to resets and SYNs that do not fit.
//!
//! Long because it is one state machine.

mod open;

use std::time::{Duration, Instant};

use super::frame::Control;
use super::packet::{Flags, Segment};

/// The shift of the windows that we announce: up to 8 MiB in steps of 128 bytes.
const OUR_SCALE: u8 = 7;

/// The other end acknowledges within 200 ms whatever it got.
const FIRST_TIMEOUT: Duration = Duration::from_millis(300);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Sent again this often without any answer, the connection is lost: some three minutes.
const ATTEMPTS: u32 = 12;

/// Whether numbers of the circle are in order: `a` is before `b`.
fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// How far `to` is after `from`; 0 when it is before.
fn distance(from: u32, to: u32) -> u32 {
    if before(to, from) { 0 } else { to.wrapping_sub(from) }
}

/// Our FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    No,
    Sent,
    Acknowledged,
}

/// See the module.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what is known of two sides, each by itself")]
pub struct Endpoint {
    /// Oldest byte of ours that was not acknowledged; next one to send.
    oldest: u32,
    next: u32,
    /// The other end's window, from `oldest` on, and its shift.
    window: u32,
    scale: u8,
    /// Whether both sides scale.
    scaled: bool,
    mss: u16,
    /// Next byte expected, the end of what was granted, and what was last acknowledged.
    expected: u32,
    granted: u32,
    told: u32,
    /// Whether the connection is one that we ask for, and nothing came back yet.
    asking: bool,
    /// Whether our SYN was acknowledged.
    open: bool,
    fin: Fin,
    their_fin: bool,
    duplicates: u8,
    /// Up to here was under way when something got lost: until it is acknowledged, each answer that
    /// tells of progress asks for the next piece at once.
    recover: Option<u32>,
    timer: Option<Instant>,
    attempts: u32,
}

/// What a segment means for its flow.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a different thing to do")]
pub struct Received {
    /// So many of our oldest bytes need not be kept any more.
    pub acknowledged: usize,
    /// These bytes of its payload are the next ones: from, and how many. To be taken with
    /// [`Endpoint::take`].
    pub skip: usize,
    /// How many.
    pub take: usize,
    /// Behind them comes the end of what the other side sends: [`Endpoint::take_fin`].
    pub fin: bool,
    /// The other side wants to hear a number at once.
    pub answer: bool,
    /// The first bytes that are kept are to be sent again.
    pub resend: bool,
    /// The connection is no more.
    pub reset: bool,
    /// It belongs to an earlier connection: a reset of its own answers it, and our SYN comes once more.
    pub stray: bool,
}

/// What a timer that ran out means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// SYN, bytes or FIN are to be sent again.
    Resend,
    /// The window is to be asked for.
    Probe,
    /// The other end is gone.
    Lost,
}

impl Endpoint {
    /// For a connection that the other end asked for; `first` is our first number, unguessable.
    pub fn passive(syn: &Segment<'_>, first: u32, mss: u16) -> Self {
        let expected = syn.seq.wrapping_add(1);
        Self {
            oldest: first,
            next: first,
            window: u32::from(syn.window),
            scale: syn.scale.unwrap_or(0),
            scaled: syn.scale.is_some(),
            // A smaller one would make millions of packets of every megabyte.
            mss: syn.mss.unwrap_or(536).clamp(216, mss),
            expected,
            granted: expected,
            told: expected,
            asking: false,
            open: false,
            fin: Fin::No,
            their_fin: false,
            duplicates: 0,
            recover: None,
            timer: None,
            attempts: 0,
        }
    }

    /// The most bytes of one segment.
    pub fn mss(&self) -> u16 {
        self.mss
    }

    /// Whether this is the SYN that the connection was made for, once more.
    pub fn is_same_syn(&self, syn: &Segment<'_>) -> bool {
        !self.open && !self.asking && syn.seq.wrapping_add(1) == self.expected
    }

    /// Number of the SYN that it was made for.
    pub fn their_first(&self) -> u32 {
        self.expected.wrapping_sub(1)
    }

    /// Whether the handshake is over.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether neither side has anything left to say.
    pub fn is_finished(&self) -> bool {
        self.fin == Fin::Acknowledged && self.their_fin
    }

    /// Whether the other side has said everything.
    pub fn has_their_fin(&self) -> bool {
        self.their_fin
    }

    /// Whether our FIN is under way or beyond.
    pub fn has_our_fin(&self) -> bool {
        self.fin != Fin::No
    }

    /// So many bytes more may be sent.
    pub fn usable(&self) -> usize {
        let right = self.oldest.wrapping_add(self.window);
        if self.open { usize::try_from(distance(self.next, right)).unwrap_or(0) } else { 0 }
    }

    /// Bytes under way, our FIN not counted.
    pub fn in_flight(&self) -> usize {
        let all = distance(self.oldest, self.next);
        let fin = u32::from(self.fin == Fin::Sent);
        usize::try_from(all.saturating_sub(fin)).unwrap_or(0)
    }

    /// Whether the other side has to be told about bytes that were taken, or about more room.
    pub fn owes_answer(&self, room: usize) -> bool {
        let grown = distance(self.granted, self.expected.wrapping_add(cut(room)));
        let before = distance(self.expected, self.granted);
        // What the other end reads is rounded down, and may hold no segment any more.
        let read = before >> self.shift() << self.shift();
        // A window that was all but closed is opened at once; else it waits for other news.
        !self.asking && (self.told != self.expected || read < u32::from(self.mss) && grown > before)
    }

    /// Of the windows that we announce.
    fn shift(&self) -> u8 {
        if self.scaled { OUR_SCALE } else { 0 }
    }

    /// The header of a SYN, which answers one or asks for a connection; `room` is how much may come.
    pub fn syn(&mut self, room: usize, mss: u16, now: Instant) -> Control {
        self.next = self.oldest.wrapping_add(1);
        self.arm(now);
        self.granted = self.expected.wrapping_add(cut(room.min(0xffff)));
        self.told = self.expected;
        Control {
            seq: self.oldest,
            ack: self.expected,
            flags: if self.asking { Flags::SYN } else { Flags::SYN.and(Flags::ACK) },
            // The window of a SYN is never scaled.
            window: u16::try_from(room).unwrap_or(u16::MAX),
            options: Some((mss, self.scaled.then_some(OUR_SCALE))),
        }
    }

    /// The header of a segment that begins `offset` bytes behind the oldest one; `room` is how much may
    /// come. A window that was granted is not taken back.
    pub fn segment(&mut self, offset: usize, flags: Flags, room: usize) -> Control {
        let shift = self.shift();
        let largest = u32::from(u16::MAX) << shift;
        let edge = self.expected.wrapping_add(cut(room).min(largest));
        if before(self.granted, edge) {
            self.granted = edge;
        }
        self.told = self.expected;
        let window = distance(self.expected, self.granted).min(largest) >> shift;
        Control {
            seq: self.oldest.wrapping_add(cut(offset)),
            ack: self.expected,
            flags: flags.and(Flags::ACK),
            window: u16::try_from(window).unwrap_or(u16::MAX),
            options: None,
        }
    }

    /// The header of an answer without bytes.
    pub fn acknowledgement(&mut self, room: usize) -> Control {
        let offset = usize::try_from(distance(self.oldest, self.next)).unwrap_or(0);
        self.segment(offset, Flags::ACK, room)
    }

    /// The header that asks for the window: a number from before, which has to be answered.
    pub fn probe(&mut self, room: usize, now: Instant) -> Control {
        self.arm(now);
        let control = self.segment(0, Flags::ACK, room);
        Control { seq: control.seq.wrapping_sub(1), ..control }
    }

    /// The header that ends everything.
    pub fn reset(&self) -> Control {
        let flags = Flags::RST.and(Flags::ACK);
        Control { seq: self.next, ack: self.expected, flags, window: 0, options: None }
    }

    /// Notes that `length` new bytes were sent.
    pub fn sent(&mut self, length: usize, now: Instant) {
        self.next = self.next.wrapping_add(cut(length));
        if self.timer.is_none() {
            self.arm(now);
        }
    }

    /// Notes that our FIN was sent, behind everything else.
    pub fn sent_fin(&mut self, now: Instant) {
        self.fin = Fin::Sent;
        self.next = self.next.wrapping_add(1);
        self.arm(now);
    }

    /// Begins to ask for the window, should it stay closed.
    pub fn wait_for_window(&mut self, now: Instant) {
        if self.timer.is_none() {
            self.arm(now);
        }
    }

    fn arm(&mut self, now: Instant) {
        let span = FIRST_TIMEOUT.saturating_mul(1 << self.attempts.min(10));
        self.timer = now.checked_add(span.min(LONGEST_TIMEOUT));
    }

    /// When [`Self::due`] is to be asked.
    pub fn deadline(&self) -> Option<Instant> {
        self.timer
    }

    /// What is to be done at `now`.
    pub fn due(&mut self, now: Instant) -> Due {
        if self.timer.is_none_or(|timer| timer > now) {
            return Due::Nothing;
        }
        let waits = self.oldest == self.next;
        if waits && (self.usable() > 0 || !self.open) {
            self.timer = None;
            return Due::Nothing;
        }
        self.attempts += 1;
        // A window may stay closed for ever, as long as the other end says so.
        if self.attempts > ATTEMPTS {
            return Due::Lost;
        }
        self.arm(now);
        if waits {
            return Due::Probe;
        }
        self.recover = Some(self.next);
        Due::Resend
    }

    /// Takes a segment; `now` is for its timers.
    pub fn receive(&mut self, segment: &Segment<'_>, now: Instant) -> Received {
        if self.asking {
            return self.receive_answer(segment);
        }
        let mut received = Received::default();
        let flags = segment.flags;
        if flags.has(Flags::RST) {
            received.reset = segment.seq == self.expected;
            received.answer = !received.reset && self.is_in_window(segment.seq);
            return received;
        }
        if flags.has(Flags::SYN) || !flags.has(Flags::ACK) {
            received.answer = flags.has(Flags::SYN);
            return received;
        }
        if before(self.next, segment.ack) {
            received.answer = true;
            return received;
        }
        self.acknowledge(segment, now, &mut received);
        self.accept(segment, &mut received);
        received
    }

    /// The edge is where the other end's reset is when it has sent more than we took.
    fn is_in_window(&self, seq: u32) -> bool {
        !before(seq, self.expected) && !before(self.granted, seq)
    }

    fn acknowledge(&mut self, segment: &Segment<'_>, now: Instant, received: &mut Received) {
        if before(segment.ack, self.oldest) {
            return;
        }
        // It lives.
        self.attempts = 0;
        let shift = if self.scaled { self.scale } else { 0 };
        let window = u32::from(segment.window) << shift;
        let mut news = segment.ack.wrapping_sub(self.oldest);
        if news == 0 {
            let repeated = self.oldest != self.next
                && self.open
                && window == self.window
                && segment.payload.is_empty()
                && !segment.flags.has(Flags::FIN);
            self.duplicates = if repeated { self.duplicates.saturating_add(1) } else { 0 };
            received.resend = repeated && self.duplicates == 3 && self.recover.is_none();
            if received.resend {
                self.recover = Some(self.next);
            }
            self.window = window;
            return;
        }
        self.oldest = segment.ack;
        self.window = window;
        self.duplicates = 0;
        if !self.open {
            self.open = true;
            news -= 1;
        }
        if self.fin == Fin::Sent && self.oldest == self.next {
            self.fin = Fin::Acknowledged;
            news = news.saturating_sub(1);
        }
        received.acknowledged = usize::try_from(news).unwrap_or(0);
        self.recover = self.recover.filter(|end| before(self.oldest, *end));
        received.resend = self.recover.is_some();
        self.timer = None;
        if self.oldest != self.next {
            self.arm(now);
        }
    }

    fn accept(&self, segment: &Segment<'_>, received: &mut Received) {
        let has_fin = segment.flags.has(Flags::FIN);
        let length = cut(segment.payload.len());
        if length == 0 && !has_fin {
            // A probe asks with a number from before.
            received.answer |= segment.seq != self.expected;
            return;
        }
        let old = distance(segment.seq, self.expected);
        let is_next = !before(self.expected, segment.seq) && old <= length;
        if !is_next || self.their_fin {
            received.answer = true;
            return;
        }
        let room = distance(self.expected, self.granted);
        let take = (length - old).min(room);
        received.skip = usize::try_from(old).unwrap_or(0);
        received.take = usize::try_from(take).unwrap_or(0);
        received.fin = has_fin && take == length - old;
        received.answer = take < length - old || old > 0;
    }

    /// Notes that the next `length` bytes of the other side were taken.
    pub fn take(&mut self, length: usize) {
        self.expected = self.expected.wrapping_add(cut(length));
    }

    /// Notes that the other side has said everything.
    pub fn take_fin(&mut self) {
        self.their_fin = true;
        self.expected = self.expected.wrapping_add(1);
        // The FIN takes a number, and no room.
        if before(self.granted, self.expected) {
            self.granted = self.expected;
        }
    }
}

/// Lengths here are those of packets and buffers, far below 2^31.
fn cut(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX >> 1)
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
