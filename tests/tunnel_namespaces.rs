//! Two tunnels with real TUN interfaces in two network namespaces, joined by a cable and by a relay in this process.
//! Needs root, `ip`, `iptables` and `ping`: `cargo test --test tunnel_namespaces -- --ignored`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::thread::JoinHandle;

use bytes::Bytes;
use genkan::base::rng::SeededRng;
use genkan::base::roll_call::RollCall;
use genkan::tunnel::driver::{Links, TunSettings, TunnelConfig, raise, serve};
use genkan::tunnel::metrics::TunnelMetrics;
use genkan::wire::control::{FilterRule, MapResponse, NetPortRange, Node, NodeId, PortRange};
use genkan::wire::key::{DiscoPrivate, NodePrivate, NodePublic};
use ipnet::IpNet;
use nix::sched::{CloneFlags, setns};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const NAMESPACES: [&str; 2] = ["genkan-test-a", "genkan-test-b"];

struct Identity {
    node: NodePrivate,
    disco: DiscoPrivate,
}

fn ipv4(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 0, [1, 2][side])
}

fn ipv6(side: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, [1, 2][side])
}

fn shell(line: &str) -> bool {
    Command::new("sh").args(["-c", line]).status().expect("a shell").success()
}

fn inside(side: usize, line: &str) -> bool {
    shell(&format!("ip netns exec {} {line} >/dev/null 2>&1", NAMESPACES[side]))
}

fn raise_namespaces() {
    let [a, b] = NAMESPACES;
    remove_namespaces();
    for line in [
        format!("ip netns add {a} && ip netns add {b}"),
        format!("ip -n {a} link add cable type veth peer name cable netns {b}"),
        format!("ip -n {a} addr add 192.168.77.1/24 dev cable && ip -n {a} link set cable up"),
        format!("ip -n {b} addr add 192.168.77.2/24 dev cable && ip -n {b} link set cable up"),
    ] {
        assert!(shell(&line), "{line}");
    }
}

fn remove_namespaces() {
    for name in NAMESPACES {
        shell(&format!("ip netns del {name} 2>/dev/null"));
    }
}

/// `side` as the netmap shows it. No endpoints: the tunnels find each other by call-me-maybe.
fn map_entry(side: usize, identity: &Identity) -> Node {
    let addresses = vec![IpNet::from(IpAddr::V4(ipv4(side))), IpNet::from(IpAddr::V6(ipv6(side)))];
    Node {
        id: NodeId([1, 2][side]),
        name: format!("machine-{side}.example."),
        key: identity.node.public(),
        disco_key: identity.disco.public(),
        allowed_ips: addresses.clone(),
        addresses,
        home_derp: 999,
        ..Node::default()
    }
}

fn first_map(side: usize, identities: &[Identity; 2]) -> MapResponse {
    let ssh = NetPortRange { ip: "*".to_owned(), ports: PortRange { first: 22, last: 22 } };
    let rule = FilterRule { src_ips: vec!["*".to_owned()], dst_ports: vec![ssh], ..FilterRule::default() };
    MapResponse {
        node: Some(Box::new(map_entry(side, &identities[side]))),
        peers: vec![map_entry(1 - side, &identities[1 - side])],
        packet_filters: Some([("base".to_owned(), vec![rule])].into()),
        ..MapResponse::default()
    }
}

type Relayed = (NodePublic, Bytes);

struct Side {
    config: TunnelConfig,
    first_map: MapResponse,
    relay_in: mpsc::Receiver<Relayed>,
    relay_out: mpsc::Sender<Relayed>,
    stop: CancellationToken,
}

/// Runs a tunnel in its namespace on a thread of its own: namespaces belong to threads.
fn start(side: usize, parts: Side) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let namespace = std::fs::File::open(format!("/run/netns/{}", NAMESPACES[side])).expect("was raised");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (net_maps, net_map) = mpsc::channel(4);
            let (endpoints, mut reported) = mpsc::channel(4);
            net_maps.send(parts.first_map).await.expect("open");
            let links = Links { net_map, relay_out: parts.relay_out, relay_in: parts.relay_in, endpoints };
            let metrics = TunnelMetrics::new(&mut Registry::default());
            let interface = TunSettings {
                name: "genkan0".to_owned(),
                mtu: 1280,
                ipv4: ipv4(side),
                ipv6: ipv6(side),
                offload: true,
            };
            let raised = raise(interface, 41641).await.expect("root");
            let tunnel = tokio::spawn(serve(parts.config, raised, links, metrics, parts.stop));
            assert!(reported.recv().await.is_some_and(|list| !list.is_empty()), "the cable's address");
            tunnel.await.expect("no panic").expect("the tunnel comes up");
        });
    })
}

