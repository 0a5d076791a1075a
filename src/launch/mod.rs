//! Starts a sandbox: the processes of one run and what they say to each other.

pub mod wire;

use std::os::fd::OwnedFd;

use rustix::process::Pid;

use crate::sys::pty::Master;
use crate::sys::seccomp::Listener;

/// A sandbox whose payload is about to be executed, as the launcher hands it to the supervisor.
#[derive(Debug)]
pub struct Running {
    /// Pid 1 of the sandbox, as the host numbers it.
    pub init: Pid,
    /// Readable when init, and so every process of the sandbox, has ended.
    pub pidfd: OwnedFd,
    /// To init: [`wire`] messages both ways.
    pub control: OwnedFd,
    /// Refused system calls, when the plan listens for them.
    pub listener: Option<Listener>,
    /// The pty's master, when the plan has one.
    pub pty: Option<Master>,
    /// Our ends of the pipes that stand in for descriptors 0 to 2.
    pub relays: Vec<Relay>,
}

/// A pipe that stands in for one of descriptors 0 to 2 of the caller.
#[derive(Debug)]
pub struct Relay {
    /// Which: 0 is written to by us, 1 and 2 are read from.
    pub number: u8,
    /// Our end.
    pub end: OwnedFd,
}
