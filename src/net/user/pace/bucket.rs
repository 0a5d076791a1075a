//! A bucket of credit that fills at a rate, and never above its brim.
//!
//! # Decisions
//! - Counted in bits times nanoseconds, so that a rate times a span is a whole number: nothing is rounded, and no error
//!   adds up at any rate.
//! - It may be overdrawn, by what is too large to be cut; the debt is paid before anything else passes. So what passes
//!   in any span is at most the rate times it, the brim, and one piece.

use std::time::{Duration, Instant};

const SECOND: i128 = 1_000_000_000;

/// See the module.
#[derive(Debug)]
pub struct Bucket {
    /// Bits per second.
    rate: i128,
    brim: i128,
    credit: i128,
    filled: Instant,
}

fn units(bytes: usize) -> i128 {
    i128::try_from(bytes).unwrap_or(i128::MAX >> 40) * 8 * SECOND
}

impl Bucket {
    /// One that is full of `brim` bytes.
    pub fn new(rate: u64, brim: usize, now: Instant) -> Self {
        Self { rate: i128::from(rate), brim: units(brim), credit: units(brim), filled: now }
    }

    /// Adds what came since the last time.
    pub fn fill(&mut self, now: Instant) {
        self.fill_part(now, 1);
    }

    /// Adds one of so many parts of it.
    pub fn fill_part(&mut self, now: Instant, parts: i128) {
        let span = now.saturating_duration_since(self.filled);
        let span = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX >> 40);
        self.credit = (self.credit + self.rate * span / parts).min(self.brim);
        self.filled = self.filled.max(now);
    }

    /// Whether anything may pass.
    pub fn has_credit(&self) -> bool {
        self.credit > 0
    }

    /// Whole bytes that may pass.
    pub fn credit(&self) -> usize {
        usize::try_from(self.credit / units(1)).unwrap_or(0)
    }

    /// Whether it is overdrawn by more than so many bytes.
    pub fn owes_more_than(&self, bytes: usize) -> bool {
        self.credit < -units(bytes)
    }

    /// Notes that so many bytes have passed.
    pub fn spend(&mut self, bytes: usize) {
        self.credit -= units(bytes);
    }

    /// When there is credit for so many bytes.
    pub fn when(&self, bytes: usize) -> Instant {
        let lacks = (units(bytes).min(self.brim) - self.credit).max(0);
        let span = (lacks + self.rate - 1) / self.rate;
        let span = Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX >> 8));
        self.filled + span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_span_lets_more_through_than_the_rate_the_brim_and_one_piece(
            rate in 16_000_u64..=100_000_000_000,
            brim in 1_500_usize..1_000_000,
            steps in proptest::collection::vec((0_u64..50_000_000, 1_usize..70_000), 1..200),
        ) {
            let begin = Instant::now();
            let mut bucket = Bucket::new(rate, brim, begin);
            let mut now = begin;
            let mut passed: Vec<(Instant, usize)> = Vec::new();
            let largest = steps.iter().map(|(_, size)| *size).max().unwrap_or(0);
            for (span, size) in steps {
                now += Duration::from_nanos(span);
                bucket.fill(now);
                while bucket.has_credit() && passed.len() < 20_000 {
                    bucket.spend(size);
                    passed.push((now, size));
                }
            }
            // From every beginning, by the one pass of the worst span that ends here.
            let mut level = 0_i128;
            let mut before = begin;
            let most = units(brim) + units(largest);
            for (at, size) in passed {
                let span = i128::try_from(at.duration_since(before).as_nanos()).unwrap();
                level = (level - i128::from(rate) * span).max(0) + units(size);
                before = at;
                prop_assert!(level <= most, "{level} {most}");
            }
        }

        #[test]
        fn who_always_waits_until_it_is_time_gets_the_whole_rate(
            rate in 16_000_u64..=100_000_000_000,
            sizes in proptest::collection::vec(1_usize..70_000, 50..300),
        ) {
            let begin = Instant::now();
            let mut bucket = Bucket::new(rate, 3_000, begin);
            bucket.spend(3_000);
            let (mut now, mut passed) = (begin, 0_u128);
            for size in sizes {
                bucket.fill(now);
                if !bucket.has_credit() {
                    now = bucket.when(1);
                    bucket.fill(now);
                    prop_assert!(bucket.has_credit());
                }
                bucket.spend(size);
                passed += size as u128;
            }
            // All but what is owed at the end has been paid by time.
            let time = now.duration_since(begin).as_nanos();
            let paid = u128::from(rate) * time / 8 / 1_000_000_000;
            prop_assert!(paid <= passed + 16 && passed <= paid + 70_001, "{paid} {passed}");
        }
    }

    #[test]
    fn an_idle_year_fills_it_to_the_brim_and_a_clock_that_stands_adds_nothing() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(100_000_000_000, 1_500, begin);
        bucket.fill(begin + Duration::from_hours(24 * 365));
        bucket.spend(1_500);
        assert!(!bucket.has_credit());
        bucket.fill(begin);
        assert!(!bucket.has_credit());
        assert!(!bucket.owes_more_than(0));
        bucket.spend(1);
        assert!(bucket.owes_more_than(0) && !bucket.owes_more_than(1));
    }
}
