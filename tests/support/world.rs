//! A home with a project in it, and everything that is looked at when the test is over.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::invocation::Invocation;
use super::leftovers::{self, Snapshot};
use super::needs::{Overlay, overlay};
use super::program;

/// What a test has for itself. Cheap to clone; the last clone looks for leftovers.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    folder: tempfile::TempDir,
    expectation: Mutex<Expectation>,
}

/// What may differ when the world ends.
#[derive(Clone, Copy, Default)]
struct Expectation {
    host: Host,
    records: usize,
}

/// Whether a test may change the tree of the host (but for the store).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Host {
    /// What the sandbox saw must be as it was.
    #[default]
    Unchanged,
    /// The test asks for a change (`--write`), and looks at it itself.
    MayChange,
}

impl World {
    /// A fresh home, with an empty `project` in it.
    pub(crate) fn new() -> Self {
        assert!(
            !rustix::process::geteuid().is_root(),
            "these tests are about an ordinary user: run `scripts/test.sh FILTER`, which makes one"
        );
        let homes = program::homes();
        std::fs::create_dir_all(&homes).unwrap();
        let folder = tempfile::Builder::new().prefix("world-").tempdir_in(homes).unwrap();
        // As an ordinary home, readable by others; tempfile makes it private.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(folder.path().join("project")).unwrap();
        Self(Arc::new(Inner { folder, expectation: Mutex::default() }))
    }

    /// `$HOME`.
    pub(crate) fn home(&self) -> &Path {
        self.0.folder.path()
    }

    /// The current directory of what is started, unless told otherwise.
    pub(crate) fn project(&self) -> PathBuf {
        self.home().join("project")
    }

    /// Where records and layers are.
    pub(crate) fn store(&self) -> PathBuf {
        self.home().join(".local/share/bryo")
    }

    /// A path below `$HOME`.
    pub(crate) fn path(&self, below_home: impl AsRef<Path>) -> PathBuf {
        self.home().join(below_home)
    }

    /// Writes a file below `$HOME`, its directories too; gives its path.
    pub(crate) fn file(&self, below_home: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below_home);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Makes a directory below `$HOME`; gives its path.
    pub(crate) fn folder(&self, below_home: impl AsRef<Path>) -> PathBuf {
        let path = self.path(below_home);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// What stands in a file below `$HOME`.
    pub(crate) fn read(&self, below_home: impl AsRef<Path>) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(below_home)).unwrap()).into_owned()
    }

    /// Whether something is there below `$HOME`, a dangling link too.
    pub(crate) fn exists(&self, below_home: impl AsRef<Path>) -> bool {
        self.path(below_home).symlink_metadata().is_ok()
    }

    /// Compiles a C program into `$HOME/bin`, where the sandbox sees it; gives its path.
    pub(crate) fn c_program(&self, name: &str, source: &str) -> PathBuf {
        let to = self.folder("bin").join(name);
        program::copy(&program::compile(source), &to);
        to
    }

    /// `bryo run`, with the overlay of this pass.
    pub(crate) fn sandbox(&self) -> Invocation {
        let run = self.bryo(["run"]);
        match overlay() {
            Overlay::Kernel => run.args(["--overlay", "kernel"]),
            Overlay::Fuse => run.args(["--overlay", "fuse"]),
            // The home is a private one, the project the host's own: no copy-on-write anywhere.
            Overlay::None => {
                self.host(Host::MayChange);
                run.args([OsStr::new("--tmpfs"), self.home().as_os_str()])
                    .args([OsStr::new("--write"), self.project().as_os_str()])
            }
        }
    }

    /// `bryo` with these arguments.
    pub(crate) fn bryo<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Invocation {
        Invocation::new(self.clone(), program::bryo()).args(args)
    }

    /// The same shell command without a sandbox, in `$HOME`: the control that shows that an attack
    /// works where nothing stops it.
    pub(crate) fn outside(&self, command: &str) -> super::Ended {
        self.program("/bin/sh", ["-c", command]).in_folder(self.home()).ends()
    }

    /// Any other program, with the same environment.
    pub(crate) fn program<A: AsRef<OsStr>>(
        &self,
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
    ) -> Invocation {
        Invocation::new(self.clone(), program.into()).args(args)
    }

    /// Says whether the host's tree may differ after the next runs.
    pub(crate) fn host(&self, host: Host) -> &Self {
        self.0.expectation.lock().unwrap().host = host;
        self
    }

    /// Says how many sandboxes have a record at the end: those that wrote something, and were not
    /// removed. None unless told.
    pub(crate) fn keeps(&self, records: usize) -> &Self {
        self.0.expectation.lock().unwrap().records = records;
        self
    }

    /// The host's tree now, to compare with after a run; none where a change is expected.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let host = self.0.expectation.lock().unwrap().host;
        (host == Host::Unchanged).then(|| Snapshot::of(self.home(), &self.store()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let home = self.folder.path().to_owned();
        if std::thread::panicking() {
            // What goes on alone would go on for ever.
            remove_all(&home);
        }
        let records = self.expectation.lock().map_or(0, |e| e.records);
        let found = leftovers::find(&home, &home.join(".local/share/bryo"), records);
        leftovers::make_removable(&home);
        // A test that fails already has said why.
        assert!(std::thread::panicking() || found.is_empty(), "left behind:\n{}", found.join("\n"));
    }
}

/// Removes every sandbox of a world whose test has failed.
fn remove_all(home: &Path) {
    let script = "b=$1; ids=$($b ps -aq) && [ -n \"$ids\" ] && $b rm -f $ids";
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", script, "-"]).arg(program::bryo()).env("HOME", home);
    _ = command.env_remove("BRYO_STORE").env_remove("XDG_DATA_HOME").output();
}
