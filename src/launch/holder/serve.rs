//! What the holder does: gives places on the network, until the last one is given up.
//!
//! # Decisions
//! - A place lasts as long as what it is tied to: the launcher's connection, or, for a sandbox that was connected when
//!   it ran already, a process of it. Nobody has to tell of its end.
//! - The name server hears, of a name, all addresses it has now: an alias is the addresses of all who have it.

mod uplink;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, flock, unlinkat};
use rustix::net::SocketFlags;

use super::SOCKET;
use super::members::{self, Members};
use super::process::{Ends, Made, failure};
use super::start::Start;
use super::wire::{self, Answer, Ask, Member, Tell};
use crate::net::bridge;
use crate::plan::facts::Lease;
use crate::plan::step::Link;
use crate::spec::net::Transport;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;

/// Most ports of the host that are open for all members: the netstack has each as a descriptor.
const PUBLISHED: usize = 400;
/// How long it waits for whoever holds the lock to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Comes,
    Uplink,
    Says(u64),
    Ends(u64),
}

/// What a place lasts as long as.
enum Tie {
    Connection(OwnedFd),
    Process(OwnedFd),
}

type Answered = std::result::Result<(), Answer>;

/// See the module.
pub(super) struct Holder<'a> {
    order: &'a Start<'a>,
    ends: &'a Ends,
    made: Made,
    members: Members,
    ties: BTreeMap<u64, Tie>,
    /// The ports of the bridge that members are at, by their numbers.
    ports: BTreeMap<u64, u32>,
    /// Those that must be kept to their addresses.
    bound: BTreeSet<u64>,
    /// Those that are.
    filtered: BTreeSet<u64>,
    /// Once there is one, or was to be.
    sources: Option<bridge::Sources>,
    /// To those who are to hear at last what was refused to them.
    tells: BTreeMap<u64, OwnedFd>,
    /// How many ports of the host are open for them.
    published: BTreeMap<u64, usize>,
    next: u64,
    uplink_is_lost: bool,
    /// Who was asked last to look at something.
    asked: u64,
}

impl<'a> Holder<'a> {
    pub(super) fn new(order: &'a Start<'a>, ends: &'a Ends, made: Made) -> Self {
        Self {
            order,
            ends,
            made,
            members: Members::new(order.segment.clone(), order.uplink.v6.is_some()),
            ties: BTreeMap::new(),
            ports: BTreeMap::new(),
            bound: BTreeSet::new(),
            filtered: BTreeSet::new(),
            sources: None,
            tells: BTreeMap::new(),
            published: BTreeMap::new(),
            next: 0,
            uplink_is_lost: false,
            asked: 0,
        }
    }

    /// Works until nobody is there any more.
    pub(super) fn serve(&mut self) -> Result<()> {
        loop {
            // Whoever started it has connected already, or is about to while it holds the lock.
            if self.ties.is_empty() && self.may_end()? {
                return Ok(());
            }
            for event in self.wait()? {
                match event {
                    Event::Comes => self.welcome()?,
                    Event::Uplink => self.hear_uplink(),
                    Event::Says(number) => self.hear(number),
                    Event::Ends(number) => self.dismiss(number),
                }
            }
        }
    }

