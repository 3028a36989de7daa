//! Why a packet was dropped: one name per cause, one counter per name. Nothing is dropped without being counted here.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// From this machine: not an IP packet, or of a flow that is over.
    LocalMalformed,
    /// From the TUN: no peer owns the destination.
    NoRoute,
    /// From the TUN: the source is not an address of this node.
    LocalSource,
    /// The peer has neither a UDP address nor a relay.
    NoPath,
    /// Oldest of too many packets that wait for a handshake.
    HandshakeQueue,
    /// Waited for a handshake that was given up.
    HandshakeExpired,
    /// The shell does not drain as fast as packets come.
    OutboxFull,
    /// Larger than any packet of the tunnel.
    Oversized,
    /// The kernel would not send a datagram: no route to the address, or a firewall.
    SendFailed,
    /// The kernel would not take a packet from the tunnel, or the flow it was for is over.
    TunFailed,
    /// The relay does not take packets as fast as they come, or is gone.
    RelayFull,
    /// STUN or Geneve: this node asks nobody and relays for nobody.
    UnusedProtocol,
    /// A disco packet by a key that is not in the netmap.
    DiscoStranger,
    /// A disco packet that does not decrypt, is cut off, or claims another node.
    DiscoForged,
    /// A disco message on a path where it has no meaning, or a pong to no ping.
    DiscoUnexpected,
    /// Not a WireGuard message, or its MAC is not made for this node.
    WireGuardMalformed,
    /// A handshake by a key that is not in the netmap.
    WireGuardStranger,
    /// For a session that does not exist (any more).
    WireGuardSession,
    /// Does not decrypt, or came twice.
    WireGuardForged,
    /// Too many handshakes per second from senders that did not prove their address.
    UnderLoad,
    /// By the relay, from a node that is not in the netmap.
    RelayStranger,
    /// From a peer: not a well-formed IP packet.
    PeerMalformed,
    /// From a peer: the source address belongs to somebody else.
    PeerSource,
    /// From a peer: not for this node or a route it serves.
    FilterDestination,
    /// From a peer: multicast or link-local.
    FilterScope,
    /// From a peer: a protocol that no rule names.
    FilterProtocol,
    /// From a peer: no rule allows it.
    FilterRules,
    /// From a peer: a TSMP message without a meaning here.
    TsmpUnexpected,
}

impl DropReason {
    pub const ALL: [Self; 28] = [
        Self::LocalMalformed,
        Self::NoRoute,
        Self::LocalSource,
        Self::NoPath,
        Self::HandshakeQueue,
        Self::HandshakeExpired,
        Self::OutboxFull,
        Self::Oversized,
        Self::SendFailed,
        Self::TunFailed,
        Self::RelayFull,
        Self::UnusedProtocol,
        Self::DiscoStranger,
        Self::DiscoForged,
        Self::DiscoUnexpected,
        Self::WireGuardMalformed,
        Self::WireGuardStranger,
        Self::WireGuardSession,
        Self::WireGuardForged,
        Self::UnderLoad,
        Self::RelayStranger,
        Self::PeerMalformed,
        Self::PeerSource,
        Self::FilterDestination,
        Self::FilterScope,
        Self::FilterProtocol,
        Self::FilterRules,
        Self::TsmpUnexpected,
    ];

    /// Value of the metric's `reason` label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::LocalMalformed => "local_malformed",
            Self::NoRoute => "no_route",
            Self::LocalSource => "local_source",
            Self::NoPath => "no_path",
            Self::HandshakeQueue => "handshake_queue",
            Self::HandshakeExpired => "handshake_expired",
            Self::OutboxFull => "outbox_full",
            Self::Oversized => "oversized",
            Self::SendFailed => "send_failed",
            Self::TunFailed => "tun_failed",
            Self::RelayFull => "relay_full",
            Self::UnusedProtocol => "unused_protocol",
            Self::DiscoStranger => "disco_stranger",
            Self::DiscoForged => "disco_forged",
            Self::DiscoUnexpected => "disco_unexpected",
            Self::WireGuardMalformed => "wireguard_malformed",
            Self::WireGuardStranger => "wireguard_stranger",
            Self::WireGuardSession => "wireguard_session",
            Self::WireGuardForged => "wireguard_forged",
            Self::UnderLoad => "under_load",
            Self::RelayStranger => "relay_stranger",
            Self::PeerMalformed => "peer_malformed",
            Self::PeerSource => "peer_source",
            Self::FilterDestination => "filter_destination",
            Self::FilterScope => "filter_scope",
            Self::FilterProtocol => "filter_protocol",
            Self::FilterRules => "filter_rules",
            Self::TsmpUnexpected => "tsmp_unexpected",
        }
    }
}

/// Packets dropped since start, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    pub fn count(&mut self, reason: DropReason) {
        self.add(reason, 1);
    }

    pub fn add(&mut self, reason: DropReason, packets: u64) {
        self.0[reason as usize] += packets;
    }

    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_label() {
        for (position, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(position, reason as usize);
            let same = DropReason::ALL.into_iter().filter(|other| other.label() == reason.label());
            assert_eq!(same.count(), 1, "{}", reason.label());
        }
    }
}
