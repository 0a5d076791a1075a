//! Machines that nobody has at hand: what is said of each, word for word where it matters.
//!
//! Long because each machine is told in full.

use std::collections::BTreeSet;

use crate::host::fuse::Version;
use crate::host::missing::MissingCall;
use crate::host::trial::{
    Confinement, IdRanges, NamespaceTrials, Outcome, Subject, Told, TrialError,
};
use crate::host::userns::UsernsSettings;
use crate::plan::facts::{
    Account, Caller, Controller, Delegated, Facts, Fuse, GroupVersion, Groups, Helper, IdRange,
    Kernel, Manager, StoreCandidate, StoreSource, StoreState, Subids,
};
use crate::report::Look;
use crate::spec::HostPath;
use crate::spec::net::Tool;
use crate::sys::clone::ThreadsError;
use crate::sys::errno::Errno;

use super::*;

fn path(path: &str) -> HostPath {
    HostPath::new(path).unwrap()
}

fn told(but: &[(Subject, Outcome)]) -> Told {
    let well = Subject::ALL.into_iter().map(|subject| (subject, Ok(())));
    well.chain(but.iter().copied()).collect()
}

fn namespaces(but: &[(Subject, Outcome)]) -> NamespaceTrials {
    NamespaceTrials { all: Ok(told(but)), user_alone: None, each: Vec::new() }
}

fn no_namespaces(errno: Errno) -> NamespaceTrials {
    let error = TrialError::Clone(errno);
    NamespaceTrials { all: Err(error), user_alone: Some(Err(error)), each: Vec::new() }
}

fn groups(controllers: &[Controller]) -> Groups {
    let manager = Manager {
        socket: path("/run/user/1000/systemd/private"),
        controllers: controllers.iter().copied().collect(),
    };
    let (version, mount) = (GroupVersion::Unified, Some(path("/sys/fs/cgroup")));
    Groups { version, mount, swap: true, manager: Some(manager), ..Groups::default() }
}

/// A machine that has everything.
fn well() -> Machine {
    let range = IdRange { first: 100_000, count: 65_536 };
    let store = path("/home/al/.local/share/bryo");
    let facts = Facts {
        kernel: Kernel { major: 6, minor: 18 },
        caller: Caller { uid: 1000, gid: 1000, home: Some(path("/home/al")), ..Caller::default() },
        stores: vec![StoreCandidate {
            path: store.clone(),
            source: StoreSource::DataHome,
            fs_magic: 0xef53,
            state: StoreState::Usable,
        }],
        fuse: Some(Fuse { program: Some(path("/usr/bin/fuse-overlayfs")), device: true }),
        subids: Some(Subids {
            uids: vec![range],
            gids: vec![range],
            newuidmap: Helper::Ready(path("/usr/bin/newuidmap")),
            newgidmap: Helper::Ready(path("/usr/bin/newgidmap")),
        }),
        account: Account { name: Some("al".into()), ..Account::default() },
        groups: Some(groups(&Controller::ALL)),
        ..Facts::default()
    };
    Machine {
        facts,
        unread: Vec::new(),
        missing_call: None,
        namespaces: namespaces(&[]),
        confinement: Ok(Confinement {
            landlock_abi: Ok(7),
            landlock: Some(Ok(())),
            seccomp: Some(Ok(())),
            listener: Some(Ok(())),
        }),
        settings: UsernsSettings { max_user_namespaces: Some(60_000), ..UsernsSettings::default() },
        store: Some((store, Ok(told(&[])))),
        subids: Some(Ok(IdRanges { uids: true, gids: true })),
        service_manager: true,
        tun: true,
        ping: true,
        tools: Tool::ALL
            .map(|tool| (tool, Some(path(&format!("/usr/bin/{}", tool.name()))), None))
            .to_vec(),
        fuse_version: None,
        program: Some(path("/usr/local/bin/bryo")),
        packages: Some(PackageManager::AptGet),
        first_free_subid: 165_536,
        threads_max: Some(120_000),
        place: Where::Machine,
    }
}

fn finding<'r>(report: &'r Report, id: &str) -> &'r Finding {
    report.findings.iter().find(|finding| finding.id == id).unwrap()
}

/// The ids of the findings that are not well, with their states.
fn not_well(report: &Report) -> Vec<(&str, State)> {
    let not_well = report.findings.iter().filter(|finding| finding.state != State::Ok);
    not_well.map(|finding| (finding.id, finding.state)).collect()
}

