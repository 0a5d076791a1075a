//! A network namespace that is made while its first process does something else.
//!
//! # Theory of operation
//! The kernel takes some 0.5 ms for a network namespace, four times as long as for all other namespaces
//! together. A helper process that shares the caller's memory and descriptors makes it (`unshare(2)`),
//! brings its loopback interface up, opens it, and ends; the caller enters it when it needs it (`setns(2)`).
//! Where any of this cannot be had, the caller makes one itself and hears the errno of that.
//!
//! The helper is a child of the caller, and so in its user and pid namespace: what it makes belongs to the
//! caller's user namespace, and it dies with it. It shares memory with code that goes on running, so it
//! does nothing but system calls: nothing is allocated, no lock is taken, and of what libc keeps it writes
//! at most `errno`, when a call fails and the caller is about to make the same one.
//!
//! # Not here
//! When which process makes and enters it (`launch::sandbox`).

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::clone::{self, CloneFlags};
use super::errno::{Errno, Result, check};
use super::namespace;
use super::processors::Processors;

/// The helper's stack, in units of 16 bytes, which is also how it is aligned.
const STACK: usize = 2048;

/// Nothing was opened.
const NOTHING: libc::c_int = -1;

/// A network namespace that is being made.
#[derive(Debug)]
pub struct NetworkBeside {
    /// The descriptor of the namespace, when the helper has opened it.
    opened: Box<AtomicI32>,
    helper: Option<Helper>,
}

#[derive(Debug)]
struct Helper {
    pid: libc::pid_t,
    /// What it runs on.
    _stack: Vec<u128>,
}

impl NetworkBeside {
    /// Has a helper begin, on another processor where there is one. The caller must have capabilities in its user namespace.
    pub fn begin(processors: &Processors) -> Self {
        let opened = Box::new(AtomicI32::new(NOTHING));
        let mut stack: Vec<u128> = Vec::with_capacity(STACK);
        let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_FILES;
        let argument = std::ptr::from_ref::<AtomicI32>(&opened).cast_mut();
        // SAFETY: the stack is nobody else's, aligned, and stays until the helper has ended, as does what the
        // argument points to (see `wait`); `make` does nothing with the memory it shares but one atomic store.
        let pid = unsafe { libc::clone(make, top.cast(), flags, argument.cast()) };
        let helper = check(pid).ok().map(|_| Helper { pid, _stack: stack });
        if let Some(child) = helper.as_ref().and_then(|helper| Pid::from_raw(helper.pid)) {
            processors.apart(child).for_good();
        }
        Self { opened, helper }
    }

    /// Enters it: the calling process is in a network namespace of its own, with `lo` up. Gives a descriptor of
    /// it; none without `/proc`.
    pub fn enter(mut self) -> Result<Option<OwnedFd>> {
        if let Some(made) = self.wait() {
            return clone::setns(&made, CloneFlags::NEW_NET).map(|()| Some(made));
        }
        clone::unshare(CloneFlags::NEW_NET)?;
        namespace::bring_loopback_up()?;
        Ok(open_own().ok())
    }

    /// The namespace that the helper made, once it has ended.
    fn wait(&mut self) -> Option<OwnedFd> {
        let helper = self.helper.take()?;
        let mut status = 0;
        // SAFETY: `status` is a live integer.
        let mut wait = || unsafe { libc::waitpid(helper.pid, &raw mut status, libc::__WALL) };
        // Nothing else waits for it, so whatever else is answered, it has ended.
        while check(wait()) == Err(Errno::EINTR) {}
        let opened = self.opened.swap(NOTHING, Ordering::AcqRel);
        // SAFETY: the helper opened it in the table that it shared, and gave it up by storing it; the swap
        // takes it once.
        (opened >= 0).then(|| unsafe { OwnedFd::from_raw_fd(opened) })
    }
}

impl Drop for NetworkBeside {
    /// Memory that a helper runs on is not given back before it has ended.
    fn drop(&mut self) {
        drop(self.wait());
    }
}

/// What the helper does.
extern "C" fn make(opened: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the integer that `begin` passed, which lives until this process has been waited for.
    let opened = unsafe { &*opened.cast::<AtomicI32>() };
    match open_new() {
        Ok(namespace) => {
            opened.store(namespace.into_raw_fd(), Ordering::Release);
            0
        }
        Err(_) => 1,
    }
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
                let beside = NetworkBeside::begin(&Processors::all());
                assert_eq!(own_network(), outside);
                let opened = beside.enter().unwrap().unwrap();
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

    #[test]
    fn without_a_helper_the_caller_makes_it() {
        alone(module_path!(), "without_a_helper_the_caller_makes_it", || {
            ordinary_user();
            let outside = own_network();
            let exit = mapped(CloneFlags::empty(), 0, || {
                let opened = Box::new(AtomicI32::new(NOTHING));
                NetworkBeside { opened, helper: None }.enter().unwrap();
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
            assert_eq!(NetworkBeside::begin(&Processors::all()).enter().unwrap_err(), Errno::EPERM);
        });
    }
}
