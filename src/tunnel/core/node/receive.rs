//! The way in: from a datagram or the relay, through session, source check and filter, to the TUN.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Connect, Node};
use crate::tunnel::core::drops::DropReason;
use crate::tunnel::core::peer::{Origin, PeerIndex};
use crate::tunnel::core::wireguard::{Attribution, MIN_ROOM, Opened};
use crate::wire::datagram::{DatagramKind, classify};
use crate::wire::disco::is_disco;
use crate::wire::ip::{PROTOCOL_TCP, PROTOCOL_TSMP, Packet, Ports, assemble, assemble_reset};
use crate::wire::key::NodePublic;
use crate::wire::tsmp::{REASON_ACCESS_RULES, Tsmp};

/// Longest message taken: the largest payload of a UDP datagram or relay frame.
const MAX_MESSAGE_LENGTH: usize = 1 << 16;

impl Node {
    /// The peer whose session took it in: packets for that peer may no longer have to wait.
    pub(super) fn receive_datagram(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        now: Instant,
    ) -> Option<PeerIndex> {
        match classify(datagram) {
            DatagramKind::WireGuard => return self.receive_message(datagram, Origin::Udp(source), now),
            DatagramKind::Disco => self.receive_disco(datagram, Origin::Udp(source), now),
            DatagramKind::Stun | DatagramKind::Geneve => self.drops.count(DropReason::UnusedProtocol),
        }
        None
    }

    /// As [`Node::receive_datagram`].
    pub(super) fn receive_relayed(
        &mut self,
        message: &[u8],
        sender: NodePublic,
        now: Instant,
    ) -> Option<PeerIndex> {
        let Some(peer) = self.peers.with_key(&sender).and_then(|index| self.peers.get_mut(index)) else {
            self.drops.count(DropReason::RelayStranger);
            return None;
        };
        peer.path.handle_relay();
        if !is_disco(message) {
            return self.receive_message(message, Origin::Relay(sender), now);
        }
        self.receive_disco(message, Origin::Relay(sender), now);
        None
    }

    /// A WireGuard message, or rubbish.
    fn receive_message(&mut self, message: &[u8], origin: Origin, now: Instant) -> Option<PeerIndex> {
        match self.open_message(message, origin, now) {
            Ok((index, opened)) => {
                self.take_opened(index, opened, message.len(), origin, now);
                Some(index)
            }
            Err(reason) => {
                tracing::trace!(?reason, length = message.len(), "message refused");
                self.drops.count(reason);
                None
            }
        }
    }

    /// Decrypts into the room behind the packets that wait for the TUN.
    fn open_message(
        &mut self,
        message: &[u8],
        origin: Origin,
        now: Instant,
    ) -> Result<(PeerIndex, Opened), DropReason> {
        if message.len() > MAX_MESSAGE_LENGTH {
            return Err(DropReason::Oversized);
        }
        let room = self.packets.reserve(message.len().max(MIN_ROOM)).ok_or(DropReason::OutboxFull)?;
        let index = match self.identity.attribute(message, origin.source(), room) {
            Attribution::Initiation(key) => self.peers.with_key(&key).ok_or(DropReason::WireGuardStranger)?,
            Attribution::Session(index) => index,
            Attribution::Cookie(length) => {
                let cookie = room[..length].to_vec();
                self.answer(origin, &cookie);
                return Err(DropReason::UnderLoad);
            }
            Attribution::Refused(reason) => return Err(reason),
        };
        let peer = self.peers.get_mut(index).ok_or(DropReason::WireGuardSession)?;
        let opened = peer.open_session(&self.identity, index).open(message, room);
        if let Opened::Refused(reason) = opened {
            return Err(reason);
        }
        self.wake(now);
        Ok((index, opened))
    }

