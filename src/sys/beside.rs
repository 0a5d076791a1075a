//! Makes a network namespace, and an interface in it, in parallel: pid 1 builds its tree meanwhile.
//!
//! # Theory of operation
//! The kernel takes some 0.5 ms for a network namespace, four times as long as for all other namespaces
//! together. A helper process that shares the caller's memory and descriptors makes it (`unshare(2)`),
//! brings its loopback interface up, opens it, makes the [`Uplink`] that was asked for, and ends; the caller enters it
//! when it needs it (`setns(2)`). Where any of this cannot be had, the caller makes it itself and hears the errno of that.
//!
//! The helper is a child of the caller, and so in its user and pid namespace: what it makes belongs to the
//! caller's user namespace, and it dies with it. It shares memory with code that goes on running, so it
//! does nothing but system calls: nothing is allocated, no lock is taken, and of what libc keeps it writes
//! at most `errno`, when a call fails and the caller is about to make the same one.
//!
//! # Not here
//! When which process makes and enters it (`launch::sandbox`).

use std::ffi::{CStr, CString};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::clone::{self, CloneFlags};
use super::errno::{Errno, Result, check};
use super::namespace;
use super::processors::Processors;
use super::{netlink, tun};

/// The helper's stack, in units of 16 bytes, which is also how it is aligned.
const STACK: usize = 2048;

/// Nothing was opened.
const NOTHING: libc::c_int = -1;

/// A TUN device, what is changed of it and its namespace, and settings that are written.
#[derive(Debug)]
pub struct Uplink {
    /// Its name.
    pub name: CString,
    /// Addresses, routes.
    pub changes: netlink::Ready,
    /// Files below `/proc/sys/net`, and what goes there.
    pub settings: Vec<(CString, String)>,
}

impl Uplink {
    /// Makes it in the calling network namespace; gives the other end. Nothing is allocated.
    pub fn make(&self) -> Result<OwnedFd> {
        let end = tun::create(&self.name)?;
        self.changes.apply()?;
        self.settings.iter().try_for_each(|(path, value)| write_setting(path, value))?;
        Ok(end)
    }
}

/// Writes to a file below `/proc/sys`. Nothing is allocated.
pub fn write_setting(path: &CStr, value: &str) -> Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, value.as_bytes())?;
    if written == value.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// A network namespace that is being made.
#[derive(Debug)]
pub struct NetworkBeside {
    work: Box<Work>,
    helper: Option<Helper>,
}

/// What the helper is to do, and has done.
#[derive(Debug)]
struct Work {
    uplink: Option<Uplink>,
    /// The descriptor of the namespace, when the helper has opened it.
    namespace: AtomicI32,
    /// The descriptor of the device, when everything was done.
    device: AtomicI32,
    /// Nothing comes any more.
    is_done: AtomicBool,
}

impl Work {
    fn new(uplink: Option<Uplink>) -> Self {
        let [namespace, device] = [NOTHING; 2].map(AtomicI32::new);
        Self { uplink, namespace, device, is_done: AtomicBool::new(false) }
    }
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// A descriptor of the namespace; none without `/proc`.
    pub namespace: Option<OwnedFd>,
    /// The other end of the [`Uplink`]; none when it was not asked for, or could not be made whole.
    pub device: Option<OwnedFd>,
}

#[derive(Debug)]
struct Helper {
    pid: libc::pid_t,
    /// What it runs on.
    _stack: Vec<u128>,
}

impl NetworkBeside {
    /// Has a helper begin, on another processor where there is one. The caller must have capabilities in its user namespace.
    pub fn begin(processors: &Processors, uplink: Option<Uplink>) -> Self {
        let work = Box::new(Work::new(uplink));
        let mut stack: Vec<u128> = Vec::with_capacity(STACK);
        let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_FILES;
        let argument = std::ptr::from_ref::<Work>(&work).cast_mut();
        // SAFETY: the stack is nobody else's, aligned, and stays until the helper has ended, as does what the
        // argument points to (see `wait`); `make` does nothing with the memory it shares but atomic stores.
        let pid = unsafe { libc::clone(make, top.cast(), flags, argument.cast()) };
        let helper = check(pid).ok().map(|_| Helper { pid, _stack: stack });
        if let Some(child) = helper.as_ref().and_then(|helper| Pid::from_raw(helper.pid)) {
            processors.apart(child).for_good();
        }
        Self { work, helper }
    }

    /// Whether an [`Uplink`] was asked for.
    pub fn has_uplink(&self) -> bool {
        self.work.uplink.is_some()
    }

    /// Whether entering it now takes no time.
    pub fn is_done(&self) -> bool {
        self.work.is_done.load(Ordering::Acquire)
    }

    /// Enters it: the calling process is in a network namespace of its own, with `lo` up.
    pub fn enter(mut self) -> Result<Made> {
        let made = self.wait();
        if let Some(namespace) = &made.namespace {
            return clone::setns(namespace, CloneFlags::NEW_NET).map(|()| made);
        }
        clone::unshare(CloneFlags::NEW_NET)?;
        namespace::bring_loopback_up()?;
        Ok(Made { namespace: open_own().ok(), device: None })
    }

    /// What the helper made, once it has ended.
    fn wait(&mut self) -> Made {
        let Some(helper) = self.helper.take() else {
            return Made { namespace: None, device: None };
        };
        let mut status = 0;
        // SAFETY: `status` is a live integer.
        let mut wait = || unsafe { libc::waitpid(helper.pid, &raw mut status, libc::__WALL) };
        // Nothing else waits for it, so whatever else is answered, it has ended.
        while check(wait()) == Err(Errno::EINTR) {}
        let take = |from: &AtomicI32| {
            let opened = from.swap(NOTHING, Ordering::AcqRel);
            // SAFETY: the helper opened it in the table that it shared, and gave it up by storing it; the swap
            // takes it once.
            (opened >= 0).then(|| unsafe { OwnedFd::from_raw_fd(opened) })
        };
        Made { namespace: take(&self.work.namespace), device: take(&self.work.device) }
    }
}

