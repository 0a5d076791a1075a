//! What a group has used, by its own files, which everybody may read.

use super::files::{open_directory, read};
use crate::spec::HostPath;

/// What could be had: a value is none where its controller is off, and where the group is not seen from here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Microseconds of processor time, since the group was made.
    pub cpu: Option<u64>,
    /// Bytes of memory, without files that were not used lately.
    pub memory: Option<u64>,
    /// The most.
    pub memory_limit: Option<u64>,
    /// Threads.
    pub tasks: Option<u64>,
    /// The most.
    pub tasks_limit: Option<u64>,
    /// Bytes that came from disks and went to them, since the group was made.
    pub io: Option<(u64, u64)>,
}

/// Reads them.
pub fn usage(group: &HostPath) -> Usage {
    let Ok(group) = open_directory(group) else { return Usage::default() };
    let text = |name: &str| read(&group, name).ok();
    // `max` is no number, and no limit.
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    let idle = text("memory.stat").and_then(|text| keyed(&text, "inactive_file"));
    Usage {
        cpu: text("cpu.stat").and_then(|text| keyed(&text, "usage_usec")),
        memory: number("memory.current").map(|all| all.saturating_sub(idle.unwrap_or(0))),
        memory_limit: number("memory.max"),
        tasks: number("pids.current"),
        tasks_limit: number("pids.max"),
        io: text("io.stat").map(|text| disks(&text)),
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value?.trim().parse().ok()
}

/// `8:0 rbytes=1 wbytes=2 …`, one line for each disk.
fn disks(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let words = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key));
        words.filter_map(|value| value.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_the_rest_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let group = HostPath::new(folder.path()).unwrap();
        assert_eq!(usage(&group), Usage::default());
        assert_eq!(usage(&group.join("gone").unwrap()), Usage::default());
        for (name, text) in [
            ("cpu.stat", "usage_usec 1500\nuser_usec 7\n"),
            ("memory.current", "9000\n"),
            ("memory.stat", "anon 1\ninactive_file 1000\n"),
            ("memory.max", "max\n"),
            ("pids.current", "4\n"),
            ("pids.max", "64\n"),
            ("io.stat", "8:0 rbytes=5 wbytes=6 rios=1\n8:16 rbytes=10 wbytes=x\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let expected = Usage {
            cpu: Some(1500),
            memory: Some(8000),
            memory_limit: None,
            tasks: Some(4),
            tasks_limit: Some(64),
            io: Some((15, 6)),
        };
        assert_eq!(usage(&group), expected);
    }
}
