//! What `/etc/resolv.conf` and `/etc/hosts` say, as text: resolv.conf(5), hosts(5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::spec::net::{HostEntry, HostName};

/// Most lines that are looked at: block lists have hundreds of thousands.
const LINES: usize = 1_000_000;

/// The servers, in order; the host's own when none is named.
pub fn parse_servers(text: &str) -> Vec<SocketAddr> {
    let named = |line: &str| {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // A zone names an interface of the host; such a server is reached by nobody else.
        server.parse::<IpAddr>().ok()
    };
    let mut servers: Vec<SocketAddr> =
        text.lines().take(LINES).filter_map(named).map(|ip| SocketAddr::new(ip, 53)).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    servers
}

/// The names and their addresses. Lines and names that cannot be are passed over.
pub fn parse_hosts(text: &str) -> Vec<HostEntry> {
    let mut entries = Vec::new();
    for line in text.lines().take(LINES) {
        let line = line.split('#').next().unwrap_or(line);
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        let names = words.filter_map(|word| HostName::parse(word).ok());
        entries.extend(names.map(|name| HostEntry { name, address }));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 192.0.2.1\nsearch corp.test\nnameserver\t192.0.2.53 # x\n\
                    nameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver bad\noptions edns0\n";
        let servers: Vec<String> = parse_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:53"]);
        assert_eq!(parse_servers("")[0].to_string(), "127.0.0.1:53");
    }

    #[test]
    fn names_of_the_file_are_read_and_rubbish_passed_over() {
        let text = "127.0.0.1 localhost\n192.0.2.7\tWeb.test web # comment\nbad x\n::1 ip6-localhost\n\
                    192.0.2.8 a b.1 größe\n\x00\n";
        let entries: Vec<String> = parse_hosts(text).iter().map(ToString::to_string).collect();
        assert_eq!(
            entries,
            [
                "localhost:127.0.0.1",
                "web.test:192.0.2.7",
                "web:192.0.2.7",
                "ip6-localhost:::1",
                "a:192.0.2.8"
            ]
        );
    }
}
