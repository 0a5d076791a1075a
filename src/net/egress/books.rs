//! The ledgers of those behind one link: of several each has its own, so that what one of them does to the bounds of a
//! ledger is no other's loss, and each can be told what was refused to it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::ledger::{Ledger, MOST};
use super::teller::{Tell, Teller};
use crate::plan::traffic::Traffic;

/// Most different refusals of one of several.
const EACH: usize = MOST / 4;
/// Most addresses that have a ledger of their own.
const MEMBERS: usize = 2048;

/// See the module.
#[derive(Default)]
pub(super) struct Books {
    /// The one of who is alone; of several, of those who have left.
    rest: Ledger,
    /// By address, where there are several.
    each: Option<BTreeMap<IpAddr, Ledger>>,
    tell: Option<Tell>,
}

impl Books {
    /// From now on each address has its own.
    pub(super) fn keep_apart(&mut self) {
        self.each.get_or_insert_default();
    }

    /// Has `tell` told of flows.
    pub(super) fn tell_with(&mut self, tell: Tell) {
        self.rest.teller = Some(Teller::new(tell.clone(), Instant::now()));
        self.tell = Some(tell);
    }

    /// Where it is noted what `from` does.
    pub(super) fn of(&mut self, from: IpAddr) -> &mut Ledger {
        let Some(each) = &mut self.each else { return &mut self.rest };
        if each.len() >= MEMBERS && !each.contains_key(&from) {
            return &mut self.rest;
        }
        each.entry(from).or_insert_with(|| {
            let mut ledger = Ledger::new(EACH);
            ledger.teller = self.tell.clone().map(|tell| Teller::new(tell, Instant::now()));
            ledger
        })
    }

    /// Nobody has these addresses any more: who is given one of them next begins anew.
    pub(super) fn left(&mut self, addresses: &[IpAddr]) {
        let each = self
            .each
            .iter_mut()
            .flat_map(|each| each.extract_if(.., |at, _| addresses.contains(at)));
        for (_, ledger) in each {
            self.rest.add(&ledger);
        }
    }

    /// What was noted of these addresses, or with none of everybody.
    pub(super) fn told(&self, of: &[IpAddr]) -> Traffic {
        let Some(each) = &self.each else { return self.rest.told() };
        let wanted = each.iter().filter(|(at, _)| of.is_empty() || of.contains(at));
        let rest = of.is_empty().then_some(&self.rest);
        let mut sum = Ledger::default();
        wanted.map(|(_, ledger)| ledger).chain(rest).for_each(|ledger| sum.add(ledger));
        sum.told()
    }
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books").field("rest", &self.rest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::Ipv4Addr;
    use std::rc::Rc;

    use super::super::ledger::Attempt;
    use super::super::policy::Service;
    use super::super::reason::Reason;
    use super::*;

    fn member(last: u8) -> IpAddr {
        [10, 9, 0, last].into()
    }

    #[test]
    fn who_tries_everything_takes_no_room_and_no_words_from_others() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&told);
        let mut books = Books::default();
        books.keep_apart();
        books.tell_with(Rc::new(move |from, _| heard.borrow_mut().push(from)));
        let mut refuse = |from: IpAddr, to: u32| {
            let (address, service) = (Some(Ipv4Addr::from_bits(to).into()), Some(Service::Tcp(1)));
            let attempt = Attempt { from, name: None, address, service };
            books.of(from).refuse(attempt, &Reason::NotAllowed);
        };
        (0..5000).for_each(|to| refuse(member(2), 0xc000_0000 + to));
        for _ in 0..2 {
            refuse(member(3), 0xc633_6407);
        }
        let own = books.told(&[member(3), member(4)]);
        assert_eq!((own.refused.len(), own.refused[0].count, own.more), (1, 2, 0));
        assert!(told.borrow().contains(&member(3)));
        let most = books.told(&[member(2)]);
        assert_eq!((most.refused.len(), most.more), (EACH, 5000 - EACH as u64));
        assert_eq!(books.told(&[]).refused.len(), EACH + 1);
        // Of who has left the network still knows, and who comes has done nothing.
        books.left(&[member(3)]);
        assert_eq!(books.told(&[member(3)]), Traffic::default());
        assert_eq!(books.told(&[]).refused.len(), EACH + 1);
    }
}
