//! Our own policy files: TOML, every entry with its reason beside it.
//!
//! # Theory of operation
//! `[[rule]]` entries are decisions with argument comparisons or conditions, in order. `[[group]]`
//! entries are lists of calls with one action and a reason for each; they come after all rules, so
//! that a rule can make an exception of a call that a group allows. A call that stands twice in
//! groups, or without a reason, is an error.
//!
//! ```toml
//! name = "example"
//! default = "errno EPERM"
//! unknown = "errno ENOSYS"
//! abi32 = "refuse"
//!
//! [[rule]]
//! calls = ["ioctl"]
//! args = ["arg1 & 0xffffffff == 0x5412"]
//! action = "notify EPERM"
//! reason = "TIOCSTI types into a terminal"
//!
//! [[group]]
//! title = "bytes in and out"
//! action = "allow"
//! [group.calls]
//! read = "from a descriptor that was opened or passed"
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    Abi32, Action, Call, Comparison, Conditions, MAX_FILE_BYTES, MAX_NAMES, MAX_RULES, Matching,
    Policy, PolicyError, Rule, RuleProblem,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    name: String,
    default: Action,
    unknown: Action,
    abi32: Abi32,
    #[serde(default)]
    rule: Vec<RuleEntry>,
    #[serde(default)]
    group: Vec<GroupEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    calls: Vec<Call>,
    #[serde(default)]
    args: Vec<Comparison>,
    #[serde(default)]
    only: Conditions,
    action: Action,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupEntry {
    title: String,
    action: Action,
    #[serde(default)]
    only: Conditions,
    calls: BTreeMap<String, String>,
}

/// Reads a policy file of ours. `origin` names it in messages.
pub fn parse(text: &str, origin: &str) -> Result<Policy, PolicyError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(PolicyError::TooLong { name: origin.to_owned(), bytes: text.len() });
    }
    let file: PolicyFile = toml::from_str(text).map_err(|source| PolicyError::Toml {
        name: origin.to_owned(),
        source: Box::new(source),
    })?;
    let mut rules = Vec::new();
    for (index, entry) in file.rule.into_iter().enumerate() {
        let rule = Rule {
            calls: entry.calls,
            args: entry.args,
            only: entry.only,
            action: entry.action,
            reason: entry.reason,
        };
        check_rule(&rule).map_err(|problem| PolicyError::Rule {
            name: origin.to_owned(),
            rule: index + 1,
            problem,
        })?;
        rules.push(rule);
    }
    let mut seen = BTreeSet::new();
    for group in file.group {
        add_group(&mut rules, &mut seen, group, origin)?;
    }
    check_count(origin, "rules", rules.len(), MAX_RULES)?;
    Ok(Policy {
        name: file.name,
        default: file.default,
        unknown: file.unknown,
        abi32: file.abi32,
        matching: Matching::First,
        rules,
    })
}

fn check_rule(rule: &Rule) -> Result<(), RuleProblem> {
    if rule.calls.is_empty() {
        return Err(RuleProblem::NoCalls);
    }
    if rule.calls.len() > MAX_NAMES {
        return Err(RuleProblem::TooManyCalls(rule.calls.len()));
    }
    if rule.args.len() > 6 {
        return Err(RuleProblem::Comparisons(rule.args.len()));
    }
    if rule.reason.trim().is_empty() {
        return Err(RuleProblem::NoReason);
    }
    Ok(())
}

fn add_group(
    rules: &mut Vec<Rule>,
    seen: &mut BTreeSet<String>,
    group: GroupEntry,
    origin: &str,
) -> Result<(), PolicyError> {
    let wrong = |problem| PolicyError::Group {
        name: origin.to_owned(),
        group: group.title.chars().take(64).collect(),
        problem,
    };
    for (call, reason) in group.calls {
        if reason.trim().is_empty() {
            return Err(wrong(RuleProblem::NoReason));
        }
        // A call may stand in several groups that differ in their conditions.
        if group.only.is_empty() && !seen.insert(call.clone()) {
            return Err(wrong(RuleProblem::Twice(call)));
        }
        rules.push(Rule {
            calls: vec![Call::Name(call)],
            args: Vec::new(),
            only: group.only.clone(),
            action: group.action,
            reason,
        });
    }
    Ok(())
}

/// Refuses what is too many.
pub(super) fn check_count(
    name: &str,
    what: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), PolicyError> {
    if count <= limit {
        return Ok(());
    }
    Err(PolicyError::TooMany { name: name.to_owned(), what, count, limit })
}
