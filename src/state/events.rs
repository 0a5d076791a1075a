//! What happened to sandboxes: who was started, stopped, ended, removed, and when.
//!
//! # Theory of operation
//! `STORE/events`, one JSON object per line, written with one append each, or several with one. A file that has grown beyond
//! [`MOST`] bytes becomes `events.old`, in the place of the one before; so the newest of them are always there, and
//! they never take more than twice that.
//!
//! Launchers and commands about sandboxes write here: what a launcher does itself (the start, a signal that it was
//! asked to send, the end) it writes down in the order in which it does it, and of one that was killed whoever finds
//! that. A run that has no directory in the store is not told of: nothing can be asked of it either.
//!
//! # Decisions
//! - It is for people and programs that watch, and nothing is decided by it: what cannot be written is not. `bryo wait` looks
//!   here for the end of a run of which nothing else is left.
//! - The reader takes a line for what it is worth: one that means nothing is passed over.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat, renameat, statat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::StateError;
use super::found::Found;
use super::id::SandboxId;
use super::store::Store;
use super::timestamp::Timestamp;
use crate::spec::HostPath;

/// Bytes after which a file is full.
const MOST: i64 = 1 << 20;
/// The most that is read of one: it may have grown a little further.
const LONGEST: usize = 4 << 20;
const CURRENT: &str = "events";
const BEFORE: &str = "events.old";

/// What happened, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It was made.
    Create,
    /// Its payload was executed.
    Start,
    /// Its payload ended, however that came.
    Die,
    /// One more program was asked for in it: `bryo exec`.
    #[serde(rename = "exec_create")]
    ExecCreate,
    /// That was executed.
    #[serde(rename = "exec_start")]
    ExecStart,
    /// That ended.
    #[serde(rename = "exec_die")]
    ExecDie,
    /// It is well, or is not any more.
    #[serde(rename = "health_status")]
    HealthStatus,
    /// The kernel killed one of its processes for want of memory.
    Oom,
    /// Its supervisor is about to start it again, or somebody has.
    Restart,
    /// Somebody sees what it writes, and types.
    Attach,
    /// He left, and it goes on.
    Detach,
    /// It was sent a signal.
    Kill,
    /// It was asked to end, and has.
    Stop,
    /// A flow of it was the first to a place, and was let out.
    Connect,
    /// A flow of it was the first to a place, and was not.
    Refuse,
    /// It is on one more network.
    #[serde(rename = "network_connect")]
    NetworkConnect,
    /// It was taken from a network.
    #[serde(rename = "network_disconnect")]
    NetworkDisconnect,
    /// None of its processes runs.
    Pause,
    /// They do again.
    Unpause,
    /// It has another name.
    Rename,
    /// It was removed.
    Destroy,
}

impl What {
    /// All of them, with their words.
    pub const ALL: &[(&str, Self)] = &[
        ("create", Self::Create),
        ("start", Self::Start),
        ("die", Self::Die),
        ("exec_create", Self::ExecCreate),
        ("exec_start", Self::ExecStart),
        ("exec_die", Self::ExecDie),
        ("health_status", Self::HealthStatus),
        ("oom", Self::Oom),
        ("restart", Self::Restart),
        ("attach", Self::Attach),
        ("detach", Self::Detach),
        ("kill", Self::Kill),
        ("stop", Self::Stop),
        ("connect", Self::Connect),
        ("refuse", Self::Refuse),
        ("network_connect", Self::NetworkConnect),
        ("network_disconnect", Self::NetworkDisconnect),
        ("pause", Self::Pause),
        ("unpause", Self::Unpause),
        ("rename", Self::Rename),
        ("destroy", Self::Destroy),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, what)| *what == self).map_or("", |(word, _)| word)
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What.
    pub event: What,
    /// To which sandbox.
    pub id: SandboxId,
    /// Its name then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What else is to be known: `exit`, `signal`, `address`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl Found {
    /// As [`Found::tell`], with the name that it has now.
    pub fn tell_as_called(&self, what: What, details: &[(&str, String)]) {
        self.tell_of(&[self.event_as_called(what, details)]);
    }

    /// As [`Found::event`], with the name that it has now.
    pub fn event_as_called(&self, what: What, details: &[(&str, String)]) -> Event {
        self.event(what, self.name_now().as_deref(), details)
    }

    /// The exit status of its last end, as far back as is written down.
    pub fn told_exit(&self) -> Option<u8> {
        let mut events = self.store().events();
        let mut exit = None;
        while let Ok(Some(event)) = events.next_event() {
            if event.id == self.id() && event.event == What::Die {
                exit = event.details.get("exit").and_then(|code| code.parse().ok());
            }
        }
        exit
    }

    /// Writes down several things that happened to it, now and in this order.
    pub fn tell_each(&self, name: Option<&str>, all: &[What]) {
        let events: Vec<Event> = all.iter().map(|what| self.event(*what, name, &[])).collect();
        self.tell_of(&events);
    }

    /// Writes down what happened to it. What cannot be written is not.
    pub fn tell(&self, what: What, name: Option<&str>, details: &[(&str, String)]) {
        self.tell_of(&[self.event(what, name, details)]);
    }

    /// What happened to it, now, for [`Self::tell_of`].
    pub fn event(&self, what: What, name: Option<&str>, details: &[(&str, String)]) -> Event {
        let details = details.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        Event {
            time: Timestamp::now(),
            event: what,
            id: self.id(),
            name: name.map(str::to_owned),
            details: details.collect(),
        }
    }

    /// Writes down what happened to it, all of it at once.
    pub fn tell_of(&self, events: &[Event]) {
        append(self.store(), events).unwrap_or_default();
    }
}

