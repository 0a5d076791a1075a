//! What a fresh namespace needs before anything can run in it: id maps, names, loopback.
//!
//! # Not here
//! Making and entering namespaces: `clone`. `sethostname` and `setdomainname`:
//! `rustix::system` has them as they are.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;

use super::errno::{Errno, Result, check};

/// Which of the two maps of a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMap {
    /// `/proc/PID/uid_map`
    Uid,
    /// `/proc/PID/gid_map`
    Gid,
}

impl IdMap {
    /// The file's name in `/proc/PID`.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Uid => "uid_map",
            Self::Gid => "gid_map",
        }
    }
}

/// Opens `/proc/PID` itself, so that later calls cannot reach another process of the same number.
pub fn open_proc_dir(pid: Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{}", pid.as_raw_nonzero());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Writes a whole id map, lines of `inside outside count`, by one write as the kernel wants it.
///
/// A map can be written once. Without privileges outside, one line with one id that is the
/// writer's own effective one; for groups only after [`deny_setgroups`] (`user_namespaces(7)`).
/// `EPERM` for anything else.
pub fn write_id_map(proc_pid: impl AsFd, map: IdMap, lines: &str) -> Result<()> {
    write_once(proc_pid, map.file_name(), lines)
}

/// Writes `deny` to `/proc/PID/setgroups`, since Linux 3.19: nobody in that user namespace can
/// drop groups any more.
pub fn deny_setgroups(proc_pid: impl AsFd) -> Result<()> {
    write_once(proc_pid, "setgroups", "deny")
}

/// Opens a file of `proc_pid` and writes all of `text` in one write.
fn write_once(proc_pid: impl AsFd, name: &str, text: &str) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(proc_pid, name, flags, Mode::empty())?;
    let written = rustix::io::write(file, text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// Kinds of namespaces, with the name of their link in `/proc/PID/ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// `user`
    User,
    /// `mnt`
    Mount,
    /// `pid`
    Pid,
    /// `net`
    Net,
    /// `ipc`
    Ipc,
    /// `uts`
    Uts,
    /// `cgroup`
    Cgroup,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::User, Self::Mount, Self::Pid, Self::Net, Self::Ipc, Self::Uts, Self::Cgroup];

    /// The kernel's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        }
    }
}

/// The inode number that names a namespace of the process whose `/proc/PID` this is.
///
/// Two processes with the same number are in the same namespace. Wants the right to read that
/// process (`ptrace(2)`).
pub fn ns_inode(proc_pid: impl AsFd, kind: Namespace) -> Result<u64> {
    let path = format!("ns/{}", kind.name());
    Ok(rustix::fs::statat(proc_pid, path, AtFlags::empty())?.st_ino)
}

/// Opens a namespace of the process whose `/proc/PID` this is.
///
/// Wants the right to read that process (`ptrace(2)`), as [`ns_inode`] does.
pub fn open_ns(proc_pid: impl AsFd, kind: Namespace) -> Result<OwnedFd> {
    let path = format!("ns/{}", kind.name());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(proc_pid, path, flags, Mode::empty())?)
}

/// `NS_GET_USERNS` of `ioctl_ns(2)`, since Linux 4.9: the user namespace that owns a namespace; of a user
/// namespace, the one above. `EPERM` when that is outside the caller's.
pub fn owner(namespace: impl AsFd) -> Result<OwnedFd> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    let raw = namespace.as_fd().as_raw_fd();
    // SAFETY: an open descriptor; this request takes no argument.
    let owner = check(unsafe { libc::ioctl(raw, NS_GET_USERNS) })?;
    let owner = i32::try_from(owner).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel made this descriptor for the caller, close-on-exec; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// `NS_GET_OWNER_UID` of `ioctl_ns(2)`, since Linux 4.11: who made a user namespace.
pub fn owner_uid(user_namespace: impl AsFd) -> Result<u32> {
    const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
    let mut uid: libc::uid_t = 0;
    let raw = user_namespace.as_fd().as_raw_fd();
    // SAFETY: an open descriptor; this request writes one uid_t.
    check(unsafe { libc::ioctl(raw, NS_GET_OWNER_UID, &raw mut uid) })?;
    Ok(uid)
}

