//! The processes inside of sandboxes, as the host's `/proc` tells of them.
//!
//! # Theory of operation
//! Everything in a sandbox descends from its launcher, and lies in a deeper pid namespace than that: both the kernel
//! says (`PPid` and `NSpid` of `/proc/PID/status`, which everybody may read), and no process can say it of itself.
//! An orphan gets the init of its own pid namespace as its parent, so nothing inside leaves its sandbox by forking;
//! the launcher's other processes (netstack, servers of overlays, those that enter) lie in its own pid namespace.
//! One pass over `/proc` does for any number of sandboxes, and asks no process of theirs for anything.
//!
//! The pass takes time, in which processes come and go: what is told is what was seen, no more. Of a process that
//! was seen, files are read through its own directory, once it is known to be the same one; what it has become the
//! number of is not read.
//!
//! # Decisions
//! - What the kernel adds up for processes that ended and were waited for counts as their parent's (`cutime`).
//!   Of children that nobody waits for, as where `SIGCHLD` is ignored, nothing stays.
//! - No file is read here for which the kernel waits for the process: a payload could keep it waiting. Command
//!   lines are such ([`Process::command_line`] says so).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::Pid;

use super::HostError;
use super::bounded::{SMALL, read_file, read_to_end};
use crate::sys::namespace::open_proc_dir;

/// Bytes of a command line that are read.
const COMMAND_LINE: usize = 16 << 10;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number here.
    pub pid: i32,
    parent: i32,
    /// Its numbers in the pid namespaces that it is in: here first, its own last.
    pub numbers: Vec<i32>,
    /// Its effective user id, here.
    pub uid: u32,
    /// Bytes of anonymous memory that are in its tables. What it shares with others after a fork counts for each.
    pub memory: u64,
    /// Its threads.
    pub threads: u64,
}

/// What a process has used of the processors, in clock ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticks {
    /// Itself.
    pub own: u64,
    /// Its children that ended and were waited for, with theirs.
    pub children: u64,
}

/// Bytes in and out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InOut {
    /// Read, or received.
    pub read: u64,
    /// Written, or sent.
    pub written: u64,
}

/// Whether a process is there and stopped, as by Ctrl-Z.
pub fn is_stopped(pid: i32) -> bool {
    let Ok(status) = read_file(&format!("/proc/{pid}/status"), SMALL) else { return false };
    let mut lines = status.split(|byte| *byte == b'\n');
    lines.any(|line| line.starts_with(b"State:\tT") || line.starts_with(b"State:\tt"))
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Processes(BTreeMap<i32, Process>);

impl Processes {
    /// Looks at everything that can be seen. What ends meanwhile is passed over.
    pub fn look() -> Result<Self, HostError> {
        let failed = |source: std::io::Error| HostError::Read {
            path: "/proc".into(),
            source: rustix::io::Errno::from_io_error(&source).unwrap_or(rustix::io::Errno::IO),
        };
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = read_file(&format!("/proc/{pid}/status"), SMALL).ok();
            all.extend(read.and_then(|text| parse(pid, &text)).map(|process| (pid, process)));
        }
        let mut all = Self(all);
        all.look_again();
        Ok(all)
    }

    /// At those whose parent ended between the look at it and at them: they have another one by now.
    fn look_again(&mut self) {
        let is_orphan = |one: &&Process| one.parent > 0 && !self.0.contains_key(&one.parent);
        let orphans: Vec<i32> = self.0.values().filter(is_orphan).map(|one| one.pid).collect();
        for pid in orphans {
            self.0.remove(&pid);
            let read = read_file(&format!("/proc/{pid}/status"), SMALL).ok();
            self.0.extend(read.and_then(|text| parse(pid, &text)).map(|one| (pid, one)));
        }
    }

    /// Those in the sandboxes of these launchers, by launcher, in the order of their numbers.
    pub fn inside(&self, launchers: &[i32]) -> BTreeMap<i32, Vec<&Process>> {
        let mut launcher_of: BTreeMap<i32, Option<i32>> =
            launchers.iter().map(|pid| (*pid, Some(*pid))).collect();
        for start in self.0.keys() {
            let (mut way, mut at) = (Vec::new(), *start);
            let found = loop {
                if let Some(known) = launcher_of.get(&at) {
                    break *known;
                }
                way.push(at);
                // Numbers come again, so a chain could be a circle.
                launcher_of.insert(at, None);
                match self.0.get(&at) {
                    Some(process) => at = process.parent,
                    None => break None,
                }
            };
            launcher_of.extend(way.into_iter().map(|pid| (pid, found)));
        }
        let mut inside: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
        for process in self.0.values() {
            let Some(launcher) = launcher_of.get(&process.pid).copied().flatten() else { continue };
            let depth = self.0.get(&launcher).map_or(usize::MAX, |one| one.numbers.len());
            if process.numbers.len() > depth {
                inside.entry(launcher).or_default().push(process);
            }
        }
        inside
    }

    /// In how many pid namespaces a process is, seen from here; one that was not seen is in ours alone.
    pub fn depth(&self, pid: i32) -> usize {
        self.0.get(&pid).map_or(1, |process| process.numbers.len())
    }

    /// The init of a sandbox: no process but ours can be the launcher's child in a pid namespace of its own.
    pub fn is_init(launcher: i32, process: &Process) -> bool {
        process.parent == launcher && process.numbers.last() == Some(&1)
    }
}

