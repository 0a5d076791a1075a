//! One overlay in a small tree, and a shell script in it.

use std::io::Read as _;
use std::path::Path;

use super::PATIENCE;
use crate::launch::channel::{Heard, hear};
use crate::launch::fuse::End;
use crate::launch::tests::{bare, filter};
use crate::launch::wire::FromSandbox;
use crate::launch::{Host, LaunchError, LayerDirectories, Running, launch};
use crate::plan::step::{
    Action, Allowed, ConfineStep, FsStep, IdMapping, IdsStep, LandlockRules, LayerNumber, Lower,
    MountFlags, Namespaces, OverlayServer, Plan, ProcessStep, ScratchEntry, ScratchLayer, Stage,
    StdioPlan, Step, Upper,
};
use crate::spec::{HostPath, SandboxPath, Text};
use crate::sys::testing::Scratch;
use crate::sys::{mount, open, pidfd};

const PROGRAM: &str = "/usr/bin/fuse-overlayfs";

pub(super) fn at(path: &str) -> SandboxPath {
    SandboxPath::new(path).unwrap()
}

pub(super) fn host(path: &Path) -> HostPath {
    HostPath::new(path.canonicalize().unwrap()).unwrap()
}

/// One overlay at `/work` in a small tree, and a shell script in it.
pub(super) struct Bed {
    pub(super) scratch: Scratch,
    pub(super) inside: (u32, u32),
    pub(super) squash: Option<(u32, u32)>,
    pub(super) program: String,
    pub(super) mask: Vec<ScratchEntry>,
    pub(super) upper: Option<Upper>,
    pub(super) lower: Option<HostPath>,
}

impl Bed {
    pub(super) fn new() -> Self {
        let scratch = Scratch::new();
        for name in ["lower", "layer", "layer/upper", "layer/work"] {
            std::fs::create_dir(scratch.0.join(name)).unwrap();
        }
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self {
            scratch,
            inside: ids,
            squash: None,
            program: PROGRAM.to_owned(),
            mask: Vec::new(),
            upper: Some(Upper::Layer(LayerNumber(0))),
            lower: None,
        }
    }

    pub(super) fn lower(&self, name: &str) -> std::path::PathBuf {
        self.scratch.0.join("lower").join(name)
    }

    pub(super) fn upper(&self, name: &str) -> std::path::PathBuf {
        self.scratch.0.join("layer/upper").join(name)
    }

    fn overlay(&self) -> FsStep {
        let lower = self.lower.clone().unwrap_or_else(|| host(&self.scratch.0.join("lower")));
        let mount = mount::mount_id(open::open_host(lower.as_path()).unwrap()).unwrap();
        let flags = match self.upper {
            Some(_) => MountFlags::WRITABLE,
            None => MountFlags::READ_ONLY,
        };
        FsStep::Overlay {
            at: at("/work"),
            lower: vec![Lower::Scratch(ScratchLayer(0)), Lower::Host { path: lower, mount }],
            upper: self.upper,
            server: OverlayServer::Fuse {
                program: HostPath::new(&self.program).unwrap(),
                squash: self.squash,
            },
            flags,
        }
    }

    fn tree(&self) -> Vec<FsStep> {
        let mut steps = vec![
            FsStep::MakePrivate,
            FsStep::Scratch,
            FsStep::ScratchLayer {
                layer: ScratchLayer(0),
                mode: 0o755,
                entries: self.mask.clone(),
            },
            FsStep::NewRoot,
        ];
        for name in ["/usr", "/etc", "/proc", "/dev", "/work"] {
            steps.push(FsStep::Directory { at: at(name), mode: 0o755 });
        }
        for name in ["bin", "lib", "lib64"] {
            let target = Text::from(format!("usr/{name}"));
            steps.push(FsStep::Link { at: at(&format!("/{name}")), target });
        }
        for name in ["/usr", "/etc"] {
            let from = HostPath::new(name).unwrap();
            steps.push(FsStep::Bind { from, at: at(name), flags: MountFlags::READ_ONLY });
        }
        let null = FsStep::File { at: at("/dev/null"), content: Text::default(), mode: 0o666 };
        let devices = MountFlags { devices: Allowed::Yes, ..MountFlags::WRITABLE };
        let from = HostPath::new("/dev/null").unwrap();
        steps.push(null);
        steps.push(FsStep::Bind { from, at: at("/dev/null"), flags: devices });
        steps.push(self.overlay());
        steps.push(FsStep::Proc { at: at("/proc") });
        steps.push(FsStep::Seal { at: at("/") });
        steps.push(FsStep::Pivot);
        steps
    }

