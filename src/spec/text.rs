//! Bytes that somebody else chose, as text: for people (escaped) and for JSON (lossless).
//!
//! # Decisions
//! - People see control, bidirectional, zero-width and non-UTF-8 characters escaped: a name can hold
//!   a terminal's escape sequences or reorder the line it stands in. The backslash is escaped too, so
//!   that what is shown can be told from what is meant.
//! - JSON keeps a name that is UTF-8 as a string and any other as `{"hex": "…"}`: nothing is lost and
//!   ordinary names stay readable.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Displays bytes so that no terminal or reader is misled by them.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| write_char(f, c))?;
            chunk.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        Ok(())
    }
}

fn write_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        c if c.is_control() || misleads(c) => write!(f, "{}", c.escape_unicode()),
        c => f.write_char(c),
    }
}

/// Whether a character is invisible or changes the order of what stands around it.
fn misleads(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Escapes `bytes` for people.
pub fn escape(bytes: impl AsRef<[u8]>) -> String {
    Escaped(bytes.as_ref()).to_string()
}

/// Makes JSON safe to look at: what [`escape`] would not show as it is, the 8-bit control characters and
/// those that change the direction of writing among them, becomes `\u` and its number.
///
/// Outside strings JSON has none of these characters, and inside them the two forms mean the same.
pub fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        let mut buffer = [0; 4];
        let raw: &str = c.encode_utf8(&mut buffer);
        if c < '\x7f' || escape(raw) == raw {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").unwrap_or_default();
            }
        }
    }
    out
}

/// An answer for programs that people look at too: indented, escaped as [`escape_json`] does, one newline at its
/// end.
pub fn pretty_json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|text| escape_json(&indent(&text)) + "\n")
}

/// JSON without spaces, on as many lines as it has members, two spaces a level: what `serde_json`'s pretty printer
/// makes, of which each type that is ever printed would bring a copy into the binary.
fn indent(json: &str) -> String {
    let mut out = String::with_capacity(2 * json.len());
    let (mut level, mut in_string, mut is_escaped) = (0usize, false, false);
    let begin_line = |out: &mut String, level| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", level));
    };
    let mut rest = json.chars().peekable();
    while let Some(c) = rest.next() {
        if matches!(c, '}' | ']') && !in_string {
            level = level.saturating_sub(1);
            begin_line(&mut out, level);
        }
        out.push(c);
        match c {
            _ if in_string => {
                in_string = is_escaped || c != '"';
                is_escaped = c == '\\' && !is_escaped;
            }
            '"' => in_string = true,
            ':' => out.push(' '),
            ',' => begin_line(&mut out, level),
            '{' | '[' => {
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    level += 1;
                    begin_line(&mut out, level);
                }
            }
            _ => {}
        }
    }
    out
}

/// A string of arbitrary bytes without NUL, as the kernel takes arguments and names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(OsString);

impl Text {
    /// The bytes as they are.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same as the standard library's string.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl<T: Into<OsString>> From<T> for Text {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => Hex { hex: to_hex(self.as_bytes()) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = match Form::deserialize(deserializer)? {
            Form::Utf8(text) => text.into_bytes(),
            Form::Bytes(Hex { hex }) => {
                from_hex(&hex).ok_or_else(|| de::Error::custom("odd or non-hexadecimal digits"))?
            }
        };
        Ok(Self(OsString::from_vec(bytes)))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hex {
    hex: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Utf8(String),
    Bytes(Hex),
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        hex
    })
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_shows_nothing_raw_and_means_the_same() {
        let text = "a\u{9b}31m \u{202e}x \u{200b} \u{7f} größe \u{e0041} \\ \"";
        let raw = serde_json::to_string(text).unwrap();
        let shown = escape_json(&raw);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{200b}', '\u{7f}']), "{shown}");
        assert!(shown.contains("größe") && shown.contains("\\u009b31m"), "{shown}");
    }

    #[test]
    fn escape_sequences_bidi_and_bad_utf8_are_shown_escaped() {
        assert_eq!(escape(b"a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("x\u{202e}y\u{200b}"), "x\\u{202e}y\\u{200b}");
        assert_eq!(escape(b"n\nl\\ \xff"), "n\\nl\\\\ \\xff");
        assert_eq!(escape("größe 文"), "größe 文");
    }

    #[test]
    fn any_bytes_survive_json() {
        for bytes in [&b"plain"[..], b"", b"\xff\xfe", b"a\nb\x1b", "ü".as_bytes()] {
            let text = Text::from(OsString::from_vec(bytes.to_vec()));
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text, "{json}");
        }
    }

    #[test]
    fn indented_json_is_what_serde_json_prints() {
        let text = r#"{"a":[],"b":{},"c":[1,[{"x":null}],"{[,:]}"],"d \"\\":{"e":"\\","f":"\"\u0001ä"},"g":-1.5e3}"#;
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(indent(&json), serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(indent("[]"), "[]");
        assert_eq!(indent("\"]\""), "\"]\"");
    }
}
