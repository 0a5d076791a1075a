//! What somebody chose for an apply.

use std::collections::{BTreeMap, BTreeSet};

use crate::changes::Change;
use crate::spec::HostPath;

/// What is applied, and how what is doubtful is settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choices {
    /// Which changes.
    pub selected: Selection,
    /// What happens where the host changed too.
    pub conflicts: Resolve,
    /// What happens at these paths instead.
    pub settled: BTreeMap<HostPath, Resolve>,
    /// What happens with paths that other programs execute.
    pub executed_later: ExecutedLater,
}

/// Which changes are applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// Those at and below these paths, and the new directories that they need.
    Below(Vec<HostPath>),
    /// Exactly those at these paths.
    Exactly(BTreeSet<HostPath>),
}

/// How a conflict is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolve {
    /// It is told, and nothing done.
    #[default]
    Tell,
    /// The sandbox's side wins.
    Theirs,
    /// The host's side wins, and the sandbox's goes.
    Ours,
    /// Both are merged where that can be done, else it is told.
    Merge,
}

/// What happens with paths that other programs execute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExecutedLater {
    /// They stay.
    #[default]
    Stay,
    /// They are applied as others.
    Allow,
    /// These are.
    AllowThese(BTreeSet<HostPath>),
}

impl Choices {
    /// How a conflict at a path is settled.
    pub fn resolve(&self, path: &HostPath) -> Resolve {
        self.settled.get(path).copied().unwrap_or(self.conflicts)
    }
}

impl Selection {
    /// Whether a change was asked for.
    pub fn holds(&self, change: &Change) -> bool {
        match self {
            Self::All => true,
            Self::Below(paths) => paths.iter().any(|path| change.path.starts_with(path)),
            Self::Exactly(paths) => paths.contains(&change.path),
        }
    }
}

impl ExecutedLater {
    /// Whether a path may be applied.
    pub fn allows(&self, path: &HostPath) -> bool {
        match self {
            Self::Stay => false,
            Self::Allow => true,
            Self::AllowThese(paths) => paths.contains(path),
        }
    }
}
