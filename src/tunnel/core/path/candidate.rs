//! One address at which a peer may be reachable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::{DISCOVERY_INTERVAL, SESSION_ACTIVE_TIMEOUT};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Candidate {
    /// In the netmap. Learnt addresses are not, and are forgotten when nothing is heard from them.
    pub is_listed: bool,
    /// Last pong from it, ping from it, or call-me-maybe that names it.
    pub last_heard: Option<Instant>,
    pub last_ping: Option<Instant>,
}

impl Candidate {
    /// Whether discovery may ping it again.
    pub fn is_due(&self, now: Instant) -> bool {
        self.last_ping.is_none_or(|last| now >= last + DISCOVERY_INTERVAL)
    }

    pub fn was_heard(&self, now: Instant) -> bool {
        self.last_heard.is_some_and(|last| now < last + SESSION_ACTIVE_TIMEOUT)
    }
}

/// Whether packets may be sent to `address` at all. A peer chooses its addresses freely: it must not aim us at this
/// machine's own services, at groups, or at the tunnel itself.
#[must_use]
pub fn is_usable(address: SocketAddr) -> bool {
    address.port() != 0
        && match address.ip() {
            IpAddr::V4(ip) => is_usable_ipv4(ip),
            IpAddr::V6(ip) => is_usable_ipv6(ip),
        }
}

fn is_usable_ipv4(ip: Ipv4Addr) -> bool {
    let in_tailnet = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast() || in_tailnet)
}

/// Link-local addresses need a zone, which the netmap cannot express.
fn is_usable_ipv6(ip: Ipv6Addr) -> bool {
    let in_tailnet = ip.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0];
    let is_mapped = ip.to_ipv4_mapped().is_some();
    !(ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unicast_link_local()
        || in_tailnet
        || is_mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_aim_us_at_ourselves_or_at_groups() {
        for text in [
            "127.0.0.1:41641",
            "[::1]:41641",
            "0.0.0.0:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "100.64.0.9:41641",
            "100.127.255.255:41641",
            "[fd7a:115c:a1e0::9]:41641",
            "[fe80::1]:41641",
            "[::ffff:127.0.0.1]:41641",
            "192.0.2.1:0",
        ] {
            assert!(!is_usable(text.parse().expect("literal")), "{text}");
        }
        for text in
            ["192.168.1.2:41641", "100.63.0.1:1", "100.128.0.1:1", "[2001:db8::1]:41641", "[fd00::1]:1"]
        {
            assert!(is_usable(text.parse().expect("literal")), "{text}");
        }
    }
}
