//! One TCP connection: an [`Endpoint`] that faces the payload, a socket that faces the host.
//!
//! # Theory of operation
//! *Up*, from the payload: bytes that come in order are written to the socket straight from the packet; what
//! it does not take waits in `up`, and the window that the payload sees is the room there. *Down*: bytes are
//! read from the socket into `down` and sent from there at once, never more than the payload's window;
//! they stay until they are acknowledged. So each byte is copied twice by us, once in and once out, and
//! an idle connection has no buffer.
//!
//! The socket is watched by edges: `readable` and `writable` hold until a call says otherwise.

mod down;
mod up;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::endpoint::{Due, Endpoint};
use super::frame::{Control, Quote};
use super::link::{Link, unreachable};
use super::pace::{Direction, Pace, SEGMENT, Shares};
use super::packet::{Flags, Segment, protocol};
use super::ring::{Pool, Ring};
pub use crate::net::egress::Ends;
use crate::net::egress::{Inspect, Sight};
use crate::sys::errno::Errno;

/// Bytes of the payload that wait for the host: the largest window.
const UP: usize = 1 << 20;

/// Bytes that are held for a look, at most.
const HELD: usize = 64 << 10;

/// Bytes that one turn moves down, so that no flow keeps the others waiting.
const TURN: usize = 512 << 10;

/// What a stream works with.
#[derive(Debug)]
pub struct Means<'a> {
    /// To the payload.
    pub link: &'a Link,
    /// Buffers.
    pub pool: &'a mut Pool,
    /// How fast it may go; none where nobody bounds it.
    pub pace: Option<&'a mut Pace>,
    /// Now.
    pub now: Instant,
}

/// What a stream may move where a rate is set.
#[derive(Debug, Default)]
struct Paced {
    shares: Shares,
    most_up: usize,
}

/// What becomes of a stream after a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It waits for the next event.
    Waits,
    /// There is more to do at once.
    More,
    /// Both sides have ended in order. What is left is the answer to a repeated FIN, if we ended first.
    Ended {
        /// Whether ours was the first FIN.
        first: bool,
    },
    /// It is no more.
    Gone,
}

/// See the module.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what is known of two sides, each by itself")]
pub struct Stream {
    ends: Ends,
    socket: OwnedFd,
    connecting: bool,
    inbound: bool,
    endpoint: Endpoint,
    mss: u16,
    up: Ring,
    down: Ring,
    readable: bool,
    writable: bool,
    /// The host's end is known to be near: a short read is not the last one.
    hung_up: bool,
    /// The host's other end has said everything.
    host_fin: bool,
    /// The host was told that the payload has.
    shut: bool,
    first_fin: bool,
    inspect: Option<Box<dyn Inspect>>,
    hold_until: Option<Instant>,
    owes: bool,
    paced: Option<Box<Paced>>,
    /// Whether it stands in the engine's list of work.
    pub queued: bool,
    /// When the engine's timer goes off for it.
    pub armed: Option<Instant>,
    /// When either side was heard of last.
    pub heard: Option<Instant>,
}

impl Stream {
    /// A connection that the payload asked for, while the host dials.
    pub fn new(
        ends: Ends,
        socket: OwnedFd,
        endpoint: Endpoint,
        mss: u16,
        inspect: Option<Box<dyn Inspect>>,
    ) -> Self {
        Self {
            ends,
            socket,
            connecting: true,
            inbound: false,
            endpoint,
            mss,
            up: Ring::default(),
            down: Ring::default(),
            readable: false,
            writable: false,
            hung_up: false,
            host_fin: false,
            shut: false,
            first_fin: false,
            inspect,
            hold_until: None,
            owes: false,
            paced: None,
            queued: false,
            armed: None,
            heard: None,
        }
    }

    /// A connection that a client of a published port asked for. [`Self::ask`] is to follow.
    pub fn inbound(ends: Ends, socket: OwnedFd, endpoint: Endpoint, mss: u16) -> Self {
        let made = Self::new(ends, socket, endpoint, mss, None);
        Self { connecting: false, inbound: true, ..made }
    }

