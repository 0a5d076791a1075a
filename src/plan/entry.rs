//! Plans one more process for a sandbox that runs: what `bryo exec` starts.
//!
//! # Theory of operation
//! Everything is taken from the plan that made the sandbox, so that what enters is confined by the very same
//! steps as the payload. A process of the launcher's joins the namespaces and then is to this entry what pid 1
//! is to the payload: it owns a session, forks, gives up what it does not need, reaps, and tells. The tree,
//! the network, and the counters of the user namespace are there already: their steps are left out.
//!
//! # Decisions
//! - **Landlock's scopes** bind a domain to itself, and every entry is a domain of its own: with them
//!   `bryo exec ID -- kill 2` could not reach the payload. They are left out where a namespace of the
//!   sandbox's own is the same boundary: pid for signals, network for abstract sockets.
//! - An entry ends when the process that started it does, as a payload ends with its launcher.
//! - Descriptors above 2 are never passed on: those that a payload was given were given to it alone.

use serde::{Deserialize, Serialize};

use super::errand::Errand;
use super::error::PlanError;
use super::facts::Stdio;
use super::process::{search, verify_strings};
use super::stdio::{has_keys, is_at_terminal, plan_callers};
use super::step::{
    Action, ConfineStep, IdKind, IdMapping, IdsStep, LandlockRules, LimitStep, Namespaces, Plan,
    ProcessStep, Stage, StdioPlan, Step,
};
use crate::spec::{EnvironmentVariable, SandboxPath, Terminal, Text};

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Program and arguments.
    pub argv: Vec<Text>,
    /// Variables besides the payload's; one of the same name is replaced.
    pub environment: Vec<EnvironmentVariable>,
    /// Where it starts; where the payload did if none.
    pub workdir: Option<SandboxPath>,
    /// User and group id inside; those of the payload if none.
    pub user: Option<(u32, u32)>,
    /// What it gets at descriptors 0 to 2, of what is sent along.
    pub stdio: [StdioPlan; 3],
    /// Whether it has a terminal of its own, and begins in its foreground.
    pub pty: Option<Foreground>,
    /// What is done in place of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errand: Option<Errand>,
}

impl Entry {
    /// The beginning of what is started, for people.
    pub fn line(&self) -> String {
        const MOST: usize = 200;
        let words: Vec<String> =
            self.argv.iter().map(|word| word.as_os_str().to_string_lossy().into_owned()).collect();
        words.join(" ").chars().take(MOST).collect()
    }
}

/// What an entry gets of its caller's descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// At 0 to 2.
    pub stdio: [StdioPlan; 3],
    /// Whether it has a terminal of its own.
    pub pty: Option<Foreground>,
}

/// Decides on the descriptors as for any run.
pub fn plan_descriptors(
    terminal: Terminal,
    stands: [Stdio; 3],
    background: bool,
) -> Result<Descriptors, PlanError> {
    let [input, output, errors] = stands;
    let stdio = [
        plan_callers(0, input, terminal)?,
        plan_callers(1, output, terminal)?,
        plan_callers(2, errors, terminal)?,
    ];
    let foreground =
        if has_keys(terminal, stands, background) { Foreground::Yes } else { Foreground::No };
    Ok(Descriptors { stdio, pty: is_at_terminal(terminal, stands).then_some(foreground) })
}

/// Whether a process begins in the foreground of its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Foreground {
    /// It has the keys from the start.
    Yes,
    /// It is stopped as soon as it wants them.
    No,
}

/// The steps of an entry into the sandbox that `plan` made.
pub fn plan_entry(plan: &Plan, entry: &Entry) -> Result<Plan, PlanError> {
    verify_strings(&entry.argv, &entry.environment)?;
    let namespaces = namespaces(plan);
    let mut steps = vec![
        step(Stage::Sandbox, ProcessStep::Undumpable.into()),
        step(Stage::Sandbox, ProcessStep::JoinNamespaces.into()),
    ];
    steps.extend(
        plan.of(Stage::Sandbox)
            .filter(|(_, action)| is_rlimit(action) || is_cgroup_namespace(action))
            .map(|(_, action)| step(Stage::Sandbox, action.clone())),
    );
    steps.extend(ids(plan, entry.user)?.map(|ids| step(Stage::Sandbox, ids.into())));
    let session = ProcessStep::Session { pty: entry.pty.is_some() };
    steps.push(step(Stage::Sandbox, session.into()));
    steps.extend(plan.of(Stage::Init).map(|(_, action)| step(Stage::Init, action.clone())));
    steps.push(step(Stage::Payload, ProcessStep::EndWithParent.into()));
    let payload =
        plan.of(Stage::Payload).filter_map(|(_, action)| payload_step(action, entry, namespaces));
    steps.extend(payload.map(|action| step(Stage::Payload, action)));
    Ok(Plan { groups_kept: plan.groups_kept.clone(), ..Plan::of_steps(steps) })
}

fn step(stage: Stage, action: Action) -> Step {
    Step { stage, action }
}

/// One of its own, made in the sandbox's control group: the same root, and nothing to hold for it.
fn is_cgroup_namespace(action: &Action) -> bool {
    matches!(action, Action::Process(ProcessStep::CgroupNamespace))
}

