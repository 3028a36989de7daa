//! Answers as we write them, read by their client: borrowed strings, no nulls, exact pairs of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use genkan::base::wall_time::UnixTime;
use genkan::wire::control::{
    CapGrant, DebugFlags, DerpMap, DerpNode, DerpRegion, DnsConfig, DnsResolver, FilterRule, Hostinfo, Login,
    MapResponse, NetPortRange, Node, NodeId, PeerChange, PortRange, RegisterResponse, Service, User, UserId,
    UserProfile,
};
use genkan::wire::key::{DiscoPublic, MachinePublic, NodePublic};
use ipnet::IpNet;
use serde_json::{json, to_string, to_value};
use ts_control_serde as theirs;
use ts_keys::{DiscoPublicKey, MachinePublicKey, NodePublicKey};

const TIME: UnixTime = UnixTime(1_900_000_000);
const TIME_TEXT: &str = "2030-03-17T17:46:40Z";

fn full_node() -> Node {
    Node {
        id: NodeId(7),
        stable_id: "7".into(),
        name: "machine-a.tail.example.".into(),
        user: UserId(3),
        key: NodePublic::from_bytes([1; 32]),
        key_expiry: Some(TIME),
        machine: MachinePublic::from_bytes([2; 32]),
        disco_key: DiscoPublic::from_bytes([3; 32]),
        addresses: parse(&["100.64.0.2/32", "fd7a:115c:a1e0::2/128"]),
        allowed_ips: parse(&["100.64.0.2/32", "fd7a:115c:a1e0::2/128", "192.168.7.0/24"]),
        endpoints: parse(&["192.0.2.7:41641", "[2001:db8::7]:41641"]),
        legacy_derp: "127.3.3.40:999".into(),
        home_derp: 999,
        hostinfo: Hostinfo {
            hostname: "machine-a".into(),
            os: "linux".into(),
            services: vec![Service { proto: "peerapi4".into(), port: 4000, description: String::new() }],
            ..Hostinfo::default()
        },
        created: Some(TIME),
        cap: 130,
        tags: vec!["tag:server".into()],
        primary_routes: parse(&["192.168.7.0/24"]),
        last_seen: Some(TIME),
        online: Some(false),
        machine_authorized: true,
        cap_map: BTreeMap::from([
            ("https://tailscale.com/cap/ssh".into(), vec![]),
            ("limit".into(), vec![json!(5)]),
        ]),
        expired: true,
    }
}

/// A node of which nothing is known but what every node has.
fn bare_node() -> Node {
    Node {
        id: NodeId(8),
        stable_id: "8".into(),
        name: "b.tail.example.".into(),
        key: NodePublic::from_bytes([4; 32]),
        addresses: parse(&["100.64.0.3/32", "fd7a:115c:a1e0::3/128"]),
        ..Node::default()
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().expect("well formed")).collect()
}

fn check_full_node(node: &theirs::Node<'_>) {
    assert_eq!((node.id, node.stable_id.0, node.name, node.user), (7, "7", "machine-a.tail.example.", 3));
    assert_eq!(node.key, NodePublicKey::from_bytes([1; 32]));
    assert_eq!(node.machine, Some(MachinePublicKey::from_bytes([2; 32])));
    assert_eq!(node.disco_key, Some(DiscoPublicKey::from_bytes([3; 32])));
    assert_eq!(node.addresses.0.to_string(), "100.64.0.2/32");
    assert_eq!(node.addresses.1.to_string(), "fd7a:115c:a1e0::2/128");
    assert_eq!(node.allowed_ips.as_ref().map(Vec::len), Some(3));
    assert_eq!(node.endpoints, parse(&["192.0.2.7:41641", "[2001:db8::7]:41641"]));
    assert_eq!(node.home_derp.map(u32::from), Some(999));
    let times = [node.key_expiry, Some(node.created), node.last_seen];
    assert_eq!(times, [Some(TIME_TEXT.parse().expect("a time")); 3]);
    assert_eq!(u16::from(node.cap), 130);
    assert_eq!(node.tags.as_deref(), Some(&["tag:server"][..]));
    assert_eq!(node.primary_routes, parse(&["192.168.7.0/24"]));
    assert_eq!(node.online, Some(false));
    assert!(node.machine_authorized && node.expired);
    assert_eq!(node.cap_map.keys().copied().collect::<Vec<_>>(), ["https://tailscale.com/cap/ssh", "limit"]);
}