fn append(store: &Store, events: &[Event]) -> Result<(), Errno> {
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event).map_err(|_| Errno::INVAL)?;
        lines.push(b'\n');
    }
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A FIFO in its place is waited for by nobody.
    let flags = flags | OFlags::NONBLOCK;
    let root = &store.0.root;
    let open = || openat(root, CURRENT, flags, Mode::RUSR | Mode::WUSR);
    let mut file = open()?;
    if fstat(&file)?.st_size > MOST {
        turn(store, &file)?;
        file = open()?;
    }
    rustix::io::write(&file, &lines).map(drop)
}

/// Makes room, unless somebody else has just done so.
fn turn(store: &Store, full: &OwnedFd) -> Result<(), Errno> {
    flock(full, FlockOperation::LockExclusive)?;
    let root = &store.0.root;
    let there = statat(root, CURRENT, AtFlags::SYMLINK_NOFOLLOW)?;
    if there.st_ino == fstat(full)?.st_ino { renameat(root, CURRENT, root, BEFORE) } else { Ok(()) }
}

/// Goes through what happened, in the order in which it was written down.
#[derive(Debug)]
pub struct Events {
    store: Store,
    /// The file that was read last, by its inode, and how much of it.
    at: Option<(u64, usize)>,
    ready: VecDeque<Event>,
    changes: Option<OwnedFd>,
}

impl Store {
    /// What happened to the sandboxes of this store.
    pub fn events(&self) -> Events {
        Events { store: self.clone(), at: None, ready: VecDeque::new(), changes: None }
    }
}

impl Events {
    /// Which store's.
    pub fn store(&self) -> &HostPath {
        self.store.path()
    }

    /// Watches for more, from now on; the descriptor is readable when there may be some. None where programs of this
    /// user, which may be payloads, watch as much as the kernel allows: then it takes a look now and then.
    pub fn watch(&mut self) -> Result<Option<&OwnedFd>, StateError> {
        if self.changes.is_none() {
            match self.watcher() {
                Ok(watcher) => self.changes = Some(watcher),
                Err(Errno::MFILE | Errno::NOSPC) => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
        Ok(self.changes.as_ref())
    }

    fn watcher(&self) -> Result<OwnedFd, Errno> {
        let root = std::os::fd::AsRawFd::as_raw_fd(&self.store.0.root);
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::MODIFY | WatchFlags::CREATE;
        add_watch(&inotify, format!("/proc/self/fd/{root}"), flags)?;
        Ok(inotify)
    }

    /// The next one; none when there is none yet.
    pub fn next_event(&mut self) -> Result<Option<Event>, StateError> {
        if self.ready.is_empty() {
            self.read().map_err(|source| self.failed(source))?;
        }
        Ok(self.ready.pop_front())
    }

    fn failed(&self, source: Errno) -> StateError {
        StateError::List { store: self.store.path().clone(), source }
    }

    /// What was written since, of both files.
    fn read(&mut self) -> Result<(), Errno> {
        if let Some(changes) = &self.changes {
            let mut told = [0; 4096];
            while matches!(rustix::io::read(changes, &mut told), Ok(1..)) {}
        }
        let mut found = Vec::new();
        for name in [BEFORE, CURRENT] {
            if let Some((inode, text)) = read_file(&self.store, name)? {
                found.push((inode, text));
            }
        }
        // What was read is the older one, or the newer one, or was replaced twice since.
        let known =
            self.at.and_then(|(inode, _)| found.iter().position(|(other, _)| *other == inode));
        for (inode, text) in found.into_iter().skip(known.unwrap_or(0)) {
            let from = self.at.filter(|(other, _)| *other == inode).map_or(0, |(_, read)| read);
            let rest = text.get(from..).unwrap_or_default();
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines = rest.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
            self.ready.extend(lines.filter_map(|line| serde_json::from_slice(line).ok()));
            self.at = Some((inode, from + whole));
        }
        Ok(())
    }
}

fn read_file(store: &Store, name: &str) -> Result<Option<(u64, Vec<u8>)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(&store.0.root, name, flags, Mode::empty()) {
        Ok(file) => file,
        // A link or a socket in its place, or a file of somebody else's: nothing that was written here.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ACCESS) => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let size = usize::try_from(stat.st_size).unwrap_or(0).min(LONGEST);
    let mut text = vec![0; size];
    let mut filled = 0;
    while let Some(room @ [_, ..]) = text.get_mut(filled..) {
        match rustix::io::read(&file, room)? {
            0 => break,
            length => filled += length,
        }
    }
    text.truncate(filled);
    Ok(Some((stat.st_ino, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: &mut Events) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(event) = events.next_event().unwrap() {
            found.push(event.details.get("n").cloned().unwrap_or_default());
        }
        found
    }

    #[test]
    fn the_newest_are_there_and_a_watcher_misses_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&HostPath::new(folder.path().join("s")).unwrap()).unwrap();
        let found = Found::new(&store, SandboxId::random().unwrap());
        let mut watcher = store.events();
        watcher.watch().unwrap();
        let mut seen = Vec::new();
        let long = "x".repeat(2000);
        for n in 0..1500 {
            found.tell(What::Start, Some(&long), &[("n", n.to_string())]);
            if n % 100 == 0 {
                seen.extend(all(&mut watcher));
            }
        }
        seen.extend(all(&mut watcher));
        let numbers: Vec<String> = (0..1500).map(|n| n.to_string()).collect();
        assert_eq!(seen, numbers);
        let now = all(&mut store.events());
        assert!(now.len() > 500 && now.len() < 1100, "{}", now.len());
        assert_eq!(now, numbers[1500 - now.len()..]);
        std::fs::write(folder.path().join("s/events"), "{\nnonsense\n").unwrap();
        all(&mut store.events());
    }
}
