//! Tries what reading cannot tell, each in a child process that ends with it: for `doctor`.
//!
//! # Theory of operation
//! A child is cloned into the namespaces in question, does one thing after another, and sends after
//! each a message of five bytes: which thing, and the error's number or 0. What it mounts and installs
//! is gone with it. The launcher's own order is kept: maps are written from outside before the child
//! goes on.
//!
//! # Decisions
//! - One clone tries all namespaces; only when it fails is each tried alone.
//! - A child that does not answer in time is killed: a dead network mount must not hold `doctor`.
//!
//! # Not here
//! What an outcome means (`userns`, `ops::doctor`).

mod confine;
mod ids;
mod namespaces;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::sys::clone::{CloneFlags, Cloned, ThreadsError, assert_single_threaded, clone3};
use crate::sys::errno::Errno;
use crate::sys::event::Poller;
use crate::sys::namespace::{self, IdMap};
use crate::sys::signal::SignalNumber;
use crate::sys::{pidfd, process, socket};

pub use confine::{Confinement, try_confinement};
pub use ids::{IdRanges, try_subids};
pub use namespaces::{NamespaceTrials, try_namespaces, try_store};

/// How long one child may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How one thing went.
pub type Outcome<T = ()> = Result<T, Errno>;

/// One thing that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The private mount of `/`: the first call that needs a capability.
    Private,
    /// A copy of the host's tree, made read-only with all that is mounted in it.
    HostTree,
    /// A tmpfs.
    Tmpfs,
    /// An attribute of the `user` class on it (since Linux 6.6).
    TmpfsAttributes,
    /// The kernel's overlay.
    Overlay,
    /// The kernel's overlay with its upper layer in a given directory.
    StoreOverlay,
    /// A procfs of the new pid namespace.
    Proc,
    /// A sysfs of the new network namespace.
    Sysfs,
    /// A devpts of its own.
    Devpts,
    /// A message queue file system of the new ipc namespace.
    Mqueue,
    /// A FUSE mount.
    Fuse,
    /// Loopback of the new network namespace.
    Loopback,
    /// A bridge in it, and a virtual cable to a port that is bound to its other end.
    Bridge,
    /// A rule of what may come in by that port.
    Filter,
    /// A limit of the new user namespace.
    UserLimit,
    /// A Landlock ruleset that takes effect.
    Landlock,
    /// A filter of system calls.
    Seccomp,
    /// One with a listener.
    SeccompListener,
}

impl Subject {
    /// Every one.
    pub const ALL: [Self; 18] = [
        Self::Private,
        Self::HostTree,
        Self::Tmpfs,
        Self::TmpfsAttributes,
        Self::Overlay,
        Self::StoreOverlay,
        Self::Proc,
        Self::Sysfs,
        Self::Devpts,
        Self::Mqueue,
        Self::Fuse,
        Self::Loopback,
        Self::Bridge,
        Self::Filter,
        Self::UserLimit,
        Self::Landlock,
        Self::Seccomp,
        Self::SeccompListener,
    ];
}

/// Why nothing could be tried at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// This process cannot be cloned.
    #[error("cannot try anything in a child")]
    Threads(#[source] ThreadsError),
    /// No socket to talk to a child.
    #[error("cannot make a socket")]
    Socket(#[source] Errno),
    /// The clone failed.
    #[error("cannot clone into new namespaces")]
    Clone(#[source] Errno),
    /// What was tried in could not be made or removed.
    #[error("cannot make and remove a directory")]
    Directory(#[source] Errno),
    /// The child's ids could not be mapped.
    #[error("cannot write the id maps")]
    Maps(#[source] Errno),
}

/// What a child told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told(BTreeMap<Subject, Outcome>);

impl Told {
    /// How it went; none when the child did not come so far.
    pub fn of(&self, subject: Subject) -> Option<Outcome> {
        self.0.get(&subject).copied()
    }
}

impl FromIterator<(Subject, Outcome)> for Told {
    fn from_iter<T: IntoIterator<Item = (Subject, Outcome)>>(outcomes: T) -> Self {
        Self(outcomes.into_iter().collect())
    }
}

/// The child's end: tells how things went.
struct Teller(OwnedFd);

impl Teller {
    fn tell(&self, subject: Subject, outcome: Outcome) {
        let number = Subject::ALL.iter().position(|other| *other == subject).unwrap_or(0);
        let errno = outcome.err().map_or(0, Errno::raw).to_le_bytes();
        let mut message = [u8::try_from(number).unwrap_or(0); 5];
        message[1..].copy_from_slice(&errno);
        if socket::send(&self.0, &message, &[]).is_err() {
            // Nobody listens any more.
            process::exit_now(1);
        }
    }
}

/// Whether the child's ids are mapped before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maps {
    /// One id, the caller's: it keeps its number.
    Single,
    /// None: no user namespace is made.
    None,
}

/// Runs `body` in a child with `flags`, and collects what it tells.
fn in_child(flags: CloneFlags, maps: Maps, body: impl FnOnce(&Teller)) -> Result<Told, TrialError> {
    assert_single_threaded().map_err(TrialError::Threads)?;
    let (ours, theirs) = socket::pair().map_err(TrialError::Socket)?;
    match clone3(flags, None).map_err(TrialError::Clone)? {
        Cloned::Child => {
            drop(ours);
            let teller = Teller(theirs);
            // It must not come back to what the parent does next.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                if maps == Maps::None || wait_for_go(&teller.0) {
                    body(&teller);
                }
            }));
            process::exit_now(u8::from(outcome.is_err()))
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let mapped = match maps {
                Maps::Single => write_maps(pid).and_then(|()| socket::send(&ours, b"go", &[])),
                Maps::None => Ok(()),
            };
            let told = mapped.map(|()| collect(&ours)).map_err(TrialError::Maps);
            end(&pidfd);
            told
        }
    }
}

