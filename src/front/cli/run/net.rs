//! `--network`: what the payload can talk to.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, one, quoted, text, value};
use crate::profile::value::{ValueError, nearest};
use crate::spec::{Network, Spec};

pub(super) const HEADING: &str = "Network";

/// Modes there are.
const MODES: &[&str] = &["none", "user", "host", "sandbox:ID"];

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "network",
            "MODE",
            "Talk to nobody (`none`), to public addresses or those allowed (`user`), as any program of this machine (`host`), or share the network of a running sandbox (`sandbox:ID`)",
        )
        .visible_alias("net"),
    ]
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    refused: &[String],
) -> Result<(), CliError> {
    if let Some(value) = one(matches, "network") {
        spec.network = match text("--network", value)? {
            "none" => Network::None,
            "user" => Network::User,
            "host" => Network::Host,
            mode if shared(mode).is_some_and(|id| !id.is_empty()) => {
                Network::Sandbox(shared(mode).unwrap_or_default().into())
            }
            mode if is_known_elsewhere(mode) => {
                return Err(CliError::Unusable {
                    flag: "--network",
                    value: quoted(mode),
                    why: "this version has the networks `none`, `user`, `host` and `sandbox:ID`",
                    instead: "`none` reaches nothing; `user` public addresses; `host` everything this machine reaches",
                });
            }
            mode => {
                return Err(bad(
                    "--network",
                    value,
                    ValueError::UnknownChoice {
                        nearest: nearest(mode, MODES.iter().copied()),
                        choices: MODES,
                    },
                ));
            }
        };
    }
    super::egress::apply(matches, spec)?;
    let mode = spec.network.mode();
    if refused.iter().any(|name| name == mode) {
        return Err(CliError::ProfileRefuses {
            flag: format!("--network {mode}"),
            profile: spec.profile.clone(),
        });
    }
    Ok(())
}

/// The sandbox that a mode names; Docker calls it a container.
fn shared(mode: &str) -> Option<&str> {
    mode.strip_prefix("sandbox:").or_else(|| mode.strip_prefix("container:"))
}

/// Modes that Docker, Podman and later versions have.
fn is_known_elsewhere(mode: &str) -> bool {
    let name = mode.split_once(':').map_or(mode, |(name, _)| name);
    matches!(
        name,
        "bridge" | "sandbox" | "container" | "default" | "slirp4netns" | "pasta" | "private" | "ns"
    )
}
