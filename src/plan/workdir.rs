//! Decides how `$HOME` and the current directory are seen, and where the payload starts.
//!
//! # Decisions
//! - `/`, `/tmp`, `/run`, `/var/tmp`, `/home`, and whatever holds the home directories of several people
//!   are never shared because somebody happens to stand there: the payload starts in the private one.
//! - A current directory below a hidden one is mounted alone. One that *is* a hidden directory, a
//!   secret, or lies in a secret is refused with the flag that allows it: to guess either way would
//!   show a secret or run in the wrong place.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Kind};
use super::places::{cow_or_read, home_view};
use super::step::Notice;
use super::view::{Pseudo, Rank, Rule, Rules, View, fixed, is_indispensable};
use crate::spec::rootfs::{Base, HomeView, WorkdirView};
use crate::spec::{HostPath, SandboxPath, Spec};

/// Directories that are private in every sandbox.
const PRIVATE: [&str; 5] = ["/", "/tmp", "/run", "/var/tmp", "/home"];

/// Whether a directory is never the host's without being named.
pub(super) fn is_private(path: &HostPath) -> bool {
    PRIVATE.iter().any(|private| *path == fixed(private))
}

/// Rules for `$HOME` and what stands beside it.
pub(super) fn home_rules(spec: &Spec, facts: &Facts, rules: &mut Rules) -> Result<(), PlanError> {
    let Some(home) = facts.caller.home.as_ref().filter(|home| !is_private(home)) else {
        return Ok(());
    };
    if is_own(rules.deciding(&home.same_in_sandbox())) {
        // `HOME=/proc`, `/dev/shm`: what the sandbox has there is its home.
        return Ok(());
    }
    let place = facts.place(home).ok_or(PlanError::Unprobed("places"))?;
    if let Some(parent) = home.parent().filter(|parent| !parent.is_root()) {
        let around = rules.deciding(&parent.same_in_sandbox()).map(|rule| &rule.view);
        if !is_indispensable(&parent) && !matches!(around, Some(View::Tmpfs { .. } | View::Own(_)))
        {
            rules.add(Rule::same(&parent, View::Hidden, Rank::Default, Kind::Directory));
        }
    }
    let view = match home_view(spec) {
        HomeView::Cow if spec.rootfs.read_only => View::Read,
        HomeView::Cow => cow_or_read(place),
        HomeView::Only | HomeView::Empty if spec.rootfs.read_only => {
            View::Tmpfs { size: None, mode: 0o700 }
        }
        HomeView::Only | HomeView::Empty => View::Private,
    };
    rules.add(Rule::of(place, view, Rank::Home));
    if let Some(spelt) = &facts.caller.home_spelt {
        let link = View::Link(crate::spec::Text::from(home.as_path().as_os_str().to_owned()));
        let spelt = spelt.same_in_sandbox();
        let shown = rules.deciding(&spelt).is_some_and(Rule::shows_host);
        if !shown {
            rules.add(Rule::same(&spelt.same_on_host(), link, Rank::Default, Kind::Absent));
        }
    }
    Ok(())
}

/// The rule for the current directory, when it needs one of its own. All other rules are there.
pub(super) fn workdir_rule(
    spec: &Spec,
    facts: &Facts,
    rules: &mut Rules,
    draft: &mut Draft,
) -> Result<(), PlanError> {
    let Some(path) = facts.caller.workdir.path() else {
        return Ok(());
    };
    let at = path.same_in_sandbox();
    let decided = rules.at(&at).map(|rule| (rule.rank, rule.view.clone()));
    let by_flag = decided.as_ref().is_some_and(|(rank, _)| *rank == Rank::Flag);
    if is_shared(path, facts) && !by_flag {
        draft.notice(Notice::PrivateWorkdir(at));
        return Ok(());
    }
    refuse_hidden(path, rules)?;
    let place = facts.place(path).ok_or(PlanError::Unprobed("places"))?;
    let around = rules.deciding(&at);
    let is_seen = around.is_some_and(Rule::shows_host);
    let read_only = spec.rootfs.read_only || spec.rootfs.workdir == WorkdirView::Read;
    let view = if read_only { View::Read } else { cow_or_read(place) };
    if view == View::Cow || !is_seen || read_only {
        rules.add(Rule::of(place, view, Rank::Workdir));
    }
    let is_read =
        |rule: &Rule| matches!(rule.view, View::Read | View::System) && rule.rank <= Rank::Workdir;
    if !read_only && rules.deciding(&at).is_some_and(is_read) {
        draft.notice(Notice::ReadOnlyWorkdir(at));
    }
    Ok(())
}

/// Whether more than one person's or program's files stand there.
fn is_shared(path: &HostPath, facts: &Facts) -> bool {
    let above_home = |home: &HostPath| home.is_below(path);
    is_private(path) || facts.other_homes.iter().any(above_home)
}

fn refuse_hidden(path: &HostPath, rules: &Rules) -> Result<(), PlanError> {
    let at = path.same_in_sandbox();
    match rules.deciding(&at) {
        Some(rule) if rule.view == View::Hidden => match rule.rank {
            Rank::Store => Err(PlanError::StoreStaysHidden(path.clone())),
            Rank::Secret => {
                let (workdir, secret) = (path.clone(), rule.from.clone());
                Err(PlanError::WorkdirInSecret { workdir, secret, variable: None })
            }
            Rank::Flag if rule.at == at => Err(PlanError::WorkdirHiddenByFlag(path.clone())),
            _ if rule.at == at => Err(PlanError::WorkdirHidden(path.clone())),
            _ => Ok(()),
        },
        rule if is_own(rule) => Err(PlanError::WorkdirOwn(path.clone())),
        _ => Ok(()),
    }
}

/// Whether every sandbox has its own there; what is in its `/run` can be the host's all the same.
fn is_own(rule: Option<&Rule>) -> bool {
    rule.is_some_and(|rule| matches!(rule.view, View::Own(own) if own != Pseudo::Run))
}

/// Without the host's tree the current directory is seen only where something asks for it; what is
/// asked for is refused where it is hidden.
pub(super) fn refuse_hidden_workdir(facts: &Facts, rules: &Rules) -> Result<(), PlanError> {
    match facts.caller.workdir.path() {
        Some(path) if !is_shared(path, facts) => refuse_hidden(path, rules),
        _ => Ok(()),
    }
}

/// Where the payload starts.
pub(super) fn start(spec: &Spec, facts: &Facts, rules: &Rules, draft: &mut Draft) -> SandboxPath {
    if let Some(asked) = &spec.command.workdir {
        return asked.clone();
    }
    if matches!(spec.rootfs.base, Base::Directory(_)) {
        return SandboxPath::root();
    }
    let Some(path) = facts.caller.workdir.path() else {
        draft.notice(Notice::LostWorkdir);
        return SandboxPath::root();
    };
    let at = path.same_in_sandbox();
    let is_there = at.is_root()
        || rules.deciding(&at).is_some_and(|rule| match rule.view {
            View::Skeleton | View::Hidden => facts.root_entries.iter().any(|e| e.path == *path),
            View::Tmpfs { .. } | View::Private | View::Own(_) => rule.at == at,
            _ => rule
                .from
                .join(at.relative_to(&rule.at).unwrap_or(at.as_path()))
                .is_ok_and(|p| p == *path),
        });
    if is_there {
        return at;
    }
    draft.notice(Notice::NoWorkdir);
    SandboxPath::root()
}
