//! `bryo exec`: one more program in a sandbox that runs.
//!
//! # Theory of operation
//! The supervisor of the sandbox starts it, as it alone holds the plan and the namespaces, and hands over the
//! process that entered: this command then watches over it as the supervisor of a run does over its init. What
//! is sent is what to start, and descriptors 0 to 2; the record, which is a file, is not asked.
//!
//! What is started with `--detach` has nothing at 0 to 2 and is watched over by the supervisor itself.
//!
//! Long because what is asked, what is answered and what is watched over belong to one conversation.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

use super::control::{self, ANSWER, Heard, Supervisor};
use super::error::OpsError;
use super::stop::refusal;
use super::stores::Here;
use super::sweep::sweep_briefly;
use crate::host::stdio;
use crate::launch::pipes::{Pipes, open_again};
use crate::launch::{Enforced, Relay, Running};
use crate::plan::PlanError;
use crate::plan::entry::{Descriptors, Entry, Foreground, plan_descriptors};
use crate::plan::step::StdioPlan;
use crate::report::Explain;
use crate::spec::{EnvironmentVariable, SandboxPath, Terminal, Text};
use crate::state::events::What;
use crate::state::{Found, SandboxId};
use crate::supervise::offer::Offer;
pub use crate::supervise::protocol::Keeper;
use crate::supervise::protocol::{Message, Reply, Request};
use crate::supervise::{self, Call, Duties, How, Over, Signals, SuperviseError};
use crate::sys::errno::{Errno, Result as SysResult};
use crate::sys::pty::Master;

/// How long a start may take: the program may be on a slow file system.
const STARTING: Duration = Duration::from_mins(1);

/// What to start where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name, id, or the beginning of an id.
    pub sandbox: Text,
    /// Program and arguments.
    pub argv: Vec<Text>,
    /// Variables besides those of the sandbox's program.
    pub environment: Vec<EnvironmentVariable>,
    /// Where it starts.
    pub workdir: Option<SandboxPath>,
    /// User and group id inside.
    pub user: Option<(u32, u32)>,
    /// Whether it gets a terminal.
    pub terminal: Terminal,
    /// Who watches over it: nobody does in place of a supervisor but this command.
    pub keeper: Keeper,
}

impl Wanted {
    fn entry(&self, stdio: [StdioPlan; 3], pty: Option<Foreground>) -> Entry {
        Entry {
            argv: self.argv.clone(),
            environment: self.environment.clone(),
            workdir: self.workdir.clone(),
            user: self.user,
            stdio,
            pty,
            errand: None,
        }
    }
}

/// Why nothing was started, or it could not be watched to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The sandbox.
    #[error(transparent)]
    Ops(#[from] OpsError),
    /// What stands at descriptors 0 to 2.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A pipe, or what is sent.
    #[error("cannot hand descriptors over to sandbox `{id}`")]
    HandOver {
        /// Which.
        id: SandboxId,
        /// Why.
        #[source]
        source: Errno,
    },
    /// It did not start, in the words of the supervisor.
    #[error("{text}")]
    Failed {
        /// One line, escaped.
        text: String,
        /// What to do.
        hint: Option<String>,
        /// As that of a run.
        code: u8,
    },
    /// Nobody tells how it ended: who would have told was killed, as all in a sandbox are at its end.
    #[error("cannot tell how `{program}` ended in sandbox `{id}`: all around it was killed")]
    Lost {
        /// What was started.
        program: Text,
        /// Where.
        id: SandboxId,
    },
    /// Watching over it.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

impl ExecError {
    fn lost(argv: &[Text], found: &Found) -> Self {
        Self::Lost { program: argv.first().cloned().unwrap_or_default(), id: found.id() }
    }
}

impl Explain for ExecError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ops(error) => error.hint(),
            Self::Lost { id, .. } => {
                Some(format!("`bryo inspect {id}` tells how the sandbox ended"))
            }
            Self::Plan(error) => error.hint(),
            Self::Failed { hint, .. } => hint.clone(),
            Self::Supervise(error) => error.hint().map(str::to_owned),
            Self::HandOver { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed { code, .. } => *code,
            Self::Ops(error) => error.exit_code(),
            // The program ran: 125 is for where nothing did.
            Self::Lost { .. } => How::InitLost(None).exit_code(),
            _ => crate::report::EXIT_FAILED,
        }
    }
}

