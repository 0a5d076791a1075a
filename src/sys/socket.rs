//! Sockets between our own processes: messages with descriptors, and who is at the other end.
//!
//! # Not here
//! Pipes: `rustix::pipe::pipe_with`. What the messages mean: `launch`.

use std::io::{IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::process::Pid;

use super::errno::{Errno, Result, check};

/// The most descriptors that one message carries.
pub const MAX_FDS: usize = 16;

/// `socketpair(2)`: two connected unix sockets that keep messages apart, close-on-exec.
///
/// Reading gives 0 bytes once the other end is closed.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message and up to [`MAX_FDS`] descriptors with it; `EPIPE` (and no signal) when the
/// other end is closed.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // The space is rounded up, so it alone does not hold the limit.
    if fds.len() > MAX_FDS {
        return Err(Errno::E2BIG);
    }
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::E2BIG);
    }
    let slices = [IoSlice::new(bytes)];
    let sent = retry(|| rustix::net::sendmsg(&socket, &slices, &mut control, SendFlags::NOSIGNAL))?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::EMSGSIZE) }
}

/// Receives one message; returns its length and the descriptors that came with it.
///
/// Length 0 is the end. A message longer than `bytes`, or more descriptors than fit (as when this
/// process may open no more), is `EMSGSIZE`, and the descriptors that did arrive are closed.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    receive_with(socket, bytes, RecvFlags::CMSG_CLOEXEC)
}

/// As [`receive`], and `EAGAIN` where no message is there, whatever mode the socket is in.
pub fn receive_now(socket: impl AsFd, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    receive_with(socket, bytes, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
}

fn receive_with(
    socket: impl AsFd,
    bytes: &mut [u8],
    flags: RecvFlags,
) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let mut reset = false;
    let message = retry(|| {
        let got = rustix::net::recvmsg(&socket, &mut slices, &mut control, flags);
        // An end that was closed with something of ours unread tells so once, before its last words.
        match got {
            Err(rustix::io::Errno::CONNRESET) if !std::mem::replace(&mut reset, true) => {
                Err(rustix::io::Errno::INTR)
            }
            other => other,
        }
    })?;
    let mut fds = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = ancillary {
            fds.extend(rights);
        }
    }
    let cut = message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    if cut || fds.len() > MAX_FDS {
        return Err(Errno::EMSGSIZE);
    }
    Ok((message.bytes, fds))
}

