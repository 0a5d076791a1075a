//! Control groups: which version, which group is delegated to the caller, where its service manager listens.
//!
//! # Decisions
//! - A group is delegated when the caller may write it and whoever made it meant so. systemd says so by an
//!   attribute of the group (`user.delegate`); a group of a unit without it is systemd's own, also where the
//!   caller's uid owns it, as in everything below the user's manager. That manager marks nothing (252), so where
//!   it can be asked for a scope it is asked.
//! - Root may write every group, which says nothing: its own is one that is marked, or all of its cgroup namespace, or
//!   one in which nothing but its own session is, as when it has put itself there. Else it would move others' processes
//!   (`openrc.sshd`) out of where they are looked for. The machine's topmost group is nobody's: what is in it
//!   cannot be moved, and nothing is bounded there.
//! - The leaf that another run made ([`LEAF`]) stands for the group it is in: the limits that hold for that
//!   group hold for it. No other ancestor is taken: it could have more than what this process was given.
//!
//! # Not here
//! Making groups and writing limits: `limits::group`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, CWD};

use crate::plan::facts::{Controller, Delegated, GroupVersion, Groups, Manager, Mount};
use crate::spec::HostPath;

use super::HostError;
use super::bounded::{self, SMALL};

/// As `limits::group` calls it.
const LEAF: &str = "bryo-supervisor";
/// The attribute by which systemd says that a group is delegated.
const DELEGATE: &str = "user.delegate";

/// Who says whether the group that this process is in is delegated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// What is seen of it.
    AsSeen,
    /// The caller, who knows the unit: then nobody else is asked for a group.
    Delegated,
}

/// Looks at the groups that `mounts` show; `socket` is where the caller's manager listens.
pub(super) fn probe(
    mounts: &[Mount],
    uid: u32,
    socket: Option<HostPath>,
    own: Own,
) -> Result<Groups, HostError> {
    let socket = socket.filter(|_| own == Own::AsSeen);
    let version = version(mounts);
    let unified = mounts.iter().find(|mount| mount.fs_type.as_bytes() == b"cgroup2");
    let Some(mount) = unified.map(|mount| &mount.at) else {
        return Ok(Groups { version, ..Groups::default() });
    };
    let file = bounded::read_optional("/proc/self/cgroup", SMALL)?.unwrap_or_default();
    let user = format!("user.slice/user-{uid}.slice/user@{uid}.service");
    let manager = mount.join(&user).ok().filter(|_| socket.is_some());
    let group = parse_own(&file).and_then(|below| {
        if below.is_empty() { Some(mount.clone()) } else { mount.join(below).ok() }
    });
    let delegated = group.and_then(|group| delegated(&group, mount, manager.as_ref(), own));
    // Without a controller a group of a hybrid machine could bound nothing.
    let is_of_use =
        |one: &Delegated| version == GroupVersion::Unified || !one.controllers.is_empty();
    let delegated = delegated.filter(is_of_use);
    let known = delegated.iter().map(|one| &one.path).chain(&manager);
    let swap = known.into_iter().any(|group| group.as_path().join("memory.swap.max").exists());
    let manager = socket
        .zip(manager)
        .map(|(socket, group)| Manager { socket, controllers: controllers(&group) });
    // Without a controller the manager of a hybrid machine could bound nothing.
    let manager = manager.filter(|manager| !manager.controllers.is_empty());
    let mount = Some(mount.clone());
    Ok(Groups { version, mount, swap, delegated, manager, ..Groups::default() })
}

fn version(mounts: &[Mount]) -> GroupVersion {
    let any = |fs_type: &[u8]| mounts.iter().any(|mount| mount.fs_type.as_bytes() == fs_type);
    match (any(b"cgroup2"), any(b"cgroup")) {
        (true, false) => GroupVersion::Unified,
        (true, true) => GroupVersion::Hybrid,
        (false, true) => GroupVersion::Legacy,
        (false, false) => GroupVersion::None,
    }
}

/// The path of version 2, without its first slash, from `/proc/self/cgroup`; none when it lies outside of the
/// cgroup namespace.
fn parse_own(file: &[u8]) -> Option<&OsStr> {
    let line = file.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    let climbs = line.split(|b| *b == b'/').any(|name| name == b"..");
    // The kernel writes it behind the path of a group that was removed.
    let removed = line.ends_with(b" (deleted)");
    (!climbs && !removed).then(|| OsStr::from_bytes(line))
}

