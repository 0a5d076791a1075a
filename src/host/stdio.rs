//! What stands at descriptors 0 to 2, each on its own.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::plan::facts::Stdio;

/// Classifies the three.
pub fn probe() -> [Stdio; 3] {
    [
        classify(rustix::stdio::stdin()),
        classify(rustix::stdio::stdout()),
        classify(rustix::stdio::stderr()),
    ]
}

/// Whether another process group has the terminal that one of them is. One that is not the
/// controlling terminal has no background.
pub fn probe_background() -> bool {
    let all = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let group = all.into_iter().find_map(|fd| rustix::termios::tcgetpgrp(fd).ok());
    group.is_some_and(|group| group != rustix::process::getpgrp())
}

/// One descriptor. What cannot be asked is [`Stdio::Other`], which is refused.
fn classify(fd: BorrowedFd<'_>) -> Stdio {
    let stat = match rustix::fs::fstat(fd) {
        Ok(stat) => stat,
        Err(Errno::BADF) => return Stdio::Closed,
        Err(_) => return Stdio::Other,
    };
    let Ok(flags) = rustix::fs::fcntl_getfl(fd) else { return Stdio::Other };
    // First of all: such a descriptor is a place in the tree whatever stands there.
    if flags.contains(OFlags::PATH) {
        return Stdio::Path;
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => Stdio::Pipe,
        FileType::Socket => Stdio::Socket,
        FileType::Directory => Stdio::Directory,
        FileType::RegularFile => match flags & OFlags::RWMODE {
            OFlags::RDONLY => Stdio::FileRead,
            _ => Stdio::FileWrite,
        },
        FileType::CharacterDevice if is_null(stat.st_rdev) => Stdio::Null,
        FileType::CharacterDevice if rustix::termios::isatty(fd) => Stdio::Terminal,
        _ => Stdio::Other,
    }
}

/// `/dev/null` is the memory devices' third, as in Documentation/admin-guide/devices.txt.
fn is_null(rdev: u64) -> bool {
    rustix::fs::major(rdev) == 1 && rustix::fs::minor(rdev) == 3
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{CWD, Mode};

    use super::*;

    fn open(path: &str, flags: OFlags) -> Stdio {
        classify(rustix::fs::openat(CWD, path, flags, Mode::empty()).unwrap().as_fd())
    }

    #[test]
    fn each_kind_of_descriptor_is_told_from_the_others() {
        assert_eq!(open("/dev/null", OFlags::RDWR), Stdio::Null);
        assert_eq!(open("/dev/zero", OFlags::RDONLY), Stdio::Other);
        assert_eq!(open("/", OFlags::RDONLY), Stdio::Directory);
        assert_eq!(open("/", OFlags::PATH), Stdio::Path);
        assert_eq!(open("/dev/null", OFlags::PATH), Stdio::Path);
        assert_eq!(open("/proc/self/exe", OFlags::RDONLY), Stdio::FileRead);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(open(path, OFlags::WRONLY | OFlags::APPEND), Stdio::FileWrite);
        assert_eq!(open(path, OFlags::RDWR), Stdio::FileWrite);
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert_eq!((classify(read.as_fd()), classify(write.as_fd())), (Stdio::Pipe, Stdio::Pipe));
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(classify(socket.as_fd()), Stdio::Socket);
        let pty = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR).unwrap();
        assert_eq!(classify(pty.as_fd()), Stdio::Terminal);
    }
}
