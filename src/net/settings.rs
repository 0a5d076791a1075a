//! Settings of the new network namespace that let an ordinary payload do what needs privileges on a host.
//!
//! As Docker has them: a server may listen at port 80, and `ping` needs no capability. They are this namespace's own:
//! `/proc/sys/net` shows each process those of its namespace, and whoever has `CAP_NET_ADMIN` over it may write them.

use rustix::fs::{Mode, OFlags};

use crate::sys::errno::{Errno, Result};

/// `ip_unprivileged_port_start` and `ping_group_range` of ip(7) and icmp(7).
pub(super) fn write(echo_group: u32) -> Result<()> {
    set("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    set("/proc/sys/net/ipv4/ping_group_range", &format!("{echo_group} {echo_group}"))
}

fn set(path: &str, value: &str) -> Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, value.as_bytes())?;
    if written == value.len() { Ok(()) } else { Err(Errno::EIO) }
}
