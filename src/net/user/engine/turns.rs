//! Whose packets are taken when more come than can be, on a network of several sandboxes.
//!
//! # Theory of operation
//! What waits at the link is one queue, whose end the kernel drops: a member that floods it leaves others no place. As long
//! as a turn empties it, everybody has everything. When the last turn did not, and more than one was heard of lately, a turn
//! reads much more than it takes: of each the same number of packets that may cost something, and the rest of who sent more
//! is dropped unseen, which is what makes the queue short again. As long as that is not enough, the number is halved from
//! turn to turn: what a packet costs is not known before, and the queue fills up while a turn is long.
//!
//! # Decisions
//! - Segments of connections that are there are taken always: windows bound them, and a lost one slows its owner for long.
//! - One alone is not held back: there is nobody to make room for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::BATCH;

/// Packets that a turn reads when there are too many.
const CROWD: usize = 4 * BATCH;

/// How often the number of packets that are taken of each is halved.
const PRESSES: u32 = 5;

/// For how long somebody is counted who was heard of.
const LATELY: Duration = Duration::from_secs(1);

/// More members than a usual network has are not told apart.
const MOST: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    heard: HashMap<IpAddr, Instant>,
    tidied: Option<Instant>,
    taken: HashMap<IpAddr, usize>,
    /// How many are taken of each; none where it does not matter.
    each: Option<usize>,
    /// Turns that left something behind though something was dropped, less those that did not since.
    pressed: u32,
    /// Whether the last one dropped something.
    dropped: bool,
}

impl Turns {
    /// Begins one; `late` when the one before left something behind. How many packets it may read.
    pub(super) fn begin(&mut self, late: bool, now: Instant) -> usize {
        if self.tidied.is_none_or(|when| now.saturating_duration_since(when) >= LATELY) {
            self.heard.retain(|_, when| now.saturating_duration_since(*when) < LATELY);
            self.tidied = Some(now);
        }
        self.taken.clear();
        let several = self.heard.len() > 1;
        let dropped = std::mem::take(&mut self.dropped);
        self.pressed = match (several, late) {
            (true, true) if dropped => (self.pressed + 1).min(PRESSES + 1),
            // It is what streams say, and that is theirs to say.
            (true, true) => self.pressed.saturating_sub(1).max(1),
            (true, false) => self.pressed.saturating_sub(1),
            (false, _) => 0,
        };
        let halves = self.pressed.checked_sub(1);
        self.each = halves.map(|halves| ((BATCH / self.heard.len()) >> halves).max(1));
        if self.each.is_some() { CROWD } else { BATCH }
    }

    /// Whether a packet of somebody is taken; `stands` for one of a connection that is there.
    pub(super) fn takes(
        &mut self,
        from: IpAddr,
        stands: impl FnOnce() -> bool,
        now: Instant,
    ) -> bool {
        if self.heard.len() < MOST || self.heard.contains_key(&from) {
            self.heard.insert(from, now);
        }
        let Some(each) = self.each else { return true };
        let taken = self.taken.entry(from).or_default();
        if *taken >= each {
            let stands = stands();
            self.dropped |= !stands;
            return stands;
        }
        *taken += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 2));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 3));

    /// How many of so many packets of each are taken, one of the other's behind a hundred of the greedy one's.
    fn turn(turns: &mut Turns, late: bool, now: Instant) -> (usize, usize) {
        let most = turns.begin(late, now);
        let whose = (1..=most).map(|at| if at % 100 == 0 { OTHER } else { GREEDY });
        let taken: Vec<IpAddr> = whose.filter(|from| turns.takes(*from, || false, now)).collect();
        let of = |who| taken.iter().filter(|from| **from == who).count();
        (of(GREEDY), of(OTHER))
    }

    #[test]
    fn who_floods_is_held_back_once_another_is_there() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        // Nobody else was heard of yet, or nothing was left behind.
        assert_eq!(turn(&mut turns, true, now), (BATCH, 0));
        assert!(turns.takes(OTHER, || false, now));
        assert_eq!(turn(&mut turns, false, now), (BATCH, 0));
        assert_eq!(turn(&mut turns, true, now), (BATCH / 2, CROWD / 100));
        // What was not enough is halved, and comes back as it is.
        for each in [16, 8, 4, 2, 1, 1] {
            assert_eq!(turn(&mut turns, true, now), (each, each.min(CROWD / 100)));
        }
        for each in [2, 4, 8, 16, 32] {
            assert_eq!(turn(&mut turns, false, now), (each, CROWD / 100));
        }
        assert!(turns.takes(GREEDY, || true, now) && !turns.takes(GREEDY, || false, now));
        // What connections say is no reason for it.
        for _ in 0..3 {
            turns.begin(true, now);
            assert!((0..CROWD).all(|_| turns.takes(GREEDY, || true, now)));
        }
        assert_eq!(turn(&mut turns, true, now), (BATCH / 2, CROWD / 100));
        // The other one has left.
        let later = now + LATELY;
        turns.begin(false, later);
        assert!(turns.takes(GREEDY, || false, later));
        assert_eq!(turn(&mut turns, true, later), (BATCH, 0));
    }

    #[test]
    fn not_more_are_told_apart_than_there_may_be() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        for number in 0..5000_u32 {
            let from = IpAddr::V4((0x0a09_0000 + number).into());
            assert!(turns.takes(from, || false, now));
        }
        assert_eq!(turns.heard.len(), MOST);
        assert_eq!((turns.begin(true, now), turns.each), (CROWD, Some(1)));
    }
}
