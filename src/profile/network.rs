//! `[network]` of a profile.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::spec::Network;
use crate::spec::net::{
    self, DnsOption, Egress, HostEntry, NameCheck, OnLoss, Publish, Rate, Rule, RuleError,
    SearchDomain,
};

use super::error::Located;
use super::fields::read_list;
use super::read::{Cursor, each_key};
use super::settings::{List, Settings};
use super::value::ValueError;

const NETWORK: &[&str] = &[
    "mode",
    "refuse",
    "allow",
    "deny",
    "allow-all",
    "allow-any-sni",
    "dns",
    "dns-search",
    "dns-option",
    "add-host",
    "publish",
    "rate",
    "on-loss",
];

/// Modes of the network that a profile can ask for, as `--network` calls them.
const NETWORKS: &[&str] = &["none", "user", "host", "pasta", "slirp4netns"];

/// Modes that it can refuse.
const REFUSED: &[&str] = &["none", "user", "host", "sandbox", "bridge", "pasta", "slirp4netns"];

/// `[network]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Networking {
    /// Which it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Network>,
    /// Modes that no flag may ask for, as `--network` calls them.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub refuse: List<String>,
    /// Who may be talked to.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub allow: List<Rule>,
    /// Who may not.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub deny: List<Rule>,
    /// Every public address, also where `allow` names some.
    #[serde(rename = "allow-all", skip_serializing_if = "Option::is_none")]
    pub allow_all: Option<bool>,
    /// Connections may say any name.
    #[serde(rename = "allow-any-sni", skip_serializing_if = "Option::is_none")]
    pub allow_any_sni: Option<bool>,
    /// Servers that names are asked of.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub dns: List<SocketAddr>,
    /// Domains that are tried behind a name.
    #[serde(rename = "dns-search", skip_serializing_if = "List::is_unsaid")]
    pub dns_search: List<SearchDomain>,
    /// Options of resolv.conf(5).
    #[serde(rename = "dns-option", skip_serializing_if = "List::is_unsaid")]
    pub dns_options: List<DnsOption>,
    /// Names with addresses of their own.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub hosts: List<HostEntry>,
    /// Ports that clients on the host reach.
    #[serde(skip_serializing_if = "List::is_unsaid")]
    pub publish: List<Publish>,
    /// How fast it may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What becomes of a run whose network ends before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_loss: Option<OnLoss>,
}

impl Networking {
    /// What a network with a way out lets through.
    pub(super) fn egress(&self) -> Egress {
        Egress {
            allow: self.allow.entries.clone(),
            deny: self.deny.entries.clone(),
            everything: self.allow_all.unwrap_or(false),
            names: match self.allow_any_sni {
                Some(true) => NameCheck::Any,
                Some(false) | None => NameCheck::Checked,
            },
            dns: self.dns.entries.clone(),
            dns_search: self.dns_search.entries.clone(),
            dns_options: self.dns_options.entries.clone(),
            hosts: self.hosts.entries.clone(),
            closed: false,
            rate: self.rate,
            on_loss: self.on_loss.unwrap_or_default(),
            capture: None,
            learn: false,
            meant_by: None,
        }
    }
}

pub(super) fn read_network(at: Cursor<'_, '_>, settings: &mut Settings) -> Result<(), Located> {
    each_key(at.table()?, "in `[network]`", NETWORK, |at| {
        let network = &mut settings.network;
        match at.key() {
            "mode" => {
                let modes = [
                    Network::None,
                    Network::User,
                    Network::Host,
                    Network::Pasta,
                    Network::Slirp4netns,
                ];
                network.mode = Some(at.choice(NETWORKS, &modes)?);
            }
            "refuse" => network.refuse = read_list(at, read_network_name)?,
            "allow" => network.allow = read_list(at, read_allowed)?,
            "deny" => network.deny = read_list(at, read_rule)?,
            "allow-all" => network.allow_all = Some(at.boolean()?),
            "allow-any-sni" => network.allow_any_sni = Some(at.boolean()?),
            "dns" => network.dns = read_list(at, read_server)?,
            "dns-search" => network.dns_search = read_list(at, read_search)?,
            "dns-option" => network.dns_options = read_list(at, read_option)?,
            "publish" => network.publish = read_list(at, read_published)?,
            "rate" => network.rate = Some(at.parsed(parse_rate)?),
            "on-loss" => network.on_loss = Some(at.parsed(parse_on_loss)?),
            _ => network.hosts = read_list(at, read_host_entry)?,
        }
        Ok(())
    })
}

pub(super) fn read_network_name(at: Cursor<'_, '_>) -> Result<String, Located> {
    Ok(at.choice(REFUSED, REFUSED)?.to_owned())
}

fn read_allowed(at: Cursor<'_, '_>) -> Result<Rule, Located> {
    at.parsed(parse_allowed)
}

pub(super) fn read_rule(at: Cursor<'_, '_>) -> Result<Rule, Located> {
    at.parsed(parse_rule)
}

pub(super) fn read_server(at: Cursor<'_, '_>) -> Result<SocketAddr, Located> {
    at.parsed(parse_server)
}

pub(super) fn read_search(at: Cursor<'_, '_>) -> Result<SearchDomain, Located> {
    at.parsed(parse_search)
}

pub(super) fn read_option(at: Cursor<'_, '_>) -> Result<DnsOption, Located> {
    at.parsed(parse_option)
}

pub(super) fn read_host_entry(at: Cursor<'_, '_>) -> Result<HostEntry, Located> {
    at.parsed(parse_host_entry)
}

pub(super) fn read_published(at: Cursor<'_, '_>) -> Result<Publish, Located> {
    at.parsed(parse_published)
}

/// `[IP:]HOST:SANDBOX[/tcp|udp]`.
pub fn parse_published(text: &str) -> Result<Publish, ValueError> {
    Ok(Publish::parse(text)?)
}

/// Who may be talked to.
pub fn parse_allowed(text: &str) -> Result<Rule, ValueError> {
    Ok(Rule::parse_allowing(text)?)
}

/// Who may not.
pub fn parse_rule(text: &str) -> Result<Rule, ValueError> {
    Ok(Rule::parse(text)?)
}

/// A server that names are asked of.
pub fn parse_server(text: &str) -> Result<SocketAddr, ValueError> {
    Ok(net::parse_server(text)?)
}

/// A domain that is tried behind a name.
pub fn parse_search(text: &str) -> Result<SearchDomain, ValueError> {
    Ok(SearchDomain::parse(text).map_err(RuleError::from)?)
}

/// An option of resolv.conf(5).
pub fn parse_option(text: &str) -> Result<DnsOption, ValueError> {
    Ok(DnsOption::parse(text)?)
}

/// `NAME:ADDRESS`.
pub fn parse_host_entry(text: &str) -> Result<HostEntry, ValueError> {
    Ok(HostEntry::parse(text).ok_or(ValueError::NotAHostEntry)??)
}

/// `continue` or `end`.
pub fn parse_on_loss(text: &str) -> Result<OnLoss, ValueError> {
    OnLoss::of(text).ok_or(ValueError::UnknownChoice { nearest: None, choices: &OnLoss::WORDS })
}

/// `DOWN[/UP]`.
pub fn parse_rate(text: &str) -> Result<Rate, ValueError> {
    Ok(Rate::parse(text)?)
}
