use super::*;
use crate::wire::control::{FilterRule, MapResponse, NetPortRange, Node, NodeId, PortRange};
use crate::wire::ip::{
    PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_RST, TCP_SYN,
    assemble,
};

const OWN: &str = "100.64.0.1";
const OWN_V6: &str = "fd7a:115c:a1e0::1";
const FRIEND: &str = "100.64.0.2";
const FRIEND_V6: &str = "fd7a:115c:a1e0::2";
const STRANGER: &str = "100.64.0.3";
const GRE: u8 = 47;

fn address(text: &str) -> IpAddr {
    text.parse().expect("literal")
}

fn rule(sources: &[&str], destination: &str, ports: (u16, u16), protocols: &[u8]) -> FilterRule {
    FilterRule {
        src_ips: sources.iter().map(|text| (*text).to_owned()).collect(),
        dst_ports: vec![NetPortRange {
            ip: destination.to_owned(),
            ports: PortRange { first: ports.0, last: ports.1 },
        }],
        ip_proto: protocols.to_vec(),
        ..FilterRule::default()
    }
}

fn net_map(rules: Vec<FilterRule>) -> NetMap {
    let own = |text: &str| ipnet::IpNet::from(address(text));
    let holder = Node {
        id: NodeId(3),
        addresses: vec![own(STRANGER)],
        cap_map: [("example.com/cap/admin".to_owned(), Vec::new())].into(),
        ..Node::default()
    };
    let route = "192.168.7.0/24".parse().expect("literal");
    let mut net_map = NetMap::default();
    net_map.apply(MapResponse {
        node: Some(Box::new(Node {
            addresses: vec![own(OWN), own(OWN_V6)],
            allowed_ips: vec![own(OWN), own(OWN_V6), route],
            ..Node::default()
        })),
        peers: vec![holder],
        packet_filters: Some([("base".to_owned(), rules)].into()),
        ..MapResponse::default()
    });
    net_map
}

fn filter(rules: Vec<FilterRule>) -> Filter {
    let mut filter = Filter::new(Instant::now());
    filter.update(&net_map(rules));
    filter
}

/// Source and destination ports, then what every protocol here wants in its first bytes.
fn packet(source: &str, destination: &str, protocol: u8, port: u16, flags_or_type: u8) -> Packet {
    let mut payload = vec![0; 20];
    if matches!(protocol, PROTOCOL_ICMP | PROTOCOL_ICMPV6) {
        payload[0] = flags_or_type;
    } else {
        payload[..2].copy_from_slice(&40_000u16.to_be_bytes());
        payload[2..4].copy_from_slice(&port.to_be_bytes());
        payload[13] = flags_or_type;
    }
    let bytes = assemble(address(source), address(destination), protocol, &payload).expect("one family");
    Packet::parse(&bytes).expect("well formed")
}

fn admit(filter: &mut Filter, packet: &Packet) -> Result<(), DropReason> {
    filter.admit(packet, Instant::now())
}

#[test]
fn tcp_is_judged_by_its_syn() {
    let mut filter = filter(vec![rule(&[FRIEND, FRIEND_V6], "*", (22, 23), &[PROTOCOL_TCP])]);
    let denied = Err(DropReason::FilterRules);
    for (source, destination, port, flags, expected) in [
        (FRIEND, OWN, 22, TCP_SYN, Ok(())),
        (FRIEND, OWN, 23, TCP_SYN, Ok(())),
        (FRIEND, OWN, 24, TCP_SYN, denied),
        (STRANGER, OWN, 22, TCP_SYN, denied),
        (FRIEND_V6, OWN_V6, 22, TCP_SYN, Ok(())),
        (FRIEND_V6, OWN_V6, 80, TCP_SYN, denied),
        (FRIEND, "192.168.7.9", 22, TCP_SYN, Ok(())),
        (STRANGER, OWN, 99, TCP_ACK, Ok(())),
        (STRANGER, OWN, 99, TCP_SYN | TCP_ACK, Ok(())),
        (STRANGER, OWN, 99, TCP_RST, Ok(())),
        (STRANGER, OWN, 99, TCP_SYN | TCP_RST, denied),
    ] {
        let packet = packet(source, destination, PROTOCOL_TCP, port, flags);
        assert_eq!(admit(&mut filter, &packet), expected, "{source} {destination} {port} {flags}");
    }
}

#[test]
fn only_what_is_for_this_node_comes_in() {
    let mut filter = filter(vec![rule(&["*"], "*", (0, 65535), &[])]);
    for (destination, expected) in [
        (OWN, Ok(())),
        (FRIEND, Err(DropReason::FilterDestination)),
        ("224.0.0.251", Err(DropReason::FilterScope)),
        ("169.254.0.1", Err(DropReason::FilterScope)),
    ] {
        let packet = packet(FRIEND, destination, PROTOCOL_TCP, 22, TCP_ACK);
        assert_eq!(admit(&mut filter, &packet), expected, "{destination}");
    }
    for destination in ["ff02::1", "fe80::1"] {
        let packet = packet(FRIEND_V6, destination, PROTOCOL_UDP, 22, 0);
        assert_eq!(admit(&mut filter, &packet), Err(DropReason::FilterScope), "{destination}");
    }
}

