//! Whether what goes on without its caller goes on when the caller logs out.
//!
//! # Theory of operation
//! systemd-logind puts each login into a scope, `session-N.scope`, and ends what is left in it at the logout where
//! `KillUserProcesses=` says so (logind.conf(5)); by default it does not, and never for root. What runs below the
//! user's own manager, `user@UID.service`, ends with it at the last logout, unless the user lingers
//! (`loginctl enable-linger`: a file in `/var/lib/systemd/linger`). Elsewhere nobody looks after it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::order;

/// What a logout does to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Logout {
    /// Nothing.
    Survives,
    /// It is killed with its session.
    EndsWithSession,
    /// It is killed with the user's manager, at the last logout.
    EndsWithManager,
}

/// Where logind's settings are; later ones win.
const CONFIGS: [&str; 3] = ["/usr/lib/systemd", "/run/systemd", "/etc/systemd"];

/// What becomes of the calling process.
pub fn probe() -> Logout {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let cgroup = read(Path::new("/proc/self/cgroup"));
    let place = place_of(&cgroup);
    match place {
        Place::Elsewhere => Logout::Survives,
        Place::Session if rustix::process::getuid().is_root() => Logout::Survives,
        Place::Session => {
            let texts: Vec<String> = configs().iter().map(|path| read(path)).collect();
            if kills(&texts) { Logout::EndsWithSession } else { Logout::Survives }
        }
        Place::Manager if lingers() => Logout::Survives,
        Place::Manager => Logout::EndsWithManager,
    }
}

/// The main files in the order of their weight, then what is dropped in beside them.
fn configs() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        CONFIGS.iter().map(|folder| Path::new(folder).join("logind.conf")).collect();
    let mut dropped: Vec<PathBuf> = CONFIGS
        .iter()
        .filter_map(|folder| std::fs::read_dir(Path::new(folder).join("logind.conf.d")).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    order::sort_by_key(&mut dropped, |path| path.file_name().map(ToOwned::to_owned));
    all.extend(dropped);
    all
}

/// By the name of the file or, where it knows none, of the environment: asking the name service would load
/// its libraries into every supervisor.
fn lingers() -> bool {
    let uid = rustix::process::getuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name_of(uid, &accounts).map(str::to_owned).or_else(|| std::env::var("USER").ok());
    let is_plain = |name: &String| !name.is_empty() && !name.contains('/');
    let folder = Path::new("/var/lib/systemd/linger");
    name.filter(is_plain).is_some_and(|name| folder.join(name).exists())
}

fn name_of(uid: u32, accounts: &str) -> Option<&str> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Session,
    Manager,
    Elsewhere,
}

/// Of the lines of `/proc/self/cgroup`, systemd's own: of version 2, or the named one of version 1.
fn place_of(cgroup: &str) -> Place {
    let own =
        cgroup.lines().filter(|line| line.starts_with("0::") || line.contains(":name=systemd:"));
    let mut parts = own.flat_map(|line| line.split('/'));
    let is = |part: &str, begin, end| {
        part.strip_prefix(begin).and_then(|rest: &str| rest.strip_suffix(end)).is_some()
    };
    let found = parts.find_map(|part| match part {
        part if is(part, "session-", ".scope") => Some(Place::Session),
        part if is(part, "user@", ".service") => Some(Place::Manager),
        _ => None,
    });
    found.unwrap_or(Place::Elsewhere)
}

/// What the last of these says of `KillUserProcesses`.
fn kills(texts: &[String]) -> bool {
    let lines = texts.iter().flat_map(|text| text.lines());
    let set = lines.filter_map(|line| line.trim().strip_prefix("KillUserProcesses=")).next_back();
    set.is_some_and(|value| {
        ["yes", "true", "on", "1"].iter().any(|word| value.trim().eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_in_both_versions() {
        for (cgroup, place) in [
            ("0::/user.slice/user-1000.slice/session-3.scope\n", Place::Session),
            (
                "5:memory:/x\n1:name=systemd:/user.slice/user-1000.slice/session-c1.scope\n0::/\n",
                Place::Session,
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n",
                Place::Manager,
            ),
            ("0::/system.slice/ssh.service\n", Place::Elsewhere),
            ("5:cpu:/session-1.scope\n0::/\n", Place::Elsewhere),
            ("", Place::Elsewhere),
        ] {
            assert_eq!(place_of(cgroup), place, "{cgroup}");
        }
    }

    #[test]
    fn a_user_is_found_by_number() {
        let accounts = "root:x:0:0::/root:/bin/sh\nbad\nal:x:1000:1000::/home/al:/bin/sh\n";
        assert_eq!((name_of(1000, accounts), name_of(1, accounts)), (Some("al"), None));
    }

    #[test]
    fn the_last_setting_counts_and_a_comment_is_none() {
        let all =
            |texts: &[&str]| kills(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert!(!all(&[]));
        assert!(!all(&["[Login]\n#KillUserProcesses=yes\n"]));
        assert!(all(&["[Login]\n KillUserProcesses=yes\n"]));
        assert!(!all(&["KillUserProcesses=1\n", "KillUserProcesses=no\n"]));
    }
}
