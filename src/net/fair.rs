//! Who makes room, where several sandboxes share what there is of something.
//!
//! # Theory of operation
//! Nothing lies idle that somebody wants. Once everything is taken, whoever holds most makes room for who holds less;
//! who holds most goes without more, or gives up something older of its own. So whatever somebody does, each of `n` comes to
//! hold an `n`th of it, if it wants that much, and who holds nothing gets one.
//!
//! # Decisions
//! - It is counted when it is decided, and not before: as long as there is room, nobody counts.
//! - A holder is an address. Who has one of each family counts twice, as everybody on its network.

use std::net::IpAddr;

/// Who makes room for `newcomer`, of those who hold one thing for each time that they are named. `None`: nobody but
/// itself.
pub fn yields(mut held: Vec<IpAddr>, newcomer: IpAddr) -> Option<IpAddr> {
    held.sort_unstable();
    let own = held.iter().filter(|who| **who == newcomer).count();
    let most = held.chunk_by(|one, other| one == other).max_by_key(|same| same.len())?;
    // With one more than the newcomer they would only change places.
    (own == 0 || most.len() > own + 1).then(|| most.first().copied()).flatten()
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

    proptest! {
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
