//! What came of an apply: for people, and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::error::OpsError;
use crate::changes::apply::{
    Action, ApplyPlan, Item, Left, Note, Outcome, PutAside, Refusal, Resolve, Why, verb,
};
use crate::changes::{FileKind, Kind, Node};
use crate::report::amount::{count, size};
use crate::spec::HostPath;
use crate::spec::order;
use crate::spec::text::pretty_json;
use crate::state::{Record, SandboxId};

/// Of the JSON form.
const VERSION: u32 = 1;

/// What came of an apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    version: u32,
    /// Of which sandbox.
    pub sandbox: SandboxId,
    /// How somebody refers to it.
    #[serde(skip)]
    pub reference: String,
    /// Nothing was done: it was only looked at.
    pub dry_run: bool,
    /// An apply had been interrupted, and will be put in order by the next one.
    pub interrupted: bool,
    /// What was applied, in this order.
    pub applied: Vec<Applied>,
    /// What stays in the layer, sorted by path.
    pub left: Vec<Stayed>,
    /// Paths that were named and in which nothing changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<HostPath>,
    /// What of the host's an interrupted apply had put aside: it was changed since, and stays there, as
    /// something else stands in its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub put_aside: Vec<PutAside>,
    /// Whether anything was done at all.
    #[serde(skip)]
    pub was_done: bool,
}

/// One path that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Where.
    pub path: HostPath,
    /// What was done: `add`, `replace`, `change`, `remove`, `merge`, `keep the host's`.
    pub action: &'static str,
    /// What was not taken over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Note>,
}

/// One path that stays in the layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stayed {
    /// Where.
    pub path: HostPath,
    /// What the sandbox did there.
    pub kind: Kind,
    /// `conflict`, `refused`, `executed-later`, `above` or `failed`.
    pub reason: &'static str,
    /// In words.
    pub why: String,
    /// It would take a file of another user's away.
    #[serde(skip)]
    pub is_foreign: bool,
    /// It is what fuse-overlayfs left of a copy.
    #[serde(skip)]
    pub is_miscopied: bool,
    /// What the sandbox has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Node>,
    /// What the host has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Node>,
}

impl Report {
    pub(super) fn new(
        record: &Record,
        items: &[Item],
        plan: &ApplyPlan,
        outcome: &Outcome,
    ) -> Self {
        let applied = |action: &Action| Applied {
            path: action.path.clone(),
            action: verb(action, &items[action.change].change),
            without: action.notes.clone(),
        };
        let done = outcome.done.iter().filter_map(|index| plan.actions.get(*index));
        let mut left: Vec<Stayed> =
            plan.left.iter().chain(&outcome.left).map(|left| stayed(items, left)).collect();
        order::sort_by(&mut left, |a, b| a.path.cmp(&b.path));
        Self {
            version: VERSION,
            sandbox: record.id,
            reference: record.name.clone().unwrap_or_else(|| record.id.to_string()),
            dry_run: false,
            interrupted: false,
            applied: done.map(applied).collect(),
            left,
            unchanged: Vec::new(),
            put_aside: Vec::new(),
            was_done: !plan.actions.is_empty(),
        }
    }

    pub(super) fn keeping(self, put_aside: Vec<PutAside>) -> Self {
        Self { put_aside, ..self }
    }

    pub(super) fn dry(self, interrupted: bool) -> Self {
        Self { dry_run: true, was_done: false, interrupted, ..self }
    }

    pub(super) fn with_unchanged(self, unchanged: Vec<HostPath>) -> Self {
        Self { unchanged, ..self }
    }

    /// Whether all that was asked for is on the host now. A path in which nothing is left to apply is told,
    /// and no failure: the same command may have applied it before.
    pub fn is_all(&self) -> bool {
        self.left.is_empty() && self.put_aside.is_empty()
    }

    /// For programs: one object, indented.
    pub fn json(&self) -> Result<Vec<u8>, OpsError> {
        pretty_json(self).map(String::into_bytes).map_err(OpsError::Json)
    }

