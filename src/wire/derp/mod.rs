//! DERP: packets between nodes that reach each other only through a relay, addressed by node key.
//!
//! Every frame is a type byte, a 32-bit big-endian body length and the body (Tailscale's `derp` package, protocol version 2).
//!
//! ```text
//! client                                    relay
//!    |  <- ServerKey (magic, relay's key)      |
//!    |  ClientInfo (own key, sealed JSON) ->   |  the seal proves possession of the key
//!    |  <- ServerInfo (sealed JSON)            |
//!    |  SendPacket, NotePreferred, Ping ->     |
//!    |  <- RecvPacket, PeerGone, KeepAlive     |
//! ```
//!
//! A [`FrameBuffer`] cuts the stream into [`RawFrame`]s within the limits below; [`ClientFrame`] and [`ServerFrame`] give
//! them meaning, one per direction. Frames of meshed relays (forwarding, watching) are unknown here and skipped.

pub mod client_frame;
pub mod frame_buffer;
pub mod info;
pub mod server_frame;

pub use client_frame::ClientFrame;
pub use frame_buffer::{FrameBuffer, RawFrame};
pub use info::{ClientInfo, InfoError, ServerInfo};
pub use server_frame::{PeerGoneReason, ServerFrame};

/// The only protocol version spoken: packets towards a client carry their source.
pub const PROTOCOL_VERSION: u32 = 2;

/// Largest packet of a `SendPacket` or `RecvPacket` frame, in bytes without the key: the protocol's own limit.
pub const MAX_PACKET: usize = 64 << 10;

/// Largest body of a `ClientInfo` frame, in bytes: the protocol's own limit.
pub const MAX_INFO: usize = 256 << 10;

/// Largest body of a fixed-size frame, in bytes; what exceeds the known fields is left for later protocol versions.
pub const MAX_SMALL: usize = 1000;

/// Largest body of an unknown frame that is skipped rather than refused: the largest frame that a client may send.
pub const MAX_UNKNOWN: usize = KEY + MAX_PACKET;

/// Bytes of a frame's header: type and length.
pub const HEADER: usize = 5;

/// Bytes of a key.
const KEY: usize = 32;

/// Bytes of a NaCl nonce.
const NONCE: usize = 24;

/// Frame types, as numbers on the wire.
mod kind {
    pub const SERVER_KEY: u8 = 0x01;
    pub const CLIENT_INFO: u8 = 0x02;
    pub const SERVER_INFO: u8 = 0x03;
    pub const SEND_PACKET: u8 = 0x04;
    pub const RECV_PACKET: u8 = 0x05;
    pub const KEEP_ALIVE: u8 = 0x06;
    pub const NOTE_PREFERRED: u8 = 0x07;
    pub const PEER_GONE: u8 = 0x08;
    pub const PING: u8 = 0x12;
    pub const PONG: u8 = 0x13;
    pub const HEALTH: u8 = 0x14;
    pub const RESTARTING: u8 = 0x15;
}

/// What a peer did wrong at the level of frames. The stream has no recovery point after any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame of type {kind:#04x} announces {length} bytes, more than its limit")]
    TooLong { kind: u8, length: u32 },
    #[error("frame of type {kind:#04x} ends before its fields do, after {length} bytes")]
    TooShort { kind: u8, length: usize },
    #[error("the relay's first frame lacks the protocol's magic")]
    BadMagic,
}

/// Appends a header and the `parts` of one body. Callers keep the sum within the frame type's limit.
fn put_frame(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    debug_assert!(length <= MAX_INFO, "no frame type has a longer body");
    out.push(kind);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// The first `N` bytes of `body`, moving it behind them.
fn take<'a, const N: usize>(frame: &RawFrame<'_>, body: &mut &'a [u8]) -> Result<&'a [u8; N], FrameError> {
    let short = FrameError::TooShort { kind: frame.kind, length: frame.body.len() };
    let (head, rest) = body.split_first_chunk::<N>().ok_or(short)?;
    *body = rest;
    Ok(head)
}

#[cfg(test)]
mod tests;
