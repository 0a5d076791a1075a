//! How this host completes short host names: the search domains and options of `/etc/resolv.conf`, or the domain of its
//! own name.

use std::fs::File;
use std::io::Read;

use crate::spec::net::Lookup;

/// Most that is read.
const MOST: u64 = 64 << 10;

/// Whom systemd-resolved asks, which itself listens on loopback: resolved.conf(5).
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// What the file says; what an empty one would, where there is none.
pub(super) fn probe() -> Lookup {
    let node = rustix::system::uname();
    let node = node.nodename().to_string_lossy();
    let mut found = Lookup::parse(&text("/etc/resolv.conf"), &node);
    if found.servers.is_empty() {
        found.servers = Lookup::parse(&text(BEHIND_RESOLVED), &node).servers;
    }
    found
}

fn text(path: &str) -> String {
    let mut bytes = Vec::new();
    // A file that ends early has said what it has said.
    File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
