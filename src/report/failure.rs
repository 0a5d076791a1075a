//! One error as people read it: the chain in one sentence, and what to do about it.

use std::error::Error;
use std::fmt::Write as _;

use crate::spec::text::escape;

use super::terminal::Look;

/// The exit status of everything that fails before a payload runs.
pub const EXIT_FAILED: u8 = 125;

/// An error that can be told to somebody.
pub trait Explain: Error {
    /// What to do about it.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The exit status it leads to.
    fn exit_code(&self) -> u8 {
        EXIT_FAILED
    }
}

/// An error, ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error and its causes, joined by `: `.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit status.
    pub exit_code: u8,
    /// What failed beside it.
    pub others: Vec<Failure>,
}

impl Failure {
    /// From any error of ours.
    pub fn new(error: &impl Explain) -> Self {
        let text = bounded(chain(error));
        Self {
            hint: hint_of_size(&text).or_else(|| error.hint().map(bounded)),
            text,
            exit_code: error.exit_code(),
            others: Vec::new(),
        }
    }

    /// Several, each with its own lines; none when there is none.
    pub fn all(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut failures = failures.into_iter();
        let mut first = failures.next()?;
        first.others.extend(failures);
        Some(first)
    }

    /// The lines for stderr: `bryo: …`, and `hint: …` when there is one.
    pub fn render(&self, look: &Look) -> String {
        let mut out = look.paragraph("bryo: ", &harmless(&self.text));
        if let Some(hint) = &self.hint {
            out.push_str(&look.paragraph("hint: ", &harmless(hint)));
        }
        out.extend(self.others.iter().map(|other| other.render(look)));
        out
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(&error)
    }
}

/// What to do where a write ended at the caller's own limit, as any of ours may: `EFBIG`, at the root of
/// the chain.
fn hint_of_size(text: &str) -> Option<String> {
    text.trim_end_matches(')').ends_with("file too large").then(|| {
        "the limit of the size of files (`ulimit -f`) holds for bryo too: raise it, and give the program \
         its own with `--ulimit fsize=BYTES`"
            .to_owned()
    })
}

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = said(error);
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        write!(text, ": {}", said(cause)).unwrap_or_default();
        source = cause.source();
    }
    text
}

/// What one error says. The standard library's `No such file or directory (os error 2)` becomes as
/// ours are: lower case, and no number that means nothing to most.
fn said(error: &dyn Error) -> String {
    let text = error.to_string();
    let Some((words, number)) = text.rsplit_once(" (os error ") else { return text };
    if !number.trim_end_matches(')').bytes().all(|byte| byte.is_ascii_digit()) {
        return text;
    }
    let mut words = words.to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    words
}

/// The beginning and the end of a text that quotes something very long.
fn bounded(text: String) -> String {
    const HEAD: usize = 600;
    const TAIL: usize = 400;
    if text.len() <= HEAD + TAIL {
        return text;
    }
    let head: String = text.chars().take(HEAD).collect();
    let tail: Vec<char> = text.chars().rev().take(TAIL).collect();
    let tail: String = tail.into_iter().rev().collect();
    format!("{head}…{tail}")
}

/// Escapes what could mislead a terminal or a reader, and leaves what is escaped already.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '\\' => out.push('\\'),
            c => out.push_str(&escape(c.encode_utf8(&mut buffer))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open `{0}`")]
    struct Outer(&'static str, #[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no such\x1b[2J\nthing")]
    struct Inner;

    impl Explain for Outer {
        fn hint(&self) -> Option<String> {
            Some("look \u{202e}twice".to_owned())
        }
    }

    #[test]
    fn an_error_is_one_line_with_its_causes_and_no_raw_byte() {
        let failure = Failure::new(&Outer("a\\nb", Inner));
        assert_eq!(
            failure.render(&Look::plain()),
            "bryo: cannot open `a\\nb`: no such\\u{1b}[2J\\nthing\nhint: look \\u{202e}twice\n"
        );
        assert_eq!(failure.exit_code, 125);
    }

    #[test]
    fn a_long_name_leaves_room_for_the_reason() {
        let text = bounded(format!("cannot read `{}`: too long", "x".repeat(1 << 20)));
        assert!(text.starts_with("cannot read `x") && text.ends_with("x`: too long"));
        assert!(text.chars().count() < 1100);
    }

    #[test]
    fn a_write_that_a_limit_ends_names_the_limit() {
        let too_large = std::io::Error::from_raw_os_error(27);
        for text in
            [chain(&too_large), crate::sys::errno::Errno::from(rustix::io::Errno::FBIG).to_string()]
        {
            let hint = hint_of_size(&format!("cannot write the record: {text}"));
            assert!(hint.is_some_and(|hint| hint.contains("`ulimit -f`")), "{text}");
        }
        assert_eq!(hint_of_size("cannot write `file too large`: EPERM"), None);
    }

    #[test]
    fn a_cause_of_the_kernel_reads_as_ours_do() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(chain(&error), "no such file or directory");
    }
}
