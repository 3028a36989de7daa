//! The whole map for one viewer, and the pieces that deltas are made of.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde_json::Value;

use crate::base::wall_time::{UnixTime, WallTime};
use crate::wire::control::{
    DebugFlags, DnsConfig, FilterRule, Hostinfo, MapResponse, Node, NodeId, Service, UserId, UserProfile,
};

use super::node_name;
use super::node_record::NodeRecord;
use super::relay_map::{self, Origin};
use super::route_election::{Primaries, is_exit};
use super::snapshot::{NodeEntry, Snapshot};

/// The one name under which filter rules are sent.
const FILTER_NAME: &str = "base";

/// Address part of the old spelling of a home region.
const LEGACY_DERP: &str = "127.3.3.40";

/// Capabilities every node is given on itself, as Headscale does.
const SELF_CAPABILITIES: [&str; 3] = [
    "https://tailscale.com/cap/file-sharing",
    "https://tailscale.com/cap/is-admin",
    "https://tailscale.com/cap/ssh",
];

/// Sent as the end of a key that ended without a known clock: the moment clients themselves use to log out.
const LONG_PAST: UnixTime = UnixTime(123);

/// Everything `viewer` may know; `None` when there is no such node.
#[must_use]
pub fn full(
    snapshot: &Snapshot,
    viewer: NodeId,
    origin: Option<Origin>,
    wall: WallTime,
) -> Option<MapResponse> {
    let record = snapshot.node(viewer)?;
    let peers: Vec<Node> = peers_of(snapshot, viewer).map(Cow::into_owned).collect();
    let owners: BTreeSet<UserId> = peers.iter().map(|peer| peer.user).chain([record.owner()]).collect();
    Some(MapResponse {
        node: Some(Box::new(self_node(snapshot, record))),
        derp_map: Some(relay_map::derp_map(&snapshot.relay, origin)),
        domain: snapshot.settings.base_domain.clone(),
        collect_services: Some(false),
        debug: Some(DebugFlags { disable_log_tail: true }),
        dns_config: Some(dns_config(&snapshot.settings.base_domain)),
        user_profiles: profiles(snapshot, owners),
        packet_filters: Some(packet_filters(snapshot, viewer)),
        peers,
        control_time: wall.known(),
        ..MapResponse::default()
    })
}

/// The peers `viewer` may see, in the order of their numbers.
pub fn peers_of(snapshot: &Snapshot, viewer: NodeId) -> impl Iterator<Item = Cow<'_, Node>> {
    let others = snapshot.entries().filter(move |entry| snapshot.shows(viewer, entry.record.id));
    others.map(move |entry| seen_by(snapshot, viewer, entry))
}

/// A peer as `viewer` sees it: of its routes only those that the policy connects the viewer with.
#[must_use]
pub fn seen_by<'a>(snapshot: &Snapshot, viewer: NodeId, peer: &'a NodeEntry) -> Cow<'a, Node> {
    let view = &peer.peer_view;
    let is_shown =
        |prefix: &IpNet| view.addresses.contains(prefix) || snapshot.compiled.shows_route(viewer, prefix);
    if view.allowed_ips.iter().all(is_shown) {
        return Cow::Borrowed(view);
    }
    let shown = |prefixes: &[IpNet]| prefixes.iter().filter(|prefix| is_shown(prefix)).copied().collect();
    Cow::Owned(Node {
        allowed_ips: shown(&view.allowed_ips),
        primary_routes: shown(&view.primary_routes),
        ..view.clone()
    })
}

/// A node as a peer sees it that may see all of its routes: `primaries` says which of them it serves.
#[must_use]
pub fn peer_view(record: &NodeRecord, base_domain: &str, primaries: &Primaries) -> Node {
    let routes = record.routes();
    let primary: Vec<IpNet> =
        routes.iter().filter(|route| primaries.get(*route) == Some(&record.id)).copied().collect();
    let exits = routes.iter().filter(|route| is_exit(route));
    Node {
        id: record.id,
        stable_id: record.id.to_string(),
        name: node_name::qualify(&record.name, base_domain),
        user: record.owner(),
        key: record.node_key,
        key_expiry: if record.expired { record.expiry.or(Some(LONG_PAST)) } else { record.expiry },
        disco_key: record.disco,
        addresses: record.addresses(),
        allowed_ips: record.addresses().into_iter().chain(primary.iter().chain(exits).copied()).collect(),
        endpoints: record.endpoints.clone(),
        legacy_derp: legacy_derp(record.home_derp),
        home_derp: record.home_derp,
        hostinfo: shown_hostinfo(&record.hostinfo),
        created: record.created,
        cap: record.capability,
        tags: record.tags.clone(),
        primary_routes: primary,
        last_seen: record.last_seen.filter(|_| !record.online),
        online: Some(record.online),
        machine_authorized: true,
        expired: record.expired,
        ..Node::default()
    }
}

/// A node as it sees itself.
#[must_use]
pub fn self_node(snapshot: &Snapshot, record: &NodeRecord) -> Node {
    let view = snapshot.entry(record.id).map(|entry| entry.peer_view.clone()).unwrap_or_default();
    let mut allowed_ips = record.addresses();
    allowed_ips.extend(record.routes());
    let none = |name: &str| (name.to_owned(), Vec::new());
    let mut cap_map: BTreeMap<String, Vec<Value>> = SELF_CAPABILITIES.into_iter().map(none).collect();
    cap_map.insert("default-auto-update".into(), vec![Value::Bool(false)]);
    Node { machine: record.machine, allowed_ips, cap_map, ..view }
}

