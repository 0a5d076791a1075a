//! Docker's and OCI's seccomp JSON, as `docker run --security-opt seccomp=FILE` takes it.
//!
//! # Theory of operation
//! The whole file is read into exact types: an unknown key, action or word, or a value of the wrong
//! type is an error with its place. What Docker decides when it starts a container (`includes`,
//! `excludes`) becomes a rule's conditions. Podman's spelling of errnos (`errno`, `defaultErrno`) is
//! read too.
//!
//! # Decisions
//! * `architectures` and `archMap` are checked and then only say whether the 32-bit calls of this
//!   machine are allowed: the filter is made for the machine it runs on.
//! * `SCMP_ACT_NOTIFY` is kept: the supervisor answers it with the errno, as no agent is asked.
//!   A `listenerPath` is refused. `SCMP_ACT_TRACE` is refused: nothing traces the payload.
//! * Names that nobody knows are kept here and reported when the policy is compiled.

use serde::Deserialize;

use super::file::check_count;
use super::{
    Abi32, Action, Argument, Call, Comparison, Conditions, Errno, KernelVersion, MAX_FILE_BYTES,
    MAX_NAMES, MAX_RULES, Matching, Operator, Policy, PolicyError, Rule, RuleProblem,
};
use crate::spec::Capability;
use crate::spec::order;
use crate::spec::text::escape;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u64>,
    default_errno: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<Architecture>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    /// Read so that an unknown one is an error.
    #[serde(default, rename = "flags")]
    _flags: Vec<Flag>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<Entry>>,
}

/// The flags of seccomp(2) that OCI names. None of them changes what is refused.
#[derive(Deserialize)]
enum Flag {
    #[serde(rename = "SECCOMP_FILTER_FLAG_TSYNC")]
    Tsync,
    #[serde(rename = "SECCOMP_FILTER_FLAG_LOG")]
    Log,
    #[serde(rename = "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    SpecAllow,
    #[serde(rename = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")]
    WaitKillableRecv,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ArchMap {
    architecture: Architecture,
    #[serde(default)]
    sub_architectures: Option<Vec<Architecture>>,
}

/// Every architecture libseccomp has a word for.
#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
enum Architecture {
    #[serde(rename = "SCMP_ARCH_NATIVE")]
    Native,
    #[serde(rename = "SCMP_ARCH_X86")]
    X86,
    #[serde(rename = "SCMP_ARCH_X86_64")]
    X86_64,
    #[serde(rename = "SCMP_ARCH_X32")]
    X32,
    #[serde(rename = "SCMP_ARCH_ARM")]
    Arm,
    #[serde(rename = "SCMP_ARCH_AARCH64")]
    Aarch64,
    #[serde(
        rename = "SCMP_ARCH_MIPS",
        alias = "SCMP_ARCH_MIPS64",
        alias = "SCMP_ARCH_MIPS64N32",
        alias = "SCMP_ARCH_MIPSEL",
        alias = "SCMP_ARCH_MIPSEL64",
        alias = "SCMP_ARCH_MIPSEL64N32",
        alias = "SCMP_ARCH_PPC",
        alias = "SCMP_ARCH_PPC64",
        alias = "SCMP_ARCH_PPC64LE",
        alias = "SCMP_ARCH_S390",
        alias = "SCMP_ARCH_S390X",
        alias = "SCMP_ARCH_PARISC",
        alias = "SCMP_ARCH_PARISC64",
        alias = "SCMP_ARCH_RISCV64",
        alias = "SCMP_ARCH_LOONGARCH64",
        alias = "SCMP_ARCH_M68K",
        alias = "SCMP_ARCH_SH",
        alias = "SCMP_ARCH_SHEB"
    )]
    Foreign,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    names: Option<Vec<String>>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u64>,
    errno: Option<String>,
    #[serde(default)]
    args: Option<Vec<ArgumentEntry>>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ArgumentEntry {
    index: u64,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Reads a JSON policy. `origin` names it in messages.
pub fn parse(text: &str, origin: &str) -> Result<Policy, PolicyError> {
    let name = || origin.to_owned();
    if text.len() > MAX_FILE_BYTES {
        return Err(PolicyError::TooLong { name: name(), bytes: text.len() });
    }
    let document: Document =
        serde_json::from_slice(text.as_bytes()).map_err(|error| PolicyError::Syntax {
            name: name(),
            line: error.line(),
            column: error.column(),
            said: escape(error.to_string()),
        })?;
    for (key, value) in [
        ("listenerPath", &document.listener_path),
        ("listenerMetadata", &document.listener_metadata),
    ] {
        if value.as_ref().is_some_and(|value| !value.is_empty()) {
            return Err(PolicyError::Unsupported { name: name(), key });
        }
    }
    let default = errno_of(document.default_errno_ret, document.default_errno.as_deref())
        .and_then(|errno| action_of(&document.default_action, errno))
        .map_err(|problem| PolicyError::Default { name: name(), problem })?;
    let abi32 = abi32_of(&document);
    let entries = document.syscalls.unwrap_or_default();
    check_count(origin, "rules", entries.len(), MAX_RULES)?;
    let mut rules = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let added = rules_of(entry).map_err(|problem| PolicyError::Rule {
            name: name(),
            rule: index + 1,
            problem,
        })?;
        rules.extend(added);
        check_count(origin, "rules", rules.len(), MAX_RULES)?;
    }
    let unknown = Action::Errno(Errno::ENOSYS);
    Ok(Policy { name: name(), default, unknown, abi32, matching: Matching::Merged, rules })
}

