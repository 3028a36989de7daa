//! The node's state machine: packets, datagrams and netmaps in; datagrams and packets out.
//!
//! Three kinds of calls, all free of I/O: `handle_*` takes a batch of input with the time at which it came, `poll_*` gives
//! output until `None`, [`Node::poll_timeout`] says until when [`Node::handle_timeout`] may wait. Any order of calls is
//! allowed; a call with nothing to do does nothing. Output that is not polled is bounded: what does not fit is dropped.

mod discovery;
mod netmap_sync;
mod receive;
mod send;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::drops::{DropReason, Drops};
use super::filter::Filter;
use super::flows::{FlowAddresses, FlowId, Flows};
use super::net_map::NetMap;
use super::offload::coalesce::Joins;
use super::offload::segment::{LocalPacket, SuperPacket};
use super::outbox::{LocalWrite, Packets, Transmit, Transmits};
use super::peer::{Origin, PeerReport, PeerTable};
use super::recent::Recent;
use super::router::Router;
use super::wireguard::Identity;
use crate::base::rng::SeededRng;
use crate::wire::control::MapResponse;
use crate::wire::ip::Ports;
use crate::wire::key::{DiscoPrivate, NodePrivate, NodePublic};

/// How often timers run while any peer has one: WireGuard's own are seconds, but it asks for no more than this of delay.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// Connection attempts remembered, so that a peer's "rejected" can end them at once.
const MAX_CONNECTS: usize = 1024;
/// After this an attempt that got no answer is timing out anyway.
const CONNECT_LIFETIME: Duration = Duration::from_secs(30);

/// Own endpoints told to peers; a gateway has a handful.
const MAX_OWN_ENDPOINTS: usize = 32;

pub struct NodeSettings {
    pub node_key: NodePrivate,
    pub disco_key: DiscoPrivate,
    /// The relay region of this node.
    pub home_region: i32,
    pub seed: [u8; 32],
    /// Which packets for this machine may be joined.
    pub joins: Joins,
}

/// What one UDP read gave: `contents` cut every `segment_size` bytes is one datagram or more (receive offload).
#[derive(Debug, Clone, Copy)]
pub struct Datagrams<'a> {
    pub source: SocketAddr,
    pub contents: &'a [u8],
    pub segment_size: usize,
}

pub struct Node {
    own_key: NodePublic,
    identity: Identity,
    disco_key: DiscoPrivate,
    home_region: i32,
    own_endpoints: Vec<SocketAddr>,
    net_map: NetMap,
    peers: PeerTable,
    router: Router,
    filter: Filter,
    flows: Flows,
    connects: Recent<Connect, u32>,
    rng: SeededRng,
    transmits: Transmits,
    packets: Packets,
    drops: Drops,
    /// Scratch memory of padding.
    padded: Vec<u8>,
    next_tick: Option<Instant>,
}

/// A TCP connection attempt of this machine; the value beside it is the SYN's sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Connect {
    source: IpAddr,
    destination: IpAddr,
    ports: Ports,
}

impl Node {
    #[must_use]
    pub fn new(settings: &NodeSettings, now: Instant) -> Self {
        Self {
            own_key: settings.node_key.public(),
            identity: Identity::new(&settings.node_key),
            disco_key: settings.disco_key.clone(),
            home_region: settings.home_region,
            own_endpoints: Vec::new(),
            net_map: NetMap::default(),
            peers: PeerTable::default(),
            router: Router::default(),
            filter: Filter::new(now),
            flows: Flows::default(),
            connects: Recent::new(MAX_CONNECTS, CONNECT_LIFETIME, now),
            rng: SeededRng::new(settings.seed),
            transmits: Transmits::default(),
            packets: Packets::new(settings.joins),
            drops: Drops::default(),
            padded: Vec::new(),
            next_tick: None,
        }
    }

    /// What this machine sends into the tailnet.
    pub fn handle_tun(&mut self, packet: LocalPacket<'_>, now: Instant) {
        match packet {
            LocalPacket::Single(packet) => self.send_local(packet, now),
            LocalPacket::Super(packet) => self.send_super(&packet, now),
        }
    }

    /// From now on, packets between these addresses are not of this machine's kernel but of `id`.
    pub fn begin_flow(&mut self, id: FlowId, addresses: FlowAddresses) {
        self.flows.begin(id, addresses);
    }

