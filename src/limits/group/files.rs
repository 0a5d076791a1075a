//! Files of a control group: short, and read whole.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::spec::HostPath;
use crate::sys::errno::{Errno, Result};

/// The longest file that is read: a list of processes.
const LONGEST: usize = 1 << 20;

pub(super) fn open_directory(path: &HostPath) -> Result<OwnedFd> {
    open(CWD, path.as_path(), OFlags::DIRECTORY | OFlags::RDONLY)
}

pub(super) fn open(at: impl AsFd, name: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd> {
    Ok(openat(at, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?)
}

pub(super) fn write(group: &OwnedFd, file: &str, text: &str) -> Result<()> {
    let file = open(group, file, OFlags::WRONLY)?;
    let written = rustix::io::write(&file, text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(Errno::EIO) }
}

pub(super) fn read(group: &OwnedFd, file: &str) -> Result<String> {
    read_at_start(open(group, file, OFlags::RDONLY)?)
}

pub(super) fn read_at_start(file: impl AsFd) -> Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while bytes.len() < LONGEST {
        let at = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let length = rustix::io::pread(&file, &mut buffer, at)?;
        if length == 0 {
            return String::from_utf8(bytes).map_err(|_| Errno::EPROTO);
        }
        bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    Err(Errno::EFBIG)
}
