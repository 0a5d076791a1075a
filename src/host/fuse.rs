//! fuse-overlayfs, and programs found where only root writes.

use std::fmt;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::plan::facts::{Fuse, Kind};
use crate::spec::HostPath;

use super::resolve::{Last, Resolver, Seen, Status, look};
use super::subid::output_of;

/// Looked at first, whatever `PATH` says.
const FIXED: [&str; 2] = ["/usr/bin", "/usr/local/bin"];
/// Most directories of `PATH` that are looked at.
const MOST_DIRECTORIES: usize = 64;

/// fuse-overlayfs and what it needs.
pub(super) fn probe(resolver: &mut Resolver) -> Fuse {
    Fuse {
        program: find_program("fuse-overlayfs", resolver).map(|(path, _)| path),
        device: Device::Fuse.can_open(),
    }
}

/// A version of fuse-overlayfs: its numbers, the third is mostly left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)?;
        if self.2 == 0 { Ok(()) } else { write!(f, ".{}", self.2) }
    }
}

/// What the program says of itself; none when it says nothing that can be read, or takes too long.
pub fn version(program: &HostPath) -> Option<Version> {
    let mut command = Command::new(program.as_path());
    command.arg("--version").env_clear();
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    parse_version(&output_of(&mut command)?)
}

/// The numbers in `fuse-overlayfs: version 1.10`, a line among others; a development build has more behind them.
fn parse_version(output: &[u8]) -> Option<Version> {
    let text = std::str::from_utf8(output).ok()?;
    let said = text.lines().find_map(|line| line.strip_prefix("fuse-overlayfs: version "))?;
    let end = said.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(said.len());
    let mut numbers = said.get(..end)?.split('.').map(str::parse);
    let third = |number: Option<Result<u32, _>>| number.and_then(Result::ok).unwrap_or(0);
    Some(Version(numbers.next()?.ok()?, numbers.next()?.ok()?, third(numbers.next())))
}

/// A misc device of the kernel's, whose minor number Documentation/admin-guide/devices.txt fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// `/dev/fuse`.
    Fuse,
    /// `/dev/net/tun`.
    Tun,
}

impl Device {
    /// Where it stands.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Fuse => "/dev/fuse",
            Self::Tun => "/dev/net/tun",
        }
    }

    const fn number(self) -> (u32, u32) {
        match self {
            Self::Fuse => (10, 229),
            Self::Tun => (10, 200),
        }
    }

    /// Whether it is there, is itself (a container may put `/dev/null` in its place), and can be
    /// opened: that has no effect before a mount or an ioctl names the descriptor.
    pub fn can_open(self) -> bool {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let stat = rustix::fs::openat(CWD, self.path(), flags, Mode::empty())
            .and_then(|device| rustix::fs::fstat(&device));
        stat.is_ok_and(|stat| {
            let rdev = stat.st_rdev;
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && (rustix::fs::major(rdev), rustix::fs::minor(rdev)) == self.number()
        })
    }
}

/// A program in a fixed place or in a directory of `PATH` that only root writes, so that no other
/// user (nor an earlier payload) can have put it there. Links resolved.
pub(super) fn find_program(name: &str, resolver: &mut Resolver) -> Option<(HostPath, Status)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fixed = FIXED.map(std::path::PathBuf::from);
    let directories = fixed.into_iter().chain(std::env::split_paths(&path).take(MOST_DIRECTORIES));
    directories
        .filter_map(|directory| HostPath::new(directory).ok())
        .filter_map(|directory| directory.join(name).ok())
        .find_map(|path| trusted_program(&path, resolver))
}

fn trusted_program(path: &HostPath, resolver: &mut Resolver) -> Option<(HostPath, Status)> {
    let found = resolver.resolve(path, Last::Follow);
    let status = found.status.filter(|status| {
        found.kind == Kind::File && status.mode & 0o111 != 0 && is_roots(status)
    })?;
    let above_is_roots = found.real.ancestors().all(|directory| {
        matches!(look(CWD, directory.as_path()), Seen::There(status) if is_roots(&status))
    });
    above_is_roots.then_some((found.real, status))
}

/// Root's, and nobody else writes it. In a user namespace that does not map root, root's files show
/// the number of nobody; elsewhere that is an account like others.
fn is_roots(status: &Status) -> bool {
    const OVERFLOW: u32 = 65_534;
    let writable = status.file_type != FileType::Symlink && status.mode & 0o022 != 0;
    let owner = status.uid == 0 || status.uid == OVERFLOW && !super::userns::maps_everybody();
    owner && !writable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_the_program_prints() {
        let printed = b"fusermount3 version: 3.14.0\nfuse-overlayfs: version 1.10\nFUSE library\n";
        assert_eq!(parse_version(printed), Some(Version(1, 10, 0)));
        assert_eq!(parse_version(b"fuse-overlayfs: version 1.7.1-dev\n"), Some(Version(1, 7, 1)));
        for rubbish in ["", "fuse-overlayfs: version \n", "fuse-overlayfs: version x.1\n", "1.2"] {
            assert_eq!(parse_version(rubbish.as_bytes()), None, "{rubbish}");
        }
        let shown = [Version(1, 10, 0), Version(1, 8, 2)].map(|version| version.to_string());
        assert_eq!(shown, ["1.10", "1.8.2"]);
    }

    #[test]
    fn a_program_of_roots_is_found_and_one_of_anybodys_is_not() {
        let mut resolver = Resolver::default();
        let (path, status) = find_program("env", &mut resolver).unwrap();
        assert_eq!((path.to_string().as_str(), status.uid), ("/usr/bin/env", 0));
        assert_eq!(find_program("no-such-program-at-all", &mut resolver), None);
        assert_eq!(find_program("../bin/env", &mut resolver), None);
        let dir = tempfile::tempdir().unwrap();
        let planted = std::fs::canonicalize(dir.path()).unwrap().join("env");
        std::fs::copy("/usr/bin/env", &planted).unwrap();
        // Below /tmp, which everybody writes.
        assert_eq!(trusted_program(&HostPath::new(planted).unwrap(), &mut resolver), None);
    }
}
