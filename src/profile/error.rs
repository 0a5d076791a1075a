//! Why a profile cannot be used.

use std::io;
use std::ops::Range;

use crate::spec::Text;

use super::value::ValueError;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No profile has that name.
    #[error("cannot find a profile named `{name}`")]
    NotFound {
        /// As it was asked for.
        name: Text,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// A name no profile can have.
    #[error("cannot take `{0}` as the name of a profile")]
    BadName(Text),
    /// The file cannot be read.
    #[error("cannot read profile `{file}`")]
    Unreadable {
        /// Which.
        file: Text,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a directory, a FIFO, a device.
    #[error("cannot read profile `{0}`: it is not a regular file")]
    NotAFile(Text),
    /// It is longer than any profile.
    #[error("cannot read profile `{file}`: it has more than {limit} bytes")]
    TooLarge {
        /// Which.
        file: Text,
        /// What is read at most.
        limit: usize,
    },
    /// Something in the file is wrong.
    #[error("cannot use profile `{file}`, {position}")]
    Invalid {
        /// Which.
        file: Text,
        /// Where in it.
        position: Position,
        /// What.
        #[source]
        problem: Box<Problem>,
    },
    /// A profile extends itself.
    #[error("cannot use profile `{}`: it extends itself through {}", .0.first().map_or("", |n| n), through(.0))]
    Cycle(Vec<String>),
    /// Too many profiles in one row.
    #[error("cannot use profile `{name}`: it extends more than {limit} others")]
    TooMany {
        /// Which.
        name: String,
        /// How many are followed.
        limit: usize,
    },
    /// A user profile has the name of a built-in one.
    #[error("cannot choose between the built-in profile `{name}` and `{file}`")]
    Shadows {
        /// The name.
        name: String,
        /// The user's file.
        file: Text,
    },
    /// A profile wants to open a place that stays hidden.
    #[error("cannot give `{path}` as `{access}`: it stays hidden, being in `{list}`")]
    StillHidden {
        /// Where.
        path: Text,
        /// The key it is asked for by.
        access: &'static str,
        /// The list that hides it.
        list: &'static str,
    },
}

fn through(names: &[String]) -> String {
    let names: Vec<_> = names.iter().skip(1).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "itself".to_owned() } else { names.join(", ") }
}

/// A place in a file, counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl Position {
    /// Of a byte of a text; of its end when it is shorter.
    pub fn of(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.split(|byte| *byte == b'\n').count(),
            column: 1 + String::from_utf8_lossy(&before[start..]).chars().count(),
        }
    }
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Not TOML.
    #[error("{0}")]
    NotToml(Text),
    /// A key nobody knows.
    #[error("there is no key `{key}` {place}")]
    UnknownKey {
        /// Which.
        key: Text,
        /// `in [paths]`, or `at the top`.
        place: String,
        /// The nearest key there is.
        nearest: Option<&'static str>,
        /// All of them.
        known: &'static [&'static str],
    },
    /// A value of another type.
    #[error("`{key}` is {expected}, not {found}")]
    WrongType {
        /// Of which key.
        key: String,
        /// With its article.
        expected: &'static str,
        /// With its article.
        found: &'static str,
    },
    /// A value of the right type that cannot be.
    #[error("`{value}` cannot be in `{key}`")]
    BadValue {
        /// Of which key.
        key: String,
        /// As it stands there, shortened.
        value: Text,
        /// Why.
        #[source]
        source: ValueError,
    },
    /// The same twice.
    #[error("`{value}` stands twice, in `{one}` and in `{other}`")]
    Twice {
        /// What.
        value: Text,
        /// The key of the first.
        one: String,
        /// The key of the second.
        other: String,
    },
}

/// A problem and the bytes it is in, before the file's name and lines are known.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) span: Range<usize>,
    pub(super) problem: Box<Problem>,
}

impl ProfileError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { nearest: Some(nearest), .. } => {
                Some(format!("did you mean `{nearest}`? `bryo profile list` names them all"))
            }
            Self::NotFound { .. } => {
                Some("`bryo profile list` names them all; a file is given with a slash, as in \
                      `--profile ./mine.toml`"
                    .to_owned())
            }
            Self::BadName(_) => Some(
                "a name has letters, digits, `-`, `_` and `.`; a file is given with a slash, as in \
                 `--profile ./mine.toml`"
                    .to_owned(),
            ),
            Self::Shadows { name, .. } => Some(format!(
                "rename the file; with `extends = [\"{name}\"]` in it, it begins with the built-in one"
            )),
            Self::StillHidden { path, list, .. } => {
                Some(format!("take it out of that list too: `{list} = [\"{path}\"]` below `[remove]`"))
            }
            Self::Invalid { problem, .. } => problem.hint(),
            Self::Cycle(_) => Some("take one of them out of `extends`".to_owned()),
            Self::Unreadable { .. } | Self::NotAFile(_) | Self::TooLarge { .. } | Self::TooMany { .. } => {
                None
            }
        }
    }
}

impl Problem {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest: Some(nearest), .. } => {
                Some(format!("did you mean `{nearest}`?"))
            }
            Self::UnknownKey { known, .. } => Some(format!("there can be: {}", known.join(", "))),
            Self::BadValue { source, .. } => source.hint(),
            Self::NotUtf8 | Self::NotToml(_) | Self::WrongType { .. } | Self::Twice { .. } => None,
        }
    }
}
