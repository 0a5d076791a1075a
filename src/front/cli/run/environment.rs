//! `-e/--env --env-file`: which variables the payload gets.
//!
//! # Theory of operation
//! In this order, a later one wins: the caller's variables whose names the profile lists, what the
//! profile sets, the lines of `--env-file`, `-e`. What has neither a value nor one at the caller's is
//! passed over, as Docker does.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{bad, many, quoted, values};
use crate::front::cli::surroundings::{Surroundings, os_string, read_bounded, split_once};
use crate::profile::value::ValueError;
use crate::profile::variable::matches_variable;
use crate::spec::order;
use crate::spec::rootfs::Base;
use crate::spec::{EnvironmentVariable, Spec, Text, User};

/// The longest environment file that is read, in bytes.
const MAX_FILE: usize = 1 << 20;

/// Where programs are in a root file system that is not the host's.
const FOREIGN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(in crate::front::cli) fn flags() -> Vec<Arg> {
    vec![
        values(
            "env",
            "NAME[=VALUE]",
            "Set a variable, or pass yours; `*` in a name passes all that match",
        )
        .short('e'),
        values("env-file", "FILE", "Set the variables of a file with lines NAME=VALUE"),
    ]
}

type Variables = BTreeMap<OsString, OsString>;

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
    pass: &[String],
    set: Vec<EnvironmentVariable>,
) -> Result<(), CliError> {
    let mut variables = passed(caller, pass);
    if matches!(spec.rootfs.base, Base::Directory(_)) {
        enter_foreign_root(&mut variables, spec.ids.user);
    }
    let set = set.into_iter().map(|EnvironmentVariable { name, value }| {
        (name.as_os_str().to_owned(), value.as_os_str().to_owned())
    });
    variables.extend(set);
    add_listed(matches, caller, &mut variables)?;
    let names = caller.environment.iter().map(|(name, _)| name);
    let mut not_passed: Vec<Text> = names
        .filter(|name| !variables.contains_key(*name))
        .map(|name| Text::from(name.clone()))
        .collect();
    order::sort(&mut not_passed);
    spec.command.not_passed = not_passed;
    spec.command.environment = finish(variables);
    Ok(())
}

/// What the flags alone name.
pub(in crate::front::cli) fn listed(
    matches: &ArgMatches,
    caller: &Surroundings,
) -> Result<Vec<EnvironmentVariable>, CliError> {
    let mut variables = Variables::new();
    add_listed(matches, caller, &mut variables)?;
    Ok(finish(variables))
}

fn add_listed(
    matches: &ArgMatches,
    caller: &Surroundings,
    variables: &mut Variables,
) -> Result<(), CliError> {
    for file in many(matches, "env-file") {
        read_file(file, caller, variables)?;
    }
    for text in many(matches, "env") {
        add(text, caller, variables).map_err(|source| bad("--env", text, source))?;
    }
    Ok(())
}

fn finish(variables: Variables) -> Vec<EnvironmentVariable> {
    let variable = |(name, value): (OsString, OsString)| EnvironmentVariable {
        name: name.into(),
        value: value.into(),
    };
    variables.into_iter().map(variable).collect()
}

fn passed(caller: &Surroundings, patterns: &[String]) -> Variables {
    let wanted = |name: &OsStr| {
        patterns.iter().any(|pattern| matches_variable(pattern.as_bytes(), name.as_bytes()))
    };
    caller.environment.iter().filter(|(name, _)| wanted(name)).cloned().collect()
}

/// The host's home and search path mean nothing in another root file system.
fn enter_foreign_root(variables: &mut Variables, user: User) {
    let home = if user == User::Root { "/root" } else { "/" };
    variables.insert("HOME".into(), home.into());
    variables.insert("PATH".into(), FOREIGN_PATH.into());
}

/// `NAME=VALUE` or `NAME`.
fn add(text: &OsStr, caller: &Surroundings, variables: &mut Variables) -> Result<(), ValueError> {
    if text.as_bytes().contains(&0) {
        return Err(ValueError::Nul);
    }
    let (name, value) = split_once(text, b'=').map_or((text, None), |(n, value)| (n, Some(value)));
    if name.is_empty() {
        return Err(if text.is_empty() { ValueError::Empty } else { ValueError::NoName });
    }
    if let Some(value) = value {
        variables.insert(name.to_owned(), value.to_owned());
    } else {
        let matching = caller
            .environment
            .iter()
            .filter(|(known, _)| matches_variable(name.as_bytes(), known.as_bytes()));
        variables.extend(matching.cloned());
    }
    Ok(())
}

/// Docker's format: one variable a line, nothing quoted; `#` begins a comment line.
fn read_file(
    file: &OsStr,
    caller: &Surroundings,
    variables: &mut Variables,
) -> Result<(), CliError> {
    let path = caller.file("--env-file", file)?;
    let bytes = read_bounded("--env-file", file, &path, MAX_FILE)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        add_line(line, caller, variables).map_err(|source| CliError::BadLine {
            path: quoted(file),
            line: number + 1,
            source,
        })?;
    }
    Ok(())
}

fn add_line(
    line: &[u8],
    caller: &Surroundings,
    variables: &mut Variables,
) -> Result<(), ValueError> {
    if std::str::from_utf8(line).is_err() {
        return Err(ValueError::NotUtf8);
    }
    let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
    if name.iter().any(u8::is_ascii_whitespace) {
        return Err(ValueError::NotAVariable);
    }
    add(&os_string(line), caller, variables)
}
