//! Cuts the entries of a log into the lines that `bryo logs` shows.
//!
//! # Theory of operation
//! An entry of the log is what one write of the payload brought: a part of a line, or several lines of one stream. Each
//! stream is put together by itself, so that a line of standard output goes on behind one of standard error.
//! `--tail` leaves out the first lines, `--timestamps` puts before each line the time of the entry that begins it.
//!
//! The log drops its oldest entries when it is full, so the first one that is read may be the end of a line whose
//! beginning is gone. Such a rest is left out up to its line break. A payload need not write line breaks (a progress bar):
//! so what could be a rest is held back, up to [`REST`] bytes, and shown as it is where none comes.

use std::io;

use super::Sink;
use crate::state::Timestamp;
use crate::state::log::{Entry, Stream};

/// What lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they were written.
    Lines,
    /// Behind the time when each was begun.
    Times,
}

/// The longest rest of a line that is left out, in bytes. What is longer is no line.
const REST: usize = 8 << 10;

/// What is known while entries pass.
#[derive(Debug)]
pub(super) struct LineFilter {
    form: Form,
    /// Lines that are still to be left out.
    skip: u64,
    /// Lines that were begun, those that were left out among them.
    lines: u64,
    streams: [Line; 2],
}

/// The line that a stream is in.
#[derive(Debug, Default)]
struct Line {
    is_begun: bool,
    /// It is one of the first lines, which are not wanted.
    is_left_out: bool,
    /// An entry of this stream was seen: what comes next goes on where that ended.
    is_known: bool,
    /// What is held back, with the time of its first entry: the rest of a line if a line break comes soon.
    rest: Option<(Timestamp, Vec<u8>)>,
}

impl Line {
    /// What is to be shown of an entry: the time, what was held back before it, and its own bytes. None while it is
    /// not known whether it belongs to a line whose beginning is gone.
    fn without_rest<'a>(&mut self, entry: &Entry<'a>) -> Option<(Timestamp, Vec<u8>, &'a [u8])> {
        if !std::mem::replace(&mut self.is_known, true) && entry.goes_on {
            self.rest = Some((entry.time, Vec::new()));
        }
        let Some((_, held)) = &mut self.rest else {
            return Some((entry.time, Vec::new(), entry.bytes));
        };
        if let Some(end) = entry.bytes.iter().position(|byte| *byte == b'\n')
            && held.len() + end < REST
        {
            self.rest = None;
            return Some((entry.time, Vec::new(), entry.bytes.get(end + 1..).unwrap_or_default()));
        }
        held.extend_from_slice(entry.bytes);
        let is_more = held.len() >= REST;
        let (time, held) = self.rest.take_if(|_| is_more)?;
        Some((time, held, &[]))
    }
}

impl LineFilter {
    pub(super) fn new(form: Form, skip: u64) -> Self {
        Self { form, skip, lines: 0, streams: <[Line; 2]>::default() }
    }

