//! What the network of a run refused, with the flag that would allow each, and what it used.

use super::{Kept, NAMED, reference};
use crate::plan::traffic::{NetworkLoss, Protocol, Refused, Traffic};
use crate::report::quote::shell_command;
use crate::spec::Network;
use crate::spec::net::Rule;
use crate::spec::text::escape;
use crate::state::{Outcome, Record};

/// What was used, where that was to be learnt.
pub(super) fn learnt(record: &Record) -> Option<String> {
    let traffic = record.traffic.as_ref().filter(|_| record.spec.egress.learn)?;
    Some(if traffic.used.is_empty() {
        "this run used no network".to_owned()
    } else {
        format!("this run used: {}", flags(traffic.used.iter()))
    })
}

/// What the network refused.
pub(super) fn lines(record: &Record, kept: Kept) -> Vec<String> {
    let Some(traffic) = &record.traffic else { return unknown(record).into_iter().collect() };
    let mut lines = Vec::new();
    if !traffic.refused.is_empty() {
        lines.push(refused(traffic, record, kept));
    }
    if let (1.., Some(capture)) = (traffic.not_captured, &record.spec.egress.capture) {
        lines.push(format!(
            "`{}` is full: {} packets are not in it; --pcap-size sets how much it takes",
            capture.file, traffic.not_captured
        ));
    }
    lines
}

/// That nobody could tell what a network of several refused. Of one that was lost that is said already.
fn unknown(record: &Record) -> Option<String> {
    let is_member = matches!(record.spec.network, Network::Bridge(_));
    let has_run = matches!(record.outcome, Outcome::Exited { .. });
    (is_member && has_run && record.network_loss.is_none()).then(|| {
        let network = called(record);
        format!("what the network{network} refused to this run is not known: it did not answer")
    })
}

/// That there was no network any more at some point.
pub(super) fn loss(record: &Record) -> Option<String> {
    Some(match record.network_loss? {
        NetworkLoss::Killed(signal) => {
            format!(
                "the network of this run ended early: {} was killed by signal {signal}",
                carrier(record)
            )
        }
        NetworkLoss::Exited(code) => {
            let carrier = carrier(record);
            format!("the network of this run ended early: {carrier} failed with status {code}")
        }
        NetworkLoss::Holder => {
            let network = called(record);
            format!("the network{network} of this run ended early: the process that holds it did")
        }
        NetworkLoss::Uplink => {
            let network = called(record);
            format!(
                "the network{network} of this run lost its way out: its netstack ended early; it has one again once all \
                 sandboxes on it have ended"
            )
        }
        NetworkLoss::Unfinished => {
            "the network of this run was cut off at its end: what was sent last may not have left"
                .to_owned()
        }
    })
}

/// The name of a network of several.
fn called(record: &Record) -> String {
    match &record.spec.network {
        Network::Bridge(network) => format!(" `{network}`"),
        _ => String::new(),
    }
}

/// Who carried its packets.
fn carrier(record: &Record) -> String {
    let tool = record.spec.network.tool();
    tool.map_or_else(|| "its netstack".to_owned(), |tool| format!("`{}`", tool.name()))
}

fn flags<'a>(rules: impl Iterator<Item = &'a Rule>) -> String {
    let words = rules.flat_map(|rule| ["--allow".to_owned(), rule.to_string()]);
    shell_command(words)
}

fn refused(traffic: &Traffic, record: &Record, kept: Kept) -> String {
    let named: Vec<String> = traffic.refused.iter().take(NAMED).map(refusal).collect();
    let left = traffic.refused.len().saturating_sub(NAMED);
    let left = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(traffic.more);
    let more = match (left, kept) {
        (0, _) => String::new(),
        (left, Kept::No) => format!("; and {left} more"),
        (left, _) => format!("; and {left} more: bryo inspect {}", reference(record)),
    };
    // What leaves a network is decided where that is made.
    let made = match &record.spec.network {
        Network::Bridge(name) => format!("; flags are of `bryo network create`, for `{name}`"),
        _ => String::new(),
    };
    format!("refused connections: {}{more}{made}", named.join("; "))
}

/// One refusal: to whom, why, and the flag.
fn refusal(refused: &Refused) -> String {
    let to = match (&refused.name, refused.address) {
        (Some(name), _) => name.to_string(),
        (None, Some(address)) if refused.port.is_some() && address.is_ipv6() => {
            format!("[{address}]")
        }
        (None, Some(address)) => address.to_string(),
        (None, None) => "?".to_owned(),
    };
    let port = refused.port.map_or(String::new(), |port| format!(":{port}"));
    let udp = if refused.protocol == Protocol::Udp { "/udp" } else { "" };
    let times =
        if refused.count > 1 { format!(", {} times", refused.count) } else { String::new() };
    let allow = match &refused.allow {
        Some(rule) => format!(", to allow: {}", flags(std::iter::once(rule))),
        None => String::new(),
    };
    format!("{to}{port}{udp} ({}{times}){allow}", escape(&refused.reason))
}
