//! The loop: waits, takes packets, and lets each flow do its work.
//!
//! # Theory of operation
//! A turn: wait for events; read up to [`BATCH`] packets, each handed to its flow; then every flow that has
//! something to do works once, which also sends one acknowledgement for all it got in this turn. Timers are a heap
//! with at most one entry for each flow, looked at again when it comes up.
//!
//! # Decisions
//! - The first packet of a flow asks the policy, and a refusal is remembered by nobody: what is
//!   asked again is decided again.
//! - When there is no room for a flow, a SYN is dropped (it will come again), and the datagram
//!   flow that was quiet for the longest time makes room. On a network of several sandboxes it is one of whoever has
//!   most; and what is dialled for that one makes room for a SYN of who has less, as do connections that stand, once
//!   there can be no more of them at all.
//!
//! Long because it is one loop and what it keeps.

mod crowd;
mod doors;
mod home;
mod members;
mod paced;
mod packets;
mod turns;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::Inside;
use super::datagrams::{Datagrams, Key};
use super::dial::Dial;
use super::link::{Inbox, Link};
use super::pace::Pace;
use super::packet::parse;
use super::published::Published;
use super::ring::Pool;
use super::stream::{Ends, Fate, Means, Stream};
use super::table::{Table, Token};
use super::waiting::Waiting;
use crate::net::egress::Egress;
use crate::net::fair::Held;
use crate::plan::traffic::Totals;
use crate::sys::errno::Result;
use doors::Doors;
use members::Leaving;
use turns::Turns;

/// Packets that are read in one turn.
const BATCH: usize = 64;

/// Events that are taken in one turn.
const EVENTS: usize = 256;

/// How often flows without a timer of their own are looked over.
const ROUND: Duration = Duration::from_secs(1);

/// How long the last bytes of a payload that has ended may take to leave, without any progress.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many flows there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// TCP connections.
    pub streams: usize,
    /// Of which the host may still be dialling so many.
    pub dialling: usize,
    /// UDP flows and echoes.
    pub datagrams: usize,
}

/// What an event is about, in its two highest bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Link,
    Master,
    Names,
    /// A published port, by its number.
    Door(usize),
    Stream(Token),
    Datagrams(Token),
}

impl Source {
    fn bits(self) -> epoll::EventData {
        let (kind, rest) = match self {
            Self::Link => (0, 0),
            Self::Master => (1, 0),
            Self::Names => (1, 1),
            Self::Door(number) => (1, u64::try_from(number).unwrap_or(u64::MAX >> 2) + 2),
            Self::Stream(token) => (2, token.bits()),
            Self::Datagrams(token) => (3, token.bits()),
        };
        epoll::EventData::new_u64(kind << 62 | rest)
    }

    fn from_bits(data: epoll::EventData) -> Self {
        let token = Token::from_bits(data.u64());
        match data.u64() >> 62 {
            0 => Self::Link,
            1 => match token.bits() {
                0 => Self::Master,
                1 => Self::Names,
                door => usize::try_from(door - 2).map_or(Self::Names, Self::Door),
            },
            2 => Self::Stream(token),
            _ => Self::Datagrams(token),
        }
    }
}

/// What whoever started the netstack says.
#[derive(Debug)]
pub enum Order {
    /// Nothing more.
    Go,
    /// Somebody on the network behind the link has these addresses now.
    Came(Vec<IpAddr>),
    /// Let clients in by this port, to who has these addresses.
    Open(Published, Inside),
    /// Nobody has these addresses any more. What comes along is closed once no port leads there.
    Left(Vec<IpAddr>, Option<OwnedFd>),
    /// The payload has ended: let what it said leave, then end.
    Finish,
    /// End.
    Stop,
}

