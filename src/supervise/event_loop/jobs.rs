//! The part of the loop that is about signals, stops, and who has the terminal.

use std::time::{Duration, Instant};

use super::{Phase, Supervisor};
use crate::launch::wire::ToSandbox;
use crate::supervise::console::Leaving;
use crate::supervise::signals::{self, Reaction, Whom, react};
use crate::supervise::standin::StandIn;
use crate::supervise::{How, SuperviseError};
use crate::sys::signal::{Received, SignalNumber};

/// A stop that comes later than this after we were told to is another one.
const ORDERED: Duration = Duration::from_secs(2);

impl Supervisor<'_> {
    /// Takes the terminal or leaves it; whether init was told, so that the payload goes on.
    pub(super) fn find_place(&mut self) -> Result<bool, SuperviseError> {
        let order = self.stage.find_place().map_err(SuperviseError::Terminal)?;
        order.map_or(Ok(()), |order| self.order(order))?;
        Ok(order == Some(ToSandbox::Foreground))
    }

    pub(super) fn take_signals(&mut self) -> Result<(), SuperviseError> {
        while let Some(received) = self.signals.next().map_err(SuperviseError::Signals)? {
            self.take_signal(received)?;
        }
        Ok(())
    }

    fn take_signal(&mut self, received: Received) -> Result<(), SuperviseError> {
        let signal = received.signal;
        if self.phase == Phase::Draining {
            return self.take_late_signal(signal);
        }
        if self.station.is_some() {
            return self.take_signal_apart(signal);
        }
        if signals::is_knock(&received) {
            self.open_door();
            return Ok(());
        }
        if self.insistence.is_too_much(signal, Instant::now()) {
            return self.kill(How::Insisted(signal));
        }
        let stage = if self.stage.has_pty() { signals::Stage::Pty } else { signals::Stage::Bare };
        match react(signal, received.code, stage) {
            Reaction::Forward => {
                if signals::asks_for_an_end(signal) {
                    self.thaw();
                }
                self.forward(signal)
            }
            Reaction::Resize => self.stage.resize().map_err(SuperviseError::Terminal),
            Reaction::Stop(whom) => {
                self.overtaken = None;
                self.stopping = Some((whom, Instant::now()));
                self.forward(SignalNumber::TSTP)
            }
            Reaction::Continue => {
                self.overtaken = self.stopping.take().map(|_| Instant::now());
                self.resume()
            }
            Reaction::Ignore => Ok(()),
        }
    }

    /// Without a caller nobody sends signals but who wants it to end, as the machine does when it goes down.
    fn take_signal_apart(&mut self, signal: SignalNumber) -> Result<(), SuperviseError> {
        if self.insistence.is_too_much(signal, Instant::now()) {
            return self.kill(How::Insisted(signal));
        }
        match &mut self.station {
            Some(station) if signals::asks_for_an_end(signal) => {
                let order = station.begin_stop(None, None);
                self.obey(order)
            }
            _ if signals::is_about_a_terminal(signal) => Ok(()),
            _ => self.forward(signal),
        }
    }

    /// While what the payload wrote is written out, it is this process alone that is meant.
    fn take_late_signal(&mut self, signal: SignalNumber) -> Result<(), SuperviseError> {
        if signals::asks_for_an_end(signal) {
            self.stage.abandon();
        } else if signal == SignalNumber::TSTP {
            self.stage.return_terminal(Leaving::Stop).map_err(SuperviseError::Terminal)?;
            signals::stop_calling(signal, Whom::Own).map_err(SuperviseError::Signals)?;
            self.stage.find_place().map_err(SuperviseError::Terminal)?;
        }
        Ok(())
    }

    pub(super) fn forward(&mut self, signal: SignalNumber) -> Result<(), SuperviseError> {
        match u8::try_from(signal.raw()) {
            Ok(signal) => self.order(ToSandbox::Signal { signal }),
            Err(_) => Ok(()),
        }
    }

    fn order(&mut self, order: ToSandbox) -> Result<(), SuperviseError> {
        self.control.order(order).map_err(SuperviseError::Control)
    }

    /// The payload was stopped: so are we, when somebody is there to continue us.
    pub(super) fn stopped(&mut self, signal: SignalNumber) -> Result<(), SuperviseError> {
        let wants_terminal = [SignalNumber::TTIN, SignalNumber::TTOU].contains(&signal);
        if wants_terminal && self.stage.can_have_terminal() {
            return self.resume();
        }
        if self.overtaken.take().is_some_and(|since| since.elapsed() < ORDERED) {
            return Ok(());
        }
        let ordered = self.stopping.take().filter(|(_, since)| since.elapsed() < ORDERED);
        let whom = match ordered {
            Some((whom, _)) => whom,
            None if self.stage.stops_with_payload() => Whom::Group,
            None => return Ok(()),
        };
        let signal = if wants_terminal { signal } else { SignalNumber::TSTP };
        self.stage.settle().map_err(SuperviseError::Terminal)?;
        self.stage.return_terminal(Leaving::Stop).map_err(SuperviseError::Terminal)?;
        self.be_stopped(signal, whom)?;
        self.resume()?;
        // The signal that continued us is not passed on once more.
        while let Some(received) = self.signals.next().map_err(SuperviseError::Signals)? {
            if received.signal != SignalNumber::CONT {
                self.take_signal(received)?;
            }
        }
        Ok(())
    }

    /// Stops this process; somebody stands in for it meanwhile.
    fn be_stopped(&mut self, signal: SignalNumber, whom: Whom) -> Result<(), SuperviseError> {
        let stand_in = self.watch.is_needed().then(|| StandIn::start(&mut self.watch)).transpose();
        let stand_in = stand_in.map_err(SuperviseError::StandIn)?;
        let stopped = signals::stop_calling(signal, whom);
        let how = stand_in.map(|one| one.relieve(&mut self.watch)).transpose();
        if let Some(how) = how.map_err(SuperviseError::StandIn)?.flatten() {
            self.kill(how)?;
        }
        stopped.map_err(SuperviseError::Signals)
    }

    fn resume(&mut self) -> Result<(), SuperviseError> {
        if self.find_place()? { Ok(()) } else { self.order(ToSandbox::Continue) }
    }
}
