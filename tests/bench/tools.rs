//! The programs that are compared, each started in the same clean environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where everything is.
pub(crate) struct Tools {
    /// The home of what is started; removed at the end.
    home: tempfile::TempDir,
    bryo: PathBuf,
    clone3: PathBuf,
    loops: PathBuf,
    versions: String,
}

impl Tools {
    /// Copies and compiles what is needed into a fresh home.
    pub(crate) fn find() -> Result<Self, String> {
        if rustix::process::geteuid().is_root() {
            return Err(
                "this measures an ordinary user: run `make bench`, which makes one".to_owned()
            );
        }
        let homes = std::env::var_os("BRYO_TEST_HOMES")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        let home = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&homes)
            .map_err(|e| format!("cannot make a folder in `{}`: {e}", homes.display()))?;
        for folder in ["bin", "project"] {
            std::fs::create_dir(home.path().join(folder)).map_err(|e| e.to_string())?;
        }
        let from =
            std::env::var_os("BRYO_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_bryo").into());
        let bryo = home.path().join("bin/bryo");
        std::fs::copy(&from, &bryo)
            .map_err(|e| format!("cannot copy `{}`: {e}", Path::new(&from).display()))?;
        let clone3 = compile(home.path(), "clone3-exec", include_str!("clone3-exec.c"))?;
        let loops = compile(home.path(), "loops", include_str!("loops.c"))?;
        let versions = versions(&bryo);
        Ok(Self { home, bryo, clone3, loops, versions })
    }

    /// What is compared, for the head of the table.
    pub(crate) fn versions(&self) -> &str {
        &self.versions
    }

    /// The home.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder in which everything is started.
    pub(crate) fn project(&self) -> PathBuf {
        self.home().join("project")
    }

    /// The binary under test.
    pub(crate) fn bryo_path(&self) -> &Path {
        &self.bryo
    }

    /// The program with the loops.
    pub(crate) fn loops(&self) -> &Path {
        &self.loops
    }

    /// A program without a sandbox.
    pub(crate) fn outside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir(self.project())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// `bryo run FLAGS -- PROGRAM`.
    pub(crate) fn bryo(&self, flags: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = self.outside(&self.bryo);
        command.arg("run").args(flags).arg("--").arg(program);
        command
    }

    /// The usual way to get as much isolation from bubblewrap as it offers in one line.
    pub(crate) fn bwrap(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.outside("bwrap");
        command
            .args(["--ro-bind", "/", "/", "--unshare-all", "--proc", "/proc", "--dev", "/dev"])
            .arg(program);
        command
    }

    /// One clone3 with all namespaces, and exec.
    pub(crate) fn clone3(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.outside(&self.clone3);
        command.arg(program);
        command
    }

    /// crun, with a bundle that shows the host's tree read-only and runs `/bin/true`.
    pub(crate) fn crun(&self) -> Result<impl Fn() -> Command + '_, String> {
        let bundle = self.home().join("bundle");
        if !bundle.exists() {
            std::fs::create_dir(&bundle).map_err(|e| e.to_string())?;
            let mut spec = self.outside("crun");
            succeed(spec.args(["spec", "--rootless"]).current_dir(&bundle))?;
            let file = bundle.join("config.json");
            let text = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
            let mut config: serde_json::Value =
                serde_json::from_str(&text).map_err(|e| e.to_string())?;
            config["process"]["terminal"] = false.into();
            config["process"]["args"] = serde_json::json!(["/bin/true"]);
            config["root"] = serde_json::json!({ "path": "/", "readonly": true });
            std::fs::write(&file, config.to_string()).map_err(|e| e.to_string())?;
        }
        Ok(move || {
            let mut command = self.outside("crun");
            command.arg("--root").arg(self.home().join("crun"));
            command
                .args(["--cgroup-manager=disabled", "run", "--bundle"])
                .arg(&bundle)
                .arg("bench");
            command
        })
    }
}

/// Runs it to its end; the seconds that took.
pub(crate) fn seconds(command: &mut Command) -> Result<f64, String> {
    let began = Instant::now();
    let child = command
        .spawn()
        .map_err(|e| format!("cannot start `{}`: {e}", command.get_program().display()))?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let took = began.elapsed().as_secs_f64();
    if output.status.success() {
        return Ok(took);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", output.status, said.lines().next().unwrap_or("no message")))
}

/// Runs it to its end.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    seconds(command).map(|_| ())
}

/// Runs it to its end; the number it prints.
pub(crate) fn number(command: &mut Command) -> Result<f64, String> {
    let output = command.stdout(Stdio::piped()).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("{}: {}", output.status, error.lines().next().unwrap_or("no number"))
    })
}

/// Compiles a C program into the home, statically.
pub(crate) fn compile(home: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let to = home.join("bin").join(name);
    let text = to.with_extension("c");
    std::fs::write(&text, source).map_err(|e| e.to_string())?;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-o"]).args([&to, &text]).stderr(Stdio::piped());
    succeed(&mut cc)?;
    Ok(to)
}

fn versions(bryo: &Path) -> String {
    let first_line = |program: &OsStr, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        let text =
            output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or("not installed").to_owned()
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let count = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let mut text = format!("{count} × {}", model.trim_matches([' ', '\t', ':']));
    for (program, argument) in [
        (OsStr::new("uname"), "-sr"),
        (bryo.as_os_str(), "--version"),
        (OsStr::new("bwrap"), "--version"),
        (OsStr::new("crun"), "--version"),
        (OsStr::new("slirp4netns"), "--version"),
        (OsStr::new("pasta"), "--version"),
        (OsStr::new("cc"), "--version"),
    ] {
        text.push_str("; ");
        text.push_str(&first_line(program, argument));
    }
    text
}
