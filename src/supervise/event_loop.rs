//! The loop: waits for the next event, and does what it calls for.
//!
//! Long because it is one loop: each event has its few lines here, and what they call lies elsewhere.

mod door;
mod jobs;
mod link;

pub(super) use link::Ports;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::control::{Control, Heard};
use super::denials::Denials;
use super::deputy::Deputy;
use super::health::Health;
use super::memory::Memory;
use super::pump::Role;
use super::service::{self, Voice};
use super::signals::{Insistence, Signals, Whom};
use super::stage::Stage;
use super::station::{self, Station};
use super::visits::{self, Visits};
use super::watch::{self, WRITE_BACK, Watch};
use super::{Duties, Ended, Floor, How, Lost, OpenDoor, Over, SuperviseError, Witness};
use crate::launch::fuse::{End, Server};
use crate::launch::netstack::Netstack;
use crate::launch::wire::{FromSandbox, ToSandbox};
use crate::launch::{Names, Running};
use crate::limits::group::Group;
use crate::state::events::What;
use crate::sys::errno::Errno;
use crate::sys::event::{Poller, Ready};
use crate::sys::signal::SignalNumber;

/// Init exits at once after its last word; one that does not is killed.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A server ends with its overlay, which ends with init, and so may a network; this much earlier is no accident.
const SERVER_FIRST: Duration = Duration::from_millis(200);

/// How often to look whether we came to the foreground.
const LOOK: Duration = Duration::from_millis(250);

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Signal,
    Control,
    ControlRoom,
    InitEnded,
    ServerEnded,
    NetstackEnded,
    DeputyEnded,
    Names,
    Ports,
    Memory,
    Watch(watch::Event),
    Source(Role),
    Sink(Role),
    Station(station::Event),
    Door(station::Event),
    Visit(visits::Event),
    Check,
    Service(service::Event),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
}

/// A run that is watched over.
struct Supervisor<'a> {
    over: Over,
    phase: Phase,
    watch: Watch<'a>,
    control: Control,
    signals: Signals,
    insistence: Insistence,
    stage: Stage,
    station: Option<&'a mut Station>,
    /// Where others knocked at a run in the foreground: this takes their orders, and nothing else.
    door: Option<Station>,
    open_door: Option<&'a OpenDoor<'a>>,
    visits: Visits<'a>,
    /// Where it is asked whether it is well.
    health: Option<Box<Health<'a>>>,
    witness: Option<&'a Witness<'a>>,
    /// To the service manager, where one is told.
    voice: Option<Voice>,
    /// Who was told to stop, and waits for the payload to.
    stopping: Option<(Whom, Instant)>,
    /// When we were continued before the payload had stopped: its stop is over when we hear of it.
    overtaken: Option<Instant>,
    servers: Vec<Server>,
    /// Until there is no network any more.
    netstack: Option<&'a Netstack>,
    ends_with_network: bool,
    /// Where the sandbox has one, init ends when it is told to.
    group: Option<&'a Group>,
    memory: Option<Memory>,
    names: Option<Names<'a>>,
    ports: Option<Ports>,
    deputy: Option<&'a Deputy>,
    /// When everything is killed if init has not ended, and why; the reason that is known stays.
    doomed: Option<(Instant, How)>,
    /// When the servers of a killed sandbox are killed too: what waits for an answer of one that hangs
    /// cannot end before it.
    stuck: Option<Instant>,
    how: Option<How>,
}

/// What there is beside the sandbox.
pub(super) struct Beside<'a> {
    /// Its control group.
    pub(super) group: Option<&'a Group>,
    /// The netstack, which ends later.
    pub(super) netstack: Option<&'a Netstack>,
    /// Who asks where the host asks for names.
    pub(super) names: Option<Names<'a>>,
    /// Where networks may come and go.
    pub(super) ports: Option<Ports>,
}

