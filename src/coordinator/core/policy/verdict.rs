//! What the policy says of two addresses before it is known which nodes have them.

use std::net::IpAddr;

use super::{Autogroup, Destination, Policy, Selector, is_in_tailnet};

/// Whether an address may reach another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Forbidden,
    /// By a rule on people, groups or tags: as they will be when the nodes are there.
    Depends,
    Allowed,
}

impl Policy {
    /// Whether packets of `protocol` from one address of the tailnet may go to `port` of another, as far as addresses tell.
    #[must_use]
    pub fn verdict(&self, from: IpAddr, to: IpAddr, protocol: u8, port: u16) -> Verdict {
        let rules = self.effective_rules();
        let covering = rules.iter().filter(|rule| rule.covers(protocol));
        let verdicts = covering.map(|rule| {
            let source = rule.sources.iter().map(|selector| matches(selector, from)).max();
            let open = rule.destinations.iter().filter(|destination| is_open(destination, port));
            let destination = open.map(|destination| match &destination.selector {
                Selector::Any => Verdict::Allowed,
                selector => matches(selector, to),
            });
            source.min(destination.max()).unwrap_or(Verdict::Forbidden)
        });
        verdicts.max().unwrap_or(Verdict::Forbidden)
    }
}

fn is_open(destination: &Destination, port: u16) -> bool {
    destination.ports.iter().any(|range| range.contains(port))
}

fn matches(selector: &Selector, address: IpAddr) -> Verdict {
    match selector {
        Selector::Any if is_in_tailnet(address) => Verdict::Allowed,
        Selector::Prefix(prefix) if prefix.contains(&address) => Verdict::Allowed,
        Selector::Any | Selector::Prefix(_) | Selector::Autogroup(Autogroup::Internet) => Verdict::Forbidden,
        Selector::User(_) | Selector::Group(_) | Selector::Tag(_) | Selector::Autogroup(_) => {
            Verdict::Depends
        }
    }
}
