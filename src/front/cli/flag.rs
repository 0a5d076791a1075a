//! How flags are declared and their values read.
//!
//! clap is asked for words only: every value is read here, so that every error says the same things in
//! the same way and shows no byte of an argument raw.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches};

use crate::profile::value::ValueError;
use crate::spec::Text;

use super::error::CliError;
use super::surroundings::os_string;

/// The sandbox a command is about, as its last word.
pub fn sandbox() -> Arg {
    Arg::new("sandbox")
        .value_name("SANDBOX")
        .help(
            "Its name, its id, or the beginning of it; the newest one started from here otherwise",
        )
        .value_parser(ValueParser::os_string())
}

/// A flag without a value.
pub fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// A flag that is on or off, as Docker's: `--rm`, `--rm=false`.
pub fn toggle(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .value_name("BOOL")
        .value_parser(ValueParser::os_string())
}

/// A flag with one value.
pub fn value(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(placeholder)
        .help(help)
        // A value that cannot be, and no flag.
        .allow_negative_numbers(true)
        .value_parser(ValueParser::os_string())
}

/// A flag that can be given again and again.
pub fn values(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    value(name, placeholder, help).action(ArgAction::Append)
}

/// Whether a switch was given.
pub fn is_set(matches: &ArgMatches, id: &'static str) -> bool {
    matches.get_flag(id)
}

/// What a toggle says, when it was given.
pub fn toggled(
    matches: &ArgMatches,
    id: &'static str,
    flag: &'static str,
) -> Result<Option<bool>, CliError> {
    let Some(text) = one(matches, id) else { return Ok(None) };
    match text.to_str() {
        Some("true" | "1" | "yes") => Ok(Some(true)),
        Some("false" | "0" | "no") => Ok(Some(false)),
        _ => Err(CliError::BadValue {
            flag,
            value: quoted(text),
            source: ValueError::UnknownChoice { nearest: None, choices: &["true", "false"] },
        }),
    }
}

/// The value of a flag, when it was given.
pub fn one<'m>(matches: &'m ArgMatches, id: &str) -> Option<&'m OsStr> {
    matches.get_one::<OsString>(id).map(OsString::as_os_str)
}

/// All values of a flag, in the order they were given.
pub fn many<'m>(matches: &'m ArgMatches, id: &str) -> impl Iterator<Item = &'m OsStr> {
    matches.get_many::<OsString>(id).into_iter().flatten().map(OsString::as_os_str)
}

/// A value as text.
pub fn text<'v>(flag: &'static str, value: &'v OsStr) -> Result<&'v str, CliError> {
    let text = value.to_str().ok_or_else(|| CliError::NotUtf8 { flag, value: quoted(value) })?;
    match text {
        "" => Err(bad(flag, value, ValueError::Empty)),
        text => Ok(text),
    }
}

/// The error for a value.
pub fn bad(flag: &'static str, value: impl AsRef<OsStr>, source: ValueError) -> CliError {
    CliError::BadValue { flag, value: quoted(value), source }
}

/// A value as a message quotes it: at most a line or two of it.
pub fn quoted(value: impl AsRef<OsStr>) -> Text {
    const MOST: usize = 200;
    let bytes = value.as_ref().as_bytes();
    if bytes.len() <= MOST {
        return Text::from(value.as_ref());
    }
    // Not inside a character, where there are any.
    let start = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    let end = (MOST - 3..=MOST).rev().find(start).unwrap_or(MOST);
    Text::from(os_string(&[&bytes[..end], "…".as_bytes()].concat()))
}

/// A value that `parse` understands.
pub fn parsed<T>(
    flag: &'static str,
    value: &OsStr,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<T, CliError> {
    parse(text(flag, value)?).map_err(|source| bad(flag, value, source))
}

/// The value of a flag that counts once, read by `parse`.
pub fn one_parsed<T>(
    matches: &ArgMatches,
    id: &'static str,
    flag: &'static str,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<Option<T>, CliError> {
    one(matches, id).map(|value| parsed(flag, value, parse)).transpose()
}

/// One of a few words.
pub fn choice<T: Copy>(
    words: &'static [&'static str],
    values: &[T],
) -> impl FnOnce(&str) -> Result<T, ValueError> {
    move |text| {
        words
            .iter()
            .zip(values)
            .find(|(word, _)| **word == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| ValueError::unknown(text, words))
    }
}

/// Refuses two flags of which at most one may be given.
pub fn not_both(
    matches: &ArgMatches,
    one: &'static str,
    other: &'static str,
) -> Result<(), CliError> {
    if matches.contains_id(one) && matches.contains_id(other) {
        return Err(CliError::Contradiction {
            one: format!("--{one}"),
            other: format!("--{other}"),
        });
    }
    Ok(())
}
