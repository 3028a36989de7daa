//! Disco messages of the node: which paths to which peers work.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::Node;
use crate::tunnel::core::drops::DropReason;
use crate::tunnel::core::outbox::Destination;
use crate::tunnel::core::path::{Discovery, PingRequest};
use crate::tunnel::core::peer::{Origin, PeerIndex};
use crate::wire::disco::{self, Message, TxId};
use crate::wire::key::{DiscoPublic, NodePublic};

/// Stands for "by relay" where an address is expected; the port is the region's number.
const RELAY_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 3, 3, 40);

impl Node {
    /// Looks for a path to a peer that has none which is proven.
    pub(super) fn discover(&mut self, index: PeerIndex, now: Instant) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let discovery = peer.path.discover(now, &mut self.rng);
        self.send_discovery(index, &discovery);
    }

    pub(super) fn send_discovery(&mut self, index: PeerIndex, discovery: &Discovery) {
        for ping in &discovery.pings {
            self.send_ping(index, *ping);
        }
        if discovery.call_me_maybe
            && let Some(peer) = self.peers.get(index)
        {
            let message = Message::CallMeMaybe(self.own_endpoints.clone());
            self.send_disco(index, Destination::Relay(peer.key), &message);
        }
    }

    pub(super) fn receive_disco(&mut self, packet: &[u8], origin: Origin, now: Instant) {
        if let Err(reason) = self.take_disco(packet, origin, now) {
            tracing::trace!(?reason, "disco packet refused");
            self.drops.count(reason);
        }
    }

    /// The peer told its new disco key inside the tunnel, from one of its own addresses.
    pub(super) fn take_disco_key(&mut self, index: PeerIndex, source: IpAddr, key: DiscoPublic) {
        let owns_source = self.net_map.peers().any(|node| {
            self.peers.with_id(node.id) == Some(index)
                && node.addresses.iter().any(|address| address.addr() == source)
        });
        if owns_source {
            self.peers.set_disco(index, key, &self.disco_key);
        } else {
            self.drops.count(DropReason::TsmpUnexpected);
        }
    }

    fn take_disco(&mut self, packet: &[u8], origin: Origin, now: Instant) -> Result<(), DropReason> {
        let sender = disco::sender(packet).ok_or(DropReason::DiscoForged)?;
        let sharers = self.peers.with_disco(&sender).to_vec();
        let first = sharers.first().ok_or(DropReason::DiscoStranger)?;
        let sealer = self.peers.get(*first).and_then(|peer| peer.disco_box());
        let message = sealer.ok_or(DropReason::DiscoStranger)?.open(packet);
        match (message.map_err(|_| DropReason::DiscoForged)?, origin) {
            (Some(Message::Ping { tx_id, node }), _) => {
                let index = self.claimant(&sharers, node, origin).ok_or(DropReason::DiscoForged)?;
                self.take_ping(index, tx_id, origin, now);
                Ok(())
            }
            (Some(Message::Pong { tx_id, .. }), Origin::Udp(source)) => {
                self.take_pong(&sharers, tx_id, source, now)
            }
            (Some(Message::CallMeMaybe(endpoints)), Origin::Relay(_)) => {
                let index = self.claimant(&sharers, None, origin).ok_or(DropReason::DiscoForged)?;
                self.take_call_me_maybe(index, &endpoints, now)
            }
            (Some(Message::Pong { .. } | Message::CallMeMaybe(_)), _) => Err(DropReason::DiscoUnexpected),
            (None, _) => Ok(()),
        }
    }

    /// Which of the peers that hold the disco key is meant: the one with the node key that the message claims and the relay
    /// vouches for; without either there must be only one.
    fn claimant(
        &self,
        sharers: &[PeerIndex],
        claimed: Option<NodePublic>,
        origin: Origin,
    ) -> Option<PeerIndex> {
        let vouched = match origin {
            Origin::Udp(_) => None,
            Origin::Relay(sender) => Some(sender),
        };
        let mut fitting = sharers.iter().copied().filter(|index| {
            self.peers.get(*index).is_some_and(|peer| {
                claimed.is_none_or(|key| key == peer.key) && vouched.is_none_or(|key| key == peer.key)
            })
        });
        let found = fitting.next()?;
        fitting.next().is_none().then_some(found)
    }

    /// Answers on the way the ping came, and tries that way itself.
    fn take_ping(&mut self, index: PeerIndex, tx_id: TxId, origin: Origin, now: Instant) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        match origin {
            Origin::Relay(sender) => {
                let port = u16::try_from(self.home_region).unwrap_or(0);
                let seen_from = SocketAddr::from((RELAY_ADDRESS, port));
                self.send_disco(index, Destination::Relay(sender), &Message::Pong { tx_id, seen_from });
            }
            Origin::Udp(source) => {
                let ping =
                    peer.path.handle_ping(source, now).then(|| peer.path.ping(source, now, &mut self.rng));
                self.send_disco(index, Destination::Udp(source), &Message::Pong { tx_id, seen_from: source });
                if let Some(ping) = ping {
                    self.send_ping(index, ping);
                }
            }
        }
    }

    fn take_pong(
        &mut self,
        sharers: &[PeerIndex],
        tx_id: TxId,
        source: SocketAddr,
        now: Instant,
    ) -> Result<(), DropReason> {
        for index in sharers {
            let Some(peer) = self.peers.get_mut(*index) else { continue };
            let before = peer.path.state(now);
            if let Some(latency) = peer.path.handle_pong(tx_id, source, now) {
                let after = peer.path.state(now);
                if before != after {
                    tracing::debug!(peer = peer.name, ?before, ?after, ?latency, "path changed");
                }
                return Ok(());
            }
        }
        Err(DropReason::DiscoUnexpected)
    }

    fn take_call_me_maybe(
        &mut self,
        index: PeerIndex,
        endpoints: &[SocketAddr],
        now: Instant,
    ) -> Result<(), DropReason> {
        let peer = self.peers.get_mut(index).ok_or(DropReason::DiscoStranger)?;
        if !peer.path.handle_call_me_maybe(endpoints, now) {
            return Err(DropReason::DiscoUnexpected);
        }
        for ping in peer.path.ping_candidates(now, &mut self.rng) {
            self.send_ping(index, ping);
        }
        Ok(())
    }

    fn send_ping(&mut self, index: PeerIndex, ping: PingRequest) {
        let message = Message::Ping { tx_id: ping.tx_id, node: Some(self.own_key) };
        self.send_disco(index, Destination::Udp(ping.to), &message);
    }

    fn send_disco(&mut self, index: PeerIndex, destination: Destination, message: &Message) {
        let Some(sealer) = self.peers.get(index).and_then(|peer| peer.disco_box()) else { return };
        let packet = sealer.seal(message, &mut self.rng);
        self.transmit(destination, &packet);
    }
}