    /// How many lines were begun so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    fn stream(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Output => &mut self.streams[0],
            Stream::Errors => &mut self.streams[1],
        }
    }

    /// An entry that is not shown (`--since`). Its line is known, so that what goes on with it is no rest.
    pub(super) fn pass_over(&mut self, entry: &Entry<'_>) {
        self.stream(entry.stream).is_known = true;
    }

    /// Nothing more comes, and no line break with it: what was held back is shown.
    pub(super) fn finish(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        for stream in [Stream::Output, Stream::Errors] {
            if let Some((time, held)) = self.stream(stream).rest.take() {
                self.give(stream, time, &held, sink)?;
            }
        }
        Ok(())
    }

    /// What comes next does not go on where the last entry ended: the lines that were begun end here, and what could be
    /// the rest of another is looked for again.
    pub(super) fn break_off(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        self.finish(sink)?;
        for stream in [Stream::Output, Stream::Errors] {
            let line = std::mem::take(self.stream(stream));
            if line.is_begun && !line.is_left_out {
                sink.put(stream, b"\n")?;
            }
        }
        Ok(())
    }

    /// An entry that is shown, or held back.
    pub(super) fn pass(&mut self, entry: &Entry<'_>, sink: &mut dyn Sink) -> io::Result<()> {
        let Some((time, held, bytes)) = self.stream(entry.stream).without_rest(entry) else {
            return Ok(());
        };
        self.give(entry.stream, time, &held, sink)?;
        self.give(entry.stream, time, bytes, sink)
    }

    fn give(
        &mut self,
        stream: Stream,
        time: Timestamp,
        bytes: &[u8],
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let own = match stream {
                Stream::Output => &mut self.streams[0],
                Stream::Errors => &mut self.streams[1],
            };
            if !own.is_begun {
                own.is_left_out = self.skip > 0;
                self.skip = self.skip.saturating_sub(1);
                self.lines += 1;
                if self.form == Form::Times && !own.is_left_out {
                    sink.put(stream, format!("{time} ").as_bytes())?;
                }
            }
            own.is_begun = line.last() != Some(&b'\n');
            if !own.is_left_out {
                sink.put(stream, line)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Text(String);

    impl Sink for Text {
        fn put(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
            self.0 += if stream == Stream::Output { "" } else { "!" };
            self.0 += &String::from_utf8_lossy(bytes);
            Ok(())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn missed(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn filtered(form: Form, skip: u64) -> (String, u64) {
        let mut filter = LineFilter::new(form, skip);
        let mut text = Text::default();
        for (n, stream, bytes) in [
            (1, Stream::Output, "a\nb"),
            (2, Stream::Errors, "x\n"),
            (3, Stream::Output, "c\nd"),
            (4, Stream::Errors, "y"),
            (5, Stream::Output, "\n"),
        ] {
            let time = Timestamp::from_nanoseconds(n);
            let entry =
                Entry { stream, goes_on: false, after_gap: false, time, bytes: bytes.as_bytes() };
            filter.pass(&entry, &mut text).unwrap();
        }
        (text.0, filter.lines())
    }

    #[test]
    fn a_line_belongs_to_its_stream_wherever_it_is_cut() {
        assert_eq!(filtered(Form::Lines, 0), ("a\nb!x\nc\nd!y\n".to_owned(), 5));
        assert_eq!(filtered(Form::Lines, 2).0, "!x\nd!y\n");
        assert_eq!(filtered(Form::Lines, 9).0, "");
        let times = filtered(Form::Times, 3).0;
        assert_eq!(times, "1970-01-01T00:00:00.000000003Z d!1970-01-01T00:00:00.000000004Z !y\n");
    }

    #[test]
    fn no_line_is_put_together_over_what_is_missing() {
        let (mut filter, mut text) = (LineFilter::new(Form::Lines, 0), Text::default());
        let (stream, time) = (Stream::Output, Timestamp::from_nanoseconds(1));
        let entry = |goes_on, bytes| Entry { stream, goes_on, after_gap: false, time, bytes };
        filter.pass(&entry(false, b"whole\nfirst ha"), &mut text).unwrap();
        filter.break_off(&mut text).unwrap();
        filter.pass(&entry(true, b"lf of another\nnext\n"), &mut text).unwrap();
        filter.break_off(&mut text).unwrap();
        filter.pass(&entry(false, b"begun anew\n"), &mut text).unwrap();
        assert_eq!(text.0, "whole\nfirst ha\nnext\nbegun anew\n");
    }

    #[test]
    fn the_rest_of_a_line_whose_beginning_is_gone_is_left_out() {
        let shown = |entries: &[(bool, Vec<u8>)], known: bool| {
            let (mut filter, mut text) = (LineFilter::new(Form::Lines, 0), Text::default());
            for (goes_on, bytes) in entries {
                let (stream, time) = (Stream::Output, Timestamp::from_nanoseconds(1));
                let entry = Entry { stream, goes_on: *goes_on, after_gap: false, time, bytes };
                if known {
                    filter.pass_over(&entry);
                }
                filter.pass(&entry, &mut text).unwrap();
            }
            filter.finish(&mut text).unwrap();
            (text.0, filter.lines())
        };
        let entry = |goes_on, bytes: &str| (goes_on, bytes.as_bytes().to_vec());
        let cut = [entry(true, "of a"), entry(true, " line\nnext\nla"), entry(true, "st")];
        assert_eq!(shown(&cut, false), ("next\nlast".to_owned(), 2));
        assert_eq!(shown(&cut, true).0, "of a line\nnext\nlast");
        assert_eq!(shown(&[entry(false, "a\nb\n")], false).0, "a\nb\n");
        // Without lines all of it is there.
        assert_eq!(shown(&[entry(true, "1%"), entry(true, "2%")], false), ("1%2%".to_owned(), 1));
        let long = [entry(true, &"x".repeat(REST)), entry(true, "y\nz\n")];
        assert_eq!(shown(&long, false).0, format!("{}y\nz\n", "x".repeat(REST)));
        let at_once = [entry(true, &format!("{}\nz", "x".repeat(REST)))];
        assert_eq!(shown(&at_once, false).0.len(), REST + 2);
    }
}
