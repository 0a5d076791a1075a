//! Hides what is hidden at one place at the other places too that mounts of the host's give it.
//!
//! # Theory of operation
//! Three kinds of places are hidden, and followed differently far.
//!
//! | hidden | at its other names | what is mounted in it |
//! |---|---|---|
//! | by name: a flag, a profile | hidden | hidden elsewhere too |
//! | homes, the host's `/tmp`, `/run`, `/var/tmp` | hidden | where it was mounted first, it stays |
//! | what the profile lists under `hidden` | where they were mounted later | the same, but not in the caller's trees |
//!
//! The last two hide a place for its name. Of two mounts that show one directory, the later one is the second: the disk
//! of `/var` that is mounted in `/mnt` once more does not hide `/var`, nor does a chroot in `/srv` hide what is bound
//! into it. What a flag or a profile asks for by its other name is shown.
//!
//! # Not here
//! Secrets (`host` lists them at each place), stores (`Facts::store_places`), bryo's settings (`trusted`).

use super::facts::{Facts, Kind, Match, Mount, Twin};
use super::mounts::MountTable;
use super::view::{Pseudo, Rank, Rule, Rules, View, fixed, is_indispensable};
use crate::spec::HostPath;

/// Why something is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// A flag or a profile names it.
    Named,
    /// It is a home, or every sandbox has its own.
    Private,
    /// The profile lists it.
    Listed,
}

/// A second place of something that is hidden.
struct Second<'r> {
    at: HostPath,
    rule: &'r Rule,
}

/// The rules that hide the other places of what `rules` hide.
pub(super) fn hidden(facts: &Facts, table: &MountTable, rules: &Rules) -> Vec<Rule> {
    let seconds = seconds(facts, table, rules);
    let hide = seconds.into_iter().filter_map(|second| {
        let (at, kind) = match facts.place(&second.at) {
            Some(place) => (&place.real, &place.kind),
            None => (&second.at, &Kind::Directory),
        };
        // A mount that shows a directory without what is mounted in it may not have the place.
        let is_there = *kind != Kind::Absent || second.rule.kind == Kind::Absent;
        is_there.then(|| Rule::same(at, View::Hidden, second.rule.rank, kind.clone()))
    });
    hide.collect()
}

/// What was found, and what mounts show of it elsewhere, or mount in it from elsewhere.
pub(super) fn names(facts: &Facts, found: &Match) -> Vec<(HostPath, Kind)> {
    let others = facts.twins.iter().filter_map(|twin| twin.name_of(&found.path));
    let kind = |name: &HostPath| match facts.place(name) {
        Some(place) => place.kind.clone(),
        None => found.kind.clone(),
    };
    let mut all = vec![(found.path.clone(), found.kind.clone())];
    all.extend(others.map(|name| {
        let kind = kind(&name);
        (name, kind)
    }));
    all
}

/// The places of which the host has to say what is there.
pub(super) fn unknown(facts: &Facts, table: &MountTable, rules: &Rules) -> Vec<HostPath> {
    let seconds = seconds(facts, table, rules).into_iter().map(|second| second.at);
    let settings = facts.settings.iter().filter(|_| !facts.twins.is_empty());
    let settings =
        settings.flat_map(|found| names(facts, found).into_iter().skip(1)).map(|(name, _)| name);
    seconds.chain(settings).filter(|at| facts.place(at).is_none()).collect()
}

fn seconds<'r>(facts: &Facts, table: &MountTable, rules: &'r Rules) -> Vec<Second<'r>> {
    let mut found = Vec::new();
    if facts.twins.is_empty() {
        return found;
    }
    let host = Host { facts, table, rules };
    for (rule, why) in rules.iter().filter_map(|rule| Some((rule, why(rule, facts)?))) {
        for twin in &facts.twins {
            let whole = rule.from.moved(&twin.of, &twin.at);
            let part = || twin.of.is_below(&rule.from).then(|| twin.at.clone());
            let is_whole = whole.is_some();
            let Some(at) = whole.or_else(part) else { continue };
            let of = if is_whole { &rule.from } else { &twin.of };
            let follows = match why {
                Why::Named => true,
                Why::Private if is_whole => true,
                _ => host.is_hidden_for(rule, of) && host.is_second(&at, of),
            };
            let is_callers = !is_whole && host.is_callers(&at, why);
            if follows && !is_callers && !is_ground(&at) && host.may_hide(&at) {
                found.push(Second { at, rule });
            }
        }
    }
    found
}

/// Why a rule hides what the host has there, if it does.
fn why(rule: &Rule, facts: &Facts) -> Option<Why> {
    let hides = matches!(
        rule.view,
        View::Hidden | View::Tmpfs { .. } | View::Private | View::Own(Pseudo::Run)
    );
    match rule.rank {
        Rank::Profile | Rank::Flag => (rule.view == View::Hidden).then_some(Why::Named),
        Rank::Default | Rank::Home if hides => {
            let is_listed = facts.hidden.iter().any(|found| found.path == rule.from);
            Some(if is_listed { Why::Listed } else { Why::Private })
        }
        _ => None,
    }
}

/// What no sandbox can do without, whatever it stands for.
fn is_ground(path: &HostPath) -> bool {
    path.is_root() || is_indispensable(path) || *path == fixed("/var")
}

struct Host<'a> {
    facts: &'a Facts,
    table: &'a MountTable<'a>,
    rules: &'a Rules,
}

impl Host<'_> {
    /// Whether it is this rule that hides `path`, and nothing below it shows that again.
    fn is_hidden_for(&self, rule: &Rule, path: &HostPath) -> bool {
        let decides = self.rules.deciding(&path.same_in_sandbox());
        decides.is_some_and(|decides| decides.at == rule.at)
    }

    /// Whether `at` is where `of` was mounted once more, and not the other way round.
    fn is_second(&self, at: &HostPath, of: &HostPath) -> bool {
        let (there, here) = (self.table.mount_of(at), self.table.mount_of(of));
        let order = |id| self.facts.mounts.iter().position(|mount| mount.id == id);
        // A directory of a disk that is a mount point elsewhere was bound there.
        let is_bound = there.at == *at && here.at != *of;
        !self.shows_system(here) && (is_bound || order(there.id) > order(here.id))
    }

    /// Whether a mount shows the disk of the system once more. Of that, volumes are mounted where they belong.
    fn shows_system(&self, mount: &Mount) -> bool {
        let is_root = |twin: &&Twin| twin.of.is_root() && twin.at.starts_with(&mount.at);
        !mount.at.is_root() && self.facts.twins.iter().any(|twin| is_root(&twin))
    }

    /// Whether the caller stands there; or it lies in what is the caller's own, for what is hidden as a place where
    /// disks are mounted.
    fn is_callers(&self, at: &HostPath, why: Why) -> bool {
        let caller = &self.facts.caller;
        let mut own = caller.home.iter().chain(caller.workdir.path());
        match why {
            Why::Named => false,
            Why::Private => caller.workdir.path() == Some(at),
            Why::Listed => own.any(|own| at.starts_with(own)),
        }
    }

    /// Whether the place is seen, and no flag or profile asks for it by this name.
    fn may_hide(&self, at: &HostPath) -> bool {
        let real = self.facts.place(at).map_or(at, |place| &place.real).same_in_sandbox();
        let is_asked = self.rules.at(&real).is_some_and(|rule| rule.rank == Rank::Flag);
        !is_asked && self.rules.deciding(&real).is_some_and(Rule::shows_host)
    }
}
