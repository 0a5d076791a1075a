//! `--net-rate`: how much may pass each way, and whose turn it is.
//!
//! # Theory of operation
//!
//! ```text
//! flows that have something to move ──▶ fresh ─╮ one of each in turn,    ╭▶ members in turn, the same way,
//!           ╰── had a turn already ───▶ waiting ┴▶ for each member ───────┴▶ as long as the bucket has credit
//! ```
//!
//! Each direction is a [`Lane`]: a bucket of credit and the flows that wait for some, those of each sandbox behind the
//! link in a line of their own. A flow moves bytes only in its
//! turn, which gives it a quantum of bytes ([`Share`]); who has more goes to the end of the line (deficit round robin).
//! So every sandbox gets the same, in it every connection, and none more than the rate. Who was idle comes before those that always
//! have something, one turn long, and then waits behind them: a keystroke or an echo is not kept waiting by downloads.
//!
//! Nothing of a TCP connection is dropped: what is not read from a socket, or has no room in the ring, closes the window
//! of whoever sends. Datagrams to the payload wait, and are lost, in the host's socket; those of the payload in a short
//! queue of their flow.
//!
//! # Decisions
//! - What counts is what passes between the host's network and the sandbox: bytes with the headers that they have
//!   on the link. Answers that we give ourselves (acknowledgements, errors) pass nowhere.
//! - What opens a connection or asks for a name is small and does not wait: it overdraws the buckets, up to a bound
//!   where it is dropped, to be sent again, or waits to be accepted. So a flood of it is bounded too.
//!   While others wait for their turns it takes half at most: else a flood of it would keep them from moving at all.
//! - What a host's socket has received and nobody took has passed the host's network: it is counted when the
//!   connection ends. Else who opens many, asks for much and hangs up would use more than the rate.
//! - Names are counted where they are asked, on the host's network. A short question may have a long answer, which
//!   comes whether there is credit or not: so it holds back the next question, by as much time.

pub mod bucket;
pub mod lane;
mod line;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use lane::{Lane, Turn};

use super::ring::size_for;
use crate::spec::net::Rate;

/// Headers of IPv4 with TCP, and with UDP or an echo. IPv6's longer ones count the same.
pub const SEGMENT: usize = 40;
/// See [`SEGMENT`].
pub const DATAGRAM: usize = 28;
/// What opens and ends a connection, each way: SYN, FIN, and two acknowledgements.
pub const CONNECTION: usize = 180;

/// Bytes of datagrams of the payload that wait, of one flow and of all.
const QUEUE: usize = 128 << 10;
const QUEUES: usize = 4 << 20;

/// How long one flow's datagrams would wait if it had the whole rate; one always may.
const PATIENCE: Duration = Duration::from_millis(250);

/// How much passes at once after silence: what a loaded machine may be late by.
const BURST: Duration = Duration::from_millis(20);

/// Bytes of a wire's packet: no turn is shorter.
const PACKET: usize = 1500;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the payload.
    Up,
    /// To it.
    Down,
}

