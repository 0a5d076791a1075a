//! The lines in which two texts differ, as hunks of a unified diff. Pure.
//!
//! # Decisions
//! - Lines are compared as bytes, up to and with their line feed.
//! - The time to find the smallest difference is bounded: two texts made to be hard to compare come out as a
//!   larger difference, and a right one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use crate::report::Colour;
use crate::spec::text::escape;

/// Lines of context around what differs.
const CONTEXT: usize = 3;
/// How long the smallest difference of two files is looked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What happened to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Same,
    Removed,
    Added,
}

impl Tag {
    fn mark(self) -> char {
        match self {
            Self::Same => ' ',
            Self::Removed => '-',
            Self::Added => '+',
        }
    }
}

/// Lines that stand together, with some that are the same before and after them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hunk<'a> {
    /// First line and number of lines, of the old and of the new text.
    old: (usize, usize),
    new: (usize, usize),
    lines: Vec<(Tag, &'a [u8])>,
}

/// Lines added and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) added: u64,
    pub(crate) removed: u64,
}

/// In what `old` and `new` differ.
pub(crate) fn hunks<'a>(old: &'a [u8], new: &'a [u8]) -> Vec<Hunk<'a>> {
    let (old, new) = (lines(old), lines(new));
    let operations = operations(&old, &new);
    let hunk = |group: Vec<DiffOp>| {
        let (first, last) = (group.first()?, group.last()?);
        let range = |begin: usize, end: usize| {
            let length = end - begin;
            // The line before, where there is none.
            (if length == 0 { begin } else { begin + 1 }, length)
        };
        Some(Hunk {
            old: range(first.old_range().start, last.old_range().end),
            new: range(first.new_range().start, last.new_range().end),
            lines: group.iter().flat_map(|operation| tagged(operation, &old, &new)).collect(),
        })
    };
    group_diff_ops(operations, CONTEXT).into_iter().filter_map(hunk).collect()
}

/// How many lines were added and removed.
pub(crate) fn tally(old: &[u8], new: &[u8]) -> Tally {
    let mut tally = Tally::default();
    for operation in operations(&lines(old), &lines(new)) {
        if operation.tag() != DiffTag::Equal {
            tally.removed += operation.old_range().len() as u64;
            tally.added += operation.new_range().len() as u64;
        }
    }
    tally
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn operations(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    // Numbers are compared in no time, however long the lines are.
    let mut numbers: HashMap<&[u8], u32> = HashMap::new();
    let mut number = |line| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(line).or_insert(next)
    };
    let old: Vec<u32> = old.iter().map(|line| number(*line)).collect();
    let new: Vec<u32> = new.iter().map(|line| number(*line)).collect();
    let until = Instant::now() + PATIENCE;
    capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(until))
}

fn tagged<'a>(operation: &DiffOp, old: &[&'a [u8]], new: &[&'a [u8]]) -> Vec<(Tag, &'a [u8])> {
    let with = |tag, lines: &[&'a [u8]]| lines.iter().map(|line| (tag, *line)).collect::<Vec<_>>();
    match operation.tag() {
        DiffTag::Equal => with(Tag::Same, &old[operation.old_range()]),
        DiffTag::Delete => with(Tag::Removed, &old[operation.old_range()]),
        DiffTag::Insert => with(Tag::Added, &new[operation.new_range()]),
        DiffTag::Replace => {
            let mut all = with(Tag::Removed, &old[operation.old_range()]);
            all.extend(with(Tag::Added, &new[operation.new_range()]));
            all
        }
    }
}

impl Hunk<'_> {
    fn head(&self) -> String {
        let range = |(begin, length): (usize, usize)| match length {
            1 => begin.to_string(),
            _ => format!("{begin},{length}"),
        };
        format!("@@ -{} +{} @@", range(self.old), range(self.new))
    }

    /// As `patch` and `git apply` read it.
    pub(crate) fn raw(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head().as_bytes());
        out.push(b'\n');
        for (tag, line) in &self.lines {
            out.extend([u8::try_from(tag.mark()).unwrap_or(b' ')]);
            out.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                out.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
    }

    /// As people read it: nothing in it misleads a terminal.
    pub(crate) fn shown(&self, colour: Colour, out: &mut String) {
        let paint = |code: &str, text: &str, out: &mut String| match colour {
            // Writing to a string cannot fail.
            Colour::Yes if !code.is_empty() => {
                writeln!(out, "\x1b[{code}m{text}\x1b[0m").unwrap_or_default();
            }
            _ => writeln!(out, "{text}").unwrap_or_default(),
        };
        paint("36", &self.head(), out);
        for (tag, line) in &self.lines {
            let text = line.strip_suffix(b"\n");
            let code = match tag {
                Tag::Same => "",
                Tag::Removed => "31",
                Tag::Added => "32",
            };
            let shown = format!("{}{}", tag.mark(), shown(text.unwrap_or(line), colour));
            paint(code, &shown, out);
            if text.is_none() {
                out.push_str("\\ No newline at end of file\n");
            }
        }
    }
}