impl Drop for NetworkBeside {
    /// Memory that a helper runs on is not given back before it has ended.
    fn drop(&mut self) {
        drop(self.wait());
    }
}

/// What the helper does.
extern "C" fn make(work: *mut libc::c_void) -> libc::c_int {
    // SAFETY: what `begin` passed, which lives until this process has been waited for, and of which nobody changes
    // anything but the atomic integers.
    let work = unsafe { &*work.cast::<Work>() };
    let Ok(namespace) = open_new() else { return 1 };
    // Without the namespace's descriptor there is no way to it.
    work.namespace.store(namespace.into_raw_fd(), Ordering::Release);
    if let Some(Ok(device)) = work.uplink.as_ref().map(Uplink::make) {
        work.device.store(device.into_raw_fd(), Ordering::Release);
    }
    work.is_done.store(true, Ordering::Release);
    0
}

fn open_new() -> Result<OwnedFd> {
    clone::unshare(CloneFlags::NEW_NET)?;
    namespace::bring_loopback_up()?;
    open_own()
}

/// The calling process' own.
fn open_own() -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc/self/ns/net", flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::namespace::{Namespace, ns_inode, open_proc_dir};
    use crate::sys::pidfd::Exit;
    use crate::sys::testing::{alone, mapped, ordinary_user};
    use std::net::UdpSocket;

    fn own_network() -> u64 {
        let own = open_proc_dir(rustix::process::getpid()).unwrap();
        ns_inode(own, Namespace::Net).unwrap()
    }

    fn has_loopback() -> bool {
        UdpSocket::bind("127.0.0.1:0").and_then(|one| one.send_to(b"x", "127.0.0.1:9")).is_ok()
    }

    #[test]
    fn the_caller_is_in_the_new_namespace_only_when_it_enters() {
        alone(module_path!(), "the_caller_is_in_the_new_namespace_only_when_it_enters", || {
            ordinary_user();
            let outside = own_network();
            let exit = mapped(CloneFlags::empty(), 0, || {
                let beside = NetworkBeside::begin(&Processors::all(), None);
                assert_eq!(own_network(), outside);
                let opened = beside.enter().unwrap().namespace.unwrap();
                assert_ne!(own_network(), outside);
                assert_eq!(rustix::fs::fstat(opened).unwrap().st_ino, own_network());
                assert!(has_loopback());
                // Nobody is left to be waited for.
                assert_eq!(
                    crate::sys::pidfd::wait_any(crate::sys::pidfd::Changes::All),
                    Err(Errno::ECHILD)
                );
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    fn uplink() -> Uplink {
        let index = tun::INDEX;
        let link = netlink::LinkChange { index, mtu: 1500, queue: 10 };
        let own = "192.0.2.100".parse().unwrap();
        let changes = netlink::Changes::default().bring_up(link, false).add_address(index, own, 24);
        let setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let settings = vec![(CString::new(setting).unwrap(), "7".to_owned())];
        Uplink { name: c"tun0".to_owned(), changes: changes.ready(), settings }
    }

    #[test]
    fn an_uplink_is_made_whole_or_not_at_all() {
        alone(module_path!(), "an_uplink_is_made_whole_or_not_at_all", || {
            ordinary_user();
            let exit = mapped(CloneFlags::empty(), 0, || {
                let has_tun = || netlink::index("tun0") == Ok(tun::INDEX);
                let beside = NetworkBeside::begin(&Processors::all(), Some(uplink()));
                assert!(beside.has_uplink() && !has_tun());
                let made = beside.enter().unwrap();
                assert!(has_tun());
                let setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
                assert_eq!(std::fs::read_to_string(setting).unwrap(), "7\n");
                let device = made.device.unwrap();
                let socket = UdpSocket::bind("192.0.2.100:0").unwrap();
                socket.send_to(b"to the other end", "192.0.2.7:9").unwrap();
                // The kernel may have sent something of its own.
                let mut packet = [0; 256];
                while !packet.windows(16).any(|part| part == b"to the other end") {
                    rustix::io::read(&device, &mut packet).unwrap();
                }
                // The last of what is to be done fails: there is nothing, and the caller may try it all.
                let mut wrong = uplink();
                wrong.settings[0].0 = c"/proc/sys/net/ipv4/none".to_owned();
                let made = NetworkBeside::begin(&Processors::all(), Some(wrong)).enter().unwrap();
                assert!(made.device.is_none() && !has_tun() && has_loopback());
                assert!(uplink().make().is_ok());
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn without_a_helper_the_caller_makes_it() {
        alone(module_path!(), "without_a_helper_the_caller_makes_it", || {
            ordinary_user();
            let outside = own_network();
            let exit = mapped(CloneFlags::empty(), 0, || {
                let work = Box::new(Work::new(Some(uplink())));
                let made = NetworkBeside { work, helper: None }.enter().unwrap();
                assert!(made.namespace.is_some() && made.device.is_none());
                assert_ne!(own_network(), outside);
                assert!(has_loopback());
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn what_the_caller_may_not_do_it_is_told() {
        alone(module_path!(), "what_the_caller_may_not_do_it_is_told", || {
            ordinary_user();
            let refused = NetworkBeside::begin(&Processors::all(), Some(uplink())).enter();
            assert_eq!(refused.unwrap_err(), Errno::EPERM);
        });
    }
}
