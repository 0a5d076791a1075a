//! Who makes room, where several sandboxes share what there is of something.
//!
//! # Theory of operation
//! Nothing lies idle that somebody wants. Once everything is taken, whoever holds most makes room for who holds less;
//! who holds most goes without more, or gives up something older of its own. So whatever somebody does, each of `n` comes to
//! hold an `n`th of it, if it wants that much, and who holds nothing gets one.
//!
//! # Decisions
//! - It is counted when it is decided, and not before: as long as there is room, nobody counts. Where there are
//!   thousands, and anybody can have it decided by one packet, it is counted as they come and go ([`Held`]).
//! - A holder is an address. Who has one of each family counts twice, as everybody on its network.

use std::collections::HashMap;
use std::net::IpAddr;

/// Who makes room for `newcomer`, of those who hold one thing for each time that they are named. `None`: nobody but
/// itself.
pub fn yields(mut held: Vec<IpAddr>, newcomer: IpAddr) -> Option<IpAddr> {
    held.sort_unstable();
    let own = held.iter().filter(|who| **who == newcomer).count();
    let each = held.chunk_by(|one, other| one == other);
    most_of(each.filter_map(|same| Some((*same.first()?, same.len()))), own)
}

/// Who of these holds most, where it is more than who holds `own` would have with one more.
fn most_of(each: impl Iterator<Item = (IpAddr, usize)>, own: usize) -> Option<IpAddr> {
    let (whose, most) = each.max_by_key(|(who, count)| (*count, *who))?;
    // With one more than the newcomer they would only change places.
    (own == 0 || most > own + 1).then_some(whose)
}

/// How much of something each holds.
#[derive(Debug, Default)]
pub struct Held {
    each: HashMap<IpAddr, usize>,
    all: usize,
}

impl Held {
    /// One more.
    pub fn add(&mut self, whose: IpAddr) {
        *self.each.entry(whose).or_default() += 1;
        self.all += 1;
    }

    /// One less, of those that were added.
    pub fn remove(&mut self, whose: IpAddr) {
        if let Some(count) = self.each.get_mut(&whose) {
            *count -= 1;
            self.all -= 1;
            if *count == 0 {
                self.each.remove(&whose);
            }
        }
    }

    /// All together.
    pub fn all(&self) -> usize {
        self.all
    }

    /// As [`yields`].
    pub fn yields(&self, newcomer: IpAddr) -> Option<IpAddr> {
        let own = self.each.get(&newcomer).copied().unwrap_or(0);
        most_of(self.each.iter().map(|(who, count)| (*who, *count)), own)
    }

    /// The same where anybody can be a newcomer under a new name: who holds one alone makes no room.
    pub fn yields_of_several(&self, newcomer: IpAddr) -> Option<IpAddr> {
        self.yields(newcomer).filter(|whose| self.each.get(whose).is_some_and(|count| *count > 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(last: u8) -> IpAddr {
        [10, 9, 0, last].into()
    }

    fn held(counts: &[usize]) -> Vec<IpAddr> {
        (0..).zip(counts).flat_map(|(who, count)| vec![member(who); *count]).collect()
    }

    #[test]
    fn whoever_holds_most_yields_to_who_holds_less() {
        assert_eq!(yields(held(&[5, 2]), member(1)), Some(member(0)));
        assert_eq!(yields(held(&[5, 2, 7]), member(0)), Some(member(2)));
        assert_eq!(yields(held(&[1, 1, 1]), member(9)), Some(member(2)));
        for (counts, newcomer) in [(&[7][..], 0), (&[5, 4], 1), (&[4, 5], 1), (&[], 3)] {
            assert_eq!(yields(held(counts), member(newcomer)), None, "{counts:?} {newcomer}");
        }
    }

    #[test]
    fn who_holds_one_alone_gives_it_to_nobody_unknown() {
        let mut all = Held::default();
        all.add(member(0));
        all.add(member(1));
        assert_eq!(
            (all.yields(member(2)), all.yields_of_several(member(2))),
            (Some(member(1)), None)
        );
        all.add(member(0));
        assert_eq!(all.yields_of_several(member(2)), Some(member(0)));
    }

    proptest! {
        #[test]
        fn counted_as_they_come_and_go_it_is_the_same(
            deeds in prop::collection::vec((any::<bool>(), 0u8..4), 0..60), newcomer in 0u8..5,
        ) {
            let (mut list, mut counted) = (Vec::new(), Held::default());
            for (comes, who) in deeds {
                let who = member(who);
                if comes {
                    list.push(who);
                    counted.add(who);
                } else if let Some(at) = list.iter().position(|one| *one == who) {
                    list.remove(at);
                    counted.remove(who);
                }
            }
            prop_assert_eq!(counted.all(), list.len());
            prop_assert_eq!(counted.yields(member(newcomer)), yields(list, member(newcomer)));
        }

        #[test]
        fn who_wants_its_part_gets_it_whatever_the_others_do(
            greed in prop::collection::vec(0u8..4, 400..600),
        ) {
            // 16 places, four members; each takes what it can, and the last one asks now and then.
            let mut held = Vec::new();
            for who in greed.into_iter().map(member).chain(vec![member(3); 8]) {
                if held.len() == 16 {
                    let Some(whose) = yields(held.clone(), who) else { continue };
                    prop_assert!(whose != who);
                    let at = held.iter().position(|one| *one == whose).unwrap();
                    held.remove(at);
                }
                held.push(who);
            }
            prop_assert!(held.iter().filter(|one| **one == member(3)).count() >= 3);
        }
    }
}