/// The group in which the caller may make others, seen from the one that this process is in.
fn delegated(
    own: &HostPath,
    mount: &HostPath,
    manager: Option<&HostPath>,
    known: Own,
) -> Option<Delegated> {
    let is_leaf = own.file_name().is_some_and(|name| name == LEAF);
    let path = if is_leaf { own.parent()? } else { own.clone() };
    let may_write = |name: &str| {
        let path = path.as_path().join(name);
        rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    };
    if !["", "cgroup.procs", "cgroup.subtree_control"].into_iter().all(may_write) {
        return None;
    }
    // Every group has a type but the machine's topmost.
    if !path.as_path().join("cgroup.type").exists() {
        return None;
    }
    let unit = unit_of(&path, mount);
    let is_root = rustix::process::geteuid().is_root();
    if is_root && unit.is_none() && known == Own::AsSeen && path != *mount && !is_alone_in(&path) {
        return None;
    }
    if let Some(unit) = unit.filter(|_| known == Own::AsSeen)
        && !is_marked(&unit)
    {
        // systemd before 250 marks nothing. It gives a group to a user only on purpose, except by the user's
        // own manager, whose groups are all the user's.
        // Who cannot be asked does not look after it either.
        let is_managers = manager.is_some_and(|manager| path.starts_with(manager));
        if is_root || is_managers {
            return None;
        }
    }
    Some(Delegated { controllers: controllers(&path), path })
}

/// Whether all processes of a group are of this one's session.
fn is_alone_in(group: &HostPath) -> bool {
    let file = group.as_path().join("cgroup.procs");
    let text = file.to_str().and_then(|file| bounded::read_optional(file, SMALL).ok().flatten());
    match (text, session_of("self")) {
        (Some(text), Some(own)) => {
            are_all_of(&String::from_utf8_lossy(&text), &own, &|pid| session_of(pid))
        }
        _ => false,
    }
}

/// Whether the processes of a `cgroup.procs` are all of the session `own`.
fn are_all_of(pids: &str, own: &str, session_of: &dyn Fn(&str) -> Option<String>) -> bool {
    // Of another pid namespace's a process or a session has the number 0, which is nobody's in particular.
    own != "0"
        && pids.lines().all(|pid| match session_of(pid) {
            // It has ended.
            None => pid.parse().is_ok_and(|pid: u32| pid != 0),
            Some(session) => session == own,
        })
}

/// By `/proc/PID/stat`: getsid(2) says 0 of the machine's own processes, which is no number of a process.
fn session_of(pid: &str) -> Option<String> {
    let stat = bounded::read_optional(&format!("/proc/{pid}/stat"), SMALL).ok().flatten()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    // Behind the name, which may hold anything: state, parent, group, session.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(3).map(str::to_owned)
}

/// The group of the systemd unit that a group lies in, if it lies in one.
fn unit_of(path: &HostPath, mount: &HostPath) -> Option<HostPath> {
    let is_unit = |path: &HostPath| {
        let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        [&b".service"[..], b".scope", b".slice"].iter().any(|kind| name.ends_with(kind))
    };
    std::iter::once(path.clone())
        .chain(path.ancestors())
        .take_while(|path| path.is_below(mount))
        .find(is_unit)
}

fn is_marked(group: &HostPath) -> bool {
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(group.as_path(), DELEGATE, &mut value[..]);
    length.is_ok_and(|length| value.get(..length) == Some(b"1"))
}

/// What can be bounded in a group; nothing where there is no such group.
fn controllers(group: &HostPath) -> BTreeSet<Controller> {
    let file = group.as_path().join("cgroup.controllers");
    let text = file.to_str().and_then(|file| bounded::read_optional(file, SMALL).ok().flatten());
    parse_controllers(&text.unwrap_or_default())
}

