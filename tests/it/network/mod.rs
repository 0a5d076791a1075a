//! What leaves a sandbox with a network of its own: attacks on names and addresses, each with its control.
//!
//! The hosts are network namespaces with documentation addresses, made by `bed.sh` inside a user namespace;
//! nothing is sent to any other address.
//!
//! # What is tried, and where
//!
//! | class of attack | tests |
//! |---|---|
//! | loopback, own, private, link-local, metadata, unique-local addresses; their mapped, NAT64, 6to4, decimal, hexadecimal spellings | `attacks::no_spelling_of_an_inner_address_is_reached`, `netstack::the_host_itself_and_private_addresses_are_out_of_reach` |
//! | addresses that a route alone makes the host's, by any table and rule; routes that come during a run | `attacks::what_a_route_leads…`, `moves` |
//! | a name that leads there: rebinding, metadata by a name | `a_name_that_leads_to_this_host_leads_nowhere`, `an_alias_of_a_denied_name_is_none`; after its time: `net::dns::pins` |
//! | names with NUL, control bytes, dots within a label, in another case, with a dot at the end | `real::names::a_name_that_can_be_read_in_two_ways…` |
//! | bytes carried out in labels, in TXT questions, by another name server, by search domains | `a_name_that_is_not_allowed_never_leaves`, `attacks::no_other_name_server_is_asked`, `real::names` |
//! | the name asked for is another one than in SNI or Host; none; in pieces; on a connection that is kept; by a proxy | `attacks::a_greeting_must_name…`, `attacks::a_second_greeting…`, `attacks::a_tunnel…`, `attacks::a_request_by_a_long_method…`, `a_request_for_another_host…`, `real::web`, `real::smuggle` |
//! | `ech` and `h3` of HTTPS records; QUIC | `real::names::what_a_name_server_is_not_for…`, `attacks::quic_is_refused…` |
//! | datagrams, echoes, raw packets, sources of others, fragments, nonsense | `attacks::echoes_and_datagrams…`, `attacks::forged_packets…`, `bridge::nobody_sends_from…`; options and fragments byte by byte: `net::user::packet` |
//! | source routes, loose and strict; nonsense for the name server, over datagrams and connections | `attacks::a_route_that…`, `attacks::nonsense…` |
//! | what is no host: multicast, broadcast, reserved; what is too long | `attacks::what_is_no_host…`, `attacks::a_datagram_that_is_too_long…` |
//! | a port inside as a relay | `publish` |
//! | an address that the host is given while a sandbox runs, by what waits there already and by what is new | `moves` |
//! | the host's loopback, by the gateway and name server of other programs | `tool` |
//! | what another network's members reach, power over an address that is shared | `bridge`, `share` |
//! | ARP, neighbour discovery, routers, senders and link addresses that a member with power over its namespace makes up; floods | `spoof`, `several`, `ports` |
//! | a member that takes all there is of connections, flows, or ports' clients | `crowd`; in the netstack: `net::user::tests::crowd` |
//!

mod attacks;
mod bridge;
mod crowd;
mod endure;
mod members;
mod moves;
mod ports;
mod publish;
mod rate;
mod real;
mod several;
mod share;
mod spoof;
mod stopped;
mod told;
mod tool;

use std::time::Duration;

use crate::support::{Ended, Host, World};

/// Runs `flags`' sandbox, or with none the same without a sandbox, on the bed. Gives what the payload printed
/// and what the name server was asked.
fn tries(flags: Option<&str>, what: &str) -> (String, String) {
    on_bed(|bryo, scripts| {
        let run = |flags| format!("{bryo} run -q --rm --dns 198.51.100.53 {flags} -- ");
        let sandbox = flags.map(run).unwrap_or_default();
        format!("{sandbox}python3 {scripts}/payload.py '{what}'")
    })
}

/// Runs the command that `command` makes of the program and the folder of the scripts, on the bed. Gives what it
/// printed and what the name server was asked.
fn on_bed(command: impl FnOnce(&str, &str) -> String) -> (String, String) {
    let world = World::new();
    // The name server writes down what it is asked.
    world.host(Host::MayChange);
    let folder = world.folder("project").join("scripts");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in [
        ("bed.sh", include_str!("bed.sh")),
        ("peer.py", include_str!("peer.py")),
        ("payload.py", include_str!("payload.py")),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let scripts = folder.to_str().unwrap();
    let asked = world.folder("asked").join("names");
    let bryo = std::env::var("BRYO_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bryo").to_owned());
    let run = command(&bryo, scripts);
    let words = ["-U", "--map-current-user", "--keep-caps", "-n", "sh"].map(str::to_owned);
    let bed = [format!("{scripts}/bed.sh"), scripts.to_owned(), asked.display().to_string()];
    let all = words.into_iter().chain(bed).chain(["sh".to_owned(), "-c".to_owned(), run]);
    let ended: Ended = world
        .program("/usr/bin/unshare", all)
        .in_folder(world.project())
        .patience(Duration::from_mins(4))
        .ends();
    let asked = std::fs::read_to_string(&asked).unwrap_or_default();
    (ended.stdout(), asked)
}

