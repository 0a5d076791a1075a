//! What files of the host tell git to execute, in places that no rule knows.
//!
//! # Theory of operation
//! A repository may keep what is executed anywhere: `.git` may be a file that names the directory of a worktree
//! or a submodule, that may name another with the settings and hooks, and settings name hooks
//! (`core.hooksPath`), more settings (`include.path`) and programs (filters, drivers, helpers). So of each
//! repository that is looked at these are followed, links too, and each place on the way is kept. The user's
//! own settings count for every repository.
//!
//! # Decisions
//! - The host's files alone are read. What the payload made of them is marked itself and says nothing here.
//! - Any word of a value that has a slash, or that the repository has a file of, is taken for a path, whatever the
//!   key: rather one mark too many. Only what stands exactly there is marked, so an address or a branch marks
//!   nothing. Conditions of includes are held to be true.
//! - A directory with `HEAD` and `objects` is a repository whatever its name.
//! - Bounded: so many bytes of a file, so many files of a repository. Nothing but regular files is read.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::super::change::FileKind;
use super::links::places;
use super::settings::{Setting, parse};
use crate::spec::HostPath;

/// Bytes of a file of settings that are read.
const LONGEST: u64 = 1 << 20;
/// Files of settings that are read of a repository, with those that they include.
const FILES: usize = 50;
/// What stands between the paths in a value.
const BETWEEN: &[u8] = b"\"'=;|&()<>!$`,:";

/// Places from which git executes something, beside those that rules know.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    home: Option<HostPath>,
    /// The user's settings.
    user: Vec<Setting>,
    /// Directories that were looked at.
    seen: HashSet<HostPath>,
    /// Files, in small letters, as all that follows.
    files: HashSet<Vec<u8>>,
    /// Directories in which everything counts.
    hooks: HashSet<Vec<u8>>,
    /// All directories above those places.
    above: HashSet<Vec<u8>>,
}

impl Repositories {
    /// With the settings of a user.
    pub(super) fn of_user(home: &HostPath) -> Self {
        let mut known = Self { home: Some(home.clone()), ..Self::default() };
        let own = [".gitconfig", ".config/git/config"].map(|name| home.join(name));
        let files: Vec<HostPath> = own.into_iter().flatten().collect();
        known.user = known.read_all(files);
        known
    }

    /// Looks whether a directory of the host is a repository. Whether it has a `.git`.
    pub(super) fn look_at(&mut self, directory: &HostPath) -> bool {
        if !self.seen.insert(directory.clone()) {
            return false;
        }
        let path = directory.as_path();
        let git = path.join(".git");
        let Ok(found) = git.metadata() else {
            let is_bare = path.join("HEAD").symlink_metadata().is_ok()
                && ["objects", "commondir"].iter().any(|name| path.join(name).exists());
            if is_bare {
                self.add(directory, directory);
            }
            return git.symlink_metadata().is_ok();
        };
        if found.is_dir() {
            if let Ok(git) = directory.join(".git") {
                self.add(directory, &git);
            }
        } else if let Some(text) = read(&git)
            && let Some(named) = text.strip_prefix(b"gitdir:")
            && let Some(git) = end(directory, named)
        {
            self.add(directory, &git);
        }
        true
    }

    /// Whether git will execute what stands at a path, or in it where it is a link.
    pub(super) fn name(&self, path: &HostPath, kind: FileKind) -> bool {
        if self.above.is_empty() {
            return false;
        }
        let lower = path.as_bytes().to_ascii_lowercase();
        if self.files.contains(&lower) || kind == FileKind::Link && self.above.contains(&lower) {
            return true;
        }
        let is_sample = lower.ends_with(b".sample");
        let ends = lower.iter().enumerate().filter(|(at, byte)| *at > 0 && **byte == b'/');
        let mut above = ends.map(|(at, _)| &lower[..at]).chain([&lower[..]]);
        !is_sample && above.any(|directory| self.hooks.contains(directory))
    }