/// Starts it, and watches over it to its end; the exit status.
pub fn exec(wanted: &Wanted) -> Result<u8, ExecError> {
    let here = Here::look()?;
    let found = here.stores.find(wanted.sandbox.as_bytes()).map_err(OpsError::from)?;
    // By an id it may have a name all the same, which is not looked for.
    let name = found.wanted_name();
    let line = wanted.entry([StdioPlan::Null; 3], None).line();
    let event = |what: What, more: &[(&str, String)]| {
        found.event(what, name, &[&[("command", line.clone())], more].concat())
    };
    let asked = event(What::ExecCreate, &[]);
    if wanted.keeper == Keeper::Supervisor {
        found.tell_of(&[asked]);
        let started = start_apart(wanted, &found);
        sweep_briefly(&here.stores);
        return started.map(|()| 0);
    }
    // Until its end is told.
    let visit = found.visit();
    let mut is_swept = false;
    let started = start(wanted, &found, || {
        sweep_briefly(&here.stores);
        is_swept = true;
    });
    let (entered, ends, descriptors, signals) = match started {
        Ok(started) => started,
        Err(error) => {
            found.tell_of(&[asked]);
            // Whoever removes the sandbox waits for this visit, and that may be the sweep.
            drop(visit);
            if !is_swept {
                sweep_briefly(&here.stores);
            }
            return Err(error);
        }
    };
    found.tell_of(&[asked, event(What::ExecStart, &[])]);
    let how = watch(entered, ends, descriptors, signals)?;
    found.tell_of(&[event(What::ExecDie, &[("exit", how.exit_code().to_string())])]);
    match how {
        How::InitLost(_) => Err(ExecError::lost(&wanted.argv, &found)),
        how => Ok(how.exit_code()),
    }
}

/// Starts it with what we have at 0 to 2; `meanwhile` is done before the answer is waited for.
fn start(
    wanted: &Wanted,
    found: &Found,
    meanwhile: impl FnOnce(),
) -> Result<(Entered, Ends, Descriptors, Signals), ExecError> {
    let (stands, background) = (stdio::probe(), stdio::probe_background());
    let descriptors = plan_descriptors(wanted.terminal, stands, background)?;
    // Signals first: one that comes meanwhile is for what is started.
    let signals = supervise::block_signals()?;
    let supervisor = control::reach(found, "exec in", Some(&signals))?;
    let failed = |source| ExecError::HandOver { id: found.id(), source };
    let ends = Ends::new(descriptors.stdio).map_err(failed)?;
    let entry = wanted.entry(ends.inside, descriptors.pty);
    let asked = (&supervisor, &signals);
    let entered = enter(asked, (found, "exec in"), &entry, &ends.stdio, meanwhile)?;
    Ok((entered, ends, descriptors, signals))
}

/// Starts it with nothing at 0 to 2, for the supervisor to watch over.
fn start_apart(wanted: &Wanted, found: &Found) -> Result<(), ExecError> {
    let supervisor = control::reach(found, "exec in", None)?;
    let failed =
        |source: rustix::io::Errno| ExecError::HandOver { id: found.id(), source: source.into() };
    let entry = wanted.entry([StdioPlan::Null; 3], None);
    let stdio = [null().map_err(failed)?, null().map_err(failed)?, null().map_err(failed)?];
    let request = Request::Enter { keeper: Keeper::Supervisor };
    let offer = ask(&supervisor, (found, "exec in"), (&request, &entry), &stdio)?;
    let heard = hear(&supervisor, (found, "exec in"), &entry, STARTING);
    drop(offer);
    match heard? {
        (Reply::Done, _) => Ok(()),
        _ => Err(OpsError::Supervisor { id: found.id(), source: Errno::EPROTO }.into()),
    }
}