/// Listens at a name in a directory, which must be free, for sockets of the kind of [`pair`]; non-blocking.
///
/// By the directory's descriptor, as a path can be longer than an address holds (`unix(7)`: 108 bytes).
pub fn listen_at(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::bind(&socket, &address(directory, name)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// A socket for datagrams at a name in a directory, which must be free; non-blocking.
pub fn bind_datagrams_at(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let socket = datagrams()?;
    rustix::net::bind(&socket, &address(directory, name)?)?;
    Ok(socket)
}

/// A socket whose datagrams go to `/PATH`, or `@NAME` of an abstract socket; non-blocking.
pub fn connect_datagrams(to: &[u8]) -> Result<OwnedFd> {
    let address = match to {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path => SocketAddrUnix::new(path)?,
    };
    let socket = datagrams()?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

fn datagrams() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?)
}

/// The next datagram, as far as it fits, and its whole length; `EAGAIN` when there is none. Descriptors that came
/// along are closed by the kernel, as there is no room for them.
pub fn receive_datagram(socket: impl AsFd, bytes: &mut [u8]) -> Result<usize> {
    let (_, length) = retry(|| rustix::net::recv(&socket, &mut *bytes, RecvFlags::TRUNC))?;
    Ok(length)
}

/// How many may wait to be accepted.
const BACKLOG: i32 = 64;

/// Takes the next connection, non-blocking; none when nobody waits.
pub fn accept(listener: impl AsFd) -> Result<Option<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::accept_with(listener, flags) {
        Ok(socket) => Ok(Some(socket)),
        Err(
            rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED,
        ) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Connects to who listens at a name in a directory; `ECONNREFUSED` when nobody does any more, and `EAGAIN` when as
/// many wait to be accepted as may: the kernel would wait for who listens, who may be stopped.
pub fn connect_at(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let address = address(directory, name)?;
    retry(|| rustix::net::connect(&socket, &address))?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

fn address(directory: impl AsFd, name: &str) -> Result<SocketAddrUnix> {
    let directory = directory.as_fd().as_raw_fd();
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{directory}/{name}"))?)
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Who connected a unix socket, as the kernel noted it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// `None` for a process outside this pid namespace.
    pub pid: Option<Pid>,
    /// Effective uid.
    pub uid: u32,
    /// Effective gid.
    pub gid: u32,
}

/// `SO_PEERCRED` of `unix(7)`.
///
/// `rustix` has it too, with a pid that cannot be 0; the kernel's can.
pub fn peer(socket: impl AsFd) -> Result<Peer> {
    let mut raw = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length =
        libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(|_| Errno::EINVAL)?;
    let fd = socket.as_fd().as_raw_fd();
    let value = (&raw mut raw).cast::<libc::c_void>();
    // SAFETY: an open descriptor, room for one ucred, and its size.
    check(unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, value, &raw mut length)
    })?;
    Ok(Peer { pid: Pid::from_raw(raw.pid), uid: raw.uid, gid: raw.gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_heard_though_ours_were_not_read() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, b"unread", &[]).unwrap();
        send(&theirs, b"last", &[]).unwrap();
        drop(theirs);
        let mut bytes = [0; 16];
        assert_eq!(receive(&ours, &mut bytes).unwrap().0, 4);
        assert_eq!(&bytes[..4], b"last");
        assert_eq!(receive(&ours, &mut bytes).unwrap().0, 0);
    }

    #[test]
    fn whoever_finds_nobody_who_accepts_is_not_kept_waiting() {
        let scratch = crate::sys::testing::Scratch::new();
        let directory = std::fs::File::open(&scratch.0).unwrap();
        let listener = listen_at(&directory, "s").unwrap();
        let mut waiting = Vec::new();
        let refused = loop {
            match connect_at(&directory, "s") {
                Ok(socket) => waiting.push(socket),
                Err(errno) => break errno,
            }
        };
        assert_eq!(refused, Errno::EAGAIN);
        assert!(accept(&listener).unwrap().is_some());
        connect_at(&directory, "s").unwrap();
    }

    #[test]
    fn a_message_carries_descriptors_that_close_on_exec() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(&a, b"here", &[write.as_fd()]).unwrap();
        drop(write);
        let mut bytes = [0; 16];
        let (length, fds) = receive(&b, &mut bytes).unwrap();
        assert_eq!((&bytes[..length], fds.len()), (&b"here"[..], 1));
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        rustix::io::write(&fds[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut bytes), Ok(1));
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error_and_leaks_nothing() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(&a, b"too long", &[write.as_fd()]).unwrap();
        drop(write);
        assert_eq!(receive(&b, &mut [0; 4]).unwrap_err(), Errno::EMSGSIZE);
        // End of file: the descriptor that came along was the last one that could write.
        assert_eq!(rustix::io::read(&read, &mut [0; 4]), Ok(0));
    }

    #[test]
    fn truncated_descriptors_are_an_error_and_are_closed() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let most = [write.as_fd(); MAX_FDS];
        send(&a, b"x", &most).unwrap();
        assert_eq!(receive(&b, &mut [0; 4]).unwrap().1.len(), MAX_FDS);
        let more = [write.as_fd(); MAX_FDS + 2];
        assert_eq!(send(&a, b"x", &more), Err(Errno::E2BIG));
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&more)));
        let slices = [IoSlice::new(b"x")];
        rustix::net::sendmsg(&a, &slices, &mut control, SendFlags::empty()).unwrap();
        drop(write);
        assert_eq!(receive(&b, &mut [0; 4]).unwrap_err(), Errno::EMSGSIZE);
        assert_eq!(rustix::io::read(&read, &mut [0; 4]), Ok(0));
    }

    #[test]
    fn a_closed_end_is_seen_from_the_other() {
        let (a, b) = pair().unwrap();
        assert_eq!(peer(&a).unwrap().pid, Some(rustix::process::getpid()));
        drop(a);
        assert_eq!(receive(&b, &mut [0; 4]).unwrap().0, 0);
        assert_eq!(send(&b, b"x", &[]), Err(Errno::EPIPE));
    }
}