impl Process {
    /// Its directory, as long as its number is its own.
    fn directory(&self) -> Option<OwnedFd> {
        let directory = open_proc_dir(Pid::from_raw(self.pid)?).ok()?;
        let now = parse(self.pid, &read(&directory, "status", SMALL)?)?;
        (now.numbers == self.numbers).then_some(directory)
    }

    /// What it has used of the processors.
    pub fn ticks(&self) -> Option<Ticks> {
        parse_stat(&read(&self.directory()?, "stat", SMALL)?)
    }

    /// What it and those it waited for have had from disks; none where that may not be read.
    pub fn disk(&self) -> Option<InOut> {
        let text = String::from_utf8(read(&self.directory()?, "io", SMALL)?).ok()?;
        let value =
            |key| text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse::<u64>().ok();
        Some(InOut { read: value("read_bytes:")?, written: value("write_bytes:")? })
    }

    /// What the interfaces of its network namespace have carried, but for loopback; none where there are none.
    pub fn traffic(&self) -> Option<InOut> {
        parse_dev(&read(&self.directory()?, "net/dev", SMALL)?)
    }

    /// Program and arguments, as it has them in its memory now, which it may have written there itself.
    ///
    /// The kernel reads them as the process would: one that keeps its own memory from being read keeps the caller
    /// waiting. So whoever calls this must not be waited for.
    pub fn command_line(&self) -> Option<Vec<u8>> {
        read(&self.directory()?, "cmdline", COMMAND_LINE)
    }
}

fn read(directory: &OwnedFd, name: &str, most: usize) -> Option<Vec<u8>> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = read_to_end(&file, most).ok()?;
    bytes.truncate(most);
    Some(bytes)
}

/// The account with this id, by the file alone; none where it does not name it.
pub fn user_name(uid: u32) -> Result<Option<String>, HostError> {
    let passwd = super::passwd::read_passwd()?;
    let user = super::passwd::parse_users(&passwd).find(|user| user.uid == uid);
    Ok(user.map(|user| String::from_utf8_lossy(user.name).into_owned()))
}

fn parse(pid: i32, status: &[u8]) -> Option<Process> {
    let line = |key: &[u8]| status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(key));
    let words = |key: &[u8]| std::str::from_utf8(line(key)?).ok().map(str::split_ascii_whitespace);
    let kilobytes = |key: &[u8]| {
        // A process that has ended has no memory.
        words(key).and_then(|mut words| words.next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let numbers = words(b"NSpid:")?.map(|word| word.parse().ok()).collect::<Option<Vec<i32>>>()?;
    Some(Process {
        pid,
        parent: words(b"PPid:")?.next()?.parse().ok()?,
        numbers,
        uid: words(b"Uid:")?.nth(1)?.parse().ok()?,
        memory: (kilobytes(b"RssAnon:") + kilobytes(b"RssShmem:")).saturating_mul(1024),
        threads: words(b"Threads:")?.next()?.parse().ok()?,
    })
}

/// Fields 14 to 17. The second field is the program's name, which may hold spaces and parentheses.
fn parse_stat(stat: &[u8]) -> Option<Ticks> {
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(behind + 1..)?).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let mut next = || fields.next().flatten();
    Some(Ticks { own: next()? + next()?, children: next()? + next()? })
}

