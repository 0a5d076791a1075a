//! `bryo logs`: what a detached sandbox wrote.
//!
//! # Theory of operation
//! The log is read file by file, entry by entry, and what it holds goes on to the caller's sink: nothing of it is
//! kept here, and a slow sink holds up nobody but this process.
//!
//! # Decisions
//! - What one stream writes into the middle of a line of the other is no part of that line: each stream has its own
//!   lines. The time of a line (`-t`) is that of its first byte, however late the rest of it came.
//! - What is shown begins with a whole line. A full log drops its oldest bytes, which may end within a line: the rest
//!   of that line is left out as well. Where no end of a line comes within 8 KiB, the payload writes no lines, and
//!   nothing is left out.
//! - `--since` begins with the first bytes of that time, in the middle of a line where that is so.
//! - `--tail` counts lines of both streams together, in the order in which they were begun.

mod lines;

use std::io;
use std::time::Duration;

pub use lines::Form;
use lines::LineFilter;

use super::error::OpsError;
use super::sweep::sweep;
use crate::profile::value::parse_duration;
pub use crate::state::log::Stream;
use crate::state::log::{Follow, Reader};
use crate::state::{Found, StateError, Stores, Timestamp, Which};

/// Which part of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// What was written at this time or later.
    pub since: Option<Timestamp>,
    /// What was written before this time.
    pub until: Option<Timestamp>,
    /// The last lines of that.
    pub tail: Option<u64>,
}

/// Whether to go on until the sandbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// What is there now.
    Now,
    /// What it writes from now on, too.
    End,
}

/// Where it goes.
pub trait Sink {
    /// Some bytes of one stream.
    fn put(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()>;
    /// Nothing more comes just now.
    fn flush(&mut self) -> io::Result<()>;
    /// Something was dropped before it was read.
    fn missed(&mut self) -> io::Result<()>;
}

/// A moment: `2026-01-31T12:00:00Z`, seconds since 1970, or a time before now.
pub fn parse_moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse_any(text).or_else(|| {
        // No time at all is no time limit, but a moment: now.
        let is_now = text.trim_end_matches(|c: char| c.is_ascii_lowercase()) == "0";
        let ago = if is_now { Duration::ZERO } else { parse_duration(text).ok()? };
        let ago = u64::try_from(ago.as_nanos()).ok()?;
        Some(Timestamp::from_nanoseconds(Timestamp::now().nanoseconds().saturating_sub(ago)))
    })
}

/// Gives `sink` what the sandbox wrote.
pub fn logs(
    stores: &Stores,
    which: Which<'_>,
    (part, form, until): (Part, Form, Until),
    sink: &mut dyn Sink,
) -> Result<(), OpsError> {
    sweep(stores)?;
    let found = stores.choose(which)?;
    let mut reader = found.read_log()?;
    if !reader.is_there() {
        return Err(OpsError::NoLog(found.id()));
    }
    let follow = match until {
        Until::Now => None,
        Until::End => Follow::new(&found, &reader)?,
    };
    let failed = |source| StateError::ReadLog { id: found.id(), source };
    // One that writes faster than is read here has no end, and lines are shown of what they were counted in.
    reader.bind().map_err(failed)?;
    let skip = match part.tail {
        Some(most) => {
            let counted = reader.again().map_err(failed)?;
            count(&found, counted, part)?.saturating_sub(most)
        }
        None => 0,
    };
    let mut filter = LineFilter::new(form, skip);
    let mut is_first = true;
    loop {
        // Asked before the log is read: what was written before the end is read after it.
        let over = follow.as_ref().is_none_or(Follow::is_over);
        let more = give(&found, &mut reader, part, &mut filter, sink)?;
        sink.flush().map_err(OpsError::Write)?;
        match &follow {
            Some(_) if more && std::mem::take(&mut is_first) => reader.unbind(),
            Some(follow) if more && !over => {
                follow.wait().map_err(|source| OpsError::Wait { id: found.id(), source })?;
            }
            _ => {
                filter.finish(sink).and_then(|()| sink.flush()).map_err(OpsError::Write)?;
                return Ok(());
            }
        }
    }
}

/// Gives what is there; whether there may be more that is wanted.
fn give(
    found: &Found,
    reader: &mut Reader,
    part: Part,
    filter: &mut LineFilter,
    sink: &mut dyn Sink,
) -> Result<bool, OpsError> {
    let failed = |source| StateError::ReadLog { id: found.id(), source };
    let mut is_told = false;
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        if entry.after_gap {
            filter.break_off(sink).and_then(|()| sink.missed()).map_err(OpsError::Write)?;
            is_told = true;
        }
        if part.until.is_some_and(|until| entry.time >= until) {
            return Ok(false);
        }
        if part.since.is_none_or(|since| entry.time >= since) {
            filter.pass(&entry, sink).map_err(OpsError::Write)?;
        } else {
            filter.pass_over(&entry);
        }
    }
    if reader.take_missed() && !is_told {
        sink.missed().map_err(OpsError::Write)?;
    }
    Ok(true)
}

/// How many lines there are of a part.
fn count(found: &Found, mut reader: Reader, part: Part) -> Result<u64, OpsError> {
    struct Nowhere;
    impl Sink for Nowhere {
        fn put(&mut self, _: Stream, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn missed(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut filter = LineFilter::new(Form::Lines, 0);
    give(found, &mut reader, part, &mut filter, &mut Nowhere)?;
    filter.finish(&mut Nowhere).map_err(OpsError::Write)?;
    Ok(filter.lines())
}
