//! Starting a program under the keeper, and waiting for it.
//!
//! Long because what an invocation can be given and what can be asked of its end read as one sentence.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::leftovers::Snapshot;
use super::terminal::Terminal;
use super::{Ended, World, program};

/// How long a program may take before it is killed and the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program that is about to be started.
#[must_use]
pub(crate) struct Invocation {
    pub(super) world: World,
    words: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    folder: PathBuf,
    stdin: Stdin,
    stdout: Option<File>,
    stderr: Option<File>,
    pub(super) patience: Duration,
    leaves: bool,
}

/// What a program reads.
pub(crate) enum Stdin {
    /// `/dev/null`.
    Null,
    /// A pipe with this in it.
    Text(Vec<u8>),
    /// Some open file, directory or socket.
    File(File),
}

impl Invocation {
    pub(super) fn new(world: World, program: PathBuf) -> Self {
        let home = world.home().as_os_str().to_owned();
        let user = std::env::var_os("USER").unwrap_or_else(|| "nobody".into());
        let environment = [
            ("HOME", home),
            ("USER", user.clone()),
            ("LOGNAME", user),
            ("SHELL", "/bin/sh".into()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "dumb".into()),
        ];
        Self {
            folder: world.project(),
            world,
            words: vec![program.into()],
            environment: environment.map(|(name, value)| (name.into(), value)).into(),
            stdin: Stdin::Null,
            stdout: None,
            stderr: None,
            patience: PATIENCE,
            leaves: false,
        }
    }

    /// What it starts goes on when it has ended: the world looks for it at its own end.
    pub(crate) fn leaves(mut self) -> Self {
        self.leaves = true;
        self
    }

    /// One more argument.
    pub(crate) fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// More arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Started by another program: these words come before all others.
    pub(crate) fn under<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.words.splice(0..0, words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// A variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// A variable that is not in the environment.
    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Started in another directory than the project.
    pub(crate) fn in_folder(mut self, folder: impl AsRef<Path>) -> Self {
        folder.as_ref().clone_into(&mut self.folder);
        self
    }

    /// What it reads; nothing unless told.
    pub(crate) fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Where it writes, instead of a pipe whose content is in [`Ended::stdout`].
    pub(crate) fn stdout_to(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// As [`Invocation::stdout_to`].
    pub(crate) fn stderr_to(mut self, file: File) -> Self {
        self.stderr = Some(file);
        self
    }

    /// It may take as long as that: longer, or shorter, than a minute.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The payload is this shell command. Waits for the end.
    #[track_caller]
    pub(crate) fn run(self, command: &str) -> Ended {
        self.args(["--", "/bin/sh", "-c", command]).ends()
    }

    /// The payload is this program. Waits for the end.
    #[track_caller]
    pub(crate) fn exec<A: AsRef<OsStr>>(self, words: impl IntoIterator<Item = A>) -> Ended {
        self.arg("--").args(words).ends()
    }

    /// The payload is this shell command. Does not wait.
    pub(crate) fn start(self, command: &str) -> Running {
        self.args(["--", "/bin/sh", "-c", command]).starts()
    }

    /// Starts it as it is, and waits for the end.
    #[track_caller]
    pub(crate) fn ends(self) -> Ended {
        self.starts().ends()
    }

    /// Starts it as it is on a terminal of its own.
    pub(crate) fn on_terminal(self) -> Terminal {
        Terminal::start(self)
    }

    /// Starts it as it is.
    pub(crate) fn starts(mut self) -> Running {
        let stdin = std::mem::replace(&mut self.stdin, Stdin::Null);
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let leaves = self.leaves;
        let mut running = self.spawn(if leaves { &["--leave"] } else { &[] }, |command| {
            command.stdin(match &stdin {
                Stdin::Null => Stdio::null(),
                Stdin::Text(_) => Stdio::piped(),
                Stdin::File(file) => file.try_clone().unwrap().into(),
            });
            command.stdout(stdout.map_or_else(Stdio::piped, Stdio::from));
            command.stderr(stderr.map_or_else(Stdio::piped, Stdio::from));
        });
        if let Stdin::Text(text) = stdin {
            let mut pipe = running.keeper.stdin.take().unwrap();
            // Who does not read all of it has its reason.
            std::thread::spawn(move || _ = pipe.write_all(&text));
        }
        running.stdout = running.keeper.stdout.take().map_or_else(Output::default, Output::read);
        running.stderr = running.keeper.stderr.take().map_or_else(Output::default, Output::read);
        running
    }

    /// Starts the keeper with the program; `connect` gives it its descriptors 0 to 2.
    pub(super) fn spawn(
        self,
        keeper_flags: &[&str],
        connect: impl FnOnce(&mut Command),
    ) -> Running {
        let before = self.world.snapshot();
        let (from_keeper, to_test) = std::io::pipe().unwrap();
        // By name, not by inheritance: other tests of this process start programs at the same time.
        let report = format!("/proc/{}/fd/{}", std::process::id(), to_test.as_raw_fd());
        let mut command = Command::new(program::keeper());
        command.args(keeper_flags).arg(report).args(&self.words);
        command.env_clear().envs(&self.environment).current_dir(&self.folder);
        connect(&mut command);
        let began = Instant::now();
        let keeper = command.spawn().unwrap();
        let reports = read_reports(from_keeper);
        let Ok(Report::Pid(pid)) = reports.recv_timeout(self.patience) else {
            panic!("the keeper did not start {:?}", self.words)
        };
        drop(to_test);
        Running {
            command: self.words.join(OsStr::new(" ")).to_string_lossy().into_owned(),
            world: self.world,
            patience: self.patience,
            began,
            keeper,
            pid,
            reports,
            status: None,
            before,
            stdout: Output::default(),
            stderr: Output::default(),
        }
    }
}

/// One line of the keeper.
enum Report {
    Pid(Pid),
    Status(ExitStatus),
    Left(String),
}

fn read_reports(from: impl Read + Send + 'static) -> Receiver<Report> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let report = match line.split_once(' ') {
                Some(("pid", pid)) => Report::Pid(Pid::from_raw(pid.parse().unwrap()).unwrap()),
                Some(("status", raw)) => Report::Status(ExitStatus::from_raw(raw.parse().unwrap())),
                Some(("left", process)) => Report::Left(process.to_owned()),
                _ => return,
            };
            // Nobody listens any more when a test has failed meanwhile.
            if send.send(report).is_err() {
                return;
            }
        }
    });
    receive
}

