//! What the owner says of the box's network and clock: sections `[network]` and `[time]` of `genkan.toml`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

/// Most servers of a kind that the file may name; the C library's resolver asks three.
pub const DNS_MAX: usize = 3;
/// Most time servers that the file may name.
pub const TIME_SERVERS_MAX: usize = 8;

/// `[network]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSettings {
    /// `None`: the first wired interface with a link.
    pub interface: Option<String>,
    pub addressing: Addressing,
    /// The VLAN on that interface, 1 to 4094.
    pub vlan: Option<u16>,
    /// Whether the kernel may take IPv6 addresses that the router announces.
    pub ipv6: bool,
    /// Instead of what the router tells.
    pub dns: Vec<IpAddr>,
    /// What the box calls itself towards the router.
    pub host_name: String,
}

/// Where the IPv4 address comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressing {
    /// From the router.
    Dhcp,
    /// From the owner.
    Static {
        /// With the length of the link's prefix.
        address: Ipv4Net,
        /// Where everything else is reached; within the prefix.
        gateway: Option<Ipv4Addr>,
    },
}

/// `[time]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeSettings {
    pub servers: Vec<TimeServer>,
}

/// A server of SNTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeServer {
    /// Needs no DNS, which may need the time itself (DNSSEC, DNS over TLS).
    Address(IpAddr),
    Name(String),
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            interface: None,
            addressing: Addressing::Dhcp,
            vlan: None,
            ipv6: true,
            dns: Vec::new(),
            host_name: "genkan".to_owned(),
        }
    }
}

/// Two operators by address and by name, so that no single one decides what time it is, and the pool for the rest.
impl Default for TimeSettings {
    fn default() -> Self {
        let addresses: [IpAddr; 4] = [
            Ipv4Addr::new(162, 159, 200, 1).into(),
            Ipv4Addr::new(216, 239, 35, 0).into(),
            Ipv4Addr::new(162, 159, 200, 123).into(),
            Ipv6Addr::new(0x2606, 0x4700, 0xf1, 0, 0, 0, 0, 1).into(),
        ];
        let names = ["time.cloudflare.com", "time.google.com", "pool.ntp.org"];
        let named = names.map(|name| TimeServer::Name(name.to_owned()));
        Self { servers: addresses.into_iter().map(TimeServer::Address).chain(named).collect() }
    }
}
