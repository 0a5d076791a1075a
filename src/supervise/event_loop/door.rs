//! The part of the loop that is about others: who knocks at a run in the foreground, what enters a sandbox, and the
//! checks whether it is well.

use std::time::Duration;

use super::{Phase, Supervisor};
use crate::state::events::What;
use crate::supervise::SuperviseError;
use crate::supervise::protocol::Reply;
use crate::supervise::station::Station;
use crate::supervise::visits::{News, Outcome, VisitError, Visitor, Whose};
use crate::sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};

impl Supervisor<'_> {
    /// Both that there may be.
    pub(super) fn stations(&self) -> impl Iterator<Item = &Station> {
        self.station.as_deref().into_iter().chain(&self.door)
    }

    /// Listens for orders from now on. Where that fails, who knocked finds nobody, and the run goes on.
    pub(super) fn open_door(&mut self) {
        let open = self.open_door.filter(|_| self.door.is_none() && self.phase == Phase::Running);
        if let Some(open) = open {
            self.door = open();
            self.give_freezer();
        }
    }

    /// Says to who takes orders how the sandbox is paused. Where the descriptor cannot be had it cannot be.
    pub(super) fn give_freezer(&mut self) {
        let group = self.group;
        if let Some(station) = self.orders() {
            station.set_freezer(group.and_then(|group| group.freezer().ok().flatten()));
        }
    }

    /// Lets the sandbox run, if it is paused.
    pub(super) fn thaw(&mut self) {
        if let Some(station) = self.orders() {
            station.thaw();
        }
    }

    /// Who takes orders: there is one or the other.
    fn orders(&mut self) -> Option<&mut Station> {
        self.station.as_deref_mut().into_iter().chain(&mut self.door).next()
    }

    /// What became of an entry.
    pub(super) fn take_news(&mut self, news: News) -> Result<(), SuperviseError> {
        match news {
            News::Outcome(outcome) => return self.welcome(outcome),
            News::Ended(Whose::Apart(_, line), code) => {
                if let Some(witness) = self.witness {
                    witness(What::ExecDie, &[("command", line), ("exit", code.to_string())]);
                }
            }
            News::Ended(_, code) => {
                self.health.iter_mut().for_each(|health| health.ended(code));
                self.tell_health();
            }
        }
        Ok(())
    }

    /// Starts a check that is due, or ends one that took too long.
    pub(super) fn check_health(&mut self) {
        let is_paused = self.is_paused();
        if let Some(health) = self.health.as_mut().filter(|_| self.phase == Phase::Running) {
            health.strike(&mut self.visits, is_paused);
            self.tell_health();
        }
    }

    /// How long a wait may be for what [`Self::check_health`] does.
    pub(super) fn check_patience(&self) -> Option<Duration> {
        self.health.as_ref().and_then(|health| health.patience(self.is_paused()))
    }

    fn is_paused(&self) -> bool {
        self.stations().any(Station::is_frozen)
    }

    /// A service manager hears that all is well while it is.
    fn tell_health(&mut self) {
        if let (Some(voice), Some(health)) = (&mut self.voice, &self.health) {
            voice.is_well = health.is_well();
        }
    }

    /// Hands an entry over to who asked for it, or says why there is none.
    fn welcome(&mut self, outcome: Outcome) -> Result<(), SuperviseError> {
        let Outcome { whose, visitor, listener } = outcome;
        if let Some(listener) = listener {
            self.watch.listen_too(listener);
        }
        let client = match whose {
            Whose::Client(client) => client,
            Whose::Apart(client, line) => {
                // Before anything can be told of its end.
                if let (Ok(_), Some(witness)) = (&visitor, self.witness) {
                    witness(What::ExecStart, &[("command", line)]);
                }
                client
            }
            Whose::Check => {
                if let (Err(error), Some(health)) = (&visitor, &mut self.health) {
                    health.failed(&self.visits.explain(error));
                }
                self.tell_health();
                return Ok(());
            }
        };
        match visitor {
            Ok(None) => self.tell(client, &Reply::Done, &[]),
            Ok(Some(Visitor { pidfd, control, pty })) => {
                let pty = pty.map(OwnedFd::from);
                let mut fds = vec![pidfd.as_fd(), control.as_fd()];
                fds.extend(pty.as_ref().map(AsFd::as_fd));
                self.tell(client, &Reply::Entered, &fds);
            }
            Err(error) => self.refuse(client, &error)?,
        }
        Ok(())
    }

    /// Says why there is no entry. The sandbox's end takes what is being started in it at any step, and its last words
    /// were said before that.
    pub(super) fn refuse(&mut self, client: u64, error: &VisitError) -> Result<(), SuperviseError> {
        while self.phase == Phase::Running && self.hear()? {}
        let reply = self.visits.explain(if self.is_ending() { &VisitError::Over } else { error });
        self.tell(client, &reply, &[]);
        Ok(())
    }

    fn is_ending(&self) -> bool {
        // By itself, by our hand, or by another's.
        self.how.is_some()
            || self.doomed.is_some()
            || pidfd::has_ended(self.watch.init(), Duration::ZERO) == Ok(true)
    }

    fn tell(&mut self, client: u64, reply: &Reply, fds: &[std::os::fd::BorrowedFd<'_>]) {
        if let Some(station) = self.orders() {
            station.tell(client, reply, fds);
        }
    }
}