fn parse_dev(text: &[u8]) -> Option<InOut> {
    let text = std::str::from_utf8(text).ok()?;
    let mut all: Option<InOut> = None;
    for line in text.lines().skip(2) {
        let (name, numbers) = line.split_once(':')?;
        if name.trim() == "lo" {
            continue;
        }
        let mut numbers = numbers.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
        let (read, written) = (numbers.next()??, numbers.nth(7)??);
        let sum = all.get_or_insert_default();
        sum.read = sum.read.saturating_add(read);
        sum.written = sum.written.saturating_add(written);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(parent: i32, numbers: &str) -> String {
        format!(
            "Name:\tUid:\nPPid:\t{parent}\nUid:\t5\t7\t5\t5\nNSpid:\t{numbers}\nRssAnon:\t 12 kB\n\
             RssFile:\t9 kB\nRssShmem:\t4 kB\nThreads:\t3\n"
        )
    }

    fn all(of: &[(i32, i32, &str)]) -> Processes {
        let one = |(pid, parent, numbers): &(i32, i32, &str)| {
            (*pid, parse(*pid, status(*parent, numbers).as_bytes()).unwrap())
        };
        Processes(of.iter().map(one).collect())
    }

    #[test]
    fn a_status_is_read_and_rubbish_is_not() {
        let process = parse(9, status(5, "9\t1").as_bytes()).unwrap();
        assert_eq!((process.parent, process.numbers.as_slice()), (5, &[9, 1][..]));
        assert_eq!((process.uid, process.memory, process.threads), (7, 16 << 10, 3));
        assert_eq!(parse(9, b"PPid:\t1\nNSpid:\t9\n"), None);
        let stat = b"7 (a) 1 ) S 5 2 3 0 -1 4194560 1 2 3 4 50 6 70 8 20 0 1";
        assert_eq!(parse_stat(stat), Some(Ticks { own: 56, children: 78 }));
        assert_eq!(parse_stat(b"7 (a) S 1"), None);
        let dev = b"Inter-|  \n face |bytes\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n";
        assert_eq!(parse_dev(dev), None);
        let more = [&dev[..], b"  tun0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n"].concat();
        assert_eq!(parse_dev(&more), Some(InOut { read: 10, written: 20 }));
    }

    /// Two sandboxes, with what else their launchers started, an entry, a nested pid namespace, and a circle.
    #[test]
    fn a_sandbox_has_what_descends_from_its_launcher_in_a_deeper_pid_namespace() {
        let seen = all(&[
            (10, 1, "10"),
            (11, 10, "11\t1"),
            (12, 11, "12\t2"),
            (13, 12, "13\t3\t1"),
            (14, 10, "14"),
            (15, 14, "15\t9"),
            (20, 10, "20"),
            (21, 20, "21\t1"),
            (30, 31, "30\t4"),
            (31, 30, "31\t5"),
            (40, 99, "40\t6"),
        ]);
        let inside = seen.inside(&[10, 20, 77]);
        let pids =
            |launcher: i32| -> Vec<i32> { inside[&launcher].iter().map(|p| p.pid).collect() };
        assert_eq!(inside.keys().copied().collect::<Vec<_>>(), [10, 20]);
        assert_eq!((pids(10), pids(20)), (vec![11, 12, 13, 15], vec![21]));
        assert!(Processes::is_init(10, inside[&10][0]) && !Processes::is_init(10, inside[&10][1]));
    }

    #[test]
    fn a_chain_as_long_as_there_are_numbers_is_followed_once() {
        let long: Vec<(i32, i32, &str)> = (2..60_000).map(|pid| (pid, pid - 1, "1\t1")).collect();
        let mut seen = all(&long);
        seen.0.extend(all(&[(1, 0, "1")]).0);
        assert_eq!(seen.inside(&[1])[&1].len(), long.len());
    }

    #[test]
    fn this_process_is_seen_and_its_files_are_read() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let seen = Processes::look().unwrap();
        let this = &seen.0[&own];
        assert!(this.ticks().is_some() && this.disk().is_some() && this.command_line().is_some());
        let other = Process { numbers: vec![own, 7], ..this.clone() };
        assert_eq!((other.ticks(), other.command_line()), (None, None));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let read = (parse(1, &bytes), parse_stat(&bytes), parse_dev(&bytes));
            prop_assert!(read.0.is_none());
        }
    }
}
