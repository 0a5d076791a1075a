//! The words by which `diff` and `apply` are told what is meant: `[SANDBOX] [PATH]... --exclude GLOB`.
//!
//! # Decisions
//! - The first word is a sandbox, unless a slash, or a `.` or `~` alone, makes it a path. Whatever follows it is a
//!   path. After `--` there are only paths. A file beside one is written `./NAME`, as for the shell.
//! - Paths are of the host, from the current directory on.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::diff::{Glob, Later, Selection};
use crate::profile::value::ValueError;
use crate::spec::{HostPath, Text};

use super::error::CliError;
use super::flag::{bad, many, quoted, values};
use super::surroundings::Surroundings;

/// What is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The sandbox; none for the newest one started from here.
    pub sandbox: Option<Text>,
    /// Which of its changes.
    pub selection: Selection,
}

/// Declares the words.
pub fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new("words")
                .value_name("SANDBOX] [PATH")
                .help(
                    "A sandbox's name, its id, or the beginning of it; the newest one started from here \
                     otherwise. Then paths: only these, and what lies below. A first word with a slash \
                     in it is a path",
                )
                .num_args(0..)
                .value_parser(ValueParser::os_string()),
        )
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .help("Only paths follow")
                .num_args(1..)
                .last(true)
                .value_parser(ValueParser::os_string()),
        )
        .arg(values("exclude", "GLOB", "Not what this matches, as in a .gitignore; repeatable"))
}

/// Reads the words.
pub fn read(matches: &ArgMatches, caller: &Surroundings) -> Result<Selected, CliError> {
    let mut words = many(matches, "words").peekable();
    let sandbox = words.next_if(|word| !is_path(word)).map(Text::from);
    let paths = words.chain(many(matches, "path"));
    let paths = paths.map(|path| caller.host_path("PATH", path)).collect::<Result<_, _>>()?;
    let exclude = many(matches, "exclude").map(|text| glob(text, caller));
    let exclude = exclude.collect::<Result<_, _>>()?;
    Ok(Selected { sandbox, selection: Selection { paths, exclude } })
}

/// Whether paths are named.
pub fn names_paths(matches: &ArgMatches) -> bool {
    let first_is_one = many(matches, "words").next().is_some_and(is_path);
    first_is_one || many(matches, "words").nth(1).or(many(matches, "path").next()).is_some()
}

/// What knows the paths that other programs will execute: with the caller's home and search path, links
/// resolved, for a directory of commands is looked up through them.
pub fn later(caller: &Surroundings) -> Later {
    let resolved = |path: PathBuf| HostPath::new(std::fs::canonicalize(&path).unwrap_or(path)).ok();
    let home = caller.variable("HOME").map(PathBuf::from).and_then(resolved);
    let path = caller.variable("PATH").unwrap_or_default();
    let later = Later::new(home.as_ref(), std::env::split_paths(path).filter_map(resolved))
        .with_trusted(caller.trusted());
    match caller.workdir.clone().and_then(resolved) {
        Some(project) => later.with_project(&project),
        None => later,
    }
}

fn is_path(word: &OsStr) -> bool {
    word.as_bytes().contains(&b'/') || matches!(word.as_bytes(), b"." | b".." | b"~")
}

fn glob(text: &OsStr, caller: &Surroundings) -> Result<Glob, CliError> {
    const FLAG: &str = "--exclude";
    let has_slash = text.as_bytes().contains(&b'/');
    let base = match &caller.workdir {
        Some(workdir) => {
            HostPath::new(workdir).map_err(|error| bad(FLAG, text, ValueError::Path(error)))?
        }
        None if has_slash && text.as_bytes().first() != Some(&b'/') => {
            return Err(CliError::Unusable {
                flag: FLAG,
                value: quoted(text),
                why: "the current directory is not there any more",
                instead: "write the pattern from `/` on",
            });
        }
        None => HostPath::root(),
    };
    Glob::new(text, &base).ok_or_else(|| bad(FLAG, text, ValueError::Empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(words: &[&str]) -> Result<Selected, CliError> {
        let command = arguments(Command::new("x")).no_binary_name(true);
        let matches = command.try_get_matches_from(words).unwrap();
        let caller = Surroundings { environment: Vec::new(), workdir: Some("/home/al/w".into()) };
        read(&matches, &caller)
    }

    fn summary(words: &[&str]) -> (Option<String>, Vec<String>) {
        let selected = selected(words).unwrap();
        let paths = selected.selection.paths.iter().map(ToString::to_string).collect();
        (selected.sandbox.map(|name| name.to_string()), paths)
    }

    #[test]
    fn the_first_word_is_a_sandbox_unless_it_looks_like_a_path() {
        let none: [String; 0] = [];
        let paths = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        assert_eq!(summary(&[]), (None, none.to_vec()));
        assert_eq!(summary(&["abc"]), (Some("abc".into()), none.to_vec()));
        assert_eq!(summary(&["abc", "x"]), (Some("abc".into()), paths(&["/home/al/w/x"])));
        assert_eq!(summary(&["src/"]), (None, paths(&["/home/al/w/src"])));
        assert_eq!(summary(&["./x", "y"]), (None, paths(&["/home/al/w/x", "/home/al/w/y"])));
        assert_eq!(summary(&["."]), (None, paths(&["/home/al/w"])));
        assert_eq!(summary(&["--", "x"]), (None, paths(&["/home/al/w/x"])));
        let names = |words: &[&str]| {
            let command = arguments(Command::new("x")).no_binary_name(true);
            names_paths(&command.try_get_matches_from(words).unwrap())
        };
        assert!(!names(&[]) && !names(&["abc"]) && !names(&["abc", "--exclude", "x"]));
        assert!(
            names(&["./x"])
                && names(&["abc", "x"])
                && names(&["abc", "--", "x"])
                && names(&["--", "x"])
        );
        assert_eq!(summary(&["abc", "--", "-x"]), (Some("abc".into()), paths(&["/home/al/w/-x"])));
    }

    #[test]
    fn a_pattern_without_a_name_is_refused() {
        assert!(matches!(selected(&["--exclude", "/"]), Err(CliError::BadValue { .. })));
        assert_eq!(selected(&["--exclude", "*.o"]).unwrap().selection.exclude.len(), 1);
    }
}
