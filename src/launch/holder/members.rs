//! Who is on a network: addresses and names, without the kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::wire::{Answer, Member, PAGE, Tell};
use crate::spec::is_valid_name;
use crate::spec::net::seat::ALIASES;
use crate::spec::net::{HostName, NoPlace, Seat, Segment};

/// Most ports that a bridge has: 1024 in the kernel.
const MOST: usize = 1000;

/// See the module. Members are known by the number of their connection.
#[derive(Debug)]
pub(super) struct Members {
    segment: Segment,
    ipv6: bool,
    all: BTreeMap<u64, Member>,
    last: Option<Ipv4Addr>,
}

impl Members {
    pub(super) fn new(segment: Segment, ipv6: bool) -> Self {
        Self { segment, ipv6, all: BTreeMap::new(), last: None }
    }

    /// Gives a place: its addresses.
    pub(super) fn admit(
        &mut self,
        number: u64,
        name: Option<String>,
        seat: Seat,
    ) -> Result<Member, Answer> {
        if self.all.contains_key(&number) || seat.aliases.len() > ALIASES {
            return Err(Answer::Unknown);
        }
        if let Some(name) = &name {
            self.verify(number, name)?;
        }
        // A name that is one sandbox's own leads to that one alone.
        let is_own =
            |alias: &&HostName| self.all.values().any(|other| is_own(other, alias.as_str()));
        if let Some(alias) = seat.aliases.iter().find(is_own) {
            return Err(Answer::Taken(alias.as_str().to_owned()));
        }
        if self.all.len() >= MOST {
            return Err(Answer::NoPlace(NoPlace::Full));
        }
        let is_taken = |at| self.all.values().any(|member| addresses(member).contains(&at));
        let placed = self.segment.place(&seat, self.ipv6, self.last, is_taken);
        let (v4, v6) = placed.map_err(Answer::NoPlace)?;
        let member = Member { id: None, name, aliases: seat.aliases, v4, v6, published: 0 };
        if seat.v4.is_none() {
            self.last = Some(v4);
        }
        self.all.insert(number, member.clone());
        Ok(member)
    }

    /// Lets a member be known by its id too, and no more by one that it had.
    pub(super) fn know(&mut self, number: u64, id: String) -> Result<Member, Answer> {
        self.verify(number, &id)?;
        let member = self.all.get_mut(&number).ok_or(Answer::Unknown)?;
        member.id = Some(id);
        Ok(member.clone())
    }

