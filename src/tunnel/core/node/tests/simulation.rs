//! Two nodes, a network and a clock in one thread. WireGuard's own timers run in real time and are not simulated.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::base::rng::SeededRng;
use crate::tunnel::core::node::{Datagrams, Node, NodeSettings};
use crate::tunnel::core::offload::coalesce::Joins;
use crate::tunnel::core::offload::segment::LocalPacket;
use crate::tunnel::core::outbox::Destination;
use crate::tunnel::core::path::PathState;
use crate::wire::control::{self, FilterRule, MapResponse, NetPortRange, NodeId, PeerChange, PortRange};
use crate::wire::ip::{PROTOCOL_TCP, PROTOCOL_UDP, TCP_SYN, assemble};
use crate::wire::key::{DiscoPrivate, NodePrivate, NodePublic};

pub const A: usize = 0;
pub const B: usize = 1;
pub const OPEN_PORT: u16 = 22;
pub const CLOSED_PORT: u16 = 23;
const STEP: Duration = Duration::from_millis(250);

pub struct Side {
    pub node: Node,
    pub node_key: NodePrivate,
    pub disco_key: DiscoPrivate,
    /// Packets that came out at the TUN.
    pub delivered: Vec<Vec<u8>>,
    /// Of flows, as they came together.
    pub answered: Vec<Vec<Vec<u8>>>,
    pub sent_direct: usize,
    pub sent_relay: usize,
    /// Every datagram and relay message it sent.
    pub sent: Vec<Vec<u8>>,
    lan: SocketAddr,
}

pub struct World {
    pub now: Instant,
    pub sides: [Side; 2],
    pub udp_blocked: bool,
    /// Nobody is at the relay.
    pub relay_empty: bool,
}

pub fn tailnet_address(side: usize) -> IpAddr {
    IpAddr::from([100, 64, 0, [1, 2][side]])
}

impl World {
    /// Two nodes that know each other by the netmap, endpoints included.
    pub fn new() -> Self {
        let mut world = Self::without_endpoints();
        for side in [A, B] {
            let mut peer = world.map_entry(1 - side);
            peer.endpoints = vec![world.sides[1 - side].lan];
            world.tell(side, MapResponse { peers_changed: vec![peer], ..MapResponse::default() });
        }
        world
    }

    /// The netmap lists no endpoints: only the peers themselves can tell.
    pub fn without_endpoints() -> Self {
        let now = Instant::now();
        let mut rng = SeededRng::new([5; 32]);
        let sides = [A, B].map(|side| Side::new(side, &mut rng, now));
        let mut world = Self { now, sides, udp_blocked: false, relay_empty: false };
        for side in [A, B] {
            world.tell(side, world.first_map(side));
        }
        world
    }

    /// The process of `side` begins anew with the same node key; its old state is gone.
    pub fn restart(&mut self, side: usize) {
        let mut rng = SeededRng::new([6; 32]);
        let node_key = self.sides[side].node_key.clone();
        self.sides[side] = Side::with_key(side, node_key, &mut rng, self.now);
        self.tell(side, self.first_map(side));
        let disco_key = Some(self.sides[side].disco_key.public());
        let patch = PeerChange { node_id: self.map_entry(side).id, disco_key, ..PeerChange::default() };
        self.tell(1 - side, MapResponse { peers_changed_patch: vec![patch], ..MapResponse::default() });
        self.settle();
    }

    fn first_map(&self, side: usize) -> MapResponse {
        MapResponse {
            node: Some(Box::new(self.map_entry(side))),
            peers: vec![self.map_entry(1 - side)],
            packet_filters: Some([("base".to_owned(), vec![ssh_and_udp_rule()])].into()),
            ..MapResponse::default()
        }
    }

    /// `side` as the netmap shows it.
    pub fn map_entry(&self, side: usize) -> control::Node {
        let address = IpNet::from(tailnet_address(side));
        control::Node {
            id: NodeId([1, 2][side]),
            name: format!("machine-{side}.tailnet.example."),
            key: self.sides[side].node_key.public(),
            disco_key: self.sides[side].disco_key.public(),
            addresses: vec![address],
            allowed_ips: vec![address],
            home_derp: 999,
            ..control::Node::default()
        }
    }

    pub fn tell(&mut self, side: usize, response: MapResponse) {
        let now = self.now;
        self.sides[side].node.handle_net_map(response, now);
    }

    /// `side`'s machine sends `packet`, and everything that follows at once happens.
    pub fn send(&mut self, side: usize, packet: &[u8]) {
        let now = self.now;
        self.sides[side].node.handle_tun(LocalPacket::Single(packet), now);
        self.settle();
    }

    /// One UDP packet from `side` to the other; whether it came out there.
    pub fn reaches(&mut self, side: usize) -> bool {
        let before = self.sides[1 - side].delivered.len();
        self.send(side, &udp(side));
        self.sides[1 - side].delivered.len() > before
    }

