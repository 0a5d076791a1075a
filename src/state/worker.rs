//! Which command works on a sandbox that ended: the kernel lists who holds which lock (`/proc/locks`).

use std::fs::File;
use std::io::Read as _;

use rustix::fs::{Stat, major, minor};

/// Longest list that is read.
const LONGEST: u64 = 4 << 20;
/// Bytes of a command line in which its verb is looked for.
const ARGUMENTS: u64 = 4096;
/// What takes a sandbox that ended.
const VERBS: [&str; 12] = [
    "apply", "cp", "diff", "discard", "export", "logs", "rename", "restart", "rm", "run", "shell",
    "start",
];

/// A process that holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// Which, in the caller's PID namespace.
    pub pid: u32,
    /// The command of bryo's; none where its arguments do not tell.
    pub verb: Option<&'static str>,
}

impl Worker {
    /// Who holds the lock of a directory. None where the kernel's list does not tell: it has nothing of other
    /// PID namespaces, and btrfs calls its disks otherwise.
    pub(super) fn of(directory: &Stat) -> Option<Self> {
        let list = read("/proc/locks", LONGEST)?;
        let pid = holder(&list, directory)?;
        let arguments = read(&format!("/proc/{pid}/cmdline"), ARGUMENTS).unwrap_or_default();
        Some(Self { pid, verb: verb(&arguments) })
    }
}

fn read(path: &str, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `NUMBER: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END`, the device in hexadecimal (`proc_locks(5)`).
fn holder(list: &[u8], directory: &Stat) -> Option<u32> {
    let (major, minor) = (major(directory.st_dev), minor(directory.st_dev));
    let of = format!("{major:02x}:{minor:02x}:{}", directory.st_ino);
    let list = String::from_utf8_lossy(list);
    list.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_flock = words.next()? == "FLOCK";
        let pid = words.nth(2)?.parse().ok().filter(|pid| *pid > 0)?;
        (is_flock && words.next()? == of).then_some(pid)
    })
}

/// The first argument that is a command; what stands before it are flags.
fn verb(arguments: &[u8]) -> Option<&'static str> {
    let mut words = arguments.split(|byte| *byte == 0).skip(1);
    words.find_map(|word| VERBS.into_iter().find(|verb| verb.as_bytes() == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::open(dir.path()).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        assert_eq!(Worker::of(&stat), None);
        file.lock().unwrap();
        let list = read("/proc/locks", LONGEST).unwrap();
        assert_eq!(holder(&list, &stat), Some(std::process::id()));
        assert_eq!(Worker::of(&stat).map(|worker| worker.verb), Some(None));
    }

    #[test]
    fn a_line_that_says_something_else_is_passed_over() {
        let stat = rustix::fs::stat("/").unwrap();
        let device = format!("{:02x}:{:02x}", major(stat.st_dev), minor(stat.st_dev));
        let at = format!("{device}:{}", stat.st_ino);
        let found = |text: &str| holder(text.as_bytes(), &stat);
        assert_eq!(found(&format!("x\n1: FLOCK  ADVISORY  WRITE 42 {at} 0 EOF\n")), Some(42));
        for other in [
            format!("1: POSIX  ADVISORY  WRITE 42 {at} 0 EOF"),
            format!("1: FLOCK  ADVISORY  WRITE 0 {at} 0 EOF"),
            format!("1: -> FLOCK  ADVISORY  WRITE 42 {at} 0 EOF"),
            format!("1: FLOCK  ADVISORY  WRITE 42 {device}:1{} 0 EOF", stat.st_ino),
            "1: FLOCK  ADVISORY  WRITE 42".to_owned(),
        ] {
            assert_eq!(found(&other), None, "{other}");
        }
    }

    #[test]
    fn a_command_is_known_by_its_first_word() {
        assert_eq!(verb(b"bryo\0-q\0apply\0rm\0"), Some("apply"));
        assert_eq!(verb(b"apply\0x\0"), None);
        assert_eq!(verb(b""), None);
    }
}