    /// Asks the payload for the connection.
    pub fn ask(&mut self, means: &Means<'_>) {
        self.send_syn(means);
    }

    /// Whether a client outside asked for it.
    pub fn is_inbound(&self) -> bool {
        self.inbound
    }

    /// Both ends.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Whether the host is still dialling.
    pub fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Whether everything that the payload said has gone on.
    pub fn is_said(&self) -> bool {
        self.connecting || self.shut || !self.endpoint.is_open()
    }

    /// For the answer to what comes after its end: next number, and the one expected.
    pub fn last_word(&mut self) -> Control {
        self.endpoint.acknowledgement(0)
    }

    /// When [`Self::expire`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        [self.endpoint.deadline(), self.hold_until].into_iter().flatten().min()
    }

    fn room(&self) -> usize {
        let most = if self.inspect.is_some() { HELD } else { self.most_up() };
        most.saturating_sub(self.up.len())
    }

    fn most_up(&self) -> usize {
        self.paced.as_ref().map_or(UP, |paced| paced.most_up)
    }

    /// Moves bytes in its turns alone from now on.
    pub fn pace(&mut self, pace: &Pace) {
        self.paced = Some(Box::new(Paced { shares: Shares::default(), most_up: pace.most_up() }));
    }

    /// What it may move, where that is bounded.
    pub fn shares(&mut self) -> Option<&mut Shares> {
        self.paced.as_mut().map(|paced| &mut paced.shares)
    }

    /// Bytes that may pass now.
    fn may_pass(&mut self, direction: Direction) -> usize {
        self.shares().map_or(usize::MAX, |shares| shares.of(direction).room(SEGMENT))
    }

    /// Notes that some did.
    fn passed(&mut self, direction: Direction, length: usize, means: &mut Means<'_>) {
        if let (Some(paced), Some(pace)) = (&mut self.paced, means.pace.as_mut()) {
            paced.shares.of(direction).spend(length + SEGMENT);
            pace.lane(direction).spend(length + SEGMENT);
        }
    }

    /// Bytes of the host's other end that nobody took.
    pub fn unread(&self) -> usize {
        let waiting = rustix::io::ioctl_fionread(&self.socket).unwrap_or(0);
        usize::try_from(waiting).unwrap_or(0)
    }

    /// Bytes of the payload that wait.
    pub fn waiting(&self) -> usize {
        self.up.len()
    }

    fn say(&mut self, control: &Control, means: &Means<'_>) {
        self.owes = false;
        means.link.send_tcp(self.ends.outside, self.ends.inside, control, [&[], &[]]);
    }

    /// The socket's state has changed.
    pub fn notice(&mut self, readable: bool, writable: bool, hung_up: bool) {
        self.readable |= readable || hung_up;
        self.writable |= writable || hung_up;
        self.hung_up |= hung_up;
    }

    /// A segment of the payload. Work is to follow.
    pub fn receive(&mut self, segment: &Segment<'_>, means: &mut Means<'_>) -> Fate {
        if self.connecting {
            // A SYN once more, or the end of waiting: a reset of it acknowledges nothing.
            let over = segment.flags.has(Flags::RST);
            return if over { self.abort(means) } else { Fate::Waits };
        }
        if segment.flags.has(Flags::SYN) && self.endpoint.is_same_syn(segment) {
            self.send_syn(means);
            return Fate::Waits;
        }
        let received = self.endpoint.receive(segment, means.now);
        if received.reset {
            return self.abort(means);
        }
        if received.stray {
            send_reset(&self.ends, segment.ack, 0, means.link);
            self.send_syn(means);
            return Fate::Waits;
        }
        self.down.consume(received.acknowledged);
        if self.down.is_empty() {
            self.down.release(means.pool);
        }
        self.owes |= received.answer;
        if received.resend {
            self.resend(means);
        }
        let end = received.skip + received.take;
        let bytes = segment.payload.get(received.skip..end).unwrap_or_default();
        let Ok(taken) = self.take(bytes, means) else { return self.refuse(means) };
        self.endpoint.take(taken);
        if received.fin && taken == received.take {
            self.endpoint.take_fin();
            self.first_fin = self.endpoint.has_our_fin();
        }
        Fate::More
    }

    /// Does what can be done now.
    pub fn work(&mut self, means: &mut Means<'_>) -> Fate {
        if self.connecting {
            if !self.writable {
                return Fate::Waits;
            }
            let outcome = self.connected();
            // It stood, and was reset before anybody looked.
            let was_reset = outcome == Err(Errno::ECONNRESET);
            if let (Err(errno), false) = (outcome, was_reset) {
                return self.fail(errno, means);
            }
            self.connecting = false;
            self.send_syn(means);
            if was_reset {
                return self.refuse(means);
            }
        }
        if self.flush(means).is_err() {
            return self.refuse(means);
        }
        if self.up.is_empty() {
            self.up.release(means.pool);
        }
        let Ok(more) = self.pump(means) else { return self.refuse(means) };
        if self.endpoint.is_finished() && self.shut {
            if self.owes || self.endpoint.owes_answer(0) {
                let control = self.endpoint.acknowledgement(0);
                self.say(&control, means);
            }
            return Fate::Ended { first: self.first_fin };
        }
        let room = self.room();
        if self.owes || self.endpoint.owes_answer(room) {
            let control = self.endpoint.acknowledgement(room);
            self.say(&control, means);
        }
        if more { Fate::More } else { Fate::Waits }
    }

    fn connected(&self) -> Result<(), Errno> {
        Ok(sockopt::socket_error(&self.socket)??)
    }

    fn send_syn(&mut self, means: &Means<'_>) {
        let control = self.endpoint.syn(self.room(), self.mss, means.now);
        self.say(&control, means);
    }

    /// The time of [`Self::deadline`] has come.
    pub fn expire(&mut self, means: &mut Means<'_>) -> Fate {
        if self.hold_until.is_some_and(|until| until <= means.now) {
            let sight = self.inspect.as_mut().map_or(Sight::Refuse, |inspect| inspect.end());
            if sight == Sight::Hold || self.judge(sight, means.now).is_err() {
                return self.refuse(means);
            }
        }
        match self.endpoint.due(means.now) {
            Due::Nothing => {}
            Due::Resend => self.resend(means),
            Due::Probe => {
                let control = self.endpoint.probe(self.room(), means.now);
                self.say(&control, means);
            }
            Due::Lost => return self.refuse(means),
        }
        Fate::More
    }

    /// Tells the payload why the host could not connect.
    fn fail(&mut self, errno: Errno, means: &mut Means<'_>) -> Fate {
        refuse_syn(&self.ends, self.endpoint.their_first(), errno, means.link);
        self.leave(means.pool)
    }

    /// Resets both sides.
    pub fn refuse(&mut self, means: &mut Means<'_>) -> Fate {
        let control = self.endpoint.reset();
        self.say(&control, means);
        self.abort(means)
    }

    /// Resets the host's side alone.
    fn abort(&mut self, means: &mut Means<'_>) -> Fate {
        // Without it, what the host has not read yet would look like an end in order. It fails on what
        // is closed already.
        sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).unwrap_or(());
        self.leave(means.pool)
    }

    /// Gives its memory back.
    pub fn leave(&mut self, pool: &mut Pool) -> Fate {
        self.up.release(pool);
        self.down.release(pool);
        Fate::Gone
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Answers a SYN, with the number `first`, that the host could not follow.
pub fn refuse_syn(ends: &Ends, first: u32, errno: Errno, link: &Link) {
    match unreachable(errno) {
        // As the host itself would say it.
        Some(super::frame::Unreachable::Port) => send_reset(ends, 0, first.wrapping_add(1), link),
        Some(why) => {
            let quote = Quote::of_ports(ends.inside, ends.outside, protocol::TCP, first);
            link.send_unreachable(why, &quote);
        }
        None => {}
    }
}

/// A reset out of nothing.
pub fn send_reset(ends: &Ends, seq: u32, ack: u32, link: &Link) {
    let flags = Flags::RST.and(Flags::ACK);
    let control = Control { seq, ack, flags, window: 0, options: None };
    link.send_tcp(ends.outside, ends.inside, &control, [&[], &[]]);
}
