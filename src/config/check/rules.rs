//! The policy's own rules, one row per destination: who may reach what.

use serde::Serialize;

use crate::config::policy::protocol_name;
use crate::coordinator::core::policy::{Destination, Policy, Rule};

use super::Assembled;
use super::least_privilege::{spell_range, spell_selector};

/// Packets from `source` to `destination` are accepted; names are the policy's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// Several are separated by commas; `*` is every node.
    pub source: String,
    pub destination: String,
    /// `22`, `80,443`, `8000-8010`, or `*` for all.
    pub ports: String,
    /// `any` is TCP, UDP and ICMP.
    pub protocol: String,
}

pub fn derive(assembled: &Assembled) -> Vec<Permission> {
    let policy = &assembled.model.policy;
    let rules = policy.effective_rules();
    rules.iter().flat_map(|rule| rule.destinations.iter().map(|to| permission(rule, to, policy))).collect()
}

fn permission(rule: &Rule, to: &Destination, policy: &Policy) -> Permission {
    let joined = |texts: Vec<String>| texts.join(",");
    Permission {
        source: joined(rule.sources.iter().map(|source| spell_selector(source, policy)).collect()),
        destination: spell_selector(&to.selector, policy),
        ports: joined(to.ports.iter().map(|range| spell_range(*range)).collect()),
        protocol: match rule.protocols.as_slice() {
            [] => "any".to_owned(),
            numbers => joined(numbers.iter().map(|number| protocol_name(*number)).collect()),
        },
    }
}
