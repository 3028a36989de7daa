//! What is reached from outside and whether the policy lets it be: the gateway is the one that dials.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::exposure::{Layer, Placed, Route, Server};
use crate::config::load::POLICY_FILES;
use crate::coordinator::core::address_pool;
use crate::coordinator::core::policy::{Policy, Verdict, is_in_tailnet};
use crate::edge::core::route::{Transport, Upstream};

use super::listeners::{protocol, spell};
use super::{Assembled, Problem};

/// The gateway's own node, from which the edge dials.
pub const GATEWAY: IpAddr = IpAddr::V4(address_pool::GATEWAY);

/// One way in and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Access {
    /// `https://app.example.com` or `tcp/2222`.
    pub from: String,
    /// By the policy's name when it has one: `machine-a:8080`.
    pub to: String,
    pub address: String,
    pub protocol: &'static str,
    pub reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    Allowed,
    Forbidden,
    /// On people, groups or tags of nodes that are not there yet.
    Depends,
    /// Not in the tailnet: dialled directly, no policy has a say.
    Direct,
}

pub fn derive(assembled: &Assembled) -> Vec<Access> {
    let policy = &assembled.model.policy;
    let mut rows = Vec::new();
    for server in &assembled.servers {
        for route in &server.routes {
            for upstream in &route.upstreams {
                rows.extend(ways_in(server, route).into_iter().map(|from| Access {
                    from,
                    to: name(&upstream.value, policy),
                    address: format!("{}:{}", bracketed(&upstream.value.host), upstream.value.port),
                    protocol: protocol(upstream.value.transport),
                    reach: reach(&upstream.value, policy),
                }));
            }
        }
    }
    rows
}

/// Where a server's routes lead, by name.
pub fn targets(server: &Server, assembled: &Assembled) -> Vec<String> {
    let upstreams = server.routes.iter().flat_map(|route| &route.upstreams);
    upstreams.map(|upstream| name(&upstream.value, &assembled.model.policy)).collect()
}

pub fn problems(assembled: &Assembled) -> Vec<Problem> {
    let mut problems = Vec::new();
    let routes = assembled.servers.iter().flat_map(|server| &server.routes);
    for upstream in routes.flat_map(|route| &route.upstreams) {
        problems.extend(forbidden(upstream, assembled));
        problems.extend(unreserved(upstream, assembled));
    }
    problems
}

fn ways_in(server: &Server, route: &Route) -> Vec<String> {
    match server.layer {
        Layer::Http if route.hosts.is_empty() => vec!["https://*".to_owned()],
        Layer::Http => route.hosts.iter().map(|host| format!("https://{}", host.value)).collect(),
        Layer::Layer4 => server.listen.iter().map(|listen| spell(listen.value)).collect(),
    }
}

fn forbidden(upstream: &Placed<Upstream>, assembled: &Assembled) -> Option<Problem> {
    let policy = &assembled.model.policy;
    let file = assembled.policy_file.as_deref().unwrap_or(POLICY_FILES[0]);
    let target = name(&upstream.value, policy);
    let line = rule(policy, std::slice::from_ref(&target));
    let problem = match reach(&upstream.value, policy) {
        Reach::Allowed | Reach::Direct => return None,
        Reach::Forbidden => Problem::error(
            "upstream-forbidden",
            format!("the policy does not let the gateway reach {target}"),
        )
        .because(format!("What comes in here would be dropped: no rule of {file} accepts it.")),
        Reach::Depends => Problem::warning(
            "upstream-depends",
            format!("whether the gateway may reach {target} cannot be told yet"),
        )
        .because(format!("The rules of {file} that could accept it speak of people, groups or tags.")),
    };
    Some(problem.cure(format!("Add to \"acls\" of {file}: {line}")).at(upstream.place.clone()))
}

fn gateway_ipv6() -> IpAddr {
    IpAddr::V6(address_pool::ipv6_of(address_pool::GATEWAY))
}

fn unreserved(upstream: &Placed<Upstream>, assembled: &Assembled) -> Option<Problem> {
    let address = tailnet_address(&upstream.value)?;
    let policy = &assembled.model.policy;
    if address == GATEWAY || address == gateway_ipv6() || policy.reserved_name(address).is_some() {
        return None;
    }
    let file = assembled.policy_file.as_deref().unwrap_or(POLICY_FILES[0]);
    let problem = Problem::warning("upstream-unreserved", format!("{address} is reserved for no machine"))
        .because("Another machine than the one meant could get this address.")
        .cure(format!("Add to \"hosts\" of {file}: \"machine\": \"{address}\""));
    Some(problem.at(upstream.place.clone()))
}

pub fn reach(upstream: &Upstream, policy: &Policy) -> Reach {
    let Some(address) = tailnet_address(upstream) else { return Reach::Direct };
    let from = if address.is_ipv4() { GATEWAY } else { gateway_ipv6() };
    if address == from {
        return Reach::Direct;
    }
    match policy.verdict(from, address, protocol_number(upstream.transport), upstream.port) {
        Verdict::Allowed => Reach::Allowed,
        Verdict::Depends => Reach::Depends,
        Verdict::Forbidden => Reach::Forbidden,
    }
}

pub fn tailnet_address(upstream: &Upstream) -> Option<IpAddr> {
    upstream.host.parse().ok().filter(|address| is_in_tailnet(*address))
}

fn protocol_number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

pub fn name(upstream: &Upstream, policy: &Policy) -> String {
    let reserved = upstream.host.parse().ok().and_then(|address| policy.reserved_name(address));
    format!("{}:{}", reserved.map_or_else(|| bracketed(&upstream.host), str::to_owned), upstream.port)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn gateway_name(policy: &Policy) -> String {
    policy.reserved_name(GATEWAY).map_or_else(|| GATEWAY.to_string(), str::to_owned)
}

pub fn rule(policy: &Policy, targets: &[String]) -> Value {
    json!({ "action": "accept", "src": [gateway_name(policy)], "dst": targets })
}