fn command(finding: &Finding) -> &str {
    finding.remedy.as_ref().map_or("", |remedy| &remedy.command)
}

#[test]
fn a_machine_that_has_everything_has_nothing_to_fix() {
    let report = diagnose(&well());
    assert_eq!(not_well(&report), []);
    assert!(report.default_run_works);
    assert_eq!(fix_script(&report), "#!/bin/sh\n# nothing to fix\n");
    assert!(render_text(&report, &Look::plain()).ends_with("and nothing is missing.\n"));
}

#[test]
fn namespaces_of_another_kind_are_switched_off_by_their_own_setting() {
    let refused = Err(TrialError::Clone(Errno::ENOSPC));
    let settings = UsernsSettings {
        closed: Some("user.max_net_namespaces"),
        max_user_namespaces: Some(60_000),
        ..UsernsSettings::default()
    };
    let namespaces = NamespaceTrials {
        all: Err(TrialError::Clone(Errno::ENOSPC)),
        user_alone: Some(Ok(())),
        each: vec![("net", refused)],
    };
    let report = diagnose(&Machine { namespaces, settings, ..well() });
    let broken = finding(&report, "namespaces");
    assert_eq!(command(broken), "sudo sysctl -w user.max_net_namespaces=60000");
    assert_eq!(finding(&report, "user-namespaces").state, State::Ok);
}

#[test]
fn no_user_namespaces_by_sysctl() {
    let settings = UsernsSettings { max_user_namespaces: Some(0), ..UsernsSettings::default() };
    let machine = Machine { namespaces: no_namespaces(Errno::ENOSPC), settings, ..well() };
    let report = diagnose(&machine);
    assert!(!report.default_run_works);
    let broken = finding(&report, "user-namespaces");
    assert_eq!(broken.detail, "user namespaces are switched off: `user.max_user_namespaces` is 0");
    assert_eq!(command(broken), "sudo sysctl -w user.max_user_namespaces=60000");
    // What could not be tried is neither well nor blamed.
    let others: Vec<State> = not_well(&report).iter().skip(1).map(|(_, state)| *state).collect();
    assert!(others.iter().all(|state| *state == State::Unknown), "{:?}", not_well(&report));
    assert!(fix_script(&report).contains("\nset_sysctl user.max_user_namespaces 60000\n"));
}

