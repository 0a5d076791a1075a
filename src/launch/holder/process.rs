//! The holder's process: makes the network, and gives up what it does not need.
//!
//! # Not here
//! What it does then (`serve`).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, unlinkat};
use rustix::net::SocketFlags;

use super::SOCKET;
use super::serve::Holder;
use super::start::{Space, Start, leave_launcher};
use super::wire::{self, Answer, Failure};
use crate::confine::{capabilities, landlock};
use crate::net::{bridge, interface};
use crate::spec::Capability;
use crate::sys::clone::{self, CloneFlags};
use crate::sys::errno::{Errno, Result};
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

/// Runs it to its end.
pub(super) fn run(order: &Start<'_>, ends: &Ends) -> ! {
    let mut keep = vec![ends.directory.as_fd(), ends.listener.as_fd(), ends.uplink.as_fd()];
    keep.extend(order.space.iter().map(|space| space.user.as_fd()));
    let made = leave_launcher(c"bryo-network", &keep)
        // From now on it is this process that a connection says is at its other end.
        .and_then(|()| Ok(rustix::net::listen(&ends.listener, super::WAITING)?))
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

pub(super) fn failure(what: &str, errno: Errno) -> Failure {
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
pub(super) struct Made {
    /// Its user namespace.
    pub(super) user: OwnedFd,
    /// Whether that has the caller's subordinate ids.
    pub(super) subids: bool,
    /// The bridge's index.
    pub(super) bridge: u32,
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
    bridge::forward(true, order.uplink.v6.is_some()).map_err(cannot("pass packets on"))?;
    socket::send(&ends.uplink, b"t", &[tun.as_fd()]).map_err(cannot("start the netstack"))?;
    drop(tun);
    confine(order, ends).map_err(cannot("confine the holder"))?;
    Ok(Made { user, subids, bridge })
}

/// New namespaces, in which the caller's ids are themselves; and whether the subordinate ones are, too. The user
/// namespace of another network's holder where there is one: who has power over both can put a cable from this network
/// into a sandbox that is on that one.
fn enter(order: &Start<'_>, ends: &Ends) -> Result<(OwnedFd, bool)> {
    if let Some(Space { user, subids }) = &order.space {
        clone::setns(user, CloneFlags::NEW_USER)?;
        clone::unshare(CloneFlags::NEW_NET)?;
        return Ok((user.try_clone().map_err(|_| Errno::EMFILE)?, *subids));
    }
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
        // No file but its own socket's, to remove it.
        landlock::irrevocably_restrict_helper(abi, Some(ends.directory.as_fd()))
            .map_err(|failure| failure.errno)?;
    }
    seccomp::irrevocably_install_filter(order.holder_filter)
}
