//! One profile file: TOML text to [`Settings`], and every way it can be wrong.
//!
//! # Theory of operation
//! The text is parsed into a tree whose nodes know their place. [`Cursor`] walks it: it asks for a
//! type, gets the value or an error with file, line and column. `fields` says which keys exist.
//!
//! # Decisions
//! Not by serde's derive: its errors for unknown keys and bad values carry neither a suggestion nor,
//! for values checked later, a place.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::spec::{Text, order};

use super::error::{Located, Position, Problem, ProfileError};
use super::settings::Settings;
use super::value::{ValueError, nearest};

/// The longest file that is read, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// How many problems of one file are told.
const MOST_PROBLEMS: usize = 50;

/// What one file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileFile {
    /// For whom it is.
    pub description: Option<String>,
    /// What it extends, as written; none when the key is missing.
    pub extends: Option<Vec<String>>,
    /// The rest.
    pub settings: Settings,
}

/// Reads the bytes of a profile; `file` is its name for messages.
pub fn parse_profile(file: &Text, bytes: &[u8]) -> Result<ProfileFile, ProfileError> {
    let text = text_of(file, bytes)?;
    let tree = DeTable::parse(text).map_err(|error| invalid(file, bytes, not_toml(&error)))?;
    super::fields::read_fields(tree.get_ref()).map_err(|located| invalid(file, bytes, located))
}

/// Everything that is wrong in the bytes of a profile, by place, up to a number: each is left out for the next to be found.
/// Of what is no TOML it is the first alone, as that may be why the rest reads as none.
pub fn problems(file: &Text, bytes: &[u8]) -> Vec<ProfileError> {
    let Ok(mut tree) = text_of(file, bytes)
        .map(DeTable::parse)
        .and_then(|tree| tree.map_err(|error| invalid(file, bytes, not_toml(&error))))
    else {
        return parse_profile(file, bytes).err().into_iter().collect();
    };
    let mut found: Vec<Located> = Vec::new();
    while found.len() < MOST_PROBLEMS
        && let Err(located) = super::fields::read_fields(tree.get_ref())
    {
        let is_gone = leave_out(tree.get_mut(), located.span.start);
        found.push(located);
        if !is_gone {
            break;
        }
    }
    order::sort_by_key(&mut found, |located| located.span.start);
    found.into_iter().map(|located| invalid(file, bytes, located)).collect()
}

fn text_of<'b>(file: &Text, bytes: &'b [u8]) -> Result<&'b str, ProfileError> {
    if bytes.len() > MAX_SIZE {
        return Err(ProfileError::TooLarge { file: file.clone(), limit: MAX_SIZE });
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        invalid(file, bytes, Located { span: at..at, problem: Box::new(Problem::NotUtf8) })
    })
}

fn invalid(file: &Text, bytes: &[u8], Located { span, problem }: Located) -> ProfileError {
    let position = Position::of(bytes, span.start);
    ProfileError::Invalid { file: file.clone(), position, problem }
}

/// Takes the innermost key or value at a place out of a table; whether there was one.
fn leave_out(table: &mut DeTable<'_>, at: usize) -> bool {
    let mut gone = None;
    for (key, value) in table.iter_mut() {
        if leave_out_of_value(value, at) {
            return true;
        }
        if key.span().contains(&at) || value.span().contains(&at) {
            gone = Some(key.clone());
        }
    }
    gone.is_some_and(|key| table.remove(&key).is_some())
}

fn leave_out_of_value(value: &mut Spanned<DeValue<'_>>, at: usize) -> bool {
    let items = match value.get_mut() {
        DeValue::Table(table) => return leave_out(table, at),
        DeValue::Array(items) => items,
        _ => return false,
    };
    if items.iter_mut().any(|item| leave_out_of_value(item, at)) {
        return true;
    }
    let before = items.len();
    let all = std::mem::replace(items, DeArray::new());
    *items = all.into_iter().filter(|item| !item.span().contains(&at)).collect();
    items.len() < before
}

fn not_toml(error: &toml::de::Error) -> Located {
    let lines: Vec<&str> = error.message().lines().map(str::trim).collect();
    Located {
        span: error.span().unwrap_or_default(),
        problem: Box::new(Problem::NotToml(Text::from(lines.join(", ")))),
    }
}

