//! From a policy to one decision per number.
//!
//! # Theory of operation
//! Rules whose conditions do not hold for the run are left out. The others are put, in order, beside
//! every number they name. A number's checks end with the first rule that has no comparison, or with
//! the policy's default. Everything between known numbers gets `unknown`; equal neighbours become
//! one range.
//!
//! # Decisions
//! * A call that a policy names and this architecture lacks is left out; one that no architecture
//!   has is an error in our files, a warning in Docker's.
//! * Number -1 is allowed where unknown numbers get an errno: a debugger that skips a call sets it,
//!   and the kernel does nothing with it.
//! * x32 numbers have no name: `unknown`. 32-bit calls by [`Abi32`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Arch, Denial, SyscallTable, SyscallTables};
use crate::spec::order;
use crate::spec::seccomp::{
    Abi32, Action, Call, Comparison, Errno, Matching, Nesting, Notifications, Policy,
    PolicyVariant, Rule,
};
use crate::spec::text::escape;

/// A call's number when a tracer skips it.
const SKIPPED: u32 = u32::MAX;

/// What is answered to one number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Tried in order.
    pub checks: Vec<Check>,
    /// When none holds; `None` hands the call to the program that follows.
    pub otherwise: Option<Action>,
}

/// One condition and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// All of them; never empty.
    pub all: Vec<Comparison>,
    /// What is answered when they hold; `None` hands the call to the program that follows.
    pub action: Option<Action>,
}

/// What is answered to the calls of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchBlock {
    /// Which.
    pub arch: Arch,
    /// First number of each range, ascending, the first being 0; neighbours differ.
    pub ranges: Vec<(u32, Decision)>,
}

/// A policy for one run on one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// The native architecture first.
    pub blocks: Vec<ArchBlock>,
    /// Calls of any other architecture.
    pub foreign: Action,
    /// What the supervisor answers to notified calls.
    pub denials: Vec<Denial>,
    /// Names in the policy that no architecture has.
    pub unknown_names: Vec<String>,
}

/// A policy that cannot be lowered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// No architecture has a call of this name.
    #[error("cannot find a system call named `{}`", escape(.0))]
    UnknownName(String),
    /// The build has no table for the architecture.
    #[error("cannot find the system call table of {0:?}")]
    NoTable(Arch),
    /// A rule after one that always decides.
    #[error("cannot reach a rule for `{0}`: an earlier one always decides")]
    Unreachable(String),
    /// The supervisor answers from the number alone.
    #[error("cannot notify `{name}` with both {one} and {other}")]
    TwoErrnos {
        /// The call.
        name: String,
        /// In one rule.
        one: Errno,
        /// In another.
        other: Errno,
    },
    /// Merging rules is libseccomp's business.
    #[error("cannot lower a policy whose rules are merged by libseccomp")]
    Merged,
}

/// Lowers a policy of ours.
pub fn lower(
    policy: &Policy,
    variant: &PolicyVariant,
    tables: &SyscallTables,
    native: Arch,
) -> Result<Lowered, LowerError> {
    if policy.matching == Matching::Merged {
        return Err(LowerError::Merged);
    }
    for name in policy.rules.iter().flat_map(|rule| &rule.calls) {
        if let Call::Name(name) = name
            && !tables.knows(name)
        {
            return Err(LowerError::UnknownName(name.clone()));
        }
    }
    Lowering { policy, variant, tables, native, followed_by: None }.run()
}

/// The program that follows a floor.
pub struct Following<'a> {
    /// What it was made of.
    pub policy: &'a Policy,
    /// Whether libseccomp has a name for a call. What it has none for is decided in the floor.
    pub is_known: &'a dyn Fn(&str) -> bool,
}

/// Lowers what holds for every run whatever its policy says, to be put before a policy that
/// libseccomp compiled. Everything the floor allows is handed on.
pub fn lower_floor(
    floor: &Policy,
    following: &Following<'_>,
    variant: &PolicyVariant,
    tables: &SyscallTables,
    native: Arch,
) -> Result<Lowered, LowerError> {
    let Following { policy, is_known } = following;
    let is_newer = |call: &&Call| match call {
        Call::Name(name) => tables.knows(name) && !is_known(name),
        Call::Number(_) => false,
    };
    let newer = |rule: &Rule| {
        let calls: Vec<Call> = rule.calls.iter().filter(is_newer).cloned().collect();
        (!calls.is_empty()).then(|| Rule { calls, ..rule.clone() })
    };
    let mut rules: Vec<Rule> = policy.rules.iter().filter_map(newer).collect();
    // As libseccomp has it, a rule that always decides is looked at last.
    order::sort_by_key(&mut rules, |rule| rule.args.is_empty());
    let rules = [floor.rules.clone(), rules].concat();
    let floor = Policy { abi32: policy.abi32, rules, ..floor.clone() };
    let lowering =
        Lowering { policy: &floor, variant, tables, native, followed_by: Some(following) };
    let names = policy.rules.iter().flat_map(|rule| &rule.calls).filter_map(|call| match call {
        Call::Name(name) if !tables.knows(name) => Some(name.clone()),
        _ => None,
    });
    let unknown_names: BTreeSet<String> = names.collect();
    Ok(Lowered { unknown_names: unknown_names.into_iter().collect(), ..lowering.run()? })
}

/// What one lowering is made of.
#[derive(Clone, Copy)]
struct Lowering<'a> {
    policy: &'a Policy,
    variant: &'a PolicyVariant,
    tables: &'a SyscallTables,
    native: Arch,
    followed_by: Option<&'a Following<'a>>,
}