#[test]
fn udp_answers_come_in_for_as_long_as_they_are_awaited() {
    let mut filter = filter(vec![]);
    let now = Instant::now();
    let query = packet(OWN, FRIEND, PROTOCOL_UDP, 53, 0);
    let mut answer = packet(FRIEND, OWN, PROTOCOL_UDP, 40_000, 0);
    answer.transport = Transport::Udp { ports: crate::wire::ip::Ports { source: 53, destination: 40_000 } };
    assert_eq!(filter.admit(&answer, now), Err(DropReason::FilterRules));
    filter.note_outgoing(&query, now);
    assert_eq!(filter.admit(&answer, now), Ok(()));
    let from_elsewhere = Packet { source: address(STRANGER), ..answer };
    assert_eq!(filter.admit(&from_elsewhere, now), Err(DropReason::FilterRules));
    assert_eq!(filter.admit(&answer, now + 2 * FLOW_LIFETIME), Err(DropReason::FilterRules));
}

#[test]
fn the_memory_of_flows_is_bounded() {
    let mut filter = filter(vec![]);
    let now = Instant::now();
    for port in 0..=u16::MAX {
        filter.note_outgoing(&packet(OWN, FRIEND, PROTOCOL_UDP, port, 0), now);
    }
    assert!(filter.flows.len() <= MAX_FLOWS);
}

#[test]
fn icmp_answers_pass_and_requests_need_any_open_port() {
    let mut filter = filter(vec![rule(&[FRIEND, FRIEND_V6], "*", (22, 22), &[PROTOCOL_TCP])]);
    let denied = Err(DropReason::FilterRules);
    for (source, destination, protocol, kind, expected) in [
        (FRIEND, OWN, PROTOCOL_ICMP, 8, Ok(())),
        (STRANGER, OWN, PROTOCOL_ICMP, 8, denied),
        (STRANGER, OWN, PROTOCOL_ICMP, 0, Ok(())),
        (STRANGER, OWN, PROTOCOL_ICMP, 3, Ok(())),
        (STRANGER, OWN, PROTOCOL_ICMP, 11, Ok(())),
        (STRANGER, OWN, PROTOCOL_ICMP, 5, denied),
        (FRIEND_V6, OWN_V6, PROTOCOL_ICMPV6, 128, Ok(())),
        ("fd7a:115c:a1e0::9", OWN_V6, PROTOCOL_ICMPV6, 128, denied),
        ("fd7a:115c:a1e0::9", OWN_V6, PROTOCOL_ICMPV6, 129, Ok(())),
        ("fd7a:115c:a1e0::9", OWN_V6, PROTOCOL_ICMPV6, 2, Ok(())),
        ("fd7a:115c:a1e0::9", OWN_V6, PROTOCOL_ICMPV6, 134, denied),
    ] {
        let packet = packet(source, destination, protocol, 0, kind);
        assert_eq!(admit(&mut filter, &packet), expected, "{source} {protocol} {kind}");
    }
}

#[test]
fn other_protocols_need_a_rule_that_names_them_with_all_ports() {
    let gre = packet(FRIEND, OWN, GRE, 0, 0);
    for (rules, expected) in [
        (vec![rule(&["*"], "*", (0, 65535), &[])], Err(DropReason::FilterProtocol)),
        (vec![rule(&["*"], "*", (0, 65535), &[GRE])], Ok(())),
        (vec![rule(&["*"], "*", (1, 65535), &[GRE])], Err(DropReason::FilterProtocol)),
    ] {
        assert_eq!(admit(&mut filter(rules), &gre), expected);
    }
    let tsmp = packet(STRANGER, OWN, PROTOCOL_TSMP, 0, 0);
    assert_eq!(admit(&mut filter(vec![]), &tsmp), Ok(()));
    let sctp = packet(FRIEND, OWN, PROTOCOL_SCTP, 22, 0);
    assert_eq!(
        admit(&mut filter(vec![rule(&["*"], "*", (22, 22), &[])]), &sctp),
        Err(DropReason::FilterRules)
    );
    assert_eq!(admit(&mut filter(vec![rule(&["*"], "*", (22, 22), &[PROTOCOL_SCTP])]), &sctp), Ok(()));
}

#[test]
fn later_fragments_pass_and_still_must_be_for_us() {
    let mut filter = filter(vec![]);
    let mut fragment = packet(STRANGER, OWN, PROTOCOL_UDP, 0, 0);
    fragment.transport = Transport::Fragment;
    assert_eq!(admit(&mut filter, &fragment), Ok(()));
    fragment.destination = address(FRIEND);
    assert_eq!(admit(&mut filter, &fragment), Err(DropReason::FilterDestination));
}

#[test]
fn sources_may_be_ranges_and_holders_of_a_capability() {
    let mut filter = filter(vec![
        rule(&["100.64.0.10-100.64.0.20"], OWN, (1, 1), &[]),
        rule(&["cap:example.com/cap/admin"], OWN, (2, 2), &[]),
        rule(&["nonsense", FRIEND], OWN, (3, 3), &[]),
        rule(&["nonsense"], OWN, (4, 4), &[]),
    ]);
    let denied = Err(DropReason::FilterRules);
    for (source, port, expected) in [
        ("100.64.0.15", 1, Ok(())),
        ("100.64.0.21", 1, denied),
        (STRANGER, 2, Ok(())),
        (FRIEND, 2, denied),
        (FRIEND, 3, Ok(())),
        (FRIEND, 4, denied),
    ] {
        let packet = packet(source, OWN, PROTOCOL_TCP, port, TCP_SYN);
        assert_eq!(admit(&mut filter, &packet), expected, "{source} {port}");
    }
}

#[test]
fn before_any_netmap_nothing_comes_in() {
    let mut filter = Filter::new(Instant::now());
    let packet = packet(FRIEND, OWN, PROTOCOL_TCP, 22, TCP_SYN);
    assert_eq!(admit(&mut filter, &packet), Err(DropReason::FilterDestination));
}
