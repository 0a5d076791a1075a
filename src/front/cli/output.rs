//! Writing answers to stdout.

use std::io::{self, IsTerminal as _, Write as _};

use crate::spec::text::escape;

use super::error::CliError;

/// What of a text a terminal gets as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it: it is ours.
    All,
    /// Line ends; whatever else could mislead a terminal or a reader is escaped.
    Lines,
}

/// An answer for stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As a file or a pipe gets it.
    pub bytes: Vec<u8>,
    /// What of it a terminal gets.
    pub kept: Kept,
    /// The exit status.
    pub code: u8,
}

impl Answer {
    /// A text of our own.
    pub fn text(text: impl Into<String>) -> Self {
        Self { bytes: text.into().into_bytes(), kept: Kept::All, code: 0 }
    }

    /// Bytes of which some were chosen by others.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, kept: Kept::Lines, code: 0 }
    }

    /// The same with this exit status.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Writes it to stdout. A reader that has gone away is no error: it has seen enough.
    pub fn print(&self) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        let written = match self.kept {
            Kept::Lines if stdout.is_terminal() => stdout.write_all(shown(&self.bytes).as_bytes()),
            Kept::All | Kept::Lines => stdout.write_all(&self.bytes),
        };
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(CliError::Output),
        }
    }
}

/// Lines as they are, their characters escaped where they mislead; backslashes stay single.
fn shown(bytes: &[u8]) -> String {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| {
        let parts: Vec<String> = line.split(|byte| *byte == b'\\').map(escape).collect();
        parts.join("\\")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_lines_and_backslashes_but_no_escape_sequence() {
        assert_eq!(shown(b"a\\d\n\x1b[2J\xff\n"), "a\\d\n\\u{1b}[2J\\xff\n");
    }
}
