//! `--user --ids --hostname`: who the payload is.

use std::ffi::OsStr;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, choice, one, one_parsed, parsed, quoted, text, value};
use crate::ops::account::{Numbers, numbers};
use crate::profile::value::{ValueError, check_hostname, parse_user};
use crate::spec::ids::User;
use crate::spec::rootfs::Base;
use crate::spec::{IdMode, Spec};

pub(super) const HEADING: &str = "Identity";

/// What to type where nobody knows a name.
const BY_NUMBER: &str =
    "write `root`, or numbers: UID or UID:GID; `id NAME` tells those of another source of accounts";
const IN_IMAGE: &str = "write `root`, or the numbers that DIR/etc/passwd has for it: UID:GID";

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "user",
            "USER",
            "Be root, UID[:GID] or NAME[:GROUP] of this machine, inside; your own ids otherwise",
        )
        .short('u'),
        value(
            "ids",
            "MODE",
            "Map `single` (only your own id) or `subid` (your ranges of /etc/subuid too)",
        ),
        value("hostname", "NAME", "Name of the machine, inside"),
    ]
}

pub(super) fn apply(matches: &ArgMatches, spec: &mut Spec) -> Result<(), CliError> {
    if let Some(text) = one(matches, "user") {
        spec.ids.user = match parsed("--user", text, parse_user) {
            Err(CliError::BadValue { source: ValueError::NotAUser, .. }) => named(text, spec)?,
            other => other?,
        };
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

/// The user with a name: of this machine, whose accounts are those of the sandbox too.
fn named(value: &OsStr, spec: &Spec) -> Result<User, CliError> {
    let whole = text("--user", value)?;
    let (user, group) = match whole.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (whole, None),
    };
    let unusable = |why, instead| {
        Err(CliError::Unusable { flag: "--user", value: quoted(value), why, instead })
    };
    if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
        return Err(bad("--user", value, ValueError::NotAUser));
    }
    if matches!(spec.rootfs.base, Base::Directory(_)) {
        return unusable(
            "names are those of this machine, and DIR of `--rootfs` has its own",
            IN_IMAGE,
        );
    }
    match numbers(user, group) {
        Numbers::Ids { uid: 0, gid: 0 } => Ok(User::Root),
        Numbers::Ids { uid, gid } => Ok(User::Numeric { uid, gid }),
        Numbers::NoUser => unusable("no account in `/etc/passwd` has that name", BY_NUMBER),
        Numbers::NoGroup => unusable("no group in `/etc/group` has that name", BY_NUMBER),
        Numbers::Unreadable => unusable("`/etc/passwd` or `/etc/group` cannot be read", BY_NUMBER),
    }
}
