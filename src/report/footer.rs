//! The lines after a run on a terminal: what changed, what was refused, and the command for each.
//!
//! # Decisions
//! - Nothing to say, nothing said.
//! - It never claims to be complete: files refused by mounts and Landlock raise no event for us.

mod traffic;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::spec::limits::Resource;
use crate::state::Record;
use crate::state::record::{ChangeCounts, DeniedCall, Exit, Outcome};

use super::amount::{count, duration, size};
use crate::plan::step::Notice;
use crate::sys::signal::SignalNumber;

use super::notice::{Weight, sentence, warned, weight};
use super::remedy::Remedy;
use super::terminal::Look;

/// Refused calls that are named; the record has the rest.
const NAMED: usize = 6;

/// Variables of a shell's own that nobody misses.
const NOT_MISSED: [&str; 5] = ["_", "OLDPWD", "PWD", "SHLVL", "SHELLOPTS"];

/// Whether the record stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It can be asked for later.
    Yes,
    /// It does, and what changed is about to be applied, which is told then.
    AndApplied,
    /// It is gone.
    No,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What one has to know also where nobody sits at a terminal.
    Least,
    /// What most people want to know.
    Usual,
    /// Everything but the steps.
    All,
}

/// What has to be said of one that goes on alone.
pub fn notices(notices: &[Notice], look: &Look) -> String {
    let needed = notices.iter().filter(|notice| weight(notice) == Weight::Needed);
    let lines = needed.filter_map(sentence).chain(warned(notices));
    lines.map(|line| look.paragraph("bryo: ", &line)).collect()
}

/// What was done, step by step: read back, or returned by the step that did it. Then what was watched.
pub fn steps(record: &Record) -> String {
    let mut text = String::new();
    for step in &record.enforced {
        // Writing to a string cannot fail.
        write!(text, "bryo: {:>4}  {}", step.step, step.title).unwrap_or_default();
        if let Some(detail) = &step.detail {
            write!(text, ": {detail}").unwrap_or_default();
        }
        text.push('\n');
    }
    for watched in &record.watched {
        writeln!(text, "bryo:       {watched}").unwrap_or_default();
    }
    text
}

/// The lines; empty when there is nothing to say.
pub fn footer(record: &Record, kept: Kept, detail: Detail, look: &Look) -> String {
    let is_said = |weight| match detail {
        Detail::Least => weight == Weight::Needed,
        Detail::Usual => weight != Weight::Detail,
        Detail::All => true,
    };
    let notices = record.notices.iter().filter(|notice| is_said(weight(notice)));
    let mut lines: Vec<String> = notices.filter_map(sentence).collect();
    lines.extend(left_out(record));
    if detail != Detail::Least {
        lines.extend(warned(&record.notices));
        lines.extend(end(record));
        if detail == Detail::Usual {
            lines.extend(hidden_names(record));
        }
        lines.extend(processor_time(record));
        lines.extend(memory(record));
        lines.extend(full(record));
        lines.extend(changes(record, kept));
        lines.extend(denials(&record.denied, record, kept));
        lines.extend(traffic::loss(record));
    }
    // Asked for, and so said wherever that is heard.
    lines.extend(traffic::learnt(record));
    if detail != Detail::Least {
        lines.extend(traffic::lines(record, kept));
        lines.extend(variables(record));
    }
    lines.iter().map(|line| look.paragraph("bryo: ", line)).collect()
}

/// How somebody refers to this sandbox.
fn reference(record: &Record) -> String {
    record.name.clone().unwrap_or_else(|| record.id.to_string())
}

/// What the program was told to use and could not see, where it failed.
fn hidden_names(record: &Record) -> Vec<String> {
    let failed =
        matches!(record.outcome, Outcome::Exited { exit: Exit::Code(code), .. } if code != 0);
    let is_told = |notice: &&Notice| failed && matches!(notice, Notice::NamesHidden { .. });
    record.notices.iter().filter(is_told).filter_map(sentence).collect()
}

/// Why it ended, where the payload did not end by itself.
fn end(record: &Record) -> Option<String> {
    let Outcome::Exited { exit, .. } = record.outcome else { return None };
    match exit {
        Exit::Timeout => {
            let timeout = record.spec.lifetime.timeout?;
            Some(format!("stopped after {}: its time was over", duration(timeout)))
        }
        Exit::NoSpace => {
            Some("stopped: the file system that holds its layer was nearly full".to_owned())
        }
        Exit::NetworkLost => Some("stopped: it was not to go on without its network".to_owned()),
        Exit::Lost => Some("its first process was killed from outside".to_owned()),
        Exit::ServerLost => {
            Some("the program that served its files, fuse-overlayfs, ended before it".to_owned())
        }
        // See `memory` for the last.
        Exit::Code(_) | Exit::Signal(_) | Exit::NotStarted | Exit::OutOfMemory => None,
    }
}

