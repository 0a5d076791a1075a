//! Plans that are broken on purpose, one invariant each: `check` refuses every one of them. Those of processes: `process`.

#[path = "broken/process.rs"]
mod process;

use bryo::plan::facts::Facts;
use bryo::plan::step::{
    Action, Allowed, ConfineStep, Cover, FsStep, LayerNumber, Lower, MountFlags, Room,
    ScratchEntry, Stage, Step, StoreStep, Upper,
};
use bryo::plan::{Plan, check, plan};
use bryo::spec::{HostPath, SandboxPath, Spec};
use toml::Table;

fn at(path: &str) -> SandboxPath {
    SandboxPath::new(path).unwrap()
}

fn host(path: &str) -> HostPath {
    HostPath::new(path).unwrap()
}

fn fs(step: FsStep) -> Step {
    Step { stage: Stage::Sandbox, action: Action::Fs(step) }
}

/// The index of the first step that fits.
fn find(plan: &Plan, fits: impl Fn(&Action) -> bool) -> usize {
    plan.steps.iter().position(|step| fits(&step.action)).unwrap()
}

fn find_fs(plan: &Plan, fits: impl Fn(&FsStep) -> bool) -> usize {
    find(plan, |action| matches!(action, Action::Fs(step) if fits(step)))
}

fn find_confine(plan: &Plan, stage: Stage, fits: impl Fn(&ConfineStep) -> bool) -> usize {
    plan.steps
        .iter()
        .position(|step| {
            step.stage == stage && matches!(&step.action, Action::Confine(one) if fits(one))
        })
        .unwrap()
}

/// Before the new root is sealed: what a later planner might add.
fn add(plan: &mut Plan, step: FsStep) {
    let seal = find_fs(plan, |step| matches!(step, FsStep::Seal { at } if at.is_root()));
    plan.steps.insert(seal, fs(step));
}

fn bind(from: &str, to: &str, flags: MountFlags) -> FsStep {
    FsStep::Bind { from: host(from), at: at(to), flags }
}

fn directory(path: &str) -> FsStep {
    FsStep::Directory { at: at(path), mode: 0o755 }
}

