//! The holder's process: makes the network, then serves places on it until the last one is given up.

mod uplink;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{AtFlags, FlockOperation, flock, unlinkat};
use rustix::net::SocketFlags;

use super::SOCKET;
use super::members::{self, Members};
use super::start::{Start, leave_launcher};
use super::wire::{self, Answer, Ask, Failure, Member, Tell};
use crate::confine::capabilities;
use crate::net::{bridge, interface};
use crate::plan::facts::Lease;
use crate::plan::step::Link;
use crate::spec::Capability;
use crate::spec::net::Transport;
use crate::sys::clone::{self, CloneFlags};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::namespace::{self, IdMap, Namespace};
use crate::sys::process::{self, Dumpable, exit_now};
use crate::sys::resource::{self, Resource};
use crate::sys::{seccomp, socket};

/// What it has.
pub(super) struct Ends {
    /// The network's directory.
    pub(super) directory: OwnedFd,
    /// Where members come.
    pub(super) listener: OwnedFd,
    /// To the netstack.
    pub(super) uplink: OwnedFd,
}

/// Bytes of address space.
const MEMORY: u64 = 1 << 29;
/// One for each member, and some for those who ask.
const DESCRIPTORS: u64 = 2048;
/// Most ports of the host that are open for all members: the netstack has each as a descriptor.
const PUBLISHED: usize = 400;
/// How long it waits for whoever holds the lock to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs it to its end.
pub(super) fn run(order: &Start<'_>, ends: &Ends) -> ! {
    let keep = [ends.directory.as_fd(), ends.listener.as_fd(), ends.uplink.as_fd()];
    let made = leave_launcher(c"bryo-network", &keep)
        .map_err(|errno| failure("leave the launcher", errno))
        .and_then(|()| make(order, ends));
    match made {
        Ok(made) => {
            let served = Holder::new(order, ends, made).serve();
            exit_now(u8::from(served.is_err()))
        }
        Err(failure) => exit_now(tell_first(ends, failure)),
    }
}

fn failure(what: &str, errno: Errno) -> Failure {
    Failure { what: what.to_owned(), errno: errno.raw() }
}

/// Whoever started it waits for an answer.
fn tell_first(ends: &Ends, failure: Failure) -> u8 {
    let told = rustix::net::accept_with(&ends.listener, SocketFlags::CLOEXEC)
        .map_err(Errno::from)
        .and_then(|first| wire::send(first, &Answer::Failed(failure), None));
    unlinkat(&ends.directory, SOCKET, AtFlags::empty()).unwrap_or(());
    u8::from(told.is_err()) + 1
}

/// What the holder has made.
struct Made {
    /// Its user namespace.
    user: OwnedFd,
    /// Whether that has the caller's subordinate ids.
    subids: bool,
    /// The bridge's index.
    bridge: u32,
}

/// Namespaces, bridge, way out, confinement.
fn make(order: &Start<'_>, ends: &Ends) -> std::result::Result<Made, Failure> {
    let (user, subids) = enter(order, ends)
        .map_err(|errno| failure("make a user and a network namespace", errno))?;
    let cannot = |what: &'static str| move |errno| failure(what, errno);
    namespace::bring_loopback_up().map_err(cannot("bring the loopback interface up"))?;
    let bridge =
        bridge::make(order.segment, order.uplink.v6.is_some()).map_err(cannot("make a bridge"))?;
    let tun =
        interface::make(&order.uplink).map_err(cannot("make the interface of the way out"))?;
    bridge::forward(order.uplink.v6.is_some()).map_err(cannot("pass packets on"))?;
    socket::send(&ends.uplink, b"t", &[tun.as_fd()]).map_err(cannot("start the netstack"))?;
    drop(tun);
    confine(order, ends).map_err(cannot("confine the holder"))?;
    Ok(Made { user, subids, bridge })
}

