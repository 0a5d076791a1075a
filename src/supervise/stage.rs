//! Connects the caller's descriptors 0 to 2 with the payload: relays, the pty, and who has the terminal.
//!
//! # Theory of operation
//! Each of the descriptors 0 to 2 is on its own. Those planned as the pty share it: its output goes to
//! 1, or 2, or 0, whichever is the first of them; its keys come from 0, or else from that same
//! terminal. Those planned as a relay have a pump each. What was kept is not ours to touch.
//!
//! **Who has the keys.** When the payload starts in the foreground of its pty, the caller's terminal is raw
//! from the start. When it does not, because it is one of a pipeline or we are in the background
//! ourselves, it is stopped by SIGTTIN or SIGTTOU as soon as it wants the terminal. Then, if we are
//! in the foreground, it gets it; else we stop for the same reason, as any program does in the
//! background. So `bryo run -- git log | less` leaves the keys to `less`.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Lost;
use rustix::fs::FileType;

use super::console::{Console, Leaving, Use, hung_up_is_fine};
use super::port::{Got, Port, of_caller};
use super::pump::{Pump, Role, SharedLens};
use crate::launch::Relay;
use crate::launch::wire::ToSandbox;
use crate::plan::step::StdioPlan;
use crate::sys::errno::Result;
use crate::sys::event::Poller;
use crate::sys::pty::Master;

/// Output has come to rest when none came for this long.
const QUIET: Duration = Duration::from_millis(5);

/// Before a stop the terminal is given this long to take what was written.
const BEFORE_STOP: Duration = Duration::from_millis(500);

/// A message that a stop has happened may cross the order that ends it.
const CROSSING: Duration = Duration::from_millis(200);

/// Who has the foreground of the pty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The payload's side, since then.
    Payload(Instant),
    /// Nobody who reads: init.
    Nobody,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) pumps: Vec<Pump>,
    /// The caller's terminal, of which the pty's size is.
    console: Option<Console>,
    master: Option<Rc<OwnedFd>>,
    /// Whether keys come from the terminal, and not from a pipe in its stead.
    keyed: bool,
    /// Whether the payload is to have the terminal as soon as we are in the foreground.
    wanted: bool,
    holder: Holder,
    lost: Vec<Lost>,
    /// Of the terminals that are written to.
    lenses: Vec<SharedLens>,
    /// A terminal that is written to and whose keys are for others.
    shown: Option<Console>,
}

impl Stage {
    /// `foreground` is how the payload was started.
    pub(super) fn new(
        pty: Option<Master>,
        relays: Vec<Relay>,
        stdio: [StdioPlan; 3],
        foreground: bool,
    ) -> Result<Self> {
        let mut stage = Self {
            pumps: Vec::new(),
            console: None,
            master: None,
            keyed: false,
            wanted: foreground,
            holder: if foreground { Holder::Payload(Instant::now()) } else { Holder::Nobody },
            lost: Vec::new(),
            lenses: Vec::new(),
            shown: None,
        };
        // Both streams nearly always go to one terminal. Where they go to two, each is reset for what either was sent.
        let mut lens = None;
        for Relay { number, end } in relays {
            let ours = Port::ours(Rc::new(end))?;
            let theirs = Port::caller(number)?;
            let lens = (number != 0 && theirs.is_terminal())
                .then(|| Rc::clone(lens.get_or_insert_with(|| stage.lens(number))));
            stage.pumps.push(match number {
                0 => Pump::new(Role::RelayIn, theirs, ours, None),
                _ => Pump::new(Role::RelayOut(number), ours, theirs, lens),
            });
        }
        if let Some(pty) = pty {
            stage.set_up_pty(pty, stdio)?;
        }
        Ok(stage)
    }

    /// A lens for what goes to the terminal that is the caller's descriptor `number`.
    fn lens(&mut self, number: u8) -> SharedLens {
        let lens = SharedLens::default();
        self.lenses.push(Rc::clone(&lens));
        self.shown.get_or_insert(Console::new(number, Use::Shared));
        lens
    }

