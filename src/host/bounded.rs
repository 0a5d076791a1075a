//! Reads files that somebody else wrote, never more than is sensible.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::HostError;

/// Most bytes of a table that grows with the machine (mounts).
pub(super) const TABLE: usize = 16 << 20;
/// Most bytes of a file that a person or a package wrote.
pub(super) const FILE: usize = 4 << 20;
/// Most bytes of a line of a file that is read line by line.
const LINE: usize = 4096;
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

/// Hands over a file line by line, however many there are, without their ends; of a line, [`LINE`] bytes. Nothing when there
/// is no such file or the caller may not read it.
pub(super) fn each_line_optional(
    path: &str,
    mut take: impl FnMut(&[u8]) -> Result<(), HostError>,
) -> Result<(), HostError> {
    let failed = |source| {
        let path = OsStr::from_bytes(path.as_bytes()).to_owned().into();
        HostError::Read { path, source }
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    let mut chunk = [0; 8192];
    let mut line = Vec::new();
    loop {
        let read = match rustix::io::read(&fd, &mut chunk[..]) {
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = LINE.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            // What stands behind the last end of a line goes on in the next chunk.
            if parts.peek().is_some() {
                take(&line)?;
                line.clear();
            }
        }
    }
    if line.is_empty() { Ok(()) } else { take(&line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_length_is_handed_over_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let lines: Vec<String> = (0..5000).map(|n| "x".repeat(n % 97)).collect();
        let read = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            let mut found = Vec::new();
            let take = |line: &[u8]| {
                found.push(String::from_utf8(line.to_vec()).unwrap());
                Ok(())
            };
            each_line_optional(path.to_str().unwrap(), take).unwrap();
            found
        };
        assert_eq!(read((lines.join("\n") + "\n").as_bytes()), lines);
        assert_eq!(read(b"no end"), ["no end"]);
        assert_eq!(read(&[b'x'; 3 * LINE]), ["x".repeat(LINE)]);
        assert_eq!(read(b""), [""; 0]);
        std::fs::remove_file(&path).unwrap();
        each_line_optional(path.to_str().unwrap(), |_| panic!("there is none")).unwrap();
    }

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