    /// Takes the place back.
    pub(super) fn remove(&mut self, number: u64) -> Option<Member> {
        self.all.remove(&number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Member> {
        self.all.get(&number)
    }

    /// The one with this address.
    pub(super) fn at(&self, address: IpAddr) -> Option<u64> {
        let is_it = |member: &Member| match address {
            IpAddr::V4(v4) => member.v4 == v4,
            IpAddr::V6(v6) => member.v6 == Some(v6),
        };
        self.all.iter().find(|(_, member)| is_it(member)).map(|(number, _)| *number)
    }

    /// The one with this id.
    pub(super) fn number_of(&self, id: &str) -> Option<u64> {
        let is_it = |member: &Member| member.id.as_deref() == Some(id);
        self.all.iter().find(|(_, member)| is_it(member)).map(|(number, _)| *number)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Some of those behind this number.
    pub(super) fn list(&self, after: Option<u64>) -> Vec<(u64, Member)> {
        let behind = self.all.iter().filter(|(number, _)| Some(**number) > after);
        behind.take(PAGE).map(|(number, member)| (*number, member.clone())).collect()
    }

    /// A name leads to one member: it may be nobody else's name, id or alias.
    fn verify(&self, number: u64, name: &str) -> Result<(), Answer> {
        if !is_valid_name(name) {
            return Err(Answer::Unknown);
        }
        let is_taken = |(other, member): (&u64, &Member)| {
            let is_alias = |alias: &HostName| alias.as_str().eq_ignore_ascii_case(name);
            is_own(member, name) || *other != number && member.aliases.iter().any(is_alias)
        };
        if self.all.iter().any(is_taken) { Err(Answer::Taken(name.to_owned())) } else { Ok(()) }
    }

    /// What the name server has to know now of each name that this member has, or had.
    pub(super) fn tells(&self, member: &Member) -> Vec<Tell> {
        names(member).map(|name| self.tell(name)).collect()
    }

    fn tell(&self, name: String) -> Tell {
        let who = self.all.values().filter(|member| names(member).any(|has| has == name));
        let all: Vec<IpAddr> = who.flat_map(addresses).collect();
        if all.is_empty() { Tell::Gone(name) } else { Tell::Here(name, all) }
    }
}

/// Whether a name is the member's own: no alias.
fn is_own(member: &Member, name: &str) -> bool {
    [&member.name, &member.id].into_iter().flatten().any(|own| own.eq_ignore_ascii_case(name))
}

/// Both.
pub(super) fn addresses(member: &Member) -> Vec<IpAddr> {
    [IpAddr::V4(member.v4)].into_iter().chain(member.v6.map(IpAddr::V6)).collect()
}

/// Those that can be asked for: a sandbox's name may be none of a host.
fn names(member: &Member) -> impl Iterator<Item = String> {
    let own = [&member.name, &member.id].into_iter().flatten();
    let own = own.filter_map(|name| HostName::parse(name).ok());
    own.chain(member.aliases.iter().cloned()).map(|name| name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::net::segment::default_subnet6;
    use crate::spec::net::{Egress, NetworkName, Prefix};

    fn members(subnet: &str) -> Members {
        let name = NetworkName::default();
        let segment = Segment {
            subnet: Prefix::parse(subnet).unwrap(),
            gateway: "10.9.0.1".parse().unwrap(),
            range: None,
            subnet6: default_subnet6(&name),
            egress: Egress::default(),
            name,
        };
        Members::new(segment, true)
    }

    #[test]
    fn a_name_leads_to_one_member_whatever_its_case() {
        let mut members = members("10.9.0.0/24");
        let name = |name: &str| Some(name.to_owned());
        members.admit(1, name("Db"), Seat::default()).unwrap();
        members.know(1, "0123456789ab".to_owned()).unwrap();
        assert_eq!(
            members.admit(2, name("db"), Seat::default()),
            Err(Answer::Taken("db".to_owned()))
        );
        let id = "0123456789ab";
        assert_eq!(members.admit(2, name(id), Seat::default()), Err(Answer::Taken(id.to_owned())));
        assert_eq!(members.admit(2, name("../x"), Seat::default()), Err(Answer::Unknown));
        assert_eq!(members.admit(1, None, Seat::default()), Err(Answer::Unknown));
        members.admit(2, name("web"), Seat::default()).unwrap();
        assert_eq!(members.know(2, id.to_owned()), Err(Answer::Taken(id.to_owned())));
        assert_eq!(members.know(3, "x".to_owned()), Err(Answer::Unknown));
        members.remove(1).unwrap();
        members.know(2, id.to_owned()).unwrap();
        assert_eq!(members.know(2, "y".to_owned()).unwrap().id, Some("y".to_owned()));
    }

    #[test]
    fn a_full_network_takes_nobody_and_one_that_left_makes_room() {
        let mut small = members("10.9.0.0/29");
        for number in 0..5 {
            small.admit(number, None, Seat::default()).unwrap();
        }
        assert_eq!(small.admit(9, None, Seat::default()), Err(Answer::NoPlace(NoPlace::Full)));
        let left = small.remove(2).unwrap();
        assert_eq!(small.admit(9, None, Seat::default()).unwrap().v4, left.v4);
        let mut large = members("10.9.0.0/16");
        for number in 0..1000 {
            large.admit(number, None, Seat::default()).unwrap();
        }
        assert_eq!(large.admit(1000, None, Seat::default()), Err(Answer::NoPlace(NoPlace::Full)));
    }

    #[test]
    fn the_name_server_is_told_each_name_with_both_addresses() {
        let mut members = members("10.9.0.0/24");
        members.admit(1, Some("Db".to_owned()), Seat::default()).unwrap();
        let member = members.know(1, "0123456789ab".to_owned()).unwrap();
        let addresses = vec![IpAddr::V4(member.v4), member.v6.unwrap().into()];
        let here = members.tells(&member);
        assert_eq!(here[0], Tell::Here("db".to_owned(), addresses.clone()));
        assert_eq!(here[1], Tell::Here("0123456789ab".to_owned(), addresses));
        members.remove(1).unwrap();
        assert_eq!(members.tells(&member)[0], Tell::Gone("db".to_owned()));
    }

    fn seat(aliases: &[&str]) -> Seat {
        let aliases = aliases.iter().map(|name| HostName::parse(name).unwrap()).collect();
        Seat { aliases, ..Seat::default() }
    }

    #[test]
    fn an_alias_is_the_addresses_of_all_who_have_it_and_nobodys_name() {
        let mut members = members("10.9.0.0/24");
        let name = |name: &str| Some(name.to_owned());
        let told = |members: &Members, member: &Member, of: &str| {
            let mut tells = members.tells(member).into_iter();
            let about = tells
                .find(|tell| matches!(tell, Tell::Here(name, _) | Tell::Gone(name) if name == of));
            match about.unwrap() {
                Tell::Here(_, addresses) => addresses.len(),
                _ => 0,
            }
        };
        let first = members.admit(1, name("a"), seat(&["pool", "a"])).unwrap();
        members.admit(2, name("b"), seat(&["POOL"])).unwrap();
        assert_eq!(told(&members, &first, "pool"), 4);
        assert_eq!(told(&members, &first, "a"), 2);
        for (number, own, aliases) in
            [(3, "Pool", &[][..]), (3, "c", &["A"]), (3, "c", &["x", "b"])]
        {
            let refused = members.admit(number, name(own), seat(aliases)).unwrap_err();
            assert!(matches!(refused, Answer::Taken(_)), "{refused:?}");
        }
        let many: Vec<String> = (0..=ALIASES).map(|n| format!("n{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(members.admit(3, None, seat(&many)), Err(Answer::Unknown));
        members.remove(1).unwrap();
        assert_eq!(told(&members, &first, "pool"), 2);
        assert_eq!(told(&members, &first, "a"), 0);
        let second = members.remove(2).unwrap();
        assert_eq!(told(&members, &second, "pool"), 0);
    }

    #[test]
    fn an_address_that_was_asked_for_is_nobody_elses() {
        let mut members = members("10.9.0.0/29");
        let at = |v4: &str| Seat { v4: Some(v4.parse().unwrap()), ..Seat::default() };
        members.admit(1, None, at("10.9.0.3")).unwrap();
        let taken = members.admit(2, None, at("10.9.0.3")).unwrap_err();
        assert_eq!(taken, Answer::NoPlace(NoPlace::Taken("10.9.0.3".parse().unwrap())));
        let rest: Vec<u8> = (2..6)
            .map(|n| members.admit(n, None, Seat::default()).unwrap().v4.octets()[3])
            .collect();
        assert_eq!(rest, [2, 4, 5, 6]);
    }

    #[test]
    fn a_long_list_comes_in_pieces() {
        let mut all = members("10.9.0.0/24");
        for number in 0..40 {
            all.admit(number * 3, None, Seat::default()).unwrap();
        }
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = all.list(after);
            found.extend(page.iter().map(|(number, _)| *number));
            after = found.last().copied();
            if page.len() < PAGE {
                break;
            }
        }
        assert_eq!(found, (0..40).map(|n| n * 3).collect::<Vec<_>>());
    }
}
