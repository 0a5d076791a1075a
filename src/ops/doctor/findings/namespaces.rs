//! The kernel, namespaces, and what can be mounted in them.

use crate::host::trial::{Subject, TrialError};
use crate::host::userns::{UsernsProblem, explain_clone, explain_powerless};

use super::super::{Finding, Machine, Remedy, State};
use super::{sentence, told, words};

/// The release that has everything a run calls: recursive `mount_setattr(2)` came last.
const OLDEST: (u32, u32) = (5, 12);
/// What a kernel of many threads allows by default; at least this many namespaces are useful.
const FEWEST_NAMESPACES: u64 = 1024;

const NO_RUN: &str = "no sandbox can be made";

pub(super) fn kernel(machine: &Machine) -> Finding {
    let kernel = machine.facts.kernel;
    let detail = format!("Linux {}.{}", kernel.major, kernel.minor);
    if let Some(missing) = &machine.missing_call {
        let detail =
            format!("{detail} has no `{}`, which Linux {} brought", missing.name, missing.since);
        let remedy = Remedy::by_hand(
            "boot a newer kernel of your distribution; in a container, let its seccomp profile allow the call",
        );
        return Finding::ok("kernel", "kernel", detail).but(State::Broken, NO_RUN).remedy(remedy);
    }
    if kernel.at_least(OLDEST.0, OLDEST.1) {
        return Finding::ok("kernel", "kernel", detail);
    }
    let detail = format!("{detail} is older than {}.{}", OLDEST.0, OLDEST.1);
    let remedy = Remedy::by_hand("boot a newer kernel of your distribution");
    Finding::ok("kernel", "kernel", detail).but(State::Broken, NO_RUN).remedy(remedy)
}

/// Why there are no user namespaces, or none with power; none when all is well.
fn problem(machine: &Machine) -> Option<UsernsProblem> {
    let settings = &machine.settings;
    let error = match (&machine.namespaces.all, &machine.namespaces.user_alone) {
        (Ok(told), _) => {
            let powerless = told.of(Subject::Private)?.err()?;
            return Some(explain_powerless(powerless, settings));
        }
        // Another namespace is at fault.
        (Err(_), Some(Ok(()))) => return None,
        (Err(error), alone) => alone.and_then(Result::err).unwrap_or(*error),
    };
    match error {
        TrialError::Clone(errno) => Some(explain_clone(errno, settings)),
        TrialError::Maps(errno) => Some(explain_powerless(errno, settings)),
        TrialError::Threads(_) | TrialError::Socket(_) | TrialError::Directory(_) => None,
    }
}

pub(super) fn user_namespaces(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("user-namespaces", "user namespaces", detail);
    if let Some(problem) = problem(machine) {
        let remedy = remedy(problem, machine);
        return finding(problem.to_string()).but(State::Broken, NO_RUN).remedy(remedy);
    }
    match (&machine.namespaces.all, &machine.namespaces.user_alone) {
        (Ok(_), _) | (Err(_), Some(Ok(()))) => finding("made, with all capabilities".to_owned()),
        (Err(error), _) => finding(sentence(*error)).but(State::Broken, NO_RUN),
    }
}

/// How many namespaces of a kind the kernel allows unless somebody sets it.
fn enough(machine: &Machine) -> u64 {
    (machine.threads_max.unwrap_or(0) / 2).max(FEWEST_NAMESPACES)
}

fn remedy(problem: UsernsProblem, machine: &Machine) -> Remedy {
    match problem {
        UsernsProblem::Disabled | UsernsProblem::TooMany => {
            let twice = machine.settings.max_user_namespaces.unwrap_or(0).saturating_mul(2);
            Remedy::sysctl("user.max_user_namespaces", enough(machine).max(twice))
        }
        UsernsProblem::Closed(setting) => Remedy::sysctl(setting, enough(machine)),
        UsernsProblem::Forbidden => Remedy::sysctl("kernel.unprivileged_userns_clone", 1),
        UsernsProblem::AppArmor => match &machine.program {
            Some(program) => Remedy::apparmor(program.clone()),
            None => Remedy::by_hand("install bryo with `make install`, which writes its profile"),
        },
        other => Remedy::by_hand(other.hint()),
    }
}