#[test]
fn debians_old_switch_is_named() {
    let settings =
        UsernsSettings { unprivileged_userns_clone: Some(0), ..UsernsSettings::default() };
    let machine = Machine { namespaces: no_namespaces(Errno::EPERM), settings, ..well() };
    let report = diagnose(&machine);
    assert_eq!(
        command(finding(&report, "user-namespaces")),
        "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    );
}

#[test]
fn apparmor_strips_the_namespace_and_a_profile_mends_it() {
    let settings = UsernsSettings { apparmor_restricts: Some(1), ..UsernsSettings::default() };
    let stripped = Told::from_iter([
        (Subject::Private, Err(Errno::EACCES)),
        (Subject::HostTree, Err(Errno::EPERM)),
        (Subject::Tmpfs, Err(Errno::EPERM)),
    ]);
    let trials = NamespaceTrials { all: Ok(stripped), user_alone: None, each: Vec::new() };
    let machine = Machine { namespaces: trials, settings, ..well() };
    let report = diagnose(&machine);
    let broken = finding(&report, "user-namespaces");
    assert_eq!(broken.state, State::Broken);
    assert!(broken.detail.contains("`kernel.apparmor_restrict_unprivileged_userns` is 1"));
    assert_eq!(command(broken), "bryo doctor --fix-script | sudo sh");
    let script = fix_script(&report);
    assert_eq!(script.matches("\nallow_namespaces /usr/local/bin/bryo\n").count(), 1, "{script}");
}

#[test]
fn a_container_that_forbids_namespaces_is_told_from_a_host() {
    let settings = UsernsSettings { filtered: true, ..UsernsSettings::default() };
    let machine = Machine { namespaces: no_namespaces(Errno::EPERM), settings, ..well() };
    let report = diagnose(&machine);
    let broken = finding(&report, "user-namespaces");
    assert!(broken.detail.contains("in a container") && command(broken).contains("Docker"));
    assert!(!fix_script(&report).contains("set_sysctl"));
}

#[test]
fn a_kernel_without_one_namespace_is_told_which() {
    let failed = Err(TrialError::Clone(Errno::EINVAL));
    let trials = NamespaceTrials {
        all: Err(TrialError::Clone(Errno::EINVAL)),
        user_alone: Some(Ok(())),
        each: vec![("mnt", Ok(())), ("cgroup", failed)],
    };
    let report = diagnose(&Machine { namespaces: trials, ..well() });
    assert_eq!(finding(&report, "user-namespaces").state, State::Ok);
    let broken = finding(&report, "namespaces");
    assert_eq!(
        broken.detail,
        "cannot be made: cgroup (cannot clone into new namespaces: EINVAL (invalid argument))"
    );
}

#[test]
fn a_masked_proc_is_missing_and_no_more() {
    let trials = namespaces(&[(Subject::Proc, Err(Errno::EPERM))]);
    let report = diagnose(&Machine { namespaces: trials, ..well() });
    assert_eq!(not_well(&report), [("procfs", State::Missing)]);
    assert!(report.default_run_works);
    let text = render_text(&report, &Look::plain());
    assert!(text.contains("missing   own /proc               refused: EPERM"), "{text}");
}

#[test]
fn what_a_second_network_needs_is_missing_by_itself() {
    let trials = namespaces(&[(Subject::Filter, Err(Errno::EOPNOTSUPP))]);
    let report = diagnose(&Machine { namespaces: trials, ..well() });
    assert_eq!(not_well(&report), [("bridge", State::Missing)]);
    let missing = finding(&report, "bridge");
    assert_eq!(command(missing), "sudo modprobe -a nf_tables");
    assert!(missing.detail.contains("can be made; `nf_tables`: EOPNOTSUPP"), "{}", missing.detail);
    assert!(missing.cost.as_ref().unwrap().contains("second network"));
    assert!(report.default_run_works);
}

#[test]
fn without_a_kernel_overlay_fuse_serves_and_without_both_nothing_does() {
    let refused =
        [(Subject::Overlay, Err(Errno::EPERM)), (Subject::StoreOverlay, Err(Errno::EPERM))];
    let machine = Machine { namespaces: namespaces(&refused), ..well() };
    assert_eq!(not_well(&diagnose(&machine)), [("overlay", State::Missing)]);
    let mut bare = machine;
    bare.facts.fuse = Some(Fuse::default());
    let report = diagnose(&bare);
    assert_eq!(finding(&report, "overlay").state, State::Broken);
    assert_eq!(command(finding(&report, "overlay")), "sudo apt-get install -y fuse-overlayfs");
}

#[test]
fn a_faulty_fuse_overlayfs_is_told_and_costs_something_where_it_has_to_serve() {
    let with = |version| Machine { fuse_version: Some(version), ..well() };
    let well_known = diagnose(&with(Version(1, 14, 0)));
    assert_eq!(finding(&well_known, "fuse").detail, "/usr/bin/fuse-overlayfs, version 1.14");
    let faulty = with(Version(1, 16, 0));
    let report = diagnose(&faulty);
    assert_eq!(not_well(&report), []);
    assert!(finding(&report, "fuse").detail.contains("version 1.16: files"));
    let namespaces = namespaces(&[(Subject::Overlay, Err(Errno::EPERM))]);
    let report = diagnose(&Machine { namespaces, ..faulty });
    assert_eq!(not_well(&report), [("overlay", State::Missing), ("fuse", State::Missing)]);
    assert_eq!(command(finding(&report, "fuse")), "install another version of fuse-overlayfs");
}

#[test]
fn a_store_that_cannot_hold_an_upper_costs_something_and_names_the_way_out() {
    let mut machine = well();
    let refused = Told::from_iter([(Subject::StoreOverlay, Err(Errno::EINVAL))]);
    machine.store = Some((path("/nfs/al/bryo"), Ok(refused)));
    let report = diagnose(&machine);
    assert_eq!(not_well(&report), [("store", State::Missing)]);
    assert!(command(finding(&report, "store")).contains("`BRYO_STORE`"));
    machine.facts.fuse = None;
    let without = diagnose(&machine);
    let cost = finding(&without, "store").cost.clone().unwrap();
    assert_eq!(cost, "what a payload writes is kept in memory and gone after the run");
    machine.namespaces = namespaces(&[(Subject::TmpfsAttributes, Err(Errno::EOPNOTSUPP))]);
    assert_eq!(finding(&diagnose(&machine), "store").state, State::Broken);
}

#[test]
fn a_store_of_somebody_elses_is_told() {
    let mut machine = well();
    machine.store = None;
    machine.facts.stores[0].state = StoreState::Foreign;
    let report = diagnose(&machine);
    assert_eq!(
        finding(&report, "store").detail,
        "/home/al/.local/share/bryo is not a directory of yours alone (owner, mode 0700, no link)"
    );
}

#[test]
fn each_thing_that_subordinate_ids_lack_has_its_own_text() {
    let told = |change: fn(&mut Subids)| {
        let mut machine = well();
        machine.subids = None;
        change(machine.facts.subids.as_mut().unwrap());
        let report = diagnose(&machine);
        let finding = finding(&report, "subids");
        assert_eq!(finding.state, State::Missing);
        (finding.detail.clone(), command(finding).to_owned())
    };
    assert_eq!(
        told(|subids| subids.newuidmap = Helper::Missing),
        ("`newuidmap` is not installed".into(), "sudo apt-get install -y uidmap".into())
    );
    let (detail, fix) =
        told(|subids| subids.newgidmap = Helper::Unprivileged(path("/usr/bin/newgidmap")));
    assert!(detail.starts_with("`/usr/bin/newgidmap` has neither the set-user-id bit"));
    assert_eq!(
        fix,
        "sudo chown root:root /usr/bin/newgidmap && sudo chmod 4755 /usr/bin/newgidmap"
    );
    assert_eq!(
        told(|subids| subids.gids.clear()),
        (
            "no range of yours in `/etc/subgid`".into(),
            "sudo usermod --add-subgids 165536-231071 al".into()
        )
    );
    let mut machine = well();
    machine.subids = Some(Ok(IdRanges { uids: true, gids: false }));
    assert_eq!(finding(&diagnose(&machine), "subids").detail, "`newgidmap` refuses the range");
}

#[test]
fn a_call_that_is_not_there_is_named_whatever_the_release_says() {
    let missing_call = Some(MissingCall { name: "mount_setattr", since: "5.12" });
    let report = diagnose(&Machine { missing_call, ..well() });
    assert_eq!(not_well(&report), [("kernel", State::Broken)]);
    let detail = &finding(&report, "kernel").detail;
    assert!(detail.ends_with(" has no `mount_setattr`, which Linux 5.12 brought"), "{detail}");
}

#[test]
fn old_landlock_another_listener_and_root_cost_what_they_cost() {
    let mut machine = well();
    machine.confinement = Ok(Confinement {
        landlock_abi: Ok(2),
        landlock: Some(Ok(())),
        seccomp: Some(Ok(())),
        listener: Some(Err(Errno::EBUSY)),
    });
    machine.facts.caller.uid = 0;
    let report = diagnose(&machine);
    assert_eq!(
        not_well(&report),
        [
            ("user-limits", State::Missing),
            ("seccomp-listener", State::Missing),
            ("landlock", State::Missing)
        ]
    );
    assert_eq!(
        finding(&report, "landlock").detail,
        "ABI 2, without scopes for sockets and signals"
    );
}

#[test]
fn landlock_that_is_claimed_but_not_enforced_is_not_believed() {
    let mut machine = well();
    let outcome = Some(Err(Errno::EOPNOTSUPP));
    machine.confinement = Ok(Confinement { landlock: outcome, ..well().confinement.unwrap() });
    let report = diagnose(&machine);
    assert_eq!(finding(&report, "landlock").detail, "claims ABI 7 and does not enforce it");
}

#[test]
fn among_threads_nothing_can_be_tried_and_that_is_said() {
    let error = TrialError::Threads(ThreadsError::Several);
    let trials =
        NamespaceTrials { all: Err(error), user_alone: Some(Err(error)), each: Vec::new() };
    let report = diagnose(&Machine { namespaces: trials, ..well() });
    assert_eq!(
        finding(&report, "user-namespaces").detail,
        "cannot try anything in a child: cannot clone a process with several threads"
    );
}

#[test]
fn a_controller_that_is_missing_has_one_file_as_its_remedy() {
    let mut machine = well();
    let some = [Controller::Cpu, Controller::Memory, Controller::Pids];
    machine.facts.groups = Some(groups(&some));
    let report = diagnose(&machine);
    let found = finding(&report, "cgroups");
    assert_eq!(found.detail, "version 2, through systemd: cpu memory pids");
    assert_eq!(found.cost.as_deref(), Some("no limits by cpuset io"));
    let command = &found.remedy.as_ref().unwrap().command;
    assert!(command.contains("/etc/systemd/system/user@.service.d/delegate.conf"), "{command}");
    let script = fix_script(&report);
    assert!(script.contains("\ndelegate_controllers\n"), "{script}");

    machine.facts.groups.as_mut().unwrap().manager = None;
    let report = diagnose(&machine);
    let found = finding(&report, "cgroups");
    assert_eq!(found.detail, "version 2, nothing delegated");
    assert!(found.remedy.as_ref().unwrap().command.starts_with("log in through"));

    let (path, controllers) = (HostPath::new("/sys/fs/cgroup/job").unwrap(), BTreeSet::new());
    machine.facts.groups.as_mut().unwrap().delegated = Some(Delegated { path, controllers });
    let report = diagnose(&machine);
    assert_eq!(finding(&report, "cgroups").detail, "version 2, delegated: no controller");
}

#[test]
fn every_id_stands_once_and_the_json_form_stays() {
    let report = diagnose(&well());
    let ids: Vec<&str> = report.findings.iter().map(|finding| finding.id).collect();
    assert_eq!(
        ids,
        [
            "kernel",
            "user-namespaces",
            "namespaces",
            "mounts",
            "procfs",
            "sysfs",
            "user-limits",
            "overlay",
            "store",
            "fuse",
            "tmpfs",
            "home",
            "seccomp",
            "seccomp-listener",
            "landlock",
            "subids",
            "cgroups",
            "service-manager",
            "tun",
            "ping",
            "bridge",
            "pasta",
            "slirp4netns"
        ]
    );
    let json: serde_json::Value = serde_json::from_slice(&render_json(&report).unwrap()).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["default_run_works"], true);
    let expected = serde_json::json!({
        "id": "kernel", "title": "kernel", "state": "ok", "detail": "Linux 6.18",
        "cost": null, "remedy": null
    });
    assert_eq!(json["findings"][0], expected);
}

