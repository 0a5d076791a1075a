//! The bed, and the payloads that run in it, each behind a netstack.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::memory::{descendants, status_line};
use crate::tools::{Tools, compile};

/// Two hosts in namespaces of their own: nothing else of this machine's network is in there.
pub(super) struct Bed<'a> {
    tools: &'a Tools,
    host: Child,
    scripts: PathBuf,
    peer: PathBuf,
}

impl<'a> Bed<'a> {
    pub(super) fn make(tools: &'a Tools) -> Result<Self, String> {
        let scripts = tools.home().join("network");
        std::fs::create_dir_all(&scripts).map_err(|e| e.to_string())?;
        for (name, text) in [
            ("bed.sh", include_str!("bed.sh")),
            ("slirp4netns.sh", include_str!("slirp4netns.sh")),
            ("pasta.sh", include_str!("pasta.sh")),
        ] {
            std::fs::write(scripts.join(name), text).map_err(|e| e.to_string())?;
        }
        let peer = compile(tools.home(), "peer", include_str!("peer.c"))?;
        let mut command = tools.outside("setsid");
        command.args(["unshare", "-U", "--map-current-user", "--keep-caps", "-n", "sh"]);
        command.arg(scripts.join("bed.sh")).arg(&peer);
        let mut host = begin(&mut command)?;
        match host.stdout.as_mut().map(|out| line(&mut BufReader::new(out))) {
            Some(Ok(said)) if said == "ready" => Ok(Self { tools, host, scripts, peer }),
            other => Err(format!("cannot make the bed: {other:?}")),
        }
    }

    /// A command of the host.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.tools.outside("nsenter");
        command.arg("-t").arg(self.host.id().to_string());
        command.args(["-U", "-n", "--preserve-credentials", "--"]).arg(program.as_ref());
        command
    }

    /// `bryo run --network NETWORK -- PROGRAM`.
    fn bryo(&self, network: &str, flags: &[&str], program: &Path) -> Command {
        let mut command = self.command(self.tools.bryo_path());
        command.args(["run", "--rm", "-q", "--network", network]).args(flags).arg("--read");
        command.arg(self.tools.home().join("bin")).arg("--").arg(program);
        command
    }

    pub(super) fn behind_bryo(&self) -> Contestant {
        let mut command = self.bryo("user", &[], &self.peer);
        command.arg("agent");
        Contestant::new(self, "bryo", command, "bryo-netstack")
    }

    /// The peer's program on a network of bryo's.
    pub(super) fn member(&self, network: &str, flags: &[&str]) -> Command {
        self.bryo(&format!("bridge:{network}"), flags, &self.peer)
    }

    /// What `bryo network` answers.
    pub(super) fn network(&self, words: &[&str]) -> Result<String, String> {
        let mut command = self.command(self.tools.bryo_path());
        let output = command.arg("network").args(words).stdout(Stdio::piped()).output();
        let output = output.map_err(|e| e.to_string())?;
        let said = if output.status.success() { output.stdout } else { output.stderr };
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// On a network of bryo's: no netstack has anything to do.
    pub(super) fn on_bridge(&self, network: &str) -> Contestant {
        let mut command = self.member(network, &[]);
        command.arg("agent");
        Contestant::new(self, "bryo", command, "peer")
    }

    /// Behind it at a rate.
    pub(super) fn behind_bryo_at(&self, rate: &'static str) -> Contestant {
        let mut command = self.command(self.tools.bryo_path());
        command.args(["run", "--rm", "-q", "--network", "user", "--net-rate", rate, "--read"]);
        command.arg(self.tools.home().join("bin")).arg("--").arg(&self.peer).arg("agent");
        Contestant::new(self, rate, command, "bryo-netstack")
    }

    /// Behind the program of a script; its process's name begins with `stack`.
    pub(super) fn behind(&self, name: &'static str, stack: &str) -> Contestant {
        let mut command = self.command("sh");
        command.arg(self.scripts.join(format!("{name}.sh"))).arg(&self.peer);
        Contestant::new(self, name, command, stack)
    }

    pub(super) fn behind_nothing(&self, name: &'static str) -> Contestant {
        let mut command = self.command(&self.peer);
        command.arg("agent");
        Contestant::new(self, name, command, "peer")
    }
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.host.stdin.take());
        self.host.wait().ok();
    }
}

