//! Plans `/etc/resolv.conf`: the netstack's name server, or whom a program of others passes questions on to, and how names are made whole.
//!
//! # Decisions
//! - Domains and `ndots` are the host's unless flags say otherwise: a short name leads where it would outside. The policy
//!   is asked about the whole name.
//! - On a network that several share a name is tried as it is first, as in Docker: else the names of its members
//!   would be asked of the host's servers, behind each domain.

use core::net::IpAddr;

use super::facts::{Facts, Target};
use super::net::link;
use super::tool;
use crate::spec::net::{Egress, HostEntry, HostName, Lookup};
use crate::spec::{Network, Spec, Text};

/// Servers that resolv.conf(5) takes: `MAXNS`.
const MOST: usize = 3;

/// The network whose names these are, and its rules.
fn of<'a>(spec: &'a Spec, facts: &'a Facts) -> Option<(&'a Network, &'a Egress)> {
    match (&spec.network, &facts.target) {
        (Network::Sandbox(_), Some(Target { network, egress, .. })) => Some((network, egress)),
        (Network::Sandbox(_), None) => None,
        (own, _) => Some((own, &spec.egress)),
    }
}

/// What `/etc/resolv.conf` holds, where it is a file of ours.
pub(super) fn resolver(spec: &Spec, facts: &Facts) -> Option<Text> {
    let (network, egress) = of(spec, facts)?;
    let names = Names { network, egress, host: facts.lookup.as_ref() };
    let servers = match network {
        Network::User | Network::Bridge(_) => vec![IpAddr::V4(link(facts).v4.resolver)],
        other => other.tool().map(|_| tool::servers(egress, facts.lookup.as_ref()))?,
    };
    Some(Text::from(names.text(&servers)))
}

/// What decides how names are made whole.
struct Names<'a> {
    network: &'a Network,
    egress: &'a Egress,
    host: Option<&'a Lookup>,
}

impl Names<'_> {
    fn text(&self, servers: &[IpAddr]) -> String {
        let line = |server: &IpAddr| format!("nameserver {server}\n");
        let mut text: String = servers.iter().take(MOST).map(line).collect();
        let search = self.search();
        if !search.is_empty() {
            text = text + "search " + &words(&search) + "\n";
        }
        let ndots = self.host.and_then(|lookup| lookup.ndots);
        let options = match (self.egress.dns_options.as_slice(), self.network, ndots) {
            ([], Network::Bridge(_), _) if !search.is_empty() => "ndots:0".to_owned(),
            ([], Network::User | Network::Pasta | Network::Slirp4netns, Some(ndots)) => {
                format!("ndots:{ndots}")
            }
            (options, ..) => words(options),
        };
        if !options.is_empty() {
            text = text + "options " + &options + "\n";
        }
        text
    }

    fn search(&self) -> Vec<HostName> {
        match (self.egress.dns_search.as_slice(), self.host) {
            ([], Some(lookup)) => lookup.search.clone(),
            (given, _) => given.iter().filter_map(|domain| domain.name().cloned()).collect(),
        }
    }
}

/// The domains that are tried behind a name.
pub(super) fn search(spec: &Spec, facts: &Facts) -> Vec<HostName> {
    let egress = &spec.egress;
    Names { network: &spec.network, egress, host: facts.lookup.as_ref() }.search()
}

/// Names that were given addresses of their own, for `/etc/hosts`.
pub(super) fn given<'a>(spec: &'a Spec, facts: &'a Facts) -> &'a [HostEntry] {
    match of(spec, facts) {
        Some((Network::User | Network::Pasta | Network::Slirp4netns, egress)) => &egress.hosts,
        _ => &[],
    }
}

fn words(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::net::{DnsOption, NetworkName, SearchDomain};

    /// The lines after the first one.
    fn told(network: &Network, search: &[&str], options: &[&str], host: &str) -> String {
        let egress = Egress {
            dns_search: search.iter().map(|text| SearchDomain::parse(text).unwrap()).collect(),
            dns_options: options.iter().map(|text| DnsOption::parse(text).unwrap()).collect(),
            ..Egress::default()
        };
        let host = Lookup::parse(host, "host");
        let names = Names { network, egress: &egress, host: Some(&host) };
        let text = names.text(&[IpAddr::from([10, 0, 2, 3])]);
        text.strip_prefix("nameserver 10.0.2.3\n").unwrap().to_owned()
    }

    #[test]
    fn names_are_made_whole_as_on_the_host_unless_flags_say_otherwise() {
        let user = &Network::User;
        let host =
            "nameserver 192.0.2.1\nsearch corp.test lab.test\noptions edns0 ndots:2 rotate\n";
        assert_eq!(told(user, &[], &[], ""), "");
        assert_eq!(told(user, &[], &[], host), "search corp.test lab.test\noptions ndots:2\n");
        assert_eq!(told(user, &["a.test"], &[], host), "search a.test\noptions ndots:2\n");
        assert_eq!(told(user, &["."], &[], host), "options ndots:2\n");
        let options = &["use-vc", "ndots:5"];
        assert_eq!(told(user, &["."], options, host), "options use-vc ndots:5\n");
    }

    #[test]
    fn a_name_of_a_shared_network_is_tried_as_it_is_first() {
        let shared = &Network::Bridge(NetworkName::default());
        let host = "search corp.test\noptions ndots:2\n";
        assert_eq!(told(shared, &[], &[], host), "search corp.test\noptions ndots:0\n");
        assert_eq!(told(shared, &[], &[], ""), "");
    }
}
