//! How short host names are completed before a server is asked: search domains and options of resolv.conf(5).
//!
//! # Decisions
//! - Of the host's own options `ndots` alone matters inside: the others are about its servers, which the netstack asks.
//! - An option is what resolv.conf(5) has: letters, digits, `-`, `_`, `.` and one `:` with a value. Nothing else could be
//!   told from another line.

use core::net::IpAddr;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{HostName, NameError};

/// Most domains that are taken of the host: nobody has so many, and each costs a question.
const DOMAINS: usize = 32;
/// What glibc lowers a larger `ndots` to.
const NDOTS: u8 = 15;
/// Longest option.
const LONGEST: usize = 64;

/// What the host's own resolv.conf says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Who is asked, in order; nobody on this machine's loopback, which is another one inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Domains that are tried behind a name, in order.
    pub search: Vec<HostName>,
    /// How many dots a name has that is tried as it is first; 1 when it does not say.
    pub ndots: Option<u8>,
}

impl Lookup {
    /// Reads the text of a resolv.conf. Where it names no domain, the one of the host's own name is searched.
    pub fn parse(text: &str, node: &str) -> Self {
        let mut found = Self::default();
        let mut said = false;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    let is_elsewhere = |one: &IpAddr| !one.is_loopback() && !one.is_unspecified();
                    found.servers.extend(server.filter(is_elsewhere));
                }
                // The last of them counts.
                Some(word @ ("search" | "domain")) => {
                    let most = if word == "domain" { 1 } else { DOMAINS };
                    found.search =
                        words.take(most).filter_map(|w| HostName::parse(w).ok()).collect();
                    said = true;
                }
                Some("options") => {
                    let ndots = words.filter_map(|word| word.strip_prefix("ndots:")).next_back();
                    let ndots = ndots.and_then(|number| number.parse::<u8>().ok());
                    found.ndots = ndots.map(|number| number.min(NDOTS)).or(found.ndots);
                }
                _ => {}
            }
        }
        if !said {
            let domain = node.split_once('.').and_then(|(_, domain)| HostName::parse(domain).ok());
            found.search.extend(domain);
        }
        found
    }
}

/// A domain of `--dns-search`; `.` for none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SearchDomain(Option<HostName>);

impl SearchDomain {
    /// A name, or `.`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Ok(Self(if text == "." { None } else { Some(HostName::parse(text)?) }))
    }

    /// The domain; `None` for the root.
    pub fn name(&self) -> Option<&HostName> {
        self.0.as_ref()
    }
}

impl From<HostName> for SearchDomain {
    fn from(name: HostName) -> Self {
        Self(Some(name))
    }
}

impl fmt::Display for SearchDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or(".", HostName::as_str))
    }
}

impl From<SearchDomain> for String {
    fn from(domain: SearchDomain) -> Self {
        domain.to_string()
    }
}

impl TryFrom<String> for SearchDomain {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

/// One option of resolv.conf(5), as `ndots:2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DnsOption(String);

/// What is no option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no option of resolv.conf(5)")]
pub struct NotADnsOption;

impl DnsOption {
    /// Whatever can stand there as one word.
    pub fn parse(text: &str) -> Result<Self, NotADnsOption> {
        let (name, value) = text.split_once(':').unwrap_or((text, "0"));
        let known = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if text.len() > LONGEST || !known(name) || !known(value) {
            return Err(NotADnsOption);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DnsOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DnsOption> for String {
    fn from(option: DnsOption) -> Self {
        option.0
    }
}

impl TryFrom<String> for DnsOption {
    type Error = NotADnsOption;

    fn try_from(text: String) -> Result<Self, NotADnsOption> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, node: &str) -> (String, Option<u8>) {
        let Lookup { search, ndots, .. } = Lookup::parse(text, node);
        (search.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "), ndots)
    }

    #[test]
    fn the_hosts_file_is_read_as_its_resolver_reads_it() {
        let both = |search: &str, ndots| (search.to_owned(), ndots);
        assert_eq!(read("search A.test b.test.\n", "h.own.test"), both("a.test b.test", None));
        assert_eq!(read("search a.test\ndomain b.test c.test\n", "h"), both("b.test", None));
        assert_eq!(read("domain b.test\nsearch a.test c.test\n", "h"), both("a.test c.test", None));
        assert_eq!(read("search .\n", "h.own.test"), both("", None));
        assert_eq!(read("nameserver 192.0.2.1\n", "h.own.test"), both("own.test", None));
        assert_eq!(read("", "h"), both("", None));
        assert_eq!(read("options edns0 ndots:5\noptions rotate\n", "h"), both("", Some(5)));
        assert_eq!(read("options ndots:99 ndots:x\n", "h"), both("", None));
        assert_eq!(read("options ndots:99\n", "h"), both("", Some(15)));
        // What no name is, is no domain; the rest stays.
        assert_eq!(read("search a\u{1b}[m.test 1.2.3.4 ok.test\n", "h"), both("ok.test", None));
        let many = format!("search {}\n", "a.test ".repeat(1000));
        assert_eq!(Lookup::parse(&many, "h").search.len(), DOMAINS);
    }

    #[test]
    fn an_option_is_one_word() {
        for good in ["ndots:2", "use-vc", "timeout:1", "trust-ad", "x_y.z"] {
            assert_eq!(DnsOption::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", ":", "a:", ":1", "a b", "a\nnameserver:1", "a:1:2", "ä", &"a".repeat(65)] {
            assert_eq!(DnsOption::parse(bad), Err(NotADnsOption), "{bad:?}");
        }
        assert_eq!(SearchDomain::parse(".").unwrap().name(), None);
        assert_eq!(SearchDomain::parse("Corp.Test.").unwrap().to_string(), "corp.test");
        assert!(SearchDomain::parse("a b").is_err() && SearchDomain::parse("").is_err());
    }

    #[test]
    fn servers_on_loopback_are_nobody_a_sandbox_could_ask() {
        let text = "nameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n\
            nameserver 2001:db8::53\nnameserver ::1\nnameserver 0.0.0.0\nnameserver\n";
        let servers = Lookup::parse(text, "host").servers;
        let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.1", "2001:db8::53"]);
    }
}
