//! Two nodes that have met, and what it costs to bring packets from one to the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::AddAssign;
use std::time::Instant;

use genkan::base::rng::SeededRng;
use genkan::tunnel::core::flows::{FlowAddresses, FlowId};
use genkan::tunnel::core::node::{Datagrams, Node, NodeSettings};
use genkan::tunnel::core::offload::coalesce::Joins;
use genkan::tunnel::core::offload::segment::LocalPacket;
use genkan::tunnel::core::outbox::{Destination, Transmit};
use genkan::tunnel::core::path::PathState;
use genkan::wire::control::{self, FilterRule, MapResponse, NetPortRange, NodeId, PortRange};
use genkan::wire::key::{DiscoPrivate, NodePrivate, NodePublic};
use ipnet::IpNet;

use crate::counting::allocations;

pub const A: usize = 0;
pub const B: usize = 1;
/// Between the two, from [`FLOW_PORT`] of [`A`] to [`OPEN_PORT`] of [`B`].
pub const FLOW: FlowId = FlowId(1);
pub const OPEN_PORT: u16 = 22;
const FLOW_PORT: u16 = 50_001;

pub fn ipv4(side: usize) -> IpAddr {
    Ipv4Addr::new(100, 64, 0, [1, 2][side]).into()
}

pub fn ipv6(side: usize) -> IpAddr {
    Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, [1, 2][side]).into()
}

/// What one side is given to send.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    Local(LocalPacket<'a>),
    /// Datagrams of [`FLOW`], one every so many bytes.
    Flow(&'a [u8], usize),
}

/// What was done, and the allocations that it took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    pub sealed: usize,
    /// What would be system calls.
    pub sends: usize,
    pub seal_allocations: u64,
    pub opened: usize,
    /// What would be system calls.
    pub writes: usize,
    pub open_allocations: u64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.sealed += other.sealed;
        self.sends += other.sends;
        self.seal_allocations += other.seal_allocations;
        self.opened += other.opened;
        self.writes += other.writes;
        self.open_allocations += other.open_allocations;
    }
}

struct Side {
    node: Node,
    entry: control::Node,
    lan: SocketAddr,
}

/// Time stands still: paths stay trusted, and no timer falls due.
pub struct Pair {
    now: Instant,
    sides: [Side; 2],
    udp_is_open: bool,
    /// Whether nobody hears what is sent, so that only sending is counted.
    pub is_deaf: bool,
}

impl Pair {
    /// Two nodes with a session, on the path that is asked for, which both have the flow.
    pub fn met(path: PathState) -> Self {
        let now = Instant::now();
        let mut rng = SeededRng::new([3; 32]);
        let sides = [A, B].map(|side| Side::new(side, &mut rng, now));
        let mut pair = Self { now, sides, udp_is_open: path == PathState::Direct, is_deaf: false };
        for side in [A, B] {
            let map = first_map(&pair.sides[side].entry, &pair.sides[1 - side].entry);
            pair.sides[side].node.handle_net_map(map, now);
            pair.sides[side].node.begin_flow(FLOW, flow_addresses(side));
        }
        for side in [A, B] {
            pair.sides[side].node.handle_flow(FLOW, b"hello", 5, now);
            pair.settle();
            let report = pair.sides[side].node.reports(now).next().expect("one peer");
            assert_eq!(report.path, path, "of side {side}");
        }
        pair
    }