impl Lowering<'_> {
    fn run(self) -> Result<Lowered, LowerError> {
        let mut blocks = vec![self.block(self.native)?];
        let mut foreign = Action::KillProcess;
        if let Some(compat) = self.native.compat() {
            match self.policy.abi32 {
                Abi32::Allow => blocks.push(self.block(compat)?),
                Abi32::Refuse => foreign = self.heard(Action::Notify(Errno::ENOSYS)),
                Abi32::Kill => {}
            }
        }
        let denials = denials(&blocks, self.tables)?;
        Ok(Lowered { blocks, foreign, denials, unknown_names: Vec::new() })
    }

    /// With nesting the payload may want the one listener for itself.
    fn heard(self, action: Action) -> Action {
        let variant = self.variant;
        let listening = variant.notify == Notifications::On && variant.nesting == Nesting::Refuse;
        if listening { action } else { action.unheard() }
    }

    fn block(self, arch: Arch) -> Result<ArchBlock, LowerError> {
        let table = self.tables.of(arch).ok_or(LowerError::NoTable(arch))?;
        let mut decided: BTreeMap<u32, Decision> = BTreeMap::new();
        // Whether the rule that always decides is always part of the policy.
        let mut closed: BTreeMap<u32, bool> = BTreeMap::new();
        let of_run = |rule: &&Rule| rule.only.hold(self.variant, self.native.docker_name());
        for rule in self.policy.rules.iter().filter(of_run) {
            for number in numbers(rule, table, arch == self.native) {
                match closed.get(&number) {
                    Some(true) if self.followed_by.is_none() && !rule.inherited => {
                        return Err(LowerError::Unreachable(name_of(table, number)));
                    }
                    Some(_) => continue,
                    None => {}
                }
                let decision =
                    decided.entry(number).or_insert_with(|| self.fallback(table, number));
                let action = Some(self.heard(rule.action));
                if rule.args.is_empty() {
                    decision.otherwise = action;
                    closed.insert(number, rule.only.is_empty());
                } else {
                    decision.checks.push(Check { all: rule.args.clone(), action });
                }
            }
        }
        for number in table.numbers() {
            decided.entry(number).or_insert_with(|| self.fallback(table, number));
        }
        for (number, decision) in &mut decided {
            if self.followed_by.is_some() && self.decides_later(table, *number) {
                hand_on(decision);
            }
        }
        let unknown = always(self.policy.unknown);
        if matches!(self.policy.unknown, Action::Errno(_)) {
            decided.insert(SKIPPED, always(Action::Allow));
        }
        Ok(ArchBlock { arch, ranges: ranges(decided, &unknown) })
    }

    /// Whether the program that follows knows the call.
    fn decides_later(self, table: &SyscallTable, number: u32) -> bool {
        self.followed_by.is_some_and(|following| {
            table.name(number).is_none_or(|name| (following.is_known)(name))
        })
    }

    /// What a call gets that no rule decides.
    fn fallback(self, table: &SyscallTable, number: u32) -> Decision {
        let default = match self.followed_by {
            Some(following) if !self.decides_later(table, number) => following.policy.default,
            _ => self.policy.default,
        };
        always(self.heard(default))
    }
}

fn always(action: Action) -> Decision {
    Decision { checks: Vec::new(), otherwise: Some(action) }
}

fn hand_on(decision: &mut Decision) {
    let on = |action: &mut Option<Action>| {
        if *action == Some(Action::Allow) {
            *action = None;
        }
    };
    on(&mut decision.otherwise);
    decision.checks.iter_mut().for_each(|check| on(&mut check.action));
}

fn numbers(rule: &Rule, table: &SyscallTable, is_native: bool) -> Vec<u32> {
    let number = |call: &Call| match call {
        Call::Name(name) => table.number(name),
        Call::Number(number) => is_native.then_some(*number),
    };
    rule.calls.iter().filter_map(number).collect()
}

fn name_of(table: &SyscallTable, number: u32) -> String {
    table.name(number).map_or_else(|| number.to_string(), ToOwned::to_owned)
}

fn ranges(decided: BTreeMap<u32, Decision>, unknown: &Decision) -> Vec<(u32, Decision)> {
    let mut ranges: Vec<(u32, Decision)> = Vec::new();
    let mut push = |start: u32, decision: Decision| {
        if ranges.last().is_none_or(|(_, last)| *last != decision) {
            ranges.push((start, decision));
        }
    };
    let mut next = Some(0);
    for (number, decision) in decided {
        if let Some(expected) = next
            && number > expected
        {
            push(expected, unknown.clone());
        }
        push(number, decision);
        next = number.checked_add(1);
    }
    if let Some(rest) = next {
        push(rest, unknown.clone());
    }
    ranges
}

fn denials(blocks: &[ArchBlock], tables: &SyscallTables) -> Result<Vec<Denial>, LowerError> {
    let mut found: BTreeMap<(Arch, u32), Errno> = BTreeMap::new();
    for block in blocks {
        let table = tables.of(block.arch).ok_or(LowerError::NoTable(block.arch))?;
        for (index, (start, decision)) in block.ranges.iter().enumerate() {
            let actions = decision.checks.iter().map(|check| check.action);
            for action in actions.chain([decision.otherwise]) {
                let Some(Action::Notify(errno)) = action else { continue };
                let end = block.ranges.get(index + 1).map_or(u32::MAX, |(next, _)| *next);
                for number in table.numbers().filter(|number| (*start..end).contains(number)) {
                    let before = found.insert((block.arch, number), errno);
                    if let Some(other) = before.filter(|before| *before != errno) {
                        let name = name_of(table, number);
                        return Err(LowerError::TwoErrnos { name, one: other, other: errno });
                    }
                }
            }
        }
    }
    Ok(found.into_iter().map(|((arch, number), errno)| Denial { arch, number, errno }).collect())
}
