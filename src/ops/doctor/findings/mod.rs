//! One function per finding, from what was seen to what it means.

mod confine;
mod files;
mod namespaces;
mod services;

use crate::host::trial::{Outcome, Subject, Told, TrialError};

use super::{Finding, Machine};

/// Every finding, in the order in which a run needs them.
pub(super) fn all(machine: &Machine) -> Vec<Finding> {
    let findings = [
        namespaces::kernel(machine),
        namespaces::user_namespaces(machine),
        namespaces::other_namespaces(machine),
        namespaces::mounts(machine),
        namespaces::procfs(machine),
        namespaces::sysfs(machine),
        namespaces::user_limits(machine),
        files::overlay(machine),
        files::store(machine),
        files::fuse(machine),
        files::tmpfs(machine),
        files::home(machine),
        confine::seccomp(machine),
        confine::listener(machine),
        confine::landlock(machine),
        services::subids(machine),
        services::control_groups(machine),
        services::service_manager(machine),
        services::tun(machine),
        services::ping(machine),
        services::bridge(machine),
    ];
    findings.into_iter().chain(services::tools(machine)).chain(services::unread(machine)).collect()
}

/// What was told of a subject where all namespaces could be made; none where it was not tried.
fn told(machine: &Machine, subject: Subject) -> Option<Outcome> {
    machine.namespaces.all.as_ref().ok().and_then(|told: &Told| told.of(subject))
}

/// An error with its cause, as one sentence.
fn sentence(error: TrialError) -> String {
    crate::report::failure::chain(&error)
}

const NOT_TRIED: &str = "not tried, as namespaces cannot be made";

/// How it went, for people: `what` when it went well.
fn words(outcome: Option<Outcome>, what: &str) -> String {
    match outcome {
        Some(Ok(())) => what.to_owned(),
        Some(Err(errno)) => format!("refused: {errno}"),
        None => NOT_TRIED.to_owned(),
    }
}
