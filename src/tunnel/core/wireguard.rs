//! WireGuard sessions: the only file that names boringtun.
//!
//! boringtun is pure except that it reads the clock (`CLOCK_BOOTTIME` for timers, the wall clock once per session for the
//! TAI64N stamp in its handshakes) and the kernel's randomness for ephemeral keys. That impurity ends here: the rest of the
//! core neither sees nor needs it. Two consequences for callers: timers run in real time, whatever `now` a simulation
//! passes elsewhere; and the wall clock must be right, or at least not behind its last run, before the first handshake,
//! because peers refuse a stamp that is older than one they have seen.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};

use super::drops::DropReason;
use super::peer::PeerIndex;
use crate::wire::key::{NodePrivate, NodePublic};

/// Handshake messages per second above which senders must prove their address by a cookie. A household's nodes send a few
/// per minute each; one costs about 0.2 ms on a small ARM core.
const MAX_HANDSHAKES_PER_SECOND: u64 = 50;

/// Header and tag of a data message, and up to 15 bytes of padding.
pub const SEAL_OVERHEAD: usize = 32 + (PADDING - 1);
/// Room that any message written by a session fits, data messages aside: a handshake initiation is the longest.
pub const MIN_ROOM: usize = 148;

/// Plaintext is padded to a multiple of this (WireGuard paper, section 5.4.6), so that lengths tell less.
const PADDING: usize = 16;

const TYPE_INITIATION: u8 = 1;
const TYPE_RESPONSE: u8 = 2;

/// Our side of every session: the static key, and the guard before its expensive arithmetic.
pub struct Identity {
    private: StaticSecret,
    public: PublicKey,
    guard: RateLimiter,
    /// What sessions check again inside boringtun: never under load, because the guard has already decided.
    inner: Arc<RateLimiter>,
}

/// Whom a message from the network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribution {
    /// A handshake initiation by this node (its static key is proven only when the session opens it).
    Initiation(NodePublic),
    /// Any other message names the session it belongs to.
    Session(PeerIndex),
    /// Nobody yet: the cookie in the first bytes of the room must be sent back.
    Cookie(usize),
    Refused(DropReason),
}

impl Identity {
    #[must_use]
    pub fn new(key: &NodePrivate) -> Self {
        let private = StaticSecret::from(*key.expose());
        let public = PublicKey::from(&private);
        let guard = RateLimiter::new(&public, MAX_HANDSHAKES_PER_SECOND);
        let inner = Arc::new(RateLimiter::new(&public, u64::MAX));
        Self { private, public, guard, inner }
    }

    /// Finds the peer of a message; `room` (at least [`MIN_ROOM`] bytes) receives a cookie reply under load. `source` is the
    /// address that a cookie proves.
    pub fn attribute(&self, message: &[u8], source: IpAddr, room: &mut [u8]) -> Attribution {
        if is_handshake(message) {
            self.guard.reset_count();
        }
        let packet = match self.guard.verify_packet(Some(source), message, room) {
            Ok(packet) => packet,
            Err(TunnResult::WriteToNetwork(cookie)) => return Attribution::Cookie(cookie.len()),
            Err(TunnResult::Err(WireGuardError::UnderLoad)) => {
                return Attribution::Refused(DropReason::UnderLoad);
            }
            Err(_) => return Attribution::Refused(DropReason::WireGuardMalformed),
        };
        match packet {
            Packet::HandshakeInit(initiation) => {
                match parse_handshake_anon(&self.private, &self.public, &initiation) {
                    Ok(half) => Attribution::Initiation(NodePublic::from_bytes(half.peer_static_public)),
                    Err(_) => Attribution::Refused(DropReason::WireGuardForged),
                }
            }
            Packet::HandshakeResponse(response) => Attribution::Session(peer_of(response.receiver_idx)),
            Packet::PacketCookieReply(reply) => Attribution::Session(peer_of(reply.receiver_idx)),
            Packet::PacketData(data) => Attribution::Session(peer_of(data.receiver_idx)),
        }
    }
}

/// What stands for the sender's address in cookies when a message came by the relay.
#[must_use]
pub fn relay_source(peer: &NodePublic) -> IpAddr {
    let (half, _) = peer.as_bytes().split_at(16);
    half.try_into()
        .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |octets: [u8; 16]| Ipv6Addr::from(octets).into())
}

fn is_handshake(message: &[u8]) -> bool {
    matches!(message.first(), Some(&(TYPE_INITIATION | TYPE_RESPONSE)))
}

/// boringtun gives out `index << 8 | n` for the sessions of one peer.
fn peer_of(session_index: u32) -> PeerIndex {
    PeerIndex(session_index >> 8)
}

/// The WireGuard state towards one peer: handshakes and the sessions that came of them.
///
/// It outlives idle times, because it remembers the newest handshake of the peer and so refuses replayed ones.
pub struct Session {
    tunn: Tunn,
    established: bool,
    expired: bool,
}

/// What came of a message from the network, the bytes being in the room that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Taken in; nothing to pass on.
    Nothing,
    /// An IP packet of this length.
    Packet(usize),
    /// A new session exists; an answer of this length must be sent.
    Handshake(usize),
    /// A message of this length must be sent.
    Reply(usize),
    Refused(DropReason),
}

/// What the passing of time asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    Nothing,
    /// A message of this length must be sent: keep-alive or handshake.
    Send(usize),
    /// No answer for 90 s, or no new session for 540 s. Packets that waited are lost; no timer runs until the next packet.
    Expired,
}