/// A value of the tree and the key it stands under.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'t, 'i> {
    key: &'t str,
    value: &'t Spanned<DeValue<'i>>,
}

impl<'t, 'i> Cursor<'t, 'i> {
    pub(super) fn new(key: &'t str, value: &'t Spanned<DeValue<'i>>) -> Self {
        Self { key, value }
    }

    pub(super) fn key(&self) -> &'t str {
        self.key
    }

    fn problem(&self, problem: Problem) -> Located {
        Located { span: self.value.span(), problem: Box::new(problem) }
    }

    fn wrong_type(&self, expected: &'static str) -> Located {
        self.problem(Problem::WrongType {
            key: self.key.to_owned(),
            expected,
            found: type_name(self.value.get_ref()),
        })
    }

    /// The error for a value of the right type that cannot be.
    pub(super) fn bad(&self, shown: &str, source: ValueError) -> Located {
        self.problem(Problem::BadValue {
            key: self.key.to_owned(),
            value: Text::from(shorten(shown)),
            source,
        })
    }

    /// The error for something that stands twice.
    pub(super) fn twice(&self, value: Text, one: &str) -> Located {
        self.problem(Problem::Twice { value, one: one.to_owned(), other: self.key.to_owned() })
    }

    pub(super) fn text(&self) -> Result<&'t str, Located> {
        let text = self.value.get_ref().as_str().ok_or_else(|| self.wrong_type("a text"))?;
        if text.contains('\0') { Err(self.bad(text, ValueError::Nul)) } else { Ok(text) }
    }

    pub(super) fn boolean(&self) -> Result<bool, Located> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type("`true` or `false`"))
    }

    pub(super) fn list(&self) -> Result<impl Iterator<Item = Self> + use<'t, 'i>, Located> {
        let list = self.value.get_ref().as_array().ok_or_else(|| self.wrong_type("a list"))?;
        let key = self.key;
        Ok(list.iter().map(move |value| Self { key, value }))
    }

    pub(super) fn table(&self) -> Result<&'t DeTable<'i>, Located> {
        self.value.get_ref().as_table().ok_or_else(|| self.wrong_type("a table"))
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T>(
        &self,
        parse: impl FnOnce(&'t str) -> Result<T, ValueError>,
    ) -> Result<T, Located> {
        let text = self.text()?;
        parse(text).map_err(|source| self.bad(text, source))
    }

    /// A text or a whole number, which `parse` gets as it is written.
    pub(super) fn number_or_text<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<T, Located> {
        let Some(number) = self.value.get_ref().as_integer() else {
            if self.value.get_ref().is_str() {
                return self.parsed(parse);
            }
            return Err(self.wrong_type("a number or a text"));
        };
        let digits = i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| self.bad(number.as_str(), ValueError::TooLarge))?
            .to_string();
        parse(&digits).map_err(|source| self.bad(&digits, source))
    }

    /// One of a few words.
    pub(super) fn choice<T: Clone>(
        &self,
        words: &'static [&'static str],
        values: &[T],
    ) -> Result<T, Located> {
        self.parsed(|text| {
            words
                .iter()
                .zip(values)
                .find(|(word, _)| **word == text)
                .map(|(_, value)| value.clone())
                .ok_or_else(|| ValueError::unknown(text, words))
        })
    }
}

/// Calls `read` for every key of a table; `read` answers whether it knows the key.
pub(super) fn each_key<'t, 'i>(
    table: &'t DeTable<'i>,
    place: &str,
    known: &'static [&'static str],
    mut read: impl FnMut(Cursor<'t, 'i>) -> Result<(), Located>,
) -> Result<(), Located> {
    for (key, value) in table {
        if !known.contains(&key.get_ref().as_ref()) {
            return Err(unknown_key(key.get_ref(), key.span(), place, known));
        }
        read(Cursor::new(key.get_ref(), value))?;
    }
    Ok(())
}

fn unknown_key(
    key: &str,
    span: Range<usize>,
    place: &str,
    known: &'static [&'static str],
) -> Located {
    Located {
        span,
        problem: Box::new(Problem::UnknownKey {
            key: Text::from(shorten(key)),
            place: place.to_owned(),
            nearest: nearest(key, known.iter().copied()),
            known,
        }),
    }
}

/// What is quoted of a value in a message: a line's length.
fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