    /// A repository whose working tree has this root and whose directory is `git`.
    fn add(&mut self, root: &HostPath, git: &HostPath) {
        let common = join(git, "commondir").and_then(|file| read(file.as_path()));
        let common = common.and_then(|text| end(git, &text)).unwrap_or_else(|| git.clone());
        for name in [
            "commondir",
            "config.worktree",
            "rebase-merge/git-rebase-todo",
            "rebase-apply/git-rebase-todo",
        ] {
            self.keep(git, name.as_bytes(), Place::File);
        }
        for name in ["config", "info/attributes"] {
            self.keep(&common, name.as_bytes(), Place::File);
        }
        for directory in [git, &common] {
            self.keep(directory, b"hooks", Place::Hooks);
        }
        let files = [join(&common, "config"), join(git, "config.worktree")];
        let settings = self.read_all(files.into_iter().flatten().collect());
        let mut roots = vec![root.clone(), git.clone()];
        let worktree = settings.iter().filter(|setting| setting.is(b"core", b"worktree"));
        roots.extend(worktree.filter_map(|setting| end(git, &setting.value)));
        let user = std::mem::take(&mut self.user);
        for setting in settings.iter().chain(&user) {
            for root in &roots {
                self.follow(root, setting);
            }
        }
        self.user = user;
    }

    /// Keeps what a setting names for a working tree.
    fn follow(&mut self, root: &HostPath, setting: &Setting) {
        if setting.is(b"core", b"hookspath") {
            self.keep(root, &setting.value, Place::Hooks);
            return;
        }
        let between = |byte: &u8| byte.is_ascii_whitespace() || BETWEEN.contains(byte);
        for word in setting.value.split(between).filter(|word| !word.is_empty()) {
            let is_file = || root.as_path().join(OsStr::from_bytes(word)).is_file();
            if word.contains(&b'/') || is_file() {
                self.keep(root, word, Place::File);
            }
        }
    }

    /// The settings in files, and in those that these include.
    fn read_all(&mut self, mut files: Vec<HostPath>) -> Vec<Setting> {
        let (mut settings, mut next) = (Vec::new(), 0);
        while let Some(file) = files.get(next).filter(|_| next < FILES).cloned() {
            next += 1;
            let Some(text) = read(file.as_path()) else { continue };
            let Some(directory) = file.parent() else { continue };
            for setting in parse(&text) {
                if matches!(&*setting.section, b"include" | b"includeif") && setting.key == b"path"
                {
                    self.keep(&directory, &setting.value, Place::File);
                    let included = self.places(&directory, &setting.value).pop();
                    files.extend(included.filter(|included| !files.contains(included)));
                } else {
                    settings.push(setting);
                }
            }
        }
        settings
    }

    fn keep(&mut self, directory: &HostPath, text: &[u8], place: Place) {
        for path in self.places(directory, text) {
            for above in path.ancestors() {
                self.above.insert(above.as_bytes().to_ascii_lowercase());
            }
            let path = path.as_bytes().to_ascii_lowercase();
            match place {
                Place::File => self.files.insert(path),
                // Everything lies below `/`: nobody means that.
                Place::Hooks => path.len() > 1 && self.hooks.insert(path),
            };
        }
    }

    /// The places on the way to what a text names from a directory.
    fn places(&self, directory: &HostPath, text: &[u8]) -> Vec<HostPath> {
        if text.is_empty() {
            return Vec::new();
        }
        match (text.strip_prefix(b"~/"), &self.home) {
            (Some(rest), Some(home)) => places(home, Path::new(OsStr::from_bytes(rest))),
            _ => places(directory, Path::new(OsStr::from_bytes(text))),
        }
    }
}

/// What is executed of a place.
#[derive(Clone, Copy)]
enum Place {
    File,
    Hooks,
}

fn join(directory: &HostPath, name: &str) -> Option<HostPath> {
    directory.join(name).ok()
}

/// Where a path in a file of a repository leads, from a directory.
fn end(directory: &HostPath, text: &[u8]) -> Option<HostPath> {
    places(directory, Path::new(OsStr::from_bytes(text.trim_ascii()))).pop()
}

/// The beginning of a regular file.
fn read(path: &Path) -> Option<Vec<u8>> {
    // Not waiting, should somebody have put a pipe there.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
