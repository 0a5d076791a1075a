//! Copy-on-write trees and what they need.

use crate::host::fuse::Version;
use crate::host::trial::Subject;
use crate::plan::facts::{StoreCandidate, StoreState};

use super::super::remedy::Package;
use super::super::{Finding, Machine, Remedy, State};
use super::{sentence, told, words};

/// Whether fuse-overlayfs and its device are there and can be mounted.
fn fuse_works(machine: &Machine) -> bool {
    let installed = machine.facts.fuse.as_ref().is_some_and(|fuse| fuse.usable().is_some());
    installed && told(machine, Subject::Fuse) == Some(Ok(()))
}

pub(super) fn overlay(machine: &Machine) -> Finding {
    let outcome = told(machine, Subject::Overlay);
    let finding = Finding::ok("overlay", "kernel overlay", words(outcome, "can be mounted"));
    match outcome {
        Some(Ok(())) => return finding,
        None => return finding.unknown(),
        Some(Err(_)) => {}
    }
    if fuse_works(machine) {
        return finding.but(
            State::Missing,
            "copy-on-write trees are served by fuse-overlayfs, which is slower",
        );
    }
    let remedy = Remedy::package(Package::FuseOverlayfs, machine.packages);
    finding.but(State::Broken, "nothing can be copy-on-write").remedy(remedy)
}

pub(super) fn store(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("store", "store of changes", detail);
    let temporary = told(machine, Subject::TmpfsAttributes) == Some(Ok(()));
    let lost = if temporary {
        (State::Missing, "what a payload writes is kept in memory and gone after the run")
    } else {
        (State::Broken, "there is no place for what a payload writes")
    };
    let elsewhere = Remedy::by_hand(
        "set `BRYO_STORE` to a directory of your own on a local file system, with mode 0700",
    );
    let Some((path, outcome)) = &machine.store else {
        let reasons: Vec<String> = machine.facts.stores.iter().map(unusable).collect();
        return finding(reasons.join("; ")).but(lost.0, lost.1).remedy(elsewhere);
    };
    match outcome {
        Ok(told) => match told.of(Subject::StoreOverlay) {
            Some(Ok(())) => finding(path.to_string()),
            _ if fuse_works(machine) => finding(format!(
                "{path} is on a file system that cannot hold an upper layer of the kernel's"
            ))
            .but(State::Missing, "fuse-overlayfs serves copy-on-write trees, which is slower")
            .remedy(elsewhere),
            other => finding(format!(
                "{path} is on a file system that cannot hold an upper layer ({})",
                words(other, "")
            ))
            .but(lost.0, lost.1)
            .remedy(elsewhere),
        },
        Err(_) if machine.namespaces.all.is_err() => {
            finding(format!("{path}, {}", super::NOT_TRIED)).unknown()
        }
        Err(error) => {
            finding(format!("{path}: {}", sentence(*error))).but(lost.0, lost.1).remedy(elsewhere)
        }
    }
}

fn unusable(store: &StoreCandidate) -> String {
    let why = match store.state {
        StoreState::Usable => "can be used",
        StoreState::Unwritable => "cannot be made or written",
        StoreState::Foreign => "is not a directory of yours alone (owner, mode 0700, no link)",
    };
    format!("{} {why}", store.path)
}

pub(super) fn fuse(machine: &Machine) -> Finding {
    let finding = |detail: String| Finding::ok("fuse", "fuse-overlayfs", detail);
    let cost = "a project directory of a group cannot be written, and there is no `--user root` over \
                the host's tree";
    let fuse = machine.facts.fuse.clone().unwrap_or_default();
    let Some(program) = &fuse.program else {
        let remedy = Remedy::package(Package::FuseOverlayfs, machine.packages);
        return finding("not installed".to_owned()).but(State::Missing, cost).remedy(remedy);
    };
    if !fuse.device {
        let remedy = Remedy::device("/dev/fuse", "fuse");
        return finding("`/dev/fuse` cannot be opened".to_owned())
            .but(State::Missing, cost)
            .remedy(remedy);
    }
    match told(machine, Subject::Fuse) {
        Some(Err(errno)) => finding(format!("a FUSE mount is refused: {errno}"))
            .but(State::Missing, cost)
            .remedy(Remedy::by_hand("use Linux 4.18 or later, outside of a container")),
        Some(Ok(())) => with_version(&finding, &program.to_string(), machine),
        None => finding(format!("{program}, {}", super::NOT_TRIED)).unknown(),
    }
}

/// Versions with a fault that matters where they serve a tree, each with what is known of it.
const FAULTY: [(Version, &str); 2] = [
    (Version(1, 10, 0), "some pipes cannot be removed"),
    (Version(1, 16, 0), "files that were written over are reported to hold wrong bytes"),
];

/// It serves where the kernel cannot, and where `--overlay fuse` asks for it: a fault matters in the first case
/// without being asked.
fn with_version(finding: &dyn Fn(String) -> Finding, program: &str, machine: &Machine) -> Finding {
    let Some(version) = machine.fuse_version else { return finding(program.to_owned()) };
    let fault = FAULTY.iter().find(|(faulty, _)| *faulty == version);
    let Some((_, fault)) = fault else { return finding(format!("{program}, version {version}")) };
    let finding = finding(format!("{program}, version {version}: {fault}"));
    if told(machine, Subject::Overlay) == Some(Ok(())) {
        return finding;
    }
    finding
        .but(State::Missing, "every copy-on-write tree here is served by this version")
        .remedy(Remedy::by_hand("install another version of fuse-overlayfs"))
}

pub(super) fn tmpfs(machine: &Machine) -> Finding {
    let outcome = told(machine, Subject::TmpfsAttributes);
    let detail = words(outcome, "can hold layers");
    let finding = Finding::ok("tmpfs", "tmpfs with attributes", detail);
    match outcome {
        Some(Ok(())) => return finding,
        None => return finding.unknown(),
        Some(Err(_)) => {}
    }
    finding
        .but(State::Missing, "`--disk` is refused; where no store can be used, changes cannot be kept in memory either")
        .remedy(Remedy::by_hand("use Linux 6.6 or later"))
}

pub(super) fn home(machine: &Machine) -> Finding {
    let caller = &machine.facts.caller;
    if let Some(home) = &caller.home {
        return Finding::ok("home", "home directory", home.to_string());
    }
    Finding::ok("home", "home directory", "`HOME` names no directory that exists")
        .but(State::Missing, "no home is shown, and changes go to `/var/tmp`")
        .remedy(Remedy::by_hand("set `HOME` to your home directory"))
}
