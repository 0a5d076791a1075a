//! A store in a directory of its own, and sandboxes in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use bryo::plan::Plan;
use bryo::plan::step::{
    Action, Backend, FsStep, Layer, LayerNumber, Lower, MountFlags, OverlayServer, ScratchEntry,
    ScratchLayer, Stage, Step, Upper,
};
use bryo::profile::settings::Settings;
use bryo::spec::{Command, Descriptors, HostPath, Lifetime, SandboxPath, Spec, Terminal};
use bryo::state::{
    Beginning, Exit, Launcher, Outcome, Record, SandboxDirectory, Store, Stores, Timestamp,
};

/// What somebody asked for.
pub(crate) fn spec(name: Option<&str>) -> Spec {
    let wanted = Settings::default().finish();
    Spec {
        name: name.map(str::to_owned),
        profile: "default".to_owned(),
        passed_over: Vec::new(),
        command: Command {
            argv: vec!["make".into(), "a\u{1b}b".into()],
            workdir: None,
            environment: Vec::new(),
            not_passed: vec!["AWS_SECRET".into()],
            descriptors: Descriptors::default(),
            terminal: Terminal::Auto,
            umask: None,
        },
        ids: wanted.ids,
        rootfs: wanted.rootfs,
        network: wanted.network,
        egress: bryo::spec::net::Egress::default(),
        publish: Vec::new(),
        seat: bryo::spec::net::Seat::default(),
        confine: wanted.confine,
        limits: wanted.limits,
        lifetime: Lifetime::default(),
        hostname: None,
    }
}

pub(crate) fn host(path: &Path) -> HostPath {
    HostPath::new(path).unwrap()
}

pub(crate) fn inside(path: &str) -> SandboxPath {
    SandboxPath::new(path).unwrap()
}

pub(crate) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A plan with one layer over `over`, below which `masked` is hidden.
pub(crate) fn plan(over: &Path, masked: &[&str]) -> Plan {
    let whiteout = |path: &&str| ScratchEntry::Whiteout { path: inside(path) };
    let layer = Layer {
        over: Some(host(over)),
        at: host(over).same_in_sandbox(),
        mode: mode_of(over),
        backend: Backend::Kernel,
        covered: Vec::new(),
        copied: Vec::new(),
        hidden: Vec::new(),
    };
    let step = |step| Step { stage: Stage::Sandbox, action: Action::Fs(step) };
    let masks = FsStep::ScratchLayer {
        layer: ScratchLayer(3),
        mode: 0o755,
        entries: masked.iter().map(whiteout).collect(),
    };
    let overlay = FsStep::Overlay {
        at: layer.at.clone(),
        lower: vec![Lower::Scratch(ScratchLayer(3)), Lower::Host { path: host(over), mount: 1 }],
        upper: Some(Upper::Layer(LayerNumber(0))),
        server: OverlayServer::Kernel,
        flags: MountFlags::WRITABLE,
    };
    let steps = vec![step(masks), step(overlay)];
    Plan { layers: vec![layer], groups_kept: vec![27], ..Plan::of_steps(steps) }
}

/// A store in a directory of its own, and another directory that layers lie over.
pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::in_directory(TempDir::new().unwrap())
    }

    pub(crate) fn in_directory(directory: TempDir) -> Self {
        fs::create_dir(directory.path().join("over")).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&host(&self.path("data/bryo"))).unwrap()
    }

    pub(crate) fn stores(&self) -> Stores {
        Stores::open(&[host(&self.path("data/bryo"))]).unwrap()
    }

    /// A sandbox whose payload may start.
    pub(crate) fn started(&self, name: Option<&str>) -> (SandboxDirectory, Record) {
        let mut sandbox = self.store().create(name).unwrap();
        let plan = plan(&self.path("over"), &["/.ssh"]);
        let layer = sandbox.make_layer(LayerNumber(0), &plan.layers[0]).unwrap();
        let record = Record::begin(
            sandbox.id(),
            sandbox.created(),
            Beginning {
                from: Some(host(self.directory.path())),
                launcher: Launcher::this().unwrap(),
                spec: &spec(name),
                target: None,
                plan: &plan,
                marks: &[layer.mark],
                published: &[],
            },
        );
        sandbox.begin(&record).unwrap();
        (sandbox, record)
    }

    pub(crate) fn upper(&self, sandbox: &SandboxDirectory) -> PathBuf {
        self.path(&format!("data/bryo/live/{}/upper-0", sandbox.id()))
    }

    /// Names below the store, but for the directories that always are there.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for place in ["live", "kept", "names", "trash"] {
            let Ok(entries) = fs::read_dir(self.path("data/bryo").join(place)) else { continue };
            for entry in entries {
                left.push(format!("{place}/{}", entry.unwrap().file_name().display()));
            }
        }
        left
    }
}

pub(crate) fn exited(mut record: Record) -> Record {
    record.outcome =
        Outcome::Exited { ended: Timestamp::now(), duration_us: 5, exit: Exit::Code(3) };
    record
}
