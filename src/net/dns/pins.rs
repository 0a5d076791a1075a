//! Which addresses names have: those that were given as answers, for as long as the answers hold.
//!
//! # Decisions
//! - An address holds at least [`SHORTEST`] after it was given, whatever its server says: a program needs
//!   time to use it, and many keep answers longer than they should.
//! - Bounded; when full, what ends soonest goes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::net::egress::policy::Source;
use crate::spec::net::HostName;

/// Shortest time an address holds.
const SHORTEST: Duration = Duration::from_mins(2);

/// Most pairs of an address and a name.
const MOST: usize = 8192;

/// Addresses and their names.
#[derive(Debug, Default)]
pub struct Pins {
    by_address: HashMap<IpAddr, Vec<Pin>>,
    /// When pairs end; the number makes instants unique.
    ends: BTreeMap<(Instant, u64), (IpAddr, HostName)>,
    made: u64,
}

#[derive(Debug)]
struct Pin {
    name: HostName,
    source: Source,
    end: (Instant, u64),
}

impl Pins {
    /// `address` was given for `name`, to be used for `lifetime`.
    pub fn pin(
        &mut self,
        address: IpAddr,
        name: &HostName,
        source: Source,
        until: Instant,
        now: Instant,
    ) {
        self.made += 1;
        let end = (until.max(now + SHORTEST), self.made);
        let pins = self.by_address.entry(address.to_canonical()).or_default();
        if let Some(known) = pins.iter_mut().find(|pin| pin.name == *name && pin.source == source) {
            if known.end.0 >= end.0 {
                return;
            }
            let before = std::mem::replace(&mut known.end, end);
            if let Some(pair) = self.ends.remove(&before) {
                self.ends.insert(end, pair);
            }
            return;
        }
        pins.push(Pin { name: name.clone(), source, end });
        self.ends.insert(end, (address.to_canonical(), name.clone()));
        while self.ends.len() > MOST {
            self.drop_first();
        }
    }

    /// The names of an address, and who gave it to them.
    pub fn names(&mut self, address: IpAddr, now: Instant) -> Vec<(HostName, Source)> {
        while self.ends.first_key_value().is_some_and(|((end, _), _)| *end <= now) {
            self.drop_first();
        }
        let pins = self.by_address.get(&address.to_canonical());
        pins.into_iter().flatten().map(|pin| (pin.name.clone(), pin.source)).collect()
    }

    fn drop_first(&mut self) {
        let Some((end, (address, _))) = self.ends.pop_first() else { return };
        if let Some(pins) = self.by_address.get_mut(&address) {
            pins.retain(|pin| pin.end != end);
            if pins.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0xc000_0200 + last).into()
    }

    fn names(pins: &mut Pins, last: u32, now: Instant) -> Vec<String> {
        pins.names(address(last), now).into_iter().map(|(name, _)| name.into()).collect()
    }

    #[test]
    fn an_address_holds_as_long_as_its_answer_and_a_while_at_least() {
        let (mut pins, start) = (Pins::default(), Instant::now());
        let name = |text| HostName::parse(text).unwrap();
        let after = |seconds| start + Duration::from_secs(seconds);
        pins.pin(address(1), &name("a.test"), Source::Answer, after(0), start);
        pins.pin(address(1), &name("b.test"), Source::Answer, after(600), start);
        assert_eq!(names(&mut pins, 1, after(119)), ["a.test", "b.test"]);
        assert_eq!(names(&mut pins, 1, after(121)), ["b.test"]);
        pins.pin(address(1), &name("b.test"), Source::Answer, after(900), after(500));
        assert_eq!(names(&mut pins, 1, after(899)), ["b.test"]);
        assert_eq!(names(&mut pins, 1, after(901)), [""; 0]);
        assert_eq!((pins.len(), pins.by_address.len()), (0, 0));
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let (mut pins, start) = (Pins::default(), Instant::now());
        let name = HostName::parse("a.test").unwrap();
        for last in 0..20_000 {
            pins.pin(
                address(last),
                &name,
                Source::Answer,
                start + SHORTEST + Duration::from_millis(last.into()),
                start,
            );
        }
        assert_eq!((pins.len(), pins.by_address.len()), (MOST, MOST));
        assert_eq!(names(&mut pins, 19_999, start), ["a.test"]);
        assert_eq!(names(&mut pins, 0, start), [""; 0]);
    }
}