    fn wait(&self) -> Result<Vec<Event>> {
        let mut poller = Poller::new();
        poller.readable(Event::Comes, self.ends.listener.as_fd());
        if !self.uplink_is_lost {
            poller.readable(Event::Uplink, self.ends.uplink.as_fd());
        }
        for (number, tie) in &self.ties {
            match tie {
                Tie::Connection(one) => poller.readable(Event::Says(*number), one.as_fd()),
                Tie::Process(one) => poller.readable(Event::Ends(*number), one.as_fd()),
            };
        }
        let idle = self.ties.is_empty().then_some(PAUSE);
        match poller.wait(idle) {
            Ok(ready) => Ok(ready.into_iter().map(|(event, _)| event).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }

    /// Under the lock nobody connects; who did before is waited for.
    fn may_end(&self) -> Result<bool> {
        match flock(&self.ends.directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        let mut poller = Poller::new();
        poller.readable((), self.ends.listener.as_fd());
        if !poller.wait(Some(Duration::ZERO))?.is_empty() {
            flock(&self.ends.directory, FlockOperation::Unlock)?;
            return Ok(false);
        }
        // The lock is held to the end of this process.
        unlinkat(&self.ends.directory, SOCKET, AtFlags::empty())?;
        Ok(true)
    }

    fn welcome(&mut self) -> Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::accept_with(&self.ends.listener, flags) {
            Ok(connection) => {
                self.ties.insert(self.next, Tie::Connection(connection));
                self.next += 1;
                Ok(())
            }
            // Too many: who waits is let in when somebody leaves.
            Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                std::thread::sleep(PAUSE);
                Ok(())
            }
            Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whatever a connection says wrong ends that connection alone.
    fn hear(&mut self, number: u64) {
        let Some(Tie::Connection(connection)) = self.ties.get(&number) else { return };
        let stays = match wire::receive::<Ask>(connection) {
            Ok(Some((Ask::Stay, Some(process)))) if self.members.get(number).is_some() => {
                // Whoever connected it does not stay.
                self.tells.remove(&number);
                self.reply(number, &Answer::Done).then_some(Some(process))
            }
            Ok(Some((Ask::Servers(servers), None))) if self.members.get(number).is_some() => {
                // Without a netstack nobody asks for names.
                drop(self.tell_one(&Tell::Servers(servers), None));
                Some(None)
            }
            Ok(Some((ask, fd))) => {
                let answer = self.answer(number, ask, fd);
                let is_said = self.reply(number, &answer);
                if self.uplink_is_lost && matches!(answer, Answer::Lease(_)) {
                    self.reply(number, &Answer::Cut);
                }
                is_said.then_some(None)
            }
            Err(Errno::EAGAIN) => Some(None),
            Ok(None) | Err(_) => None,
        };
        match stays {
            Some(None) => {}
            Some(Some(process)) => drop(self.ties.insert(number, Tie::Process(process))),
            None => self.dismiss(number),
        }
    }

    /// Whether it went out; with the user namespace where that belongs to it.
    fn reply(&self, number: u64, answer: &Answer) -> bool {
        let along = matches!(answer, Answer::Lease(_) | Answer::Space { .. });
        let user = along.then_some(self.made.user.as_fd());
        match self.ties.get(&number) {
            Some(Tie::Connection(to)) => wire::send(to, answer, user).is_ok(),
            _ => false,
        }
    }

    fn answer(&mut self, number: u64, ask: Ask, fd: Option<OwnedFd>) -> Answer {
        let answered = match (ask, fd) {
            (Ask::Join { version: wire::VERSION, name, seat }, Some(tells)) => {
                match self.members.admit(number, name, seat) {
                    Ok(member) => {
                        self.tells.insert(number, tells);
                        self.tell_names(&member);
                        return Answer::Lease(self.lease(&member));
                    }
                    Err(refused) => Err(refused),
                }
            }
            (Ask::Known(id), None) => self.know(number, id),
            (Ask::Attach(port), Some(namespace)) => self.attach(number, port, &namespace),
            (Ask::Publish { port, transport }, Some(socket)) => {
                self.publish(number, (port, transport), &socket)
            }
            (Ask::Withdraw, Some(told)) => self.withdraw(number, Some(&told)),
            (Ask::Disconnect(id), None) => self.disconnect(&id),
            (Ask::Bind(id), None) => self.bind(&id),
            (Ask::Space, None) => Err(Answer::Space { subids: self.made.subids }),
            (Ask::State, None) => Err(Answer::State {
                members: self.members.count(),
                uplink_is_lost: self.uplink_is_lost,
            }),
            (Ask::Members(after), None) => Err(Answer::Members(self.list(after))),
            (Ask::Traffic, Some(to)) => {
                let of = self.members.get(number).map(members::addresses);
                self.tell_one(&Tell::Report(of.unwrap_or_default()), Some(&to))
            }
            // At the wrong time, or without what belongs to it.
            _ => Err(Answer::Unknown),
        };
        answered.map_or_else(|other| other, |()| Answer::Done)
    }

    /// Some members. Without a netstack no port is open.
    fn list(&self, after: Option<u64>) -> Vec<(u64, Member)> {
        let mut all = self.members.list(after);
        for (number, member) in &mut all {
            let open = self.published.get(number).filter(|_| !self.uplink_is_lost);
            member.published = open.copied().unwrap_or_default();
        }
        all
    }

    fn lease(&self, member: &Member) -> Lease {
        let segment = self.order.segment;
        let link = Link::member(segment, member.v4, member.v6);
        let (network, internal) = (segment.name.clone(), segment.egress.closed);
        Lease { network, link, internal, subids: self.made.subids }
    }

    fn know(&mut self, number: u64, id: String) -> Answered {
        let before = self.members.get(number).cloned();
        let member = self.members.know(number, id)?;
        if let Some(before) = before {
            self.tell_names(&before);
        }
        self.tell_names(&member);
        Ok(())
    }

    fn attach(&mut self, number: u64, port: u8, namespace: &OwnedFd) -> Answered {
        let Member { v4, v6, .. } = *self.members.get(number).ok_or(Answer::Unknown)?;
        self.unplug(number);
        let mtu = u32::from(self.order.uplink.mtu);
        let failed = |errno| Answer::Failed(failure("make a virtual cable", errno));
        let cable = bridge::Cable { v4, v6, port, mtu };
        let port = bridge::connect(self.made.bridge, &cable, namespace.as_fd()).map_err(failed)?;
        self.ports.insert(number, port);
        self.keep_to_addresses(number, v4, v6).inspect_err(|_| self.unplug(number))
    }

    /// A kernel that cannot is good enough for who need not be bound.
    fn keep_to_addresses(&mut self, number: u64, v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Answered {
        let sources = self.sources.take().map_or_else(bridge::Sources::open, Ok);
        let kept = sources.and_then(|sources| self.sources.insert(sources).keep_to(v4, v6));
        match kept {
            Ok(()) => {
                self.filtered.insert(number);
                Ok(())
            }
            Err(errno) if bridge::cannot_filter(errno) && !self.bound.contains(&number) => Ok(()),
            Err(errno) => Err(Answer::Failed(failure("keep a member to its addresses", errno))),
        }
    }

    /// One that is not at a port yet is bound there.
    fn bind(&mut self, id: &str) -> Answered {
        let number = self.members.number_of(id).ok_or(Answer::Absent)?;
        let Member { v4, v6, .. } = *self.members.get(number).ok_or(Answer::Absent)?;
        self.bound.insert(number);
        if self.ports.contains_key(&number) && !self.filtered.contains(&number) {
            self.keep_to_addresses(number, v4, v6).inspect_err(|_| {
                self.bound.remove(&number);
            })?;
        }
        Ok(())
    }

    fn publish(
        &mut self,
        number: u64,
        (port, transport): (u16, Transport),
        socket: &OwnedFd,
    ) -> Answered {
        let Member { v4, v6, .. } = *self.members.get(number).ok_or(Answer::Unknown)?;
        if self.published.values().sum::<usize>() >= PUBLISHED {
            return Err(Answer::Failed(failure("publish another port", Errno::EMFILE)));
        }
        let v6 = v6.map(Into::into);
        self.tell_one(&Tell::Open { v4, v6, port, transport }, Some(socket))?;
        *self.published.entry(number).or_default() += 1;
        Ok(())
    }

    /// `told` is closed when nobody comes in any more.
    fn withdraw(&mut self, number: u64, told: Option<&OwnedFd>) -> Answered {
        self.published.remove(&number);
        let Some(member) = self.members.get(number) else { return Err(Answer::Unknown) };
        let left = Tell::Left(members::addresses(member));
        self.tell_one(&left, told)
    }

    /// The launcher of who came with its start hears that this was on purpose, and what was refused until now: from its
    /// address it could be asked for no more.
    fn disconnect(&mut self, id: &str) -> Answered {
        let number = self.members.number_of(id).ok_or(Answer::Absent)?;
        if let Some((member, tells)) = self.members.get(number).zip(self.tells.remove(&number)) {
            let report = Tell::Report(members::addresses(member));
            // Without a netstack there is nobody who knows.
            drop(self.tell_one(&report, Some(&tells)));
        }
        self.reply(number, &Answer::Dismissed);
        self.dismiss(number);
        Ok(())
    }

    fn dismiss(&mut self, number: u64) {
        // Without a netstack there is no port either.
        drop(self.withdraw(number, None));
        self.ties.remove(&number);
        self.tells.remove(&number);
        self.unplug(number);
        self.bound.remove(&number);
        if let Some(member) = self.members.remove(number) {
            self.tell_names(&member);
        }
    }

    /// What goes with its namespace may be gone already.
    fn unplug(&mut self, number: u64) {
        if let Some(port) = self.ports.remove(&number) {
            bridge::disconnect(port).unwrap_or(());
        }
        if self.filtered.remove(&number)
            && let (Some(member), Some(sources)) = (self.members.get(number), &self.sources)
        {
            sources.forget(member.v4).unwrap_or(());
        }
    }

    /// Who has the names of this one now.
    fn tell_names(&mut self, member: &Member) {
        for tell in self.members.tells(member) {
            drop(self.tell_one(&tell, None));
        }
    }
}