/// Watches over a run. Whatever fails, nothing of the run is left and the terminal is as it was.
pub(super) fn run(
    begun: Running,
    duties: Duties<'_>,
    signals: Signals,
    Beside { group, netstack, names, ports }: Beside<'_>,
) -> Result<Ended, SuperviseError> {
    let Running { pidfd, control, listener, pty, relays, servers, namespaces, notify, .. } = begun;
    let denials = listener.map(|listener| Denials::new(listener, duties.errno_for));
    let (watch, mut station) = (Watch::new(pidfd, denials), duties.station);
    let stage = match &mut station {
        Some(station) => station
            .begin(relays, pty)
            .and_then(|()| Stage::new(None, Vec::new(), duties.stdio, false)),
        None => Stage::new(pty, relays, duties.stdio, duties.foreground),
    };
    let voice = duties.service.map(|service| Voice::new(service, notify)).transpose();
    let parts = parts(control, stage, group)
        .and_then(|parts| Ok((parts, voice.map_err(SuperviseError::Service)?)));
    let ((control, stage, memory), voice) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            drop(namespaces);
            return Err(watch.kill_after(servers, error));
        }
    };
    let mut supervisor = Supervisor {
        phase: Phase::Running,
        over: duties.over,
        watch,
        control,
        signals,
        insistence: Insistence::default(),
        stage,
        station,
        door: None,
        open_door: duties.open_door,
        visits: Visits::new(duties.model, namespaces, group),
        health: duties.checkup.map(|checkup| Box::new(Health::begin(checkup))),
        witness: duties.witness,
        ends_with_network: duties.ends_with_network,
        voice,
        stopping: None,
        overtaken: None,
        servers,
        netstack,
        group,
        memory,
        names,
        ports,
        deputy: duties.deputy,
        doomed: None,
        stuck: None,
        how: None,
    };
    let outcome = supervisor.go(duties.timeout, duties.floor);
    supervisor.end(outcome)
}

/// What the loop cannot be without.
fn parts(
    control: OwnedFd,
    stage: Result<Stage, Errno>,
    group: Option<&Group>,
) -> Result<(Control, Stage, Option<Memory>), SuperviseError> {
    let events = group.map_or(Ok(None), Group::events).map_err(SuperviseError::Group)?;
    let control = Control::new(control).map_err(SuperviseError::Control)?;
    Ok((control, stage.map_err(SuperviseError::Terminal)?, events.map(Memory::new)))
}