/// Brings up `lo` of the calling network namespace: `127.0.0.1` and, where there is IPv6, `::1`.
pub fn bring_loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is integers and an array of bytes; all-zero is a valid one.
    let mut request = unsafe { MaybeUninit::<libc::ifreq>::zeroed().assume_init() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let raw = socket.as_raw_fd();
    // SAFETY: an open socket; SIOCGIFFLAGS reads the name and fills in the flags of one ifreq.
    check(unsafe { libc::ioctl(raw, libc::SIOCGIFFLAGS, &raw mut request) })?;
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    // SAFETY: SIOCGIFFLAGS filled in this member of the union just above.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    // Both flags are below 2^15.
    request.ifr_ifru.ifru_flags = flags | i16::try_from(up).map_err(|_| Errno::EINVAL)?;
    // SAFETY: an open socket; SIOCSIFFLAGS reads one ifreq.
    check(unsafe { libc::ioctl(raw, libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{CloneFlags, Cloned, clone3};
    use crate::sys::pidfd::{self, Exit};
    use crate::sys::testing::{alone, mapped, ordinary_user};
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn a_mapped_user_has_the_inner_id() {
        alone(module_path!(), "a_mapped_user_has_the_inner_id", || {
            ordinary_user();
            let exit = mapped(CloneFlags::empty(), 77, || {
                assert_eq!(rustix::process::getuid().as_raw(), 77);
                assert_eq!(rustix::process::getgid().as_raw(), 77);
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn a_map_of_somebody_else_is_refused() {
        alone(module_path!(), "a_map_of_somebody_else_is_refused", || {
            ordinary_user();
            let Cloned::Parent { pid, pidfd } = clone3(CloneFlags::NEW_USER, None).unwrap() else {
                loop {
                    rustix::event::pause();
                }
            };
            let dir = open_proc_dir(pid).unwrap();
            assert_eq!(write_id_map(&dir, IdMap::Uid, "0 0 1\n"), Err(Errno::EPERM));
            pidfd::send_signal(&pidfd, crate::sys::signal::SignalNumber::KILL).unwrap();
            pidfd::wait(&pidfd).unwrap();
            assert_eq!(write_id_map(&dir, IdMap::Uid, "0 0 1\n"), Err(Errno::ESRCH));
        });
    }

    #[test]
    fn loopback_carries_packets_once_it_is_up() {
        alone(module_path!(), "loopback_carries_packets_once_it_is_up", || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET | CloneFlags::NEW_UTS, 0, || {
                let target = (Ipv4Addr::LOCALHOST, 9);
                let before = UdpSocket::bind("0.0.0.0:0").and_then(|one| one.send_to(b"x", target));
                bring_loopback_up().unwrap();
                let after =
                    UdpSocket::bind("127.0.0.1:0").and_then(|one| one.send_to(b"x", target));
                rustix::system::sethostname(b"inside").unwrap();
                assert!(before.is_err() && after.is_ok());
                assert_eq!(rustix::system::uname().nodename(), c"inside");
            });
            assert_eq!(exit, Exit::Code(0));
        });
    }

    #[test]
    fn a_namespace_is_told_by_its_inode() {
        alone(module_path!(), "a_namespace_is_told_by_its_inode", || {
            ordinary_user();
            let own = open_proc_dir(rustix::process::getpid()).unwrap();
            let Cloned::Parent { pid, pidfd } = clone3(CloneFlags::NEW_USER, None).unwrap() else {
                loop {
                    rustix::event::pause();
                }
            };
            let other = open_proc_dir(pid).unwrap();
            for kind in Namespace::ALL {
                let same = ns_inode(&own, kind).unwrap() == ns_inode(&other, kind).unwrap();
                assert_eq!(same, kind != Namespace::User, "{kind:?}");
            }
            pidfd::send_signal(&pidfd, crate::sys::signal::SignalNumber::KILL).unwrap();
            pidfd::wait(&pidfd).unwrap();
        });
    }
}