/// What `viewer` must let in. An empty list lets in nothing; leaving it out would keep what was there.
#[must_use]
pub fn packet_filters(snapshot: &Snapshot, viewer: NodeId) -> BTreeMap<String, Vec<FilterRule>> {
    let is_expired = snapshot.node(viewer).is_none_or(|viewer| viewer.expired);
    let rules = if is_expired { Vec::new() } else { snapshot.compiled.packet_filter(viewer) };
    [(FILTER_NAME.to_owned(), rules)].into()
}

/// Profiles of `users`, in the order of their numbers.
#[must_use]
pub fn profiles(snapshot: &Snapshot, users: BTreeSet<UserId>) -> Vec<UserProfile> {
    users.into_iter().filter_map(|user| snapshot.user(user)).map(|user| user.profile()).collect()
}

/// MagicDNS for the tailnet's own domain and nothing else: all other names stay with the machine's own resolver.
fn dns_config(base_domain: &str) -> DnsConfig {
    DnsConfig {
        routes: [(base_domain.to_owned(), Vec::new())].into(),
        domains: vec![base_domain.to_owned()],
        proxied: true,
        ..DnsConfig::default()
    }
}

fn legacy_derp(region: i32) -> String {
    if region > 0 { format!("{LEGACY_DERP}:{region}") } else { String::new() }
}

/// The part of a machine's description that concerns its peers, in text that needs no unescaping.
fn shown_hostinfo(own: &Hostinfo) -> Hostinfo {
    let service = |service: &Service| Service {
        proto: plain(&service.proto),
        port: service.port,
        description: plain(&service.description),
    };
    Hostinfo {
        hostname: plain(&own.hostname),
        os: plain(&own.os),
        ipn_version: plain(&own.ipn_version),
        routable_ips: own.routable_ips.clone(),
        services: own.services.iter().map(service).collect(),
        ssh_host_keys: own.ssh_host_keys.iter().map(|key| plain(key)).collect(),
        ..Hostinfo::default()
    }
}

/// Drops what a JSON string must escape: one strict client cannot read escapes.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::coordinator::core::change::Mutation;
    use crate::coordinator::core::map_delta::{Delta, Scope};
    use crate::coordinator::core::policy::{Destination, Policy, Rule, Selector};
    use crate::coordinator::core::tailnet::{GATEWAY_NODE, Tailnet};
    use crate::coordinator::core::test_support::{client, settings};
    use crate::wire::control::PortRange;

    const ROUTER: NodeId = NodeId(2);
    const OTHER: NodeId = NodeId(3);

    fn net(text: &str) -> IpNet {
        text.parse().expect("a test prefix")
    }

    fn rule(source: &str, destination: &str) -> Rule {
        let to = Destination { selector: Selector::Prefix(net(destination)), ports: vec![PortRange::ALL] };
        Rule { protocols: Vec::new(), sources: vec![Selector::Prefix(net(source))], destinations: vec![to] }
    }

    /// All nodes see each other; only the gateway may go behind the router.
    fn house() -> Tailnet {
        let rules = vec![rule("100.64.0.0/10", "100.64.0.0/10"), rule("100.64.0.1/32", "192.168.50.0/24")];
        let mut tailnet = Tailnet::new(settings(), Policy { rules: Some(rules), ..Policy::default() });
        for (id, routes) in [(ROUTER, vec![net("192.168.50.0/24")]), (OTHER, Vec::new())] {
            let number = u8::try_from(id.0).expect("small");
            let record = NodeRecord {
                id,
                machine: client(number).machine,
                node_key: client(number).node,
                name: format!("machine-{number}"),
                ipv4: Ipv4Addr::new(100, 64, 0, number),
                hostinfo: Arc::new(Hostinfo { routable_ips: routes.clone(), ..Hostinfo::default() }),
                approved_routes: routes,
                ..tailnet.view().node(GATEWAY_NODE).expect("always there").clone()
            };
            tailnet.apply(&Mutation::Node(Box::new(record)));
        }
        tailnet.settle();
        tailnet
    }

    fn routes(peers: &[Node]) -> Vec<IpNet> {
        let router = peers.iter().find(|peer| peer.id == ROUTER).expect("it is shown");
        assert_eq!(router.allowed_ips[..2], router.addresses);
        assert_eq!(router.allowed_ips[2..], router.primary_routes);
        router.primary_routes.clone()
    }

    #[test]
    fn a_route_is_shown_to_those_whom_the_policy_connects_with_it() {
        let mut tailnet = house();
        let peers_of = |tailnet: &Tailnet, viewer| {
            full(tailnet.view(), viewer, None, WallTime::Unknown).expect("a known node").peers
        };
        assert_eq!(routes(&peers_of(&tailnet, GATEWAY_NODE)), [net("192.168.50.0/24")]);
        assert_eq!(routes(&peers_of(&tailnet, OTHER)), []);

        let before = tailnet.view().clone();
        tailnet.apply(&Mutation::Policy(Arc::new(Policy::default())));
        tailnet.settle();
        let delta = |viewer| Delta { viewer, origin: None, before: &before, after: tailnet.view() };
        let told = delta(OTHER).message(&Scope::Everything, &mut BTreeSet::new()).expect("news");
        assert_eq!(routes(&told.peers_changed), [net("192.168.50.0/24")]);
        let told = delta(GATEWAY_NODE).message(&Scope::Everything, &mut BTreeSet::new());
        assert!(told.is_none_or(|told| told.peers_changed.is_empty()), "it knew the route");
    }
}