#[test]
fn a_program_that_could_connect_networks_is_told_with_its_package() {
    let mut machine = well();
    machine.tools[0].1 = None;
    machine.tools[1].2 = Some("1.2.0".to_owned());
    let report = diagnose(&machine);
    assert_eq!(not_well(&report), [("pasta", State::Missing)]);
    assert_eq!(command(finding(&report, "pasta")), "sudo apt-get install -y passt");
    assert_eq!(finding(&report, "slirp4netns").detail, "1.2.0, `/usr/bin/slirp4netns`");
    // Nothing of ours wants it: the script leaves it to whoever reads it.
    let script = fix_script(&report);
    assert!(
        script.lines().all(|line| line.starts_with('#') || !line.contains("passt")),
        "{script}"
    );
}

#[test]
fn lines_are_broken_for_a_terminal_but_never_a_command() {
    let mut machine = well();
    machine.facts.subids.as_mut().unwrap().uids.clear();
    let look = Look { width: Some(60), ..Look::plain() };
    let text = render_text(&diagnose(&machine), &look);
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 60).collect();
    assert_eq!(
        long,
        ["                                  fix:  sudo usermod --add-subuids 165536-231071 al"]
    );
    assert!(text.contains("cost: `--ids subid` is\n"), "{text}");
}

