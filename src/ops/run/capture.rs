//! The file of `--pcap`: made, or taken and emptied, before anything else of a run is there.
//!
//! # Decisions
//! - A name that was mistyped must not cost a file: one that is there is emptied only if it is empty already or
//!   begins as a capture does, and is the caller's own, a regular file, and known by no other name. Behind a link
//!   lies a file that nobody named.
//! - One run writes one file: the lock lasts as long as any process of the run has it open.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::net::user::capture::is_capture;
use crate::ops::asked::{self, AskedError};
use crate::report::Explain as _;
use crate::spec::net::Capture;
use crate::spec::{HostPath, Network, Spec};

/// Why there is no file for packets.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The way to its directory.
    #[error(transparent)]
    Asked(#[from] AskedError),
    /// It cannot be made or opened.
    #[error("cannot write packets to `{path}`")]
    Open {
        /// The file.
        path: HostPath,
        /// Why.
        #[source]
        source: crate::sys::errno::Errno,
    },
    /// It holds something else.
    #[error("cannot write packets over `{0}`, which is no capture of the caller's own")]
    Other(HostPath),
    /// Another run writes it.
    #[error("cannot write packets to `{0}`, which another run writes")]
    InUse(HostPath),
}

impl CaptureError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Asked(error) => return error.hint(),
            Self::Open { .. } => "name a file that can be made; a link is not followed",
            Self::Other(_) => "name another file, or remove this one",
            Self::InUse(_) => "give each run a file of its own",
        };
        Some(hint.to_owned())
    }
}

/// Opens it, empty, for its owner's eyes alone; none when none is asked for.
pub(super) fn open(spec: &Spec) -> Result<Option<OwnedFd>, CaptureError> {
    let wanted = spec.egress.capture.as_ref().filter(|_| spec.network == Network::User);
    wanted.map(open_file).transpose()
}

fn open_file(capture: &Capture) -> Result<OwnedFd, CaptureError> {
    let path = || capture.file.clone();
    let failed = |errno: Errno| CaptureError::Open { path: path(), source: errno.into() };
    let (Some(above), Some(name)) = (capture.file.parent(), capture.file.file_name()) else {
        return Err(failed(Errno::ISDIR));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, above.as_path(), flags, Mode::empty()).map_err(failed)?;
    asked::refuse_opened("--pcap", &above, &directory)?;
    take(&directory, name).map_err(|errno| match errno {
        // `flock` says it of a file that somebody else has locked.
        Errno::WOULDBLOCK => CaptureError::InUse(path()),
        Errno::EXIST => CaptureError::Other(path()),
        errno => failed(errno),
    })
}

/// `EEXIST` for what may not be emptied.
fn take(directory: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    let found = rustix::fs::fstat(&file)?;
    let is_ours = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && found.st_uid == rustix::process::geteuid().as_raw()
        && found.st_nlink == 1;
    if !is_ours {
        return Err(Errno::EXIST);
    }
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let mut start = [0; 4];
    let length = rustix::io::pread(&file, &mut start, 0)?;
    if length > 0 && !is_capture(start) {
        return Err(Errno::EXIST);
    }
    rustix::fs::ftruncate(&file, 0)?;
    // One that was there may have been for everybody's eyes.
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn at(path: std::path::PathBuf) -> Capture {
        Capture { file: HostPath::new(path).unwrap(), most: 1000 }
    }

    #[test]
    fn only_a_capture_or_an_empty_file_is_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("notes"), "words").unwrap();
        std::fs::write(path("short"), "w").unwrap();
        std::fs::hard_link(path("notes"), path("other")).unwrap();
        std::os::unix::fs::symlink("empty", path("link")).unwrap();
        std::fs::write(path("empty"), "").unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        for name in ["notes", "short", "other", "fifo"] {
            assert!(matches!(open_file(&at(path(name))), Err(CaptureError::Other(_))), "{name}");
        }
        for name in ["link", "directory", "missing/file"] {
            assert!(matches!(open_file(&at(path(name))), Err(CaptureError::Open { .. })), "{name}");
        }
        assert_eq!(std::fs::read(path("notes")).unwrap(), b"words");
        for name in ["empty", "new"] {
            drop(open_file(&at(path(name))).unwrap());
        }
        let mut old = std::fs::File::create(path("old")).unwrap();
        old.write_all(&[0x4d, 0x3c, 0xb2, 0xa1, 9, 9, 9]).unwrap();
        let held = open_file(&at(path("old"))).unwrap();
        assert_eq!(old.metadata().unwrap().len(), 0);
        assert!(matches!(open_file(&at(path("old"))), Err(CaptureError::InUse(_))));
        drop(held);
        drop(open_file(&at(path("old"))).unwrap());
    }
}