/// What the program gets at 0 to 2, and our ends of it.
struct Ends {
    /// What is sent along.
    stdio: [OwnedFd; 3],
    /// What that is, seen from inside.
    inside: [StdioPlan; 3],
    relays: Vec<Relay>,
    /// The caller's, which are put back at the end.
    _pipes: Pipes,
}

impl Ends {
    fn new(planned: [StdioPlan; 3]) -> SysResult<Self> {
        let (mut relays, pipes) = (Vec::new(), Pipes::look());
        let [input, output, errors] = planned;
        let stdio = [
            end(0, input, &mut relays)?,
            end(1, output, &mut relays)?,
            end(2, errors, &mut relays)?,
        ];
        // Our pipe is to the program what any pipe of a caller is.
        let inside = planned.map(|plan| match plan {
            StdioPlan::Relay => StdioPlan::Keep,
            other => other,
        });
        Ok(Self { stdio, inside, relays, _pipes: pipes })
    }
}

/// What is sent along for one descriptor: for a terminal that very one, whose size and modes the program's
/// own is given.
fn end(number: u8, planned: StdioPlan, relays: &mut Vec<Relay>) -> SysResult<OwnedFd> {
    match planned {
        StdioPlan::Relay => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            let (ours, theirs) = if number == 0 { (write, read) } else { (read, write) };
            relays.push(Relay { number, end: ours });
            Ok(theirs)
        }
        StdioPlan::Keep | StdioPlan::Pty => {
            if planned == StdioPlan::Keep
                && let Some(again) = open_again(standard(number))
            {
                return Ok(again);
            }
            // Under `--tty` something else than a terminal may stand there, or nothing.
            Ok(rustix::io::fcntl_dupfd_cloexec(standard(number), 3).or_else(|_| null())?)
        }
        StdioPlan::Null => Ok(null()?),
    }
}

fn null() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn standard(number: u8) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}

