//! Three-way merges of texts, by the user's own git: what git had committed when the sandbox started is what
//! both sides began with.
//!
//! # Theory of operation
//! Nothing is recorded at the start. Which commit a repository was at then, its log of `HEAD` tells
//! (`.git/logs/HEAD`, on the host): the last line that is not later than the start.
//!
//! # Decisions
//! - git runs with an empty environment, no settings of the system or the user, no hooks, no prompt, no
//!   network: `cat-file` and `merge-file` alone.
//! - A merge with a conflict in it is none.
//! - The repository is the host's. One that only the sandbox has says nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

use crate::spec::HostPath;
use crate::state::Timestamp;

/// Longest log of a `HEAD` that is read, from its end, and longest text that is merged.
const LONGEST: u64 = 8 << 20;

/// The program.
#[derive(Debug, Clone)]
pub struct Git(Option<PathBuf>);

impl Git {
    /// Looks in the places where systems have it.
    pub fn find() -> Self {
        let places = ["/usr/bin/git", "/usr/local/bin/git", "/bin/git"];
        Self(places.into_iter().map(PathBuf::from).find(|path| path.is_file()))
    }

    fn command(&self) -> Option<Command> {
        let mut command = Command::new(self.0.as_ref()?);
        command
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("LC_ALL", "C"),
                ("HOME", "/nonexistent"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_NO_LAZY_FETCH", "1"),
                ("GIT_NO_REPLACE_OBJECTS", "1"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("GIT_OPTIONAL_LOCKS", "0"),
                // Where there is no repository to be found.
                ("GIT_CEILING_DIRECTORIES", "/"),
            ])
            .current_dir("/proc")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        Some(command)
    }

    /// The text of a file as git had it committed at `start`; none where it had not.
    pub fn base(&self, path: &HostPath, start: Timestamp) -> Option<Vec<u8>> {
        let repository = path.ancestors().find(|above| {
            above.as_path().join(".git").symlink_metadata().is_ok_and(|git| git.is_dir())
        })?;
        let commit = commit_at(&repository, start)?;
        let mut object = OsString::from(commit);
        object.push(":");
        object.push(path.relative_to(&repository)?);
        let mut directory = OsString::from("--git-dir=");
        directory.push(repository.as_path().join(".git"));
        let output = self
            .command()?
            .arg(directory)
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
            .args(["cat-file", "blob"])
            .arg(object)
            .output()
            .ok()?;
        stdout_of(output)
    }

    /// What both sides make of what they began with; none when they contradict each other, or are no texts.
    pub fn merge(&self, host: &[u8], base: &[u8], sandbox: &[u8]) -> Option<Vec<u8>> {
        let is_text = |bytes: &[u8]| !bytes.contains(&0) && bytes.len() as u64 <= LONGEST;
        if ![host, base, sandbox].into_iter().all(is_text) {
            return None;
        }
        let mut command = self.command()?;
        command.args(["merge-file", "--stdout"]);
        let mut files = Vec::new();
        for text in [host, base, sandbox] {
            // Files that are nowhere: git finds them through this process, which holds them until it is done.
            let file = memfd_create("merge", MemfdFlags::CLOEXEC).ok()?;
            let mut file = File::from(file);
            file.write_all(text).ok()?;
            command.arg(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
            files.push(file);
        }
        stdout_of(command.output().ok()?)
    }
}

fn stdout_of(output: Output) -> Option<Vec<u8>> {
    (output.status.success() && output.stdout.len() as u64 <= LONGEST).then_some(output.stdout)
}

/// The commit that the `HEAD` of a repository was at.
fn commit_at(repository: &HostPath, start: Timestamp) -> Option<String> {
    let mut text = Vec::new();
    let log = open_log(&repository.as_path().join(".git/logs/HEAD"))?;
    log.take(LONGEST).read_to_end(&mut text).ok()?;
    let seconds = start.nanoseconds() / 1_000_000_000;
    let mut entries = text.split(|byte| *byte == b'\n').filter_map(entry);
    entries.rfind(|(_, at)| *at <= seconds).map(|(commit, _)| commit)
}

/// A regular file: who waits for what a project put there in its place (a pipe, a device) waits for ever.
fn open_log(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let log = open(path, flags | OFlags::NOFOLLOW, Mode::empty()).ok()?;
    let log = File::from(log);
    log.metadata().ok()?.is_file().then_some(log)
}

/// `OLD NEW NAME <MAIL> SECONDS ZONE\tWHY`: the new commit and the time.
fn entry(line: &[u8]) -> Option<(String, u64)> {
    let head = line.split(|byte| *byte == b'\t').next()?;
    let text = String::from_utf8_lossy(head);
    let commit = text.split(' ').nth(1)?;
    let is_commit =
        matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| b.is_ascii_hexdigit());
    let mut words = text.rsplit(' ');
    let (_zone, seconds) = (words.next()?, words.next()?);
    is_commit.then(|| seconds.parse().ok().map(|seconds| (commit.to_owned(), seconds)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_merged_where_they_do_not_contradict_each_other() {
        let git = Git::find();
        let base = b"1\n2\n3\n4\n5\n6\n7\n";
        let host = b"one\n2\n3\n4\n5\n6\n7\n";
        let sandbox = b"1\n2\n3\n4\n5\n6\nseven\n";
        if git.0.is_some() {
            let merged = git.merge(host, base, sandbox).unwrap();
            assert_eq!(merged, b"one\n2\n3\n4\n5\n6\nseven\n");
            assert_eq!(git.merge(host, base, b"two\n2\n3\n4\n5\n6\n7\n"), None);
            assert_eq!(git.merge(host, base, b"1\0"), None);
        }
    }

    #[test]
    fn a_log_that_is_a_pipe_is_none_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let repository = HostPath::new(dir.path().to_str().unwrap()).unwrap();
        let log = dir.path().join(".git/logs/HEAD");
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        let start = Timestamp::now();
        let commit = "0123456789012345678901234567890123456789";
        std::fs::write(&log, format!("{commit} {commit} A <a@b> 17 +0\tx\n")).unwrap();
        assert_eq!(commit_at(&repository, start).as_deref(), Some(commit), "the control");
        std::fs::remove_file(&log).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(commit_at(&repository, start), None);
        std::fs::remove_file(&log).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &log).unwrap();
        assert_eq!(commit_at(&repository, start), None);
    }

    #[test]
    fn a_line_of_the_log_of_head_tells_a_commit_and_its_time() {
        let commit = "0123456789012345678901234567890123456789";
        let line = format!("{} {commit} A B <a@b> 1700000000 +0100\tcommit: x\ty", "0".repeat(40));
        assert_eq!(entry(line.as_bytes()), Some((commit.to_owned(), 1_700_000_000)));
        for bad in ["", "a b c", "0 --upload-pack=x A <a> 17 +0\tx"] {
            assert_eq!(entry(bad.as_bytes()), None, "{bad}");
        }
    }
}
