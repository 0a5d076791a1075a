//! `bryo top`: the processes in a sandbox that runs.
//!
//! # Theory of operation
//! Which they are, the host's `/proc` tells ([`host::processes`](crate::host::processes)). Everything but the command
//! line is the kernel's word; that is in the process's own memory, where it may write what it likes, and it can keep
//! whoever reads it waiting. So command lines are read by a thread that nobody waits for longer than [`PATIENCE`]:
//! the rest is read by the next one, and after [`MOST_STUCK`] of them by none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::error::OpsError;
use super::sweep::sweep;
use crate::host::processes::{Process, Processes, user_name};
use crate::report::quote::shell_command;
use crate::report::table::Table;
use crate::spec::Text;
use crate::spec::text::{escape, pretty_json};
use crate::state::{Stores, Which};

/// How long one command line may take.
const PATIENCE: Duration = Duration::from_millis(300);
/// So many threads may be kept waiting; they end with this command.
const MOST_STUCK: usize = 4;
/// Characters of a command line that are shown.
const COMMAND: usize = 96;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its number in the sandbox.
    pub pid: i32,
    /// Its number here.
    pub host_pid: i32,
    /// Its user here.
    pub user: String,
    /// Its user id here.
    pub uid: u32,
    /// Its threads.
    pub threads: u64,
    /// Bytes of memory that no file backs.
    pub memory: u64,
    /// Microseconds of processor time of its own; none for one that ended meanwhile.
    pub cpu_usec: Option<u64>,
    /// Program and arguments, in its own words; none where they could not be read in time, empty for
    /// our init and for one that has ended and is still to be waited for.
    pub command: Option<Vec<Text>>,
}

/// Those in a sandbox, in the order of their numbers in it.
pub fn top(stores: &Stores, which: Which<'_>) -> Result<Vec<Row>, OpsError> {
    sweep(stores)?;
    let found = stores.choose_running(which)?;
    if !found.is_running()? {
        return Err(OpsError::NotRunning { verb: "look into", id: found.id() });
    }
    let launcher = found.launcher()?.0.as_raw_nonzero().get();
    let seen = Processes::look()?;
    let inside = seen.inside(&[launcher]);
    let inside = inside.get(&launcher).map_or(&[][..], Vec::as_slice);
    // Its own number there is that of the namespace just below the launcher's.
    let depth = seen.depth(launcher);
    let commands = commands(inside);
    let mut users = BTreeMap::new();
    let mut rows = Vec::new();
    for (process, command) in inside.iter().zip(commands) {
        let user = match users.entry(process.uid) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let name = user_name(process.uid)?;
                unknown.insert(name.map_or_else(|| process.uid.to_string(), escape))
            }
        };
        let pid = process.numbers.get(depth).copied().unwrap_or_default();
        let ticks = process.ticks().map(|ticks| ticks.own);
        rows.push(Row {
            pid,
            host_pid: process.pid,
            user: user.clone(),
            uid: process.uid,
            threads: process.threads,
            memory: process.memory,
            cpu_usec: ticks.map(|ticks| {
                ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second().max(1)
            }),
            command: command.map(|line| words(pid, &line)),
        });
    }
    rows.sort_by_key(|row| row.pid);
    Ok(rows)
}

/// The command line of each, as far as it came in time.
fn commands(of: &[&Process]) -> Vec<Option<Vec<u8>>> {
    let mut read = Vec::new();
    let mut stuck = 0;
    while read.len() < of.len() && stuck < MOST_STUCK {
        let rest: Vec<Process> = of.iter().skip(read.len()).map(|one| (*one).clone()).collect();
        if !take(&reader(rest), of.len(), &mut read) {
            read.push(None);
            stuck += 1;
        }
    }
    read.resize(of.len(), None);
    read
}

fn reader(of: Vec<Process>) -> Receiver<Option<Vec<u8>>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for process in of {
            if sender.send(process.command_line()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Whether all came.
fn take(from: &Receiver<Option<Vec<u8>>>, all: usize, read: &mut Vec<Option<Vec<u8>>>) -> bool {
    while read.len() < all {
        match from.recv_timeout(PATIENCE) {
            Ok(line) => read.push(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

fn words(pid: i32, line: &[u8]) -> Vec<Text> {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    // Our init, which has none of its own but its name, and what has ended.
    if pid == 1 || line.iter().all(|byte| *byte == 0) {
        return Vec::new();
    }
    line.split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .map(Text::from)
        .collect()
}

/// As JSON, for programs.
pub fn json(rows: &[Row]) -> Result<Vec<u8>, OpsError> {
    pretty_json(&rows).map(String::into_bytes).map_err(OpsError::Json)
}

/// As a table for people; of so many columns, where they look at a screen.
pub fn table(rows: &[Row], screen: Option<usize>) -> String {
    let mut table = Table::new(["PID", "HOST PID", "USER", "TIME", "COMMAND"]);
    for row in rows {
        table.row([
            row.pid.to_string(),
            row.host_pid.to_string(),
            row.user.clone(),
            row.cpu_usec.map_or_else(|| "-".to_owned(), time),
            row.command.as_ref().map_or_else(|| "-".to_owned(), |words| command(row.pid, words)),
        ]);
    }
    if let Some(screen) = screen {
        table.fit(screen, &["TIME", "USER"]);
    }
    table.to_string()
}

/// `1:02.30`: minutes, seconds, hundredths.
fn time(usec: u64) -> String {
    let hundredths = usec / 10_000;
    format!("{}:{:02}.{:02}", hundredths / 6000, hundredths / 100 % 60, hundredths % 100)
}

fn command(pid: i32, words: &[Text]) -> String {
    if words.is_empty() {
        // Number 1 is ours as long as there is a sandbox.
        return if pid == 1 { "(init)" } else { "(ended)" }.to_owned();
    }
    let line = shell_command(words.iter().map(Text::as_os_str));
    match line.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_says_nothing_to_a_terminal() {
        let row = |pid, command: Option<&[u8]>| Row {
            pid,
            host_pid: 4000 + pid,
            user: "alice".to_owned(),
            uid: 1000,
            threads: 1,
            memory: 0,
            cpu_usec: Some(62_300_000),
            command: command.map(|line| words(pid, line)),
        };
        let rows = [
            row(1, Some(b"bryo-init\0\0")),
            row(2, Some(b"sh\0-c\0echo \x1b[2J\n\xff\0")),
            row(30, None),
            row(31, Some(&[b'x'; 200])),
        ];
        let expected = format!(
            "PID  HOST PID  USER   TIME     COMMAND\n1    4001      alice  1:02.30  (init)\n\
             2    4002      alice  1:02.30  sh -c $'echo \\033[2J\\012\\357\\277\\275'\n\
             30   4030      alice  1:02.30  -\n31   4031      alice  1:02.30  {}…\n",
            "x".repeat(COMMAND)
        );
        assert_eq!(table(&rows, None), expected);
    }

    #[test]
    fn who_never_answers_is_not_waited_for() {
        let (sender, receiver) = channel();
        sender.send(Some(vec![1])).unwrap();
        let mut read = Vec::new();
        assert!(!take(&receiver, 2, &mut read));
        assert_eq!(read, [Some(vec![1])]);
        drop(sender);
    }
}
