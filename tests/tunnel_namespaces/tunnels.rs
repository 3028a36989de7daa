//! A tunnel in each namespace, and a relay in this process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::JoinHandle;

use bytes::Bytes;
use genkan::base::rng::SeededRng;
use genkan::base::roll_call::RollCall;
use genkan::tunnel::driver::{Links, TunSettings, TunnelConfig, raise, serve};
use genkan::tunnel::metrics::TunnelMetrics;
use genkan::wire::control::{FilterRule, MapResponse, NetPortRange, Node, NodeId, PortRange};
use genkan::wire::key::{DiscoPrivate, NodePrivate, NodePublic};
use ipnet::IpNet;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cable::Cable;

/// Which the policy allows.
pub const OPEN_PORT: u16 = 22;

/// Served until [`Tunnels::end`], or until it is dropped.
pub struct Tunnels {
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

struct Identity {
    node: NodePrivate,
    disco: DiscoPrivate,
}

type Relayed = (NodePublic, Bytes);

struct Side {
    config: TunnelConfig,
    interface: TunSettings,
    first_map: MapResponse,
    relay_in: mpsc::Receiver<Relayed>,
    relay_out: mpsc::Sender<Relayed>,
    stop: CancellationToken,
}

pub fn ipv4(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 0, [1, 2][side])
}

pub fn ipv6(side: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, [1, 2][side])
}

impl Tunnels {
    /// `offload` of each side.
    pub fn start(cable: &Cable, offload: [bool; 2]) -> Self {
        let stop = CancellationToken::new();
        let identities = identities();
        let mut threads = Vec::new();
        let mut relay_ends = Vec::new();
        for side in [0, 1] {
            let (relay_out, from_node) = mpsc::channel(64);
            let (to_node, relay_in) = mpsc::channel(64);
            relay_ends.push((from_node, to_node));
            let parts = Side {
                config: config(side, &identities[side]),
                interface: interface(side, offload[side]),
                first_map: first_map(side, &identities),
                relay_in,
                relay_out,
                stop: stop.clone(),
            };
            threads.push(cable.spawn(side, move || run(parts)));
        }
        start_relay(identities.map(|identity| identity.node.public()), relay_ends);
        Self { stop, threads }
    }

    /// Returns when both have ended.
    pub fn end(mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic in a tunnel");
        }
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.stop.cancel();
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
    let port = NetPortRange { ip: "*".to_owned(), ports: PortRange { first: OPEN_PORT, last: OPEN_PORT } };
    let rule = FilterRule { src_ips: vec!["*".to_owned()], dst_ports: vec![port], ..FilterRule::default() };
    MapResponse {
        node: Some(Box::new(map_entry(side, &identities[side]))),
        peers: vec![map_entry(1 - side, &identities[1 - side])],
        packet_filters: Some([("base".to_owned(), vec![rule])].into()),
        ..MapResponse::default()
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

fn interface(side: usize, offload: bool) -> TunSettings {
    TunSettings { name: "genkan0".to_owned(), mtu: 1280, ipv4: ipv4(side), ipv6: ipv6(side), offload }
}

/// In the namespace of its side already.
fn run(parts: Side) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (net_maps, net_map) = mpsc::channel(4);
        let (endpoints, mut reported) = mpsc::channel(4);
        net_maps.send(parts.first_map).await.expect("open");
        let links = Links { net_map, relay_out: parts.relay_out, relay_in: parts.relay_in, endpoints };
        let metrics = TunnelMetrics::new(&mut Registry::default());
        let raised = raise(parts.interface, 41641).await.expect("root");
        let tunnel = tokio::spawn(serve(parts.config, raised, links, metrics, parts.stop));
        assert!(reported.recv().await.is_some_and(|list| !list.is_empty()), "the cable's address");
        tunnel.await.expect("no panic").expect("the tunnel comes up");
    });
}

fn start_relay(keys: [NodePublic; 2], ends: Vec<(mpsc::Receiver<Relayed>, mpsc::Sender<Relayed>)>) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let [(from_a, to_a), (from_b, to_b)] = <[_; 2]>::try_from(ends).expect("two sides");
        runtime.block_on(async { tokio::join!(relay(keys[0], from_a, to_b), relay(keys[1], from_b, to_a)) });
    });
}

/// Passes messages from one node to the other, as the relay does.
async fn relay(sender: NodePublic, mut from: mpsc::Receiver<Relayed>, to: mpsc::Sender<Relayed>) {
    while let Some((_, message)) = from.recv().await {
        if to.send((sender, message)).await.is_err() {
            return;
        }
    }
}