fn wait_for_go(socket: impl AsFd) -> bool {
    matches!(socket::receive(socket, &mut [0; 8]), Ok((2, _)))
}

fn write_maps(pid: rustix::process::Pid) -> Outcome {
    let dir = namespace::open_proc_dir(pid)?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    namespace::deny_setgroups(&dir)?;
    namespace::write_id_map(&dir, IdMap::Uid, &format!("{uid} {uid} 1\n"))?;
    namespace::write_id_map(&dir, IdMap::Gid, &format!("{gid} {gid} 1\n"))
}

/// Everything the child tells until it ends or the time is up. A message that means nothing is
/// passed over: the child was mistaken for another, and what it did not tell counts as not tried.
fn collect(socket: &OwnedFd) -> Told {
    let deadline = Instant::now() + PATIENCE;
    let mut told = Told::default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let ready = Poller::new().readable((), socket.as_fd()).wait(Some(left));
        if !ready.is_ok_and(|ready| !ready.is_empty()) {
            return told;
        }
        let mut message = [0; 5];
        match socket::receive(socket, &mut message) {
            Ok((5, _)) => {
                let [number, a, b, c, d] = message;
                let errno = i32::from_le_bytes([a, b, c, d]);
                if let Some(subject) = Subject::ALL.get(usize::from(number)) {
                    let outcome = if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno)) };
                    told.0.insert(*subject, outcome);
                }
            }
            _ => return told,
        }
    }
}

/// Kills the child, if it has not ended, and reaps it.
fn end(pidfd: &OwnedFd) {
    // Both fail only where there is no such child any more, which is what is wanted.
    _ = pidfd::send_signal(pidfd, SignalNumber::KILL);
    _ = pidfd::wait(pidfd);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{alone, ordinary_user};

    #[test]
    fn an_ordinary_user_gets_all_that_a_run_needs() {
        alone(module_path!(), "an_ordinary_user_gets_all_that_a_run_needs", || {
            ordinary_user();
            let trials = try_namespaces();
            let told = trials.all.unwrap();
            for subject in &Subject::ALL[..13] {
                let expected = if *subject == Subject::StoreOverlay { None } else { Some(Ok(())) };
                assert_eq!(told.of(*subject), expected, "{subject:?}");
            }
            assert_eq!((trials.user_alone, trials.each.len()), (None, 0));
        });
    }

    #[test]
    fn confinement_takes_effect_and_stays_in_the_child() {
        alone(module_path!(), "confinement_takes_effect_and_stays_in_the_child", || {
            ordinary_user();
            for _ in 0..2 {
                let found = try_confinement().unwrap();
                assert!(found.landlock_abi.is_ok_and(|abi| abi >= 1));
                assert_eq!(found.landlock, Some(Ok(())));
                assert_eq!((found.seccomp, found.listener), (Some(Ok(())), Some(Ok(()))));
            }
            assert!(std::fs::read_dir("/").is_ok());
        });
    }

    #[test]
    fn a_listener_inside_a_listening_filter_is_refused() {
        alone(module_path!(), "a_listener_inside_a_listening_filter_is_refused", || {
            ordinary_user();
            process::irrevocably_set_no_new_privs().unwrap();
            let allow = crate::sys::seccomp::Instruction {
                code: 0x06,
                jump_true: 0,
                jump_false: 0,
                operand: 0x7fff_0000,
            };
            let _listener =
                crate::sys::seccomp::irrevocably_install_notifying_filter(&[allow]).unwrap();
            let found = try_confinement().unwrap();
            assert_eq!(found.seccomp, Some(Ok(())));
            assert_eq!(found.listener, Some(Err(Errno::EBUSY)));
        });
    }

    #[test]
    fn a_store_is_tried_where_it_is_and_nothing_stays() {
        alone(module_path!(), "a_store_is_tried_where_it_is_and_nothing_stays", || {
            ordinary_user();
            let dir = tempfile::tempdir().unwrap();
            let path = std::fs::canonicalize(dir.path()).unwrap();
            let told = try_store(&crate::spec::HostPath::new(&path).unwrap()).unwrap();
            assert_eq!(told.of(Subject::StoreOverlay), Some(Ok(())));
            assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
            let gone = crate::spec::HostPath::new(path.join("gone")).unwrap();
            assert_eq!(try_store(&gone), Err(TrialError::Directory(Errno::ENOENT)));
        });
    }

    #[test]
    fn among_threads_nothing_is_tried() {
        let told = in_child(CloneFlags::empty(), Maps::None, |_| {});
        assert_eq!(told, Err(TrialError::Threads(ThreadsError::Several)));
    }

    #[test]
    fn a_child_that_dies_is_told_from_one_that_fails() {
        alone(module_path!(), "a_child_that_dies_is_told_from_one_that_fails", || {
            let told = in_child(CloneFlags::empty(), Maps::None, |teller| {
                teller.tell(Subject::Proc, Err(Errno::EPERM));
                process::exit_now(3);
            });
            let told = told.unwrap();
            assert_eq!(told.of(Subject::Proc), Some(Err(Errno::EPERM)));
            assert_eq!(told.of(Subject::Sysfs), None);
        });
    }
}
