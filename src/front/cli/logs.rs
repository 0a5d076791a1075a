//! `bryo logs`.

use std::io::{self, BufWriter, IsTerminal as _, Stderr, Stdout, Write};

use clap::{ArgMatches, Command};

use crate::ops::logs::{Form, Part, Sink, Stream, Until, logs, parse_moment};
use crate::ops::stores::Here;
use crate::profile::value::{ValueError, parse_whole};
use crate::report::Failure;
use crate::spec::text::escape;

use super::error::CliError;
use super::flag::{is_set, one, one_parsed, sandbox, switch, value};
use super::output::Answer;

/// `bryo logs`, as clap knows it.
pub fn command() -> Command {
    Command::new("logs")
        .about("Show what a detached sandbox wrote")
        .after_help(
            "Times are as in 2026-01-31T12:00:00Z (UTC where no zone is given), seconds since 1970, or a time \
             before now, as in 10m. What it wrote to its standard error goes to yours.",
        )
        .arg(switch("follow", "Go on until it ends").short('f'))
        .arg(value("since", "TIME", "Only what was written since then"))
        .arg(value("until", "TIME", "Only what was written before then"))
        .arg(value("tail", "N", "Only the last lines; `all` for all").short('n'))
        .arg(switch("timestamps", "Begin each line with the time when it was written").short('t'))
        .arg(switch("raw", "Write to a terminal, too, what could mislead it"))
        .arg(sandbox())
}

/// Answers `bryo logs`.
pub fn answer(matches: &ArgMatches) -> Result<Answer, Failure> {
    let part = part(matches)?;
    let form = if is_set(matches, "timestamps") { Form::Times } else { Form::Lines };
    let until = if is_set(matches, "follow") { Until::End } else { Until::Now };
    let named = one(matches, "sandbox").map(Into::into);
    let mut printer = Printer::new(is_set(matches, "raw"));
    let shown = Here::look().and_then(|here| {
        logs(&here.stores, here.which(named.as_ref())?, (part, form, until), &mut printer)
    });
    match shown {
        Err(error) if error.is_broken_pipe() => Ok(Answer::text("")),
        Err(error) => Err(Failure::new(&error)),
        Ok(()) => Ok(Answer::text("")),
    }
}

fn part(matches: &ArgMatches) -> Result<Part, CliError> {
    let moment = |text: &str| parse_moment(text).ok_or(ValueError::NotAMoment);
    let tail = |text: &str| match text {
        "all" | "-1" => Ok(None),
        number => parse_whole(number).map(Some),
    };
    Ok(Part {
        since: one_parsed(matches, "since", "--since", moment)?,
        until: one_parsed(matches, "until", "--until", moment)?,
        tail: one_parsed(matches, "tail", "--tail", tail)?.flatten(),
    })
}

/// To our own two streams.
struct Printer {
    out: Printed<BufWriter<Stdout>>,
    err: Printed<BufWriter<Stderr>>,
}

struct Printed<W> {
    to: W,
    /// Whether what could mislead a terminal is escaped.
    escapes: bool,
    /// The beginning of a character whose end has not come yet.
    held: Vec<u8>,
}

impl Printer {
    fn new(raw: bool) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let (out_escapes, err_escapes) = (!raw && out.is_terminal(), !raw && err.is_terminal());
        Self {
            out: Printed { to: BufWriter::new(out), escapes: out_escapes, held: Vec::new() },
            err: Printed { to: BufWriter::new(err), escapes: err_escapes, held: Vec::new() },
        }
    }
}

impl<W: Write> Printed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.escapes {
            return self.to.write_all(bytes);
        }
        self.held.extend_from_slice(bytes);
        let end = self.held.len() - unfinished(&self.held);
        let rest = self.held.split_off(end);
        self.to.write_all(shown(&self.held).as_bytes())?;
        self.held = rest;
        Ok(())
    }
}

impl Sink for Printer {
    fn put(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            // On one terminal, or in one file, the two come in their order.
            Stream::Output => {
                self.err.to.flush()?;
                self.out.put(bytes)
            }
            Stream::Errors => {
                self.out.to.flush()?;
                self.err.put(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.to.flush()?;
        self.err.to.flush()
    }

    fn missed(&mut self) -> io::Result<()> {
        self.flush()?;
        writeln!(
            io::stderr(),
            "bryo: some of the output was dropped before it could be read, or is damaged"
        )
    }
}

/// Bytes at the end that begin a character of UTF-8 and do not end it, or a line end of a terminal.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.last() == Some(&b'\r') {
        return 1;
    }
    let Some(last) = bytes.utf8_chunks().last() else { return 0 };
    let tail = last.invalid();
    let starts = match tail.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 0,
    };
    if tail.len() < starts { tail.len() } else { 0 }
}

/// Lines and tabs as they are, everything else that could mislead escaped; backslashes stay single.
fn shown(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (text, end) = match line {
            [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => (text, "\n"),
            text => (text, ""),
        };
        for (n, part) in text.split(|byte| matches!(byte, b'\\' | b'\t')).enumerate() {
            if n > 0 {
                // Which of the two it was stands before the part.
                let at = part.as_ptr().addr() - text.as_ptr().addr() - 1;
                out.push(text.get(at).map_or('\\', |byte| char::from(*byte)));
            }
            out.push_str(&escape(part));
        }
        out.push_str(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_lines_and_no_escape_sequence_however_they_are_cut() {
        let mut printed = Printed { to: Vec::new(), escapes: true, held: Vec::new() };
        for part in
            [&b"a\\b\tc\r"[..], b"\n\x1b[2J", "gr\u{f6}".as_bytes(), b"\xc3", b"\x9f\xff\r", b"x"]
        {
            printed.put(part).unwrap();
        }
        let text = String::from_utf8(printed.to).unwrap();
        assert_eq!(text, "a\\b\tc\n\\u{1b}[2Jgröß\\xff\\rx");
    }
}
