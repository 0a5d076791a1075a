//! What the kernel offers, as far as reading tells.
//!
//! # Decisions
//! Trying costs more than a whole start, so a default run assumes from what is cheap: the release,
//! and what the mount table shows. A step that fails refutes the assumption (`refuted`); `doctor`
//! tries.

use std::os::unix::ffi::OsStrExt;

use crate::plan::facts::Kernel;

use super::HostError;
use super::mountinfo::Line;
use super::status::ProcessStatus;

/// The kernel's release.
pub(super) fn probe_release() -> Result<Kernel, HostError> {
    let name = rustix::system::uname();
    let release = name.release().to_bytes();
    let text = std::ffi::OsStr::from_bytes(release).to_owned();
    parse_release(release).ok_or_else(|| HostError::Release(text.into()))
}

/// Bytes of main memory.
pub(super) fn probe_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// `6.18.44-…`: two numbers with a point between them.
pub fn parse_release(release: &[u8]) -> Option<Kernel> {
    let (major, rest) = leading_number(release)?;
    let (minor, _) = leading_number(rest.strip_prefix(b".")?)?;
    Some(Kernel { major, minor })
}

fn leading_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// Whether the kernel mounts an overlay in a user namespace: since 5.11, if it has overlays at all,
/// which a module may bring on demand.
pub(super) fn assume_overlay(kernel: Kernel) -> bool {
    kernel.at_least(5, 11)
}

/// Whether a seccomp listener can be had. Its kernel side is complete since 5.6; whether a filter
/// that is already there listens, only trying tells.
pub(super) fn assume_seccomp_notify(kernel: Kernel, status: &ProcessStatus) -> bool {
    kernel.at_least(5, 6) && status.seccomp
}

/// Whether what dies is handed to a program (core(5)), or to a socket of one (since Linux 6.16). Where
/// nobody tells, it may be.
pub(super) fn probe_core_handler() -> bool {
    std::fs::read("/proc/sys/kernel/core_pattern")
        .map_or(true, |pattern| matches!(pattern.first(), Some(b'|' | b'@')))
}

/// Places of procfs that are empty for ever, so that what is mounted there hides nothing.
const EMPTY_IN_PROC: [&str; 2] = ["sys/fs/binfmt_misc", "fs/nfsd"];

/// Whether a procfs can be mounted in new namespaces: the kernel wants to see a whole one already,
/// writable and with nothing mounted over parts of it (`mount_too_revealing`).
pub(super) fn assume_procfs(mounts: &[Line]) -> bool {
    mounts.iter().any(|proc| {
        proc.mount.fs_type.as_bytes() == b"proc"
            && proc.root.as_bytes() == b"/"
            && !proc.mount.read_only
            && !mounts.iter().any(|other| masks(other, proc))
    })
}

fn masks(other: &Line, proc: &Line) -> bool {
    other.mount.at.is_below(&proc.mount.at)
        && other
            .mount
            .at
            .relative_to(&proc.mount.at)
            .is_none_or(|below| !EMPTY_IN_PROC.iter().any(|empty| below.as_os_str() == *empty))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mountinfo;

    #[test]
    fn a_release_is_read_up_to_its_second_number() {
        let kernel = |text: &str| parse_release(text.as_bytes()).map(|k| (k.major, k.minor));
        assert_eq!(kernel("6.18.44-fc"), Some((6, 18)));
        assert_eq!(kernel("5.4-rc1"), Some((5, 4)));
        for bad in ["", "6", "6.", "six.1", "99999999999.1", ".1"] {
            assert_eq!(kernel(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_masked_or_read_only_procfs_cannot_be_mounted_again() {
        let mountable = |more: &str, options: &str| {
            let table = format!(
                "27 1 254:0 / / rw - ext4 /dev/vda rw\n22 27 0:21 / /proc {options} - proc proc rw\n{more}"
            );
            assume_procfs(&mountinfo::parse(table.as_bytes()).unwrap())
        };
        assert!(mountable("", "rw"));
        assert!(mountable(
            "40 22 0:40 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n",
            "rw"
        ));
        assert!(!mountable("40 22 0:5 /null /proc/kcore rw - devtmpfs udev rw\n", "rw"));
        assert!(!mountable("40 22 0:21 /sys /proc/sys ro - proc proc rw\n", "rw"));
        assert!(!mountable("", "ro"));
        assert!(!assume_procfs(&[]));
    }
}
