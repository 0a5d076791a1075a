//! `bryo stop`, `kill`, `wait`: ending sandboxes that run, and waiting for their end.
//!
//! # Theory of operation
//! One that was started with `--detach` is asked over its supervisor's socket. One that runs in somebody's
//! foreground has none: its launcher is sent the signal, as a person at its terminal could do, and passes it on;
//! when it does not end in time its launcher is killed, and everything with it.
//!
//! Several are stopped at the same time: first all are asked, then all are waited for.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::control::{Heard, PAUSE, Supervisor, line, lost, no_answer, runs_on};
use super::error::OpsError;
use super::sweep::sweep;
use crate::spec::{StopOrder, Text};
use crate::state::events::What;
use crate::state::{Found, Line, StateError, Stores};
use crate::supervise::protocol::{Reply, Request};
use crate::sys::errno::Errno;
use crate::sys::event::Poller;
use crate::sys::pidfd;
pub use crate::sys::signal::SignalNumber;

/// What was killed ends within this time, or hangs in the kernel.
const ENDING: Duration = Duration::from_secs(15);

/// What was removed has been told of within this time.
const TELLING: Duration = Duration::from_secs(1);

/// One result for each that was named, in their order.
pub type Results<T> = Result<Vec<Result<T, OpsError>>, OpsError>;

/// How sandboxes are asked to end, where that is not left to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stop {
    /// With this signal.
    pub signal: Option<SignalNumber>,
    /// And killed after this time.
    pub timeout: Option<Patience>,
}

/// How long something may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// So long.
    For(Duration),
    /// As long as it takes.
    Forever,
}

/// One that was asked to end.
enum Ending {
    Over,
    /// Its supervisor says when, and sees to it that it comes to that.
    Apart {
        found: Found,
        supervisor: Supervisor,
        until: Option<Instant>,
    },
    /// Its launcher ends with it, and is killed then.
    Foreground {
        found: Found,
        process: OwnedFd,
        until: Option<Instant>,
    },
}

/// Asks each that is named to end and waits until it has. One that ended before is no error.
pub fn stop(stores: &Stores, wanted: &[Text], how: Stop) -> Results<()> {
    sweep(stores)?;
    let begun: Vec<_> = wanted.iter().map(|name| begin(stores, name, how)).collect();
    Ok(begun.into_iter().map(|ending| ending?.wait(stores)).collect())
}