/// A line of a text, escaped where it would mislead. Tabs and backslashes stay as they are; where there are
/// colours, what was escaped is marked as such.
fn shown(line: &[u8], colour: Colour) -> String {
    let mut out = String::with_capacity(line.len());
    let plain = |byte: &u8| matches!(byte, b'\t' | b'\\');
    for part in line.split_inclusive(plain) {
        let (text, end) = match part.split_last() {
            Some((last, text)) if plain(last) => (text, Some(char::from(*last))),
            _ => (part, None),
        };
        let escaped = escape(text);
        match colour {
            Colour::Yes if escaped.as_bytes() != text => mark_escapes(text, &mut out),
            _ => out.push_str(&escaped),
        }
        out.extend(end);
    }
    out
}

fn mark_escapes(text: &[u8], out: &mut String) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let raw: &str = c.encode_utf8(&mut buffer);
            let escaped = escape(raw);
            if escaped == raw {
                out.push(c);
            } else {
                write!(out, "\x1b[7m{escaped}\x1b[27m").unwrap_or_default();
            }
        }
        if !chunk.invalid().is_empty() {
            write!(out, "\x1b[7m{}\x1b[27m", escape(chunk.invalid())).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(old: &str, new: &str) -> String {
        let mut out = Vec::new();
        for hunk in hunks(old.as_bytes(), new.as_bytes()) {
            hunk.raw(&mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hunks_are_as_diff_u_writes_them() {
        assert_eq!(raw("", "a\nb\n"), "@@ -0,0 +1,2 @@\n+a\n+b\n");
        assert_eq!(raw("a\n", ""), "@@ -1 +0,0 @@\n-a\n");
        assert_eq!(raw("a\n", "a\n"), "");
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
        let new = old.replace("2\n", "two\n").replace("11\n", "");
        assert_eq!(
            raw(old, &new),
            "@@ -1,5 +1,5 @@\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -8,5 +8,4 @@\n 8\n 9\n 10\n-11\n-12\n+1two\n"
        );
        assert_eq!(raw("a", "a\n"), "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
    }

    #[test]
    fn lines_are_counted() {
        assert_eq!(tally(b"a\nb\n", b"a\nc\nd\n"), Tally { added: 2, removed: 1 });
        assert_eq!(tally(b"", b""), Tally::default());
    }

    #[test]
    fn no_line_misleads_a_terminal() {
        let text = b"a\x1b[2J\tb\\n \xe2\x80\xae \xff\r";
        assert_eq!(shown(text, Colour::No), "a\\u{1b}[2J\tb\\n \\u{202e} \\xff\\r");
        let marked = shown(text, Colour::Yes);
        assert_eq!(
            marked,
            "a\x1b[7m\\u{1b}\x1b[27m[2J\tb\\n \x1b[7m\\u{202e}\x1b[27m \x1b[7m\\xff\x1b[27m\x1b[7m\\r\x1b[27m"
        );
        assert_eq!(shown("größe".as_bytes(), Colour::Yes), "größe");
    }

    #[test]
    fn texts_that_are_hard_to_compare_take_a_bounded_time() {
        let line = |n: u64| format!("{}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48);
        let old: String = (0..60_000).map(line).collect();
        let new: String = (0..60_000).rev().map(|n| line(n * 3)).collect();
        let began = Instant::now();
        let hunks = hunks(old.as_bytes(), new.as_bytes());
        assert!(began.elapsed() < 20 * PATIENCE);
        assert!(!hunks.is_empty());
    }
}
