//! Starts with hand-made plans: the processes themselves, without planner or supervisor.

mod entry;

use std::io::Read as _;

use super::channel::{Heard, hear};
use super::wire::FromSandbox;
use super::{Host, LaunchError, LayerDirectories, Running, launch};
use crate::confine::seccomp;
use crate::plan::step::{
    Action, Allowed, ConfineStep, FilterProgram, FsStep, IdMapping, IdsStep, LandlockGrant,
    LandlockPath, LandlockRules, LimitStep, MountAccess, MountFlags, Namespaces, NetStep, Plan,
    ProcessStep, Room, Stage, StdioPlan, Step, UserCount,
};
use crate::spec::seccomp::PolicyVariant;
use crate::spec::{EnvironmentVariable, HostPath, SandboxPath, Text};
use crate::sys::errno::Errno;
use crate::sys::pidfd;
use crate::sys::seccomp::Instruction;
use crate::sys::testing::{alone, ordinary_user};

fn at(path: &str) -> SandboxPath {
    SandboxPath::new(path).unwrap()
}

fn tree() -> Vec<Action> {
    let mut steps = vec![FsStep::MakePrivate, FsStep::Scratch, FsStep::NewRoot];
    for name in ["/usr", "/etc", "/proc", "/dev", "/tmp"] {
        steps.push(FsStep::Directory { at: at(name), mode: 0o755 });
    }
    for name in ["bin", "lib", "lib64"] {
        steps.push(FsStep::Link {
            at: at(&format!("/{name}")),
            target: Text::from(format!("usr/{name}")),
        });
    }
    for name in ["/usr", "/etc"] {
        let from = HostPath::new(name).unwrap();
        steps.push(FsStep::Bind { from, at: at(name), flags: MountFlags::READ_ONLY });
    }
    let flags =
        MountFlags { access: MountAccess::Writable, devices: Allowed::No, exec: Allowed::Yes };
    steps.push(FsStep::Tmpfs { at: at("/tmp"), room: Room::Own(None), mode: 0o1777, flags });
    steps.push(FsStep::Proc { at: at("/proc") });
    steps.push(FsStep::File { at: at("/dev/null"), content: Text::default(), mode: 0o666 });
    let devices =
        MountFlags { access: MountAccess::Writable, devices: Allowed::Yes, exec: Allowed::No };
    steps.push(FsStep::Bind {
        from: HostPath::new("/dev/null").unwrap(),
        at: at("/dev/null"),
        flags: devices,
    });
    steps.push(FsStep::Seal { at: at("/") });
    steps.push(FsStep::Pivot);
    steps.into_iter().map(Action::Fs).collect()
}

fn plan(argv: &[&str]) -> Plan {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let map = |outside| IdMapping { inside: outside, outside, count: 1 };
    let mut steps = vec![
        (
            Stage::Launch,
            Action::Clone(Namespaces {
                user: true,
                pid: true,
                net: true,
                ipc: true,
                uts: true,
                cgroup: true,
            }),
        ),
        (Stage::Launch, Action::Ids(IdsStep::DenySetgroups)),
        (Stage::Launch, Action::Ids(IdsStep::WriteMaps { uid: map(uid), gid: map(gid) })),
        (Stage::Sandbox, Action::Process(ProcessStep::Undumpable)),
        (Stage::Sandbox, Action::Net(NetStep::LoopbackUp)),
        (
            Stage::Sandbox,
            Action::Limit(LimitStep::UserCount { name: UserCount::MaxUserNamespaces, value: 0 }),
        ),
    ];
    steps.extend(tree().into_iter().map(|action| (Stage::Sandbox, action)));
    steps.push((Stage::Sandbox, Action::Process(ProcessStep::Hostname("moss".to_owned()))));
    steps.push((Stage::Sandbox, Action::Process(ProcessStep::Session { pty: false })));
    let variant = PolicyVariant::default();
    let init = FilterProgram::Builtin { name: "init".to_owned(), variant };
    for confine in [
        ConfineStep::Capabilities { keep: Vec::new() },
        ConfineStep::NoNewPrivs,
        ConfineStep::Seccomp { program: init, listen: false },
    ] {
        steps.push((Stage::Init, Action::Confine(confine)));
    }
    steps.extend(payload(argv).into_iter().map(|action| (Stage::Payload, action)));
    Plan::of_steps(steps.into_iter().map(|(stage, action)| Step { stage, action }).collect())
}

