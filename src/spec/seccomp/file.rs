//! Our own policy files: TOML, every entry with its reason beside it.
//!
//! # Theory of operation
//! `[[rule]]` entries are decisions with argument comparisons or conditions, in order. `[[group]]`
//! entries are lists of calls with one action and a reason for each; they come after all rules, so
//! that a rule can make an exception of a call that a group allows. A call that stands twice in
//! groups, or without a reason, is an error.
//!
//! A policy may extend a built-in one: its own entries come before the other's, which are not reached
//! for a call that it always decides. What it leaves out at the top is the other's.
//!
//! ```toml
//! name = "profiling"
//! extends = "default"
//!
//! [[rule]]
//! calls = ["ioctl"]
//! args = ["arg1 & 0xffffffff == 0x5413"]
//! action = "notify EPERM"
//! reason = "nobody is to know how wide the window is"
//!
//! [[group]]
//! title = "profilers"
//! action = "allow"
//! [group.calls]
//! perf_event_open = "the payload is trusted with the machine's counters"
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    Abi32, Action, Call, Comparison, Conditions, MAX_FILE_BYTES, MAX_NAMES, MAX_RULES, Matching,
    Policy, PolicyError, Rule, RuleProblem,
};
use crate::spec::text::escape;

/// A policy that is part of bryo.
struct Builtin {
    name: &'static str,
    text: &'static str,
    /// What differs from the text.
    abi32: Option<Abi32>,
}

const DEFAULT: &str = include_str!("../../../profiles/seccomp/default.toml");

const BUILTIN: [Builtin; 9] = [
    Builtin { name: "default", text: DEFAULT, abi32: None },
    Builtin { name: "default-32", text: DEFAULT, abi32: Some(Abi32::Allow) },
    Builtin {
        name: "strict",
        text: include_str!("../../../profiles/seccomp/strict.toml"),
        abi32: None,
    },
    Builtin {
        name: "init",
        text: include_str!("../../../profiles/seccomp/init.toml"),
        abi32: None,
    },
    Builtin {
        name: "fuse",
        text: include_str!("../../../profiles/seccomp/fuse.toml"),
        abi32: None,
    },
    Builtin {
        name: "netstack",
        text: include_str!("../../../profiles/seccomp/netstack.toml"),
        abi32: None,
    },
    Builtin {
        name: "holder",
        text: include_str!("../../../profiles/seccomp/holder.toml"),
        abi32: None,
    },
    Builtin {
        name: "attributes",
        text: include_str!("../../../profiles/seccomp/attributes.toml"),
        abi32: None,
    },
    Builtin {
        name: "floor",
        text: include_str!("../../../profiles/seccomp/floor.toml"),
        abi32: None,
    },
];

/// The built-in policies that a payload can have, by name.
pub const FOR_PAYLOADS: [&str; 3] = ["default", "default-32", "strict"];

/// A built-in policy: one [`FOR_PAYLOADS`], `init` for pid 1, `fuse` for fuse-overlayfs, `netstack`, `holder` for
/// that of a network, `attributes` for whoever's disk space is bounded, or `floor`, which goes before a policy of somebody else.
/// `None` when there is none of this name.
pub fn builtin(name: &str) -> Result<Option<Policy>, PolicyError> {
    let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == name) else {
        return Ok(None);
    };
    let policy = parse(builtin.text, name)?;
    let abi32 = builtin.abi32.unwrap_or(policy.abi32);
    Ok(Some(Policy { name: name.to_owned(), abi32, ..policy }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    name: String,
    extends: Option<String>,
    default: Option<Action>,
    unknown: Option<Action>,
    abi32: Option<Abi32>,
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
    let mut file: PolicyFile =
        toml::from_str(text).map_err(|error| syntax_error(text, origin, &error))?;
    let rules = rules_of(std::mem::take(&mut file.rule), std::mem::take(&mut file.group), origin)?;
    let base = file.extends.as_deref().map(|base| base_of(base, origin)).transpose()?;
    let policy = with_base(file, rules, base, origin)?;
    check_count(origin, "rules", policy.rules.len(), MAX_RULES)?;
    Ok(policy)
}

/// What is built in extends `default` at most, so this ends.
fn base_of(base: &str, origin: &str) -> Result<Policy, PolicyError> {
    let found = if FOR_PAYLOADS.contains(&base) { builtin(base)? } else { None };
    found.ok_or_else(|| PolicyError::NoBase {
        name: origin.to_owned(),
        base: base.chars().take(64).collect(),
    })
}

fn with_base(
    file: PolicyFile,
    rules: Vec<Rule>,
    base: Option<Policy>,
    origin: &str,
) -> Result<Policy, PolicyError> {
    let missing = |key| PolicyError::Missing { name: origin.to_owned(), key };
    let of_base = base.as_ref();
    let default = file.default.or(of_base.map(|base| base.default));
    let unknown = file.unknown.or(of_base.map(|base| base.unknown));
    let abi32 = file.abi32.or(of_base.map(|base| base.abi32));
    let of_base = base.map_or_else(Vec::new, |base| base.rules);
    let inherited = of_base.into_iter().map(|rule| Rule { inherited: true, ..rule });
    Ok(Policy {
        name: file.name,
        default: default.ok_or_else(|| missing("default"))?,
        unknown: unknown.ok_or_else(|| missing("unknown"))?,
        abi32: abi32.ok_or_else(|| missing("abi32"))?,
        matching: Matching::First,
        rules: rules.into_iter().chain(inherited).collect(),
    })
}

fn syntax_error(text: &str, origin: &str, error: &toml::de::Error) -> PolicyError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
    PolicyError::Syntax {
        name: origin.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1,
        said: escape(error.message()),
    }
}

fn rules_of(
    entries: Vec<RuleEntry>,
    groups: Vec<GroupEntry>,
    origin: &str,
) -> Result<Vec<Rule>, PolicyError> {
    let mut rules = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let RuleEntry { calls, args, only, action, reason } = entry;
        let rule = Rule { calls, args, only, action, reason, inherited: false };
        check_rule(&rule).map_err(|problem| PolicyError::Rule {
            name: origin.to_owned(),
            rule: index + 1,
            problem,
        })?;
        rules.push(rule);
    }
    let mut seen = BTreeSet::new();
    for group in groups {
        add_group(&mut rules, &mut seen, group, origin)?;
    }
    Ok(rules)
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
            inherited: false,
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
