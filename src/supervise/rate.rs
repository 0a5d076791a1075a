//! How many refused calls are answered in a second.
//!
//! # Theory of operation
//! An answer takes a token; there are at most [`BURST`], and [`PER_SECOND`] come back each second. With
//! none left the supervisor does not listen: the calls wait in the kernel, and a payload that calls in
//! a loop sleeps instead of keeping two processors busy. At 2.4 µs for a call, ten thousand of them
//! are a fortieth of one processor.

use std::time::{Duration, Instant};

/// Answers that can be given at once after a pause.
pub(super) const BURST: u32 = 10_000;

/// Answers that can be given each second in the long run.
pub(super) const PER_SECOND: u32 = 10_000;

/// With none left, this many are waited for, so that a loop is not answered one by one.
const BATCH: u32 = 100;

/// The tokens; see the module.
#[derive(Debug)]
pub(super) struct Rate {
    tokens: u32,
    counted: Instant,
    resting: bool,
}

impl Rate {
    /// All tokens are there.
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: BURST, counted: now, resting: false }
    }

    /// Takes a token; false when there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.resting || self.tokens == 0 {
            self.resting = true;
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// How long to wait until the next token; none when there is one now.
    pub(super) fn rest(&mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        if self.tokens == 0 {
            self.resting = true;
        }
        let wanted = Duration::from_secs(1) * (BATCH.saturating_sub(self.tokens)) / PER_SECOND;
        self.resting.then(|| wanted.saturating_sub(now.saturating_duration_since(self.counted)))
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        let whole = passed.as_micros() * u128::from(PER_SECOND) / 1_000_000;
        let Ok(whole) = u32::try_from(whole) else {
            *self = Self::new(now);
            return;
        };
        // What is left of a token's time is not lost.
        self.counted += Duration::from_secs(1) * whole / PER_SECOND;
        self.tokens = self.tokens.saturating_add(whole).min(BURST);
        if self.tokens >= BATCH {
            self.resting = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ten_thousand_at_once_and_then_a_rest() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        assert_eq!((0..20_000).filter(|_| rate.take(start)).count(), 10_000);
        let rest = rate.rest(start).unwrap();
        assert_eq!(rest, Duration::from_millis(10));
        assert!(!rate.take(start + rest / 2));
        assert_eq!(rate.rest(start + rest), None);
        assert!(rate.take(start + rest));
        assert_eq!(Rate::new(start).rest(start), None);
    }

    #[test]
    fn a_long_pause_gives_no_more_than_a_burst() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        while rate.take(start) {}
        for pause in [Duration::from_secs(2), Duration::from_secs(1 << 40)] {
            let later = start + pause;
            assert_eq!((0..20_000).filter(|_| rate.take(later)).count(), 10_000);
        }
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_burst_and_refill(gaps in proptest::collection::vec(0u64..2_000, 1..400)) {
            let start = Instant::now();
            let mut rate = Rate::new(start);
            let (mut now, mut taken) = (start, 0_u128);
            for gap in gaps {
                now += Duration::from_micros(gap);
                for _ in 0..200 {
                    taken += u128::from(rate.take(now));
                }
                let passed = (now - start).as_micros();
                let most = u128::from(BURST) + passed * u128::from(PER_SECOND) / 1_000_000;
                prop_assert!(taken <= most);
            }
        }

        #[test]
        fn after_the_rest_there_is_a_token(gaps in proptest::collection::vec(0u64..500, 0..50)) {
            let mut now = Instant::now();
            let mut rate = Rate::new(now);
            while rate.take(now) {}
            for gap in gaps {
                now += Duration::from_micros(gap);
                while rate.take(now) {}
                let rest = rate.rest(now).unwrap();
                now += rest;
                prop_assert!(rate.take(now));
            }
        }
    }
}
