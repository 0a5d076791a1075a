//! Plans whose processes keep too much, or give it up in another order.

use bryo::plan::facts::Facts;
use bryo::plan::step::{
    Action, ConfineStep, FilterProgram, IdsStep, LandlockGrant, LandlockPath, ProcessStep, Stage,
};
use bryo::plan::{check, plan};
use bryo::spec::seccomp::Nesting;
use bryo::spec::{Capability, SeccompChoice, Spec};
use toml::Table;

use super::{at, find, find_confine, verdict};

#[test]
fn the_payload_is_confined_in_the_one_right_order() {
    for (breaks, stage, said) in [
        (
            is_no_new_privs as fn(&ConfineStep) -> bool,
            Stage::Payload,
            "`set no_new_privs` in payload",
        ),
        (is_no_new_privs, Stage::Init, "`set no_new_privs` in init"),
        (is_filter, Stage::Payload, "`install the system call filter` in payload"),
        (is_filter, Stage::Init, "`install the system call filter` in init"),
        (is_drop, Stage::Payload, "`drop capabilities` in payload"),
        (is_drop, Stage::Init, "`drop every capability` in init"),
        (is_lock, Stage::Payload, "`lock the securebits` in payload"),
        (is_keyring, Stage::Payload, "`take a new session keyring` in payload"),
    ] {
        let found = verdict(|plan| {
            let step = find_confine(plan, stage, breaks);
            plan.steps.remove(step);
        });
        assert_eq!(found, format!("cannot accept a plan without {said}"));
    }
    let said = verdict(|plan| {
        let filter = find_confine(plan, Stage::Payload, is_filter);
        plan.steps.swap(filter, filter - 1);
    });
    assert_eq!(said, "cannot accept step : the filter comes right before the exec");
    let said = verdict(|plan| {
        let landlock = find_confine(plan, Stage::Payload, is_landlock);
        let workdir = find(plan, |a| matches!(a, Action::Process(ProcessStep::Workdir(_))));
        let step = plan.steps.remove(landlock);
        plan.steps.insert(workdir, step);
    });
    assert_eq!(said, "cannot accept step : Landlock needs no_new_privs");
}

fn is_no_new_privs(step: &ConfineStep) -> bool {
    *step == ConfineStep::NoNewPrivs
}

fn is_filter(step: &ConfineStep) -> bool {
    matches!(step, ConfineStep::Seccomp { .. })
}

fn is_drop(step: &ConfineStep) -> bool {
    matches!(step, ConfineStep::Capabilities { .. })
}

fn is_lock(step: &ConfineStep) -> bool {
    *step == ConfineStep::Securebits
}

fn is_keyring(step: &ConfineStep) -> bool {
    *step == ConfineStep::Keyring
}

fn is_landlock(step: &ConfineStep) -> bool {
    matches!(step, ConfineStep::Landlock(_))
}

#[test]
fn nothing_stays_that_the_spec_does_not_name() {
    let said = verdict(|plan| {
        let drops = find_confine(plan, Stage::Payload, is_drop);
        let keep = vec![Capability::from_name("SYS_ADMIN").unwrap()];
        plan.steps[drops].action = Action::Confine(ConfineStep::Capabilities { keep });
    });
    assert_eq!(said, "cannot accept step : the spec does not say so: a capability that stays");
    let said = verdict(|plan| {
        let close =
            find(plan, |a| matches!(a, Action::Process(ProcessStep::CloseDescriptors { .. })));
        plan.steps[close].action = Action::Process(ProcessStep::CloseDescriptors { keep: vec![5] });
    });
    assert_eq!(said, "cannot accept step : the spec does not say so: a descriptor that stays");
    let said = verdict(|plan| {
        let exec = find(plan, |a| matches!(a, Action::Process(ProcessStep::Exec { .. })));
        if let Action::Process(ProcessStep::Exec { argv, .. }) = &mut plan.steps[exec].action {
            argv.push("more".into());
        }
    });
    assert_eq!(said, "cannot accept step : the spec does not say so: its arguments or variables");
    let said = verdict(|plan| {
        let clone = find(plan, |a| matches!(a, Action::Clone(_)));
        if let Action::Clone(namespaces) = &mut plan.steps[clone].action {
            namespaces.net = false;
        }
    });
    assert_eq!(said, "cannot accept step : the spec does not say so: its namespaces");
}

#[test]
fn power_over_the_mounts_stays_only_behind_a_filter() {
    let mut spec: Spec = crate::merged("spec.toml", Table::new());
    spec.confine.capabilities = vec![Capability::from_name("SYS_ADMIN").unwrap()];
    let facts: Facts = crate::merged("facts.toml", Table::new());
    let whole = plan(&spec, &facts).unwrap();
    check(&spec, &facts, &whole).unwrap();
    let mut nests = whole.clone();
    let filter = find_confine(&nests, Stage::Payload, is_filter);
    if let Action::Confine(ConfineStep::Seccomp {
        program: FilterProgram::Builtin { variant, .. },
        ..
    }) = &mut nests.steps[filter].action
    {
        variant.nesting = Nesting::Allow;
    }
    let mut without = whole;
    without.steps.remove(filter);
    spec.confine.seccomp = SeccompChoice::Unconfined;
    let said = check(&spec, &facts, &without).expect_err("no filter").to_string();
    assert!(said.ends_with("`CAP_SYS_ADMIN` stays, and no filter refuses mount calls"), "{said}");
    spec.confine.seccomp = SeccompChoice::Builtin("default".to_owned());
    let said = check(&spec, &facts, &nests).expect_err("one that nests").to_string();
    assert!(said.ends_with("`CAP_SYS_ADMIN` stays, and no filter refuses mount calls"), "{said}");
}

#[test]
fn groups_are_denied_before_the_map_and_the_process_is_undumpable_first() {
    let said = verdict(|plan| {
        let deny = find(plan, |a| matches!(a, Action::Ids(IdsStep::DenySetgroups)));
        plan.steps.swap(deny, deny + 1);
    });
    assert_eq!(said, "cannot accept step : the kernel refuses it after the map");
    let said = verdict(|plan| {
        let first = find(plan, |a| matches!(a, Action::Process(ProcessStep::Undumpable)));
        plan.steps.swap(first, first + 1);
    });
    assert_eq!(said, "cannot accept step : it comes before everything of its process");
    let said = verdict(|plan| plan.steps.reverse());
    assert_eq!(said, "cannot accept step : it is a step of an earlier process");
}

#[test]
fn landlock_lets_nothing_be_written_that_no_mount_does() {
    let said = verdict(|plan| {
        let landlock = find_confine(plan, Stage::Payload, is_landlock);
        if let Action::Confine(ConfineStep::Landlock(rules)) = &mut plan.steps[landlock].action {
            rules.paths.push(LandlockPath { at: at("/usr"), grant: LandlockGrant::All });
        }
    });
    assert_eq!(said, "cannot accept the plan: Landlock lets `/usr` be written, and no mount does");
}
