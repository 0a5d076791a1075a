//! `bryo network connect` and `disconnect`: a sandbox that runs, and one more network.
//!
//! # Theory of operation
//! The holders of all networks are in one user namespace, and every sandbox on a network was cloned below it. So the
//! holder of any network can put the end of a cable into a sandbox that is on another one. Addresses it cannot
//! give: that takes a process in the sandbox's network namespace, which this command forks. It ends before anything
//! else can happen to it, and no program of the sandbox sees it.
//!
//! # Decisions
//! - A sandbox that was started without such a network has a user namespace below the caller's own. No process has
//!   power over both, and the kernel lays no cable between them: it is refused.
//! - The place is tied to the sandbox's pid 1: it is given up when that ends, whoever sees it.
//! - A sandbox that stays is connected again by its next run, as soon as its payload is there: pid 1 gives its first
//!   interface its address itself. What cannot be had then is told as an event, and tried by the next run.
//! - `disconnect` forgets that first, also of one that does not run, and of a network that is gone.

use std::os::fd::OwnedFd;

use super::error::NetworksError;
use super::place::{Place, place};
use super::{find, open};
use crate::host::Probe;
use crate::launch::holder::{self, HolderError, Until};
use crate::launch::{Below, Door, configure_port, keep_sources};
use crate::ops::stores::Here;
use crate::ops::sweep::sweep;
use crate::plan::facts::Facts;
use crate::report::Failure;
use crate::spec::net::segment::overlap;
use crate::spec::net::{NetworkName, Seat, Segment};
use crate::spec::{Network, Text};
use crate::state::events::What;
use crate::state::{Found, JoinedNetwork, Record, Store};
use crate::sys::errno::Errno;

/// Interfaces that a sandbox has at most.
const PORTS: u8 = 16;

/// A sandbox that is to be connected.
struct Guest<'a> {
    /// How it is called in errors.
    sandbox: &'a Text,
    id: &'a str,
    name: Option<&'a str>,
    door: &'a Door,
    init: OwnedFd,
}

/// Connects a running sandbox with one more network.
pub fn connect(network: &NetworkName, sandbox: &Text, seat: &Seat) -> Result<(), NetworksError> {
    let (found, record) = find_sandbox(sandbox)?;
    if !found.is_running()? {
        return Err(NetworksError::NotRunning { verb: "connect", sandbox: sandbox.clone() });
    }
    let refused =
        |why| NetworksError::Elsewhere { sandbox: sandbox.clone(), network: network.clone(), why };
    match (&record.target, &record.spec.network) {
        (Some(_), _) => return Err(refused(Elsewhere::Shares)),
        (None, Network::Bridge(_)) => {}
        (None, own) => return Err(refused(Elsewhere::Own(own.mode()))),
    }
    let id = record.id.as_str();
    let store = open()?;
    if on(&store, network, id)?.is_some() {
        return Err(NetworksError::Already { sandbox: sandbox.clone(), network: network.clone() });
    }
    let (door, init) = door(&found, sandbox)?;
    let name = record.spec.name.as_deref();
    plug_in(&store, network, seat, Guest { sandbox, id, name, door: &door, init })?.tell(&found);
    remember(&store, &found, &record, |joined| {
        // It was on it before, where whoever held that network was killed.
        joined.retain(|one| one.network != *network);
        joined.push(JoinedNetwork { network: network.clone(), seat: seat.clone() });
    })
}

/// Connects a sandbox whose run has just begun with the networks that an earlier one was connected with. What cannot be
/// had is told as an event.
pub fn reconnect(found: &Found, record: &Record, door: &Door, init: &OwnedFd) {
    let (sandbox, name) = (Text::from(record.id.as_str()), record.spec.name.as_deref());
    for JoinedNetwork { network, seat } in found.joined() {
        // Given up meanwhile.
        if !found.joined().iter().any(|one| one.network == network) {
            continue;
        }
        let init = rustix::io::fcntl_dupfd_cloexec(init, 3);
        let cannot = |source| NetworksError::Plug { sandbox: sandbox.clone(), source };
        let connected = init.map_err(|errno| cannot(errno.into())).and_then(|init| {
            let guest = Guest { sandbox: &sandbox, id: record.id.as_str(), name, door, init };
            plug_in(&open()?, &network, &seat, guest)
        });
        match connected {
            Ok(done) => done.tell(found),
            Err(error) => tell_failure(found, &network, Failure::new(&error).text),
        }
    }
}

