//! `--network`: what the payload can talk to.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, one, quoted, text, value};
use crate::profile::value::{ValueError, nearest};
use crate::spec::{Network, Spec};

pub(super) const HEADING: &str = "Network";

/// Modes there are.
const MODES: &[&str] = &["none", "user", "host"];

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "network",
            "MODE",
            "Talk to nobody (`none`), to public addresses or those allowed (`user`), or as any program of this machine (`host`)",
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
            mode if is_known_elsewhere(mode) => {
                return Err(CliError::Unusable {
                    flag: "--network",
                    value: quoted(mode),
                    why: "this version has the networks `none`, `user` and `host`",
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
    let mode = match spec.network {
        Network::None => "none",
        Network::User => "user",
        Network::Host => "host",
    };
    if refused.iter().any(|name| name == mode) {
        return Err(CliError::ProfileRefuses {
            flag: format!("--network {mode}"),
            profile: spec.profile.clone(),
        });
    }
    Ok(())
}

/// Modes that Docker, Podman and later versions have.
fn is_known_elsewhere(mode: &str) -> bool {
    let name = mode.split_once(':').map_or(mode, |(name, _)| name);
    matches!(
        name,
        "bridge" | "sandbox" | "container" | "default" | "slirp4netns" | "pasta" | "private" | "ns"
    )
}
