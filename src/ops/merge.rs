//! Three-way merges of texts, by the user's own git: what git had committed when the sandbox started is what
//! both sides began with.
//!
//! # Theory of operation
//! Nothing is recorded at the start. Which commit a repository was at then, its log of `HEAD` tells
//! (`.git/logs/HEAD`, on the host): the last line that is not later than the start.
//!
//! # Decisions
//! - git runs with an empty environment, no settings of the system or the user, no hooks, no prompt, no
//!   network: `cat-file` and `merge-file` alone. The repository's own settings name no program of these two; what it
//!   lacks is fetched from nowhere, whatever it says.
//! - git is given so long: a pipe in the place of a file of the repository's keeps it waiting for ever. Then the apply ends,
//!   before it has begun.
//! - A merge with a conflict in it is none.
//! - The repository is the host's. One that only the sandbox has says nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

use crate::host::output::{Bounds, NoOutput, output};
use crate::spec::HostPath;
use crate::state::Timestamp;

/// Longest log of a `HEAD` that is read, from its end, and longest text that is merged.
const LONGEST: u64 = 8 << 20;

/// How long git may take for one text.
const PATIENCE: Duration = Duration::from_secs(10);

/// git did not end in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot merge `{path}`: git waits for something since {} s", PATIENCE.as_secs())]
pub struct TooLate {
    /// What was to be merged.
    pub path: HostPath,
    /// Of which repository; none where git was given both texts.
    pub repository: Option<HostPath>,
}

/// The program.
#[derive(Debug, Clone)]
pub struct Git {
    program: Option<PathBuf>,
    patience: Duration,
}

impl Git {
    /// Looks in the places where systems have it.
    pub fn find() -> Self {
        let places = ["/usr/bin/git", "/usr/local/bin/git", "/bin/git"];
        let program = places.into_iter().map(PathBuf::from).find(|path| path.is_file());
        Self { program, patience: PATIENCE }
    }