#[test]
fn nodes_mean_the_same() {
    let map = MapResponse {
        node: Some(Box::new(full_node())),
        peers: vec![full_node(), bare_node()],
        peers_changed: vec![bare_node()],
        peers_removed: vec![NodeId(9)],
        ..MapResponse::default()
    };
    let json = to_string(&map).expect("our encoding");
    let read: theirs::MapResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    check_full_node(read.node.as_ref().expect("was sent"));
    let peers = read.peers.expect("were sent");
    check_full_node(&peers[0]);
    assert_eq!((peers[1].id, peers[1].online, peers[1].expired), (8, None, false));
    assert_eq!((peers[1].key_expiry, peers[1].disco_key.is_none()), (None, true));
    assert_eq!(read.peers_changed.map(|nodes| nodes.len()), Some(1));
    assert_eq!(read.peers_removed, Some(vec![9]));
}

#[test]
fn patches_mean_the_same() {
    let full = PeerChange {
        node_id: NodeId(7),
        derp_region: Some(999),
        cap: Some(130),
        endpoints: Some(parse(&["192.0.2.7:41641"])),
        key: Some(NodePublic::from_bytes([1; 32])),
        disco_key: Some(DiscoPublic::from_bytes([3; 32])),
        online: Some(true),
        last_seen: Some(TIME),
        key_expiry: Some(TIME),
    };
    let bare = PeerChange { node_id: NodeId(8), online: Some(false), ..PeerChange::default() };
    let map = MapResponse { peers_changed_patch: vec![full, bare], ..MapResponse::default() };
    let json = to_string(&map).expect("our encoding");
    let read: theirs::MapResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    let patches = read.peers_changed_patch.expect("were sent");
    assert_eq!((patches[0].node_id, patches[0].derp_region.map(u32::from)), (7, Some(999)));
    assert_eq!(patches[0].cap.map(u16::from), Some(130));
    assert_eq!(patches[0].endpoints, Some(parse(&["192.0.2.7:41641"])));
    assert_eq!(patches[0].key, Some(NodePublicKey::from_bytes([1; 32])));
    assert_eq!(patches[0].disco_key, Some(DiscoPublicKey::from_bytes([3; 32])));
    let time = Some(TIME_TEXT.parse().expect("a time"));
    assert_eq!((patches[0].last_seen, patches[0].key_expiry), (time, time));
    assert_eq!((patches[1].node_id, patches[1].online), (8, Some(false)));
    assert!(patches[1].derp_region.is_none() && patches[1].endpoints.is_none() && patches[1].key.is_none());
}