/// Tells of each network that an earlier run was connected with that nobody could try.
pub fn cannot_reconnect(found: &Found, errno: Errno) {
    for JoinedNetwork { network, .. } in found.joined() {
        tell_failure(found, &network, format!("cannot start who connects it: {errno}"));
    }
}

fn tell_failure(found: &Found, network: &NetworkName, error: String) {
    let details = [("network", network.to_string()), ("error", error)];
    found.tell_as_called(What::NetworkConnect, &details);
}

/// A network that it is on now, and its address.
struct Connected(NetworkName, String);

impl Connected {
    fn tell(self, found: &Found) {
        let details = [("network", self.0.to_string()), ("address", self.1)];
        found.tell_as_called(What::NetworkConnect, &details);
    }
}

/// Has the networks of the next run changed, where there may be one. Those of its spec it has in any case.
fn remember(
    store: &Store,
    found: &Found,
    record: &Record,
    change: impl FnOnce(&mut Vec<JoinedNetwork>),
) -> Result<(), NetworksError> {
    if !record.stays(record.name.as_deref()) {
        return Ok(());
    }
    let _turn = store.take_turn()?;
    let mut joined = found.joined();
    change(&mut joined);
    joined.retain(|one| record.spec.network != Network::Bridge(one.network.clone()));
    Ok(found.write_joined(&joined)?)
}

fn plug_in(
    store: &Store,
    network: &NetworkName,
    seat: &Seat,
    guest: Guest<'_>,
) -> Result<Connected, NetworksError> {
    let Guest { sandbox, id, name, door, init } = guest;
    let place = place(network, name, seat, &facts()?)?;
    place.know(id)?;
    // Known by its id it is seen on all of them by whoever connects it with another one now.
    let others = others(store, network, id)?;
    let own = segment(store, network)?;
    for (name, _) in &others {
        let other = segment(store, name)?;
        if overlap(own.subnet, other.subnet) || overlap(own.subnet6, other.subnet6) {
            let (sandbox, network, other) = (sandbox.clone(), network.clone(), name.clone());
            return Err(NetworksError::Theirs { sandbox, network, other });
        }
    }
    // With more addresses than one, its kernel would send from each into any of them.
    for (name, holder) in &others {
        holder::bind(name, holder, id)?;
    }
    place.bind(id)?;
    let port = plug(&place, door)?;
    // What is written for the addresses there are, is for those of one command at a time.
    let turn = store.take_turn()?;
    configure_port(door, &place.lease().link, port).map_err(|source| {
        // What is not there any more cannot be configured.
        if place.is_taken_away() {
            HolderError::Dismissed(network.clone()).into()
        } else {
            NetworksError::Plug { sandbox: sandbox.clone(), source }
        }
    })?;
    drop(turn);
    place.stay(init)?;
    let address = place.lease().link.v4.own.to_string();
    Ok(Connected(network.clone(), address))
}

/// Takes its place on a network from a sandbox, and from its next run, where it was connected with that network. It is
/// done where there was either.
pub fn disconnect(network: &NetworkName, sandbox: &Text) -> Result<(), NetworksError> {
    let (found, record) = find_sandbox(sandbox)?;
    let (store, is_running) = (open()?, found.is_running()?);
    // First: whatever becomes of the rest, the next run does not ask for it.
    let forgotten = forget(&store, &found, network)?;
    let left = if is_running {
        leave(&store, network, sandbox, (&found, &record))
    } else if record.spec.network == Network::Bridge(network.clone()) {
        // What it was started with is its own.
        Err(NetworksError::NotRunning { verb: "disconnect", sandbox: sandbox.clone() })
    } else {
        Err(NetworksError::NotOn { sandbox: sandbox.clone(), network: network.clone() })
    };
    match left {
        Err(error) if forgotten && error.is_absence() => Ok(()),
        left => left,
    }
}

/// Whether it was one of those of the next run.
fn forget(store: &Store, found: &Found, network: &NetworkName) -> Result<bool, NetworksError> {
    let _turn = store.take_turn()?;
    let mut joined = found.joined();
    let before = joined.len();
    joined.retain(|one| one.network != *network);
    if joined.len() == before {
        return Ok(false);
    }
    found.write_joined(&joined)?;
    Ok(true)
}

