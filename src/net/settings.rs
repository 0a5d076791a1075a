//! Settings of the new network namespace that let an ordinary payload do what needs privileges on a host.
//!
//! As Docker has them: a server may listen at port 80, and `ping` needs no capability. They are this namespace's own:
//! `/proc/sys/net` shows each process those of its namespace, and whoever has `CAP_NET_ADMIN` over it may write them.

use std::ffi::CString;

use crate::sys::beside::write_setting;
use crate::sys::errno::Result;

/// `ip_unprivileged_port_start` and `ping_group_range` of ip(7) and icmp(7): which file, and what goes there.
pub(super) fn all(echo_group: u32) -> Vec<(CString, String)> {
    vec![
        (c"/proc/sys/net/ipv4/ip_unprivileged_port_start".to_owned(), "0".to_owned()),
        (c"/proc/sys/net/ipv4/ping_group_range".to_owned(), format!("{echo_group} {echo_group}")),
    ]
}

pub(super) fn write(echo_group: u32) -> Result<()> {
    all(echo_group).iter().try_for_each(|(path, value)| write_setting(path, value))
}
