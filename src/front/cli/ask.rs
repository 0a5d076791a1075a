//! A question before something is lost.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Arg;

use super::error::CliError;
use super::flag::switch;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// Somebody said yes.
    Given,
    /// Somebody said anything else.
    Denied,
}

/// `--yes`, and Docker's words for it.
pub(super) fn do_not_ask() -> Arg {
    switch("yes", "Do not ask").short('y').visible_alias("force").visible_short_alias('f')
}

/// Shows what is about to happen and asks. Errors: there is nobody to ask.
///
/// `shown` must hold nothing raw that others chose. Anything but `y` or `yes` is a no.
pub(super) fn ask(shown: &str, question: &str, flag: &'static str) -> Result<Consent, CliError> {
    let (input, mut output) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Err(CliError::NobodyToAsk { flag });
    }
    write!(output, "{shown}{question} [y/N] ").map_err(CliError::Output)?;
    let mut line = String::new();
    // No answer is a no, and so is one that is no text.
    let read = input.lock().read_line(&mut line).unwrap_or(0);
    if read == 0 {
        writeln!(output).map_err(CliError::Output)?;
    }
    Ok(if is_yes(&line) { Consent::Given } else { Consent::Denied })
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_a_yes() {
        assert!(["y\n", "Yes\n", " YES \n"].into_iter().all(is_yes));
        assert!(["", "\n", "n\n", "yo\n", "yes please\n"].into_iter().all(|line| !is_yes(line)));
    }
}
