//! Which toolchains of a profile are shown in a home of which the rest is not.
//!
//! # Decisions
//! - What lies under its own name below the home is shown. Where a link is on the way, anybody may have put that there who
//!   could once write around it, an earlier payload for one: what it leads to is shown only where that is a toolchain too,
//!   or is seen anyway. All else that a link leads to, the home itself or a neighbour's, stays out, and that is told.
//! - A profile names places in general. One that is no file or directory here is passed over, and told.

use super::facts::{Facts, Place};
use super::places::{home_view, resolve};
use super::view::{Rule, Rules};
use crate::spec::rootfs::{Access, HomeView, PathRequest};
use crate::spec::{HostPath, Spec};

/// What becomes of a toolchain.
pub(super) enum Toolchain<'f> {
    /// It is shown.
    Shown,
    /// It is none here: not below the home, not there, or the whole home is shown.
    None,
    /// It leads to something that is no toolchain.
    Elsewhere(&'f Place),
}

/// Decides about one; `rules` are those for the tree and for what was asked for before.
pub(super) fn toolchain<'f>(
    spec: &Spec,
    request: &PathRequest,
    facts: &'f Facts,
    rules: &Rules,
) -> Toolchain<'f> {
    let asked = resolve(&request.path, facts);
    let (Some(home), Some(asked)) = (&facts.caller.home, asked) else { return Toolchain::None };
    if home_view(spec) != HomeView::Only || !named(&asked, facts).is_below(home) {
        return Toolchain::None;
    }
    // What nobody looked at is an error for who asks for it.
    let Some(place) = facts.place(&asked) else { return Toolchain::Shown };
    if place.kind == super::facts::Kind::Absent || place.real == named(&asked, facts) {
        return Toolchain::Shown;
    }
    let is_listed = spec.rootfs.requests.iter().any(|other| lists(other, &place.real, facts));
    if is_listed || is_seen(&place.real, facts, rules) {
        Toolchain::Shown
    } else {
        Toolchain::Elsewhere(place)
    }
}

/// Links of `$HOME` itself are the machine's.
fn named(asked: &HostPath, facts: &Facts) -> HostPath {
    let spelt = facts.caller.home_spelt.as_ref().zip(facts.caller.home.as_ref());
    spelt.and_then(|(spelt, home)| asked.moved(spelt, home)).unwrap_or_else(|| asked.clone())
}

/// Whether a place without links is, or lies in, one that a request names as a toolchain below the home.
fn lists(request: &PathRequest, real: &HostPath, facts: &Facts) -> bool {
    let home = facts.caller.home.as_ref();
    request.access == Access::Toolchain
        && resolve(&request.path, facts).is_some_and(|asked| {
            let asked = named(&asked, facts);
            real.starts_with(&asked) && home.is_some_and(|home| asked.is_below(home))
        })
}

/// Whether a place of the host is seen under its own name without being asked for.
fn is_seen(real: &HostPath, facts: &Facts, rules: &Rules) -> bool {
    let hidden = facts.hidden.iter().map(|found| &found.path);
    let mut hidden = hidden.chain(&facts.other_homes);
    let holds_home = facts.caller.home.as_ref().is_some_and(|home| home.starts_with(real));
    let is_itself = |rule: &Rule| rule.shows_host() && rule.at.same_on_host() == rule.from;
    !holds_home
        && !hidden.any(|hidden| real.starts_with(hidden))
        && !facts.store_places().any(|store| real.starts_with(&store))
        && rules.deciding(&real.same_in_sandbox()).is_some_and(is_itself)
}
