//! Landlock and seccomp.

use crate::sys::errno::Errno;

use super::super::{Finding, Machine, Remedy, State};
use super::sentence;

/// The ABI that bounds signals and abstract sockets.
const SCOPES: u32 = 6;

pub(super) fn seccomp(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("seccomp", "filter of system calls", detail);
    let cost = "no run is made without its filter, unless by `--seccomp unconfined`";
    match &machine.confinement {
        Ok(found) => match found.seccomp {
            Some(Ok(())) => finding("can be installed".to_owned()),
            Some(Err(errno)) => finding(format!("refused: {errno}"))
                .but(State::Broken, cost)
                .remedy(Remedy::by_hand("use a kernel with CONFIG_SECCOMP_FILTER")),
            None => {
                finding("the process that tried it was killed".to_owned()).but(State::Broken, cost)
            }
        },
        Err(error) => finding(sentence(*error)).but(State::Broken, cost),
    }
}

pub(super) fn listener(machine: &Machine) -> Finding {
    let finding =
        |detail: String| Finding::ok("seccomp-listener", "names of refused calls", detail);
    let cost = "refused system calls are refused, but not named after the run";
    let outcome = machine.confinement.as_ref().ok().and_then(|found| found.listener);
    match outcome {
        Some(Ok(())) => finding("can be told".to_owned()),
        Some(Err(Errno::EBUSY)) => finding("another sandbox around this one listens".to_owned())
            .but(State::Missing, cost)
            .remedy(Remedy::by_hand(
                "run it outside, or with a profile of `notify = false` outside",
            )),
        Some(Err(errno)) => finding(format!("refused: {errno}"))
            .but(State::Missing, cost)
            .remedy(Remedy::by_hand("use Linux 5.6 or later")),
        None => finding("not known".to_owned()).but(State::Missing, cost),
    }
}

pub(super) fn landlock(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("landlock", "Landlock", detail);
    let cost =
        "a second line of defence is missing, and with `--network host` unix sockets are refused";
    let Ok(found) = &machine.confinement else {
        return finding("not tried".to_owned()).but(State::Missing, cost);
    };
    match (found.landlock_abi, found.landlock) {
        (Ok(abi), Some(Ok(()))) if abi >= SCOPES => finding(format!("ABI {abi}")),
        (Ok(abi), Some(Ok(()))) => {
            finding(format!("ABI {abi}, without scopes for sockets and signals"))
                .but(State::Missing, "with `--network host` unix sockets are refused")
                .remedy(Remedy::by_hand("use Linux 6.12 or later"))
        }
        (Ok(abi), _) => {
            finding(format!("claims ABI {abi} and does not enforce it")).but(State::Missing, cost)
        }
        (Err(Errno::EOPNOTSUPP), _) => finding("not enabled when the kernel was booted".to_owned())
            .but(State::Missing, cost)
            .remedy(Remedy::by_hand(
                "add `landlock` to the `lsm=` list of the kernel's command line",
            )),
        (Err(errno), _) => finding(format!("not there: {errno}"))
            .but(State::Missing, cost)
            .remedy(Remedy::by_hand("use Linux 5.13 or later, outside of a container")),
    }
}
