//! The way out: from the TUN, through route and session, to an address or the relay.

use std::time::Instant;

use super::{Connect, Node};
use crate::tunnel::core::drops::DropReason;
use crate::tunnel::core::offload::segment::{MAX_HEADER_LENGTH, SuperPacket};
use crate::tunnel::core::outbox::Destination;
use crate::tunnel::core::path::Route;
use crate::tunnel::core::peer::{Origin, PeerIndex};
use crate::tunnel::core::wireguard::{MIN_ROOM, SEAL_OVERHEAD, Tick};
use crate::wire::ip::{Packet, assemble_unreachable};

impl Node {
    /// A packet of this machine.
    pub(super) fn send_local(&mut self, bytes: &[u8], now: Instant) {
        match self.route_local(bytes, now) {
            Ok((index, length)) => self.send_packet(index, &bytes[..length], now),
            Err(reason) => self.drops.count(reason),
        }
    }

    /// Many packets of this machine at once.
    pub(super) fn send_super(&mut self, packet: &SuperPacket<'_>, now: Instant) {
        let mut head = [0; MAX_HEADER_LENGTH + 1];
        let length = packet.head(&mut head);
        match self.route_local(&head[..length], now) {
            Ok((index, _)) => self.send_segments(index, packet, now),
            Err(reason) => self.drops.add(reason, packet.count() as u64),
        }
    }

    /// Whom a packet of this machine is for, and its length by its own header; what its answers need is remembered.
    fn route_local(&mut self, bytes: &[u8], now: Instant) -> Result<(PeerIndex, usize), DropReason> {
        let packet = Packet::parse(bytes).map_err(|_| DropReason::LocalMalformed)?;
        let bytes = &bytes[..packet.length];
        if !self.filter.is_local(packet.source) {
            return Err(DropReason::LocalSource);
        }
        let Some(index) = self.router.lookup(packet.destination) else {
            self.refuse_unrouted(bytes, &packet);
            return Err(DropReason::NoRoute);
        };
        self.filter.note_outgoing(&packet, now);
        self.note_connect(bytes, &packet, now);
        Ok((index, packet.length))
    }

