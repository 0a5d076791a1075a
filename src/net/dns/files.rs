//! What `/etc/resolv.conf` and `/etc/hosts` say, as text: resolv.conf(5), hosts(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::spec::net::{HostEntry, HostName};

/// Most lines that are looked at: block lists have hundreds of thousands.
const LINES: usize = 1_000_000;

/// Servers that a resolver asks, of those that are named: `MAXNS`.
const SERVERS: usize = 3;
const PORT: u16 = 53;

/// Who is asked where no server is named.
pub const NOBODY_NAMED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

/// The servers that are named, in order. `zone` gives the number of an interface of the host, by its name: only
/// through it such a server is reached.
pub fn parse_servers(text: &str, zone: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let named = |line: &str| {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        match server.split_once('%') {
            None => server.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT)),
            Some((address, name)) => {
                let address: Ipv6Addr = address.parse().ok()?;
                Some(SocketAddrV6::new(address, PORT, 0, zone(name)?).into())
            }
        }
    };
    text.lines().take(LINES).filter_map(named).take(SERVERS).collect()
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
        let zone = |name: &str| (name == "eth0").then_some(7);
        let read = |text: &str| {
            let servers = parse_servers(text, zone);
            servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(read(text), "192.0.2.53:53 [2001:db8::53]:53 [fe80::1%7]:53");
        let zones = "nameserver fe80::2%gone\nnameserver 192.0.2.1%eth0\nnameserver %eth0\nnameserver fe80::3%";
        assert_eq!(read(zones), "");
        assert_eq!(read(&"nameserver ::1\n".repeat(9)).matches("::1").count(), 3);
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