/// Takes its place from one that runs.
fn leave(
    store: &Store,
    network: &NetworkName,
    sandbox: &Text,
    (found, record): (&Found, &Record),
) -> Result<(), NetworksError> {
    let locked = find(store, network)?;
    let absent = || NetworksError::NotOn { sandbox: sandbox.clone(), network: network.clone() };
    let holder = holder::connect(network, &locked)?.ok_or_else(absent)?;
    drop(locked);
    match holder::disconnect(network, &holder, record.id.as_str()) {
        Err(HolderError::Absent(_)) => return Err(absent()),
        done => done?,
    }
    found.tell_as_called(What::NetworkDisconnect, &[("network", network.to_string())]);
    // It has no interface there any more. From an address of it nothing is to leave by another; one that has ended
    // meanwhile sends nothing.
    let _turn = store.take_turn()?;
    match door(found, sandbox) {
        Ok((door, _)) => keep_sources(&door)
            .map_err(|source| NetworksError::Plug { sandbox: sandbox.clone(), source }),
        Err(_) => Ok(()),
    }
}

/// Why a sandbox cannot be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// It is on none that several share, but on this one.
    Own(&'static str),
    /// It shares another's.
    Shares,
}

fn find_sandbox(sandbox: &Text) -> Result<(Found, Record), NetworksError> {
    let here = Here::look().map_err(Box::new)?;
    sweep(&here.stores)?;
    let found = here.stores.find(sandbox.as_bytes())?;
    let record = found.record()?;
    Ok((found, record))
}

/// What starting a holder has to know.
fn facts() -> Result<Facts, NetworksError> {
    let mut probe = Probe::begin()?;
    probe.tun();
    probe.landlock_abi();
    Ok(probe.finish())
}

fn segment(store: &Store, network: &NetworkName) -> Result<Segment, NetworksError> {
    Ok(find(store, network)?.record()?.segment)
}

/// The holder of a network that who has this id is on; none where it is not on it.
fn on(store: &Store, network: &NetworkName, id: &str) -> Result<Option<OwnedFd>, NetworksError> {
    // Removed meanwhile.
    let Some(locked) = store.lock_network(network)? else { return Ok(None) };
    let Some(holder) = holder::connect(network, &locked)? else { return Ok(None) };
    drop(locked);
    let members = holder::members(network, &holder, Until::after(Until::PATIENTLY))?;
    let is_there = members.iter().any(|member| member.id.as_deref() == Some(id));
    Ok(is_there.then_some(holder))
}

/// The other networks that it is on. One that does not tell leaves that open: then nothing is done.
fn others(
    store: &Store,
    besides: &NetworkName,
    id: &str,
) -> Result<Vec<(NetworkName, OwnedFd)>, NetworksError> {
    let mut found = Vec::new();
    for name in store.networks()?.into_iter().filter(|name| name != besides) {
        if let Some(holder) = on(store, &name, id)? {
            found.push((name, holder));
        }
    }
    Ok(found)
}

/// Its namespaces, and its pid 1.
fn door(found: &Found, sandbox: &Text) -> Result<(Door, OwnedFd), NetworksError> {
    let cannot = |source| NetworksError::Plug { sandbox: sandbox.clone(), source };
    let (launcher, process) = found.launcher()?;
    let door = Door::with_init(launcher, Below::Holder).map_err(cannot)?;
    // Had it ended meanwhile, its number could have been another's whose sandbox this is.
    let has_ended = crate::sys::pidfd::has_ended(&process, std::time::Duration::ZERO);
    match (door, has_ended) {
        (Some(door), Ok(false)) => Ok(door),
        (None, Ok(false)) => Err(NetworksError::NoProgram(sandbox.clone())),
        (_, Ok(true)) => {
            Err(NetworksError::NotRunning { verb: "connect", sandbox: sandbox.clone() })
        }
        (_, Err(source)) => Err(cannot(source)),
    }
}

/// By the first interface whose name is free.
fn plug(place: &Place, door: &Door) -> Result<u8, HolderError> {
    let mut port = 0;
    loop {
        match place.attach(door.network(), port) {
            Ok(()) => return Ok(port),
            Err(HolderError::Failed { source: Errno::EEXIST, .. }) if port + 1 < PORTS => port += 1,
            Err(error) => return Err(error),
        }
    }
}
