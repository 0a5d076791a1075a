//! Who is on a network: addresses and names, without the kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::wire::{Answer, Member, Tell};
use crate::spec::is_valid_name;
use crate::spec::net::{HostName, Segment};

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

    /// Gives a place: its address.
    pub(super) fn admit(&mut self, number: u64, name: Option<String>) -> Result<Member, Answer> {
        if self.all.contains_key(&number) {
            return Err(Answer::Unknown);
        }
        if let Some(name) = &name {
            self.verify(name)?;
        }
        let is_taken = |at| self.all.values().any(|member| member.v4 == at);
        let free = self.segment.next_free(self.last, is_taken);
        let v4 = free.filter(|_| self.all.len() < MOST).ok_or(Answer::Full)?;
        let v6 = self.ipv6.then(|| IpAddr::V6(self.segment.v6_of(v4)));
        let member = Member { id: None, name, v4, v6 };
        self.last = Some(v4);
        self.all.insert(number, member.clone());
        Ok(member)
    }

    /// Lets a member be known by its id too, and no more by one that it had.
    pub(super) fn know(&mut self, number: u64, id: String) -> Result<Member, Answer> {
        self.verify(&id)?;
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

    /// The next one behind a number, in a circle, of those that are known.
    pub(super) fn next(&self, number: u64) -> Option<u64> {
        let known = || self.all.iter().filter(|(_, one)| one.id.is_some()).map(|(one, _)| *one);
        known().find(|one| *one > number).or_else(|| known().next())
    }

    pub(super) fn list(&self) -> Vec<Member> {
        self.all.values().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A name leads to one member: it may be nobody's name or id.
    fn verify(&self, name: &str) -> Result<(), Answer> {
        if !is_valid_name(name) {
            return Err(Answer::Unknown);
        }
        let is_same = |known: &Option<String>| {
            known.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(name))
        };
        let is_taken = |member: &Member| is_same(&member.name) || is_same(&member.id);
        if self.all.values().any(is_taken) { Err(Answer::Taken(name.to_owned())) } else { Ok(()) }
    }
}

/// What the name server has to know of a member that came, by its names so far.
pub(super) fn here(member: &Member) -> Vec<Tell> {
    names(member).map(|name| Tell::Here(name, addresses(member))).collect()
}

/// Both.
pub(super) fn addresses(member: &Member) -> Vec<IpAddr> {
    [IpAddr::V4(member.v4)].into_iter().chain(member.v6).collect()
}

/// What it has to know of one that left.
pub(super) fn gone(member: &Member) -> Vec<Tell> {
    names(member).map(Tell::Gone).collect()
}

/// Those that can be asked for: a sandbox's name may be none of a host.
fn names(member: &Member) -> impl Iterator<Item = String> {
    let all = [&member.name, &member.id].into_iter().flatten();
    all.filter_map(|name| Some(HostName::parse(name).ok()?.as_str().to_owned()))
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
        members.admit(1, name("Db")).unwrap();
        members.know(1, "0123456789ab".to_owned()).unwrap();
        assert_eq!(members.admit(2, name("db")), Err(Answer::Taken("db".to_owned())));
        let id = "0123456789ab";
        assert_eq!(members.admit(2, name(id)), Err(Answer::Taken(id.to_owned())));
        assert_eq!(members.admit(2, name("../x")), Err(Answer::Unknown));
        assert_eq!(members.admit(1, None), Err(Answer::Unknown));
        members.admit(2, name("web")).unwrap();
        assert_eq!(members.know(2, id.to_owned()), Err(Answer::Taken(id.to_owned())));
        assert_eq!(members.know(3, "x".to_owned()), Err(Answer::Unknown));
        assert_eq!((members.next(0), members.next(1)), (Some(1), Some(1)));
        members.remove(1).unwrap();
        assert_eq!(members.next(0), None);
        members.know(2, id.to_owned()).unwrap();
        assert_eq!((members.next(0), members.next(2)), (Some(2), Some(2)));
        assert_eq!(members.know(2, "y".to_owned()).unwrap().id, Some("y".to_owned()));
    }

    #[test]
    fn a_full_network_takes_nobody_and_one_that_left_makes_room() {
        let mut small = members("10.9.0.0/29");
        for number in 0..5 {
            small.admit(number, None).unwrap();
        }
        assert_eq!(small.admit(9, None), Err(Answer::Full));
        let left = small.remove(2).unwrap();
        assert_eq!(small.admit(9, None).unwrap().v4, left.v4);
        let mut large = members("10.9.0.0/16");
        for number in 0..1000 {
            large.admit(number, None).unwrap();
        }
        assert_eq!(large.admit(1000, None), Err(Answer::Full));
    }

    #[test]
    fn the_name_server_is_told_each_name_with_both_addresses() {
        let mut members = members("10.9.0.0/24");
        members.admit(1, Some("Db".to_owned())).unwrap();
        let member = members.know(1, "0123456789ab".to_owned()).unwrap();
        let addresses = vec![IpAddr::V4(member.v4), member.v6.unwrap()];
        let here = here(&member);
        assert_eq!(here[0], Tell::Here("db".to_owned(), addresses.clone()));
        assert_eq!(here[1], Tell::Here("0123456789ab".to_owned(), addresses));
        assert_eq!(gone(&member)[0], Tell::Gone("db".to_owned()));
    }
}
