//! Runs a program of the system's, and waits for what it prints: so long, and for so much of it.

use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::sys::pidfd;

/// How long what was killed is waited for: what a file system does not answer stays until that does.
const DYING: Duration = Duration::from_secs(1);

/// How long it may take, and how much it may print.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Until it has ended.
    pub patience: Duration,
    /// Bytes.
    pub most: usize,
}

/// Why there is no output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOutput {
    /// It cannot be started or read, or printed too much.
    None,
    /// It did not end in time, and was killed.
    Late,
}

/// How a program ended, and what it printed.
pub fn output(command: &mut Command, bounds: Bounds) -> Result<(ExitStatus, Vec<u8>), NoOutput> {
    let deadline = Instant::now() + bounds.patience;
    let mut child = command.stdout(Stdio::piped()).spawn().or(Err(NoOutput::None))?;
    let read = match child.stdout.take() {
        Some(pipe) => read_until(&pipe, deadline, bounds.most),
        None => Err(NoOutput::None),
    };
    let ended = read.and_then(|bytes| Ok((end_by(&mut child, deadline)?, bytes)));
    if ended.is_err() {
        // It may have ended by itself meanwhile; then there is nothing to kill.
        drop(child.kill());
        match end_by(&mut child, Instant::now() + DYING) {
            // What does not die is nobody's to wait for.
            Ok(_) | Err(_) => {}
        }
    }
    ended
}

fn end_by(child: &mut Child, deadline: Instant) -> Result<ExitStatus, NoOutput> {
    let left = deadline.saturating_duration_since(Instant::now());
    let has_ended = pidfd::open(Pid::from_child(child)).and_then(|one| pidfd::has_ended(one, left));
    match has_ended {
        Ok(true) => child.wait().or(Err(NoOutput::None)),
        Ok(false) => Err(NoOutput::Late),
        Err(_) => Err(NoOutput::None),
    }
}

/// All that comes before `deadline`.
fn read_until(pipe: &impl AsFd, deadline: Instant, most: usize) -> Result<Vec<u8>, NoOutput> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(NoOutput::Late)?;
        let left = Timespec::try_from(left).or(Err(NoOutput::None))?;
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(NoOutput::Late),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return Err(NoOutput::None),
        }
        match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(n) if bytes.len() + n <= most => bytes.extend_from_slice(&chunk[..n]),
            Ok(_) | Err(_) => return Err(NoOutput::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { patience: Duration::from_secs(20), most: 64 << 10 };
    const SHORT: Bounds = Bounds { patience: Duration::from_millis(50), ..BOUNDS };

    fn sh(script: &str, bounds: Bounds) -> Result<(Option<i32>, Vec<u8>), NoOutput> {
        let (status, bytes) = output(Command::new("/bin/sh").args(["-c", script]), bounds)?;
        Ok((status.code(), bytes))
    }

    #[test]
    fn a_program_that_says_too_much_or_never_ends_is_not_waited_for() {
        assert_eq!(sh("echo a; exit 3", BOUNDS), Ok((Some(3), b"a\n".to_vec())));
        assert_eq!(sh("exec yes", BOUNDS), Err(NoOutput::None));
        assert_eq!(sh("exec sleep 1000", SHORT), Err(NoOutput::Late));
        assert_eq!(sh("exec sleep 1000 >&-", SHORT), Err(NoOutput::Late));
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(read_until(&read, soon, 10), Err(NoOutput::Late));
    }
}
