//! The default policy against the two allow-lists that are most used: Docker's and systemd's
//! `@system-service`. Every difference has its reason in `tests/seccomp/differences.toml`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "seccomp/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};

use bryo::spec::seccomp::{Action, Call, PolicyVariant, file};
use serde::Deserialize;

use common::tables;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Differences {
    docker: Reasons,
    systemd: Reasons,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Reasons {
    allowed_here_only: BTreeMap<String, String>,
    refused_here_only: BTreeMap<String, String>,
}

fn differences() -> Differences {
    toml::from_str(include_str!("seccomp/differences.toml")).unwrap()
}

/// Names that a plain run may call at least with some arguments.
fn allowed_here() -> BTreeSet<String> {
    let variant = PolicyVariant::default();
    let policy = file::builtin("default").unwrap().unwrap();
    let in_a_plain_run = policy.rules.iter().filter(|rule| rule.only.hold(&variant, "amd64"));
    let mut decided = BTreeSet::new();
    let mut allowed = BTreeSet::new();
    for rule in in_a_plain_run {
        for call in &rule.calls {
            let Call::Name(name) = call else { continue };
            if rule.action == Action::Allow && !decided.contains(name) {
                allowed.insert(name.clone());
            }
            if rule.args.is_empty() {
                decided.insert(name.clone());
            }
        }
    }
    allowed
}

/// Names in a list that some architecture of ours has.
fn listed(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<String> =
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect();
    let tables = tables();
    for name in &names {
        assert!(tables.knows(name), "`{name}` is no system call of these architectures");
    }
    names
}

fn assert_explained(what: &str, found: &BTreeSet<String>, reasons: &BTreeMap<String, String>) {
    let explained: BTreeSet<String> = reasons.keys().cloned().collect();
    let without: Vec<&String> = found.difference(&explained).collect();
    let stale: Vec<&String> = explained.difference(found).collect();
    assert!(without.is_empty(), "{what}, without a reason: {without:?}");
    assert!(stale.is_empty(), "{what}, no longer a difference: {stale:?}");
    for (name, reason) in reasons {
        // "as ptrace" points to another entry, or to a call that both allow.
        let other = reason.strip_prefix("as ").map(|rest| rest.split([';', ',']).next().unwrap());
        let points =
            other.is_some_and(|other| tables().knows(other.split([' ', ':']).next().unwrap()));
        assert!(points || reason.len() > 20, "{what}: `{name}` has no reason");
    }
}

fn compare(title: &str, list: &str, reasons: &Reasons) {
    let (ours, theirs) = (allowed_here(), listed(list));
    assert!(ours.len() > 300 && theirs.len() > 300);
    let more = ours.difference(&theirs).cloned().collect();
    let less = theirs.difference(&ours).cloned().collect();
    assert_explained(&format!("allowed here, not by {title}"), &more, &reasons.allowed_here_only);
    assert_explained(&format!("allowed by {title}, not here"), &less, &reasons.refused_here_only);
}

#[test]
fn every_difference_from_dockers_list_has_a_reason() {
    compare("Docker", include_str!("seccomp/docker.txt"), &differences().docker);
}

#[test]
fn every_difference_from_systemds_list_has_a_reason() {
    compare("systemd", include_str!("seccomp/systemd.txt"), &differences().systemd);
}

#[test]
fn every_call_of_this_architecture_is_decided_by_name() {
    let policy = file::builtin("default").unwrap().unwrap();
    let named: BTreeSet<&Call> = policy.rules.iter().flat_map(|rule| &rule.calls).collect();
    let tables = tables();
    for arch in bryo::plan::seccomp::Arch::ALL {
        let table = tables.of(arch).unwrap();
        let undecided: Vec<&str> = table
            .numbers()
            .filter_map(|number| table.name(number))
            .filter(|name| !named.contains(&Call::Name((*name).to_owned())))
            .collect();
        assert_eq!(undecided, [""; 0], "{arch:?}: nobody has thought about these");
    }
}
