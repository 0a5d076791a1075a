//! Who waits for a turn, and whose it is: of members of a network, and of the flows of one.

use std::collections::VecDeque;

/// Those who wait. Who was idle comes before those who always want more, one of each in turn.
#[derive(Debug)]
pub(super) struct Line<T> {
    fresh: VecDeque<T>,
    waiting: VecDeque<T>,
    fresh_is_next: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { fresh: VecDeque::new(), waiting: VecDeque::new(), fresh_is_next: true }
    }
}

impl<T> Line<T> {
    /// How many stand in it.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.waiting.is_empty()
    }

    /// Puts one in it who was idle.
    pub(super) fn join(&mut self, who: T) {
        self.fresh.push_back(who);
    }

    /// Puts one who had its turn behind all others.
    pub(super) fn again(&mut self, who: T) {
        self.waiting.push_back(who);
    }

    /// Whose turn it is, and whether it was idle before.
    pub(super) fn next(&mut self) -> Option<(T, bool)> {
        let is_fresh = match (self.fresh.is_empty(), self.waiting.is_empty()) {
            (false, false) => self.fresh_is_next,
            (is_none, _) => !is_none,
        };
        self.fresh_is_next = !is_fresh;
        let line = if is_fresh { &mut self.fresh } else { &mut self.waiting };
        line.pop_front().map(|who| (who, is_fresh))
    }

    /// The one whose turn it was is gone: the next of the same kind has it.
    pub(super) fn was_nobody(&mut self, was_fresh: bool) {
        self.fresh_is_next = was_fresh;
    }

    /// Leaves those in it of whom this holds.
    pub(super) fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        self.fresh.retain(&stays);
        self.waiting.retain(&stays);
    }
}
