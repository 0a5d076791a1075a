//! Words that can be pasted into a shell.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// Quotes one word for a POSIX shell (and bash, zsh, fish): what is pasted is that word and nothing runs.
///
/// Words with control characters or other bytes a terminal or a reader would not show as they are
/// become `$'…'`, which bash, zsh and POSIX.1-2024 read, so that a pasted newline cannot end a command.
pub fn shell_quote(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    if !bytes.is_empty() && bytes.iter().all(|byte| is_plain(*byte)) && bytes[0] != b'~' {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(shows_as_it_is) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => dollar_quoted(bytes),
    }
}

/// Joins quoted words to a command.
pub fn shell_command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| shell_quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Characters that no shell gives a meaning to, anywhere in a word but for a leading `~`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:,@%+".contains(&byte)
}

/// Escaping changes nothing but the backslash, which single quotes keep as it is.
fn shows_as_it_is(c: char) -> bool {
    c == '\\'
        || crate::spec::text::escape(c.encode_utf8(&mut [0; 4])) == *c.encode_utf8(&mut [0; 4])
}

fn dollar_quoted(bytes: &[u8]) -> String {
    let mut out = String::from("$'");
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            // Three octal digits: a digit that follows is not taken for part of it.
            _ => write!(out, "\\{byte:03o}").unwrap_or_default(),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(shell_quote("/usr/bin/a-b_c.d"), "/usr/bin/a-b_c.d");
        assert_eq!(shell_quote("a b"), "'a b'");
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_quote("~root"), "'~root'");
        assert_eq!(shell_quote("größe"), "'größe'");
        assert_eq!(shell_quote("a\nb"), r"$'a\012b'");
        assert_eq!(shell_quote("x\u{202e}"), r"$'x\342\200\256'");
    }

    /// What bash makes of the quoted word is the word, for everything a shell could act on.
    #[test]
    fn a_pasted_word_is_that_word_and_nothing_runs() {
        let mut words: Vec<Vec<u8>> = (1..=255_u8).map(|byte| vec![b'a', byte, b'1']).collect();
        for text in [
            "$(touch /tmp/x)",
            "`id`",
            "a;b",
            "a|b",
            "a&b",
            "a>b",
            "*",
            "?",
            "[a]",
            "{a,b}",
            "!x",
            "#x",
            "~",
            "$HOME",
            "\"",
            "'",
            "\\",
            "a\\'b",
            "-n",
            "--",
            "=x",
            "x=y",
            "a\n b",
            "\t",
            "''",
            "$'x'",
        ] {
            words.push(text.as_bytes().to_vec());
        }
        let mut script = String::from("printf '%s\\0'");
        for word in &words {
            script.push(' ');
            script.push_str(&shell_quote(std::ffi::OsString::from_vec(word.clone())));
        }
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let read: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        assert_eq!(read.len(), words.len() + 1, "{}", String::from_utf8_lossy(&output.stderr));
        for (word, read) in words.iter().zip(read) {
            assert_eq!(read, word.as_slice());
        }
    }
}
