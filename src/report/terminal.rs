//! How text is laid out: width of the terminal, colours or none.
//!
//! # Decisions
//! Colour only on a terminal that is not `dumb`, and not with `NO_COLOR`; `CLICOLOR_FORCE` asks for it
//! anyway. Lines are broken at spaces on a terminal and nowhere else, so that what goes into a file
//! can be searched.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

/// Whether escape sequences for colour may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// They may.
    Yes,
    /// They may not.
    No,
}

/// How text is laid out on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub colour: Colour,
    /// Columns; none when it is no terminal.
    pub width: Option<usize>,
}

impl Look {
    /// No colours, no line breaks.
    pub fn plain() -> Self {
        Self { colour: Colour::No, width: None }
    }

    /// As fits stderr.
    pub fn of_stderr() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self::of(terminal, terminal_width(&std::io::stderr()), |name| std::env::var_os(name))
    }

    /// As fits stdout.
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self::of(terminal, terminal_width(&std::io::stdout()), |name| std::env::var_os(name))
    }

    fn of<S: AsRef<OsStr>>(
        terminal: bool,
        width: Option<usize>,
        variable: impl Fn(&str) -> Option<S>,
    ) -> Self {
        let set = |name: &str| variable(name).is_some_and(|value| !value.as_ref().is_empty());
        let is = |name: &str, wanted: &str| variable(name).is_some_and(|v| v.as_ref() == wanted);
        let forced = set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0");
        let wanted = forced || (terminal && !is("TERM", "dumb"));
        let colour = if wanted && !set("NO_COLOR") { Colour::Yes } else { Colour::No };
        Self { colour, width: width.filter(|_| terminal) }
    }

    /// A text behind a label, ending in a newline; lines after the first are indented.
    pub fn paragraph(&self, label: &str, text: &str) -> String {
        let shown = match self.colour {
            Colour::Yes => format!("\x1b[1m{label}\x1b[0m"),
            Colour::No => label.to_owned(),
        };
        let Some(width) = self.width else { return format!("{shown}{text}\n") };
        let indent = "  ";
        let mut out = shown;
        let mut column = label.chars().count();
        let mut first = true;
        for word in text.split(' ') {
            let length = word.chars().count();
            if !first && column + 1 + length > width {
                out.push('\n');
                out.push_str(indent);
                column = indent.len();
            } else if !first {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
            first = false;
        }
        out.push('\n');
        out
    }
}

/// Lines and columns of the terminal that stdout is; none when it is none.
pub fn size_of_stdout() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    // One that has no size is as small as they were made.
    let or = |number: u16, least: usize| if number == 0 { least } else { usize::from(number) };
    Some((or(size.ws_row, 24), or(size.ws_col, 80)))
}

/// Columns of the terminal behind a stream.
fn terminal_width(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(terminal: bool, variables: &'static [(&str, &str)]) -> Look {
        let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        Look::of(terminal, Some(80), value)
    }

    #[test]
    fn colour_is_for_terminals_whose_user_does_not_object() {
        assert_eq!(look(true, &[]).colour, Colour::Yes);
        assert_eq!(look(false, &[]).colour, Colour::No);
        assert_eq!(look(true, &[("NO_COLOR", "1")]).colour, Colour::No);
        assert_eq!(look(true, &[("NO_COLOR", "")]).colour, Colour::Yes);
        assert_eq!(look(true, &[("TERM", "dumb")]).colour, Colour::No);
        assert_eq!(look(false, &[("CLICOLOR_FORCE", "1")]).colour, Colour::Yes);
        assert_eq!(look(false, &[("CLICOLOR_FORCE", "0")]).colour, Colour::No);
        assert_eq!(look(true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).colour, Colour::No);
        assert_eq!(look(false, &[]).width, None);
    }

    #[test]
    fn a_paragraph_is_broken_at_spaces_and_words_stay_whole() {
        let narrow = Look { colour: Colour::No, width: Some(12) };
        assert_eq!(narrow.paragraph("bryo: ", "one two three"), "bryo: one\n  two three\n");
        assert_eq!(
            narrow.paragraph("x: ", "averyveryverylongword a"),
            "x: averyveryverylongword\n  a\n"
        );
        assert_eq!(Look::plain().paragraph("x: ", "one two three four"), "x: one two three four\n");
    }
}
