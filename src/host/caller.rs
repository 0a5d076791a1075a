//! Who calls, and from where.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use crate::plan::facts::{Caller, Ceiling, Workdir};
use crate::spec::HostPath;
use crate::spec::limits::Resource;
use crate::spec::order;
use crate::sys::resource::get_limit;
use crate::sys::umask;

use super::passwd::{self, NameService};
use super::resolve::{Last, Resolver, Seen, look};
use super::status::ProcessStatus;

/// The mask when the kernel does not tell it: no wider than any caller's.
const NARROWEST_UMASK: u32 = 0o077;

/// Ids, groups, home and current directory.
pub(super) fn probe(
    status: &ProcessStatus,
    names: &mut NameService,
    resolver: &mut Resolver,
) -> Caller {
    let gid = rustix::process::getegid().as_raw();
    let uid = rustix::process::geteuid().as_raw();
    let variable = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let (home, home_spelt) = match variable {
        Some(home) => probe_home(Some(home), resolver),
        None => probe_home(passwd::probe_home(uid, names, resolver), resolver),
    };
    let workdir = probe_workdir();
    let workdir_spelt = spelt_workdir(workdir.path(), std::env::var_os("PWD"), resolver);
    Caller {
        uid,
        gid,
        groups: probe_groups(gid),
        home,
        home_spelt,
        workdir,
        workdir_spelt,
        umask: umask::of_caller().or(status.umask).unwrap_or(NARROWEST_UMASK),
        ceilings: Vec::new(),
    }
}

/// The hard limits of these that end somewhere.
pub(super) fn probe_ceilings(resources: &[Resource]) -> Vec<Ceiling> {
    let ceiling = |resource: &Resource| {
        // Both fail only for what is no resource.
        let limit = get_limit(None, resource.name().parse().ok()?).ok()?;
        Some(Ceiling { resource: *resource, most: limit.hard? })
    };
    resources.iter().filter_map(ceiling).collect()
}

/// Supplementary groups, the effective one left out.
fn probe_groups(effective: u32) -> Vec<u32> {
    // The call fails only for a buffer that is too small, which rustix makes large enough.
    let groups = rustix::process::getgroups().unwrap_or_default();
    let mut groups: Vec<u32> = groups.into_iter().map(rustix::process::Gid::as_raw).collect();
    groups.retain(|group| *group != effective);
    order::sort(&mut groups);
    groups.dedup();
    groups
}

/// The home directory that the environment names, when it is one, and its spelling when that is
/// another.
fn probe_home(
    variable: Option<OsString>,
    resolver: &mut Resolver,
) -> (Option<HostPath>, Option<HostPath>) {
    let Some(spelt) = variable.and_then(|path| HostPath::new(path).ok()) else {
        return (None, None);
    };
    let found = resolver.resolve(&spelt, Last::Follow);
    if !found.is_directory() {
        return (None, None);
    }
    let other = spelt != found.real;
    (Some(found.real), other.then_some(spelt))
}

/// The current directory: the kernel's own path of it, if that path leads to it.
fn probe_workdir() -> Workdir {
    let path = match rustix::process::getcwd(Vec::new()) {
        Ok(path) => path,
        Err(Errno::NOENT) => return Workdir::Deleted,
        Err(_) => return Workdir::Unreadable,
    };
    // "(unreachable)/…": the directory lies outside this process's root.
    let Ok(path) = HostPath::new(std::ffi::OsStr::from_bytes(path.as_bytes())) else {
        return Workdir::Unreadable;
    };
    let here = look(CWD, ".");
    // Another mount may stand over the path, or a directory above may be closed to the caller.
    let same = match (here, look(CWD, path.as_path())) {
        (Seen::There(here), Seen::There(there)) => here.id == there.id,
        _ => false,
    };
    let enter = rustix::fs::accessat(CWD, path.as_path(), Access::EXEC_OK, AtFlags::EACCESS);
    if same && enter.is_ok() { Workdir::At(path) } else { Workdir::Unreadable }
}