    pub fn end_flow(&mut self, id: FlowId) {
        self.flows.end(id);
    }

    /// Datagrams of a flow, every `segment_size` bytes of `contents` one, none longer than a packet takes.
    pub fn handle_flow(&mut self, id: FlowId, contents: &[u8], segment_size: usize, now: Instant) {
        let headers = self.flows.headers(id);
        let datagrams = headers.as_ref().and_then(|it| SuperPacket::of_datagrams(it, contents, segment_size));
        match datagrams {
            Some(datagrams) => self.send_super(&datagrams, now),
            None => self.drops.count(DropReason::LocalMalformed),
        }
    }

    /// Datagrams from the UDP sockets.
    pub fn handle_udp<'a>(&mut self, reads: impl IntoIterator<Item = Datagrams<'a>>, now: Instant) {
        for read in reads {
            let source = SocketAddr::new(read.source.ip().to_canonical(), read.source.port());
            let mut heard = None;
            for datagram in read.contents.chunks(read.segment_size.max(1)) {
                let sender = self.receive_datagram(datagram, source, now);
                if sender != heard {
                    self.send_waiting(heard, now);
                    heard = sender;
                }
            }
            self.send_waiting(heard, now);
        }
    }

    /// Messages from the relay, each with the key of its sender.
    pub fn handle_relay<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (NodePublic, &'a [u8])>,
        now: Instant,
    ) {
        for (sender, message) in messages {
            let heard = self.receive_relayed(message, sender, now);
            self.send_waiting(heard, now);
        }
    }

    /// A message of the map stream.
    pub fn handle_net_map(&mut self, response: MapResponse, now: Instant) {
        self.sync_net_map(response, now);
    }

    /// Where this node can be reached, told to peers that ask by the relay.
    pub fn handle_own_endpoints(&mut self, endpoints: &[SocketAddr]) {
        self.own_endpoints = endpoints.iter().take(MAX_OWN_ENDPOINTS).copied().collect();
    }

    /// The kernel refused to send so many datagrams to `address`, because there is no way there: paths to it are no longer trusted, so that
    /// the next packets go by the relay.
    pub fn handle_unreachable(&mut self, address: SocketAddr, datagrams: u64, now: Instant) {
        self.drops.add(DropReason::SendFailed, datagrams);
        self.peers.for_each(|peer| peer.path.handle_unreachable(address, now));
    }

    /// Runs what fell due. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_tick.is_none_or(|due| now < due) {
            return;
        }
        let indices: Vec<_> =
            self.peers.iter().filter(|(_, peer)| peer.has_timers()).map(|(index, _)| index).collect();
        self.next_tick = None;
        for index in indices {
            self.run_timers(index, now);
        }
        if self.peers.iter().any(|(_, peer)| peer.has_timers()) {
            self.wake(now);
        }
    }

    /// When [`Node::handle_timeout`] must be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.next_tick.map(|due| (due, "timers of sessions and heartbeats of paths"))
    }

    /// Datagrams for the network.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.transmits.poll()
    }

    /// Bytes of the datagrams that [`Node::poll_transmit`] will give.
    #[must_use]
    pub fn outgoing_bytes(&self) -> usize {
        self.transmits.bytes()
    }

    /// IP packets for this machine, those of flows among them.
    pub fn poll_tun(&mut self) -> Option<LocalWrite<'_>> {
        self.packets.poll()
    }

    /// Packets dropped since start.
    #[must_use]
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Counts packets that the shell could not pass on.
    pub fn count_drops(&mut self, reason: DropReason, packets: u64) {
        self.drops.add(reason, packets);
    }

    /// Every peer as it is now.
    pub fn reports(&self, now: Instant) -> impl Iterator<Item = PeerReport> + '_ {
        self.peers.iter().map(move |(_, peer)| peer.report(now))
    }

    /// Something has timers now.
    fn wake(&mut self, now: Instant) {
        self.next_tick.get_or_insert(now + TICK_INTERVAL);
    }
}

impl Origin {
    /// What a cookie proves of a sender.
    fn source(&self) -> IpAddr {
        match self {
            Self::Udp(source) => source.ip(),
            Self::Relay(sender) => super::wireguard::relay_source(sender),
        }
    }
}

#[cfg(test)]
mod tests;
