//! The gate that a netstack serves: the rules, and what the host knows of names.
//!
//! # Decisions
//! - What tells of the host's addresses and routes is opened here, too, and stays open: no messenger could be as fast.
//! - `/etc/resolv.conf` and `/etc/hosts` are read here, before the netstack gives up files: they are the
//!   host's of this moment, and no choice. Of servers that change meanwhile it is told (`launch::names`).

use std::os::fd::BorrowedFd;
use std::rc::Rc;

use super::orders::looker;

use crate::launch::names::{servers, text};
use crate::net::dns::files::{NOBODY_NAMED, parse_hosts};
use crate::net::dns::{Families, Settings};
use crate::net::egress::policy::Source;
use crate::net::egress::{Gate, Stands};
use crate::net::user::dial::Host;
use crate::net::user::names::Named;
use crate::plan::step::Link;
use crate::spec::net::{Egress, SearchDomain};
use crate::sys::errno::Result;
use crate::sys::interfaces::Addresses;
use crate::sys::routes::Routes;

/// The gate for a link, as the engine asks it and as it tells at the end.
pub(super) fn gate(
    rules: &Egress,
    link: Link,
    master: BorrowedFd<'_>,
) -> Result<(Named<Host>, Gate)> {
    let addresses = Addresses::listen()?;
    let own = addresses.list()?;
    let stands = Stands {
        resolver: link.resolvers().collect(),
        host: link.families().map(|(_, _, gateway)| gateway).collect(),
    };
    let servers = match rules.dns.as_slice() {
        [] => Some(servers()).filter(|all| !all.is_empty()).unwrap_or(vec![NOBODY_NAMED]),
        asked => asked.to_vec(),
    };
    let given = rules.hosts.iter().cloned().map(|entry| (entry, Source::User));
    let listed = parse_hosts(&text("/etc/hosts")).into_iter().map(|entry| (entry, Source::Answer));
    let hosts = given.chain(listed).collect();
    let search = rules.dns_search.iter().filter_map(SearchDomain::name).cloned().collect();
    let names = Settings { servers, hosts, search, families: Families::of(&own) };
    let gate = Gate::new(rules, own, stands, names, Box::new(random));
    gate.ask_ways(Rc::new(Routes::open()?));
    let mut serving = Named::new(gate.clone(), Host)?;
    serving.follow(addresses)?;
    if rules.dns.is_empty() && !rules.closed {
        serving.look_with(looker(master)?);
    }
    Ok((serving, gate))
}

/// Two bytes that nobody outside knows. Without the kernel's there are none, and no answer is believed.
fn random() -> u16 {
    let mut bytes = [0; 2];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => u16::from_ne_bytes(bytes),
        Err(_) => std::process::abort(),
    }
}