    pub(super) fn plan(&self, script: &str) -> Plan {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let map = |inside, outside| IdMapping { inside, outside, count: 1 };
        let all =
            Namespaces { user: true, pid: true, net: true, ipc: true, uts: true, cgroup: true };
        let maps =
            IdsStep::WriteMaps { uid: map(self.inside.0, uid), gid: map(self.inside.1, gid) };
        let mut steps = vec![
            (Stage::Launch, Action::Clone(all)),
            (Stage::Launch, Action::Ids(IdsStep::DenySetgroups)),
            (Stage::Launch, Action::Ids(maps)),
            (Stage::Sandbox, Action::Process(ProcessStep::Undumpable)),
        ];
        steps.extend(self.tree().into_iter().map(|step| (Stage::Sandbox, Action::Fs(step))));
        steps.push((Stage::Sandbox, Action::Process(ProcessStep::Session { pty: false })));
        steps.push((Stage::Init, Action::Confine(ConfineStep::NoNewPrivs)));
        steps.extend(payload(script).into_iter().map(|action| (Stage::Payload, action)));
        Plan::of_steps(steps.into_iter().map(|(stage, action)| Step { stage, action }).collect())
    }

    pub(super) fn launch(&self, script: &str) -> Result<Running, LaunchError> {
        self.launch_plan(&self.plan(script))
    }

    pub(super) fn launch_plan(&self, plan: &Plan) -> Result<Running, LaunchError> {
        let mut layers = LayerDirectories::default();
        let directory = |name| host(&self.scratch.0.join("layer").join(name));
        layers.push(directory("upper"), directory("work"));
        let host = Host { server_filter: filter("fuse"), ..bare(&layers) };
        launch(plan, &host, |_| Ok(()), || ())
    }

    /// Runs a script: what it printed, how it ended, how the servers ended.
    pub(super) fn run(&self, script: &str) -> (String, FromSandbox, Vec<End>) {
        let mut running = self.launch(script).unwrap();
        let mut printed = String::new();
        let relay = running.relays.pop().unwrap();
        std::fs::File::from(relay.end).read_to_string(&mut printed).unwrap();
        let Heard::Message(last, _) = hear(&running.control).unwrap() else {
            panic!("no last word")
        };
        pidfd::wait(&running.pidfd).unwrap();
        drop(running.namespaces);
        let ends = running.servers.into_iter().map(|server| server.end(PATIENCE).unwrap());
        (printed, last, ends.collect())
    }
}

fn payload(script: &str) -> Vec<Action> {
    let process = [
        ProcessStep::ProcessGroup { foreground: false },
        ProcessStep::Stdio { number: 0, with: StdioPlan::Null },
        ProcessStep::Stdio { number: 1, with: StdioPlan::Relay },
        ProcessStep::CloseDescriptors { keep: Vec::new() },
        ProcessStep::Workdir(at("/work")),
    ];
    let abi = crate::sys::landlock::abi().unwrap();
    let rules = LandlockRules { abi, scope_signals: true, ..LandlockRules::default() };
    let confine = [
        ConfineStep::Capabilities { keep: Vec::new() },
        ConfineStep::NoNewPrivs,
        ConfineStep::Landlock(rules),
    ];
    let argv = ["/bin/sh", "-c", script].map(|text| Text::from(text.to_owned()));
    let exec = ProcessStep::Exec { argv: argv.into(), environment: Vec::new(), search: Vec::new() };
    let process = process.into_iter().map(Action::Process);
    process.chain(confine.map(Action::Confine)).chain([Action::Process(exec)]).collect()
}