#[test]
fn the_relay_map_means_the_same() {
    let by_name = DerpNode {
        name: "999a".into(),
        region_id: 999,
        host_name: "door.example".into(),
        ..DerpNode::default()
    };
    let by_address = DerpNode {
        cert_name: "sha256-raw:00".into(),
        ipv4: "192.168.1.2".into(),
        ipv6: "none".into(),
        stun_port: 3479,
        derp_port: 8443,
        can_port80: true,
        ..by_name.clone()
    };
    let region = DerpRegion {
        region_id: 999,
        region_code: "genkan".into(),
        region_name: "genkan".into(),
        nodes: vec![by_name, by_address],
    };
    let derp_map = DerpMap { regions: BTreeMap::from([(999, region)]), omit_default_regions: true };
    let json = to_string(&MapResponse { derp_map: Some(derp_map), ..MapResponse::default() });
    let json = json.expect("our encoding");
    let read: theirs::MapResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    let read = read.derp_map.expect("was sent");
    assert!(read.omit_default_regions);
    let region = read.regions.values().next().expect("one region");
    assert_eq!((u32::from(region.id), region.code, region.name), (999, "genkan", "genkan"));
    let [by_name, by_address] = &region.nodes[..] else { panic!("two nodes: {region:?}") };
    assert_eq!((by_name.hostname, by_name.cert_name, by_name.derp_port), ("door.example", None, 0));
    assert_eq!(by_name.ipv4, theirs::DerpIpUsage::UseDns);
    assert_eq!(Option::from(by_name.stun_port), Some(3478_u16));
    assert_eq!((by_address.cert_name, by_address.derp_port), (Some("sha256-raw:00"), 8443));
    assert_eq!(by_address.ipv4, theirs::DerpIpUsage::FixedAddr([192, 168, 1, 2].into()));
    assert_eq!(by_address.ipv6, theirs::DerpIpUsage::Disable);
    assert_eq!(Option::from(by_address.stun_port), Some(3479_u16));
}

/// Their filter rules encode again, so both texts can be compared whole.
#[test]
fn packet_filters_mean_the_same() {
    let network = FilterRule {
        src_ips: ["*", "100.64.0.2", "192.168.0.0/24", "10.0.0.1-10.0.0.9"].map(String::from).into(),
        dst_ports: vec![
            NetPortRange { ip: "100.64.0.1/32".into(), ports: PortRange { first: 22, last: 22 } },
            NetPortRange { ip: "*".into(), ports: PortRange::ALL },
        ],
        ip_proto: vec![6, 17],
        cap_grant: Vec::new(),
    };
    let any_protocol = FilterRule { ip_proto: Vec::new(), ..network.clone() };
    let application = FilterRule {
        src_ips: vec!["100.64.0.2".into()],
        cap_grant: vec![CapGrant {
            dsts: parse(&["100.64.0.1/32"]),
            cap_map: BTreeMap::from([("example.com/cap/x".into(), vec![json!({"a": 1})])]),
        }],
        ..FilterRule::default()
    };
    let rules = vec![network, any_protocol, application];
    let map = MapResponse {
        packet_filters: Some(BTreeMap::from([("base".into(), rules.clone())])),
        ..MapResponse::default()
    };
    let json = to_string(&map).expect("our encoding");
    let read: theirs::MapResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    let read = read.packet_filters["base"].as_ref().expect("was sent");
    let again: Vec<FilterRule> =
        serde_json::from_value(to_value(read).expect("their encoding")).expect("our decoding");
    assert_eq!(again.len(), rules.len());
    for (again, rule) in again.iter().zip(&rules) {
        assert_eq!((&again.ip_proto, &again.cap_grant), (&rule.ip_proto, &rule.cap_grant));
        assert_eq!(span_set(again.src_ips.iter()), span_set(rule.src_ips.iter()));
        let ports = |rule: &FilterRule| -> Vec<(BTreeSet<Span>, PortRange)> {
            rule.dst_ports.iter().map(|to| (span_set([&to.ip]), to.ports)).collect()
        };
        assert_eq!(ports(again), ports(rule));
    }
}

#[test]
fn spans_tell_addresses_apart() {
    let spans = |text: &str| span_set([&text.to_owned()]);
    assert_eq!(spans("192.168.0.0/24"), spans("192.168.0.0-192.168.0.255"));
    assert_eq!(spans("100.64.0.2"), spans("100.64.0.2/32"));
    assert_ne!(spans("100.64.0.2"), spans("100.64.0.3"));
    assert_ne!(spans("*"), spans("0.0.0.0/0"), "all of one family is not everybody");
}

/// First and last address.
type Span = (IpAddr, IpAddr);

