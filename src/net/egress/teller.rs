//! What flows are told of while the payload runs: the first to each place, and the first refusal of each.
//!
//! # Decisions
//! - Bounded in time and not in all: a payload that tries everything fills no disk, and one that lives for months
//!   is told of to its end. What was not told is counted, and the record has its sums in any case.
//! - A flow that is known costs a look into a small set, and nothing is sent.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::plan::traffic::Flow;

/// Most that are told at once.
const MOST: u32 = 64;
/// How long until one more may be.
const OFTEN: Duration = Duration::from_secs(10);
/// Places that are known; with one more all are forgotten, so that they are told of again.
const KNOWN: usize = 256;

/// What is told of a flow, and of whom.
pub type Tell = Rc<dyn Fn(IpAddr, &Flow)>;

/// See the module.
pub(super) struct Teller {
    tell: Tell,
    known: BTreeSet<Flow>,
    left: u32,
    since: Instant,
    skipped: u64,
}

impl Teller {
    /// To `tell`, from now on.
    pub(super) fn new(tell: Tell, now: Instant) -> Self {
        Self { tell, known: BTreeSet::new(), left: MOST, since: now, skipped: 0 }
    }

    /// Tells of a flow of `from`, unless it is known or there are too many.
    pub(super) fn tell(&mut self, from: IpAddr, flow: Flow, now: impl FnOnce() -> Instant) {
        if self.known.contains(&flow) {
            return;
        }
        self.refill(now());
        if self.left == 0 {
            self.skipped = self.skipped.saturating_add(1);
            return;
        }
        self.left -= 1;
        (self.tell)(from, &Flow { skipped: std::mem::take(&mut self.skipped), ..flow.clone() });
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(flow);
    }

    fn refill(&mut self, now: Instant) {
        let more = now.saturating_duration_since(self.since).as_secs() / OFTEN.as_secs();
        let more = u32::try_from(more).unwrap_or(u32::MAX).min(MOST - self.left);
        self.left += more;
        // What is full gains nothing by waiting.
        self.since = if self.left == MOST { now } else { self.since + OFTEN * more };
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::traffic::Protocol;
    use std::cell::RefCell;

    fn flow(number: u32) -> Flow {
        let address = Some(core::net::Ipv4Addr::from_bits(0xc000_0200 + number).into());
        Flow { address, ..Flow::new(None, Protocol::Tcp, Some(80)) }
    }

    #[test]
    fn each_is_told_once_and_a_flood_is_counted() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let (begin, heard) = (Instant::now(), Rc::clone(&told));
        let from = IpAddr::from([10, 0, 2, 100]);
        let tell = move |who, flow: &Flow| {
            assert_eq!(who, from);
            heard.borrow_mut().push(flow.clone());
        };
        let mut teller = Teller::new(Rc::new(tell), begin);
        let mut at = |number, seconds| {
            teller.tell(from, flow(number), || begin + Duration::from_secs(seconds));
            told.borrow().len()
        };
        for number in 0..10 {
            assert_eq!(at(number, 0), usize::try_from(number).unwrap() + 1);
        }
        // The same, and refused.
        assert_eq!(at(3, 9), 10);
        for number in 0..1000 {
            at(number, 9);
        }
        assert_eq!(told.borrow().len(), 64);
        at(5000, 19);
        assert_eq!(told.borrow().len(), 65);
        assert_eq!(told.borrow()[64], Flow { skipped: 1000 - 64, ..flow(5000) });
        // After a long time no more than at the beginning, and what is forgotten is told of again.
        for round in 1..8 {
            for number in 0..1000 {
                teller.tell(from, flow(number), || begin + Duration::from_secs(round * 1_000_000));
            }
            let told = told.borrow();
            assert_eq!(told.len(), 65 + 64 * usize::try_from(round).unwrap());
            assert!(told.len() < KNOWN || teller.known.len() <= KNOWN);
        }
        let again = told.borrow().iter().filter(|told| told.address == flow(0).address).count();
        assert!(again > 1, "{again}");
    }
}