pub(super) fn other_namespaces(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("namespaces", "other namespaces", detail);
    let trials = &machine.namespaces;
    if trials.all.is_ok() {
        let loopback = told(machine, Subject::Loopback);
        if let Some(Err(errno)) = loopback {
            let detail = format!("loopback cannot be brought up: {errno}");
            return finding(detail).but(State::Broken, "no run without the host's network works");
        }
        return finding("mnt, pid, net, ipc, uts, cgroup".to_owned());
    }
    let failed: Vec<String> = trials
        .each
        .iter()
        .filter_map(|(name, outcome)| outcome.err().map(|e| format!("{name} ({})", sentence(e))))
        .collect();
    let remedy = match machine.settings.closed {
        Some(setting) => remedy(UsernsProblem::Closed(setting), machine),
        None => Remedy::by_hand(
            "use a kernel with these namespaces, or a container whose seccomp profile allows them",
        ),
    };
    if failed.is_empty() {
        return finding(super::NOT_TRIED.to_owned()).unknown();
    }
    finding(format!("cannot be made: {}", failed.join(", ")))
        .but(State::Broken, NO_RUN)
        .remedy(remedy)
}

pub(super) fn mounts(machine: &Machine) -> Finding {
    let needed = [
        (Subject::Private, "private mounts"),
        (Subject::HostTree, "a read-only copy of the host's tree"),
        (Subject::Tmpfs, "tmpfs"),
        (Subject::Devpts, "devpts"),
    ];
    let refused: Vec<String> = needed
        .iter()
        .filter_map(|(subject, name)| match told(machine, *subject) {
            Some(Ok(())) => None,
            other => Some(format!("{name}: {}", words(other, ""))),
        })
        .collect();
    let finding = |detail: &str| Finding::ok("mounts", "mounts in a sandbox", detail);
    if refused.is_empty() {
        return finding("the host's tree read-only, tmpfs, devpts");
    }
    if machine.namespaces.all.is_err() {
        return finding(super::NOT_TRIED).unknown();
    }
    let remedy = problem(machine).map_or_else(
        || Remedy::by_hand("use Linux 5.12 or later outside of a container"),
        |problem| remedy(problem, machine),
    );
    finding(&refused.join("; ")).but(State::Broken, NO_RUN).remedy(remedy)
}

pub(super) fn procfs(machine: &Machine) -> Finding {
    let outcome = told(machine, Subject::Proc);
    let finding = Finding::ok("procfs", "own /proc", words(outcome, "can be mounted"));
    match outcome {
        Some(Ok(())) => return finding,
        None => return finding.unknown(),
        Some(Err(_)) => {}
    }
    let remedy = Remedy::by_hand(
        "the outer `/proc` is masked: start the container with it unmasked (Docker: \
         `--security-opt systempaths=unconfined`)",
    );
    finding
        .but(State::Missing, "a sandbox has no `/proc` of its own: `ps` and the like see nothing")
        .remedy(remedy)
}

pub(super) fn sysfs(machine: &Machine) -> Finding {
    let outcome = told(machine, Subject::Sysfs);
    let finding = Finding::ok("sysfs", "own /sys", words(outcome, "can be mounted"));
    match outcome {
        Some(Ok(())) => return finding,
        None => return finding.unknown(),
        Some(Err(_)) => {}
    }
    finding.but(
        State::Missing,
        "the host's `/sys` is shown read-only: it lists the host's network interfaces",
    )
}

pub(super) fn user_limits(machine: &Machine) -> Finding {
    let outcome = told(machine, Subject::UserLimit);
    let since = machine.facts.kernel.at_least(5, 14);
    let root = machine.facts.caller.uid == 0;
    let finding = |detail: String| Finding::ok("user-limits", "limits without cgroups", detail);
    if root {
        return finding("the kernel does not hold root to a number of processes".to_owned())
            .but(State::Missing, "`--pids-limit` is refused")
            .remedy(Remedy::by_hand("run bryo as an ordinary user"));
    }
    match outcome {
        Some(Ok(())) if since => finding("processes, inotify watches".to_owned()),
        Some(Ok(())) => finding("Linux before 5.14 counts all processes of the user".to_owned())
            .but(State::Missing, "`--pids-limit` is refused"),
        None => finding(words(None, "")).unknown(),
        other => finding(words(other, ""))
            .but(State::Missing, "a payload can use up the user's inotify watches"),
    }
}
