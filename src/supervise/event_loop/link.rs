//! The network of a run while it goes on: what is told of it, and its end.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{SERVER_FIRST, Supervisor};
use crate::launch::{Joinable, Names, Said};
use crate::plan::traffic::Flow;
use crate::state::events::What;
use crate::supervise::How;
use crate::sys::errno::Result;
use crate::sys::event::Poller;
use crate::sys::interfaces::Addresses;

/// Most that is heard in one turn.
const MOST: usize = 64;

impl Supervisor<'_> {
    /// There is no network any more, but the payload's kernel does not know.
    pub(super) fn network_ended(&mut self) {
        self.netstack = None;
        // Where it cannot be done, connections last until that kernel gives up; the end of the run tells.
        self.visits.cut_off(&[], &|_, _| true).unwrap_or_default();
        self.end_with_network();
    }

    fn end_with_network(&mut self) {
        if self.ends_with_network {
            self.doom(SERVER_FIRST, How::NetworkLost);
        }
    }

    /// Those with members of a network that is there still go on.
    fn way_out_ended(&mut self) {
        if let Some(names) = &self.names {
            let is_lost = |own, other| names.has_lost(own, other);
            self.visits.cut_off(&names.lost_addresses(), &is_lost).unwrap_or_default();
            if names.is_lost() {
                self.end_with_network();
            }
        }
    }

    /// Whoever held a network that it was connected with may be gone, or its place there.
    pub(super) fn ports_changed(&mut self) {
        let gone = self.ports.as_mut().map(Ports::gone).unwrap_or_default();
        if !gone.is_empty() {
            self.visits.cut_off(&gone, &|own, _| gone.contains(&own)).unwrap_or_default();
        }
    }

    /// Hears what was said so far. Who says no more, or something else, is heard no more.
    ///
    /// That something was said may be old news: when pid 1 has ended too, it was heard then.
    pub(super) fn hear_names(&mut self) {
        for _ in 0..MOST {
            let Some(names) = self.names.as_mut().filter(|names| is_said(names)) else { return };
            match names.hear() {
                Ok(Said::Look) => {}
                Ok(Said::Flow(flow)) => self.tell_of(&flow),
                Ok(Said::Cut) => self.way_out_ended(),
                Err(_) => return self.way_out_ended(),
            }
        }
    }

    /// Hears what is told when nothing more can happen.
    pub(super) fn hear_last(&mut self) {
        self.hear_names();
        for flow in self.names.as_mut().map(Names::hear_last).unwrap_or_default() {
            self.tell_of(&flow);
        }
    }

    fn tell_of(&self, flow: &Flow) {
        if let Some(witness) = self.witness {
            let (what, details) = event(flow);
            witness(what, &details);
        }
    }

    /// Lets what the payload said leave while the rest of the run is put away. Not before what it wrote is put away,
    /// where others serve that: they end first.
    pub(super) fn finish_network(&mut self) -> Result<()> {
        match self.netstack.take_if(|_| self.servers.is_empty()) {
            Some(netstack) => netstack.finish(),
            None => Ok(()),
        }
    }
}

/// The addresses that a member of networks has on them. Its own payload has no power over them.
pub(in crate::supervise) struct Ports {
    addresses: Addresses,
    had: Vec<IpAddr>,
}

impl Ports {
    /// Of a sandbox that has just begun; none where nobody can tell.
    pub(in crate::supervise) fn of(namespaces: &Joinable) -> Option<Self> {
        let addresses = namespaces.addresses().ok()??;
        let had = addresses.list().ok()?;
        Some(Self { addresses, had })
    }

    /// Those that it had when this was asked last, and has no more.
    fn gone(&mut self) -> Vec<IpAddr> {
        if !self.addresses.have_changed() {
            return Vec::new();
        }
        // What cannot be listed now is looked at with the next change.
        let Ok(has) = self.addresses.list() else { return Vec::new() };
        let mut gone = std::mem::replace(&mut self.had, has);
        gone.retain(|one| !self.had.contains(one));
        gone
    }
}

impl AsFd for Ports {
    /// Readable when they may have changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.addresses.as_fd()
    }
}

fn is_said(names: &Names<'_>) -> bool {
    let Some(asks) = names.asks() else { return false };
    let mut poller = Poller::new();
    poller.readable((), asks);
    poller.wait(Some(Duration::ZERO)).is_ok_and(|ready| !ready.is_empty())
}

/// A flow as an event.
fn event(flow: &Flow) -> (What, Vec<(&'static str, String)>) {
    let what = if flow.refused.is_some() { What::Refuse } else { What::Connect };
    let skipped = Some(flow.skipped).filter(|skipped| *skipped > 0);
    let all = [
        ("name", flow.name.as_ref().map(ToString::to_string)),
        ("address", flow.address.map(|address| address.to_string())),
        ("port", flow.port.map(|port| port.to_string())),
        ("protocol", Some(flow.protocol.word().to_owned())),
        ("reason", flow.refused.clone()),
        ("skipped", skipped.map(|skipped| skipped.to_string())),
    ];
    (what, all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}