/// New namespaces, in which the caller's ids are themselves; and whether the subordinate ones are, too.
fn enter(order: &Start<'_>, ends: &Ends) -> Result<(OwnedFd, bool)> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    clone::unshare(CloneFlags::NEW_USER | CloneFlags::NEW_NET)?;
    let own = namespace::open_proc_dir(rustix::process::getpid())?;
    let mut mapped = [0; 2];
    if !order.ids.is_empty() {
        socket::send(&ends.uplink, b"n", &[])?;
        socket::receive(&ends.uplink, &mut mapped)?;
    }
    let [users, groups] = mapped.map(|done| done == 1);
    if !users {
        namespace::write_id_map(&own, IdMap::Uid, &format!("{0} {0} 1", uid.as_raw()))?;
    }
    if !groups {
        namespace::deny_setgroups(&own)?;
        namespace::write_id_map(&own, IdMap::Gid, &format!("{0} {0} 1", gid.as_raw()))?;
    }
    Ok((namespace::open_ns(own, Namespace::User)?, users && groups))
}

fn confine(order: &Start<'_>, ends: &Ends) -> Result<()> {
    for (which, most) in [
        (Resource::OpenFiles, DESCRIPTORS),
        (Resource::AddressSpace, MEMORY),
        (Resource::Core, 0),
        (Resource::LockedMemory, 0),
        (Resource::FileSize, 0),
    ] {
        resource::lower_limit(which, most)?;
    }
    process::irrevocably_set_no_new_privs()?;
    let keep = Capability::from_name("NET_ADMIN").map_err(|_| Errno::EINVAL)?;
    capabilities::irrevocably_drop_capabilities(&[keep]).map_err(|failure| failure.errno)?;
    process::set_dumpable(Dumpable::No)?;
    if let Some(abi) = order.landlock_abi {
        restrict(abi, ends).map_err(|_| Errno::EPERM)?;
    }
    seccomp::irrevocably_install_filter(order.holder_filter)
}

/// No file but its own socket's, to remove it.
fn restrict(abi: u32, ends: &Ends) -> std::result::Result<(), RulesetError> {
    let abi = ABI::from(i32::try_from(abi).unwrap_or(i32::MAX));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    let scopes = Scope::from_all(abi);
    if !scopes.is_empty() {
        ruleset = ruleset.scope(scopes)?;
    }
    let own = PathBeneath::new(&ends.directory, AccessFs::RemoveFile);
    let status = ruleset.create()?.add_rule(own)?.restrict_self()?;
    debug_assert_eq!(status.ruleset, RulesetStatus::FullyEnforced);
    Ok(())
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Comes,
    Uplink,
    Says(u64),
}

/// See the module.
struct Holder<'a> {
    order: &'a Start<'a>,
    ends: &'a Ends,
    made: Made,
    members: Members,
    connections: BTreeMap<u64, OwnedFd>,
    /// The ports of the bridge that members are at, by their connections.
    ports: BTreeMap<u64, u32>,
    /// How many ports of the host are open for them.
    published: BTreeMap<u64, usize>,
    next: u64,
    uplink_is_lost: bool,
    /// Who was asked last to look at something.
    asked: u64,
}

impl<'a> Holder<'a> {
    fn new(order: &'a Start<'a>, ends: &'a Ends, made: Made) -> Self {
        Self {
            order,
            ends,
            made,
            members: Members::new(order.segment.clone(), order.uplink.v6.is_some()),
            connections: BTreeMap::new(),
            ports: BTreeMap::new(),
            published: BTreeMap::new(),
            next: 0,
            uplink_is_lost: false,
            asked: 0,
        }
    }

