//! The addresses of this machine: `getifaddrs(3)`.

use std::net::IpAddr;

use super::errno::Result;

/// Every address of every interface in the calling network namespace.
pub fn addresses() -> Result<Vec<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs()?.filter_map(|interface| interface.address);
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(all.filter_map(ip).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_is_among_them() {
        let found = super::addresses().unwrap();
        assert!(found.contains(&"127.0.0.1".parse().unwrap()), "{found:?}");
    }
}
