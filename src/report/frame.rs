//! A text that is shown again and again in one place of a terminal.
//!
//! # Decisions
//! - Each time it is one write, over what was there: nothing is cleared first, so nothing flickers.
//! - No mode of the terminal is changed: whoever is killed leaves it as it was, and the last text in it.
//! - What does not fit is left out, with a line that says how much: a line that wraps, or a text longer than the
//!   screen, could not be written over.

use std::fmt::Write as _;

/// Lines and columns.
pub type Size = (usize, usize);

/// See the module.
#[derive(Debug, Default)]
pub struct Frame {
    /// Of the last text, and the size it was made for.
    last: Option<(usize, Size)>,
}

impl Frame {
    /// What to write to show `text`, on a terminal of this size.
    pub fn show(&mut self, text: &str, size: Size) -> String {
        let (rows, columns) = size;
        let lines: Vec<&str> = text.lines().collect();
        // The cursor stands in the line below.
        let room = rows.saturating_sub(1).max(1);
        let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
        let mut out = String::new();
        match self.last {
            // Writing to a string cannot fail.
            Some((up @ 1.., known)) if known == size => {
                write!(out, "\x1b[{up}A\r").unwrap_or_default();
            }
            // Lines may have been wrapped anew: nobody knows where the last text is.
            Some((_, known)) if known != size => out.push_str("\x1b[H\x1b[2J"),
            _ => {}
        }
        let left_out = lines.len() - shown;
        let more = format!("({left_out} more)");
        let more = (left_out > 0).then_some(more.as_str());
        let mut count = 0;
        for line in lines.iter().take(shown).copied().chain(more) {
            let end = line.char_indices().nth(columns).map_or(line.len(), |(at, _)| at);
            out.push_str(line.get(..end).unwrap_or_default());
            out.push_str("\x1b[K\n");
            count += 1;
        }
        out.push_str("\x1b[J");
        self.last = Some((count, size));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_over_the_one_before() {
        let mut frame = Frame::default();
        assert_eq!(frame.show("a\nb\n", (24, 80)), "a\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(frame.show("c\n", (24, 80)), "\x1b[2A\rc\x1b[K\n\x1b[J");
        assert_eq!(frame.show("d\n", (9, 80)), "\x1b[H\x1b[2Jd\x1b[K\n\x1b[J");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_told() {
        let text = "größe 1\nb\nc\nd\n";
        assert_eq!(Frame::default().show(text, (4, 4)), "größ\x1b[K\nb\x1b[K\n(2 m\x1b[K\n\x1b[J");
        assert_eq!(Frame::default().show(text, (5, 9)).matches('\n').count(), 4);
        for size in [(0, 0), (1, 1), (2, 0)] {
            assert!(Frame::default().show(text, size).matches('\n').count() <= 1, "{size:?}");
        }
    }
}
