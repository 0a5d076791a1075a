//! How a program ended, and sentences about it.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

/// A program that has ended.
pub(crate) struct Ended {
    /// What was started, for messages.
    pub(crate) command: String,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote to descriptor 1.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to descriptor 2.
    pub(crate) stderr: Vec<u8>,
    /// From start to end.
    pub(crate) took: Duration,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "{} after {:?}", self.status, self.took)?;
        writeln!(f, "--- stdout\n{}", self.stdout())?;
        write!(f, "--- stderr\n{}", self.stderr())
    }
}

#[track_caller]
fn hold(claim: bool, what: &str, ended: &Ended) {
    assert!(claim, "expected: {what}\n{ended}");
}

impl Ended {
    /// What it wrote to descriptor 1, as text.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it wrote to descriptor 2, as text.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Exit status 0.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits_with(0)
    }

    /// Any exit status but 0, and not bryo's own failures (125 to 127): the payload ran, and failed.
    #[track_caller]
    pub(crate) fn fails(self) -> Self {
        let payload =
            self.status.code().is_some_and(|code| code != 0 && !(125..=127).contains(&code));
        hold(payload, "the payload fails", &self);
        self
    }

    /// This exit status.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        hold(self.status.code() == Some(code), &format!("exit status {code}"), &self);
        self
    }

    /// Killed by this signal.
    #[track_caller]
    pub(crate) fn dies_of(self, signal: i32) -> Self {
        hold(self.status.signal() == Some(signal), &format!("death by signal {signal}"), &self);
        self
    }

    /// bryo refuses: status 125, nothing on stdout, and a message that contains each of these.
    #[track_caller]
    pub(crate) fn refuses_with(self, parts: &[&str]) -> Self {
        let mut ended = self.exits_with(125).stdout_is("");
        for part in parts {
            ended = ended.stderr_has(part);
        }
        ended
    }

    /// Exactly this on stdout.
    #[track_caller]
    pub(crate) fn stdout_is(self, text: &str) -> Self {
        hold(self.stdout == text.as_bytes(), &format!("stdout is {text:?}"), &self);
        self
    }

    /// This somewhere on stdout.
    #[track_caller]
    pub(crate) fn stdout_has(self, part: &str) -> Self {
        hold(self.stdout().contains(part), &format!("stdout has {part:?}"), &self);
        self
    }

    /// This nowhere on stdout.
    #[track_caller]
    pub(crate) fn stdout_lacks(self, part: &str) -> Self {
        hold(!self.stdout().contains(part), &format!("stdout lacks {part:?}"), &self);
        self
    }

    /// Exactly this on stderr.
    #[track_caller]
    pub(crate) fn stderr_is(self, text: &str) -> Self {
        hold(self.stderr == text.as_bytes(), &format!("stderr is {text:?}"), &self);
        self
    }

    /// This somewhere on stderr.
    #[track_caller]
    pub(crate) fn stderr_has(self, part: &str) -> Self {
        hold(self.stderr().contains(part), &format!("stderr has {part:?}"), &self);
        self
    }

    /// This nowhere on stderr.
    #[track_caller]
    pub(crate) fn stderr_lacks(self, part: &str) -> Self {
        hold(!self.stderr().contains(part), &format!("stderr lacks {part:?}"), &self);
        self
    }
}