fn begin(stores: &Stores, name: &Text, how: Stop) -> Result<Ending, OpsError> {
    let found = stores.find(name.as_bytes())?;
    match line(&found, "stop", None)? {
        Line::Ended => Ok(Ending::Over),
        Line::Socket(socket) => {
            let own = own_order(&found)?;
            let timeout_ms = how.timeout.map(|patience| match patience {
                Patience::For(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
                Patience::Forever => u64::MAX,
            });
            let supervisor = Supervisor::new(socket);
            let signal = how.signal.map(SignalNumber::raw);
            let request = Request::Stop { signal, timeout_ms };
            if ask(&found, &supervisor, &request, "stop")? == Heard::Gone {
                return over(&found, &supervisor, "stop").map(|()| Ending::Over);
            }
            let until = deadline(how.timeout, &own, ENDING);
            Ok(Ending::Apart { found, supervisor, until })
        }
        Line::Process(process) => {
            let own = own_order(&found)?;
            let signal = how.signal.or(own.signal.and_then(SignalNumber::new));
            let signal = signal.unwrap_or(SignalNumber::TERM);
            tell_kill(&found, signal);
            send(&found, &process, signal)?;
            let until = deadline(how.timeout, &own, Duration::ZERO);
            Ok(Ending::Foreground { found, process, until })
        }
    }
}

/// The connection ended without a word: so did the sandbox, or this is an error.
fn over(found: &Found, supervisor: &Supervisor, verb: &'static str) -> Result<(), OpsError> {
    if runs_on(found, supervisor)? {
        return Err(OpsError::NotHeard { verb, id: found.id() });
    }
    Ok(())
}

/// What its spec says.
fn own_order(found: &Found) -> Result<StopOrder, OpsError> {
    Ok(found.summary()?.map(|summary| summary.wanted.lifetime.stop).unwrap_or_default())
}

fn deadline(asked: Option<Patience>, own: &StopOrder, more: Duration) -> Option<Instant> {
    match asked.unwrap_or(Patience::For(own.patience())) {
        Patience::For(time) => Instant::now().checked_add(time)?.checked_add(more),
        Patience::Forever => None,
    }
}

impl Ending {
    fn wait(self, stores: &Stores) -> Result<(), OpsError> {
        match self {
            Self::Over => Ok(()),
            Self::Apart { found, supervisor, until } => {
                match hear_end(&found, &supervisor, until)? {
                    Some(_) => gone(&found, supervisor.process()),
                    None => over(&found, &supervisor, "stop"),
                }
            }
            Self::Foreground { found, process, until } => {
                if has_ended(&found, &process, until)? {
                    return Ok(());
                }
                tell_kill(&found, SignalNumber::KILL);
                send(&found, &process, SignalNumber::KILL)?;
                gone(&found, Some(&process))?;
                clear(stores, &found)
            }
        }
    }
}

/// Waits for the supervisor's last word: the exit status; none when it ended without one.
fn hear_end(
    found: &Found,
    supervisor: &Supervisor,
    until: Option<Instant>,
) -> Result<Option<u8>, OpsError> {
    loop {
        match supervisor.hear(until).map_err(|source| failed(found, source))? {
            Heard::Reply(Reply::Ended { code }) => return Ok(Some(code)),
            Heard::Reply(_) => {}
            Heard::Gone => return Ok(None),
            Heard::Nothing => return Err(OpsError::StillThere(found.id())),
        }
    }
}

/// Waits until the process is no more, with which the lock is free.
fn gone(found: &Found, process: Option<&OwnedFd>) -> Result<(), OpsError> {
    let Some(process) = process else { return Ok(()) };
    if has_ended(found, process, Some(Instant::now() + ENDING))? {
        Ok(())
    } else {
        Err(OpsError::StillThere(found.id()))
    }
}

/// Waits until one that was killed runs no more, whatever its launcher still has to ask somebody.
fn over_soon(found: &Found, process: Option<&OwnedFd>) -> Result<(), OpsError> {
    let until = Instant::now() + ENDING;
    while found.is_running()? {
        let left = Some(Instant::now() + PAUSE);
        match process {
            // Should it run again by now, somebody else has started it.
            Some(process) if has_ended(found, process, left)? => return Ok(()),
            Some(_) => {}
            None => std::thread::sleep(PAUSE),
        }
        if Instant::now() > until {
            return Err(OpsError::StillThere(found.id()));
        }
    }
    Ok(())
}

fn has_ended(found: &Found, process: &OwnedFd, until: Option<Instant>) -> Result<bool, OpsError> {
    let mut poller = Poller::new();
    poller.readable((), process.as_fd());
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let ready = poller.wait(left).map_err(|source| OpsError::Wait { id: found.id(), source })?;
    Ok(!ready.is_empty())
}

fn send(found: &Found, process: &OwnedFd, signal: SignalNumber) -> Result<(), OpsError> {
    match pidfd::send_signal(process, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(source) => Err(OpsError::Launcher { id: found.id(), source }),
    }
}

fn failed(found: &Found, source: Errno) -> OpsError {
    OpsError::Supervisor { id: found.id(), source }
}

/// Asks a supervisor; what it refuses is an error.
pub(super) fn ask(
    found: &Found,
    supervisor: &Supervisor,
    request: &Request,
    verb: &'static str,
) -> Result<Heard, OpsError> {
    match supervisor.ask(request).map_err(|source| failed(found, source))? {
        Heard::Reply(reply @ (Reply::Refused { .. } | Reply::Paused | Reply::Restarting)) => {
            Err(refusal(reply, verb, found))
        }
        Heard::Nothing => Err(no_answer(found, verb)),
        heard => Ok(heard),
    }
}

/// What a supervisor's no means.
pub(super) fn refusal(reply: Reply, verb: &'static str, found: &Found) -> OpsError {
    match reply {
        Reply::Paused => OpsError::Paused { verb, id: found.id() },
        Reply::Restarting => OpsError::Restarting { verb, id: found.id() },
        Reply::Refused { why } => OpsError::Refused { verb, id: found.id(), why: why.into() },
        _ => failed(found, Errno::EPROTO),
    }
}

/// Sends each that is named a signal. One that does not run is an error. What is killed has ended when this returns.
pub fn kill(stores: &Stores, wanted: &[Text], signal: SignalNumber) -> Results<()> {
    let request = Request::Signal { number: signal.raw() };
    let in_foreground = |found: &Found, process: &OwnedFd| {
        tell_kill(found, signal);
        send(found, process, signal)?;
        if signal != SignalNumber::KILL {
            return Ok(());
        }
        // A launcher that is killed has nobody who would tell that everything has ended.
        gone(found, Some(process))?;
        clear(stores, found)
    };
    let ended = |found: &Found, process: Option<&OwnedFd>| {
        // Its supervisor does not start it again.
        if signal == SignalNumber::KILL { over_soon(found, process) } else { Ok(()) }
    };
    order(stores, wanted, "kill", &request, in_foreground, ended)
}

/// To a launcher in somebody's foreground, which does not know where a signal comes from.
fn tell_kill(found: &Found, signal: SignalNumber) {
    found.tell_as_called(What::Kill, &[("signal", signal.to_string())]);
}

/// Puts in order what a launcher that was killed has left, now and not when the next command comes: its directory goes
/// where nothing is to be kept of it, and its end is told.
fn clear(stores: &Stores, found: &Found) -> Result<(), OpsError> {
    found.await_free(ENDING);
    sweep(stores)?;
    Ok(())
}

/// Has each do something: a launcher in the foreground by `in_foreground`, its supervisor by `request`, after which
/// there is `then`.
fn order(
    stores: &Stores,
    wanted: &[Text],
    verb: &'static str,
    request: &Request,
    in_foreground: impl Fn(&Found, &OwnedFd) -> Result<(), OpsError>,
    then: impl Fn(&Found, Option<&OwnedFd>) -> Result<(), OpsError>,
) -> Results<()> {
    sweep(stores)?;
    let each = |name: &Text| {
        let found = stores.find(name.as_bytes())?;
        let not_running = || OpsError::NotRunning { verb, id: found.id() };
        match line(&found, verb, None)? {
            Line::Ended => Err(not_running()),
            Line::Process(process) => in_foreground(&found, &process),
            Line::Socket(socket) => {
                let supervisor = Supervisor::new(socket);
                let process = found.process()?;
                match ask(&found, &supervisor, request, verb)? {
                    Heard::Gone => Err(lost(&found, &supervisor, verb)),
                    _ => then(&found, process.as_ref()),
                }
            }
        }
    };
    Ok(wanted.iter().map(each).collect())
}

/// Waits until each that is named has ended; the exit status of each.
pub fn wait(stores: &Stores, wanted: &[Text]) -> Results<u8> {
    sweep(stores)?;
    // All are found first: one that is removed at its end is still there now.
    let lines: Vec<Result<(Found, Waited), OpsError>> =
        wanted.iter().map(|name| begin_wait(stores.find(name.as_bytes())?)).collect();
    let end = |line: Result<(Found, Waited), OpsError>| {
        let (found, end) = line?;
        let told = end.come(&found)?;
        told.map_or_else(|| recorded(stores, &found), Ok)
    };
    Ok(lines.into_iter().map(end).collect())
}

enum Waited {
    Over,
    Apart(Supervisor),
    Foreground(OwnedFd),
}

fn begin_wait(found: Found) -> Result<(Found, Waited), OpsError> {
    let waited = match line(&found, "wait for", None)? {
        Line::Ended => Waited::Over,
        Line::Process(process) => Waited::Foreground(process),
        Line::Socket(socket) => {
            let supervisor = Supervisor::new(socket);
            match ask(&found, &supervisor, &Request::Wait, "wait for")? {
                Heard::Gone => {
                    over(&found, &supervisor, "wait for")?;
                    Waited::Over
                }
                _ => Waited::Apart(supervisor),
            }
        }
    };
    Ok((found, waited))
}

impl Waited {
    /// The status, where somebody told it.
    fn come(self, found: &Found) -> Result<Option<u8>, OpsError> {
        match self {
            Self::Over => Ok(None),
            Self::Apart(supervisor) => {
                let code = hear_end(found, &supervisor, None)?;
                match code {
                    Some(_) => gone(found, supervisor.process())?,
                    None => over(found, &supervisor, "wait for")?,
                }
                Ok(code)
            }
            Self::Foreground(process) => has_ended(found, &process, None).map(|_| None),
        }
    }
}

/// What was told of its end. Who removes it tells so when it is gone, which another command may be about to do.
fn told(found: &Found) -> Option<u8> {
    let until = Instant::now() + TELLING;
    loop {
        let exit = found.told_exit();
        if exit.is_some() || Instant::now() > until {
            return exit;
        }
        std::thread::sleep(PAUSE);
    }
}

/// What the record says of its end; where there is none any more, what was told.
fn recorded(stores: &Stores, found: &Found) -> Result<u8, OpsError> {
    // A supervisor that was killed wrote nothing.
    found.await_free(TELLING);
    sweep(stores)?;
    let status = match found.summary() {
        Ok(summary) => summary.and_then(|summary| summary.outcome.status()),
        Err(StateError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let status = match status {
        // Nothing of it was to be kept, or it wrote nothing.
        None if !found.is_there()? => told(found),
        status => status,
    };
    status.ok_or(OpsError::NoRecord(found.id()))
}