/// See the module.
pub struct Engine<E, D> {
    link: Link,
    inside: Inside,
    egress: E,
    dial: D,
    most: Most,
    events: OwnedFd,
    pool: Pool,
    streams: Table<Ends, Stream>,
    /// Whose they are.
    held: Held,
    dialling: usize,
    /// Where several share them.
    dials: crowd::Dials,
    datagrams: Table<Key, Datagrams>,
    doors: Doors,
    leaving: Leaving,
    ended: Waiting,
    /// Streams that got no memory, in order; some may be gone.
    hungry: Vec<Token>,
    work: VecDeque<Source>,
    timers: BinaryHeap<Reverse<(Instant, Token)>>,
    next_round: Instant,
    /// Flows that the payload and clients began.
    outward: u64,
    inward: u64,
    now: Instant,
    more_packets: bool,
    turns: Turns,
    secret: u64,
    room: Box<[u8]>,
    /// How fast it may go; none where nobody bounds it.
    pace: Option<Box<Pace>>,
}

impl<E: Egress, D: Dial> Engine<E, D> {
    /// For a link; `secret` makes first numbers of connections unguessable.
    pub fn new(
        link: Link,
        inside: Inside,
        egress: E,
        dial: D,
        most: Most,
        secret: u64,
    ) -> Result<Self> {
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&events, &link, Source::Link.bits(), epoll::EventFlags::IN)?;
        if let Some(names) = egress.events() {
            epoll::add(&events, names, Source::Names.bits(), epoll::EventFlags::IN)?;
        }
        let now = Instant::now();
        Ok(Self {
            link,
            inside,
            egress,
            dial,
            most,
            events,
            pool: Pool::default(),
            streams: Table::new(most.streams),
            held: Held::default(),
            dialling: 0,
            dials: Vec::new(),
            datagrams: Table::new(most.datagrams),
            doors: Doors::default(),
            leaving: Leaving::default(),
            ended: Waiting::default(),
            hungry: Vec::new(),
            work: VecDeque::new(),
            timers: BinaryHeap::new(),
            next_round: now,
            outward: 0,
            inward: 0,
            now,
            more_packets: false,
            turns: Turns::default(),
            secret,
            room: vec![0; 0x1_0000].into_boxed_slice(),
            pace: None,
        })
    }

    /// Works until `master` says otherwise; `hear` reads what it says, and knows what went through so far.
    pub fn run(&mut self, master: BorrowedFd<'_>, hear: impl Fn(Totals) -> Order) -> Result<()> {
        epoll::add(&self.events, master, Source::Master.bits(), epoll::EventFlags::IN)?;
        let mut inbox = Inbox::default();
        loop {
            if self.turn(&mut inbox)? {
                match hear(self.totals()) {
                    // There may be something for the name server to do.
                    Order::Go => {
                        self.egress.turn(self.now);
                        self.give();
                    }
                    Order::Came(addresses) => self.came(&addresses),
                    // One that cannot be watched is closed: who comes is refused.
                    Order::Open(port, inside) => self.open_door(port, inside).unwrap_or(()),
                    Order::Left(addresses, told) => {
                        self.left(addresses);
                        drop(told);
                    }
                    Order::Finish => return self.finish(&mut inbox),
                    Order::Stop => return Ok(()),
                }
            }
        }
    }

    /// Lets the last bytes leave. The payload's own kernel goes on sending what it has.
    fn finish(&mut self, inbox: &mut Inbox) -> Result<()> {
        self.doors.close();
        let mut until = self.now + FAREWELL;
        let mut before = usize::MAX;
        loop {
            let (unsaid, waiting) = self.unsaid();
            if unsaid == 0 && !self.more_packets || self.now >= until {
                return Ok(());
            }
            if unsaid + waiting + self.pool.out() != before {
                before = unsaid + waiting + self.pool.out();
                until = self.now + FAREWELL;
            }
            self.next_round = self.next_round.min(self.now + FAREWELL / 8);
            self.turn(inbox)?;
        }
    }

    /// How many flows have not passed everything on, and how many bytes wait there.
    fn unsaid(&mut self) -> (usize, usize) {
        let queued = self.pace.as_ref().map_or(0, |pace| pace.queued());
        let unsaid = self.streams.iter_mut().filter(|(_, stream)| !stream.is_said());
        let begin = (usize::from(queued > 0), queued);
        unsaid.fold(begin, |(count, bytes), (_, stream)| (count + 1, bytes + stream.waiting()))
    }

    /// One turn; whether the master has something to say.
    pub fn turn(&mut self, inbox: &mut Inbox) -> Result<bool> {
        let mut master = false;
        let mut names = false;
        let mut readable = self.more_packets;
        for (source, flags) in self.wait()? {
            match source {
                Source::Link => readable = true,
                Source::Master => master = true,
                Source::Names => names = true,
                Source::Door(number) => self.doors.knock(number),
                Source::Stream(token) => self.notice(token, flags),
                Source::Datagrams(token) => self.queue_datagrams(token),
            }
        }
        if names {
            self.see_home();
        }
        if readable {
            self.read_link(inbox)?;
        }
        names |= self.egress.deadline().is_some_and(|deadline| deadline <= self.now);
        if names {
            self.egress.turn(self.now);
            self.give();
        }
        self.see_to_doors();
        self.do_work();
        self.take_turns();
        self.run_timers();
        self.feed_hungry();
        Ok(master)
    }

    fn wait(&mut self) -> Result<Vec<(Source, epoll::EventFlags)>> {
        let busy = self.more_packets || !self.work.is_empty();
        let timer = self.timers.peek().map(|Reverse((when, _))| *when);
        let idle = self.datagrams.is_empty() && self.ended.is_empty() && self.leaving.is_empty();
        let round = (!idle).then_some(self.next_round);
        let names = self.egress.deadline();
        let next = timer.into_iter().chain(round).chain(names).chain(self.doors.deadline(self.now));
        let next = next.chain(self.pace.as_ref().and_then(|pace| pace.deadline())).min();
        let timeout = match next {
            _ if busy => Some(Duration::ZERO),
            Some(when) => Some(when.saturating_duration_since(Instant::now())),
            None => None,
        };
        let timeout = timeout.and_then(|span| Timespec::try_from(span).ok());
        let mut events = Vec::with_capacity(EVENTS);
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.events, spare, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.now = Instant::now();
        Ok(events.iter().map(|event| (Source::from_bits(event.data), event.flags)).collect())
    }

    fn read_link(&mut self, inbox: &mut Inbox) -> Result<()> {
        let is_late = std::mem::take(&mut self.more_packets);
        for _ in 0..self.turns.begin(is_late, self.now) {
            let Some(length) = self.link.read(inbox)? else { return Ok(()) };
            if let Some(packet) = parse(inbox.packet(length))
                && self.is_its_turn(&packet)
            {
                self.take(&packet);
            }
        }
        self.more_packets = true;
        Ok(())
    }

    fn notice(&mut self, token: Token, flags: epoll::EventFlags) {
        use epoll::EventFlags as F;
        if let Some(stream) = self.streams.get(token) {
            let hung_up = flags.intersects(F::HUP | F::ERR | F::RDHUP);
            stream.notice(flags.contains(F::IN), flags.contains(F::OUT), hung_up);
            stream.heard = Some(self.now);
            self.queue_stream(token);
        }
    }

    fn queue_stream(&mut self, token: Token) {
        if let Some(stream) = self.streams.get(token).filter(|stream| !stream.queued) {
            stream.queued = true;
            self.work.push_back(Source::Stream(token));
        }
    }

    fn queue_datagrams(&mut self, token: Token) {
        if let Some(flow) = self.datagrams.get(token).filter(|flow| !flow.queued) {
            flow.queued = true;
            self.work.push_back(Source::Datagrams(token));
        }
    }

    /// Lets each flow that is in the list work once.
    fn do_work(&mut self) {
        for _ in 0..self.work.len() {
            match self.work.pop_front() {
                Some(Source::Stream(token)) => {
                    let Some(stream) = self.streams.get(token) else { continue };
                    stream.queued = false;
                    self.work_stream(token);
                }
                Some(Source::Datagrams(token)) => {
                    let Some(flow) = self.datagrams.get(token) else { continue };
                    flow.queued = false;
                    let pace = self.pace.as_deref_mut();
                    if flow.receive(&mut self.room, &self.link, self.now, pace) {
                        self.queue_datagrams(token);
                    }
                    self.line_up_datagrams(token);
                }
                Some(Source::Link | Source::Master | Source::Names | Source::Door(_)) | None => {}
            }
        }
    }

    fn work_stream(&mut self, token: Token) {
        self.act(token, Stream::work);
    }

    /// Has a stream do something, and settles what comes of it.
    fn act(&mut self, token: Token, deed: impl FnOnce(&mut Stream, &mut Means<'_>) -> Fate) {
        let mut means = Means {
            link: &self.link,
            pool: &mut self.pool,
            pace: self.pace.as_deref_mut(),
            now: self.now,
        };
        let Some(stream) = self.streams.get(token) else { return };
        let dialled = stream.is_connecting();
        means.pool.serve(stream.ends().inside.ip());
        let fate = deed(stream, &mut means);
        if dialled && !stream.is_connecting() {
            self.dialling -= 1;
        }
        if self.pool.was_short() {
            self.note_hungry(token);
        }
        self.settle(token, fate);
    }

    /// Does what follows from the fate of a stream.
    fn settle(&mut self, token: Token, fate: Fate) {
        match fate {
            Fate::Waits => {}
            Fate::More => self.queue_stream(token),
            Fate::Ended { first } => {
                let Some(mut stream) = self.forget_stream(token) else { return };
                if first {
                    self.ended.add(stream.ends(), stream.last_word(), self.now);
                }
                stream.leave(&mut self.pool);
                return;
            }
            Fate::Gone => {
                let stream = self.forget_stream(token);
                if stream.is_some_and(|stream| stream.is_connecting()) {
                    self.dialling -= 1;
                }
                return;
            }
        }
        self.line_up_stream(token);
        let Some(stream) = self.streams.get(token) else { return };
        if let Some(deadline) = stream.deadline()
            && stream.armed.is_none_or(|armed| deadline < armed)
        {
            stream.armed = Some(deadline);
            self.timers.push(Reverse((deadline, token)));
        }
    }

    fn run_timers(&mut self) {
        while let Some(Reverse((when, token))) = self.timers.peek().copied()
            && when <= self.now
        {
            self.timers.pop();
            self.act(token, |stream, means| {
                stream.armed = None;
                let is_due = stream.deadline().is_some_and(|deadline| deadline <= means.now);
                if is_due { stream.expire(means) } else { Fate::Waits }
            });
        }
        if self.next_round <= self.now {
            self.next_round = self.now + ROUND;
            self.ended.expire(self.now);
            self.see_off();
            let now = self.now;
            let over = self.datagrams.iter_mut().filter(|(_, flow)| flow.is_over(now));
            let over: Vec<Token> = over.map(|(token, _)| token).collect();
            for token in over {
                self.forget_flow(token);
            }
        }
    }
}

/// For the one who looks at it from outside.
impl<E, D> Engine<E, D> {
    /// What makes its sockets.
    pub fn dial(&self) -> &D {
        &self.dial
    }

    /// Packets that were to be written down, and are not.
    pub fn not_captured(&self) -> u64 {
        self.link.not_captured()
    }

    /// The end of the interface.
    pub fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// What went through so far.
    pub fn totals(&self) -> Totals {
        let (sent, received) = self.link.amounts();
        Totals { sent, received, outward: self.outward, inward: self.inward }
    }

    /// How many streams, datagram flows and bytes of buffers there are.
    pub fn size(&self) -> (usize, usize, usize) {
        (self.streams.len(), self.datagrams.len(), self.pool.out())
    }
}
