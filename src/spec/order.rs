//! Puts lists in order with little code.
//!
//! # Theory of operation
//! The standard library's sorts are written for speed, and compiled anew for every type: four to six
//! kilobytes each, a quarter of a megabyte for the lists of this program, none of which is long. Here one
//! function sorts numbers by what it is told of the items they stand for, and all that is compiled for a
//! type is the comparison and the exchange of two items. Collecting into a `BTreeSet` or a `BTreeMap` sorts
//! too: `extend` of an empty one does not.
//!
//! # Not here
//! `sys` may import nothing, and sorts its few numbers itself.

use std::cmp::Ordering;

/// Sorts; equal items keep their order.
pub fn sort<T: Ord>(list: &mut [T]) {
    sort_by(list, T::cmp);
}

/// Sorts by what `key` says of each item, which is asked for at each comparison; equal ones keep their order.
pub fn sort_by_key<T, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(list, |one, other| key(one).cmp(&key(other)));
}

/// Sorts by `compare`; equal items keep their order.
pub fn sort_by<T>(list: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let among = |one: usize, other: usize| match (list.get(one), list.get(other)) {
        (Some(one), Some(other)) => compare(one, other),
        // Only numbers of items are compared.
        _ => Ordering::Equal,
    };
    let mut order = sorted(list.len(), &among);
    follow(&mut order, &mut |one, other| list.swap(one, other));
}

/// Both lists in one, each item once. Both are sorted and have it once.
pub fn merged<T: Ord>(one: Vec<T>, other: Vec<T>) -> Vec<T> {
    let mut all = Vec::with_capacity(one.len() + other.len());
    let mut other = other.into_iter().peekable();
    for item in one {
        all.extend(std::iter::from_fn(|| other.next_if(|before| *before < item)));
        other.next_if(|same| *same == item);
        all.push(item);
    }
    all.extend(other);
    all
}

/// Keeps those of `list` that `known` has no equal of. `by` is what of an item is compared.
pub fn retain_unknown<T, K: Ord>(list: &mut Vec<T>, known: &[&K], by: impl Fn(&T) -> &K) {
    let among = |one: usize, other: usize| known.get(one).cmp(&known.get(other));
    let order = sorted(known.len(), &among);
    list.retain(|item| {
        let key = by(item);
        let beside = |at: &usize| known.get(*at).map_or(Ordering::Less, |known| (*known).cmp(key));
        order.binary_search_by(beside).is_err()
    });
}

/// The numbers below `count`, in the order of the items that they stand for.
fn sorted(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    // Most lists have one item, or are in order already.
    if order.windows(2).any(|pair| matches!(pair, [one, other] if compare(*one, *other).is_gt())) {
        order.sort_by(|one, other| compare(*one, *other));
    }
    order
}

/// Brings to each place what `order` wants there, by exchanges: along each cycle, what a place gives up is
/// where the cycle goes on.
fn follow(order: &mut [usize], exchange: &mut dyn FnMut(usize, usize)) {
    for start in 0..order.len() {
        let mut place = start;
        while let Some(from) = order.get_mut(place).map(|from| std::mem::replace(from, place))
            && from != start
        {
            // A place that is done wants itself.
            if from == place {
                break;
            }
            exchange(place, from);
            place = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_standard_librarys_order(list in prop::collection::vec((0_u8..20, any::<u32>()), 0..200)) {
            let (mut ours, mut theirs) = (list.clone(), list.clone());
            sort(&mut ours);
            theirs.sort_unstable();
            prop_assert_eq!(&ours, &theirs);
            let (mut ours, mut theirs) = (list.clone(), list);
            sort_by_key(&mut ours, |item| item.0);
            theirs.sort_by_key(|item| item.0);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn two_lists_become_one(one in prop::collection::btree_set(0_u8..50, 0..40), other in prop::collection::btree_set(0_u8..50, 0..40)) {
            let together: Vec<u8> = one.union(&other).copied().collect();
            prop_assert_eq!(merged(one.into_iter().collect(), other.into_iter().collect()), together);
        }

        #[test]
        fn what_is_known_goes(list in prop::collection::vec(0_u8..20, 0..50), known in prop::collection::vec(0_u8..20, 0..20)) {
            let mut kept = list.clone();
            retain_unknown(&mut kept, &known.iter().collect::<Vec<_>>(), |item| item);
            let expected: Vec<u8> = list.into_iter().filter(|item| !known.contains(item)).collect();
            prop_assert_eq!(kept, expected);
        }
    }

    #[test]
    fn a_list_turned_round_and_one_moved_by_one_are_sorted() {
        let sorted: Vec<u32> = (0..100).collect();
        for mut list in [(0..100).rev().collect::<Vec<u32>>(), (1..100).chain([0]).collect()] {
            sort(&mut list);
            assert_eq!(list, sorted);
        }
        sort::<u32>(&mut []);
    }
}