/// Bytes that a rate passes in a span.
fn bytes_in(rate: u64, span: Duration) -> usize {
    let bytes = u128::from(rate) * span.as_nanos() / 8 / 1_000_000_000;
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Bytes that take as long up as so many take down.
fn bytes_as_long(down: usize, rate: Rate) -> usize {
    let bytes =
        u128::try_from(down).unwrap_or(0) * u128::from(rate.up) / u128::from(rate.down.max(1));
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Both directions.
#[derive(Debug)]
pub struct Pace {
    /// From the payload.
    pub up: Lane,
    /// To it.
    pub down: Lane,
    rate: Rate,
    /// Bytes of datagrams that wait.
    queued: usize,
}

impl Pace {
    /// With full buckets.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { up: Lane::new(rate.up, now), down: Lane::new(rate.down, now), rate, queued: 0 }
    }

    /// One direction.
    pub fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// Bytes of datagrams that wait.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether a connection may be opened.
    pub fn may_open(&mut self, now: Instant) -> bool {
        self.up.may_pass(now) && self.down.may_pass(now)
    }

    /// Notes that a connection was opened.
    pub fn opened(&mut self) {
        self.up.spend_aside(CONNECTION);
        self.down.spend_aside(CONNECTION);
    }

    /// Notes what was sent for names, and what was answered.
    pub fn named(&mut self, (asked, answered): (usize, usize)) {
        let as_long = bytes_as_long(answered, self.rate);
        self.up.owe(asked.saturating_add(as_long));
        self.down.owe(answered);
    }

    /// Bytes of datagrams of one flow that may wait, behind the first.
    fn patience(&self) -> usize {
        bytes_in(self.rate.up, PATIENCE).clamp(2 * PACKET, QUEUE)
    }

    /// When somebody's turn is.
    pub fn deadline(&self) -> Option<Instant> {
        self.up.deadline().into_iter().chain(self.down.deadline()).min()
    }

    /// Bytes of one connection that wait for their turn to leave: some tenths of a second, so that the end of a run does
    /// not take long, and whoever writes feels the rate soon. What is granted has to fit into one buffer.
    pub fn most_up(&self) -> usize {
        size_for(bytes_in(self.rate.up, Duration::from_millis(100)))
    }

    /// The receive buffer of a socket of the host: what fills it has passed the host's own network, ahead of its turn.
    /// None where more is needed than may be asked for; then the kernel finds its size.
    pub fn receive_buffer(&self) -> Option<usize> {
        const USUAL_MOST: usize = 200_000;
        let bytes = bytes_in(self.rate.down, Duration::from_millis(250)).max(32 << 10);
        (bytes < USUAL_MOST).then_some(bytes)
    }
}

/// What a flow may move one way.
#[derive(Debug, Default)]
pub struct Share {
    /// Bytes; less than none when the last datagram was larger than what was left.
    left: isize,
    /// It has more to move than it might.
    wants: bool,
    /// It stands in the line.
    lined_up: bool,
}

impl Share {
    /// Bytes that may pass with their header; none, and then its turn is asked for.
    pub fn room(&mut self, header: usize) -> usize {
        let room = usize::try_from(self.left).unwrap_or(0).saturating_sub(header);
        self.wants |= room == 0;
        room
    }

    /// Notes that so many bytes passed.
    pub fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub_unsigned(bytes);
    }

    /// Asks for a turn.
    pub fn want(&mut self) {
        self.wants = true;
    }

    /// Whether it is to be put into the line now; then it stands there.
    pub fn lines_up(&mut self) -> bool {
        let joins = self.wants && !self.lined_up;
        self.lined_up |= joins;
        joins
    }

    /// Begins its turn.
    pub fn begin(&mut self, quantum: usize) {
        self.left = self.left.saturating_add_unsigned(quantum);
        self.wants = false;
    }

    /// Ends it; whether it stays in the line. Who came first this time waits once behind the others, whatever it wants:
    /// else whoever is idle for a moment after each turn would have more of them.
    pub fn end(&mut self, was_fresh: bool) -> bool {
        // What was not used is given up; what was overdrawn is not.
        self.left = self.left.min(0);
        self.lined_up = self.wants || was_fresh || self.left < 0;
        self.lined_up
    }
}

/// A flow's shares.
#[derive(Debug, Default)]
pub struct Shares {
    up: Share,
    down: Share,
}

impl Shares {
    /// One direction.
    pub fn of(&mut self, direction: Direction) -> &mut Share {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// Datagrams of one flow of the payload that wait.
#[derive(Debug, Default)]
pub struct Queue {
    /// Both directions.
    pub shares: Shares,
    held: VecDeque<(u16, Box<[u8]>)>,
    bytes: usize,
}

impl Queue {
    /// Adds one, with the number of an echo; one that there is no room for is lost.
    pub fn push(&mut self, number: u16, payload: &[u8], pace: &mut Pace) {
        let bytes = payload.len() + DATAGRAM;
        let most = if self.held.is_empty() { QUEUE } else { pace.patience() };
        if self.bytes + bytes > most || pace.queued + bytes > QUEUES {
            return;
        }
        self.bytes += bytes;
        pace.queued += bytes;
        self.held.push_back((number, payload.into()));
        self.shares.of(Direction::Up).want();
    }

    /// The next one, if it is its turn.
    pub fn pop(&mut self, pace: &mut Pace) -> Option<(u16, Box<[u8]>)> {
        let share = self.shares.of(Direction::Up);
        if self.held.is_empty() || share.room(0) == 0 {
            return None;
        }
        let (number, payload) = self.held.pop_front()?;
        let bytes = payload.len() + DATAGRAM;
        share.spend(bytes);
        pace.up.spend(bytes);
        self.bytes -= bytes;
        pace.queued -= bytes;
        Some((number, payload))
    }

    /// Gives up what waits.
    pub fn clear(&mut self, pace: &mut Pace) {
        pace.queued -= self.bytes;
        self.bytes = 0;
        self.held.clear();
    }
}

#[cfg(test)]
mod tests;
