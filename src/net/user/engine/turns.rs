//! Whose packets are taken when more come than can be, on a network of several sandboxes.
//!
//! # Theory of operation
//! What waits at the link is one queue, whose end the kernel drops: a member that floods it leaves others no place. As long
//! as a turn empties it, everybody has everything. When the last turn did not, and more than one was heard of lately, a turn
//! reads much more than it takes: of each the same number of packets that may cost something, and the rest of who sent more
//! is dropped unseen, which is what makes the queue short again.
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
}

impl Turns {
    /// Begins one; `late` when the one before left something behind. How many packets it may read.
    pub(super) fn begin(&mut self, late: bool, now: Instant) -> usize {
        if self.tidied.is_none_or(|when| now.saturating_duration_since(when) >= LATELY) {
            self.heard.retain(|_, when| now.saturating_duration_since(*when) < LATELY);
            self.tidied = Some(now);
        }
        self.taken.clear();
        let several = late && self.heard.len() > 1;
        self.each = several.then(|| (BATCH / self.heard.len()).max(1));
        if several { CROWD } else { BATCH }
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
            return stands();
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
        assert!(turns.takes(GREEDY, || true, now) && !turns.takes(GREEDY, || false, now));
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
