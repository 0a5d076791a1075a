//! `bryo port`.

use clap::{Arg, ArgMatches, Command};

use crate::ops::port::{PortOf, json, ports, text};
use crate::ops::stores::Here;
use crate::report::Failure;
use crate::spec::Text;

use super::error::CliError;
use super::flag::{is_set, one, quoted, sandbox, switch};
use super::output::Answer;

/// `bryo port`, as clap knows it.
pub fn command() -> Command {
    let port = Arg::new("port")
        .value_name("PORT[/PROTO]")
        .help("Of this port of the sandbox alone; of TCP, unless `/udp` follows")
        .value_parser(clap::builder::ValueParser::os_string());
    Command::new("port")
        .about("Print where the published ports of a running sandbox are")
        .after_help(
            "A number alone is a port of the newest sandbox that was started from this directory.\n\nClients \
             on this machine's loopback appear to the program as the gateway, 10.0.2.2 or fd00::2; others with their own \
             address.",
        )
        .arg(sandbox())
        .arg(port)
        .arg(switch("json", "Answer as JSON"))
}

/// Answers `bryo port`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let (mut named, mut port) = (one(matches, "sandbox"), one(matches, "port"));
    if port.is_none() && named.and_then(|word| PortOf::parse(word.to_str()?)).is_some() {
        port = named.take();
    }
    let port = match port {
        None => None,
        Some(word) => Some(word.to_str().and_then(PortOf::parse).ok_or_else(|| {
            Failure::new(&CliError::Unusable {
                flag: "PORT",
                value: quoted(word),
                why: "it is not a port",
                instead: "as in `80`, `80/tcp` or `53/udp`",
            })
        })?),
    };
    let named: Option<Text> = named.map(Into::into);
    let found =
        Here::look().and_then(|here| ports(&here.stores, here.which(named.as_ref())?, port))?;
    if is_set(matches, "json") {
        return json(&found).map(Answer::bytes).map_err(Failure::from);
    }
    Ok(Answer::text(text(&found, port)))
}
