//! Reads files that somebody else wrote, never more than is sensible.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::HostError;

/// Most bytes of a table that grows with the machine (mounts, sockets).
pub(super) const TABLE: usize = 16 << 20;
/// Most bytes of a file that a person or a package wrote.
pub(super) const FILE: usize = 4 << 20;
/// Most bytes of a file that holds a few lines.
pub(super) const SMALL: usize = 64 << 10;

/// The whole content of a file of at most `limit` bytes.
pub(super) fn read_file(path: &str, limit: usize) -> Result<Vec<u8>, HostError> {
    let name = || OsStr::from_bytes(path.as_bytes()).to_owned().into();
    let failed = |source| HostError::Read { path: name(), source };
    // Not blocking, should somebody have put a FIFO there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    match read_to_end(&fd, limit) {
        Ok(bytes) if bytes.len() > limit => Err(HostError::TooLong { path: name(), limit }),
        Ok(bytes) => Ok(bytes),
        Err(source) => Err(failed(source)),
    }
}

/// As [`read_file`]; none when there is no such file or the caller may not read it.
pub(super) fn read_optional(path: &str, limit: usize) -> Result<Option<Vec<u8>>, HostError> {
    match read_file(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(HostError::Read { source: Errno::NOENT | Errno::ACCESS | Errno::NOTDIR, .. }) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What is left in a descriptor: up to one byte more than `limit`, which tells that there is more.
pub(super) fn read_to_end(fd: impl std::os::fd::AsFd, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let want = chunk.len().min(limit + 1 - bytes.len());
        match rustix::io::read(&fd, &mut chunk[..want]) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
        if bytes.len() > limit {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(read_file(path, 10_000).unwrap().len(), 10_000);
        assert_eq!(
            read_file(path, 9_999),
            Err(HostError::TooLong { path: path.into(), limit: 9_999 })
        );
        assert!(read_file("/dev/zero", SMALL).is_err());
    }

    #[test]
    fn what_is_not_there_is_none_where_it_may_be_missing() {
        assert_eq!(read_optional("/nowhere/at/all", SMALL), Ok(None));
        assert_eq!(read_optional("/dev/null/x", SMALL), Ok(None));
        assert!(matches!(read_optional("/", SMALL), Err(HostError::Read { .. })));
    }
}