/// 32-bit calls are allowed where the file lists the 32-bit architecture beside the 64-bit one.
/// (x32 is refused whatever the file says; naming it is no error.)
fn abi32_of(document: &Document) -> Abi32 {
    use Architecture::{Aarch64, Arm, X86, X86_64};
    let mut listed = document.architectures.iter().flatten();
    let listed = listed.any(|arch| matches!(arch, X86 | Arm));
    let mapped = document.arch_map.iter().flatten().any(|entry| {
        let mut below = entry.sub_architectures.iter().flatten();
        below.any(|sub| matches!((entry.architecture, sub), (X86_64, X86) | (Aarch64, Arm)))
    });
    if listed || mapped { Abi32::Allow } else { Abi32::Refuse }
}

fn errno_of(number: Option<u64>, name: Option<&str>) -> Result<Option<Errno>, RuleProblem> {
    match (number, name) {
        (Some(number), None) => match Errno::new(number) {
            Some(errno) => Ok(Some(errno)),
            None => Err(RuleProblem::Errno(number.to_string())),
        },
        (None, None | Some("")) => Ok(None),
        (None, Some(name)) => match name.parse() {
            Ok(errno) => Ok(Some(errno)),
            Err(_) => Err(RuleProblem::Errno(shortened(name))),
        },
        // Podman writes both, for readers that know only one; they must agree.
        (Some(number), Some(name)) => {
            let errno = errno_of(Some(number), None)?;
            if errno == errno_of(None, Some(name))? {
                return Ok(errno);
            }
            Err(RuleProblem::Both("errno", "errnoRet"))
        }
    }
}

fn action_of(word: &str, errno: Option<Errno>) -> Result<Action, RuleProblem> {
    let answer = errno.unwrap_or(Errno::EPERM);
    let action = match word {
        "SCMP_ACT_ERRNO" => return Ok(Action::Errno(answer)),
        "SCMP_ACT_NOTIFY" => return Ok(Action::Notify(answer)),
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        other => return Err(RuleProblem::Action(shortened(other))),
    };
    match errno {
        None => Ok(action),
        Some(_) => Err(RuleProblem::ErrnoWithout(word.to_owned())),
    }
}

