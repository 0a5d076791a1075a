//! A host's directory, a sandbox with one layer over it, and what is done with both.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bryo::changes::apply::{Apply, ApplyError, ApplyPlan, Choices, Item, Mode, Outcome, Wish};
use bryo::changes::{Changes, ChangesError, Glob};
use bryo::plan::Plan;
use bryo::plan::step::{Backend, Layer, LayerNumber};
use bryo::profile::settings::Settings;
use bryo::spec::{self, HostPath, SandboxPath};
use bryo::state::{Beginning, Launcher, Record, SandboxDirectory, Store, Timestamp};
use tempfile::TempDir;

/// A host and a sandbox over it.
pub(crate) struct Bed {
    pub(crate) directory: TempDir,
    pub(crate) sandbox: SandboxDirectory,
    pub(crate) record: Record,
    pub(crate) backend: Backend,
}

pub(crate) fn host(path: &Path) -> HostPath {
    HostPath::new(path).unwrap()
}

/// Before a program that is to have no capabilities, as payloads have none.
pub(crate) const WITHOUT_CAPABILITIES: &str = "setpriv --bounding-set=-all --inh-caps=-all";

/// Runs a script with bash; it must succeed.
pub(crate) fn bash(directory: &Path, script: &str) {
    let output = Command::new("timeout")
        .args(["900", "bash", "-c", script])
        .current_dir(directory)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{errors}");
}