/// The exit status alone, 137, does not tell who sent SIGKILL.
fn memory(record: &Record) -> Option<String> {
    let kills = record.memory_kills.filter(|kills| kills.count > 0)?;
    let killed = count(kills.count, "process was", "processes were");
    let limit = record.spec.limits.group.memory.as_ref().filter(|_| kills.own_limit);
    Some(match limit {
        Some(limit) => format!(
            "{killed} killed: the memory reached its limit of {}; to give more: --memory SIZE",
            size(limit.at)
        ),
        None => {
            format!("{killed} killed: the memory of this machine, or of a group above, ran out")
        }
    })
}

/// The signals that the kernel sends at the limits of `--ulimit cpu`. Of SIGKILL nobody knows who sent it.
fn processor_time(record: &Record) -> Option<String> {
    let Outcome::Exited { exit: Exit::Signal(signal), .. } = record.outcome else { return None };
    let limits = &record.spec.limits.rlimits;
    let limit = limits.iter().find(|limit| limit.resource == Resource::Cpu)?;
    let (soft, hard) = (limit.soft, limit.hard);
    match (signal, soft, hard) {
        (number, Some(soft), _) if number == SignalNumber::XCPU.raw() => Some(format!(
            "ended by SIGXCPU: it had used {soft} s of processor time; to give more: --ulimit cpu=SECONDS"
        )),
        (number, Some(soft), Some(hard)) if number == SignalNumber::KILL.raw() && soft == hard => {
            Some(format!(
                "killed by SIGKILL, as is who uses more than {hard} s of processor time (--ulimit cpu); to have SIGXCPU \
                 sent first, which tells: --ulimit cpu={soft}:{}",
                hard.saturating_add(1)
            ))
        }
        _ => None,
    }
}

/// What is full at the end; what was full before that, nobody looked at.
fn full(record: &Record) -> Option<String> {
    let held = record.held.as_ref().filter(|held| held.full)?;
    Some(format!(
        "it ended with nothing left of the {} of --disk; to give more: --disk SIZE",
        size(held.size)
    ))
}

/// What memory held and the store could not.
fn left_out(record: &Record) -> Option<String> {
    let held = record.held.as_ref().filter(|held| held.left_out > 0)?;
    let what = count(held.left_out, "file or attribute is", "files or attributes are");
    let first = held.first_left_out.as_ref().map(|first| format!(": `{first}`"));
    let first = first.unwrap_or_default();
    Some(format!("{what} not in its layer, as the store's file system cannot hold that{first}"))
}

fn changes(record: &Record, kept: Kept) -> Option<String> {
    let counts = record.changes.filter(|counts| counts.total() > 0)?;
    let words = counted(&counts);
    Some(match kept {
        Kept::Yes => {
            let sandbox = reference(record);
            format!(
                "{words} in its layer; to see: bryo diff {sandbox}; to keep: bryo apply {sandbox}"
            )
        }
        Kept::AndApplied => return None,
        Kept::No => format!("{words} in its layer, which is gone"),
    })
}

fn counted(counts: &ChangeCounts) -> String {
    let parts: Vec<String> =
        [(counts.added, "added"), (counts.changed, "changed"), (counts.deleted, "deleted")]
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
    let more = if counts.at_least { "at least " } else { "" };
    let noun = if counts.total() == 1 { "path" } else { "paths" };
    format!("{more}{} {noun}", parts.join(", "))
}

fn denials(denied: &[DeniedCall], record: &Record, kept: Kept) -> Option<String> {
    if denied.is_empty() {
        return None;
    }
    let mut by_remedy: BTreeMap<Remedy, Vec<String>> = BTreeMap::new();
    for call in denied.iter().take(NAMED) {
        let times = if call.count > 1 { format!(" ({} times)", call.count) } else { String::new() };
        by_remedy.entry(Remedy::of(&call.name)).or_default().push(format!("{}{times}", call.name));
    }
    let groups: Vec<String> = by_remedy
        .into_iter()
        .map(|(remedy, calls)| match (remedy.flag(), remedy.instead()) {
            (Some(flag), _) => format!("{}, to allow: {flag}", calls.join(", ")),
            (None, Some(instead)) => format!("{} ({instead})", calls.join(", ")),
            (None, None) => calls.join(", "),
        })
        .collect();
    let more = match denied.len().checked_sub(NAMED) {
        None | Some(0) => String::new(),
        Some(more) if kept != Kept::No => {
            format!("; and {more} more: bryo inspect {}", reference(record))
        }
        Some(more) => format!("; and {more} more"),
    };
    Some(format!("refused system calls: {}{more}", groups.join("; ")))
}

/// Only when the payload failed: a variable it misses may be the reason.
fn variables(record: &Record) -> Option<String> {
    let failed = match record.outcome {
        Outcome::Exited { exit: Exit::Code(code), .. } => code != 0,
        Outcome::Exited { .. } | Outcome::Running | Outcome::Killed { .. } => false,
    };
    let missed = |name: &[u8]| !NOT_MISSED.iter().any(|known| known.as_bytes() == name);
    let names = &record.spec.command.not_passed;
    let number = names.iter().filter(|name| missed(name.as_bytes())).count();
    (failed && number > 0).then(|| {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        format!(
            "{} of yours not passed; to pass one: -e NAME",
            count(number, "variable", "variables")
        )
    })
}
