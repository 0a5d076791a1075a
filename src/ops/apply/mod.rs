//! `bryo apply`: brings what a sandbox changed to the host.
//!
//! # Theory of operation
//! The sandbox is locked, what an interrupted apply left is put in order, the changes are looked at, a
//! person may choose among them, and what was chosen is done. What could not be done stays in the layer and is
//! in the [`Report`] with both sides.
//!
//! # Decisions
//! - A dry run looks and changes nothing.
//! - A signal ends it before the next step. What was begun is put in order at once, as the next apply would, and told.
//! - What of the host's an interrupted apply could not put back is told whatever comes of this one.
//! - A review is of everything that was selected: when one path of it is not what was reviewed, nothing is done.

pub(super) mod mounted;
mod report;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::diff::item::{Depth, Review};
use super::diff::text;
use super::error::OpsError;
use super::measure::measure;
use super::merge::Git;
use super::sweep::sweep;
use crate::changes::apply::{Apply, ApplyError, Mode, Outcome, Wish, put_aside};
pub use crate::changes::apply::{
    ApplyPlan, Choices, Conflict, ExecutedLater, Item, Resolve, Selection as Chosen, Why,
};
use crate::changes::{Change, ChangesError, Digest, Executed, Later, Selection, Sources};
use crate::report::Colour;
use crate::spec::HostPath;
use crate::state::{Record, SandboxDirectory, StateError, Stores, Which};
use crate::supervise::block_signals;
use crate::supervise::errand::{Halt, take_signals};
pub use report::{Report, Stayed};

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// Which sandbox.
    pub which: Which<'a>,
    /// Which of its changes.
    pub selection: &'a Selection,
    /// How conflicts are settled.
    pub conflicts: Resolve,
    /// Whether paths that other programs execute are applied as others are.
    pub executed_later: ExecutedLater,
    /// What was reviewed.
    pub reviewed: Option<Digest>,
    /// Whether it is done, or only looked at.
    pub doing: Doing,
    /// Knows what other programs execute.
    pub later: Later,
}

impl Request<'_> {
    fn choices(&self) -> Choices {
        let paths = &self.selection.paths;
        let selected = if paths.is_empty() { Chosen::All } else { Chosen::Below(paths.clone()) };
        let (conflicts, executed_later) = (self.conflicts, self.executed_later.clone());
        Choices { selected, conflicts, settled: BTreeMap::new(), executed_later }
    }
}

/// Whether it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It is.
    Really,
    /// It is only looked at.
    DryRun,
}

/// Somebody who is asked and told.
pub trait Person {
    /// Chooses among changes; none for all of them, as they were asked for. An error ends the apply before
    /// anything is done.
    fn choose(&mut self, offer: &mut Offer<'_>) -> Result<Option<Choices>, OpsError>;

    /// Is told how many of the actions are done.
    fn progress(&mut self, done: usize, all: usize);
}

/// What somebody can choose from.
pub struct Offer<'a> {
    /// What would be done, and what would stay.
    pub plan: &'a ApplyPlan,
    /// All changes.
    pub items: &'a [Item],
    /// What was asked for.
    pub choices: &'a Choices,
    sandbox: &'a SandboxDirectory,
    record: &'a Record,
    later: &'a RefCell<Later>,
}

impl Offer<'_> {
    /// A change with the lines in which both sides differ, ready to be shown.
    pub fn diff(&mut self, change: &Change, colour: Colour) -> Result<String, OpsError> {
        let open = |number| Ok(self.sandbox.open_upper(number)?);
        let sources = Sources::open::<OpsError>(&self.record.layers, open)?;
        let mut later = self.later.borrow_mut();
        let mut review = Review::new(sources, &mut later, Depth::Texts);
        let failed = |source| ChangesError::Compare { path: change.path.clone(), source };
        let item = review.look_at(change.clone()).map_err(failed)?;
        Ok(item.map(|item| text::with_content(&item, colour)).unwrap_or_default())
    }
}

/// Nobody: everything is done as it was asked for.
#[derive(Debug)]
pub struct Nobody;

impl Person for Nobody {
    fn choose(&mut self, _: &mut Offer<'_>) -> Result<Option<Choices>, OpsError> {
        Ok(None)
    }

    fn progress(&mut self, _: usize, _: usize) {}
}

/// Applies changes of a sandbox that does not run.
pub fn apply(
    stores: &Stores,
    request: Request<'_>,
    person: &mut dyn Person,
) -> Result<Report, OpsError> {
    sweep(stores)?;
    let found = stores.choose(request.which)?;
    if found.is_running()? {
        return Err(StateError::Running(found.id()).into());
    }
    let sandbox = found.lock()?;
    if let Some(process) = mounted::by_whom(sandbox.id()) {
        return Err(OpsError::Mounted { id: sandbox.id(), process });
    }
    let record = sandbox.record()?;
    let report = with_sandbox(&sandbox, &record, request, person);
    let was_begun = match &report {
        Ok(report) => report.was_done,
        Err(error) => matches!(error, OpsError::ApplyHalted { .. }),
    };
    if was_begun {
        let mut record = record;
        measure(&sandbox, &mut record)?;
        sandbox.replace_record(&record)?;
    }
    report.map_err(|error| match put_aside(&sandbox) {
        kept if kept.is_empty() => error,
        kept => OpsError::KeptAside { kept, source: Box::new(error) },
    })
}