    /// For people: what was done, path by path where it was only looked at, and what stays, with both sides.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
        if self.interrupted {
            line("an apply was interrupted; the next one puts in order what it left".to_owned());
        }
        for PutAside { path, at } in &self.put_aside {
            line(format!("kept: {at}: the host's {path}, changed after an apply had put it aside"));
        }
        for applied in self.applied.iter().filter(|a| self.dry_run || !a.without.is_empty()) {
            let mut text = format!("{} {}", applied.action, applied.path);
            for note in &applied.without {
                write!(text, ", {note}").unwrap_or_default();
            }
            line(text);
        }
        for path in &self.unchanged {
            line(format!("nothing changed at or below `{path}`"));
        }
        for stayed in &self.left {
            line(format!("{}: {}: {}", stayed.label(), stayed.path, stayed.why));
            if stayed.reason == "conflict" {
                line(format!("  sandbox: {}", side(stayed.sandbox.as_ref())));
                line(format!("  host:    {}", side(stayed.host.as_ref())));
            }
        }
        line(self.summary());
        out
    }

    /// One line.
    pub fn summary(&self) -> String {
        let number = |length: usize| count(length as u64, "change", "changes");
        if self.applied.is_empty() && self.left.is_empty() {
            return "nothing to apply".to_owned();
        }
        let verb = if self.dry_run { "would apply" } else { "applied" };
        let applied = match self.applied.len() {
            0 => "nothing".to_owned(),
            some => number(some),
        };
        let mut text = format!("{verb} {applied}");
        if !self.left.is_empty() {
            let stays = if self.left.len() == 1 { "stays" } else { "stay" };
            write!(text, "; {} {stays} in the layer of {}", self.left.len(), self.reference)
                .unwrap_or_default();
        }
        text
    }

    /// What to do about what stays.
    pub fn hints(&self, asked: Resolve) -> Vec<&'static str> {
        let has = |reason: &str| self.left.iter().any(|left| left.reason == reason);
        let conflict = match asked {
            Resolve::Merge => {
                "git merges what it had committed when the sandbox started, where not both changed the same \
                 lines; of the rest, --theirs takes the sandbox's side, --ours the host's; -i asks for each"
            }
            _ => {
                "--theirs takes the sandbox's side, --ours the host's, --merge both where git \
                 knows what they began with; -i asks for each"
            }
        };
        let later = "--allow-executed-later applies what other programs execute, and what opens to \
                     other users; read it first";
        let foreign = "who may write into a file of another user keeps its owner by writing into it: \
                       bryo export SANDBOX PATH | tar -xO >PATH, by hand, as that cannot be done at once";
        let miscopied = "bryo discard SANDBOX PATH drops what fuse-overlayfs left, and the next run sees the \
                         host's again; the program was answered with an I/O error";
        let mut hints = Vec::new();
        hints.extend(has("conflict").then_some(conflict));
        hints.extend(has("executed-later").then_some(later));
        hints.extend(self.left.iter().any(|left| left.is_foreign).then_some(foreign));
        hints.extend(self.left.iter().any(|left| left.is_miscopied).then_some(miscopied));
        hints
    }
}

impl Stayed {
    fn label(&self) -> &'static str {
        match self.reason {
            "conflict" => "conflict",
            "failed" => "failed",
            "executed-later" => "not without a yes",
            "above" => "not applied",
            _ => "refused",
        }
    }
}

fn stayed(items: &[Item], left: &Left) -> Stayed {
    let change = &items[left.change].change;
    Stayed {
        path: change.path.clone(),
        kind: change.kind,
        reason: match &left.why {
            Why::Conflict(_) => "conflict",
            Why::Refused(_) => "refused",
            Why::ExecutedLater(_) => "executed-later",
            Why::Above(_) => "above",
            Why::Failed(_) => "failed",
        },
        why: left.why.to_string(),
        is_foreign: matches!(left.why, Why::Refused(Refusal::Foreign(_)))
            && change.was.as_ref().is_some_and(|was| was.kind == FileKind::File),
        is_miscopied: matches!(left.why, Why::Refused(Refusal::Miscopied)),
        sandbox: change.now.clone(),
        host: change.was.clone(),
    }
}

fn side(node: Option<&Node>) -> String {
    let Some(node) = node else { return "nothing".to_owned() };
    let what = match (&node.target, node.size) {
        (Some(target), _) => format!("link to `{target}`"),
        (None, Some(bytes)) => format!("file, {}", size(bytes)),
        (None, None) => format!("{:?}", node.kind).to_lowercase(),
    };
    format!("{what}, mode {:04o}, modified {}", node.mode, node.modified)
}
