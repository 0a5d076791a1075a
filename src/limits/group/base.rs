//! The group in which the run's own is made: locked, vacated, swept, and put back.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, mkdirat, rmdir, unlinkat};

use super::files::{open, open_directory, read, write};
use super::{LEAF, PREFIX};
use crate::plan::facts::Controller;
use crate::spec::HostPath;
use crate::sys::errno::{Errno, Failure, Result};

/// How long another run may hold the base, or a group may be busy with processes that have ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Base {
    pub(super) path: HostPath,
    pub(super) directory: OwnedFd,
    /// Where the manager listens whose scope it is; none of a delegated group, which stays when the run ends,
    /// and which others may use.
    pub(super) manager: Option<HostPath>,
    pub(super) locked: bool,
}

impl Base {
    pub(super) fn lock(path: &HostPath, patience: Duration) -> Result<Self> {
        let directory = open_directory(path)?;
        let mut base = Self { path: path.clone(), directory, manager: None, locked: false };
        base.lock_again(patience)?;
        base.sweep()?;
        Ok(base)
    }

    pub(super) fn lock_again(&mut self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        while !self.locked {
            match flock(&self.directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => self.locked = true,
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The sandbox holds a copy of the descriptor for a while: the lock is let go of by name.
    pub(super) fn unlock(&mut self) -> Result<()> {
        if std::mem::take(&mut self.locked) {
            flock(&self.directory, FlockOperation::Unlock)?;
        }
        Ok(())
    }

    /// Removes what killed runs left: a group with processes in it stays.
    fn sweep(&self) -> Result<()> {
        for name in self.groups()?.iter().filter(|name| *name != LEAF) {
            // One with processes stays.
            remove(&self.directory, name).unwrap_or_default();
        }
        Ok(())
    }

    /// Our groups in it.
    fn groups(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(PREFIX) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Moves what sits in it into the leaf; what is forked meanwhile too.
    pub(super) fn vacate(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let processes = read(&self.directory, "cgroup.procs")?;
            if processes.trim().is_empty() {
                return Ok(());
            }
            match mkdirat(&self.directory, LEAF, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let leaf = open(&self.directory, LEAF, OFlags::DIRECTORY | OFlags::PATH)?;
            move_all(&processes, &leaf)?;
            if Instant::now() > until {
                return Err(Errno::EBUSY);
            }
        }
    }

    pub(super) fn enable(&self, controllers: &[Controller]) -> std::result::Result<(), Failure> {
        let file = "cgroup.subtree_control";
        let on = read(&self.directory, file)?;
        let is_on = |one: &Controller| on.split_ascii_whitespace().any(|name| name == one.name());
        for controller in controllers.iter().filter(|one| !is_on(one)) {
            write(&self.directory, file, &format!("+{controller}")).map_err(|errno| Failure {
                errno,
                said: format!("`{controller}`, in `{}`", self.path),
            })?;
        }
        Ok(())
    }

    /// Removes a scope of ours. systemd does so too, at this very moment, and gives up where it finds groups gone that
    /// it saw a moment ago.
    pub(super) fn remove_scope(&self) {
        let name = self.path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        if name.starts_with(PREFIX.as_bytes()) && name.ends_with(b".scope") {
            // One with something in it stays, and most are gone.
            rmdir(self.path.as_path()).unwrap_or_default();
        }
    }

    /// Gives the base its processes back, once nothing of ours is in it.
    pub(super) fn restore(&self) -> Result<()> {
        let groups = self.groups()?;
        if groups != [LEAF] {
            return Ok(());
        }
        let file = "cgroup.subtree_control";
        for name in read(&self.directory, file)?.split_ascii_whitespace() {
            write(&self.directory, file, &format!("-{name}"))?;
        }
        let until = Instant::now() + PATIENCE;
        let leaf = open(&self.directory, LEAF, OFlags::DIRECTORY | OFlags::PATH)?;
        loop {
            move_all(&read(&leaf, "cgroup.procs")?, &self.directory)?;
            match remove(&self.directory, LEAF) {
                Err(Errno::EBUSY) if Instant::now() < until => {}
                other => return other,
            }
        }
    }
}

/// Moves processes that were read from a `cgroup.procs` into another group.
fn move_all(processes: &str, to: &OwnedFd) -> Result<()> {
    for pid in processes.lines() {
        match write(to, "cgroup.procs", pid) {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Removes a group with the groups in it, which a payload may have made as deep as its bound lets it; `EBUSY` while
/// a process is in one. It holds two descriptors, however deep they are.
fn remove(parent: impl AsFd, name: &str) -> Result<()> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let Some(mut here) = enter(parent.as_fd(), &name)? else { return Ok(()) };
    // The way down: what each is called, and the group that it is in.
    let mut way: Vec<(CString, Identity)> = Vec::new();
    for _ in 0..TURNS {
        if let Some(below) = first_below(&here)? {
            // systemd was faster, where it is gone.
            if let Some(deeper) = enter(here.as_fd(), &below)? {
                way.push((below, identity(&here)?));
                here = deeper;
            }
            continue;
        }
        let Some((below, above)) = way.pop() else { return remove_empty(parent.as_fd(), &name) };
        let up = open(&here, "..", GROUP)?;
        if identity(&up)? != above {
            return Err(Errno::ESTALE);
        }
        remove_empty(up.as_fd(), &below)?;
        here = up;
    }
    Err(Errno::EBUSY)
}

/// Opens a group to remove what is in it, whatever mode its maker has given it; none where it is gone. `EACCES` or
/// `EPERM` where it is another's.
fn enter(above: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>> {
    let opened = match open(above, name, GROUP) {
        // No group is a link, which this would follow.
        Err(Errno::EACCES) => rustix::fs::chmodat(above, name, Mode::RWXU, AtFlags::empty())
            .map_err(Errno::from)
            .and_then(|()| open(above, name, GROUP)),
        other => other,
    };
    match opened {
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
        Ok(group) => {
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&group)?.st_mode);
            if !mode.contains(Mode::RWXU) {
                rustix::fs::fchmod(&group, Mode::RWXU)?;
            }
            Ok(Some(group))
        }
    }
}

/// Steps of a removal, far more than the groups that a payload may have: whoever makes others meanwhile is not
/// followed for ever.
const TURNS: usize = 100_000;

const GROUP: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);

/// Device and inode.
type Identity = (u64, u64);

fn identity(group: &OwnedFd) -> Result<Identity> {
    let stat = rustix::fs::fstat(group)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A group in this one, by the bytes that its maker chose.
fn first_below(group: &OwnedFd) -> Result<Option<CString>> {
    for entry in rustix::fs::Dir::read_from(group)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == rustix::fs::FileType::Directory && name != c"." && name != c".." {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

fn remove_empty(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // systemd was faster.
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The kernel may still be busy with processes that have ended.
pub(super) fn remove_when_empty(parent: &OwnedFd, name: &str, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    loop {
        match remove(parent, name) {
            Err(Errno::EBUSY) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(2));
            }
            // The base itself is gone, with all that was in it.
            Err(Errno::ENODEV) => return Ok(()),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::remove_left;
    use super::*;
    use crate::sys::resource::{Limit, Resource, set_limit};

    #[test]
    fn a_group_is_removed_whatever_it_is_called() {
        let base = tempfile::tempdir().unwrap();
        for name in [&b"a\xff"[..], b"a\xef\xbf\xbd", b"...", b"\n"] {
            let name = std::path::Path::new("bryo-a").join(OsStr::from_bytes(name));
            std::fs::create_dir_all(base.path().join(name)).unwrap();
        }
        let held = open_directory(&HostPath::new(base.path()).unwrap()).unwrap();
        assert_eq!(remove(&held, "bryo-a"), Ok(()));
        assert!(!base.path().join("bryo-a").exists());
    }

    #[test]
    fn groups_hundreds_deep_are_removed_with_few_descriptors() {
        let name = "groups_hundreds_deep_are_removed_with_few_descriptors";
        crate::sys::testing::alone(module_path!(), name, remove_hundreds);
    }

    fn remove_hundreds() {
        const DEEP: usize = 700;
        let few = Limit { soft: Some(20), hard: Some(20) };
        set_limit(None, "nofile".parse::<Resource>().unwrap(), few).unwrap();
        let base = tempfile::tempdir().unwrap();
        let top = HostPath::new(base.path()).unwrap();
        let mut at = open_directory(&top).unwrap();
        for level in 0..DEEP {
            let name = if level == 0 { "bryo-a" } else { "below" };
            for name in [name, "beside"].iter().take(1 + usize::from(level % 100 == 99)) {
                mkdirat(&at, *name, Mode::from_raw_mode(0o755)).unwrap();
            }
            at = open(&at, name, GROUP).unwrap();
        }
        // Whoever is in the way is not followed out.
        std::fs::create_dir_all(base.path().join("other/kept")).unwrap();
        std::os::unix::fs::symlink("../other", base.path().join("bryo-a/out")).unwrap();
        let held = open_directory(&top).unwrap();
        assert_eq!(remove(&held, "bryo-a"), Err(Errno::ENOTEMPTY));
        std::fs::remove_file(base.path().join("bryo-a/out")).unwrap();
        assert_eq!(remove(&held, "bryo-a"), Ok(()));
        assert_eq!(remove(&held, "bryo-a"), Ok(()));
        assert!(!base.path().join("bryo-a").exists() && base.path().join("other/kept").exists());
    }

    #[test]
    fn a_scope_of_ours_goes_with_its_group_and_no_other() {
        let slice = tempfile::tempdir().unwrap();
        for (scope, stays) in [("bryo-a.scope", false), ("run-b.scope", true), ("bryo-c", true)] {
            let path = HostPath::new(slice.path().join(scope)).unwrap();
            let group = path.join("bryo-x").unwrap();
            std::fs::create_dir_all(group.as_path().join("sandbox/payload")).unwrap();
            assert_eq!(remove_left(&group, Duration::ZERO), Ok(()));
            assert_eq!(path.as_path().exists(), stays, "{scope}");
        }
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let path = |name: &str| HostPath::new(base.path().join(name)).unwrap();
        for name in
            ["bryo-a/sandbox/more", "bryo-a/sandbox/.hidden", "bryo-b", "other", "bryo-busy"]
        {
            std::fs::create_dir_all(path(name).as_path()).unwrap();
        }
        // Only a group has files that do not keep it from being removed.
        std::fs::write(path("bryo-busy/file").as_path(), "").unwrap();
        let short = Duration::from_millis(20);
        assert_eq!(remove_left(&path("other"), short), Ok(()));
        assert_eq!(remove_left(&path("gone/bryo-x"), short), Ok(()));
        assert!(path("bryo-a").as_path().exists());
        let held = Base {
            path: path(""),
            directory: open_directory(&path("")).unwrap(),
            manager: None,
            locked: false,
        };
        flock(&held.directory, FlockOperation::LockExclusive).unwrap();
        assert_eq!(remove_left(&path("bryo-a"), short), Err(Errno::EAGAIN));
        drop(held);
        std::fs::remove_file(path("bryo-busy/file").as_path()).unwrap();
        assert_eq!(remove_left(&path("bryo-a"), short), Ok(()));
        let left: Vec<_> =
            std::fs::read_dir(base.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["other"]);
    }
}
