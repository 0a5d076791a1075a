//! TUN devices, `Documentation/networking/tuntap.rst`: an interface whose other end is a descriptor.
//!
//! # Not here
//! Addresses, routes, and bringing it up: `netlink`. Reading and writing packets: `rustix::io`.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::errno::{Errno, Result, check};

/// The device that makes them.
pub const DEVICE: &str = "/dev/net/tun";

/// The index of each: known beforehand, as one that the kernel chose would have to be asked for. Those that it chooses
/// begin at 1, and a new namespace has a dozen at most.
pub const INDEX: u32 = 100;

/// Makes a TUN device of this name in the calling network namespace, as number [`INDEX`]; it goes when the descriptor
/// is closed. Wants `CAP_NET_ADMIN` in the user namespace that owns it.
///
/// Each read gives, and each write takes, one packet behind a `struct virtio_net_hdr` of ten bytes, in
/// this machine's order. The kernel may leave the sums of TCP and UDP unfinished, and takes such packets as
/// well (`TUN_F_CSUM`): a packet that never was on a wire needs none. The descriptor does not
/// block and closes on exec. It keeps the network namespace alive.
///
/// `ENOENT`, `ENODEV` or `EACCES` where the machine does not let the caller have one; `EBUSY` when the
/// name or the index is taken. Nothing is allocated.
pub fn create(name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open(DEVICE, flags, Mode::empty())?;
    // SAFETY: ifreq is integers and an array of bytes; all-zero is a valid one.
    let mut request = unsafe { MaybeUninit::<libc::ifreq>::zeroed().assume_init() };
    if name.count_bytes() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let kind = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(kind).map_err(|_| Errno::EINVAL)?;
    let raw = fd.as_raw_fd();
    let index = INDEX;
    // SAFETY: an open descriptor; TUNSETIFINDEX reads one unsigned integer.
    check(unsafe { libc::ioctl(raw, libc::TUNSETIFINDEX, &raw const index) })?;
    // SAFETY: an open descriptor; TUNSETIFF reads one ifreq and writes the name back into it.
    check(unsafe { libc::ioctl(raw, libc::TUNSETIFF, &raw mut request) })?;
    let offload = libc::c_ulong::from(libc::TUN_F_CSUM);
    // SAFETY: an open descriptor; TUNSETOFFLOAD takes an integer in place of a pointer.
    check(unsafe { libc::ioctl(raw, libc::TUNSETOFFLOAD, offload) })?;
    Ok(fd)
}

/// `TUNSETPERSIST`: the device stays when its descriptor is closed, and goes with its network namespace.
///
/// To take a device away, the kernel waits for every processor twice and more, some ten milliseconds in all; it
/// does so behind the scenes when the whole namespace goes.
pub fn leave_to_namespace(tun: impl AsFd) -> Result<()> {
    let raw = tun.as_fd().as_raw_fd();
    let on: libc::c_ulong = 1;
    // SAFETY: an open descriptor; TUNSETPERSIST takes an integer in place of a pointer.
    check(unsafe { libc::ioctl(raw, libc::TUNSETPERSIST, on) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::CloneFlags;
    use crate::sys::pidfd::Exit;
    use crate::sys::testing::{alone, mapped, ordinary_user};

    #[test]
    fn an_ordinary_user_makes_one_in_its_own_network_namespace() {
        let name = "an_ordinary_user_makes_one_in_its_own_network_namespace";
        alone(module_path!(), name, || {
            ordinary_user();
            let exit = mapped(CloneFlags::NEW_NET, 0, || {
                let fd = create(c"tun0").unwrap();
                let socket = rustix::net::socket(
                    rustix::net::AddressFamily::INET,
                    rustix::net::SocketType::DGRAM,
                    None,
                );
                let socket = socket.unwrap();
                let index = rustix::net::netdevice::name_to_index(&socket, "tun0");
                assert_eq!(index, Ok(INDEX));
                assert_eq!(rustix::io::read(&fd, &mut [0; 64]), Err(rustix::io::Errno::AGAIN));
                assert_eq!(create(c"tun0").unwrap_err(), Errno::EBUSY);
                assert_eq!(create(c"a-name-of-sixteen").unwrap_err(), Errno::ENAMETOOLONG);
                drop(fd);
                assert!(rustix::net::netdevice::name_to_index(&socket, "tun0").is_err());
                let fd = create(c"tun0").unwrap();
                leave_to_namespace(&fd).unwrap();
                drop(fd);
                assert!(rustix::net::netdevice::name_to_index(&socket, "tun0").is_ok());
            });
            assert_eq!(exit, Exit::Code(0));
            // Not in a namespace that is not the caller's.
            assert_eq!(create(c"tun-bryo").unwrap_err(), Errno::EPERM);
        });
    }
}
