//! Remembers facts that doing refuted, so that the next run does not assume them again.
//!
//! # Theory of operation
//! A small file in the store, for the circumstances it was learnt in: this boot, this kernel, this
//! mount namespace, the store's own device, and whether a system call filter was already there. In
//! any other circumstances, or when the file is not exactly what bryo writes, nothing is remembered:
//! the worst that follows is one more attempt.
//!
//! # Decisions
//! - The file can only make a plan more careful: a forged one costs speed, never protection. The
//!   planner refuses what a spec requires and a refuted fact forbids.
//! - With `written` this is what `host` writes.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::plan::facts::Refuted;
use crate::spec::{HostPath, Text};

use super::HostError;
use super::bounded;
use super::status::ProcessStatus;

/// Its name in the store.
const NAME: &str = "refuted";
/// Most bytes of it.
const LONGEST: usize = 4096;

/// What the file holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    version: u32,
    circumstances: Circumstances,
    refuted: BTreeSet<Refuted>,
}

/// When a refuted fact is refuted still.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Circumstances {
    boot: String,
    release: Text,
    store_device: u64,
    mount_namespace: u64,
    filtered: bool,
}

/// Version of the format.
const VERSION: u32 = 1;

/// What was refuted before, in the circumstances of this process. Nothing when in doubt.
pub fn recall(store: &HostPath, status: &ProcessStatus) -> BTreeSet<Refuted> {
    let read = || {
        let (dir, device) = open_store(store).ok()?;
        let bytes = read_memory(&dir)?;
        // Only now: most stores have no such file.
        let now = circumstances(device, status).ok()?;
        parse(&bytes).filter(|memory| memory.circumstances == now)
    };
    read().map(|memory| memory.refuted).unwrap_or_default()
}

/// Remembers what is refuted, all of it: what is there is replaced, at once or not at all.
pub fn remember(
    store: &HostPath,
    refuted: &BTreeSet<Refuted>,
    status: &ProcessStatus,
) -> Result<(), HostError> {
    let failed = |source| HostError::Remember { store: store.clone(), source };
    let (dir, device) = open_store(store).map_err(failed)?;
    let memory = Memory {
        version: VERSION,
        circumstances: circumstances(device, status)?,
        refuted: refuted.clone(),
    };
    // Nothing in it can fail to be written as JSON.
    let bytes = serde_json::to_vec(&memory).unwrap_or_default();
    write_memory(&dir, &bytes).map_err(failed)
}

fn open_store(store: &HostPath) -> Result<(OwnedFd, u64), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, store.as_path(), flags, Mode::empty())?;
    let device = rustix::fs::fstat(&dir)?.st_dev;
    Ok((dir, device))
}

fn circumstances(store_device: u64, status: &ProcessStatus) -> Result<Circumstances, HostError> {
    let namespace = rustix::fs::statat(CWD, "/proc/self/ns/mnt", AtFlags::empty())
        .map_err(|source| HostError::Read { path: "/proc/self/ns/mnt".into(), source })?;
    let boot = bounded::read_file("/proc/sys/kernel/random/boot_id", bounded::SMALL)?;
    let name = rustix::system::uname();
    Ok(Circumstances {
        boot: String::from_utf8_lossy(boot.trim_ascii()).into_owned(),
        release: name.release().to_string_lossy().into_owned().into(),
        store_device,
        mount_namespace: namespace.st_ino,
        filtered: status.seccomp_filters.unwrap_or(0) > 0,
    })
}

/// A regular file of the caller's alone.
fn read_memory(dir: impl AsFd) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, NAME, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let private = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO);
    private.then(|| bounded::read_to_end(&file, LONGEST).ok()).flatten()
}

fn parse(bytes: &[u8]) -> Option<Memory> {
    let memory: Memory = serde_json::from_slice(bytes).ok().filter(|_| bytes.len() <= LONGEST)?;
    (memory.version == VERSION).then_some(memory)
}