fn payload(argv: &[&str]) -> Vec<Action> {
    let grant = |path: &str, grant| LandlockPath { at: at(path), grant };
    let rules = LandlockRules {
        abi: crate::sys::landlock::abi().unwrap_or(0),
        paths: vec![
            grant("/", LandlockGrant::ReadExecute),
            grant("/tmp", LandlockGrant::All),
            grant("/dev", LandlockGrant::Device),
        ],
        ..LandlockRules::default()
    };
    let program =
        FilterProgram::Builtin { name: "default".to_owned(), variant: PolicyVariant::default() };
    let process = [
        ProcessStep::ProcessGroup { foreground: false },
        ProcessStep::Stdio { number: 0, with: StdioPlan::Null },
        ProcessStep::Stdio { number: 1, with: StdioPlan::Relay },
        ProcessStep::CloseDescriptors { keep: Vec::new() },
        ProcessStep::Workdir(at("/tmp")),
    ];
    let confine = [
        ConfineStep::Keyring,
        ConfineStep::Securebits,
        ConfineStep::Capabilities { keep: Vec::new() },
        ConfineStep::NoNewPrivs,
        ConfineStep::Landlock(rules),
        ConfineStep::Seccomp { program, listen: true },
    ];
    let exec = ProcessStep::Exec {
        argv: argv.iter().map(|text| Text::from((*text).to_owned())).collect(),
        environment: vec![EnvironmentVariable { name: "A".into(), value: "b".into() }],
        search: vec!["/usr/bin".into()],
    };
    process
        .into_iter()
        .map(Action::Process)
        .chain(confine.into_iter().map(Action::Confine))
        .chain([Action::Process(exec)])
        .collect()
}

pub(super) fn filter(name: &str) -> Option<Vec<Instruction>> {
    Instruction::read_all(seccomp::builtin(name, PolicyVariant::default()).unwrap().bytes())
}

/// A start with these layers and nothing else.
pub(super) fn bare(layers: &LayerDirectories) -> Host<'_> {
    Host {
        id: "0",
        layers,
        payload_filter: None,
        init_filter: None,
        server_filter: None,
        netstack_filter: None,
        capture: None,
        door: None,
        published: std::cell::Cell::default(),
        membership: None,
        terminal: None,
    }
}

fn filtered(layers: &LayerDirectories) -> Host<'_> {
    Host { payload_filter: filter("default"), init_filter: filter("init"), ..bare(layers) }
}

fn start(plan: &Plan) -> Result<Running, LaunchError> {
    let layers = LayerDirectories::default();
    let host = filtered(&layers);
    launch(plan, &host, |_| Ok(()), || ())
}

/// What the payload printed, and init's last word.
fn run(plan: &Plan) -> (String, FromSandbox) {
    let mut running = start(plan).unwrap();
    let mut printed = String::new();
    std::fs::File::from(running.relays.remove(0).end).read_to_string(&mut printed).unwrap();
    let Heard::Message(last, _) = hear(&running.control).unwrap() else { panic!("no last word") };
    pidfd::wait(&running.pidfd).unwrap();
    (printed, last)
}

#[test]
fn a_payload_runs_confined_and_its_status_is_told() {
    alone(module_path!(), "a_payload_runs_confined_and_its_status_is_told", || {
        ordinary_user();
        let script = "echo $A; pwd; cat /proc/1/comm; tr -d '\\0' </proc/1/cmdline; echo '|'; hostname; grep -E 'NoNewPrivs|CapEff|CapBnd|Seccomp:' /proc/self/status; \
                      touch /usr/x 2>&1; touch here && ls; ls -d /home 2>&1; ls /proc/self/fd; exit 7";
        let (printed, last) = run(&plan(&["sh", "-c", script]));
        assert_eq!(last, FromSandbox::Exited { code: 7 }, "{printed}");
        for line in [
            "b",
            "/tmp",
            "moss",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "here",
            "bryo-init",
            "bryo-init|",
        ] {
            assert!(printed.lines().any(|printed| printed == line), "no `{line}` in:\n{printed}");
        }
        assert!(printed.contains("/usr/x"), "{printed}");
        assert!(printed.contains("cannot access '/home'"), "{printed}");
        assert!(!printed.lines().any(|line| line == "4"), "a descriptor was inherited:\n{printed}");
    });
}

