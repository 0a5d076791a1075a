//! `--seccomp --landlock --cap-add --cap-drop --nesting --security-opt --no-notify`: what may be asked
//! of the kernel.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{
    bad, choice, is_set, many, one, one_parsed, quoted, switch, text, value, values,
};
use crate::front::cli::surroundings::{Surroundings, read_bounded};
use crate::profile::value::ValueError;
use crate::spec::seccomp::file::{self, FOR_PAYLOADS};
use crate::spec::seccomp::{MAX_FILE_BYTES, docker};
use crate::spec::text::escape;
use crate::spec::{Capability, Need, SeccompChoice, Spec};

pub(super) const HEADING: &str = "Confinement";

/// No policy at all.
const UNCONFINED: &str = "unconfined";

/// What `--seccomp` can name; a file has a slash.
const POLICIES: [&str; 4] = {
    let [default, with_32, strict] = FOR_PAYLOADS;
    [default, with_32, strict, UNCONFINED]
};

pub(super) fn flags() -> Vec<Arg> {
    vec![
        value(
            "seccomp",
            "POLICY",
            "Which system calls: `default`, `default-32`, `strict`, `unconfined` (all of them), or a FILE with a slash",
        ),
        value("landlock", "NEED", "Landlock `required`, `if-available` or `off`"),
        values("cap-add", "CAP", "Keep a capability, or `all`; they count inside only"),
        values("cap-drop", "CAP", "Drop a capability the profile keeps, or `all`"),
        values("security-opt", "OPT", "Docker's spelling: `no-new-privileges`, `seccomp=POLICY`"),
        switch("nesting", "Let it make namespaces and mounts: a sandbox in the sandbox"),
        switch(
            "no-notify",
            "Do not listen to refused system calls: for programs that listen themselves",
        ),
    ]
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    let mut policy = one(matches, "seccomp").map(|value| ("--seccomp", value.to_owned()));
    for value in many(matches, "security-opt") {
        if let Some(named) = security_option(value)?
            && policy.replace(("--security-opt", named)).is_some()
        {
            return Err(CliError::Repeated("--seccomp".to_owned()));
        }
    }
    if let Some((flag, policy)) = policy {
        spec.confine.seccomp = seccomp(flag, &policy, caller)?;
    }
    let needs = [Need::Required, Need::IfAvailable, Need::Off];
    let choose = choice(&["required", "if-available", "off"], &needs);
    if let Some(need) = one_parsed(matches, "landlock", "--landlock", choose)? {
        spec.confine.landlock = need;
    }
    if is_set(matches, "nesting") {
        spec.confine.nesting = true;
    }
    if is_set(matches, "no-notify") {
        spec.confine.notify = false;
    }
    capabilities(matches, spec)
}

/// The seccomp policy in a `--security-opt`, if it is that option.
fn security_option(value: &OsStr) -> Result<Option<std::ffi::OsString>, CliError> {
    let option = text("--security-opt", value)?;
    let unusable = |why, instead| CliError::Unusable {
        flag: "--security-opt",
        value: quoted(option),
        why,
        instead,
    };
    match option.split_once(['=', ':']).unwrap_or((option, "true")) {
        ("no-new-privileges", "true") => Ok(None),
        ("no-new-privileges", _) => Err(unusable(
            "a payload never gains privileges",
            "programs that need set-user-id do not work in a sandbox",
        )),
        ("seccomp", policy) if policy != "true" => Ok(Some(policy.into())),
        ("apparmor" | "label" | "systempaths" | "mask" | "unmask", _) => Err(unusable(
            "there is nothing here that it would change",
            "the payload keeps the label and the AppArmor profile it is started with",
        )),
        _ => Err(unusable(
            "there is no such option",
            "there are `no-new-privileges` and `seccomp=POLICY`",
        )),
    }
}

fn seccomp(
    flag: &'static str,
    policy: &OsStr,
    caller: &Surroundings,
) -> Result<SeccompChoice, CliError> {
    if policy.as_bytes().contains(&b'/') {
        return policy_file(flag, policy, caller);
    }
    let name = text(flag, policy)?;
    match choice(&POLICIES, &POLICIES)(name) {
        Ok(UNCONFINED) => Ok(SeccompChoice::Unconfined),
        Ok(name) => Ok(SeccompChoice::Builtin(name.to_owned())),
        Err(source) => Err(bad(flag, policy, source)),
    }
}

/// Reads a policy: Docker's and OCI's are JSON objects, ours are TOML, which never begins with a brace.
fn policy_file(
    flag: &'static str,
    file: &OsStr,
    caller: &Surroundings,
) -> Result<SeccompChoice, CliError> {
    let path = caller.file(flag, file)?;
    let bytes = read_bounded(flag, file, &path, MAX_FILE_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| bad(flag, file, ValueError::NotUtf8))?;
    let name = escape(path.as_bytes());
    let policy = if text.trim_start().starts_with('{') {
        docker::parse(&text, &name)
    } else {
        file::parse(&text, &name)
    };
    Ok(SeccompChoice::File { path, policy: Box::new(policy?) })
}

/// As Docker: with `--cap-drop all` only what is added, with `--cap-add all` all but what is dropped.
fn capabilities(matches: &ArgMatches, spec: &mut Spec) -> Result<(), CliError> {
    let (add_all, add) = named(matches, "cap-add", "--cap-add")?;
    let (drop_all, drop) = named(matches, "cap-drop", "--cap-drop")?;
    let both = |what: &str| CliError::Contradiction {
        one: format!("--cap-add {what}"),
        other: format!("--cap-drop {what}"),
    };
    if add_all && drop_all {
        return Err(both("all"));
    }
    if let Some(capability) = add.intersection(&drop).next() {
        return Err(both(&capability.to_string()));
    }
    let mut kept: BTreeSet<Capability> = match () {
        () if add_all => Capability::all().collect(),
        () if drop_all => BTreeSet::new(),
        () => spec.confine.capabilities.iter().copied().collect(),
    };
    kept.extend(add);
    spec.confine.capabilities = kept.difference(&drop).copied().collect();
    Ok(())
}

fn named(
    matches: &ArgMatches,
    id: &'static str,
    flag: &'static str,
) -> Result<(bool, BTreeSet<Capability>), CliError> {
    let mut all = false;
    let mut some = BTreeSet::new();
    for value in many(matches, id) {
        for name in text(flag, value)?.split(',') {
            if name.eq_ignore_ascii_case("all") {
                all = true;
            } else {
                let capability = Capability::from_name(name)
                    .map_err(|source| bad(flag, value, ValueError::Capability(source)))?;
                some.insert(capability);
            }
        }
    }
    Ok((all, some))
}
