//! Steps on the network, inside and in the netstack.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::spec::net::{Egress, NetworkName, Segment, Tool};
use crate::spec::{HostPath, Text};

/// Steps on the network, by pid 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetStep {
    /// Brings `lo` up in the new network namespace.
    LoopbackUp,
    /// Makes the interface whose other end is the netstack's, with addresses and default routes, and
    /// hands that end over.
    Tun(Link),
    /// Sets what of its namespace is for privileged programs alone elsewhere: ports below 1024 are for everybody, echoes
    /// may be sent by this group, the payload's.
    Settings {
        /// As the namespace numbers it.
        echo_group: u32,
    },
    /// Hands the namespaces over, so that a program of others can connect them.
    HandOver,
    /// Gives the interface that a network's holder made its addresses and default routes, and lets nothing leave
    /// that says it came from elsewhere.
    Port(Link),
}

/// In whose namespaces the clone is made, by a process of the launcher's that enters them first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnterStep {
    /// The user and network namespaces of a sandbox that runs.
    Sandbox(Text),
    /// The user namespace of the holder of a network.
    Network(NetworkName),
    /// Not entered: the holder of the network connects the new network namespace with it, once ids are mapped.
    Attach(NetworkName),
}

/// The link between payload and netstack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Bytes of the longest packet.
    pub mtu: u16,
    /// IPv4.
    pub v4: Network4,
    /// IPv6; none where the kernel has none.
    pub v6: Option<Network6>,
}

/// The sandbox's network of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network4 {
    /// The sandbox.
    pub own: Ipv4Addr,
    /// The netstack.
    pub gateway: Ipv4Addr,
    /// The name server, in the netstack too.
    pub resolver: Ipv4Addr,
    /// Bits of the network.
    pub prefix: u8,
}

/// The sandbox's network of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network6 {
    /// The sandbox.
    pub own: Ipv6Addr,
    /// The netstack.
    pub gateway: Ipv6Addr,
    /// The name server, in the netstack too.
    pub resolver: Ipv6Addr,
    /// Bits of the network.
    pub prefix: u8,
}

impl Network4 {
    /// Who stands for a client that cannot be shown as what it is: nobody else has it.
    pub fn stranger(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.resolver.to_bits().wrapping_add(1))
    }
}

impl Network6 {
    /// The same of IPv6.
    pub fn stranger(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.resolver.to_bits().wrapping_add(1))
    }
}

impl Link {
    /// The interface's name.
    pub const NAME: &'static str = "tun0";

    /// That of a member of a network: of its only one, or of the next ones.
    pub fn port(number: u8) -> String {
        format!("eth{number}")
    }

    /// The addresses of slirp4netns and its kin: `10.0.2.0/24` and `fd00::/64`, where .100 is the sandbox,
    /// .2 the gateway, .3 the name server, and .4 a client that cannot be shown. The longest packet is what fits into 16 bits and leaves the
    /// bytes behind its headers aligned.
    pub fn usual(ipv6: bool) -> Self {
        let v4 = |last| Ipv4Addr::new(10, 0, 2, last);
        let v6 = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
        Self {
            mtu: 65_520,
            v4: Network4 { own: v4(100), gateway: v4(2), resolver: v4(3), prefix: 24 },
            v6: ipv6.then(|| Network6 {
                own: v6(0x100),
                gateway: v6(2),
                resolver: v6(3),
                prefix: 64,
            }),
        }
    }

    /// That of a member of a network, with these addresses. The name server is the netstack's.
    pub fn member(segment: &Segment, own: Ipv4Addr, own6: Option<Ipv6Addr>) -> Self {
        let usual = Self::usual(own6.is_some());
        let (prefix, gateway) = (segment.subnet.length(), segment.gateway);
        let v6 = usual.v6.zip(own6).map(|(v6, own)| Network6 {
            own,
            gateway: segment.v6_of(gateway),
            resolver: v6.resolver,
            prefix: segment.subnet6.length(),
        });
        Self { mtu: usual.mtu, v4: Network4 { own, gateway, prefix, ..usual.v4 }, v6 }
    }

    /// Address, prefix and gateway of each family.
    pub fn families(&self) -> impl Iterator<Item = (IpAddr, u8, IpAddr)> {
        let v4 = (IpAddr::V4(self.v4.own), self.v4.prefix, IpAddr::V4(self.v4.gateway));
        let v6 = self.v6.map(|v6| (IpAddr::V6(v6.own), v6.prefix, IpAddr::V6(v6.gateway)));
        std::iter::once(v4).chain(v6)
    }

    /// Where the name server is asked.
    pub fn resolvers(&self) -> impl Iterator<Item = IpAddr> {
        let v6 = self.v6.map(|v6| IpAddr::V6(v6.resolver));
        std::iter::once(IpAddr::V4(self.v4.resolver)).chain(v6)
    }
}

/// Steps of the netstack, in its own process. Its filter of system calls is installed between the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetstackStep {
    /// Gives up files, programs, capabilities, and memory beyond a bound.
    Confine {
        /// Which Landlock; none where there is none.
        landlock_abi: Option<u32>,
    },
    /// Passes on what may leave.
    Serve(Egress),
    /// Becomes a program of others, which makes the interface and passes on everything.
    Tool {
        /// Which.
        tool: Tool,
        /// Where it is.
        program: HostPath,
        /// Its arguments, but for the descriptors.
        arguments: Vec<String>,
    },
    /// Keeps what is sent to a loopback address in the sandbox's network namespace, also by a socket that is bound to
    /// this interface, which the program of others has made.
    KeepLoopback(Text),
}