#[test]
fn a_killed_payload_is_told_as_killed() {
    alone(module_path!(), "a_killed_payload_is_told_as_killed", || {
        ordinary_user();
        let (_, last) = run(&plan(&["sh", "-c", "kill -9 $$"]));
        assert_eq!(last, FromSandbox::Killed { signal: 9 });
    });
}

#[test]
fn a_program_that_is_not_there_is_not_found() {
    alone(module_path!(), "a_program_that_is_not_there_is_not_found", || {
        ordinary_user();
        assert!(matches!(start(&plan(&["no-such-program"])), Err(LaunchError::NotFound(_))));
        assert!(matches!(
            start(&plan(&["/etc/passwd"])),
            Err(LaunchError::Exec { source: Errno::EACCES, .. })
        ));
        assert_eq!(pidfd::wait_any(pidfd::Changes::Ended), Err(Errno::ECHILD));
    });
}

#[test]
fn a_step_that_fails_is_named_with_its_errno() {
    alone(module_path!(), "a_step_that_fails_is_named_with_its_errno", || {
        ordinary_user();
        let mut plan = plan(&["true"]);
        let missing = FsStep::Bind {
            from: HostPath::new("/no/such").unwrap(),
            at: at("/usr"),
            flags: MountFlags::READ_ONLY,
        };
        let index =
            plan.steps.iter().position(|step| step.action == Action::Fs(FsStep::Pivot)).unwrap();
        plan.steps.insert(index, Step { stage: Stage::Sandbox, action: Action::Fs(missing) });
        let Err(LaunchError::Step { step, source, .. }) = start(&plan) else {
            panic!("it started")
        };
        assert_eq!((step, source.errno), (index, Errno::ENOENT));
        assert_eq!(pidfd::wait_any(pidfd::Changes::Ended), Err(Errno::ECHILD));
    });
}

#[test]
fn a_writable_mount_that_was_not_planned_is_refused() {
    alone(module_path!(), "a_writable_mount_that_was_not_planned_is_refused", || {
        ordinary_user();
        let mut plan = plan(&["true"]);
        // Without its seal the new root is writable.
        plan.steps.retain(|step| !matches!(step.action, Action::Fs(FsStep::Seal { .. })));
        let Err(LaunchError::Step { source, .. }) = start(&plan) else { panic!("it started") };
        assert_eq!(source.errno, Errno::EPROTO);
    });
}

#[test]
fn everything_dies_with_the_launcher() {
    alone(module_path!(), "everything_dies_with_the_launcher", || {
        ordinary_user();
        let (ours, theirs) = crate::sys::socket::pair().unwrap();
        match crate::sys::clone::fork().unwrap() {
            crate::sys::clone::Cloned::Child => {
                drop(ours);
                let running = start(&plan(&["sleep", "1000"])).unwrap();
                crate::sys::socket::send(
                    &theirs,
                    b"up",
                    &[std::os::fd::AsFd::as_fd(&running.pidfd)],
                )
                .unwrap();
                loop {
                    std::thread::park();
                }
            }
            crate::sys::clone::Cloned::Parent { pidfd: launcher, .. } => {
                drop(theirs);
                let (_, mut fds) = crate::sys::socket::receive(&ours, &mut [0; 8]).unwrap();
                let init = fds.pop().unwrap();
                pidfd::send_signal(&launcher, crate::sys::signal::SignalNumber::KILL).unwrap();
                pidfd::wait(&launcher).unwrap();
                let mut poller = crate::sys::event::Poller::new();
                poller.readable((), std::os::fd::AsFd::as_fd(&init));
                let ended = poller.wait(Some(std::time::Duration::from_secs(5))).unwrap();
                assert_eq!(ended.len(), 1, "pid 1 outlives its launcher");
            }
        }
    });
}

#[test]
fn the_record_is_written_before_the_payload_runs() {
    alone(module_path!(), "the_record_is_written_before_the_payload_runs", || {
        ordinary_user();
        let plan = plan(&["date", "+%s%N"]);
        let layers = LayerDirectories::default();
        let host = filtered(&layers);
        let mut recorded = 0;
        let record = |_: Option<&crate::spec::HostPath>| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            recorded = now.as_nanos();
            Ok(())
        };
        let mut running = launch(&plan, &host, record, || ()).unwrap();
        let mut printed = String::new();
        std::fs::File::from(running.relays.remove(0).end).read_to_string(&mut printed).unwrap();
        pidfd::wait(&running.pidfd).unwrap();
        assert!(printed.trim().parse::<u128>().unwrap() > recorded, "{printed}");
    });
}
