//! What people read: a line for each change, with its text or its numbers of lines. Pure.

use std::fmt::Write as _;

use super::details::Details;
use super::item::Item;
use super::side::Side;
use super::unified::{Tally, hunks, tally};
use crate::changes::{FileKind, Kind};
use crate::report::Colour;
use crate::report::amount::count;
use crate::state::record::ChangeCounts;

/// Lines of all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) counts: ChangeCounts,
    pub(crate) executed: u64,
    /// Of these, those that open to other users.
    pub(crate) opened: u64,
    pub(crate) lines: Tally,
}

fn paint(colour: Colour, code: &str, text: &str) -> String {
    match colour {
        Colour::Yes => format!("\x1b[{code}m{text}\x1b[0m"),
        Colour::No => text.to_owned(),
    }
}

fn code_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "32",
        Kind::Changed => "33",
        Kind::Deleted => "31",
    }
}

/// `A /path  (12 B; a shell will execute it)`, without its line feed.
pub(crate) fn line(item: &Item, colour: Colour) -> String {
    let change = &item.change;
    let letter = paint(colour, code_of(change.kind), &change.kind.letter().to_string());
    format!("{letter} {}{}", change.path, remarks(item, colour))
}

fn remarks(item: &Item, colour: Colour) -> String {
    let details = Details::of(item);
    let warnings = details.warnings.iter().map(|text| paint(colour, "1;35", text));
    let all: Vec<String> = details.plain.into_iter().chain(warnings).collect();
    if all.is_empty() { String::new() } else { format!("  ({})", all.join("; ")) }
}

/// The line, and below it in which lines the two texts differ.
pub(crate) fn with_content(item: &Item, colour: Colour) -> String {
    let mut out = paint(colour, "1", &line(item, Colour::No));
    out.push('\n');
    let Some((old, new)) = &item.sides else { return out };
    let path = item.change.path.to_string();
    match (old, new) {
        (Side::Nothing, Side::Nothing) => {}
        (Side::Unreadable, _) | (_, Side::Unreadable) => out.push_str("cannot be read\n"),
        (Side::Other(_), _) | (_, Side::Other(_)) => {
            for (label, side) in [("host", old), ("sandbox", new)] {
                // Writing to a string cannot fail.
                match side {
                    Side::Other(other) => {
                        writeln!(out, "{label}: {other}").unwrap_or_default();
                    }
                    Side::Text(text) => {
                        let length = text.len() as u64;
                        let size = crate::report::amount::size(length);
                        writeln!(out, "{label}: text, {size}").unwrap_or_default();
                    }
                    Side::Nothing | Side::Unreadable => {}
                }
            }
        }
        (old, new) => {
            let name = |side: &Side| match side {
                Side::Nothing => "/dev/null".to_owned(),
                _ => path.clone(),
            };
            let hunks = hunks(bytes(old), bytes(new));
            if !hunks.is_empty() {
                let head = format!("--- {}\n+++ {}", name(old), name(new));
                writeln!(out, "{}", paint(colour, "1", &head)).unwrap_or_default();
            }
            for hunk in hunks {
                hunk.shown(colour, &mut out);
            }
        }
    }
    out.push('\n');
    out
}

fn bytes(side: &Side) -> &[u8] {
    match side {
        Side::Text(text) => text,
        Side::Nothing | Side::Other(_) | Side::Unreadable => b"",
    }
}

/// `C      +3      -1  /path`, without its line feed; and the numbers.
pub(crate) fn stat(item: &Item, colour: Colour) -> (String, Tally) {
    let change = &item.change;
    let (added, removed, lines) = match &item.sides {
        Some((Side::Other(_), _) | (_, Side::Other(_))) => {
            ("binary".to_owned(), String::new(), Tally::default())
        }
        Some((old, new)) if is_text(old) || is_text(new) => {
            let lines = tally(bytes(old), bytes(new));
            let some =
                |mark, number| if number == 0 { String::new() } else { format!("{mark}{number}") };
            (some('+', lines.added), some('-', lines.removed), lines)
        }
        _ => {
            let node = change.now.as_ref().or(change.was.as_ref());
            let kind = match node.map(|node| node.kind) {
                Some(FileKind::Directory) => "dir",
                Some(FileKind::Link) => "link",
                Some(FileKind::Fifo) => "fifo",
                Some(FileKind::Socket) => "socket",
                Some(FileKind::Device) => "device",
                Some(FileKind::File) | None => "",
            };
            (kind.to_owned(), String::new(), Tally::default())
        }
    };
    let letter = paint(colour, code_of(change.kind), &change.kind.letter().to_string());
    let added = paint(colour, "32", &format!("{added:>7}"));
    let removed = paint(colour, "31", &format!("{removed:>7}"));
    let remarks = remarks(item, colour);
    (format!("{letter} {added} {removed}  {}{remarks}", change.path), lines)
}

fn is_text(side: &Side) -> bool {
    matches!(side, Side::Text(_))
}

/// How many there were, in one line.
pub(crate) fn summary(totals: &Totals) -> String {
    let ChangeCounts { added, changed, deleted, .. } = totals.counts;
    let all = count(totals.counts.total(), "change", "changes");
    let mut text = format!("{all}: {added} added, {changed} changed, {deleted} deleted");
    let Tally { added, removed } = totals.lines;
    if added + removed > 0 {
        let added = count(added, "line", "lines");
        write!(text, "; {added} added, {removed} removed").unwrap_or_default();
    }
    if totals.executed > 0 {
        write!(text, "; {} that other programs will execute", totals.executed).unwrap_or_default();
    }
    if totals.opened > 0 {
        write!(text, "; {} that open to other users", totals.opened).unwrap_or_default();
    }
    text
}