/// What the checker says of the default plan after `breaks`.
fn verdict(breaks: impl FnOnce(&mut Plan)) -> String {
    let spec: Spec = super::merged("spec.toml", Table::new());
    let facts: Facts = super::merged("facts.toml", Table::new());
    let mut plan = plan(&spec, &facts).unwrap();
    check(&spec, &facts, &plan).unwrap();
    breaks(&mut plan);
    let refused = check(&spec, &facts, &plan).expect_err("a broken plan passes");
    // Numbers shift with every step that is added to the default plan.
    refused.to_string().chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn whatever_is_written_is_within_what_was_given() {
    let asked = "limits.disk = { at = 67108864, need = 'required' }";
    let spec: Spec = super::merged("spec.toml", toml::from_str(asked).unwrap());
    let facts: Facts = super::merged("facts.toml", Table::new());
    let whole = plan(&spec, &facts).unwrap();
    check(&spec, &facts, &whole).unwrap();
    let refused = |breaks: &dyn Fn(&mut Plan)| {
        let mut plan = whole.clone();
        breaks(&mut plan);
        check(&spec, &facts, &plan).expect_err("a broken plan passes").to_string()
    };
    let hold = find_fs(&whole, |step| matches!(step, FsStep::Hold { .. }));
    let tmp =
        find_fs(&whole, |s| matches!(s, FsStep::Tmpfs { at, .. } if at.as_bytes() == b"/tmp"));
    let give = |given: Room| {
        move |plan: &mut Plan| {
            if let Action::Fs(FsStep::Tmpfs { room, .. }) = &mut plan.steps[tmp].action {
                *room = given;
            }
        }
    };
    let wrong = "the spec does not say so: room of another size";
    for said in [
        refused(&give(Room::Own(None))),
        refused(&give(Room::Own(Some(1)))),
        refused(&|plan| plan.steps[hold] = fs(FsStep::Hold { size: 67_108_865 })),
        refused(&|plan| plan.steps.insert(hold, fs(FsStep::Hold { size: 1 }))),
    ] {
        assert!(said.ends_with(wrong), "{said}");
    }
    let short = |step: &Step| step.action == Action::Confine(ConfineStep::ShortAttributes);
    let said = refused(&|plan| plan.steps.retain(|step| !short(step)));
    assert_eq!(said, "cannot accept a plan without `refuse long attributes` in payload");
    let mut none = plan(&super::merged("spec.toml", Table::new()), &facts).unwrap();
    let said = check(&spec, &facts, &none).expect_err("an unbounded plan passes").to_string();
    assert_eq!(said, "cannot accept a plan without `bound what is written` in sandbox");
    none.steps.insert(hold, fs(FsStep::Hold { size: 1 }));
    let nobody: Spec = super::merged("spec.toml", Table::new());
    assert!(check(&nobody, &facts, &none).is_err(), "it is bounded though nobody asked");
}

#[test]
fn what_can_be_written_is_noted_where_later_runs_look() {
    let asked = "rootfs.requests = [{ path = '~/proj', access = 'write', origin = 'flag' }]";
    let spec: Spec = super::merged("spec.toml", toml::from_str(asked).unwrap());
    let facts: Facts = super::merged("facts.toml", Table::new());
    let whole = plan(&spec, &facts).unwrap();
    check(&spec, &facts, &whole).unwrap();
    let is_note = |action: &Action| matches!(action, Action::Store(StoreStep::Note { .. }));
    let refused = |breaks: &dyn Fn(&mut StoreStep)| {
        let mut plan = whole.clone();
        let note = find(&plan, is_note);
        if let Action::Store(step) = &mut plan.steps[note].action {
            breaks(step);
        }
        check(&spec, &facts, &plan).expect_err("a broken plan passes").to_string()
    };
    let store = host("/home/al/proj");
    let unnoted = refused(&|step| {
        let StoreStep::Note { places, .. } = step else { return };
        *places = vec![host("/home/al/other")];
    });
    assert!(unnoted.contains("note what the payload can write"), "{unnoted}");
    let elsewhere = refused(&|step| {
        let StoreStep::Note { store: kept, .. } = step else { return };
        *kept = store.clone();
    });
    assert!(elsewhere.contains("a directory that is no store"), "{elsewhere}");
}

#[test]
fn a_tree_that_may_only_be_read_is_not_bound_writable() {
    let said = verdict(|plan| {
        let usr =
            find_fs(plan, |s| matches!(s, FsStep::Bind { from, .. } if *from == host("/usr")));
        plan.steps[usr] = fs(bind("/usr", "/usr", MountFlags::WRITABLE));
    });
    assert_eq!(
        said,
        "cannot accept the plan: `/usr` is written straight to the host, and nobody asked for it"
    );
}

#[test]
fn a_tree_that_others_write_is_not_bound_as_it_is() {
    let said = verdict(|plan| {
        add(plan, directory("/x"));
        add(plan, bind("/home/al/proj", "/x", MountFlags::READ_ONLY));
    });
    assert_eq!(
        said,
        "cannot accept the plan: `/home/al/proj` is bound as it is, sockets and FIFOs included"
    );
}

#[test]
fn processes_of_the_host_are_not_shown() {
    let said = verdict(|plan| {
        let proc = find_fs(plan, |step| matches!(step, FsStep::Proc { .. }));
        plan.steps[proc] = fs(bind("/proc", "/proc", MountFlags::READ_ONLY));
    });
    assert_eq!(
        said,
        "cannot accept the plan: `/proc` is bound as it is, sockets and FIFOs included"
    );
}

#[test]
fn a_directory_around_what_is_hidden_cannot_be_renamed() {
    let asked = "rootfs.requests = [{ path = '~', access = 'write', origin = 'flag' }]";
    let spec: Spec = super::merged("spec.toml", toml::from_str(asked).unwrap());
    let facts: Facts = super::merged("facts.toml", Table::new());
    for kept in ["/home/al/.local", "/home/al/.local/share"] {
        let mut plan = plan(&spec, &facts).unwrap();
        check(&spec, &facts, &plan).unwrap();
        let step =
            find_fs(&plan, |s| matches!(s, FsStep::Bind { from, .. } if *from == host(kept)));
        plan.steps.remove(step);
        let said = check(&spec, &facts, &plan).expect_err("it can be renamed").to_string();
        assert!(said.ends_with("could be renamed with it"), "{said}");
    }
}

#[test]
fn a_device_that_nobody_asked_for_is_not_bound() {
    let said = verdict(|plan| {
        let flags = MountFlags { devices: Allowed::Yes, ..MountFlags::READ_ONLY };
        add(plan, FsStep::File { at: at("/sda"), content: "".into(), mode: 0o600 });
        add(plan, bind("/dev/sda", "/sda", flags));
    });
    assert_eq!(said, "cannot accept step : the spec does not say so: a device");
}

#[test]
fn the_store_and_secrets_stay_hidden() {
    for (gone, said) in [
        (
            "/.local/share/bryo",
            "`/home/al/.local/share/bryo` is seen at `/home/al/.local/share/bryo`",
        ),
        ("/.ssh", "`/home/al/.ssh` is seen at `/home/al/.ssh`"),
        ("/.config/gh", "`/home/al/.config/gh` is seen at `/home/al/.config/gh`"),
    ] {
        let found = verdict(|plan| {
            for step in &mut plan.steps {
                if let Action::Fs(FsStep::ScratchLayer { entries, .. }) = &mut step.action {
                    let is_gone = |entry: &ScratchEntry| matches!(entry, ScratchEntry::Whiteout { path } if *path == at(gone));
                    entries.retain(|entry| !is_gone(entry));
                }
            }
        });
        assert_eq!(found, format!("cannot accept the plan: {said}, and must not be"));
    }
}

#[test]
fn a_secret_is_not_copied_into_a_layer() {
    let said = verdict(|plan| {
        let layer = find_fs(plan, |step| matches!(step, FsStep::ScratchLayer { .. }));
        if let Action::Fs(FsStep::ScratchLayer { entries, .. }) = &mut plan.steps[layer].action {
            let from = host("/home/al/.netrc");
            entries.push(ScratchEntry::Copy { path: at("/notes"), from });
        }
    });
    assert_eq!(
        said,
        "cannot accept the plan: `/home/al/.netrc` is seen at `/home/al/notes`, and must not be"
    );
}

#[test]
fn nothing_is_mounted_on_what_is_hidden() {
    let said = verdict(|plan| {
        let flags = MountFlags::WRITABLE;
        let room = Room::Own(None);
        add(plan, FsStep::Tmpfs { at: at("/home/al/.ssh"), room, mode: 0o700, flags });
    });
    assert_eq!(said, "cannot accept step : `/home/al/.ssh` is hidden, and would be mounted on");
    let said = verdict(|plan| {
        let cover = find_fs(plan, |s| matches!(s, FsStep::Cover { with: Cover::IfThere, .. }));
        let Action::Fs(FsStep::Cover { at, .. }) = plan.steps[cover].action.clone() else { return };
        add(plan, FsStep::Proc { at });
    });
    assert!(said.ends_with("is hidden, and would be mounted on"), "{said}");
}

#[test]
fn a_mask_comes_after_what_it_masks() {
    let said = verdict(|plan| {
        let proc = find_fs(plan, |step| matches!(step, FsStep::Proc { .. }));
        let cover = FsStep::Cover { at: at("/proc/keys"), with: Cover::IfThere };
        plan.steps.insert(proc, fs(cover));
    });
    assert_eq!(
        said,
        "cannot accept step : `/proc/keys` is covered before what it masks is mounted"
    );
}

#[test]
fn a_mount_point_exists_and_is_used_once() {
    let said = verdict(|plan| add(plan, FsStep::Proc { at: at("/nowhere") }));
    assert_eq!(said, "cannot accept step : `/nowhere` does not exist");
    let said = verdict(|plan| add(plan, FsStep::Mqueue { at: at("/tmp") }));
    assert_eq!(said, "cannot accept step : `/tmp` would be mounted on twice");
    let said = verdict(|plan| {
        let flags = MountFlags::WRITABLE;
        let room = Room::Own(None);
        add(plan, FsStep::Tmpfs { at: at("/dev"), room, mode: 0o755, flags });
    });
    assert_eq!(said, "cannot accept step : `/dev` would cover mounts that stand below it");
}

#[test]
fn files_are_made_on_our_own_file_systems_alone() {
    let said = verdict(|plan| add(plan, directory("/usr/new")));
    assert_eq!(
        said,
        "cannot accept step : `/usr/new` would be made outside the tmpfs of the sandbox"
    );
    let said = verdict(|plan| add(plan, directory("/dev/new")));
    assert_eq!(said, "cannot accept step : `/dev/new` would be made in a sealed directory");
    let said = verdict(|plan| add(plan, directory("/a/b")));
    assert_eq!(said, "cannot accept step : `/a/b` has no directory to be made in");
    let said = verdict(|plan| add(plan, directory("/usr")));
    assert_eq!(said, "cannot accept step : `/usr` is made twice");
}

#[test]
fn an_overlay_is_what_it_seems() {
    fn overlay(plan: &mut Plan) -> &mut FsStep {
        let found = find_fs(plan, |step| matches!(step, FsStep::Overlay { upper: Some(_), .. }));
        let Action::Fs(step) = &mut plan.steps[found].action else { panic!() };
        step
    }
    let said = verdict(|plan| {
        if let FsStep::Overlay { upper, .. } = overlay(plan) {
            *upper = None;
        }
    });
    assert!(said.ends_with("is writable without an upper layer, or read-only with one"), "{said}");
    let said = verdict(|plan| {
        if let FsStep::Overlay { lower, .. } = overlay(plan) {
            lower.clear();
        }
    });
    assert!(said.ends_with("has too few lower layers"), "{said}");
    let said = verdict(|plan| {
        if let FsStep::Overlay { lower, .. } = overlay(plan) {
            lower.push(lower[0].clone());
        }
    });
    assert!(said.ends_with("has one layer twice"), "{said}");
    let said = verdict(|plan| {
        if let FsStep::Overlay { lower, .. } = overlay(plan) {
            *lower = vec![Lower::Host { path: host("/"), mount: 20 }];
        }
    });
    assert!(said.ends_with("lies over mounts: the kernel refuses it"), "{said}");
}

#[test]
fn a_layer_is_made_once_and_used_once() {
    let said = verdict(|plan| {
        let layer = find(plan, |action| action.to_string() == "make layer 0");
        plan.steps.remove(layer);
    });
    assert_eq!(said, "cannot accept step : the layer is not numbered right");
    let said = verdict(|plan| {
        add(plan, directory("/x"));
        add(
            plan,
            FsStep::Overlay {
                at: at("/x"),
                lower: vec![Lower::Host { path: host("/work"), mount: 20 }],
                upper: Some(Upper::Layer(LayerNumber(0))),
                server: bryo::plan::step::OverlayServer::Kernel,
                flags: MountFlags::WRITABLE,
            },
        );
    });
    assert_eq!(said, "cannot accept step : the layer is not numbered right");
}

#[test]
fn the_tree_is_finished_with_the_pivot() {
    let said = verdict(|plan| {
        let pivot = find_fs(plan, |step| *step == FsStep::Pivot);
        plan.steps.insert(pivot + 1, fs(FsStep::Seal { at: at("/tmp") }));
    });
    assert_eq!(said, "cannot accept step : the tree is finished");
    let said = verdict(|plan| {
        let pivot = find_fs(plan, |step| *step == FsStep::Pivot);
        plan.steps.remove(pivot);
    });
    assert_eq!(said, "cannot accept a plan without `make the new root `/`` in sandbox");
}

#[test]
fn a_plan_of_no_steps_is_no_run() {
    let said = verdict(|plan| *plan = Plan::of_steps(Vec::new()));
    assert_eq!(said, "cannot accept a plan without `clone` in launch");
}

#[test]
fn a_copy_on_write_tree_in_a_read_only_sandbox_was_asked_for() {
    let mut spec: Spec = super::merged("spec.toml", Table::new());
    let facts: Facts = super::merged("facts.toml", Table::new());
    let plan = plan(&spec, &facts).unwrap();
    spec.rootfs.read_only = true;
    let refused = check(&spec, &facts, &plan).unwrap_err().to_string();
    assert!(refused.ends_with("the spec does not say so: a copy-on-write tree"), "{refused}");
}
