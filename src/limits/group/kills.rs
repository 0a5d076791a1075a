//! Processes that the kernel killed for want of memory, as it counts them by group.

use std::os::fd::AsFd;

use super::files::read_at_start;
use crate::sys::errno::{Errno, Result};

/// Processes of a group that were killed for want of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kills {
    /// How many.
    pub count: u64,
    /// The group, or one in it, had reached its own limit; otherwise one above had, or the machine.
    pub own_limit: bool,
}

/// What `memory.events` tells.
pub fn kills(events: impl AsFd) -> Result<Kills> {
    let text = read_at_start(events)?;
    let value = |name: &str| {
        let mut words = text.lines().filter_map(|line| line.split_once(' '));
        let found = words.find(|(word, _)| *word == name);
        found.and_then(|(_, count)| count.parse::<u64>().ok()).ok_or(Errno::EPROTO)
    };
    Ok(Kills { count: value("oom_kill")?, own_limit: value("oom")? > 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_and_nothing_else_passes_for_them() {
        let count = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            kills(std::fs::File::open(file.path()).unwrap())
        };
        let own = Kills { count: 1, own_limit: true };
        assert_eq!(count("low 0\nhigh 3\nmax 9\noom 2\noom_kill 1\noom_group_kill 7\n"), Ok(own));
        let above = Kills { count: 4, own_limit: false };
        assert_eq!(count("oom 0\noom_kill 4\n"), Ok(above));
        for bad in ["", "oom 2\n", "oom 1\noom_kill x\n", "oom 1\noom_kill -1\n"] {
            assert_eq!(count(bad), Err(Errno::EPROTO), "{bad}");
        }
    }
}