/// The current directory as a shell says how it was reached, if links were followed to it.
fn spelt_workdir(
    workdir: Option<&HostPath>,
    variable: Option<OsString>,
    resolver: &mut Resolver,
) -> Option<HostPath> {
    let spelt = HostPath::new(variable?).ok()?;
    let other = workdir.filter(|workdir| **workdir != spelt)?;
    (resolver.resolve(&spelt, Last::Follow).real == *other).then_some(spelt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{alone, ordinary_user};

    #[test]
    fn a_home_is_taken_only_when_it_is_a_directory_at_an_absolute_path() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        std::fs::write(real.join("file"), "").unwrap();
        let home = |path: OsString| probe_home(Some(path), &mut Resolver::default());
        let link = HostPath::new(real.join("link")).ok();
        assert_eq!(home(real.join("link").into()), (HostPath::new(&real).ok(), link));
        assert_eq!(home(real.clone().into()), (HostPath::new(&real).ok(), None));
        assert_eq!(home("/".into()), (Some(HostPath::root()), None));
        for bad in [real.join("file").into(), real.join("gone").into(), "al".into(), "".into()] {
            assert_eq!(home(bad), (None, None));
        }
        assert_eq!(probe_home(None, &mut Resolver::default()), (None, None));
    }

    #[test]
    fn a_directory_that_is_gone_or_closed_is_told_from_one_that_is_there() {
        let test = "a_directory_that_is_gone_or_closed_is_told_from_one_that_is_there";
        alone(module_path!(), test, || {
            ordinary_user();
            let dir = tempfile::tempdir().unwrap();
            let root = std::fs::canonicalize(dir.path()).unwrap();
            let inner = root.join("above/inner");
            std::fs::create_dir_all(&inner).unwrap();
            std::env::set_current_dir(&inner).unwrap();
            assert_eq!(probe_workdir(), Workdir::At(HostPath::new(&inner).unwrap()));
            let set = |mode| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
                std::fs::set_permissions(root.join("above"), mode).unwrap();
            };
            set(0o000);
            assert_eq!(probe_workdir(), Workdir::Unreadable);
            set(0o700);
            // Another directory has taken its name.
            std::fs::rename(&inner, root.join("moved")).unwrap();
            std::fs::create_dir(&inner).unwrap();
            assert_eq!(probe_workdir(), Workdir::At(HostPath::new(root.join("moved")).unwrap()));
            std::fs::remove_dir(root.join("moved")).unwrap();
            assert_eq!(probe_workdir(), Workdir::Deleted);
            std::env::set_current_dir("/").unwrap();
        });
    }

    #[test]
    fn a_current_directory_is_spelt_as_the_shell_says_where_that_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let real = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        let at = |name: &str| real.join(name).unwrap();
        std::fs::create_dir(at("there").as_path()).unwrap();
        std::os::unix::fs::symlink("there", at("link").as_path()).unwrap();
        let spelt = |variable: Option<OsString>| {
            spelt_workdir(Some(&at("there")), variable, &mut Resolver::default())
        };
        let as_variable = |path: HostPath| Some(path.as_path().as_os_str().to_owned());
        assert_eq!(spelt(as_variable(at("link"))), Some(at("link")));
        // What was handed down by somebody who stands elsewhere says nothing.
        for other in
            [as_variable(at("there")), as_variable(real.clone()), Some("link".into()), None]
        {
            assert_eq!(spelt(other), None);
        }
        assert_eq!(spelt_workdir(None, as_variable(at("link")), &mut Resolver::default()), None);
    }

    #[test]
    fn groups_are_sorted_and_do_not_repeat_the_effective_one() {
        let groups = probe_groups(rustix::process::getegid().as_raw());
        assert!(groups.is_sorted());
        assert!(!groups.contains(&rustix::process::getegid().as_raw()));
    }
}