/// A payload that obeys `peer.c`'s orders, and the process that passes its packets on.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    agent: RefCell<Result<Agent, String>>,
}

struct Agent {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    stack: u32,
}

impl Contestant {
    /// What it says goes to a file: a netstack that waits for a reader of its complaints passes nothing on.
    fn new(bed: &Bed, name: &'static str, mut command: Command, stack: &str) -> Self {
        let said = bed.scripts.join(format!("{stack}.said"));
        let agent = std::fs::File::create(&said).map_err(|e| e.to_string()).and_then(|file| {
            command.stderr(file);
            let last = |text: String| text.lines().last().map(str::to_owned);
            Agent::start(&mut command, stack).map_err(|error| {
                std::fs::read_to_string(&said).ok().and_then(last).unwrap_or(error)
            })
        });
        Self { name, agent: RefCell::new(agent) }
    }

    /// The answer to an order.
    pub(super) fn order(&self, order: &str) -> Result<f64, String> {
        self.agent.borrow_mut().as_mut().map_err(|e| e.clone())?.order(order)
    }

    /// Seconds of a processor that the netstack has used.
    pub(super) fn cpu(&self) -> Result<f64, String> {
        let agent = self.agent.borrow();
        let stack = agent.as_ref().map_err(Clone::clone)?.stack;
        let text = std::fs::read_to_string(format!("/proc/{stack}/schedstat"));
        let text = text.map_err(|e| format!("cannot read its times: {e}"))?;
        let first = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
        first.map(|nanoseconds| nanoseconds / 1e9).ok_or_else(|| "no times".to_owned())
    }

    /// Megabytes of memory that the netstack has for itself.
    pub(super) fn memory(&self) -> Result<f64, String> {
        let agent = self.agent.borrow();
        let stack = agent.as_ref().map_err(Clone::clone)?.stack;
        let text = status_line(stack, "RssAnon:").ok_or("its netstack is gone")?;
        let kilobytes = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024.0 / 1e6).ok_or_else(|| "no size".to_owned())
    }
}

impl Agent {
    fn start(command: &mut Command, stack: &str) -> Result<Self, String> {
        let mut child = begin(command)?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".to_owned());
        };
        let mut answers = BufReader::new(answers);
        match line(&mut answers) {
            Ok(said) if said == "ready" => {}
            other => {
                drop(orders);
                child.wait().map_err(|e| e.to_string())?;
                return Err(format!("{other:?}"));
            }
        }
        let named =
            |pid: &u32| status_line(*pid, "Name:").is_some_and(|name| name.starts_with(stack));
        let stack = descendants(child.id()).into_iter().find(named);
        let stack = stack.ok_or("its netstack cannot be found")?;
        Ok(Self { child, orders: Some(orders), answers, stack })
    }

    fn order(&mut self, order: &str) -> Result<f64, String> {
        let orders = self.orders.as_mut().ok_or("it has ended")?;
        writeln!(orders, "{order}").map_err(|e| e.to_string())?;
        let answer = line(&mut self.answers)?;
        answer.parse().map_err(|_| if answer.is_empty() { "it has ended".into() } else { answer })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.orders.take());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) && matches!(self.child.try_wait(), Ok(None))
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn begin(command: &mut Command) -> Result<Child, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|e| format!("cannot start `{}`: {e}", command.get_program().display()))
}

fn line(from: &mut impl BufRead) -> Result<String, String> {
    let mut text = String::new();
    from.read_line(&mut text).map_err(|e| e.to_string())?;
    Ok(text.trim_end().to_owned())
}
