//! Keeps what later runs trust in its place, where the host is written straight: the folders of bryo's settings, which
//! hold profiles, and the stores.
//!
//! # Decisions
//! - The folder itself is hidden below a mount, and with it every directory above it is one (`fs`). Nothing like that can be
//!   had for a link on the way to it: over a link nothing is mounted, and a mount over its directory would show that
//!   directory, which is to be written. So what holds such a link cannot be written.
//! - A mount of the host's may show the folder at another place, which is kept as the first.
//! - Programs are not kept: where somebody builds, they are what is to be written. It is told where one may be started by its
//!   name afterwards.
//! - Nested namespaces could undo the mounts that keep it, so they are refused around it.

use std::borrow::Cow;

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Kind, Match, Way};
use super::places::hide;
use super::step::Notice;
use super::twins;
use super::view::{Rank, Rule, Rules, View};
use crate::spec::{HostPath, SandboxPath, Spec};

/// Rules for the folders of settings; what cannot be kept is refused. All other rules are there.
pub(super) fn trusted_rules(
    spec: &Spec,
    facts: &Facts,
    rules: &mut Rules,
) -> Result<(), PlanError> {
    let is_written = |rule: &&Rule| rule.view == View::Write;
    let written: Vec<(SandboxPath, HostPath)> =
        rules.iter().filter(is_written).map(|rule| (rule.at.clone(), rule.from.clone())).collect();
    let settings = facts.settings.iter().flat_map(|found| {
        twins::names(facts, found).into_iter().map(move |(name, kind)| (found, name, kind))
    });
    let named: Vec<(&Match, HostPath, Kind)> = settings.collect();
    for (at, from) in &written {
        let settings = || named.iter().filter(|(_, name, _)| name.is_below(from));
        if spec.confine.nesting {
            let store = || facts.store_places().find(|store| store.is_below(from));
            let trusted = settings().next().map(|(_, name, _)| Cow::Borrowed(name)).or_else(store);
            if let Some(trusted) = trusted {
                let (written, trusted) = (from.clone(), trusted.into_owned());
                return Err(PlanError::NestingAround { written, trusted });
            }
        }
        for (found, name, kind) in settings() {
            let Some(place) = name.moved(from, at) else { continue };
            if decides(rules, &place, at) {
                // What is not there is made, by the name that it has without the mount.
                let hidden = hide(&found.path, Rank::Secret, kind);
                rules.add(Rule { at: place, ..hidden });
            }
        }
    }
    for (at, from) in &written {
        refuse_ways(spec, facts, rules, (at, from))?;
    }
    Ok(())
}

/// Tells what the caller may start later that the payload can put there: bryo itself, and programs by their names.
pub(super) fn tell_of_programs(facts: &Facts, rules: &Rules, draft: &mut Draft) {
    let is_written = |path: &HostPath| {
        let mut written = rules.iter().filter(|rule| rule.view == View::Write);
        written.any(|rule| {
            path.moved(&rule.from, &rule.at).is_some_and(|place| decides(rules, &place, &rule.at))
        })
    };
    if let Some(own) = facts.own_file.as_ref().filter(|own| is_written(own)) {
        draft.notice(Notice::OwnFileWritten(own.clone()));
    }
    let is_theirs = |way: &&Way| {
        let mut links = way.links.iter().filter_map(HostPath::parent);
        way.end.as_ref().is_some_and(is_written) || links.any(|around| is_written(&around))
    };
    let directories: Vec<HostPath> =
        facts.commands.iter().filter(is_theirs).map(|way| way.name.clone()).collect();
    if !directories.is_empty() {
        draft.notice(Notice::CommandsWritten(directories));
    }
}

/// Whether a place is seen as what stands at `at` is, and is written with it.
fn decides(rules: &Rules, place: &SandboxPath, at: &SandboxPath) -> bool {
    rules.deciding(place).is_some_and(|rule| rule.view == View::Write && rule.at == *at)
}

/// Refuses to have a link replaced that later runs follow, or what one of them leads to.
fn refuse_ways(
    spec: &Spec,
    facts: &Facts,
    rules: &Rules,
    (at, from): (&SandboxPath, &HostPath),
) -> Result<(), PlanError> {
    let is_written = |path: &HostPath| {
        let place = path.moved(from, at);
        place.is_some_and(|place| spec.confine.nesting || decides(rules, &place, at))
    };
    // What hides the name of a link covers what the link leads to.
    let is_replaceable = |link: &&HostPath| link.parent().is_some_and(|around| is_written(&around));
    for way in &facts.ways {
        let (written, trusted) = (from.clone(), way.name.clone());
        if let Some(link) = way.links.iter().find(is_replaceable) {
            return Err(PlanError::LinkToTrusted { written, link: link.clone(), trusted });
        }
        if way.end.as_ref().is_some_and(is_written) {
            return Err(PlanError::TrustedThere { written, trusted });
        }
    }
    Ok(())
}
