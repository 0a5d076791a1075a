//! Whose turn it is to move bytes, where a rate is set.
//!
//! A flow that has more to move than its share lines up ([`Lane`]), with those of the same sandbox; each turn of the
//! engine lets those that are first move a quantum, as long as there is credit. Without a rate nothing here does anything.

use std::net::SocketAddr;

use rustix::event::epoll;
use rustix::net::sockopt;

use super::{Engine, Source};
use crate::net::egress::Egress;
use crate::net::user::datagrams::Datagrams;
use crate::net::user::dial::Dial;
use crate::net::user::pace::{Direction, Lane, Pace, Queue, Share};
use crate::net::user::stream::Stream;
use crate::net::user::table::Token;
use crate::spec::net::Rate;

/// Where names are asked.
const NAMES: u16 = 53;

impl<E: Egress, D: Dial> Engine<E, D> {
    /// Lets nothing pass faster than this, from now on. Before the first flow.
    pub fn pace(&mut self, rate: Rate) {
        self.pace = Some(Box::new(Pace::new(rate, self.now)));
    }

    /// Has a new stream wait for its turns.
    pub(super) fn pace_stream(&self, stream: &mut Stream) {
        if let Some(pace) = &self.pace {
            stream.pace(pace);
            bound_buffer(stream, pace);
        }
    }

    /// The same for datagrams.
    pub(super) fn pace_flow(&self, flow: &mut Datagrams) {
        if let Some(pace) = &self.pace {
            flow.paced = Some(Box::default());
            if let Some(socket) = flow.own() {
                bound_buffer(socket, pace);
            }
        }
    }

    /// Whether a connection may be opened.
    pub(super) fn may_open(&mut self) -> bool {
        let now = self.now;
        self.pace.as_mut().is_none_or(|pace| pace.may_open(now))
    }