    fn set_up_pty(&mut self, pty: Master, stdio: [StdioPlan; 3]) -> Result<()> {
        let master = Rc::new(OwnedFd::from(pty));
        let is_pty = |number: u8| stdio.get(usize::from(number)) == Some(&StdioPlan::Pty);
        let is_terminal = |number| rustix::termios::isatty(of_caller(number));
        let screen = [1, 2, 0].into_iter().find(|number| is_pty(*number)).unwrap_or(1);
        let keys = if is_pty(0) { 0 } else { screen };
        self.keyed = is_terminal(keys);
        if self.keyed || is_terminal(screen) {
            let usage = if is_piped(0) || is_piped(1) { Use::Shared } else { Use::Alone };
            self.console = Some(Console::new(if self.keyed { keys } else { screen }, usage));
        }
        if self.keyed || is_pty(0) {
            let sink = Port::ours(Rc::clone(&master))?;
            self.pumps.push(Pump::new(Role::Keys, Port::caller(keys)?, sink, None));
        }
        let lens = is_terminal(screen).then(|| self.lens(screen));
        let source = Port::ours(Rc::clone(&master))?;
        self.pumps.push(Pump::new(Role::Screen(screen), source, Port::caller(screen)?, lens));
        self.master = Some(master);
        Ok(())
    }

    /// Whether the payload has a pty, and somebody is there to use it.
    pub(super) fn has_pty(&self) -> bool {
        self.master.is_some()
    }

    /// Whether a stop of the payload is one by its terminal, which stops us too.
    pub(super) fn stops_with_payload(&self) -> bool {
        self.console.is_some()
    }

    /// Whether the source of a pump is read now: a terminal only in the foreground, and the keys of a
    /// pty only while it is raw.
    pub(super) fn listens(&self, pump: &Pump) -> bool {
        match pump.role {
            Role::Keys => !self.keyed || self.is_raw(),
            Role::RelayIn => {
                !pump.is_from_terminal() || Console::new(0, Use::Alone).is_foreground()
            }
            Role::RelayOut(_) | Role::Screen(_) => true,
        }
    }

    /// Whether something is to happen when we come to the foreground. A job that runs is brought there
    /// without any signal, so this has to be looked at.
    pub(super) fn awaits_foreground(&self) -> bool {
        let keys = self.keyed && self.wanted && self.has_pty() && !self.is_raw();
        keys || self.pumps.iter().any(|pump| !self.listens(pump) && pump.role == Role::RelayIn)
    }

    fn is_raw(&self) -> bool {
        self.console.as_ref().is_some_and(Console::is_raw)
    }

    fn is_foreground(&self) -> bool {
        self.console.as_ref().is_some_and(Console::is_foreground)
    }

    /// Gives the pty the size of the caller's terminal.
    pub(super) fn resize(&self) -> Result<()> {
        match (&self.console, &self.master) {
            (Some(console), Some(master)) => hung_up_is_fine(console.copy_size(master)),
            _ => Ok(()),
        }
    }

    /// Takes the terminal, or leaves it, according to where we are; what init is to be told of it.
    pub(super) fn find_place(&mut self) -> Result<Option<ToSandbox>> {
        self.resize()?;
        if !self.keyed || !self.has_pty() {
            return Ok(None);
        }
        let foreground = self.is_foreground();
        match (&mut self.console, self.holder) {
            (Some(console), _) if foreground && self.wanted => {
                hung_up_is_fine(console.enter_raw())?;
                let had = matches!(self.holder, Holder::Payload(_));
                self.holder = Holder::Payload(Instant::now());
                Ok((!had).then_some(ToSandbox::Foreground))
            }
            (_, Holder::Payload(_)) if !foreground => {
                self.holder = Holder::Nobody;
                Ok(Some(ToSandbox::Background))
            }
            _ => Ok(None),
        }
    }

    /// The payload was stopped because it wanted the terminal. Whether it can have it now.
    pub(super) fn can_have_terminal(&mut self) -> bool {
        self.wanted = true;
        match self.holder {
            Holder::Nobody => self.is_foreground(),
            // It was stopped before it got it, and continued since.
            Holder::Payload(since) => since.elapsed() < CROSSING && self.is_foreground(),
        }
    }

    /// Gives the terminal back, without what it may have typed by itself.
    pub(super) fn return_terminal(&mut self, leaving: Leaving) -> Result<()> {
        let asked = self.lenses.iter().any(|lens| lens.borrow().modes.asked());
        let console = self.console.as_mut().or(self.shown.as_mut());
        let given = console.map_or(Ok(()), |console| console.give_back(asked, leaving));
        self.answered();
        given
    }

    /// Reads from the source of a pump.
    pub(super) fn read(&mut self, role: Role, hung_up: bool) {
        let keyed = self.keyed;
        let Some(pump) = self.pump(role) else { return };
        let got = pump.read();
        match (role, got) {
            (Role::Keys, Got::Bytes(_)) => self.answered(),
            (Role::Keys, _) if keyed && (hung_up || got == Got::End) => self.keys_ended(),
            (Role::Keys, Got::Nothing) if keyed => {}
            (_, Got::End) => pump.end_source(),
            _ => {}
        }
    }

