//! Control groups: which version, where this process is, what it may control.
//!
//! # Not here
//! Making groups and writing limits: nothing does yet, so no run asks for this; `doctor` does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, CWD};
use serde::Serialize;

use crate::plan::facts::Mount;
use crate::spec::HostPath;

use super::HostError;
use super::bounded::{self, SMALL};

/// What control groups this machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cgroups {
    /// How they are mounted.
    pub version: CgroupVersion,
    /// A group of version 2 whose controllers the caller may use.
    pub delegated: Option<Delegated>,
}

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupVersion {
    /// Version 2 alone.
    Unified,
    /// Controllers on version 1, version 2 beside them without.
    Hybrid,
    /// Version 1 alone.
    Legacy,
    /// None at all.
    None,
}

/// A group that the caller may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delegated {
    /// Its directory.
    pub path: HostPath,
    /// Whether this process is in it, so that it can be used as it is; else the user's service
    /// manager has to be asked.
    pub inside: bool,
    /// The controllers that are on in it.
    pub controllers: Vec<String>,
}

/// Looks at the groups that `mounts` show.
pub(super) fn probe(mounts: &[Mount], uid: u32) -> Result<Cgroups, HostError> {
    let version = version(mounts);
    let unified = mounts.iter().find(|mount| mount.fs_type.as_bytes() == b"cgroup2");
    let own = bounded::read_optional("/proc/self/cgroup", SMALL)?.unwrap_or_default();
    let delegated = unified.and_then(|mount| {
        let own = parse_own(&own).and_then(|path| mount.at.join(path).ok());
        let manager = format!("user.slice/user-{uid}.slice/user@{uid}.service");
        let manager = mount.at.join(&manager).ok();
        let candidates = [(own, true), (manager, false)];
        candidates.into_iter().find_map(|(path, inside)| delegated(path?, inside))
    });
    Ok(Cgroups { version, delegated })
}

fn version(mounts: &[Mount]) -> CgroupVersion {
    let any = |fs_type: &[u8]| mounts.iter().any(|mount| mount.fs_type.as_bytes() == fs_type);
    match (any(b"cgroup2"), any(b"cgroup")) {
        (true, false) => CgroupVersion::Unified,
        (true, true) => CgroupVersion::Hybrid,
        (false, true) => CgroupVersion::Legacy,
        (false, false) => CgroupVersion::None,
    }
}

/// The path of version 2, without its slash, from `/proc/self/cgroup`; none when it is the root group
/// or lies outside of the cgroup namespace.
fn parse_own(file: &[u8]) -> Option<&OsStr> {
    let line = file.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    let climbs = line.split(|b| *b == b'/').any(|name| name == b"..");
    (!line.is_empty() && !climbs).then(|| OsStr::from_bytes(line))
}

/// Whether the caller may make groups there and move processes into them.
fn delegated(path: HostPath, inside: bool) -> Option<Delegated> {
    let may_write = |name: &str| {
        let path = path.as_path().join(name);
        rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    };
    if !["", "cgroup.procs", "cgroup.subtree_control"].into_iter().all(may_write) {
        return None;
    }
    let file = path.as_path().join("cgroup.controllers");
    let controllers = bounded::read_optional(file.to_str()?, SMALL).ok().flatten()?;
    Some(Delegated { controllers: parse_words(&controllers), inside, path })
}

fn parse_words(file: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(file).split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(types: &[&str]) -> Vec<Mount> {
        types
            .iter()
            .zip(30..)
            .map(|(fs_type, id)| Mount {
                id,
                parent: 1,
                at: HostPath::new(format!("/sys/fs/cgroup/{id}")).unwrap(),
                fs_type: (*fs_type).into(),
                read_only: false,
                enterable: true,
            })
            .collect()
    }

    #[test]
    fn the_version_is_told_by_what_is_mounted() {
        for (types, expected) in [
            (&["cgroup2"][..], CgroupVersion::Unified),
            (&["cgroup", "cgroup2", "cgroup"], CgroupVersion::Hybrid),
            (&["cgroup"], CgroupVersion::Legacy),
            (&["ext4"], CgroupVersion::None),
        ] {
            assert_eq!(version(&mounts(types)), expected);
        }
    }

    #[test]
    fn only_a_group_of_version_2_below_the_root_is_ones_own() {
        assert_eq!(parse_own(b"9:cpu:/x\n0::/user.slice/a\n"), Some(OsStr::new("user.slice/a")));
        for none in [&b"0::/\n"[..], b"9:cpu:/x\n", b"", b"0::/../../a\n"] {
            assert_eq!(parse_own(none), None);
        }
    }

    #[test]
    fn a_group_that_cannot_be_written_is_not_delegated() {
        let nowhere = HostPath::new("/proc/self/nothing").unwrap();
        assert_eq!(delegated(nowhere, true), None);
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap();
        for name in ["cgroup.procs", "cgroup.subtree_control"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        std::fs::write(path.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let path = HostPath::new(path).unwrap();
        let controllers = ["cpu", "memory", "pids"].map(str::to_owned).into();
        let expected = Delegated { path: path.clone(), inside: false, controllers };
        assert_eq!(delegated(path, false), Some(expected));
    }
}
