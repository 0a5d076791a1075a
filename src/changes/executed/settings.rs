//! The syntax of git's settings, as far as it takes to find what they name.
//!
//! # Decisions
//! - A line that git would refuse is passed over: git then reads nothing of the file, and a mark too many costs a
//!   question.

/// One setting: its section and key in small letters, without the subsection, and its value as git has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) section: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Setting {
    /// Whether it is this one.
    pub(super) fn is(&self, section: &[u8], key: &[u8]) -> bool {
        self.section == section && self.key == key
    }
}

/// All settings of a text.
pub(super) fn parse(text: &[u8]) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut section = Vec::new();
    let mut rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    loop {
        rest = rest.trim_ascii_start();
        match rest.first() {
            None => return settings,
            Some(b'#' | b';') => rest = after_line(rest),
            Some(b'[') => (section, rest) = header(&rest[1..]),
            Some(_) => {
                let end = rest.iter().position(|byte| matches!(byte, b'=' | b'\n'));
                let end = end.unwrap_or(rest.len());
                let key = rest[..end].trim_ascii().to_ascii_lowercase();
                let is_set = rest.get(end) == Some(&b'=');
                let (found, after) =
                    if is_set { value(&rest[end + 1..]) } else { (Vec::new(), &rest[end..]) };
                settings.push(Setting { section: section.clone(), key, value: found });
                rest = after;
            }
        }
    }
}

fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    &text[end..]
}

/// The section of a header, and what follows the header.
fn header(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    let ends = |byte: &u8| {
        let is_end = matches!(byte, b']' | b'\n') && !quoted;
        quoted ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    };
    let end = text.iter().position(ends).unwrap_or(text.len());
    let name = text[..end].split(|byte| matches!(byte, b'"' | b' ' | b'\t' | b'.')).next();
    let rest = text.get(end + 1..).unwrap_or_default();
    (name.unwrap_or_default().to_ascii_lowercase(), rest)
}

/// A value and what follows it: quotes taken off, comments cut, lines that end in a backslash joined.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut out, mut quoted) = (Vec::new(), false);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match (byte, text.get(at)) {
            (b'\n', _) => break,
            (b'#' | b';', _) if !quoted => {
                return (out.trim_ascii().to_vec(), after_line(&text[at..]));
            }
            (b'"', _) => quoted = !quoted,
            (b'\\', Some(next)) => {
                at += 1;
                match next {
                    b'\n' => {}
                    b'\r' if text.get(at) == Some(&b'\n') => at += 1,
                    b'n' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    other => out.push(*other),
                }
            }
            (byte, _) => out.push(*byte),
        }
    }
    (out.trim_ascii().to_vec(), &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line =
            |s: Setting| format!("{}.{}={}", lossy(&s.section), lossy(&s.key), lossy(&s.value));
        parse(text.as_bytes()).into_iter().map(line).collect()
    }

    #[test]
    fn settings_are_read_as_git_reads_them() {
        for (text, settings) in [
            ("", &[][..]),
            ("[core]\n\thooksPath = a/b\n", &["core.hookspath=a/b"]),
            ("\u{feff}[Core] HooksPath=\"a b\" # c\n", &["core.hookspath=a b"]),
            ("[core]hooksPath=a\\\n  b\nbare\n", &["core.hookspath=a  b", "core.bare="]),
            ("[includeIf \"gitdir:~/w]\\\"/\"]\npath = x;y\n", &["includeif.path=x"]),
            ("[filter \"x\"]\r\nclean = \"a\\\"b\\tc;\" d\r\n", &["filter.clean=a\"b\tc; d"]),
            ("[remote.origin]\nurl=x\n; url=y\n# z\n", &["remote.url=x"]),
            ("[core\n[a]\nb", &["a.b="]),
            ("[a]\nb = \"open\nc = d", &["a.b=open", "a.c=d"]),
            ("[a]\nb = c\\", &["a.b=c\\"]),
        ] {
            assert_eq!(read(text), settings, "{text:?}");
        }
    }
}
