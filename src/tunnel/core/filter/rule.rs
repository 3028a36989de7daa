//! One rule of the netmap in the form that packets are matched against.

use std::net::IpAddr;

use super::address_set::AddressSet;
use crate::tunnel::core::net_map::NetMap;
use crate::wire::control::{FilterRule, PortRange};
use crate::wire::ip::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, Packet};

/// Prefix of a source that names the holders of a node capability.
const CAPABILITY_PREFIX: &str = "cap:";
/// What a rule without protocols is about.
const DEFAULT_PROTOCOLS: [u8; 4] = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP, PROTOCOL_ICMPV6];

#[derive(Debug)]
pub(super) struct Rule {
    sources: AddressSet,
    protocols: Vec<u8>,
    destinations: Vec<(AddressSet, PortRange)>,
}

impl Rule {
    /// `None` for rules that cannot match a packet: grants of application capabilities, and those without a readable source.
    /// An unreadable member is left out, so that it allows nothing.
    pub fn compile(rule: &FilterRule, net_map: &NetMap) -> Option<Self> {
        let sources: AddressSet =
            rule.src_ips.iter().filter_map(|source| compile_source(source, net_map)).collect();
        let destinations: Vec<_> =
            rule.dst_ports.iter().filter_map(|range| Some((parse(&range.ip)?, range.ports))).collect();
        if sources.is_empty() || destinations.is_empty() {
            return None;
        }
        let protocols =
            if rule.ip_proto.is_empty() { DEFAULT_PROTOCOLS.to_vec() } else { rule.ip_proto.clone() };
        Some(Self { sources, protocols, destinations })
    }

    /// TCP, UDP, SCTP: protocol, source, destination and port must match.
    pub fn allows_port(&self, packet: &Packet, port: u16) -> bool {
        self.protocols.contains(&packet.protocol) && self.reaches(packet, |ports| ports.contains(port))
    }

    /// ICMP: it is enough that something of the destination is open to the source.
    pub fn allows_any_port(&self, packet: &Packet) -> bool {
        self.reaches(packet, |_| true)
    }

    /// Protocols without ports: only by a rule that names the protocol and opens all ports.
    pub fn allows_protocol(&self, packet: &Packet) -> bool {
        self.protocols.contains(&packet.protocol) && self.reaches(packet, |ports| ports == PortRange::ALL)
    }

    fn reaches(&self, packet: &Packet, ports: impl Fn(PortRange) -> bool) -> bool {
        self.sources.contains(packet.source)
            && self
                .destinations
                .iter()
                .any(|(addresses, range)| ports(*range) && addresses.contains(packet.destination))
    }
}

fn compile_source(source: &str, net_map: &NetMap) -> Option<AddressSet> {
    match source.strip_prefix(CAPABILITY_PREFIX) {
        Some(capability) => Some(net_map.holders(capability).collect::<Vec<IpAddr>>().into_iter().collect()),
        None => parse(source),
    }
}

fn parse(text: &str) -> Option<AddressSet> {
    let set = AddressSet::parse(text);
    if set.is_none() {
        tracing::warn!(text, "packet filter rule with an unreadable address");
    }
    set
}
