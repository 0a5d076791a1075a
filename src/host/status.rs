//! What the kernel says of this process in `/proc/self/status`.

use super::HostError;
use super::bounded::{self, SMALL};
use crate::plan::step::INIT;

/// The lines that decisions need; each is none when the kernel does not print it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessStatus {
    /// File mode creation mask (since Linux 4.7).
    pub umask: Option<u32>,
    /// Number of seccomp filters (since Linux 5.9).
    pub seccomp_filters: Option<u32>,
    /// Whether the kernel knows seccomp at all.
    pub seccomp: bool,
    /// Whether programs with privileges get none.
    pub no_new_privs: bool,
    /// How many threads this process has.
    pub threads: Option<u32>,
}

/// Reads the status of this process. The mask is read here as asking the kernel means changing it.
pub(super) fn probe() -> Result<ProcessStatus, HostError> {
    Ok(parse(&bounded::read_file("/proc/self/status", SMALL)?))
}

/// Whether this process is in a sandbox of bryo's: pid 1 there has a name of its own. Where `/proc` is not there, nobody
/// knows.
pub fn is_in_sandbox() -> bool {
    let name = bounded::read_optional("/proc/1/comm", SMALL).ok().flatten();
    name.is_some_and(|name| name.trim_ascii_end() == INIT.to_bytes())
}

/// Total: what is not understood is not known.
pub(super) fn parse(status: &[u8]) -> ProcessStatus {
    let mut found = ProcessStatus::default();
    for line in status.split(|b| *b == b'\n') {
        let Some((key, value)) = std::str::from_utf8(line).ok().and_then(|l| l.split_once(':'))
        else {
            continue;
        };
        let value = value.trim();
        match key {
            "Umask" => found.umask = u32::from_str_radix(value, 8).ok().filter(|m| *m <= 0o777),
            "Seccomp_filters" => found.seccomp_filters = value.parse().ok(),
            "Seccomp" => found.seccomp = true,
            "NoNewPrivs" => found.no_new_privs = value == "1",
            "Threads" => found.threads = value.parse().ok(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lines_that_matter_are_found_among_the_others() {
        let text = b"Name:\tx: y\nUmask:\t0027\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let expected = ProcessStatus {
            umask: Some(0o27),
            seccomp_filters: Some(3),
            seccomp: true,
            no_new_privs: true,
            threads: None,
        };
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_not_known() {
        assert_eq!(parse(b"Umask:\t7777\nSeccomp_filters:\t-1\n"), ProcessStatus::default());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse(&bytes);
        }
    }
}