fn is_rlimit(action: &Action) -> bool {
    matches!(action, Action::Limit(LimitStep::Rlimit { .. }))
}

/// Those that an entry has to join: not the host's, which it is in.
pub fn joined(plan: &Plan) -> Namespaces {
    let enters = plan.of(Stage::Launch).any(|(_, action)| matches!(action, Action::Enter(_)));
    let own = namespaces(plan);
    Namespaces { user: true, net: own.net || enters, ..own }
}

/// Those of the sandbox's own; none when there was no clone, which no plan lacks.
pub fn namespaces(plan: &Plan) -> Namespaces {
    let made = plan.of(Stage::Launch).find_map(|(_, action)| match action {
        Action::Clone(namespaces) => Some(*namespaces),
        _ => None,
    });
    made.unwrap_or(Namespaces {
        user: false,
        pid: false,
        net: false,
        ipc: false,
        uts: false,
        cgroup: false,
    })
}

/// A step of the payload's, for this entry; none where nothing of it is left.
fn payload_step(action: &Action, entry: &Entry, namespaces: Namespaces) -> Option<Action> {
    Some(match action {
        Action::Process(ProcessStep::ProcessGroup { .. }) => {
            let foreground = entry.pty == Some(Foreground::Yes);
            ProcessStep::ProcessGroup { foreground }.into()
        }
        Action::Process(ProcessStep::Stdio { number, .. }) => {
            let with = entry.stdio.get(usize::from(*number)).copied().unwrap_or(StdioPlan::Null);
            ProcessStep::Stdio { number: *number, with }.into()
        }
        Action::Process(ProcessStep::CloseDescriptors { .. }) => {
            ProcessStep::CloseDescriptors { keep: Vec::new() }.into()
        }
        Action::Process(ProcessStep::Workdir(at)) => {
            ProcessStep::Workdir(entry.workdir.as_ref().unwrap_or(at).clone()).into()
        }
        Action::Process(ProcessStep::Exec { environment, .. }) => {
            if let Some(errand) = &entry.errand {
                return Some(ProcessStep::Errand(errand.clone()).into());
            }
            let environment = with_variables(environment, &entry.environment);
            let search = search(&environment);
            ProcessStep::Exec { argv: entry.argv.clone(), environment, search }.into()
        }
        // What a service manager handed over it handed to the payload.
        Action::Process(ProcessStep::OwnNumber(_)) => return None,
        Action::Confine(ConfineStep::Landlock(rules)) => {
            let rules = LandlockRules {
                scope_signals: rules.scope_signals && !namespaces.pid,
                scope_abstract_unix: rules.scope_abstract_unix && !namespaces.net,
                ..rules.clone()
            };
            // The kernel takes no ruleset that handles nothing.
            if rules == (LandlockRules { abi: rules.abi, ..LandlockRules::default() }) {
                return None;
            }
            ConfineStep::Landlock(rules).into()
        }
        other => other.clone(),
    })
}

fn with_variables(
    payload: &[EnvironmentVariable],
    own: &[EnvironmentVariable],
) -> Vec<EnvironmentVariable> {
    let is_replaced = |variable: &&EnvironmentVariable| {
        !own.iter().any(|replacing| replacing.name == variable.name)
    };
    payload.iter().filter(is_replaced).chain(own).cloned().collect()
}

/// The step that takes the ids; none where the one id that is mapped is the one to have.
fn ids(plan: &Plan, user: Option<(u32, u32)>) -> Result<Option<ProcessStep>, PlanError> {
    let taken = plan.of(Stage::Sandbox).find_map(|(_, action)| match action {
        Action::Process(ProcessStep::TakeIds { uid, gid, drop_groups }) => {
            Some(ProcessStep::TakeIds { uid: *uid, gid: *gid, drop_groups: *drop_groups })
        }
        _ => None,
    });
    let Some((uid, gid)) = user else { return Ok(taken) };
    for (kind, id) in [(IdKind::User, uid), (IdKind::Group, gid)] {
        if !maps(plan, kind).iter().any(|line| covers(line, id)) {
            return Err(PlanError::NotMapped { kind, id });
        }
    }
    // Where the launcher wrote the maps itself, there is one id of each kind, which every process has.
    Ok(taken.map(|_| ProcessStep::TakeIds { uid, gid, drop_groups: true }))
}

/// The map of one kind of ids.
fn maps(plan: &Plan, kind: IdKind) -> Vec<IdMapping> {
    let lines = plan.of(Stage::Launch).filter_map(|(_, action)| match action {
        Action::Ids(IdsStep::WriteMaps { uid, gid }) => {
            Some(vec![if kind == IdKind::User { *uid } else { *gid }])
        }
        Action::Ids(
            IdsStep::RunHelper { kind: of, map, .. } | IdsStep::WriteMap { kind: of, map },
        ) if *of == kind => Some(map.clone()),
        _ => None,
    });
    lines.flatten().collect()
}

fn covers(line: &IdMapping, id: u32) -> bool {
    id.checked_sub(line.inside).is_some_and(|offset| offset < line.count)
}