    /// Lets time pass, with both machines sending a packet each second if `busy`.
    pub fn advance(&mut self, duration: Duration, busy: bool) {
        let end = self.now + duration;
        while self.now < end {
            self.now += STEP;
            for side in &mut self.sides {
                side.node.handle_timeout(self.now);
            }
            self.settle();
            let elapsed = end.saturating_duration_since(self.now);
            if busy && elapsed.subsec_millis() == 0 {
                self.send(A, &udp(A));
                self.send(B, &udp(B));
            }
        }
    }

    /// Exchanges datagrams until both are silent.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            let moved = [A, B].map(|side| self.exchange(side));
            if moved == [0, 0] {
                return;
            }
        }
        panic!("the nodes never stop talking");
    }

    pub fn state(&self, side: usize) -> PathState {
        self.sides[side].node.reports(self.now).next().expect("one peer").path
    }

    /// Whether the next packet of `side` goes over UDP alone.
    pub fn is_direct(&mut self, side: usize) -> bool {
        let before = (self.sides[side].sent_direct, self.sides[side].sent_relay);
        let arrived = self.reaches(side);
        let after = (self.sides[side].sent_direct, self.sides[side].sent_relay);
        arrived && after.0 > before.0 && after.1 == before.1
    }

    fn exchange(&mut self, side: usize) -> usize {
        let messages = self.sides[side].drain();
        let count = messages.len();
        let (own_lan, own_key) = (self.sides[side].lan, self.sides[side].node_key.public());
        let now = self.now;
        let other = &mut self.sides[1 - side];
        for (destination, message) in messages {
            match destination {
                Destination::Udp(to) if to == other.lan && !self.udp_blocked => {
                    let contents = message.as_slice();
                    let read = Datagrams { source: own_lan, contents, segment_size: contents.len() };
                    other.node.handle_udp([read], now);
                }
                Destination::Relay(to) if to == other.node_key.public() && !self.relay_empty => {
                    other.node.handle_relay([(own_key, message.as_slice())], now);
                }
                Destination::Udp(_) | Destination::Relay(_) => {}
            }
        }
        while let Some(packet) = other.node.poll_tun() {
            if packet.flow.is_some() {
                other.answered.push(packet.datagrams().map(<[u8]>::to_vec).collect());
            } else {
                other.delivered.push(packet.parts().collect::<Vec<_>>().concat());
            }
        }
        count
    }
}

impl Side {
    fn new(side: usize, rng: &mut SeededRng, now: Instant) -> Self {
        let node_key = NodePrivate::generate(rng);
        Self::with_key(side, node_key, rng, now)
    }

    fn with_key(side: usize, node_key: NodePrivate, rng: &mut SeededRng, now: Instant) -> Self {
        let disco_key = DiscoPrivate::generate(rng);
        let settings = NodeSettings {
            node_key: node_key.clone(),
            disco_key: disco_key.clone(),
            home_region: 999,
            seed: rng.bytes(),
            joins: Joins { tcp: true, udp: true, flows: true },
        };
        let lan = SocketAddr::from(([192, 168, 1, [1, 2][side]], 41641));
        let mut node = Node::new(&settings, now);
        node.handle_own_endpoints(&[lan]);
        let (delivered, answered) = (Vec::new(), Vec::new());
        Self {
            node,
            node_key,
            disco_key,
            delivered,
            answered,
            sent_direct: 0,
            sent_relay: 0,
            sent: Vec::new(),
            lan,
        }
    }

    fn drain(&mut self) -> Vec<(Destination, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some(transmit) = self.node.poll_transmit() {
            for datagram in transmit.datagrams() {
                messages.push((transmit.destination, datagram.to_vec()));
            }
        }
        for (destination, message) in &messages {
            match destination {
                Destination::Udp(_) => self.sent_direct += 1,
                Destination::Relay(_) => self.sent_relay += 1,
            }
            self.sent.push(message.clone());
        }
        messages
    }

    pub fn public(&self) -> NodePublic {
        self.node_key.public()
    }
}

fn ssh_and_udp_rule() -> FilterRule {
    let range = |port| NetPortRange { ip: "*".to_owned(), ports: PortRange { first: port, last: port } };
    FilterRule { src_ips: vec!["*".to_owned()], dst_ports: vec![range(OPEN_PORT)], ..FilterRule::default() }
}

/// A UDP packet from `side` to the open port of the other.
pub fn udp(side: usize) -> Vec<u8> {
    let mut payload = vec![0; 100];
    payload[2..4].copy_from_slice(&OPEN_PORT.to_be_bytes());
    assemble(tailnet_address(side), tailnet_address(1 - side), PROTOCOL_UDP, &payload).expect("one family")
}

/// The SYN of a connection from `side` to a port of the other.
pub fn syn(side: usize, port: u16) -> Vec<u8> {
    let mut payload = vec![0; 20];
    payload[..2].copy_from_slice(&50_000u16.to_be_bytes());
    payload[2..4].copy_from_slice(&port.to_be_bytes());
    payload[4..8].copy_from_slice(&1000u32.to_be_bytes());
    payload[13] = TCP_SYN;
    assemble(tailnet_address(side), tailnet_address(1 - side), PROTOCOL_TCP, &payload).expect("one family")
}
