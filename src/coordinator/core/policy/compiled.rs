//! What a compiled policy answers: the filter of a node, whom it sees, what goes through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::wire::control::{FilterRule, NetPortRange, NodeId, PortRange};

use super::node_set::NodeSet;
use super::selector::{leads_out, overlaps, receives_any_of};
use super::span::{Span, spell};
use super::visibility::Visibility;
use super::{Subject, covers, is_exit_route};

/// A policy applied to a set of nodes.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    pub(super) positions: BTreeMap<NodeId, usize>,
    pub(super) subjects: Vec<Subject>,
    /// Sorted by sources and protocols; no two have the same of both.
    pub(super) clauses: Vec<Clause>,
    pub(super) visibility: Visibility,
}

/// Packets from some addresses to some destinations; `compile` makes them.
#[derive(Debug, Clone)]
pub(super) struct Clause {
    pub(super) sources: Arc<Sources>,
    pub(super) protocols: Vec<u8>,
    pub(super) targets: Vec<(Target, Vec<PortRange>)>,
}

/// Addresses, and how a filter spells them; many clauses may have the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sources {
    /// In order.
    spelt: Vec<String>,
    spans: BTreeSet<Span>,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    Any,
    Prefix(IpNet),
    /// The nodes' own addresses.
    Nodes(NodeSet),
    /// What lies behind an exit; no filter speaks of it.
    Internet,
}

impl Compiled {
    /// The rules that concern `node` as a destination, sources and destinations reduced to what it needs.
    #[must_use]
    pub fn packet_filter(&self, node: NodeId) -> Vec<FilterRule> {
        let Some(&position) = self.positions.get(&node) else { return Vec::new() };
        let rules = self.clauses.iter().map(|clause| FilterRule {
            src_ips: clause.sources.spelt.clone(),
            dst_ports: clause.reduced(position, &self.subjects[position]),
            ip_proto: clause.protocols.clone(),
            cap_grant: Vec::new(),
        });
        rules.filter(|rule| !rule.dst_ports.is_empty()).collect()
    }

    /// Whether some rule allows `viewer` to reach `other` or the other way round, on any port.
    #[must_use]
    pub fn sees(&self, viewer: NodeId, other: NodeId) -> bool {
        let (Some(&a), Some(&b)) = (self.positions.get(&viewer), self.positions.get(&other)) else {
            return false;
        };
        self.visibility.joins(a, b)
    }

    /// All nodes that `sees` is true of towards `node`, in no order.
    pub fn seen_by(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let positions = self.positions.get(&node).map(|position| self.visibility.joined_to(*position));
        positions.into_iter().flatten().map(|position| self.subjects[position].id)
    }

    /// Whether `viewer` is shown `route`, an approved route of a node that it sees: some rule lets packets go between
    /// the two, in one direction or the other. No third node matters, so that a change of one is no news of another.
    #[must_use]
    pub fn shows_route(&self, viewer: NodeId, route: &IpNet) -> bool {
        let Some(&position) = self.positions.get(&viewer) else { return false };
        let subject = &self.subjects[position];
        self.clauses.iter().any(|clause| {
            let targets = || clause.targets.iter().map(|(target, _)| target);
            let spans = || clause.sources.spans.iter();
            let is_source = || spans().any(|span| span.holds_any_of(subject));
            let is_destination = || targets().any(|target| !target.spelt_for(position, subject).is_empty());
            let comes_from = || spans().any(|span| span.is_behind(route));
            (targets().any(|target| target.opens(route)) && is_source())
                || (!is_exit_route(route) && comes_from() && is_destination())
        })
    }

    /// Whether a packet of `protocol` from one address to `port` of another is accepted by whoever receives it.
    #[must_use]
    pub fn allows(&self, from: IpAddr, to: IpAddr, protocol: u8, port: u16) -> bool {
        self.clauses.iter().any(|clause| {
            covers(&clause.protocols, protocol)
                && clause.sources.spans.iter().any(|span| span.contains(from))
                && clause.targets.iter().any(|(target, ports)| {
                    ports.iter().any(|range| range.contains(port)) && target.holds(to, &self.subjects)
                })
        })
    }
}

impl Sources {
    pub(super) fn new(spans: BTreeSet<Span>) -> Self {
        let mut spelt: Vec<String> = spans.iter().map(Span::to_string).collect();
        spelt.sort();
        Self { spelt, spans }
    }
}

impl Clause {
    /// The destinations that the node at `position` receives packets for.
    fn reduced(&self, position: usize, subject: &Subject) -> Vec<NetPortRange> {
        let mut found = BTreeSet::new();
        for (target, ports) in &self.targets {
            for address in target.spelt_for(position, subject) {
                found.extend(ports.iter().map(|range| (address.clone(), *range)));
            }
        }
        found.into_iter().map(|(ip, ports)| NetPortRange { ip, ports }).collect()
    }
}

impl Target {
    fn spelt_for(&self, position: usize, subject: &Subject) -> Vec<String> {
        match self {
            Self::Any => vec!["*".to_owned()],
            Self::Prefix(prefix) if receives_any_of(subject, prefix) => vec![spell(prefix)],
            Self::Nodes(nodes) if nodes.contains(position) => {
                vec![subject.ipv4.to_string(), subject.ipv6.to_string()]
            }
            Self::Prefix(_) | Self::Nodes(_) | Self::Internet => Vec::new(),
        }
    }

    /// Whether packets for some address behind `route` are meant.
    fn opens(&self, route: &IpNet) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) if is_exit_route(route) => overlaps(prefix, route) && leads_out(prefix),
            Self::Prefix(prefix) => overlaps(prefix, route),
            Self::Nodes(_) => false,
            Self::Internet => is_exit_route(route),
        }
    }

    fn holds(&self, address: IpAddr, subjects: &[Subject]) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => prefix.contains(&address),
            Self::Internet => false,
            Self::Nodes(nodes) => nodes.iter().any(|position| {
                let subject = &subjects[position];
                address == subject.ipv4 || address == subject.ipv6
            }),
        }
    }
}
