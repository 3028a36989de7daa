//! The policy that allows the routes and nothing else, compared with the one that is given.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};

use crate::coordinator::core::policy::{Policy, Rule, Selector};
use crate::edge::core::route::Upstream;
use crate::wire::control::PortRange;

use super::Assembled;
use super::access::{GATEWAY, Reach, name, reach, rule, tailnet_address};

/// The policy that allows the routes and nothing else, compared with the one that is given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeastPrivilege {
    /// As `acl.json` would hold it.
    pub policy: Value,
    /// Needed by a route and not allowed.
    pub missing: Vec<String>,
    /// Allowed to the gateway and needed by no route.
    pub surplus: Vec<String>,
}

pub fn derive(assembled: &Assembled) -> LeastPrivilege {
    let policy = &assembled.model.policy;
    let mut needed: BTreeMap<String, &Upstream> = BTreeMap::new();
    let mut order = Vec::new();
    for upstream in
        assembled.servers.iter().flat_map(|server| &server.routes).flat_map(|route| &route.upstreams)
    {
        if tailnet_address(&upstream.value).is_some() {
            let name = name(&upstream.value, policy);
            if needed.insert(name.clone(), &upstream.value).is_none() {
                order.push(name);
            }
        }
    }
    let is_missing = |name: &&String| {
        needed.get(*name).is_some_and(|upstream| reach(upstream, policy) == Reach::Forbidden)
    };
    LeastPrivilege {
        missing: order.iter().filter(is_missing).cloned().collect(),
        surplus: surplus(policy, &needed.values().copied().collect::<Vec<_>>()),
        policy: json!({ "hosts": hosts(policy), "acls": if order.is_empty() { vec![] } else { vec![rule(policy, &order)] } }),
    }
}

fn hosts(policy: &Policy) -> BTreeMap<&str, String> {
    let is_single = |prefix: &IpNet| prefix.prefix_len() == prefix.max_prefix_len();
    let spell =
        |prefix: &IpNet| if is_single(prefix) { prefix.addr().to_string() } else { prefix.to_string() };
    policy.hosts.iter().map(|(name, prefix)| (name.as_str(), spell(prefix))).collect()
}

/// What rules that name the gateway's address, or everybody, open beyond `needed`.
fn surplus(policy: &Policy, needed: &[&Upstream]) -> Vec<String> {
    let names_gateway = |rule: &&Rule| {
        rule.sources.iter().any(|source| match source {
            Selector::Any => true,
            Selector::Prefix(prefix) => prefix.contains(&GATEWAY),
            _ => false,
        })
    };
    let rules = policy.effective_rules();
    let destinations = rules.iter().filter(names_gateway).flat_map(|rule| &rule.destinations);
    let mut found = BTreeSet::new();
    for destination in destinations {
        for range in &destination.ports {
            let single = match &destination.selector {
                Selector::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                    Some(prefix.addr())
                }
                _ => None,
            };
            let is_needed = needed.iter().any(|upstream| {
                let is_port = range.first == range.last && range.first == upstream.port;
                is_port && single.is_some() && tailnet_address(upstream) == single
            });
            if !is_needed {
                found.insert(format!(
                    "{}:{}",
                    spell_selector(&destination.selector, policy),
                    spell_range(*range)
                ));
            }
        }
    }
    found.into_iter().collect()
}

pub fn spell_range(range: PortRange) -> String {
    match (range.first, range.last) {
        (0, u16::MAX) => "*".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

pub fn spell_selector(selector: &Selector, policy: &Policy) -> String {
    match selector {
        Selector::Any => "*".to_owned(),
        Selector::Prefix(prefix) => {
            let named = policy.hosts.iter().find(|(_, held)| *held == prefix);
            named.map_or_else(|| prefix.to_string(), |(name, _)| name.clone())
        }
        Selector::User(name) | Selector::Group(name) | Selector::Tag(name) => name.clone(),
        Selector::Autogroup(group) => group.as_str().to_owned(),
    }
}
