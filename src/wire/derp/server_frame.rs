//! Frames that a relay writes.

use std::time::Duration;

use super::{FrameError, KEY, NONCE, RawFrame, kind, put_frame, take};
use crate::wire::key::NodePublic;

/// First bytes of a `ServerKey` frame: `DERP` and a key in UTF-8.
const MAGIC: [u8; 8] = *b"DERP\xf0\x9f\x94\x91";

/// Why a peer cannot be reached through this relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerGoneReason {
    /// It was here and left.
    Disconnected,
    /// A packet was addressed to it and it is not here.
    NotHere,
    /// A number of a later protocol version.
    Other(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// The relay's key, sent first.
    ServerKey(NodePublic),
    /// Completes the handshake; `sealed` is opened by [`super::ServerInfo::open`].
    Info {
        nonce: [u8; NONCE],
        sealed: &'a [u8],
    },
    /// A packet from the node with the key `source`.
    RecvPacket {
        source: NodePublic,
        packet: &'a [u8],
    },
    KeepAlive,
    PeerGone {
        peer: NodePublic,
        reason: PeerGoneReason,
    },
    Ping([u8; 8]),
    Pong([u8; 8]),
    /// A sentence about the connection's trouble; empty when it is over. Tailscale's Rust client ends at this frame.
    Health(&'a [u8]),
    /// The relay is about to restart. Tailscale's Rust client ends at this frame.
    Restarting {
        reconnect_in: Duration,
        try_for: Duration,
    },
    /// A type that a relay has no business writing to a client.
    Unknown(u8),
}

impl<'a> ServerFrame<'a> {
    /// Bytes behind the known fields are ignored, as the protocol asks.
    pub fn parse(frame: RawFrame<'a>) -> Result<Self, FrameError> {
        let mut body = frame.body;
        Ok(match frame.kind {
            kind::SERVER_KEY => parse_server_key(&frame)?,
            kind::SERVER_INFO => Self::Info { nonce: *take(&frame, &mut body)?, sealed: body },
            kind::RECV_PACKET => Self::RecvPacket {
                source: NodePublic::from_bytes(*take::<KEY>(&frame, &mut body)?),
                packet: body,
            },
            kind::KEEP_ALIVE => Self::KeepAlive,
            kind::PEER_GONE => Self::PeerGone {
                peer: NodePublic::from_bytes(*take::<KEY>(&frame, &mut body)?),
                // The reason is younger than the frame: its absence means that the peer left.
                reason: PeerGoneReason::from_number(body.first().copied().unwrap_or(0)),
            },
            kind::PING => Self::Ping(*take(&frame, &mut body)?),
            kind::PONG => Self::Pong(*take(&frame, &mut body)?),
            kind::HEALTH => Self::Health(body),
            kind::RESTARTING => Self::Restarting {
                reconnect_in: milliseconds(*take(&frame, &mut body)?),
                try_for: milliseconds(*take(&frame, &mut body)?),
            },
            other => Self::Unknown(other),
        })
    }

    /// Appends the whole frame. `Unknown` appends an empty body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::ServerKey(key) => put_frame(out, kind::SERVER_KEY, &[&MAGIC, key.as_bytes()]),
            Self::Info { nonce, sealed } => put_frame(out, kind::SERVER_INFO, &[nonce, sealed]),
            Self::RecvPacket { source, packet } => {
                put_frame(out, kind::RECV_PACKET, &[source.as_bytes(), packet]);
            }
            Self::KeepAlive => put_frame(out, kind::KEEP_ALIVE, &[]),
            Self::PeerGone { peer, reason } => {
                put_frame(out, kind::PEER_GONE, &[peer.as_bytes(), &[reason.number()]]);
            }
            Self::Ping(data) => put_frame(out, kind::PING, &[data]),
            Self::Pong(data) => put_frame(out, kind::PONG, &[data]),
            Self::Health(text) => put_frame(out, kind::HEALTH, &[text]),
            Self::Restarting { reconnect_in, try_for } => {
                put_frame(
                    out,
                    kind::RESTARTING,
                    &[&number_of(*reconnect_in).to_be_bytes(), &number_of(*try_for).to_be_bytes()],
                );
            }
            Self::Unknown(kind) => put_frame(out, *kind, &[]),
        }
    }
}

impl PeerGoneReason {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Disconnected,
            1 => Self::NotHere,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Disconnected => 0,
            Self::NotHere => 1,
            Self::Other(number) => number,
        }
    }
}

fn parse_server_key<'a>(frame: &RawFrame<'a>) -> Result<ServerFrame<'a>, FrameError> {
    let mut body = frame.body;
    if take(frame, &mut body)? != &MAGIC {
        return Err(FrameError::BadMagic);
    }
    Ok(ServerFrame::ServerKey(NodePublic::from_bytes(*take::<KEY>(frame, &mut body)?)))
}

fn milliseconds(bytes: [u8; 4]) -> Duration {
    Duration::from_millis(u32::from_be_bytes(bytes).into())
}

fn number_of(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
