//! Which disk a place is on.
//!
//! The kernel bounds whole disks: of a partition it is the one that it is a part of.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::{FileType, major, minor, stat};

use crate::plan::facts::{Disk, Weigher};
use crate::spec::HostPath;

use super::bounded::{self, SMALL};

/// The disk itself, where `place` is one; else the one that its file system is on, where that has a device.
pub(super) fn probe(place: &HostPath) -> Option<Disk> {
    let stat = stat(place.as_path()).ok()?;
    let device = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => stat.st_rdev,
        _ => stat.st_dev,
    };
    let device = Disk { major: major(device), minor: minor(device) };
    // Numbers that no driver has: a file system on several devices, or on none.
    (device.major != 0).then(|| whole(device)).flatten()
}

/// What shares disks by weight among groups: all that does it for some disk. `mount` is where groups are.
pub(super) fn probe_weighers(mount: Option<&HostPath>) -> BTreeSet<Weigher> {
    let read = |path: &Path| {
        let path = path.to_str()?;
        bounded::read_optional(path, SMALL).ok().flatten()
    };
    // In the root alone, which a cgroup namespace does not show.
    let cost = mount.and_then(|mount| read(&mount.as_path().join("io.cost.qos")));
    let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let schedulers = disks.filter_map(|disk| read(&disk.path().join("queue/scheduler")));
    let cost = cost.filter(|file| has_word(file, b"enable=1")).map(|_| Weigher::Cost);
    let bfq = schedulers.into_iter().any(|file| has_word(&file, b"[bfq]")).then_some(Weigher::Bfq);
    cost.into_iter().chain(bfq).collect()
}

fn has_word(file: &[u8], word: &[u8]) -> bool {
    file.split(u8::is_ascii_whitespace).any(|other| other == word)
}

/// The disk that a partition is of.
fn whole(device: Disk) -> Option<Disk> {
    let entry = std::fs::canonicalize(format!("/sys/dev/block/{device}")).ok()?;
    if !entry.join("partition").exists() {
        return Some(device);
    }
    let file = entry.parent()?.join("dev");
    parse(&bounded::read_optional(file.to_str()?, SMALL).ok().flatten()?)
}

fn parse(file: &[u8]) -> Option<Disk> {
    let (major, minor) = std::str::from_utf8(file).ok()?.trim_end().split_once(':')?;
    Some(Disk { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_nothing_else() {
        assert_eq!(parse(b"254:0\n"), Some(Disk { major: 254, minor: 0 }));
        for bad in [&b""[..], b"254", b"a:b", b"254:0:1", b"-1:0"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn a_disk_is_weighed_when_that_is_turned_on() {
        assert!(has_word(b"none mq-deadline [bfq]\n", b"[bfq]"));
        assert!(!has_word(b"[none] mq-deadline bfq\n", b"[bfq]"));
        assert!(has_word(b"8:0 enable=1 ctrl=auto\n", b"enable=1"));
        assert!(!has_word(b"8:0 enable=0 ctrl=auto\n", b"enable=1") && !has_word(b"", b"enable=1"));
        assert_eq!(
            probe_weighers(HostPath::new("/no/such/place").ok().as_ref()).get(&Weigher::Cost),
            None
        );
    }

    #[test]
    fn what_is_on_no_disk_has_none() {
        assert_eq!(probe(&HostPath::new("/proc").unwrap()), None);
        assert_eq!(probe(&HostPath::new("/no/such/place").unwrap()), None);
    }
}