impl Bed {
    /// Over what `prepare` makes in the host's directory. It is long enough ago that it counts as there
    /// before the start.
    pub(crate) fn new(backend: Backend, prepare: &str) -> Self {
        let directory = TempDir::new().unwrap();
        for name in ["host", "merged"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(directory.path().join("prepare"), prepare).unwrap();
        bash(&directory.path().join("host"), &format!("{WITHOUT_CAPABILITIES} bash ../prepare"));
        Self::over(backend, directory, &[])
    }

    pub(crate) fn over(backend: Backend, directory: TempDir, masked: &[&str]) -> Self {
        let over = directory.path().join("host");
        let layer = Layer {
            at: host(&over).same_in_sandbox(),
            over: Some(host(&over)),
            backend,
            mode: fs::metadata(&over).unwrap().permissions().mode() & 0o7777,
            covered: Vec::new(),
            copied: Vec::new(),
            hidden: Vec::new(),
        };
        let store = Store::open(&host(&directory.path().join("store"))).unwrap();
        let mut sandbox = store.create(None).unwrap();
        let made = sandbox.make_layer(LayerNumber(0), &layer).unwrap();
        let plan = Plan { layers: vec![layer], ..Plan::of_steps(Vec::new()) };
        let beginning = Beginning {
            from: None,
            launcher: Launcher::this().unwrap(),
            spec: &spec(),
            target: None,
            plan: &plan,
            marks: &[made.mark],
            published: &[],
        };
        let mut record = Record::begin(sandbox.id(), sandbox.created(), beginning);
        record.layers[0].masked =
            masked.iter().map(|path| SandboxPath::new(path).unwrap()).collect();
        sandbox.begin(&record).unwrap();
        Self { directory, sandbox, record, backend }
    }

    /// As if the sandbox had started now.
    pub(crate) fn starts_now(&mut self) {
        self.record.layers[0].mark = Some(Timestamp::now());
        let number = std::os::unix::fs::MetadataExt::ino(&fs::metadata(self.host()).unwrap());
        self.record.layers[0].root = Some(number);
    }

    pub(crate) fn host(&self) -> PathBuf {
        self.directory.path().join("host")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        let own = match self.backend {
            Backend::Kernel => "upper-0",
            Backend::Fuse => "layer-0/upper",
        };
        self.directory.path().join(format!("store/live/{}/{own}", self.sandbox.id()))
    }

    /// How the overlay is mounted over `merged`, from the bed's directory.
    pub(crate) fn mount(&self) -> String {
        let (upper, id) = (self.upper(), self.sandbox.id());
        let work = match self.backend {
            Backend::Kernel => format!("store/live/{id}/work-0"),
            Backend::Fuse => format!("store/live/{id}/layer-0/work"),
        };
        let at = format!("lowerdir=host,upperdir={},workdir={work}", upper.display());
        match self.backend {
            Backend::Kernel => format!("mount -t overlay o -o userxattr,{at} merged"),
            Backend::Fuse => format!("fuse-overlayfs -o {at} merged 2>>errors"),
        }
    }

    /// Runs a script in the sandbox.
    pub(crate) fn run(&self, script: &str) {
        fs::write(self.directory.path().join("payload"), script).unwrap();
        let all = format!(
            "set -e; {}; (cd merged; {WITHOUT_CAPABILITIES} bash -e ../payload); umount merged",
            self.mount()
        );
        bash(self.directory.path(), &format!("unshare -Urm bash -c '{all}'"));
    }

    pub(crate) fn looks<T>(&self, excludes: &[Glob], act: impl FnOnce(Apply<'_>) -> T) -> T {
        let mut wish = Wish { excludes, executed_later: &|_| None, go_on: &mut || true };
        act(Apply::begin(&self.sandbox, &self.record, Mode::Do, &mut wish).unwrap())
    }

    /// Applies; gives what stayed, as `path: why`.
    pub(crate) fn apply(&self, choices: &Choices) -> Vec<String> {
        self.looks(&[], |apply| {
            let plan = apply.plan(choices);
            let items = apply.items().to_vec();
            let outcome = apply.carry_out(&plan, &mut || true, &mut |_| {}).unwrap();
            self.left(&items, &plan, &outcome)
        })
    }

    pub(crate) fn left(&self, items: &[Item], plan: &ApplyPlan, outcome: &Outcome) -> Vec<String> {
        let left = plan.left.iter().chain(&outcome.left);
        let mut lines: Vec<String> = left
            .map(|left| format!("{}: {}", self.short(&items[left.change].change.path), left.why))
            .collect();
        lines.sort();
        lines
    }

    /// A path below the host's directory.
    pub(crate) fn short(&self, path: &HostPath) -> String {
        let relative = path.as_path().strip_prefix(self.host()).unwrap_or(path.as_path());
        relative.to_string_lossy().into_owned()
    }

    /// Applies everything, but is killed before the step with this number; gives whether it came so far.
    pub(crate) fn is_killed_at(&self, step: usize) -> bool {
        let mut steps = 0;
        let mut go_on = || {
            steps += 1;
            steps <= step
        };
        let mut wish = Wish { excludes: &[], executed_later: &|_| None, go_on: &mut go_on };
        let begun = Apply::begin(&self.sandbox, &self.record, Mode::Do, &mut wish);
        let ended = begun.and_then(|apply| {
            let plan = apply.plan(&Choices::default());
            assert!(
                plan.left.is_empty(),
                "{:?}",
                self.left(apply.items(), &plan, &Outcome::default())
            );
            apply.carry_out(&plan, &mut go_on, &mut |_| {})
        });
        match ended {
            Ok(outcome) => {
                assert!(outcome.left.is_empty(), "{:?}", outcome.left);
                false
            }
            Err(ApplyError::Interrupted) => true,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// As `A name`, what the layer still holds.
    pub(crate) fn changes(&self) -> Vec<String> {
        let open = |number| Ok::<_, ChangesError>(self.sandbox.open_upper(number).unwrap());
        let changes = Changes::open(&self.record.layers, open).unwrap().map(Result::unwrap);
        changes
            .map(|change| format!("{} {}", change.kind.letter(), self.short(&change.path)))
            .collect()
    }
}

fn spec() -> spec::Spec {
    let wanted = Settings::default().finish();
    spec::Spec {
        name: None,
        profile: "default".to_owned(),
        passed_over: Vec::new(),
        command: spec::Command {
            argv: vec!["true".into()],
            workdir: None,
            environment: Vec::new(),
            not_passed: Vec::new(),
            descriptors: spec::Descriptors::default(),
            terminal: spec::Terminal::Auto,
            umask: None,
        },
        ids: wanted.ids,
        rootfs: wanted.rootfs,
        network: wanted.network,
        egress: spec::net::Egress::default(),
        publish: Vec::new(),
        seat: bryo::spec::net::Seat::default(),
        confine: wanted.confine,
        limits: wanted.limits,
        lifetime: spec::Lifetime::default(),
        hostname: None,
    }
}