fn parse_controllers(file: &[u8]) -> BTreeSet<Controller> {
    let text = String::from_utf8_lossy(file);
    text.split_ascii_whitespace().filter_map(Controller::from_name).collect()
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
            (&["cgroup2"][..], GroupVersion::Unified),
            (&["cgroup", "cgroup2", "cgroup"], GroupVersion::Hybrid),
            (&["cgroup"], GroupVersion::Legacy),
            (&["ext4"], GroupVersion::None),
        ] {
            assert_eq!(version(&mounts(types)), expected);
        }
    }

    #[test]
    fn only_a_group_of_version_2_that_is_there_is_ones_own() {
        assert_eq!(parse_own(b"9:cpu:/x\n0::/user.slice/a\n"), Some(OsStr::new("user.slice/a")));
        assert_eq!(parse_own(b"0::/\n"), Some(OsStr::new("")));
        for none in [&b"9:cpu:/x\n"[..], b"", b"0::/../../a\n", b"0::/a (deleted)\n"] {
            assert_eq!(parse_own(none), None);
        }
    }

    #[test]
    fn the_unit_is_the_nearest_and_below_the_mount() {
        let path = |text: &str| HostPath::new(text).unwrap();
        let unit = |text: &str| unit_of(&path(text), &path("/cg.slice"));
        assert_eq!(unit("/cg.slice/a.service/b/c"), Some(path("/cg.slice/a.service")));
        assert_eq!(unit("/cg.slice/a.slice/b.scope"), Some(path("/cg.slice/a.slice/b.scope")));
        assert_eq!((unit("/cg.slice/a/b"), unit("/cg.slice")), (None, None));
    }

    #[test]
    fn a_group_is_delegated_when_its_files_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let mount = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        let own = mount.join("job").unwrap();
        assert_eq!(delegated(&own, &mount, None, Own::AsSeen), None);
        std::fs::create_dir(own.as_path()).unwrap();
        for name in ["cgroup.procs", "cgroup.subtree_control"] {
            std::fs::write(own.as_path().join(name), "").unwrap();
        }
        // Nobody's: the machine's topmost.
        assert_eq!(delegated(&own, &mount, None, Own::Delegated), None);
        std::fs::write(own.as_path().join("cgroup.type"), "domain\n").unwrap();
        std::fs::write(own.as_path().join("cgroup.controllers"), "cpu memory pids rdma\n").unwrap();
        let controllers = [Controller::Cpu, Controller::Memory, Controller::Pids].into();
        let expected = Some(Delegated { path: own.clone(), controllers });
        assert_eq!(delegated(&own, &mount, None, Own::AsSeen), expected);
        // The leaf of another run stands for it.
        let leaf = own.join(LEAF).unwrap();
        assert_eq!(delegated(&leaf, &mount, None, Own::AsSeen), expected);
    }

    #[test]
    fn roots_own_group_is_one_with_nothing_of_others_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let group = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        assert!(!is_alone_in(&group), "what cannot be read is nobody's");
        std::fs::write(group.as_path().join("cgroup.procs"), format!("{}\n", std::process::id()))
            .unwrap();
        // A session that another pid namespace leads has no number here, and is nobody's in particular.
        assert_eq!(is_alone_in(&group), session_of("self").as_deref() != Some("0"));
        // 7 and 8 are of session 7, 9 is of its own; what else is asked for has ended.
        let session = |pid: &str| match pid {
            "7" | "8" => Some("7".to_owned()),
            "9" => Some("9".to_owned()),
            _ => None,
        };
        for alone in ["", "7\n", "7\n8\n", "7\n4194303\n"] {
            assert!(are_all_of(alone, "7", &session), "{alone}");
        }
        // Another session's, and one that this pid namespace has no number for.
        for shared in ["9\n7\n", "7\n0\n", "?"] {
            assert!(!are_all_of(shared, "7", &session), "{shared}");
        }
        assert!(!are_all_of("7\n", "0", &|_| Some("0".to_owned())), "a session without a number");
    }

    #[test]
    fn a_group_of_the_users_manager_is_delegated_only_when_it_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let mount = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        let (manager, own) = (mount.join("m").unwrap(), mount.join("m/a.service").unwrap());
        std::fs::create_dir_all(own.as_path()).unwrap();
        for name in ["cgroup.procs", "cgroup.subtree_control", "cgroup.controllers", "cgroup.type"]
        {
            std::fs::write(own.as_path().join(name), "").unwrap();
        }
        assert_eq!(delegated(&own, &mount, Some(&manager), Own::AsSeen), None);
        let known = delegated(&own, &mount, Some(&manager), Own::Delegated);
        assert_eq!(known.map(|group| group.path), Some(own.clone()));
        // Not every file system has attributes of users.
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(own.as_path(), DELEGATE, b"1", flags).is_ok() {
            assert!(delegated(&own, &mount, Some(&manager), Own::AsSeen).is_some());
        }
    }
}
