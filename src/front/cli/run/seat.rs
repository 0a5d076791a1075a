//! `--ip --ip6 --network-alias`: the place on a network that several sandboxes share. `bryo network connect` has them
//! too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{many, one_parsed, parsed, quoted, value, values};
use crate::profile::value::ValueError;
use crate::spec::net::prefix::parse_address;
use crate::spec::net::seat::{ALIASES, is_alias};
use crate::spec::net::{HostName, RuleError, Seat};
use crate::spec::{Network, Spec};

/// The flags of addresses.
pub(in crate::front::cli) fn addresses() -> Vec<Arg> {
    vec![
        value("ip", "ADDRESS", "Have this address on the network; else a free one"),
        value("ip6", "ADDRESS", "And this one of IPv6"),
    ]
}

pub(super) fn flags() -> Vec<Arg> {
    let alias = values(
        "network-alias",
        "NAME",
        "Be found on the network by this name too; several sandboxes may have it",
    );
    addresses().into_iter().chain([alias.alias("net-alias")]).collect()
}

/// What stands in place of a name that is an alias; its flag's id is as its name.
const ALIAS: [(&str, &str); 2] = [("network-alias", "--network-alias"), ("alias", "--alias")];

pub(super) fn apply(matches: &ArgMatches, spec: &mut Spec) -> Result<(), CliError> {
    spec.seat = read(matches, ALIAS[0])?;
    if spec.seat.is_plain() || matches!(spec.network, Network::Bridge(_)) {
        return Ok(());
    }
    let given = |(id, flag)| one_of(matches, id).map(|value| (flag, value));
    let flags = [("ip", "--ip"), ("ip6", "--ip6"), ALIAS[0]];
    let Some((flag, value)) = flags.into_iter().find_map(given) else { return Ok(()) };
    Err(CliError::Unusable {
        flag,
        value: quoted(value),
        why: "only a network that several sandboxes share has places to choose",
        instead: "`--network bridge:NAME`, or `--network bridge`",
    })
}

/// Of `bryo network connect`.
pub(in crate::front::cli) fn of_connect(matches: &ArgMatches) -> Result<Seat, CliError> {
    read(matches, ALIAS[1])
}

fn one_of<'m>(matches: &'m ArgMatches, id: &str) -> Option<&'m std::ffi::OsStr> {
    many(matches, id).next()
}

fn read(matches: &ArgMatches, (id, flag): (&'static str, &'static str)) -> Result<Seat, CliError> {
    let v4: Option<Ipv4Addr> = one_parsed(matches, "ip", "--ip", parse_v4)?;
    let v6 = one_parsed(matches, "ip6", "--ip6", parse_v6)?;
    let mut aliases: Vec<HostName> = Vec::new();
    for text in many(matches, id) {
        let alias = parsed(flag, text, parse_alias)?;
        if !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    if let Some(one_more) = aliases.get(ALIASES) {
        return Err(CliError::Unusable {
            flag,
            value: quoted(one_more.as_str()),
            why: "a sandbox has 32 of them at most",
            instead: "leave out some",
        });
    }
    Ok(Seat { v4, v6, aliases })
}

/// An address of IPv4.
pub(in crate::front::cli) fn parse_v4(text: &str) -> Result<Ipv4Addr, ValueError> {
    match parse(text)? {
        IpAddr::V4(v4) => Ok(v4),
        IpAddr::V6(_) => Err(ValueError::NotV4),
    }
}

fn parse_v6(text: &str) -> Result<Ipv6Addr, ValueError> {
    match parse(text)? {
        IpAddr::V6(v6) => Ok(v6),
        IpAddr::V4(_) => Err(ValueError::NotV6),
    }
}

fn parse(text: &str) -> Result<IpAddr, ValueError> {
    parse_address(text).map_err(|error| ValueError::Rule(RuleError::Address(error)))
}

fn parse_alias(text: &str) -> Result<HostName, ValueError> {
    HostName::parse(text).ok().filter(is_alias).ok_or(ValueError::NotAnAlias)
}