    /// There is one for each role at most.
    fn pump(&mut self, role: Role) -> Option<&mut Pump> {
        self.pumps.iter_mut().find(|pump| pump.role == role)
    }

    /// The terminal gave an error or hung up.
    fn keys_ended(&mut self) {
        match &mut self.console {
            // Somebody else has it now.
            Some(console) if !console.is_foreground() && !console.is_gone() => console.forget(),
            _ => self.break_off(),
        }
    }

    /// Writes to the sink of a pump.
    pub(super) fn write(&mut self, role: Role) {
        if let Some(pump) = self.pump(role) {
            pump.write();
        }
    }

    /// Takes away the pumps that have done their work.
    pub(super) fn tidy(&mut self) {
        let finished: Vec<Pump> = self.pumps.extract_if(.., |pump| pump.is_finished()).collect();
        for pump in finished {
            self.retire(&pump);
        }
    }

    fn retire(&mut self, pump: &Pump) {
        let (Role::RelayOut(number) | Role::Screen(number)) = pump.role else { return };
        self.lost.extend(pump.failure().map(|errno| Lost { number, errno }));
        match pump.role {
            Role::Screen(_) if pump.is_broken() => self.break_off(),
            Role::Screen(_) => self.hang_up(),
            _ => {}
        }
    }

    /// The caller's terminal, or one of two, is gone while the payload runs: there is no more use for the
    /// other one being raw, and Ctrl-C at it is for us again.
    fn break_off(&mut self) {
        self.hang_up();
        // One that is gone has no modes to give back.
        self.return_terminal(Leaving::Stop).unwrap_or_default();
    }

    /// Closes the pty: the payload gets SIGHUP, and its terminal is gone.
    fn hang_up(&mut self) {
        self.master = None;
        let gone = |pump: &mut Pump| matches!(pump.role, Role::Keys | Role::Screen(_));
        let gone: Vec<Pump> = self.pumps.extract_if(.., gone).collect();
        for pump in &gone {
            self.retire(pump);
        }
    }

    fn answered(&mut self) {
        for lens in &self.lenses {
            lens.borrow_mut().modes.answered();
        }
    }

    /// Nothing runs any more: there is nobody to write to, and what was written is there to be read.
    pub(super) fn drain(&mut self) {
        self.pumps.retain(|pump| pump.role.is_output());
        for pump in self.pumps.iter_mut().filter(|pump| !pump.is_dry()) {
            while pump.thirsty().is_some() {
                if matches!(pump.read(), Got::Bytes(_)) {
                    continue;
                }
                pump.end_source();
            }
        }
        self.tidy();
    }

    /// Nothing more is moved.
    pub(super) fn abandon(&mut self) {
        for pump in std::mem::take(&mut self.pumps) {
            pump.abandon();
        }
    }

    /// Writes to the terminal what the payload wrote before it was stopped.
    pub(super) fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + BEFORE_STOP;
        while Instant::now() < until {
            let mut poller = Poller::new();
            for pump in &self.pumps {
                let Role::Screen(_) = pump.role else { continue };
                match (pump.loaded(), pump.thirsty()) {
                    (Some(sink), _) => poller.writable((pump.role, true), sink),
                    (None, Some(source)) => poller.readable((pump.role, false), source),
                    (None, None) => continue,
                };
            }
            let busy = self.pumps.iter().any(|pump| pump.loaded().is_some());
            let ready = poller.wait(Some(if busy { BEFORE_STOP } else { QUIET }))?;
            if ready.is_empty() {
                break;
            }
            for ((role, writes), ready) in ready {
                if writes {
                    self.write(role);
                } else {
                    self.read(role, ready.hung_up());
                    if ready.hung_up() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The end.
    pub(super) fn finish(mut self) -> Result<(u64, Vec<Lost>)> {
        self.abandon();
        self.return_terminal(Leaving::End)?;
        let dropped = self.lenses.iter().map(|lens| lens.borrow().clipboard.dropped()).sum();
        Ok((dropped, self.lost))
    }
}

/// Whether another program may be at the other end of one of the caller's descriptors.
fn is_piped(number: u8) -> bool {
    rustix::fs::fstat(of_caller(number)).is_ok_and(|stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        matches!(kind, FileType::Fifo | FileType::Socket)
    })
}