fn with_sandbox(
    sandbox: &SandboxDirectory,
    record: &Record,
    request: Request<'_>,
    person: &mut dyn Person,
) -> Result<Report, OpsError> {
    let mut choices = request.choices();
    let later = RefCell::new(request.later);
    let executed_later =
        |change: &Change| later.borrow_mut().executes(change).map(Executed::remark);
    let mode = if request.doing == Doing::DryRun { Mode::Look } else { Mode::Do };
    let mut go_on = || true;
    let mut wish = Wish {
        excludes: &request.selection.exclude,
        executed_later: &executed_later,
        go_on: &mut go_on,
    };
    let mut apply = Apply::begin(sandbox, record, mode, &mut wish)?;
    let (later, doing) = (&later, request.doing);
    if let Some(digest) = request.reviewed
        && !apply.review(&choices.selected, digest)?
    {
        return Err(OpsError::NotReviewed(record.id));
    }
    if choices.conflicts == Resolve::Merge {
        merge(&mut apply, &choices, record)?;
    }
    let mut plan = apply.plan(&choices);
    let (items, choices_asked) = (apply.items(), &choices);
    let mut offer = Offer { plan: &plan, items, choices: choices_asked, sandbox, record, later };
    if let Some(chosen) = person.choose(&mut offer)? {
        choices = chosen;
        plan = apply.plan(&choices);
    }
    let items = apply.items().to_vec();
    let (interrupted, put_aside) = (apply.was_interrupted(), apply.put_aside().to_vec());
    let unchanged = unchanged(&request.selection.paths, &items, interrupted);
    if doing == Doing::DryRun {
        let outcome = Outcome { done: (0..plan.actions.len()).collect(), left: Vec::new() };
        return Ok(Report::new(record, &items, &plan, &outcome)
            .with_unchanged(unchanged)
            .dry(interrupted));
    }
    let outcome = match carry_out(apply, &plan, person)? {
        Carried::Out(outcome) => outcome,
        Carried::Until(halt) => {
            let (id, named) = (record.id, *request.selection != Selection::default());
            let settled = Apply::begin(sandbox, record, Mode::Do, &mut wish)?;
            let (all, done) = (plan.actions.len(), settle(settled, &plan, choices)?);
            return Err(OpsError::ApplyHalted { id, done, all, named, halt });
        }
    };
    Ok(Report::new(record, &items, &plan, &outcome).with_unchanged(unchanged).keeping(put_aside))
}

/// How far a plan was carried out.
enum Carried {
    Out(Outcome),
    /// What was begun has to be put in order.
    Until(Halt),
}

/// Does what was planned, until a signal asks for an end.
fn carry_out(
    apply: Apply<'_>,
    plan: &ApplyPlan,
    person: &mut dyn Person,
) -> Result<Carried, OpsError> {
    let signals = block_signals()?;
    let mut halt = None;
    let mut go_on = || match take_signals(&signals) {
        Ok(()) => true,
        Err(asked) => {
            halt = Some(asked);
            false
        }
    };
    let mut progress = |done| person.progress(done, plan.actions.len());
    match (apply.carry_out(plan, &mut go_on, &mut progress), halt) {
        (Err(ApplyError::Interrupted), Some(halt)) => Ok(Carried::Until(halt)),
        (outcome, _) => Ok(Carried::Out(outcome?)),
    }
}

/// Ends an apply that put in order what another had begun. How many actions of that left nothing to do, as the layer
/// holds it no more.
fn settle(apply: Apply<'_>, begun: &ApplyPlan, choices: Choices) -> Result<usize, OpsError> {
    let left: BTreeSet<&HostPath> = apply.items().iter().map(|item| &item.change.path).collect();
    let done = begun.actions.iter().filter(|action| !left.contains(&action.path)).count();
    let nothing = apply.plan(&Choices { selected: Chosen::Below(Vec::new()), ..choices });
    apply.carry_out(&nothing, &mut || true, &mut |_| {})?;
    Ok(done)
}

/// Named paths in which nothing changed; none where an apply that was interrupted may have brought it over.
fn unchanged(named: &[HostPath], items: &[Item], interrupted: bool) -> Vec<HostPath> {
    let is_in = |path: &HostPath| items.iter().any(|item| item.change.path.starts_with(path));
    named.iter().filter(|path| !interrupted && !is_in(path)).cloned().collect()
}

/// Merges what can be; ends where git does not.
fn merge(apply: &mut Apply<'_>, choices: &Choices, record: &Record) -> Result<(), OpsError> {
    let (git, start) = (Git::find(), record.created);
    let mut late = None;
    let mut merge = |change: &Change, ours: &[u8], theirs: &[u8]| {
        if late.is_some() {
            return None;
        }
        let merged = git.merge(&change.path, start, (ours, theirs));
        merged.unwrap_or_else(|error| {
            late = Some(error);
            None
        })
    };
    apply.merge(choices, &mut merge)?;
    late.map_or(Ok(()), |error| Err(error.into()))
}
