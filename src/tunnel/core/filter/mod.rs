//! The packet filter on what peers send us: only what a rule allows comes in, and what answers us.
//!
//! TCP needs no memory, because a connection cannot begin without a SYN: everything else of TCP passes. UDP and SCTP
//! answers pass when this node spoke first; of that the filter keeps a bounded memory. The semantics are those of
//! Tailscale's `wgengine/filter`, so that one policy means the same on every node.

mod address_set;
mod rule;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::drops::DropReason;
use super::net_map::NetMap;
use super::recent::Recent;
use crate::wire::ip::{IcmpKind, PROTOCOL_TSMP, Packet, Transport};
use address_set::AddressSet;
use rule::Rule;

/// Flows remembered: ten times what a game server with a hundred players has, for about 400 KiB.
const MAX_FLOWS: usize = 4096;
/// A silent flow is forgotten between half of this and all of it: longer than any keep-alive of a UDP protocol.
const FLOW_LIFETIME: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub struct Filter {
    local: AddressSet,
    rules: Vec<Rule>,
    flows: Recent<Flow, ()>,
}

/// One direction of a conversation, as an incoming packet shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Flow {
    protocol: u8,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
}

impl Filter {
    /// Lets nothing in until rules come.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            local: AddressSet::default(),
            rules: Vec::new(),
            flows: Recent::new(MAX_FLOWS, FLOW_LIFETIME, now),
        }
    }

    /// Takes the rules and own addresses of `net_map`; remembered flows stay.
    pub fn update(&mut self, net_map: &NetMap) {
        self.local = net_map.own_prefixes().collect();
        self.rules = net_map.filter_rules().filter_map(|rule| Rule::compile(rule, net_map)).collect();
    }

    /// Whether `address` is this node's own, or in a route that it serves.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.local.contains(address)
    }

    /// Remembers that this node sent `packet`, so that answers may come.
    pub fn note_outgoing(&mut self, packet: &Packet, now: Instant) {
        if let Some(flow) = flow(packet) {
            let answer = Flow { source: flow.destination, destination: flow.source, ..flow };
            self.flows.insert(answer, (), now);
        }
    }

    /// Whether a packet from a peer may come in.
    pub fn admit(&mut self, packet: &Packet, now: Instant) -> Result<(), DropReason> {
        if is_out_of_scope(packet.destination) {
            return Err(DropReason::FilterScope);
        }
        if !self.is_local(packet.destination) {
            return Err(DropReason::FilterDestination);
        }
        match packet.transport {
            Transport::Fragment | Transport::Icmp(IcmpKind::EchoReply | IcmpKind::Error) => Ok(()),
            Transport::Tcp { .. } if !packet.is_tcp_syn() => Ok(()),
            Transport::Tcp { ports, .. } => self.allow(|rule| rule.allows_port(packet, ports.destination)),
            Transport::Udp { ports } | Transport::Sctp { ports } => {
                if flow(packet).is_some_and(|flow| self.flows.find(flow, now).is_some()) {
                    return Ok(());
                }
                self.allow(|rule| rule.allows_port(packet, ports.destination))
            }
            Transport::Icmp(IcmpKind::Other) => self.allow(|rule| rule.allows_any_port(packet)),
            Transport::Other if packet.protocol == PROTOCOL_TSMP => Ok(()),
            Transport::Other => {
                self.allow(|rule| rule.allows_protocol(packet)).map_err(|_| DropReason::FilterProtocol)
            }
        }
    }

    fn allow(&self, matches: impl Fn(&Rule) -> bool) -> Result<(), DropReason> {
        if self.rules.iter().any(matches) { Ok(()) } else { Err(DropReason::FilterRules) }
    }
}

/// Packets that are never for a single node of the tailnet.
fn is_out_of_scope(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unicast_link_local(),
    }
}

fn flow(packet: &Packet) -> Option<Flow> {
    let (Transport::Udp { ports } | Transport::Sctp { ports }) = packet.transport else { return None };
    Some(Flow {
        protocol: packet.protocol,
        source: (packet.source, ports.source),
        destination: (packet.destination, ports.destination),
    })
}

#[cfg(test)]
mod tests;
