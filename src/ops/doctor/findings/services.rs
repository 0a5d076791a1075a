//! What other programs provide: subordinate ids, control groups, a service manager, devices.

use crate::host::trial::{Outcome, Subject};
use crate::plan::facts::{Controller, GroupVersion, Helper, Subids};
use crate::report::failure::chain;
use crate::sys::errno::Errno;

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
    let cost = "`--memory`, `--cpus` and `--io-max` are refused";
    let Some(groups) = &machine.facts.groups else {
        return finding("not known".to_owned()).but(State::Missing, cost);
    };
    let version = match groups.version {
        GroupVersion::Unified => "version 2",
        GroupVersion::Hybrid => "version 1 with version 2 beside it",
        GroupVersion::Legacy => "version 1",
        GroupVersion::None => "not mounted",
    };
    let delegated = groups.delegated.as_ref().map(|one| ("delegated", &one.controllers));
    let manager = groups.manager.as_ref().map(|one| ("through systemd", &one.controllers));
    let Some((way, controllers)) = delegated.or(manager) else {
        let remedy = match groups.version {
            GroupVersion::Unified => Remedy::by_hand(
                "log in through `login`, `sshd` or a desktop, so that a systemd of yours runs",
            ),
            _ => Remedy::by_hand(
                "boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line",
            ),
        };
        let detail = match groups.version {
            GroupVersion::Unified => format!("{version}, nothing delegated"),
            _ => version.to_owned(),
        };
        return finding(detail).but(State::Missing, cost).remedy(remedy);
    };
    let names = |wanted: bool| -> String {
        let of = Controller::ALL.iter().filter(|one| controllers.contains(one) == wanted);
        of.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let has = if controllers.is_empty() { "no controller".to_owned() } else { names(true) };
    let detail = format!("{version}, {way}: {has}");
    let lacking = names(false);
    if lacking.is_empty() {
        return finding(detail);
    }
    let remedy = match delegated {
        Some(_) => Remedy::by_hand("whoever delegated the group has to turn them on in it"),
        None => Remedy::delegation(),
    };
    finding(detail).but(State::Missing, format!("no limits by {lacking}")).remedy(remedy)
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

pub(super) fn ping(machine: &Machine) -> Finding {
    let finding = |detail: &str| Finding::ok("ping", "echoes (ping)", detail);
    if machine.ping {
        return finding("can be sent");
    }
    finding("not for your groups")
        .but(
            State::Missing,
            "with `--network user` and on networks of several `ping` gets no answer from outside",
        )
        .remedy(Remedy::sysctl_range("net.ipv4.ping_group_range", 0, 2_147_483_647))
}

/// Programs of others; nothing of ours wants one.
pub(super) fn tools(machine: &Machine) -> impl Iterator<Item = Finding> + '_ {
    machine.tools.iter().map(|(tool, program, version)| {
        let finding = |detail: String| Finding::ok(tool.name(), tool.name(), detail);
        let version = version.as_deref().unwrap_or("of a version that it does not tell");
        if let Some(program) = program {
            return finding(format!("{version}, `{program}`"));
        }
        let install = machine.packages.map_or("install", |manager| manager.install());
        let sudo = if machine.packages.is_some() { "sudo " } else { "" };
        finding("not installed".to_owned())
            .but(
                State::Missing,
                format!(
                    "`--network {}` is refused; `--network user` needs no program",
                    tool.name()
                ),
            )
            .remedy(Remedy::by_hand(format!("{sudo}{install} {}", tool.package())))
    })
}

pub(super) fn bridge(machine: &Machine) -> Finding {
    let outcome = super::told(machine, Subject::Bridge);
    let detail = super::words(outcome, "a bridge and virtual cables can be made");
    let finding = Finding::ok("bridge", "networks of several", detail);
    let remedy = match outcome {
        Some(Ok(())) => return filter(finding, super::told(machine, Subject::Filter)),
        None => return finding.unknown(),
        Some(Err(Errno::EOPNOTSUPP)) => "sudo modprobe -a bridge veth",
        Some(Err(_)) => "use Linux 5.16 or later",
    };
    finding
        .but(State::Missing, "`--network bridge` is refused; `--network sandbox:ID` shares one")
        .remedy(Remedy::by_hand(remedy))
}

/// Whether a member can be on several of them.
fn filter(finding: Finding, outcome: Option<Outcome>) -> Finding {
    let Some(Err(errno)) = outcome else { return finding };
    let cost = "`bryo network connect` to a second network is refused; on one, what members make up is not dropped";
    let detail = format!("{}; `nf_tables`: {errno}", finding.detail);
    let remedy = Remedy::by_hand("sudo modprobe -a nf_tables");
    Finding { detail, ..finding }.but(State::Missing, cost).remedy(remedy)
}

/// What could not be read.
pub(super) fn unread(machine: &Machine) -> impl Iterator<Item = Finding> + '_ {
    machine.unread.iter().map(|error| {
        Finding::ok("unread", "facts", chain(error))
            .but(State::Broken, "no sandbox can be planned")
            .remedy(error.hint().map(Remedy::by_hand))
    })
}