    fn command(&self) -> Option<Command> {
        let mut command = Command::new(self.program.as_ref()?);
        command
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("LC_ALL", "C"),
                ("HOME", "/nonexistent"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_NO_LAZY_FETCH", "1"),
                // For a git that does not know that one: no transport is any of these.
                ("GIT_ALLOW_PROTOCOL", "none"),
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

    /// What a command prints that succeeds; none where it says too much, or cannot be started.
    fn output(&self, command: &mut Command) -> Result<Option<Vec<u8>>, Late> {
        let most = usize::try_from(LONGEST).unwrap_or(usize::MAX);
        match output(command, Bounds { patience: self.patience, most }) {
            Ok((status, bytes)) => Ok(status.success().then_some(bytes)),
            Err(NoOutput::None) => Ok(None),
            Err(NoOutput::Late) => Err(Late),
        }
    }

    /// What both sides of a file make of what git had committed at `start`; none where it had nothing, or they contradict
    /// each other, or are no texts.
    pub fn merge(
        &self,
        path: &HostPath,
        start: Timestamp,
        (host, sandbox): (&[u8], &[u8]),
    ) -> Result<Option<Vec<u8>>, TooLate> {
        let is_repository = |above: &HostPath| {
            above.as_path().join(".git").symlink_metadata().is_ok_and(|git| git.is_dir())
        };
        let Some(repository) = path.ancestors().find(is_repository) else { return Ok(None) };
        let too_late = |repository| move |Late| TooLate { path: path.clone(), repository };
        let Some(base) =
            self.base(&repository, path, start).map_err(too_late(Some(repository.clone())))?
        else {
            return Ok(None);
        };
        self.merge_texts(host, &base, sandbox).map_err(too_late(None))
    }

    /// The text of a file as git had it committed at `start`; none where it had not.
    fn base(
        &self,
        repository: &HostPath,
        path: &HostPath,
        start: Timestamp,
    ) -> Result<Option<Vec<u8>>, Late> {
        let object = || {
            let mut object = OsString::from(commit_at(repository, start)?);
            object.push(":");
            object.push(path.relative_to(repository)?);
            Some((self.command()?, object))
        };
        let Some((mut command, object)) = object() else { return Ok(None) };
        let mut directory = OsString::from("--git-dir=");
        directory.push(repository.as_path().join(".git"));
        command
            .arg("--no-pager")
            .arg(directory)
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
            .args(["cat-file", "blob"])
            .arg(object);
        self.output(&mut command)
    }

    fn merge_texts(
        &self,
        host: &[u8],
        base: &[u8],
        sandbox: &[u8],
    ) -> Result<Option<Vec<u8>>, Late> {
        let is_text = |bytes: &[u8]| !bytes.contains(&0) && bytes.len() as u64 <= LONGEST;
        if ![host, base, sandbox].into_iter().all(is_text) {
            return Ok(None);
        }
        let Some(mut command) = self.command() else { return Ok(None) };
        command.args(["merge-file", "--stdout"]);
        // Files that are nowhere: git finds them through this process, which holds them until it is done.
        let files: std::io::Result<Vec<File>> =
            [host, base, sandbox].into_iter().map(memory_file).collect();
        let Ok(files) = files else { return Ok(None) };
        for file in &files {
            command.arg(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        }
        self.output(&mut command)
    }
}

/// It did not end in time.
#[derive(Debug, PartialEq, Eq)]
struct Late;

fn memory_file(text: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("merge", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    Ok(file)
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
        if git.program.is_some() {
            let merged = git.merge_texts(host, base, sandbox).unwrap().unwrap();
            assert_eq!(merged, b"one\n2\n3\n4\n5\n6\nseven\n");
            assert_eq!(git.merge_texts(host, base, b"two\n2\n3\n4\n5\n6\n7\n"), Ok(None));
            assert_eq!(git.merge_texts(host, base, b"1\0"), Ok(None));
        }
    }

    /// A repository with the file `f` committed; none without git.
    fn repository() -> Option<(tempfile::TempDir, HostPath)> {
        Git::find().program?;
        let dir = tempfile::tempdir().unwrap();
        let at = std::fs::canonicalize(dir.path()).unwrap();
        let script = "git init -q . && seq 7 >f && git add f && git -c user.name=a -c user.email=a@b commit -qm c";
        let made = Command::new("/bin/sh")
            .args(["-c", script])
            .current_dir(&at)
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin:/usr/local/bin"), ("HOME", "/nonexistent")])
            .status();
        assert!(made.unwrap().success());
        Some((dir, HostPath::new(at).unwrap()))
    }

    #[test]
    fn git_is_not_waited_for_where_it_waits_for_a_pipe() {
        let Some((_dir, at)) = repository() else { return };
        let file = at.join("f").unwrap();
        let (ours, theirs) = (b"1\n2\n3\n4\n5\n6\n7\n8\n", b"0\n1\n2\n3\n4\n5\n6\n7\n");
        let git = Git::find();
        let start = Timestamp::now();
        let merged = git.merge(&file, start, (ours, theirs)).unwrap();
        assert_eq!(merged.unwrap(), b"0\n1\n2\n3\n4\n5\n6\n7\n8\n", "the control");
        let git = Git { patience: Duration::from_millis(200), ..git };
        for name in [".git/HEAD", ".git/config"] {
            let path = at.as_path().join(name);
            std::fs::rename(&path, at.as_path().join("kept")).unwrap();
            let mode = Mode::RUSR | Mode::WUSR;
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
            let late = TooLate { path: file.clone(), repository: Some(at.clone()) };
            assert_eq!(git.merge(&file, start, (ours, theirs)), Err(late), "{name}");
            std::fs::rename(at.as_path().join("kept"), &path).unwrap();
        }
    }

    #[test]
    fn what_a_repository_lacks_is_fetched_by_no_program_that_it_names() {
        let Some((_dir, at)) = repository() else { return };
        let file = at.join("f").unwrap();
        let ran = at.as_path().join("ran");
        let sh = |script: &str| {
            let path = [("PATH", "/usr/bin:/bin:/usr/local/bin"), ("HOME", "/nonexistent")];
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).current_dir(at.as_path()).env_clear().envs(path);
            command.stderr(Stdio::null()).status().unwrap();
        };
        std::fs::write(at.as_path().join("run.sh"), "touch \"${0%/*}/ran\"").unwrap();
        sh("git config core.repositoryformatversion 1; git config extensions.partialClone o
            git config remote.o.promisor true; git config protocol.ext.allow always
            git config remote.o.url \"ext::/bin/sh $PWD/run.sh\"
            rm -f .git/objects/$(git rev-parse HEAD:f | sed 's,^..,&/,')");
        sh("git cat-file blob HEAD:f");
        assert!(ran.exists(), "the control: git fetches it");
        std::fs::remove_file(&ran).unwrap();
        let git = Git::find();
        assert_eq!(git.merge(&file, Timestamp::now(), (b"1\n", b"2\n")), Ok(None));
        let mut old = git.command().unwrap();
        old.env_remove("GIT_NO_LAZY_FETCH").current_dir(at.as_path());
        assert_eq!(git.output(old.args(["cat-file", "blob", "HEAD:f"])), Ok(None));
        assert!(!ran.exists());
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