    /// Cuts and encrypts; by one route, because all of it leaves at once.
    fn send_segments(&mut self, index: PeerIndex, packet: &SuperPacket<'_>, now: Instant) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        if !peer.session().is_some_and(|session| session.is_established()) {
            return self.send_unsealed(index, packet, now);
        }
        self.next_tick.get_or_insert(now + super::TICK_INTERVAL);
        let route = peer.path.route(now);
        for number in 0..packet.count() {
            match self.seal_segment(index, packet, number) {
                Some(length) => self.commit(index, route, length),
                None => self.drops.count(DropReason::OutboxFull),
            }
        }
        if route.discover {
            self.discover(index, now);
        }
    }

    fn seal_segment(&mut self, index: PeerIndex, packet: &SuperPacket<'_>, number: usize) -> Option<usize> {
        let longest = packet.longest();
        let room = self.transmits.reserve((longest + SEAL_OVERHEAD).max(MIN_ROOM))?;
        let session = self.peers.get_mut(index)?.session()?;
        session.seal_written(longest, |room| packet.write(number, room), &mut self.padded, room)
    }

    /// Without a session the packets wait one by one.
    fn send_unsealed(&mut self, index: PeerIndex, packet: &SuperPacket<'_>, now: Instant) {
        let mut room = vec![0; packet.longest()];
        for number in 0..packet.count() {
            let length = packet.write(number, &mut room);
            self.send_packet(index, &room[..length], now);
        }
    }

    /// Encrypts and sends a packet, or lets it wait for a handshake that is begun for it.
    pub(super) fn send_packet(&mut self, index: PeerIndex, packet: &[u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        self.next_tick.get_or_insert(now + super::TICK_INTERVAL);
        let Some(room) = self.transmits.reserve((packet.len() + SEAL_OVERHEAD).max(MIN_ROOM)) else {
            return self.drops.count(DropReason::OutboxFull);
        };
        let session = peer.open_session(&self.identity, index);
        let message = if session.is_established() {
            session.seal(packet, &mut self.padded, room)
        } else {
            let message = session.initiate(room);
            if message.is_some() {
                peer.begin_handshake(now);
            }
            if peer.wait(packet) {
                self.drops.count(DropReason::HandshakeQueue);
            }
            message
        };
        if let Some(length) = message {
            self.dispatch(index, length, now);
        }
    }

    /// Sends the message of `length` bytes that stands in the reserved room of the outbox, by the peer's best way.
    pub(super) fn dispatch(&mut self, index: PeerIndex, length: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let route = peer.path.route(now);
        self.commit(index, route, length);
        if route.discover {
            self.discover(index, now);
        }
    }

    /// Sends what stands in the reserved room by `route`.
    fn commit(&mut self, index: PeerIndex, route: Route, length: usize) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let relay = Destination::Relay(peer.key);
        match (route.direct, route.relay) {
            (Some(address), is_doubled) => {
                self.transmits.commit(Destination::Udp(address), length);
                peer.counters.sent_direct += length as u64;
                if is_doubled {
                    peer.counters.sent_relay += length as u64;
                    if !self.transmits.commit_again(relay, length) {
                        self.drops.count(DropReason::OutboxFull);
                    }
                }
            }
            (None, true) => {
                self.transmits.commit(relay, length);
                peer.counters.sent_relay += length as u64;
            }
            (None, false) => self.drops.count(DropReason::NoPath),
        }
    }

    /// Sends a message that a session wrote elsewhere.
    pub(super) fn dispatch_copy(&mut self, index: PeerIndex, message: &[u8], now: Instant) {
        match self.transmits.reserve(message.len()) {
            Some(room) => {
                room[..message.len()].copy_from_slice(message);
                self.dispatch(index, message.len(), now);
            }
            None => self.drops.count(DropReason::OutboxFull),
        }
    }

    /// After a message opened the way: what boringtun kept, then the packets that waited.
    pub(super) fn send_waiting(&mut self, peer: Option<PeerIndex>, now: Instant) {
        let Some(index) = peer else { return };
        while let Some(length) = self.next_kept(index) {
            self.dispatch(index, length, now);
        }
        while let Some(packet) = self.next_waiting(index) {
            self.send_packet(index, &packet, now);
        }
    }

    /// Timers of one peer.
    pub(super) fn run_timers(&mut self, index: PeerIndex, now: Instant) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        let repeats = peer.take_repeat(now);
        let tick = match (peer.session(), self.transmits.reserve(MIN_ROOM)) {
            (Some(session), Some(room)) => session.handle_timeout(repeats, room),
            _ => Tick::Nothing,
        };
        let discovery = peer.path.handle_timeout(now, &mut self.rng);
        match tick {
            Tick::Nothing => {}
            Tick::Send(length) => self.dispatch(index, length, now),
            Tick::Expired => {
                let lost = peer.drop_waiting();
                tracing::debug!(peer = peer.name, lost, "session expired");
                self.drops.add(DropReason::HandshakeExpired, lost as u64);
            }
        }
        self.send_discovery(index, &discovery);
    }

    /// Answers a sender that proved nothing yet, on the way by which it came.
    pub(super) fn answer(&mut self, origin: Origin, message: &[u8]) {
        let destination = match origin {
            Origin::Udp(source) => Destination::Udp(source),
            Origin::Relay(sender) => Destination::Relay(sender),
        };
        self.transmit(destination, message);
    }

    pub(super) fn transmit(&mut self, destination: Destination, message: &[u8]) {
        if !self.transmits.push(destination, message) {
            self.drops.count(DropReason::OutboxFull);
        }
    }

    /// Tells this machine that nobody has the address, so that a connection attempt fails now and not by time-out.
    fn refuse_unrouted(&mut self, bytes: &[u8], packet: &Packet) {
        if let Some(error) = assemble_unreachable(bytes, packet) {
            self.deliver(&error);
        }
    }

    fn note_connect(&mut self, bytes: &[u8], packet: &Packet, now: Instant) {
        if !packet.is_tcp_syn() {
            return;
        }
        let number = bytes.get(packet.transport_offset + 4..).and_then(|rest| rest.first_chunk::<4>());
        if let (Some(ports), Some(number)) = (packet.ports(), number) {
            let connect = Connect { source: packet.source, destination: packet.destination, ports };
            self.connects.insert(connect, u32::from_be_bytes(*number), now);
        }
    }

    fn next_kept(&mut self, index: PeerIndex) -> Option<usize> {
        let session = self.peers.get_mut(index)?.session()?;
        session.next_kept(self.transmits.reserve(MIN_ROOM)?)
    }

    fn next_waiting(&mut self, index: PeerIndex) -> Option<Vec<u8>> {
        let peer = self.peers.get_mut(index)?;
        let is_established = peer.session()?.is_established();
        if is_established { peer.next_waiting() } else { None }
    }
}
