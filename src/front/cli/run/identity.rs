//! `--user --ids --hostname`: who the payload is.

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{choice, one_parsed, value};
use crate::profile::value::{check_hostname, parse_user};
use crate::spec::{IdMode, Spec};

pub(super) const HEADING: &str = "Identity";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value("user", "USER", "Be root, or UID[:GID], inside; your own ids otherwise").short('u'),
        value(
            "ids",
            "MODE",
            "Map `single` (only your own id) or `subid` (your ranges of /etc/subuid too)",
        ),
        value("hostname", "NAME", "Name of the machine, inside"),
    ]
}

pub(super) fn apply(matches: &ArgMatches, spec: &mut Spec) -> Result<(), CliError> {
    if let Some(user) = one_parsed(matches, "user", "--user", parse_user)? {
        spec.ids.user = user;
    }
    let modes = [IdMode::Single, IdMode::Subid];
    if let Some(mode) = one_parsed(matches, "ids", "--ids", choice(&["single", "subid"], &modes))? {
        spec.ids.mode = mode;
    }
    let hostname = |text: &str| check_hostname(text).map(|()| text.to_owned());
    if let Some(hostname) = one_parsed(matches, "hostname", "--hostname", hostname)? {
        spec.hostname = Some(hostname);
    }
    Ok(())
}
