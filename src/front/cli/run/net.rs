//! `--network`: what the payload can talk to.

use std::ffi::OsStr;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, one, quoted, text, value};
use crate::front::cli::surroundings::Surroundings;
use crate::ops::network;
use crate::profile::value::ValueError;
use crate::spec::net::NetworkName;
use crate::spec::{Network, Spec};

pub(super) const HEADING: &str = "Network";

/// Modes there are.
const MODES: &[&str] =
    &["none", "user", "host", "bridge[:NAME]", "sandbox:ID", "pasta", "slirp4netns"];

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "network",
            "MODE",
            "Talk to nobody (`none`), to public addresses or those allowed (`user`), as any program of this machine (`host`), with the other sandboxes of a network (`bridge`, `bridge:NAME`: `bryo network`), share the network of a running sandbox (`sandbox:ID`), or have a program that is installed connect it, whose reach is this machine's, private networks included (`pasta`, `slirp4netns`)",
        )
        .visible_alias("net"),
    ]
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    refused: &[String],
    caller: &Surroundings,
) -> Result<(), CliError> {
    if let Some(value) = one(matches, "network") {
        spec.network = match text("--network", value)? {
            "none" => Network::None,
            "user" => Network::User,
            "host" => Network::Host,
            "bridge" => Network::Bridge(NetworkName::default()),
            "pasta" => Network::Pasta,
            "slirp4netns" => Network::Slirp4netns,
            mode if bridged(mode).is_some() => bridge(value, bridged(mode).unwrap_or_default())?,
            mode if shared(mode).is_some_and(|id| !id.is_empty()) => {
                Network::Sandbox(shared(mode).unwrap_or_default().into())
            }
            mode if is_known_elsewhere(mode) => {
                return Err(CliError::Unusable {
                    flag: "--network",
                    value: quoted(mode),
                    why: "there are `none`, `user`, `host`, `bridge[:NAME]`, `sandbox:ID`, `pasta` and `slirp4netns`",
                    instead: "`none` reaches nothing; `user` public addresses; `host` everything this machine reaches",
                });
            }
            mode if network::names_there().iter().any(|name| name.as_str() == mode) => {
                return Err(CliError::BareNetwork(mode.to_owned()));
            }
            mode => {
                return Err(bad("--network", value, ValueError::unknown(mode, MODES)));
            }
        };
    }
    super::egress::apply(matches, spec, caller)?;
    super::seat::apply(matches, spec)?;
    let mode = spec.network.mode();
    if refused.iter().any(|name| name == mode) {
        return Err(CliError::ProfileRefuses {
            flag: format!("--network {mode}"),
            profile: spec.profile.clone(),
        });
    }
    Ok(())
}

/// The network that a mode names.
fn bridged(mode: &str) -> Option<&str> {
    mode.strip_prefix("bridge:")
}

fn bridge(value: &OsStr, name: &str) -> Result<Network, CliError> {
    let name = NetworkName::new(name);
    name.map(Network::Bridge).map_err(|_| bad("--network", value, ValueError::NotANetwork))
}

/// The sandbox that a mode names; Docker calls it a container.
fn shared(mode: &str) -> Option<&str> {
    mode.strip_prefix("sandbox:").or_else(|| mode.strip_prefix("container:"))
}

/// Modes that Docker, Podman and later versions have.
fn is_known_elsewhere(mode: &str) -> bool {
    let name = mode.split_once(':').map_or(mode, |(name, _)| name);
    matches!(name, "sandbox" | "container" | "default" | "slirp4netns" | "pasta" | "private" | "ns")
}
