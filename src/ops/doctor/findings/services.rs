//! What other programs provide: subordinate ids, control groups, a service manager, devices.

use crate::host::cgroup::CgroupVersion;
use crate::plan::facts::{Helper, Subids};
use crate::report::failure::chain;

use super::super::remedy::Package;
use super::super::{Finding, Machine, Remedy, State};
use super::sentence;

pub(super) fn subids(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("subids", "subordinate ids", detail);
    let cost = "`--ids subid` is refused: files of other users and groups cannot be told apart";
    let subids = machine.facts.subids.clone().unwrap_or_default();
    if let Some((detail, remedy)) = without_subids(&subids, machine) {
        return finding(detail).but(State::Missing, cost).remedy(remedy);
    }
    let total = |ranges: &[crate::plan::facts::IdRange]| -> u64 {
        ranges.iter().map(|range| u64::from(range.count)).sum()
    };
    match machine.subids {
        Some(Ok(mapped)) if !mapped.uids || !mapped.gids => {
            let failed = if mapped.uids { "newgidmap" } else { "newuidmap" };
            finding(format!("`{failed}` refuses the range")).but(State::Missing, cost).remedy(
                Remedy::by_hand("look for ranges of `/etc/subuid` and `/etc/subgid` that overlap"),
            )
        }
        Some(Err(error)) => finding(sentence(error)).but(State::Missing, cost),
        _ => finding(format!("{} users, {} groups", total(&subids.uids), total(&subids.gids))),
    }
}

/// What is missing first, and how to get it.
fn without_subids(subids: &Subids, machine: &Machine) -> Option<(String, Remedy)> {
    for (name, helper) in [("newuidmap", &subids.newuidmap), ("newgidmap", &subids.newgidmap)] {
        match helper {
            Helper::Ready(_) => {}
            Helper::Missing => {
                let remedy = Remedy::package(Package::Uidmap, machine.packages);
                return Some((format!("`{name}` is not installed"), remedy));
            }
            Helper::Unprivileged(path) => {
                let detail = format!(
                    "`{path}` has neither the set-user-id bit of root nor its capability, or may not \
                     use it here"
                );
                return Some((detail, Remedy::set_user_id(path)));
            }
        }
    }
    let (uids, gids) = (subids.uids.is_empty(), subids.gids.is_empty());
    if !uids && !gids {
        return None;
    }
    let file = if uids { "/etc/subuid" } else { "/etc/subgid" };
    let detail = format!("no range of yours in `{file}`");
    let Some(name) = machine.facts.account.name.as_ref().and_then(|n| n.as_os_str().to_str())
    else {
        let remedy = Remedy::by_hand("give your user id a name in `/etc/passwd` first");
        return Some((detail, remedy));
    };
    Some((detail, Remedy::subids(name, uids, gids, machine.first_free_subid)))
}

pub(super) fn control_groups(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("cgroups", "control groups", detail);
    let cost = "`--memory`, `--cpus` and `--io-max` cannot be enforced";
    let unified = Remedy::by_hand(
        "boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line",
    );
    let Some(groups) = &machine.cgroups else {
        return finding("not known".to_owned()).but(State::Missing, cost);
    };
    let version = match groups.version {
        CgroupVersion::Unified => "version 2",
        CgroupVersion::Hybrid => "version 1 with version 2 beside it",
        CgroupVersion::Legacy => "version 1",
        CgroupVersion::None => "not mounted",
    };
    match &groups.delegated {
        Some(delegated) => {
            let has = |name: &&&str| delegated.controllers.iter().any(|c| c == **name);
            let lacking: Vec<&str> =
                ["cpu", "io", "memory", "pids"].iter().filter(|c| !has(c)).copied().collect();
            let detail = format!("{version}, delegated: {}", delegated.controllers.join(" "));
            if lacking.is_empty() {
                return finding(detail);
            }
            finding(detail)
                .but(State::Missing, format!("no limits by {}", lacking.join(", ")))
                .remedy(delegation())
        }
        None if groups.version == CgroupVersion::Unified => {
            finding(format!("{version}, nothing delegated"))
                .but(State::Missing, cost)
                .remedy(delegation())
        }
        None => finding(version.to_owned()).but(State::Missing, cost).remedy(unified),
    }
}

fn delegation() -> Remedy {
    Remedy::by_hand(
        "as root, put `[Service]` and `Delegate=cpu cpuset io memory pids` into \
         `/etc/systemd/system/user@.service.d/delegate.conf`, then log in again",
    )
}

pub(super) fn service_manager(machine: &Machine) -> Finding {
    let finding = |detail: &str| Finding::ok("service-manager", "systemd for the user", detail);
    if machine.service_manager {
        return finding("running");
    }
    finding("not running")
        .but(State::Missing, "from a login session, limits by control group cannot be asked for")
        .remedy(Remedy::by_hand("log in through `login`, `sshd` or a desktop, not by `su`"))
}

pub(super) fn tun(machine: &Machine) -> Finding {
    let finding = |detail: &str| Finding::ok("tun", "/dev/net/tun", detail);
    if machine.tun {
        return finding("can be opened");
    }
    finding("cannot be opened")
        .but(State::Missing, "a network of its own for the sandbox cannot be made")
        .remedy(Remedy::device("/dev/net/tun", "tun"))
}

/// What could not be read.
pub(super) fn unread(machine: &Machine) -> impl Iterator<Item = Finding> + '_ {
    machine.unread.iter().map(|error| {
        Finding::ok("unread", "facts", chain(error))
            .but(State::Broken, "no sandbox can be planned")
            .remedy(error.hint().map(Remedy::by_hand))
    })
}
