//! Runs of addresses, spelt as packet filters spell them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Subject;
use super::selector::{inner_routes, overlaps};

/// Shared address space (RFC 6598), from which nodes get their IPv4 addresses.
const CGNAT: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
/// The part of it that `ChromeOS` uses for its own virtual machines; never a node's.
const CHROMEOS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 115, 92, 0), 23);
/// The prefix of all Tailscale networks' IPv6 addresses.
const ULA: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0), 48);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    Prefix(IpNet),
    /// First and last address, both in it; of the tailnet's own.
    Range(Ipv4Addr, Ipv4Addr),
}

/// Every address a node can have: CGNAT less the part of `CHROMEOS`, and the ULA prefix.
#[must_use]
pub fn tailnet_ranges() -> [Span; 3] {
    let below = Ipv4Addr::from_bits(CHROMEOS.network().to_bits() - 1);
    let above = Ipv4Addr::from_bits(CHROMEOS.broadcast().to_bits() + 1);
    [Span::Range(CGNAT.network(), below), Span::Range(above, CGNAT.broadcast()), Span::Prefix(IpNet::V6(ULA))]
}

/// Whether a node of the tailnet may have `address`.
#[must_use]
pub fn is_in_tailnet(address: IpAddr) -> bool {
    tailnet_ranges().iter().any(|span| span.contains(address))
}

impl Span {
    pub(super) fn of_node(subject: &Subject) -> [Self; 2] {
        [Self::Prefix(IpAddr::V4(subject.ipv4).into()), Self::Prefix(IpAddr::V6(subject.ipv6).into())]
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Prefix(prefix), _) => prefix.contains(&address),
            (Self::Range(first, last), IpAddr::V4(address)) => (*first..=*last).contains(&address),
            (Self::Range(..), IpAddr::V6(_)) => false,
        }
    }

    /// Whether it has an address of `subject`, or one behind a route of it.
    pub(super) fn holds_any_of(&self, subject: &Subject) -> bool {
        let own = [IpAddr::V4(subject.ipv4), IpAddr::V6(subject.ipv6)];
        own.into_iter().any(|address| self.contains(address))
            || inner_routes(subject).any(|route| self.is_behind(route))
    }

    /// Whether packets from it may come by `route`. Those from the tailnet's own addresses come from the nodes themselves,
    /// also where the route is so wide that they are in it.
    pub(super) fn is_behind(&self, route: &IpNet) -> bool {
        match self {
            Self::Prefix(prefix) => !is_in_tailnet(prefix.network()) && overlaps(prefix, route),
            Self::Range(..) => false,
        }
    }
}

/// A single address without its length, a prefix with it, a range as `first-last`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => f.write_str(&spell(prefix)),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// As a filter spells it: a single address has no length.
pub fn spell(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}
