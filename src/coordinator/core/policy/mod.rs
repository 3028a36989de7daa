//! The access policy: from rules a person wrote to packet filters that nodes enforce.
//!
//! `config::policy` parses text into a [`Policy`]; [`compile()`] resolves its selectors against the nodes of the moment and
//! gives a [`Compiled`], which answers what each node must let in and whom it may see. [`Policy::verdict`] answers for
//! addresses before any node exists. All of it is pure: the same arguments give the same answers.

mod compile;
mod compiled;
mod node_set;
mod selector;
mod span;
mod verdict;
mod visibility;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::wire::control::{NodeId, PortRange};

pub use compile::compile;
pub use compiled::Compiled;
pub use selector::{Autogroup, Selector};
pub use span::{is_in_tailnet, tailnet_ranges};
pub use verdict::Verdict;

/// A policy whose names have all been resolved or refused by the parser (`config::policy`).
///
/// The default has no rules of its own and therefore allows everything, as the hosted control plane does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Names for addresses and prefixes. A `/32` inside the tailnet's pool reserves that address for the node of that name.
    pub hosts: BTreeMap<String, IpNet>,
    /// `group:NAME` to the login names in it.
    pub groups: BTreeMap<String, Vec<String>>,
    /// `tag:NAME` to who may give it to a node.
    pub tag_owners: BTreeMap<String, Vec<Selector>>,
    /// `None`: no rules were written and everything is allowed. An empty list allows nothing.
    pub rules: Option<Vec<Rule>>,
}

/// Packets of these protocols from any of `sources` to any of `destinations` are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// IP protocol numbers; empty is TCP, UDP and both ICMPs.
    pub protocols: Vec<u8>,
    pub sources: Vec<Selector>,
    pub destinations: Vec<Destination>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    pub selector: Selector,
    pub ports: Vec<PortRange>,
}

/// What the compiler needs to know of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub id: NodeId,
    /// Login name of the owner; `None` for a tagged node.
    pub user: Option<String>,
    pub tags: Vec<String>,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
    /// Approved subnet routes.
    pub routes: Vec<IpNet>,
}

impl Policy {
    /// The rules in force: those written, or the one that allows everything.
    #[must_use]
    pub fn effective_rules(&self) -> Vec<Rule> {
        self.rules.clone().unwrap_or_else(|| vec![Rule::allow_all()])
    }

    /// The name that reserves `address`, when one does.
    #[must_use]
    pub fn reserved_name(&self, address: std::net::IpAddr) -> Option<&str> {
        let single = IpNet::from(address);
        self.hosts.iter().find(|(_, prefix)| **prefix == single).map(|(name, _)| name.as_str())
    }

    /// Whether `giver` may put `tag` on a node of theirs.
    #[must_use]
    pub fn lets_tag(&self, giver: &Subject, tag: &str) -> bool {
        self.tag_owners.get(tag).is_some_and(|owners| owners.iter().any(|owner| owner.names(giver, self)))
    }
}

impl Rule {
    #[must_use]
    pub fn allow_all() -> Self {
        let everywhere = Destination { selector: Selector::Any, ports: vec![PortRange::ALL] };
        Self { protocols: Vec::new(), sources: vec![Selector::Any], destinations: vec![everywhere] }
    }

    /// Whether packets of `protocol` are the rule's business.
    #[must_use]
    pub fn covers(&self, protocol: u8) -> bool {
        covers(&self.protocols, protocol)
    }
}

/// ICMP, TCP, UDP and ICMP for IPv6: what a rule without protocols is about.
const DEFAULT_PROTOCOLS: [u8; 4] = [1, 6, 17, 58];

/// Whether a rule's list of protocols, empty for the default ones, holds `protocol`.
fn covers(listed: &[u8], protocol: u8) -> bool {
    let protocols = if listed.is_empty() { &DEFAULT_PROTOCOLS[..] } else { listed };
    protocols.contains(&protocol)
}

/// An approved route of length 0 makes its node an exit: a way to the internet, not a part of the tailnet.
fn is_exit_route(route: &IpNet) -> bool {
    route.prefix_len() == 0
}

#[cfg(test)]
mod tests;