/// Passes messages from one node to the other, as the relay does.
async fn relay(sender: NodePublic, mut from: mpsc::Receiver<Relayed>, to: mpsc::Sender<Relayed>) {
    while let Some((_, message)) = from.recv().await {
        if to.send((sender, message)).await.is_err() {
            return;
        }
    }
}

fn identities() -> [Identity; 2] {
    let mut rng = SeededRng::new([8; 32]);
    [0, 1]
        .map(|_| Identity { node: NodePrivate::generate(&mut rng), disco: DiscoPrivate::generate(&mut rng) })
}

fn config(side: usize, identity: &Identity) -> TunnelConfig {
    TunnelConfig {
        node_key: identity.node.clone(),
        disco_key: identity.disco.clone(),
        home_region: 999,
        public_endpoint: None,
        loops: RollCall::default(),
        seed: [[1, 2][side]; 32],
    }
}

fn start_both(stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let identities = identities();
    let mut threads = Vec::new();
    let mut relay_ends = Vec::new();
    for side in [0, 1] {
        let (relay_out, from_node) = mpsc::channel(64);
        let (to_node, relay_in) = mpsc::channel(64);
        relay_ends.push((from_node, to_node));
        let parts = Side {
            config: config(side, &identities[side]),
            first_map: first_map(side, &identities),
            relay_in,
            relay_out,
            stop: stop.clone(),
        };
        threads.push(start(side, parts));
    }
    let keys = [0, 1].map(|side| identities[side].node.public());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let [(from_a, to_a), (from_b, to_b)] = <[_; 2]>::try_from(relay_ends).expect("two sides");
        runtime.block_on(async { tokio::join!(relay(keys[0], from_a, to_b), relay(keys[1], from_b, to_a)) });
    });
    threads
}

#[test]
#[ignore = "needs root, ip, iptables and ping"]
fn machines_reach_each_other_directly_and_by_the_relay() {
    raise_namespaces();
    let stop = CancellationToken::new();
    let threads = start_both(&stop);
    std::thread::sleep(std::time::Duration::from_secs(1));

    assert!(inside(0, "ping -c 3 -i 0.2 -W 2 100.64.0.2"), "IPv4");
    assert!(inside(1, "ping -c 3 -i 0.2 -W 2 fd7a:115c:a1e0::1"), "IPv6");
    assert!(inside(0, "ping -c 20 -i 0.05 -s 1200 -W 2 100.64.0.2"), "large packets");
    assert!(!inside(0, "ping -c 1 -W 1 100.64.0.9"), "nobody has this address");

    assert!(inside(0, "iptables -A INPUT -p udp -i cable -j DROP"));
    std::thread::sleep(std::time::Duration::from_secs(7));
    assert!(inside(0, "ping -c 5 -i 0.2 -W 2 100.64.0.2"), "by the relay");
    assert!(inside(0, "iptables -F"));
    assert!(inside(0, "ping -c 5 -i 1 -W 2 100.64.0.2"), "directly again");
    assert!(inside(0, "ip link set cable down"));
    std::thread::sleep(std::time::Duration::from_secs(7));
    assert!(inside(1, "ping -c 3 -i 0.2 -W 2 100.64.0.1"), "by the relay, without any cable");

    stop.cancel();
    for thread in threads {
        thread.join().expect("no panic in a tunnel");
    }
    assert!(inside(0, "sh -c '! ip link show genkan0'"), "the interface goes with the tunnel");
    assert!(inside(0, "ip link set cable up") && inside(0, "ip route add default via 192.168.77.2"));
    assert!(inside(0, "ip route get 203.0.113.1"), "the rest of the world is reachable");
    for address in ["100.64.0.2", "fd7a:115c:a1e0::2"] {
        assert!(!inside(0, &format!("ip route get {address}")), "nothing for the tailnet leaves by the LAN");
    }
    remove_namespaces();
}