    fn take_opened(&mut self, index: PeerIndex, opened: Opened, length: usize, origin: Origin, now: Instant) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        match origin {
            Origin::Udp(_) => peer.counters.received_direct += length as u64,
            Origin::Relay(_) => peer.counters.received_relay += length as u64,
        }
        match opened {
            Opened::Nothing | Opened::Refused(_) => {}
            Opened::Packet(length) => self.receive_packet(index, length, now),
            Opened::Reply(length) => self.reply(index, length, now),
            Opened::Handshake(length) => {
                peer.counters.handshakes += 1;
                peer.last_handshake = Some(now);
                tracing::debug!(peer = peer.name, "handshake");
                self.reply(index, length, now);
            }
        }
    }

    fn reply(&mut self, index: PeerIndex, length: usize, now: Instant) {
        let message = self.packets.reserved(length).to_vec();
        self.dispatch_copy(index, &message, now);
    }

    /// A decrypted packet, `length` bytes in the reserved room.
    fn receive_packet(&mut self, index: PeerIndex, length: usize, now: Instant) {
        let parsed = Packet::parse(self.packets.reserved(length));
        let Ok(packet) = parsed else { return self.drops.count(DropReason::PeerMalformed) };
        if self.router.lookup(packet.source) != Some(index) {
            return self.drops.count(DropReason::PeerSource);
        }
        match self.filter.admit(&packet, now) {
            Ok(()) if packet.protocol == PROTOCOL_TSMP => self.receive_tsmp(index, &packet, now),
            Ok(()) => self.packets.commit(&packet, self.flows.of(&packet)),
            Err(reason) => {
                tracing::trace!(?reason, "packet from a peer refused");
                self.drops.count(reason);
                self.reject(index, &packet, now);
            }
        }
    }

    /// Lets the peer's connection attempt fail at once.
    fn reject(&mut self, index: PeerIndex, packet: &Packet, now: Instant) {
        let (true, Some(ports)) = (packet.is_tcp_syn(), packet.ports()) else { return };
        let reject = Tsmp::Reject { protocol: PROTOCOL_TCP, reason: REASON_ACCESS_RULES, ports };
        self.send_tsmp(index, packet, &reject, now);
    }

    fn receive_tsmp(&mut self, index: PeerIndex, packet: &Packet, now: Instant) {
        let message = Tsmp::decode(&self.packets.reserved(packet.length)[packet.transport_offset..]);
        match message {
            Some(Tsmp::Ping(data)) => {
                let pong = Tsmp::Pong { data, peer_api_port: 0 };
                self.send_tsmp(index, packet, &pong, now);
            }
            Some(Tsmp::Reject { protocol: PROTOCOL_TCP, ports, .. }) => self.fail_connect(packet, ports),
            Some(Tsmp::DiscoKey(key)) => self.take_disco_key(index, packet.source, key),
            Some(Tsmp::Reject { .. } | Tsmp::Pong { .. }) | None => {
                self.drops.count(DropReason::TsmpUnexpected);
            }
        }
    }

    fn send_tsmp(&mut self, index: PeerIndex, to: &Packet, message: &Tsmp, now: Instant) {
        if let Some(answer) = assemble(to.destination, to.source, PROTOCOL_TSMP, &message.encode()) {
            self.send_packet(index, &answer, now);
        }
    }

    /// The peer's filter refused a connection attempt of this machine.
    fn fail_connect(&mut self, packet: &Packet, ports: Ports) {
        let connect = Connect { source: packet.destination, destination: packet.source, ports };
        let Some(number) = self.connects.remove(&connect) else {
            return self.drops.count(DropReason::TsmpUnexpected);
        };
        let back = Ports { source: ports.destination, destination: ports.source };
        let reset = assemble_reset(connect.destination, connect.source, back, number.wrapping_add(1));
        if let Some(reset) = reset {
            self.deliver(&reset);
        }
    }

    /// Gives this machine a packet that was made here.
    pub(super) fn deliver(&mut self, packet: &[u8]) {
        if !self.packets.push(packet) {
            self.drops.count(DropReason::OutboxFull);
        }
    }
}