fn inside(flags: &str, what: &str) -> String {
    tries(Some(flags), what).0
}

#[test]
fn only_a_named_host_is_reached() {
    let what = "get 198.51.100.8 80 evil.test + look evil.test + look good.test + get good.test 80 good.test";
    let control = inside("--network user", what);
    assert_eq!(control, "served evil.test\n198.51.100.8\n198.51.100.7\nserved good.test\n");
    let tried = inside("--allow good.test", what);
    assert_eq!(tried, "refused\nrefused\n198.51.100.7\nserved good.test\n");
}

#[test]
fn a_name_that_is_not_allowed_never_leaves() {
    let what = "look s3cr3t-in-a-label.evil.test + look good.test";
    let (_, control) = tries(Some("--network user"), what);
    assert!(control.contains("s3cr3t"), "{control}");
    let (_, asked) = tries(Some("--allow good.test"), what);
    assert_eq!(asked, "good.test\n");
}

#[test]
fn a_request_for_another_host_is_refused_also_behind_a_good_one() {
    let what = "get 198.51.100.7 80 evil.test + get 198.51.100.7 80 good.test evil.test";
    let (control, _) = tries(None, what);
    assert_eq!(control, "served evil.test\nserved good.test,served evil.test\n");
    // The address is the name's once it was looked up.
    let looked = format!("look good.test + {what} + get 198.51.100.7 80 good.test");
    let tried = inside("--allow good.test", &looked);
    assert_eq!(tried, "198.51.100.7\nrefused\nrefused\nserved good.test\n");
    let relaxed = inside("--allow good.test --allow-any-sni", &format!("look good.test + {what}"));
    assert_eq!(relaxed, format!("198.51.100.7\n{control}"));
}

#[test]
fn a_name_that_leads_to_this_host_leads_nowhere() {
    let what = "look rebind.test + look inward.test + get 192.0.2.1 80 inward.test";
    let (control, _) = tries(None, "get 192.0.2.1 80 inward.test");
    assert_eq!(control, "served inward.test\n");
    for flags in ["--allow rebind.test --allow inward.test", "--network user"] {
        assert_eq!(inside(flags, what), "198.51.100.7\nrefused\nrefused\n", "{flags}");
    }
    let named = inside("--allow inward.test --allow 192.0.2.1", "get inward.test 80 inward.test");
    assert_eq!(named, control);
}

#[test]
fn events_tell_where_a_sandbox_connects_and_where_it_may_not() {
    let what = "get good.test 80 good.test + get good.test 80 good.test + look evil.test + look evil.test + \
                udp 198.51.100.8 9 + get good.test 80 evil.test";
    let (told, _) = on_bed(|bryo, scripts| {
        let run = format!("{bryo} run -q --rm --name web --dns 198.51.100.53 --allow good.test");
        let form = "{{.Action}} {{.Name}} {{.Details}}";
        let filters = "-f event=connect -f event=refuse -f sandbox=web";
        let events = format!("{bryo} events --since 1h --until 1ms {filters} --format");
        format!(
            "{run} -- python3 {scripts}/payload.py '{what}' >/dev/null; sleep 0.1; {events} '{form}'; \
             {events} json | grep -c '\"event\":\"refuse\"'"
        )
    });
    let mut lines: Vec<&str> = told.lines().collect();
    // Some C libraries ask for both families at once.
    lines.dedup();
    let expected = [
        "connect web address=198.51.100.7,name=good.test,port=80,protocol=tcp",
        "refuse web name=evil.test,protocol=dns,reason=no rule allows it",
        "refuse web address=198.51.100.8,port=9,protocol=udp,reason=no rule allows it",
        "refuse web address=198.51.100.7,name=evil.test,port=80,protocol=tcp,\
         reason=it speaks to `evil.test`, which no rule allows",
        "3",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn an_alias_of_a_denied_name_is_none() {
    let what = "get alias.good.test 80 alias.good.test";
    let control = inside("--allow *.good.test", what);
    assert_eq!(control, "served alias.good.test\n");
    assert_eq!(inside("--allow *.good.test --deny evil.test", what), "refused\n");
}
