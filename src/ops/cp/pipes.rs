//! The pipes between the two halves of a copy.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::{CpError, Progress};
use crate::archive::errand::Outcome;
use crate::ops::control;
use crate::ops::exec::enter;
use crate::plan::entry::Entry;
use crate::plan::errand::Errand as Work;
use crate::plan::step::StdioPlan;
use crate::state::Found;
use crate::supervise::block_signals;
use crate::supervise::errand::{Errand, For, prepare};

/// Fewer turns between the halves; where the user has many pipes already, it stays small.
const ROOM: usize = 1 << 20;
/// Bytes of the longest outcome: a hundred names.
const LONGEST: u64 = 1 << 20;

/// An errand that was begun, and our ends of its pipes.
pub(super) struct Begun {
    pub(super) errand: RefCell<Errand>,
    /// With the archive.
    pub(super) archive: OwnedFd,
    words: OwnedFd,
}

/// Which way the archive goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Out,
    In,
}

/// Has a process enter the sandbox for it.
pub(super) fn begin(found: &Found, work: Work, flow: Flow) -> Result<Begun, CpError> {
    let failed = |errno: rustix::io::Errno| CpError::Stream("through a pipe", errno.into());
    let signals = block_signals()?;
    let supervisor = control::reach(found, "copy from or to", Some(&signals))?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    fcntl_setpipe_size(&read, ROOM).unwrap_or_default();
    let (words, their_words) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = OwnedFd::from(null.map_err(|error| CpError::Stream("through a pipe", error))?);
    let (keep, nothing) = (StdioPlan::Keep, StdioPlan::Null);
    let (archive, stdio, plan) = match flow {
        Flow::Out => (read, [null, write, their_words], [nothing, keep, keep]),
        Flow::In => (write, [read, null, their_words], [keep, nothing, keep]),
    };
    let entry = Entry {
        argv: vec!["bryo-cp".into()],
        environment: Vec::new(),
        workdir: Some(crate::spec::SandboxPath::root()),
        user: None,
        stdio: plan,
        pty: None,
        errand: Some(work),
    };
    let entered =
        enter((&supervisor, &signals), (found, "copy from or to"), &entry, &stdio, || ())?;
    for pipe in [&archive, &words] {
        prepare(pipe).map_err(|errno| {
            CpError::Stream("through a pipe", io::Error::from_raw_os_error(errno.raw()))
        })?;
    }
    let errand = RefCell::new(Errand::new(entered.control, signals)?);
    Ok(Begun { errand, archive, words })
}

impl Begun {
    /// Our end of the archive is closed; what the half inside has to say. An error of the half here is less than one
    /// that is told from there, and more than its silence.
    pub(super) fn finish(self) -> Result<Outcome, CpError> {
        drop(self.archive);
        let mut text = Vec::new();
        let words = Pipe::new(self.words.as_fd(), &self.errand, None);
        let heard = words.take(LONGEST).read_to_end(&mut text);
        let errand = self.errand.into_inner();
        if let Some(halt) = errand.halt() {
            return Err(CpError::Halted(halt));
        }
        heard.map_err(|error| CpError::Stream("through a pipe", error))?;
        serde_json::from_slice(&text).map_err(|_| CpError::Lost(errand.killed()))
    }
}

/// A pipe, or what stands at descriptor 0 or 1, that is waited for in [`Errand::wait`] alone.
pub(super) struct Pipe<'a> {
    fd: BorrowedFd<'a>,
    errand: &'a RefCell<Errand>,
    progress: Option<&'a mut Progress<'a>>,
    total: u64,
}

impl<'a> Pipe<'a> {
    pub(super) fn new(
        fd: BorrowedFd<'a>,
        errand: &'a RefCell<Errand>,
        progress: Option<&'a mut Progress<'a>>,
    ) -> Self {
        Self { fd, errand, progress, total: 0 }
    }

    fn go(
        &mut self,
        what: For,
        mut act: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            self.errand.borrow_mut().wait(self.fd, what)?;
            match act(self.fd) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(length) => {
                    self.total += length as u64;
                    if let Some(progress) = &mut self.progress {
                        progress(self.total);
                    }
                    return Ok(length);
                }
            }
        }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.go(For::Bytes, |fd| rustix::io::read(fd, &mut *into))
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.go(For::Room, |fd| rustix::io::write(fd, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