#[test]
fn a_narrow_terminal_has_details_below_and_commands_whole() {
    let mut machine = Machine { ping: false, ..well() };
    machine.facts.subids.as_mut().unwrap().uids.clear();
    let look = Look { width: Some(40), ..Look::plain() };
    let text = render_text(&diagnose(&machine), &look);
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 40).collect();
    let commands = [
        "    fix:  sudo usermod --add-subuids 165536-231071 al",
        "    fix:  sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'",
    ];
    assert_eq!(long, commands);
    assert!(
        text.contains("missing   echoes (ping)\n    not for your groups\n    cost: with"),
        "{text}"
    );
}

#[test]
fn the_script_sets_what_the_report_says() {
    let report = diagnose(&Machine { ping: false, ..well() });
    let script = fix_script(&report);
    assert!(script.contains("\nset_sysctl net.ipv4.ping_group_range '0 2147483647'\n"), "{script}");
    assert!(!script.contains("no script can do"), "{script}");
}

#[test]
fn who_may_send_no_echoes_reads_which_setting_allows_it() {
    let report = diagnose(&Machine { ping: false, ..well() });
    let ping = finding(&report, "ping");
    assert_eq!(ping.state, State::Missing);
    let remedy = format!("{:?}", ping.remedy);
    assert!(remedy.contains("net.ipv4.ping_group_range"), "{remedy}");
}