fn rules_of(entry: Entry) -> Result<Vec<Rule>, RuleProblem> {
    let names = match (entry.name, entry.names.unwrap_or_default()) {
        (None, names) => names,
        (Some(name), names) if names.is_empty() => vec![name],
        (Some(_), _) => return Err(RuleProblem::Both("name", "names")),
    };
    if names.is_empty() {
        return Err(RuleProblem::NoCalls);
    }
    if names.len() > MAX_NAMES {
        return Err(RuleProblem::TooManyCalls(names.len()));
    }
    let errno = errno_of(entry.errno_ret, entry.errno.as_deref())?;
    let rule = Rule {
        calls: names.into_iter().map(Call::Name).collect(),
        args: Vec::new(),
        only: conditions_of(
            entry.includes.unwrap_or_default(),
            entry.excludes.unwrap_or_default(),
        )?,
        action: action_of(&entry.action, errno)?,
        reason: entry.comment.unwrap_or_default(),
        inherited: false,
    };
    let args = entry.args.unwrap_or_default();
    if args.len() > 6 {
        return Err(RuleProblem::Comparisons(args.len()));
    }
    let args: Vec<Comparison> = args.iter().map(comparison_of).collect::<Result<_, _>>()?;
    // As runc does: two comparisons of one argument are alternatives, otherwise all must hold.
    let mut arguments: Vec<Argument> = args.iter().map(|one| one.argument()).collect();
    order::sort(&mut arguments);
    arguments.dedup();
    if arguments.len() < args.len() {
        return Ok(args.into_iter().map(|one| Rule { args: vec![one], ..rule.clone() }).collect());
    }
    Ok(vec![Rule { args, ..rule }])
}

fn comparison_of(entry: &ArgumentEntry) -> Result<Comparison, RuleProblem> {
    let argument = Argument::new(entry.index).ok_or(RuleProblem::Argument(entry.index))?;
    let operator = match entry.op.as_str() {
        "SCMP_CMP_NE" => Operator::NotEqual,
        "SCMP_CMP_LT" => Operator::Less,
        "SCMP_CMP_LE" => Operator::LessOrEqual,
        "SCMP_CMP_EQ" | "SCMP_CMP_MASKED_EQ" => Operator::Equal,
        "SCMP_CMP_GE" => Operator::GreaterOrEqual,
        "SCMP_CMP_GT" => Operator::Greater,
        other => return Err(RuleProblem::Operator(shortened(other))),
    };
    let (mask, value) = match entry.op.as_str() {
        "SCMP_CMP_MASKED_EQ" => (entry.value, entry.value_two),
        _ => (u64::MAX, entry.value),
    };
    Comparison::new(argument, mask, operator, value).map_err(|_| RuleProblem::OutsideMask)
}

fn conditions_of(includes: Filter, excludes: Filter) -> Result<Conditions, RuleProblem> {
    let capabilities = |names: Option<Vec<String>>| {
        let known = |name: String| {
            Capability::from_name(&name).map_err(|_| RuleProblem::Capability(shortened(&name)))
        };
        names.unwrap_or_default().into_iter().map(known).collect::<Result<_, _>>()
    };
    let kernel = |version: Option<String>| match version.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match text.parse::<KernelVersion>() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(RuleProblem::Kernel(shortened(text))),
        },
    };
    let arches = |names: Option<Vec<String>>| {
        let names = names.unwrap_or_default();
        if names.len() > 64 { Err(RuleProblem::TooManyCalls(names.len())) } else { Ok(names) }
    };
    Ok(Conditions {
        capabilities: capabilities(includes.caps)?,
        without_capabilities: capabilities(excludes.caps)?,
        arches: arches(includes.arches)?,
        without_arches: arches(excludes.arches)?,
        min_kernel: kernel(includes.min_kernel)?,
        before_kernel: kernel(excludes.min_kernel)?,
        ..Conditions::default()
    })
}

/// What goes into a message of what somebody else wrote.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
