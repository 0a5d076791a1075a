//! The part of the loop that is about others: who knocks at a run in the foreground, and what enters a sandbox.

use super::{Phase, Supervisor};
use crate::supervise::protocol::Reply;
use crate::supervise::station::Station;
use crate::supervise::visits::{Outcome, VisitError, Visitor};
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

    /// Hands an entry over to who asked for it, or says why there is none.
    pub(super) fn welcome(&mut self, outcome: Outcome) {
        let Outcome { client, visitor, listener } = outcome;
        if let Some(listener) = listener {
            self.watch.listen_too(listener);
        }
        match visitor {
            Ok(Visitor { pidfd, control, pty }) => {
                let pty = pty.map(OwnedFd::from);
                let mut fds = vec![pidfd.as_fd(), control.as_fd()];
                fds.extend(pty.as_ref().map(AsFd::as_fd));
                self.tell(client, &Reply::Entered, &fds);
            }
            Err(error) => self.refuse(client, &error),
        }
    }

    pub(super) fn refuse(&mut self, client: u64, error: &VisitError) {
        let reply = self.visits.explain(error);
        self.tell(client, &reply, &[]);
    }

    fn tell(&mut self, client: u64, reply: &Reply, fds: &[std::os::fd::BorrowedFd<'_>]) {
        if let Some(station) = self.orders() {
            station.tell(client, reply, fds);
        }
    }
}