fn write_memory(dir: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let name = format!(".{NAME}.{}", rustix::process::getpid().as_raw_pid());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o600));
    let file = match open() {
        // Left by a process of that number that was killed here.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&dir, &name, AtFlags::empty())?;
            open()?
        }
        other => other?,
    };
    let written =
        write_all(&file, bytes).and_then(|()| rustix::fs::renameat(&dir, &name, &dir, NAME));
    match written {
        Ok(()) => Ok(()),
        // The first failure is the one to tell.
        Err(errno) => rustix::fs::unlinkat(&dir, &name, AtFlags::empty()).and(Err(errno)),
    }
}

fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn store() -> (tempfile::TempDir, HostPath) {
        let dir = tempfile::tempdir().unwrap();
        let path = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        (dir, path)
    }

    fn some() -> BTreeSet<Refuted> {
        [Refuted::KernelOverlay, Refuted::ProcfsMountable].into()
    }

    #[test]
    fn what_was_refuted_is_known_to_the_next_run_and_replaced_whole() {
        let (_dir, store) = store();
        let status = ProcessStatus::default();
        assert_eq!(recall(&store, &status), BTreeSet::new());
        remember(&store, &some(), &status).unwrap();
        assert_eq!(recall(&store, &status), some());
        let other = [Refuted::SeccompNotify].into();
        remember(&store, &other, &status).unwrap();
        assert_eq!(recall(&store, &status), other);
        let left: Vec<_> = std::fs::read_dir(store.as_path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn other_circumstances_forget() {
        let (_dir, store) = store();
        let free = ProcessStatus::default();
        remember(&store, &some(), &free).unwrap();
        let filtered = ProcessStatus { seccomp_filters: Some(1), ..free };
        assert_eq!(recall(&store, &filtered), BTreeSet::new());
        let file = store.as_path().join(NAME);
        let text = std::fs::read_to_string(&file).unwrap();
        let mut memory: Memory = serde_json::from_str(&text).unwrap();
        memory.circumstances.boot = "another".to_owned();
        std::fs::write(&file, serde_json::to_vec(&memory).unwrap()).unwrap();
        assert_eq!(recall(&store, &free), BTreeSet::new());
    }

    #[test]
    fn a_file_that_others_could_write_or_that_is_no_file_is_forgotten() {
        let (_dir, store) = store();
        let status = ProcessStatus::default();
        remember(&store, &some(), &status).unwrap();
        let file = store.as_path().join(NAME);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(recall(&store, &status), BTreeSet::new());
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(recall(&store, &status), some());
        std::fs::rename(&file, store.as_path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", &file).unwrap();
        assert_eq!(recall(&store, &status), BTreeSet::new());
        std::fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(recall(&store, &status), BTreeSet::new());
    }

    #[test]
    fn what_a_killed_process_left_does_not_stop_the_next() {
        let (_dir, store) = store();
        let name = format!(".{NAME}.{}", std::process::id());
        std::fs::write(store.as_path().join(name), "half").unwrap();
        remember(&store, &some(), &ProcessStatus::default()).unwrap();
        assert_eq!(recall(&store, &ProcessStatus::default()), some());
    }

    #[test]
    fn a_file_that_is_nearly_right_is_forgotten() {
        let (_dir, store) = store();
        remember(&store, &some(), &ProcessStatus::default()).unwrap();
        let text = std::fs::read_to_string(store.as_path().join(NAME)).unwrap();
        assert!(parse(text.as_bytes()).is_some());
        for bad in [
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("kernel-overlay", "kernel"),
            text.replace("\"boot\"", "\"boots\""),
            text.replace("\"version\":1", "\"version\":1,\"more\":1"),
            text[..text.len() - 1].to_owned(),
            format!("{text}{}", " ".repeat(LONGEST)),
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            parse(&bytes);
        }
    }
}