impl Session {
    /// `index` must be unique among the sessions of one identity, and below 2^24.
    #[must_use]
    pub fn new(identity: &Identity, peer: &NodePublic, index: PeerIndex) -> Self {
        let tunn = Tunn::new(
            identity.private.clone(),
            PublicKey::from(*peer.as_bytes()),
            None,
            None,
            index.0,
            Some(Arc::clone(&identity.inner)),
        );
        Self { tunn, established: false, expired: false }
    }

    /// Whether [`Session::seal`] can encrypt; otherwise [`Session::initiate`] first.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether [`Session::handle_timeout`] has anything to wait for.
    #[must_use]
    pub fn has_timers(&self) -> bool {
        !self.expired
    }

    /// Encrypts one IP packet of an established session into `room` (packet + [`SEAL_OVERHEAD`], at least [`MIN_ROOM`]).
    /// `padded` is scratch memory. Returns the message's length.
    pub fn seal(&mut self, packet: &[u8], padded: &mut Vec<u8>, room: &mut [u8]) -> Option<usize> {
        let copy = |plaintext: &mut [u8]| {
            plaintext[..packet.len()].copy_from_slice(packet);
            packet.len()
        };
        self.seal_written(packet.len(), copy, padded, room)
    }

    /// As [`Session::seal`], of a packet of at most `longest` bytes that `write` writes to the memory it is given; it returns
    /// the packet's length.
    pub fn seal_written(
        &mut self,
        longest: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
        padded: &mut Vec<u8>,
        room: &mut [u8],
    ) -> Option<usize> {
        if !self.established {
            return None;
        }
        let most = longest.next_multiple_of(PADDING);
        if padded.len() < most {
            padded.resize(most, 0);
        }
        let length = write(&mut padded[..most]);
        let plaintext = &mut padded[..length.next_multiple_of(PADDING)];
        plaintext[length..].fill(0);
        written(self.tunn.encapsulate(plaintext, room))
    }

    /// Begins a handshake unless one is under way; the message's length if there is one to send.
    pub fn initiate(&mut self, room: &mut [u8]) -> Option<usize> {
        self.expired = false;
        written(self.tunn.format_handshake_initiation(room, false))
    }

    /// Begins a handshake although there is a session, which serves until the new one stands; `None` without a session.
    pub fn renew(&mut self, room: &mut [u8]) -> Option<usize> {
        if !self.established {
            return None;
        }
        written(self.tunn.format_handshake_initiation(room, true))
    }

    /// Takes a message that was attributed to this session. `room`: as long as the message, at least [`MIN_ROOM`].
    pub fn open(&mut self, message: &[u8], room: &mut [u8]) -> Opened {
        let handshake = is_handshake(message);
        if self.expired {
            // boringtun stamps what follows with the time of its last timer run, which stopped when it expired.
            let _ = self.tunn.update_timers(room);
        }
        let opened = match self.tunn.decapsulate(None, message, room) {
            TunnResult::Done => Opened::Nothing,
            TunnResult::WriteToNetwork(reply) if handshake => Opened::Handshake(reply.len()),
            TunnResult::WriteToNetwork(reply) => Opened::Reply(reply.len()),
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Opened::Packet(packet.len())
            }
            TunnResult::Err(error) => Opened::Refused(drop_reason(&error)),
        };
        if handshake || !self.established {
            self.refresh();
            self.expired &= !matches!(opened, Opened::Handshake(_));
        }
        opened
    }

    /// The next of the messages that boringtun itself kept back, to be asked for after [`Session::open`] until `None`.
    /// Packets never wait there, but a keep-alive that fell due between two sessions does.
    pub fn next_kept(&mut self, room: &mut [u8]) -> Option<usize> {
        if !self.established {
            return None;
        }
        written(self.tunn.decapsulate(None, &[], room))
    }

    /// Runs the timers; `room` of at least [`MIN_ROOM`] bytes. With `repeats`, a handshake without answer is begun again
    /// although it is not five seconds old.
    pub fn handle_timeout(&mut self, repeats: bool, room: &mut [u8]) -> Tick {
        if self.expired {
            return Tick::Nothing;
        }
        let tick = match self.tunn.update_timers(room) {
            TunnResult::WriteToNetwork(message) => Tick::Send(message.len()),
            TunnResult::Err(WireGuardError::ConnectionExpired) => {
                self.expired = true;
                Tick::Expired
            }
            _ => Tick::Nothing,
        };
        self.refresh();
        if matches!(tick, Tick::Nothing) && repeats && !self.established {
            return written(self.tunn.format_handshake_initiation(room, true))
                .map_or(Tick::Nothing, Tick::Send);
        }
        tick
    }

    fn refresh(&mut self) {
        self.established = self.tunn.time_since_last_handshake().is_some();
    }
}

fn written(result: TunnResult<'_>) -> Option<usize> {
    match result {
        TunnResult::WriteToNetwork(message) => Some(message.len()),
        _ => None,
    }
}

fn drop_reason(error: &WireGuardError) -> DropReason {
    match error {
        WireGuardError::NoCurrentSession
        | WireGuardError::WrongIndex
        | WireGuardError::UnexpectedPacket
        | WireGuardError::ConnectionExpired => DropReason::WireGuardSession,
        WireGuardError::InvalidPacket => DropReason::PeerMalformed,
        WireGuardError::UnderLoad => DropReason::UnderLoad,
        _ => DropReason::WireGuardForged,
    }
}

#[cfg(test)]
mod tests;