/// What a program writes, read as it comes.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    pub(super) fn read(mut from: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let to = output.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16384];
            // A terminal whose other side is gone answers EIO.
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                to.bytes().extend_from_slice(&buffer[..length]);
            }
        });
        output
    }

    /// Everything was read: the reader, which has the only other handle, is gone.
    pub(super) fn at_end(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(super) fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program that was started.
#[must_use]
pub(crate) struct Running {
    command: String,
    world: World,
    patience: Duration,
    began: Instant,
    keeper: Child,
    pid: Pid,
    reports: Receiver<Report>,
    status: Option<ExitStatus>,
    before: Option<Snapshot>,
    stdout: Output,
    pub(super) stderr: Output,
}

impl Running {
    /// The process that was started: the launcher, for `bryo run`.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn kill(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits until it has written this to descriptor 1.
    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> &Self {
        wait_until(self.patience, || String::from_utf8_lossy(&self.stdout.bytes()).contains(part))
            .unwrap_or_else(|()| {
                panic!("{} does not say {part:?}\n{}", self.command, self.so_far())
            });
        self
    }

    fn so_far(&self) -> String {
        let (stdout, stderr) = (self.stdout.bytes().clone(), self.stderr.bytes().clone());
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        )
    }

    /// Waits for the end. Fails the test when it does not come, when a process is left one second
    /// later, or when the host's tree is not as it was.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Ended {
        let deadline = self.began + self.patience;
        let status = match self.reports.recv_timeout(deadline - Instant::now().min(deadline)) {
            Ok(Report::Status(status)) => status,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} still runs after {:?}\n{}", self.command, self.patience, self.so_far())
            }
            _ => panic!("the keeper of {} died\n{}", self.command, self.so_far()),
        };
        self.status = Some(status);
        let took = self.began.elapsed();
        let left: Vec<String> = self
            .reports
            .iter()
            .map(|report| if let Report::Left(process) = report { process } else { String::new() })
            .collect();
        self.keeper.wait().unwrap();
        // The readers are at the end of the pipes, or about to be: nobody holds the other side.
        let settled = || self.stdout.at_end() && self.stderr.at_end();
        wait_until(self.patience, settled)
            .unwrap_or_else(|()| panic!("{}: a pipe of it is still open elsewhere", self.command));
        assert!(left.is_empty(), "{} left processes: {left:?}\n{}", self.command, self.so_far());
        if let (Some(before), Some(after)) = (&self.before, self.world.snapshot()) {
            let differences = before.differences(&after);
            assert!(
                differences.is_empty(),
                "{} changed the host:\n{}\n{}",
                self.command,
                differences.join("\n"),
                self.so_far()
            );
        }
        Ended {
            command: self.command.clone(),
            status,
            stdout: std::mem::take(&mut self.stdout.bytes()),
            stderr: std::mem::take(&mut self.stderr.bytes()),
            took,
        }
    }
}

/// Looks every few milliseconds whether something holds.
pub(super) fn wait_until(patience: Duration, holds: impl Fn() -> bool) -> Result<(), ()> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > patience {
            return Err(());
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            // A test has failed while this ran: the keeper ends whatever is left of it. That it is gone
            // already is as good.
            _ = kill_process(self.pid, Signal::KILL);
            _ = self.keeper.wait();
        }
    }
}