    /// `from` sends all of `inputs`, and then the other side takes what that became.
    pub fn pass(&mut self, from: usize, inputs: &[Input<'_>]) -> Work {
        let (now, mut work) = (self.now, Work::default());
        let [a, b] = &mut self.sides;
        let (sender, receiver) = if from == A { (a, b) } else { (b, a) };
        let begin = allocations();
        for input in inputs {
            sender.take(*input, now);
        }
        work.seal_allocations += allocations() - begin;
        loop {
            let begin = allocations();
            let transmit = sender.node.poll_transmit();
            work.seal_allocations += allocations() - begin;
            let Some(transmit) = transmit else { return work };
            work.sends += 1;
            work.sealed += transmit.datagrams().len();
            if self.is_deaf {
                continue;
            }
            let begin = allocations();
            receiver.hear(&transmit, sender.lan, sender.entry.key, now);
            work += receiver.write();
            work.open_allocations += allocations() - begin;
        }
    }

    /// Exchanges messages until both are silent.
    fn settle(&mut self) {
        for _ in 0..100 {
            if [A, B].map(|side| self.carry(side)) == [0, 0] {
                return;
            }
        }
        panic!("the nodes never stop talking");
    }

    fn carry(&mut self, from: usize) -> usize {
        let [a, b] = &mut self.sides;
        let (sender, receiver) = if from == A { (a, b) } else { (b, a) };
        let mut count = 0;
        while let Some(transmit) = sender.node.poll_transmit() {
            count += 1;
            if self.udp_is_open || matches!(transmit.destination, Destination::Relay(_)) {
                receiver.hear(&transmit, sender.lan, sender.entry.key, self.now);
            }
        }
        receiver.write();
        count
    }
}

impl Side {
    fn new(side: usize, rng: &mut SeededRng, now: Instant) -> Self {
        let (node_key, disco_key) = (NodePrivate::generate(rng), DiscoPrivate::generate(rng));
        let lan = SocketAddr::from(([192, 168, 1, [1, 2][side]], 41641));
        let addresses = vec![IpNet::from(ipv4(side)), IpNet::from(ipv6(side))];
        let entry = control::Node {
            id: NodeId([1, 2][side]),
            name: format!("machine-{side}.tailnet.example."),
            key: node_key.public(),
            disco_key: disco_key.public(),
            allowed_ips: addresses.clone(),
            addresses,
            endpoints: vec![lan],
            home_derp: 999,
            ..control::Node::default()
        };
        let joins = Joins { tcp: true, udp: true, flows: true };
        let settings = NodeSettings { node_key, disco_key, home_region: 999, seed: rng.bytes(), joins };
        Self { node: Node::new(&settings, now), entry, lan }
    }

    fn take(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Local(packet) => self.node.handle_tun(packet, now),
            Input::Flow(contents, segment_size) => self.node.handle_flow(FLOW, contents, segment_size, now),
        }
    }

    /// By UDP all at once, as receive offload gives it; by the relay message by message.
    fn hear(&mut self, transmit: &Transmit<'_>, source: SocketAddr, sender: NodePublic, now: Instant) {
        let Transmit { destination, contents, segment_size } = *transmit;
        match destination {
            Destination::Udp(_) => self.node.handle_udp([Datagrams { source, contents, segment_size }], now),
            Destination::Relay(_) => {
                self.node.handle_relay(transmit.datagrams().map(|message| (sender, message)), now);
            }
        }
    }

    /// Takes what is for this machine.
    fn write(&mut self) -> Work {
        let mut work = Work::default();
        while let Some(packet) = self.node.poll_tun() {
            work.writes += 1;
            work.opened += packet.parts().len();
        }
        work
    }
}

fn flow_addresses(side: usize) -> FlowAddresses {
    let ends = [SocketAddr::new(ipv4(A), FLOW_PORT), SocketAddr::new(ipv4(B), OPEN_PORT)];
    FlowAddresses { local: ends[side], remote: ends[1 - side] }
}

fn first_map(own: &control::Node, peer: &control::Node) -> MapResponse {
    let port = NetPortRange { ip: "*".to_owned(), ports: PortRange { first: OPEN_PORT, last: OPEN_PORT } };
    let rule = FilterRule { src_ips: vec!["*".to_owned()], dst_ports: vec![port], ..FilterRule::default() };
    MapResponse {
        node: Some(Box::new(own.clone())),
        peers: vec![peer.clone()],
        packet_filters: Some([("base".to_owned(), vec![rule])].into()),
        ..MapResponse::default()
    }
}
