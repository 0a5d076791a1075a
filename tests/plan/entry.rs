//! What enters a sandbox is confined as its payload is: a law for every plan, and one plan to read.

use bryo::plan::entry::{Entry, Foreground, namespaces, plan_entry};
use bryo::plan::step::{ConfineStep, IdKind, LandlockRules, ProcessStep, StdioPlan};
use bryo::plan::{Action, Plan, PlanError, Stage, plan, render};
use bryo::spec::{EnvironmentVariable, SandboxPath, Spec, Text};
use toml::Table;

use super::{Facts, folder, merged};

fn entry() -> Entry {
    Entry {
        argv: vec![Text::from("sh".to_owned()), Text::from("-i".to_owned())],
        environment: vec![EnvironmentVariable { name: "TERM".into(), value: "xterm".into() }],
        workdir: Some(SandboxPath::new("/srv").unwrap()),
        user: None,
        stdio: [StdioPlan::Pty; 3],
        pty: Some(Foreground::Yes),
        errand: None,
    }
}

/// What gives something up, as it must be in both.
fn confinement(plan: &Plan, stage: Stage) -> Vec<ConfineStep> {
    let own = namespaces(plan);
    let steps = plan.of(stage).filter_map(|(_, action)| match action {
        Action::Confine(ConfineStep::Landlock(rules)) => {
            let rules = LandlockRules {
                scope_signals: rules.scope_signals && !own.pid,
                scope_abstract_unix: rules.scope_abstract_unix && !own.net,
                ..rules.clone()
            };
            let nothing = LandlockRules { abi: rules.abi, ..LandlockRules::default() };
            (rules != nothing).then_some(ConfineStep::Landlock(rules))
        }
        Action::Confine(step) => Some(step.clone()),
        _ => None,
    });
    steps.collect()
}

/// For every plan.
pub(super) fn hold(plan: &Plan) {
    let entry = plan_entry(plan, &entry()).unwrap();
    for stage in [Stage::Init, Stage::Payload] {
        // An entry makes no namespace: whether a boundary is there is asked of the sandbox's plan.
        let given = entry.of(stage).filter_map(|(_, action)| match action {
            Action::Confine(step) => Some(step.clone()),
            _ => None,
        });
        assert_eq!(given.collect::<Vec<_>>(), confinement(plan, stage));
    }
    let rlimits = |plan: &Plan| {
        let all = plan.of(Stage::Sandbox).filter(|(_, action)| {
            matches!(action, Action::Limit(bryo::plan::step::LimitStep::Rlimit { .. }))
        });
        all.map(|(_, action)| action.clone()).collect::<Vec<_>>()
    };
    assert_eq!(rlimits(&entry), rlimits(plan));
    let first: Vec<_> = entry.of(Stage::Sandbox).map(|(_, action)| action).take(2).collect();
    let undumpable = Action::Process(ProcessStep::Undumpable);
    assert_eq!(first, [&undumpable, &Action::Process(ProcessStep::JoinNamespaces)]);
    assert!(entry.of(Stage::Sandbox).all(|(_, action)| !matches!(action, Action::Fs(_))));
}

fn planned(spec: &str) -> Plan {
    let spec: Spec = merged("spec.toml", spec.parse::<Table>().unwrap());
    let facts: Facts = merged("facts.toml", Table::new());
    plan(&spec, &facts).unwrap()
}

#[test]
fn an_entry_into_a_default_sandbox() {
    let text = render(&plan_entry(&planned(""), &entry()).unwrap());
    let expected = folder().join("entry.golden");
    if std::env::var_os("BRYO_UPDATE_GOLDEN").is_some() {
        std::fs::write(&expected, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&expected).unwrap_or_default(), text);
}

#[test]
fn an_id_that_is_not_mapped_is_refused() {
    let other = Entry { user: Some((1234, 0)), ..entry() };
    assert_eq!(
        plan_entry(&planned(""), &other),
        Err(PlanError::NotMapped { kind: IdKind::User, id: 1234 })
    );
}

#[test]
fn nothing_cannot_be_started() {
    let nothing = Entry { argv: Vec::new(), ..entry() };
    assert_eq!(plan_entry(&planned(""), &nothing), Err(PlanError::EmptyCommand));
}