/// What sources or a destination of a rule stand for, however they are written: `*`, address, prefix or range.
fn span_set<'a>(texts: impl IntoIterator<Item = &'a String>) -> BTreeSet<Span> {
    texts.into_iter().flat_map(|text| spans(text)).collect()
}

fn spans(text: &str) -> Vec<Span> {
    let address = |text: &str| text.parse::<IpAddr>().unwrap_or_else(|error| panic!("{text}: {error}"));
    let prefix = |text: &str| {
        let prefix: IpNet = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        (prefix.network(), prefix.broadcast())
    };
    match text.split_once('-') {
        _ if text == "*" => ["0.0.0.0/0", "::/0"].map(prefix).to_vec(),
        Some((first, last)) => vec![(address(first), address(last))],
        None if text.contains('/') => vec![prefix(text)],
        None => vec![(address(text), address(text))],
    }
}

#[test]
fn everything_else_of_a_map_means_the_same() {
    let map = MapResponse {
        dns_config: Some(DnsConfig {
            resolvers: vec![DnsResolver { addr: "192.0.2.53".into() }],
            routes: BTreeMap::from([
                ("tail.example".into(), vec![]),
                ("corp.example".into(), vec![DnsResolver { addr: "192.0.2.54:5353".into() }]),
            ]),
            domains: vec!["tail.example".into()],
            proxied: true,
        }),
        domain: "tail.example".into(),
        collect_services: Some(false),
        user_profiles: vec![UserProfile {
            id: UserId(3),
            login_name: "anna".into(),
            display_name: "Anna".into(),
        }],
        health: Some(vec!["a sentence".into()]),
        control_time: Some(TIME),
        debug: Some(DebugFlags { disable_log_tail: true }),
        ..MapResponse::default()
    };
    let json = to_string(&map).expect("our encoding");
    let read: theirs::MapResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    assert_eq!((read.domain, read.collect_services), ("tail.example", Some(false)));
    assert_eq!(read.control_time, Some(TIME_TEXT.parse().expect("a time")));
    let user = &read.user_profiles[0];
    assert_eq!((user.id, user.login_name, user.display_name), (3, "anna", Some("Anna")));
    let dns = read.dns_config.expect("was sent");
    assert!(dns.magic_dns);
    assert_eq!(dns.search_domains, ["tail.example"]);
    assert_eq!((dns.resolvers.len(), dns.routes.len()), (1, 2));
    assert_eq!(dns.routes["tail.example"].as_ref().map(Vec::len), Some(0));
}

#[test]
fn a_keep_alive_is_one() {
    let json = to_string(&MapResponse { keep_alive: true, ..MapResponse::default() }).expect("our encoding");
    let read: theirs::MapResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    assert_eq!(read.keep_alive, Some(true));
    assert!(read.node.is_none() && read.peers.is_none() && read.peers_removed.is_none());
}

#[test]
fn answers_to_a_registration_mean_the_same() {
    let accepted = RegisterResponse {
        user: User { id: UserId(3), display_name: "Anna".into() },
        login: Login {
            id: UserId(3),
            provider: "genkan".into(),
            login_name: "anna".into(),
            display_name: "Anna".into(),
        },
        machine_authorized: true,
        ..RegisterResponse::default()
    };
    let json = to_string(&accepted).expect("our encoding");
    let read: theirs::RegisterResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    assert_eq!((read.user.id, read.login.id, read.login.login_name), (3, 3, "anna"));
    assert!(read.machine_authorized && !read.node_key_expired);
    assert_eq!((read.auth_url, read.error), ("", ""));

    let pending = RegisterResponse {
        auth_url: "https://door.example/register/1".into(),
        ..RegisterResponse::default()
    };
    let json = to_string(&pending).expect("our encoding");
    let read: theirs::RegisterResponse<'_> = serde_json::from_str(&json).expect("their decoding");
    assert_eq!((read.auth_url, read.machine_authorized), ("https://door.example/register/1", false));
}
