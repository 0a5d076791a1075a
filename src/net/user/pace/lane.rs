//! One direction: how much may pass, and whose turn it is.
//!
//! # Theory of operation
//! Members of a network take turns, and in a member's turn its flows do. Both are deficit round robin: a member's turn is
//! a quantum, of which each of its flows gets one; what the last of them moved beyond it is a debt, which the member
//! has before its next turn. So each member that wants it gets the same, whether by one flow or by a hundred, and
//! however short its flows live. One sandbox alone is the only member, and its flows share everything.
//!
//! # Decisions
//! - A debt is kept as long as somebody waits or comes: else who is never in the line for long would have more.
//! - A member is an address: who has one of each family counts twice, as everybody on its network ([`fair`]).
//!
//! [`fair`]: crate::net::fair

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::line::Line;
use super::{BURST, CONNECTION, PACKET, bytes_in};

/// More members than a usual network has are not told apart.
const MOST_MEMBERS: usize = 1024;

/// Those beyond them.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Who has flows that wait, or owes.
#[derive(Debug, Default)]
struct Member {
    flows: Line<u64>,
    /// Bytes that are left of its turn; less than none when it owes some.
    left: isize,
}

/// A flow's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub flow: u64,
    /// It was idle before.
    pub was_fresh: bool,
    /// Whose flow it is.
    pub(super) member: IpAddr,
}

/// See the module. Flows are known by the number that their events have.
#[derive(Debug)]
pub struct Lane {
    bucket: Bucket,
    /// Of its credit, what passes out of turn while others wait: half.
    aside: Bucket,
    /// Bytes of a turn.
    quantum: usize,
    /// Credit that is worth waking up for.
    worth: usize,
    /// What may be owed for what does not wait.
    deep: usize,
    members: HashMap<IpAddr, Member>,
    /// All members but the one whose turn it is.
    line: Line<IpAddr>,
    /// That one, and whether it was idle before.
    turn: Option<(IpAddr, bool)>,
    /// Whether what passes now is of its flow.
    moves: bool,
    /// How many flows stand in all lines.
    len: usize,
}

impl Lane {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        let tick = bytes_in(rate, Duration::from_millis(1)).max(PACKET);
        let deep = bytes_in(rate, BURST).max(0x1_0000);
        Self {
            bucket: Bucket::new(rate, bytes_in(rate, BURST).max(2 * PACKET), now),
            aside: Bucket::new(rate / 2, deep, now),
            quantum: tick.min(64 << 10),
            worth: tick,
            deep,
            members: HashMap::new(),
            line: Line::default(),
            turn: None,
            moves: false,
            len: 0,
        }
    }

    /// How many flows stand in the line, those included that are gone meanwhile.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Leaves those in the line of whom this holds.
    pub fn retain(&mut self, stays: impl Fn(u64) -> bool) {
        self.len = 0;
        for member in self.members.values_mut() {
            member.flows.retain(|flow| stays(*flow));
            self.len += member.flows.len();
        }
        let turn = self.turn.map(|(whose, _)| whose);
        self.members.retain(|whose, member| {
            !member.flows.is_empty() || member.left < 0 || turn == Some(*whose)
        });
        self.line.retain(|whose| self.members.contains_key(whose));
    }

    /// Puts a flow of a member that was idle into the line.
    pub fn join(&mut self, flow: u64, member: IpAddr) {
        self.member(member).flows.join(flow);
        self.len += 1;
    }

    /// Puts one that had its turn behind all others of its member.
    pub fn again(&mut self, turn: Turn) {
        self.member(turn.member).flows.again(turn.flow);
        self.len += 1;
    }

    fn member(&mut self, whose: IpAddr) -> &mut Member {
        let is_room = self.members.len() < MOST_MEMBERS || self.members.contains_key(&whose);
        let whose = if is_room { whose } else { OTHERS };
        match self.members.entry(whose) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.line.join(whose);
                new.insert(Member::default())
            }
        }
    }

    /// Whose turn it is; nobody's when there is no credit.
    pub fn next(&mut self, now: Instant) -> Option<Turn> {
        self.fill(now);
        self.moves = false;
        if !self.bucket.has_credit() || self.is_empty() {
            return None;
        }
        // Somebody has a flow in the line, and each time around has a quantum more.
        loop {
            let (whose, was_idle) = self.turn.or_else(|| self.begin())?;
            if let Some(member) = self.members.get_mut(&whose)
                && member.left > 0
                && let Some((flow, was_fresh)) = member.flows.next()
            {
                self.len -= 1;
                self.moves = true;
                return Some(Turn { flow, was_fresh, member: whose });
            }
            self.end(whose, was_idle);
        }
    }

    /// Begins the turn of a member.
    fn begin(&mut self) -> Option<(IpAddr, bool)> {
        self.turn = self.line.next();
        if let Some(member) = self.turn.and_then(|(whose, _)| self.members.get_mut(&whose)) {
            member.left = member.left.saturating_add_unsigned(self.quantum);
        }
        self.turn
    }

    /// Ends it. Who came first this time waits once behind the others, whatever it wants.
    fn end(&mut self, whose: IpAddr, was_idle: bool) {
        self.turn = None;
        let Some(member) = self.members.get_mut(&whose) else { return };
        // What was not used is given up; what was overdrawn is not.
        member.left = member.left.min(0);
        if was_idle || member.left < 0 || !member.flows.is_empty() {
            self.line.again(whose);
        } else {
            self.members.remove(&whose);
        }
    }

    /// The one whose turn it was is gone: the next of the same line has it.
    pub fn was_nobody(&mut self, turn: Turn) {
        if let Some(member) = self.members.get_mut(&turn.member) {
            member.flows.was_nobody(turn.was_fresh);
        }
    }

    /// Notes that so many bytes have passed.
    pub fn spend(&mut self, bytes: usize) {
        self.bucket.spend(bytes);
        let turn = self.turn.filter(|_| self.moves);
        if let Some(member) = turn.and_then(|(whose, _)| self.members.get_mut(&whose)) {
            member.left = member.left.saturating_sub_unsigned(bytes);
        }
    }

    /// Whether something small may pass out of turn.
    pub fn may_pass(&mut self, now: Instant) -> bool {
        self.fill(now);
        let is_free = self.is_empty() && self.bucket.has_credit();
        let may =
            is_free && !self.aside.owes_more_than(self.deep) || self.aside.credit() >= CONNECTION;
        may && !self.bucket.owes_more_than(self.deep)
    }

    /// What is owed aside is paid by half of the rate, and turns have the other.
    fn fill(&mut self, now: Instant) {
        let parts = if self.aside.owes_more_than(0) { 2 } else { 1 };
        self.bucket.fill_part(now, parts);
        self.aside.fill(now);
    }

    /// Notes that so many bytes have passed out of turn.
    pub fn spend_aside(&mut self, bytes: usize) {
        self.bucket.spend(bytes);
        if self.aside.credit() >= bytes {
            self.aside.spend(bytes);
        }
    }

    /// Notes that so many bytes have passed whether they might or not.
    pub fn owe(&mut self, bytes: usize) {
        self.bucket.spend(self.aside.credit().min(bytes));
        self.aside.spend(bytes);
    }

    /// Bytes of a turn.
    pub fn quantum(&self) -> usize {
        self.quantum
    }

    /// When the next turn is, where somebody waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.is_empty()).then(|| self.bucket.when(self.worth))
    }

    /// How many members are known.
    #[cfg(test)]
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }
}