    /// Works until nobody is there any more.
    fn serve(&mut self) -> Result<()> {
        loop {
            // Whoever started it has connected already, or is about to while it holds the lock.
            if self.members.is_empty() && self.connections.is_empty() && self.may_end()? {
                return Ok(());
            }
            for event in self.wait()? {
                match event {
                    Event::Comes => self.welcome()?,
                    Event::Uplink => self.hear_uplink(),
                    Event::Says(number) => self.hear(number),
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
        for (number, connection) in &self.connections {
            poller.readable(Event::Says(*number), connection.as_fd());
        }
        let idle = self.connections.is_empty().then_some(PAUSE);
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
                self.connections.insert(self.next, connection);
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
        let Some(connection) = self.connections.get(&number) else { return };
        let answered = match wire::receive::<Ask>(connection) {
            Ok(Some((Ask::Servers(servers), None))) => {
                let is_member = self.members.get(number).is_some();
                if is_member {
                    self.tell(vec![Tell::Servers(servers)]);
                }
                is_member
            }
            Ok(Some((ask, fd))) => {
                let (answer, along) = self.answer(number, ask, fd);
                let user = along.then_some(self.made.user.as_fd());
                self.connections
                    .get(&number)
                    .is_some_and(|to| wire::send(to, &answer, user).is_ok())
            }
            Err(Errno::EAGAIN) => true,
            Ok(None) | Err(_) => false,
        };
        if !answered {
            self.dismiss(number);
        }
    }

    /// The answer, and whether the user namespace goes along.
    fn answer(&mut self, number: u64, ask: Ask, fd: Option<OwnedFd>) -> (Answer, bool) {
        let answer = match (ask, fd) {
            (Ask::Join { version: wire::VERSION, name }, None) => {
                match self.members.admit(number, name) {
                    Ok(member) => {
                        self.tell(members::here(&member));
                        return (Answer::Lease(self.lease(&member)), true);
                    }
                    Err(refused) => Err(refused),
                }
            }
            (Ask::Known(id), None) => self.know(number, id),
            (Ask::Attach, Some(namespace)) => self.attach(number, &namespace),
            (Ask::Publish { port, transport }, Some(socket)) => {
                self.publish(number, (port, transport), &socket)
            }
            (Ask::Withdraw, Some(told)) => self.withdraw(number, Some(&told)),
            (Ask::Members, None) => Err(Answer::Members(self.members.list())),
            (Ask::Traffic, Some(to)) => self.tell_one(&Tell::Report, Some(&to)),
            // At the wrong time, or without what belongs to it.
            _ => Err(Answer::Unknown),
        };
        (answer.map_or_else(|other| other, |()| Answer::Done), false)
    }

    fn lease(&self, member: &Member) -> Lease {
        let ipv6 = self.order.uplink.v6.is_some();
        let link = Link::member(self.order.segment, member.v4, ipv6);
        let segment = self.order.segment;
        let (network, internal) = (segment.name.clone(), segment.egress.closed);
        Lease { network, link, internal, subids: self.made.subids }
    }

    fn know(&mut self, number: u64, id: String) -> std::result::Result<(), Answer> {
        let before = self.members.get(number).cloned();
        let member = self.members.know(number, id)?;
        self.tell(before.iter().flat_map(members::gone).collect());
        self.tell(members::here(&member));
        Ok(())
    }

    fn attach(&mut self, number: u64, namespace: &OwnedFd) -> std::result::Result<(), Answer> {
        let Member { v4, v6, .. } = *self.members.get(number).ok_or(Answer::Unknown)?;
        self.unplug(number);
        let mtu = u32::from(self.order.uplink.mtu);
        let failed = |errno| Answer::Failed(failure("make a virtual cable", errno));
        let port =
            bridge::connect(self.made.bridge, (v4, v6), namespace.as_fd(), mtu).map_err(failed)?;
        self.ports.insert(number, port);
        Ok(())
    }

    fn publish(
        &mut self,
        number: u64,
        (port, transport): (u16, Transport),
        socket: &OwnedFd,
    ) -> std::result::Result<(), Answer> {
        let Member { v4, v6, .. } = *self.members.get(number).ok_or(Answer::Unknown)?;
        if self.published.values().sum::<usize>() >= PUBLISHED {
            return Err(Answer::Failed(failure("publish another port", Errno::EMFILE)));
        }
        self.tell_one(&Tell::Open { v4, v6, port, transport }, Some(socket))?;
        *self.published.entry(number).or_default() += 1;
        Ok(())
    }

    /// `told` is closed when nobody comes in any more.
    fn withdraw(&mut self, number: u64, told: Option<&OwnedFd>) -> std::result::Result<(), Answer> {
        self.published.remove(&number);
        let Some(member) = self.members.get(number) else { return Err(Answer::Unknown) };
        let left = Tell::Left(members::addresses(member));
        self.tell_one(&left, told)
    }

    fn dismiss(&mut self, number: u64) {
        // Without a netstack there is no port either.
        drop(self.withdraw(number, None));
        self.connections.remove(&number);
        self.unplug(number);
        if let Some(member) = self.members.remove(number) {
            self.tell(members::gone(&member));
        }
    }

    /// What goes with its namespace may be gone already.
    fn unplug(&mut self, number: u64) {
        if let Some(port) = self.ports.remove(&number) {
            bridge::disconnect(port).unwrap_or(());
        }
    }
}