/// Asks the supervisor for it; `verb` is what is done, `meanwhile` what else before the answer is waited for.
pub(super) fn enter(
    (supervisor, signals): (&Supervisor, &Signals),
    (found, verb): (&Found, &'static str),
    entry: &Entry,
    stdio: &[OwnedFd; 3],
    meanwhile: impl FnOnce(),
) -> Result<Entered, ExecError> {
    let request = Request::Enter { keeper: Keeper::Client };
    // Whatever ends this, a supervisor that has not begun by then finds nothing to begin with.
    let offer = ask(supervisor, (found, verb), (&request, entry), stdio)?;
    meanwhile();
    let waited = |within| supervisor.await_answer(signals, within);
    let halted = |halt| control::halted(found, verb, halt);
    if !waited(ANSWER).map_err(halted)? {
        match control::no_answer(found, verb) {
            // A program on a slow file system may take long to be executed.
            OpsError::NoAnswer { stopped: None, .. } => waited(STARTING).map_err(halted)?,
            error => return Err(error.into()),
        };
    }
    let heard = hear(supervisor, (found, verb), entry, Duration::ZERO);
    drop(offer);
    let entered = match heard? {
        (Reply::Entered, fds) => Entered::new(fds),
        _ => None,
    };
    Ok(entered.ok_or(OpsError::Supervisor { id: found.id(), source: Errno::EPROTO })?)
}

/// Asks the supervisor for an entry.
fn ask(
    supervisor: &Supervisor,
    (found, verb): (&Found, &'static str),
    (request, entry): (&Request, &Entry),
    stdio: &[OwnedFd; 3],
) -> Result<Offer, ExecError> {
    let hand_over = |source| ExecError::HandOver { id: found.id(), source };
    let text = serde_json::to_vec(entry).map_err(|_| hand_over(Errno::EINVAL))?;
    let text = file_of(&text).map_err(hand_over)?;
    let [input, output, errors] = stdio;
    let fds = [text.as_fd(), input.as_fd(), output.as_fd(), errors.as_fd()];
    let offer = Offer::new(&fds).map_err(hand_over)?;
    let said = supervisor.say_with(&Message::Request(request.clone()), &[offer.as_fd()]);
    said.map(|()| offer).map_err(|source| match source {
        // It went before it could be asked, or turned us away.
        Errno::EPIPE | Errno::ECONNRESET => match supervisor.hear_soon() {
            Ok(Heard::Reply(reply)) => refusal(reply, verb, found).into(),
            _ => control::lost(found, supervisor, verb).into(),
        },
        source => OpsError::Supervisor { id: found.id(), source }.into(),
    })
}

/// What the supervisor answers that is no refusal, and what comes along.
fn hear(
    supervisor: &Supervisor,
    (found, verb): (&Found, &'static str),
    entry: &Entry,
    within: Duration,
) -> Result<(Reply, Vec<OwnedFd>), ExecError> {
    let broken = |source| OpsError::Supervisor { id: found.id(), source };
    match supervisor.hear_with(Some(Instant::now() + within)).map_err(broken)? {
        (Heard::Reply(Reply::Failed { text, hint, code }), _) => {
            Err(ExecError::Failed { text, hint, code })
        }
        (Heard::Reply(reply @ (Reply::Refused { .. } | Reply::Paused | Reply::Restarting)), _) => {
            Err(refusal(reply, verb, found).into())
        }
        // It was asked: whether the program ran nobody knows.
        (Heard::Gone, _) if entry.errand.is_none() => Err(ExecError::lost(&entry.argv, found)),
        (Heard::Gone, _) => Err(control::lost(found, supervisor, verb).into()),
        (Heard::Nothing, _) => Err(control::no_answer(found, verb).into()),
        (Heard::Reply(reply), fds) => Ok((reply, fds)),
    }
}

/// Arguments and variables can be longer than a message.
fn file_of(text: &[u8]) -> SysResult<OwnedFd> {
    let mut file = File::from(memfd_create("entry", MemfdFlags::CLOEXEC)?);
    file.write_all(text).map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    Ok(file.into())
}

/// The process that entered.
pub(super) struct Entered {
    pidfd: OwnedFd,
    pub(super) control: OwnedFd,
    pty: Option<Master>,
}

impl Entered {
    fn new(fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fds = fds.into_iter();
        let (pidfd, control) = (fds.next()?, fds.next()?);
        Some(Self { pidfd, control, pty: fds.next().map(Master::from_fd) })
    }
}

/// Watches over it to its end.
fn watch(
    entered: Entered,
    ends: Ends,
    descriptors: Descriptors,
    signals: Signals,
) -> Result<How, ExecError> {
    let Ends { stdio, relays, .. } = ends;
    // Theirs: the end of a pipe is its end only when nobody else holds it.
    drop(stdio);
    // Refused calls are answered by the supervisor of the sandbox.
    let errno_for = |_: Call| Errno::EPERM;
    let duties = Duties {
        over: Over::Entry,
        service: None,
        timeout: None,
        floor: None,
        errno_for: &errno_for,
        stdio: descriptors.stdio,
        foreground: descriptors.pty == Some(Foreground::Yes),
        station: None,
        open_door: None,
        model: None,
        checkup: None,
        witness: None,
        ends_with_network: false,
        place: None,
        deputy: None,
    };
    let running = Running {
        pidfd: entered.pidfd,
        control: entered.control,
        listener: None,
        pty: entered.pty,
        notify: None,
        relays,
        servers: Vec::new(),
        held: None,
        netstack: None,
        group: None,
        namespaces: None,
        enforced: Enforced::default(),
    };
    Ok(supervise::supervise(running, duties, signals)?.how)
}