impl Supervisor<'_> {
    fn go(
        &mut self,
        timeout: Option<Duration>,
        floor: Option<Floor>,
    ) -> Result<(), SuperviseError> {
        self.give_freezer();
        self.watch.begin(timeout, floor)?;
        self.go_on()
    }

    fn go_on(&mut self) -> Result<(), SuperviseError> {
        self.find_place()?;
        while self.phase == Phase::Running || !self.stage.pumps.is_empty() {
            for (event, ready) in self.wait().map_err(SuperviseError::Wait)? {
                self.handle(event, ready)?;
            }
            self.strike()?;
            self.check_health();
            self.stage.tidy();
            if self.phase == Phase::Running && self.stage.awaits_foreground() {
                self.find_place()?;
            }
            if self.phase == Phase::Draining {
                self.stage.drain();
            }
        }
        Ok(())
    }

    /// What has happened.
    fn wait(&mut self) -> Result<Vec<(Event, Ready)>, Errno> {
        let rest = self.watch.patience();
        let doomed = self.doomed.map(|(when, _)| when.saturating_duration_since(Instant::now()));
        let spoken = self.voice.as_mut().and_then(Voice::rest);
        let mut poller = Poller::new();
        poller.readable(Event::Signal, self.signals.as_fd());
        if self.phase == Phase::Running {
            poller.readable(Event::InitEnded, self.watch.init());
            if let Some(socket) = self.control.listening() {
                poller.readable(Event::Control, socket);
            }
            if let Some(socket) = self.control.loaded() {
                poller.writable(Event::ControlRoom, socket);
            }
            self.register_helpers(&mut poller);
            if let Some(events) = self.memory.as_ref().and_then(Memory::listening) {
                poller.out_of_band(Event::Memory, events);
            }
            self.watch.register(&mut poller, Event::Watch);
            if let Some(station) = &self.station {
                station.register(&mut poller, Event::Station);
            }
            if let Some(door) = &self.door {
                door.register(&mut poller, Event::Door);
            }
            self.visits.register(&mut poller, Event::Visit);
            if let Some(pipe) = self.health.as_ref().and_then(|health| health.listening()) {
                poller.readable(Event::Check, pipe);
            }
            if let Some(voice) = &self.voice {
                voice.register(&mut poller, Event::Service);
            }
        } else {
            self.watch.register_time(&mut poller, Event::Watch);
        }
        self.register_pumps(&mut poller);
        let look = (self.phase == Phase::Running && self.stage.awaits_foreground()).then_some(LOOK);
        let stuck = self.stuck.map(|when| when.saturating_duration_since(Instant::now()));
        let station = self.stations().filter_map(Station::patience).min();
        let check = self.check_patience();
        let timeout =
            [rest, doomed, stuck, look, station, spoken, check].into_iter().flatten().min();
        poller.wait(timeout)
    }

    fn register_pumps<'fd>(&'fd self, poller: &mut Poller<'fd, Event>) {
        for pump in &self.stage.pumps {
            let listens = self.phase == Phase::Running && self.stage.listens(pump);
            if let Some(source) = pump.thirsty().filter(|_| listens) {
                poller.readable(Event::Source(pump.role), source);
            }
            if let Some(sink) = pump.loaded() {
                poller.writable(Event::Sink(pump.role), sink);
            }
        }
    }

    /// Adds the processes beside the sandbox.
    fn register_helpers<'fd>(&'fd self, poller: &mut Poller<'fd, Event>) {
        if self.doomed.is_none() {
            for server in &self.servers {
                poller.readable(Event::ServerEnded, server.pidfd());
            }
        }
        if let Some(netstack) = self.netstack {
            poller.readable(Event::NetstackEnded, netstack.pidfd());
        }
        if let Some(deputy) = self.deputy.and_then(Deputy::pidfd) {
            poller.readable(Event::DeputyEnded, deputy);
        }
        if let Some(asks) = self.names.as_ref().and_then(Names::asks) {
            poller.readable(Event::Names, asks);
        }
        if let Some(ports) = &self.ports {
            poller.readable(Event::Ports, ports.as_fd());
        }
    }

    fn handle(&mut self, event: Event, ready: Ready) -> Result<(), SuperviseError> {
        match event {
            Event::Signal => self.take_signals()?,
            Event::Control => drop(self.hear()?),
            Event::ControlRoom => self.control.send().map_err(SuperviseError::Control)?,
            Event::InitEnded => self.init_ended()?,
            Event::Memory => self.look_at_memory()?,
            Event::Names => self.hear_names(),
            Event::Ports => self.ports_changed(),
            Event::NetstackEnded => self.network_ended(),
            Event::DeputyEnded => self.deputy.iter().for_each(|deputy| deputy.reap()),
            Event::ServerEnded => self.doom(SERVER_FIRST, How::ServerLost),
            Event::Watch(event) => {
                if let Some(how) = self.watch.handle(event, ready)? {
                    self.kill(how)?;
                }
            }
            Event::Source(role) => self.stage.read(role, ready.hung_up()),
            Event::Sink(role) => self.stage.write(role),
            Event::Station(event) => {
                let order = self.station.as_mut().map(|station| station.handle(event, ready));
                if let Some(order) = order.transpose()?.flatten() {
                    self.obey(order)?;
                }
            }
            Event::Door(event) => {
                let order = self.door.as_mut().map(|door| door.handle(event, ready));
                if let Some(order) = order.transpose()?.flatten() {
                    self.obey(order)?;
                }
            }
            Event::Service(event) => {
                let voice = self.voice.as_mut().map_or(Ok(()), |voice| voice.handle(event));
                voice.map_err(SuperviseError::Service)?;
            }
            Event::Check => self.health.iter_mut().for_each(|health| health.read()),
            Event::Visit(event) => {
                if let Some(news) = self.visits.handle(event) {
                    self.take_news(news)?;
                }
            }
        }
        Ok(())
    }

    /// Does what somebody ordered.
    fn obey(&mut self, order: station::Order) -> Result<(), SuperviseError> {
        match order {
            station::Order::Signal(signal) => {
                self.tell_kill(signal);
                self.forward(signal)
            }
            station::Order::Kill => {
                self.tell_kill(SignalNumber::KILL);
                self.kill(How::Killed(SignalNumber::KILL))
            }
            station::Order::Enter { client, fds, keeper } => {
                match self.visits.begin(client, fds, keeper) {
                    Ok(()) => Ok(()),
                    Err(error) => self.refuse(client, &error),
                }
            }
        }
    }

    /// Here, and not by who asks for it: what comes of it is told later.
    fn tell_kill(&self, signal: SignalNumber) {
        if let Some(witness) = self.witness {
            witness(What::Kill, &[("signal", signal.to_string())]);
        }
    }

    /// Ends the sandbox, or what is left to be written; what had ended it before stays the reason.
    fn kill(&mut self, how: How) -> Result<(), SuperviseError> {
        if self.phase == Phase::Draining {
            self.stage.abandon();
            return Ok(());
        }
        self.how.get_or_insert(how);
        self.kill_sandbox()
    }

    fn kill_sandbox(&mut self) -> Result<(), SuperviseError> {
        self.stuck.get_or_insert(Instant::now() + WRITE_BACK);
        let killed = self.watch.kill().map_err(SuperviseError::End);
        // A pid namespace ends when all in it are reaped: what entered is reaped by a process that is frozen too.
        self.thaw();
        killed
    }

    /// Every process of the sandbox has ended. Its last words may still be there to be heard.
    fn init_ended(&mut self) -> Result<(), SuperviseError> {
        while self.hear()? {}
        self.hear_last();
        let finished = self.finish_network().map_err(SuperviseError::Netstack);
        let exit = self.watch.reap().map_err(SuperviseError::End)?;
        finished?;
        self.look_at_memory()?;
        self.how.get_or_insert(How::InitLost(exit));
        self.close();
        Ok(())
    }

    /// Nothing more can come; what was written before is left.
    fn close(&mut self) {
        self.phase = Phase::Draining;
        self.health = None;
        let asked = self.visits.close();
        if let Some(station) = &mut self.station {
            station.drain();
            station.owe(asked);
        }
        self.doomed = None;
        self.stuck = None;
    }

    /// One message of init; whether there was one.
    fn hear(&mut self) -> Result<bool, SuperviseError> {
        let message = match self.control.hear().map_err(SuperviseError::Control)? {
            Heard::Message(message) => message,
            Heard::Nothing => return Ok(false),
            // Init closes its end by ending.
            Heard::End => {
                self.doom(LAST_WORD, How::InitLost(None));
                return Ok(false);
            }
            Heard::Malformed(malformed) => return Err(SuperviseError::Malformed(malformed)),
        };
        match message {
            FromSandbox::Exited { code } => self.ended(How::Exited(code))?,
            FromSandbox::Killed { signal } => self.ended(How::Killed(number(signal)?))?,
            FromSandbox::Stopped { signal } => self.stopped(number(signal)?)?,
            // These belong to the start.
            FromSandbox::Failed { .. }
            | FromSandbox::Detail { .. }
            | FromSandbox::Rooted
            | FromSandbox::Pty
            | FromSandbox::Notify
            | FromSandbox::FuseWanted { .. }
            | FromSandbox::Link { .. }
            | FromSandbox::Held
            | FromSandbox::InitReady
            | FromSandbox::Confined { .. } => {
                return Err(SuperviseError::Malformed(crate::launch::wire::Malformed));
            }
        }
        Ok(true)
    }

    fn ended(&mut self, how: How) -> Result<(), SuperviseError> {
        self.how.get_or_insert(how);
        if self.over == Over::Entry {
            self.close();
            return Ok(());
        }
        self.doom(LAST_WORD, how);
        if self.group.is_some() {
            self.look_at_memory()?;
            self.control.order(ToSandbox::Finish).map_err(SuperviseError::Control)?;
        }
        Ok(())
    }

    fn look_at_memory(&mut self) -> Result<(), SuperviseError> {
        let Some(memory) = &mut self.memory else { return Ok(()) };
        memory.look().map_err(SuperviseError::Group)?;
        if let Some(witness) = self.witness.filter(|_| memory.is_news()) {
            witness(What::Oom, &[]);
        }
        Ok(())
    }

    /// How it ended. What ends by the kernel's SIGKILL while memory ran out, init included, ended for that.
    fn how(&self) -> How {
        let how = self.how.unwrap_or(How::InitLost(None));
        let killed = match how {
            How::Killed(signal) => signal == SignalNumber::KILL,
            How::InitLost(_) => true,
            _ => false,
        };
        let ran_out = self.memory.as_ref().is_some_and(|memory| memory.kills().count > 0);
        if killed && ran_out { How::OutOfMemory } else { how }
    }

    fn doom(&mut self, after: Duration, how: How) {
        self.doomed.get_or_insert((Instant::now() + after, how));
    }

    /// Kills what should have ended by now.
    fn strike(&mut self) -> Result<(), SuperviseError> {
        let station = self.station.as_deref_mut().into_iter();
        let overdue = station.chain(&mut self.door).any(Station::is_overdue);
        if self.phase == Phase::Running && overdue {
            self.tell_kill(SignalNumber::KILL);
            self.kill(How::Killed(SignalNumber::KILL))?;
        }
        if self.stuck.is_some_and(|when| when <= Instant::now()) {
            self.stuck = None;
            self.servers.iter().try_for_each(Server::abort).map_err(SuperviseError::Servers)?;
        }
        match self.doomed {
            Some((when, how)) if when <= Instant::now() => {
                self.doomed = None;
                // Why it ended is seen when it is reaped.
                if how != How::InitLost(None) {
                    self.how.get_or_insert(how);
                }
                self.kill_sandbox()
            }
            _ => Ok(()),
        }
    }

    fn end(mut self, outcome: Result<(), SuperviseError>) -> Result<Ended, SuperviseError> {
        self.thaw();
        drop(self.visits.close());
        let (how, memory_kills) = (self.how(), self.memory.as_ref().map(Memory::kills));
        let outcome = outcome.map_err(|error| match self.phase {
            Phase::Running => self.watch.kill_after(std::mem::take(&mut self.servers), error),
            Phase::Draining => error,
        });
        let finished = self.stage.finish().map_err(SuperviseError::Terminal);
        // Whatever failed, none of them is left.
        let servers: Result<Vec<End>, Errno> = match (&outcome, &finished) {
            (Ok(()), Ok(_)) => self.servers.into_iter().map(|one| one.end(WRITE_BACK)).collect(),
            _ => self.servers.into_iter().try_for_each(Server::kill).map(|()| Vec::new()),
        };
        outcome?;
        let (clipboard, mut lost) = finished?;
        let failure = self.station.as_ref().and_then(|station| station.failure());
        lost.extend(failure.map(|errno| Lost { number: 1, errno }));
        Ok(Ended {
            how,
            memory_kills,
            denials: self.watch.take_counts(),
            clipboard,
            lost,
            servers: servers.map_err(SuperviseError::Servers)?,
            network: None,
            traffic: self.names.and_then(|names| names.traffic),
            group_left: None,
        })
    }
}

fn number(signal: u8) -> Result<SignalNumber, SuperviseError> {
    SignalNumber::new(i32::from(signal))
        .ok_or(SuperviseError::Malformed(crate::launch::wire::Malformed))
}
