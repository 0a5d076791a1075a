//! Lines out of entries: the first ones left out, each with its time where that is wanted.

use std::io;

use super::Sink;
use crate::state::log::{Entry, Stream};

/// What lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they were written.
    Lines,
    /// Behind the time when each was begun.
    Times,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sieve {
    form: Form,
    /// Lines that are still to be left out.
    skip: u64,
    lines: u64,
    streams: [Line; 2],
}

/// The line that a stream is in.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    is_begun: bool,
    is_left_out: bool,
}

impl Sieve {
    pub(super) fn new(form: Form, skip: u64) -> Self {
        Self { form, skip, lines: 0, streams: [Line::default(); 2] }
    }

    /// How many lines were begun so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn pass(&mut self, entry: &Entry<'_>, sink: &mut dyn Sink) -> io::Result<()> {
        for line in entry.bytes.split_inclusive(|byte| *byte == b'\n') {
            let own = match entry.stream {
                Stream::Output => &mut self.streams[0],
                Stream::Errors => &mut self.streams[1],
            };
            if !own.is_begun {
                own.is_left_out = self.skip > 0;
                self.skip = self.skip.saturating_sub(1);
                self.lines += 1;
                if self.form == Form::Times && !own.is_left_out {
                    sink.put(entry.stream, format!("{} ", entry.time).as_bytes())?;
                }
            }
            own.is_begun = line.last() != Some(&b'\n');
            if !own.is_left_out {
                sink.put(entry.stream, line)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Timestamp;

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

    fn sieved(form: Form, skip: u64) -> (String, u64) {
        let mut sieve = Sieve::new(form, skip);
        let mut text = Text::default();
        for (n, stream, bytes) in [
            (1, Stream::Output, "a\nb"),
            (2, Stream::Errors, "x\n"),
            (3, Stream::Output, "c\nd"),
            (4, Stream::Errors, "y"),
            (5, Stream::Output, "\n"),
        ] {
            let time = Timestamp::from_nanoseconds(n);
            let entry = Entry { stream, time, bytes: bytes.as_bytes() };
            sieve.pass(&entry, &mut text).unwrap();
        }
        (text.0, sieve.lines())
    }

    #[test]
    fn a_line_belongs_to_its_stream_wherever_it_is_cut() {
        assert_eq!(sieved(Form::Lines, 0), ("a\nb!x\nc\nd!y\n".to_owned(), 5));
        assert_eq!(sieved(Form::Lines, 2).0, "!x\nd!y\n");
        assert_eq!(sieved(Form::Lines, 9).0, "");
        let times = sieved(Form::Times, 3).0;
        assert_eq!(times, "1970-01-01T00:00:00.000000003Z d!1970-01-01T00:00:00.000000004Z !y\n");
    }
}
