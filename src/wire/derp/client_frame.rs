//! Frames that a client writes.

use super::{FrameError, KEY, NONCE, RawFrame, kind, put_frame, take};
use crate::wire::key::NodePublic;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Introduces the client; `sealed` is opened by [`super::ClientInfo::open`].
    Info {
        key: NodePublic,
        nonce: [u8; NONCE],
        sealed: &'a [u8],
    },
    /// A packet for the node with the key `destination`.
    SendPacket {
        destination: NodePublic,
        packet: &'a [u8],
    },
    /// Whether this relay is the client's home.
    NotePreferred(bool),
    Ping([u8; 8]),
    Pong([u8; 8]),
    /// A type that a client has no business writing.
    Unknown(u8),
}

impl<'a> ClientFrame<'a> {
    /// Bytes behind the known fields are ignored, as the protocol asks.
    pub fn parse(frame: RawFrame<'a>) -> Result<Self, FrameError> {
        let mut body = frame.body;
        Ok(match frame.kind {
            kind::CLIENT_INFO => Self::Info {
                key: NodePublic::from_bytes(*take::<KEY>(&frame, &mut body)?),
                nonce: *take(&frame, &mut body)?,
                sealed: body,
            },
            kind::SEND_PACKET => Self::SendPacket {
                destination: NodePublic::from_bytes(*take::<KEY>(&frame, &mut body)?),
                packet: body,
            },
            kind::NOTE_PREFERRED => Self::NotePreferred(take::<1>(&frame, &mut body)? != &[0]),
            kind::PING => Self::Ping(*take(&frame, &mut body)?),
            kind::PONG => Self::Pong(*take(&frame, &mut body)?),
            other => Self::Unknown(other),
        })
    }

    /// Appends the whole frame. `Unknown` appends an empty body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Info { key, nonce, sealed } => {
                put_frame(out, kind::CLIENT_INFO, &[key.as_bytes(), nonce, sealed]);
            }
            Self::SendPacket { destination, packet } => {
                put_frame(out, kind::SEND_PACKET, &[destination.as_bytes(), packet]);
            }
            Self::NotePreferred(preferred) => {
                put_frame(out, kind::NOTE_PREFERRED, &[&[u8::from(*preferred)]]);
            }
            Self::Ping(data) => put_frame(out, kind::PING, &[data]),
            Self::Pong(data) => put_frame(out, kind::PONG, &[data]),
            Self::Unknown(kind) => put_frame(out, *kind, &[]),
        }
    }
}