    /// Notes that one was.
    pub(super) fn opened(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.opened();
        }
    }

    /// Notes what a stream that ends leaves in its socket: it came all the way.
    pub(super) fn left_behind(&mut self, stream: &Stream) {
        if let Some(pace) = &mut self.pace {
            pace.down.owe(stream.unread());
        }
    }

    /// Notes what the name server had to ask.
    pub(super) fn count_names(&mut self) {
        let passed = self.egress.passed();
        if let Some(pace) = &mut self.pace {
            pace.named(passed);
        }
    }

    /// Notes that something passed which others have no part in.
    pub(super) fn count(&mut self, direction: Direction, bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.lane(direction).spend(bytes);
        }
    }

    /// Whether a question for a name is one too many. Other datagrams wait in the queue of their flow.
    pub(super) fn is_too_fast(&mut self, to: SocketAddr) -> bool {
        let now = self.now;
        to.port() == NAMES && self.pace.as_mut().is_some_and(|pace| !pace.up.may_pass(now))
    }

    /// How many stand in the lines.
    #[cfg(test)]
    pub(in crate::net::user) fn lined_up(&self) -> usize {
        self.pace.as_ref().map_or(0, |pace| pace.up.len() + pace.down.len())
    }

    /// Takes those out of the lines who are gone, once they may be more than those who are not.
    fn tidy(&mut self) {
        let Some(pace) = &mut self.pace else { return };
        let most = 64 + 2 * (self.streams.len() + self.datagrams.len() + self.doors.len());
        let (streams, datagrams, doors) = (&self.streams, &self.datagrams, &self.doors);
        let stays = |flow| match Source::from_bits(epoll::EventData::new_u64(flow)) {
            Source::Stream(token) => streams.peek(token).is_some(),
            Source::Datagrams(token) => datagrams.peek(token).is_some(),
            Source::Door(door) => doors.is_open(door),
            Source::Link | Source::Master | Source::Names => false,
        };
        let full = |lane: &&mut Lane| lane.len() > most;
        [&mut pace.up, &mut pace.down].into_iter().filter(full).for_each(|lane| lane.retain(stays));
    }

    /// Passes a datagram of the payload on, or has it wait.
    pub(super) fn pass_out(&mut self, token: Token, number: u16, payload: &[u8]) {
        let Some(flow) = self.datagrams.get(token) else { return };
        let (Some(queue), Some(pace)) = (&mut flow.paced, &mut self.pace) else {
            return flow.send(number, payload, &self.link, self.now);
        };
        queue.push(number, payload, pace);
        self.line_up_datagrams(token);
    }

    /// Puts a stream that wants a turn into the line.
    pub(super) fn line_up_stream(&mut self, token: Token) {
        let Some(pace) = &mut self.pace else { return };
        let Some(stream) = self.streams.get(token) else { return };
        let whose = stream.ends().inside.ip();
        let Some(shares) = stream.shares() else { return };
        for direction in [Direction::Up, Direction::Down] {
            if shares.of(direction).lines_up() {
                pace.lane(direction).join(number(Source::Stream(token)), whose);
            }
        }
    }

    /// The same for datagrams.
    pub(super) fn line_up_datagrams(&mut self, token: Token) {
        let Some(pace) = &mut self.pace else { return };
        let Some(flow) = self.datagrams.get(token) else { return };
        let whose = flow.ends().inside.ip();
        let Some(queue) = &mut flow.paced else { return };
        for direction in [Direction::Up, Direction::Down] {
            if queue.shares.of(direction).lines_up() {
                pace.lane(direction).join(number(Source::Datagrams(token)), whose);
            }
        }
    }

    /// The same for clients' datagrams at a published port; nothing is left to do at once.
    pub(super) fn line_up_door(&mut self, door: usize) -> bool {
        let Some(whose) = self.doors.leads_to(door) else { return false };
        if let (Some(pace), Some(share)) = (&mut self.pace, self.doors.share(door)) {
            share.want();
            if share.lines_up() {
                pace.down.join(number(Source::Door(door)), whose);
            }
        }
        false
    }

    /// Takes closed ports out of the line: the next port of such a number has a place of its own.
    pub(super) fn step_out(&mut self, closed: &[usize]) {
        if let Some(pace) = &mut self.pace {
            let closed: Vec<u64> = closed.iter().map(|door| number(Source::Door(*door))).collect();
            pace.down.retain(|flow| !closed.contains(&flow));
        }
    }

    /// Lets flows move as long as there is credit.
    pub(super) fn take_turns(&mut self) {
        self.tidy();
        for direction in [Direction::Up, Direction::Down] {
            while let Some(pace) = &mut self.pace
                && let Some(turn) = pace.lane(direction).next(self.now)
            {
                let source = Source::from_bits(epoll::EventData::new_u64(turn.flow));
                let quantum = pace.lane(direction).quantum();
                let Some(share) = self.share(source, direction) else {
                    if let Some(pace) = &mut self.pace {
                        pace.lane(direction).was_nobody(turn);
                    }
                    continue;
                };
                share.begin(quantum);
                self.take_turn(source, direction);
                // It may be gone now.
                let share = self.share(source, direction);
                let stays = share.is_some_and(|share| share.end(turn.was_fresh));
                if let (true, Some(pace)) = (stays, &mut self.pace) {
                    pace.lane(direction).again(turn);
                }
            }
        }
    }

    fn share(&mut self, source: Source, direction: Direction) -> Option<&mut Share> {
        match source {
            Source::Stream(token) => Some(self.streams.get(token)?.shares()?.of(direction)),
            Source::Datagrams(token) => {
                let queue: &mut Queue = self.datagrams.get(token)?.paced.as_mut()?;
                Some(queue.shares.of(direction))
            }
            Source::Door(door) => self.doors.share(door),
            Source::Link | Source::Master | Source::Names => None,
        }
    }

    fn take_turn(&mut self, source: Source, direction: Direction) {
        match (source, direction) {
            (Source::Stream(token), _) => self.work_stream(token),
            (Source::Datagrams(token), Direction::Up) => {
                let Some(flow) = self.datagrams.get(token) else { return };
                if let Some(pace) = &mut self.pace {
                    flow.flush(pace, &self.link, self.now);
                }
            }
            (Source::Datagrams(token), Direction::Down) => {
                let Some(flow) = self.datagrams.get(token) else { return };
                let pace = self.pace.as_deref_mut();
                let more = flow.receive(&mut self.room, &self.link, self.now, pace);
                if let (true, Some(queue)) = (more, &mut flow.paced) {
                    queue.shares.of(direction).want();
                }
            }
            (Source::Door(door), _) => {
                if self.hear(door)
                    && let Some(share) = self.doors.share(door)
                {
                    share.want();
                }
            }
            (Source::Link | Source::Master | Source::Names, _) => {}
        }
    }
}

fn number(source: Source) -> u64 {
    source.bits().u64()
}

/// A smaller buffer is the kernel's to refuse, and a larger one lets a little more wait there.
fn bound_buffer(socket: impl std::os::fd::AsFd, pace: &Pace) {
    if let Some(bytes) = pace.receive_buffer() {
        sockopt::set_socket_recv_buffer_size(socket, bytes).unwrap_or(());
    }
}
