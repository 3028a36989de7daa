//! TSMP: messages between nodes inside the tunnel, as IP protocol 99. The first byte of the payload is the type.

use super::ip::Ports;
use super::key::DiscoPublic;

const TYPE_REJECT: u8 = b'!';
const TYPE_PING: u8 = b'p';
const TYPE_PONG: u8 = b'o';
const TYPE_DISCO_KEY: u8 = b'a';

/// Reason of a [`Tsmp::Reject`] sent by a packet filter.
pub const REASON_ACCESS_RULES: u8 = b'A';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tsmp {
    /// "Your connection attempt was dropped": lets the sender fail at once instead of waiting for its time-out.
    Reject {
        protocol: u8,
        reason: u8,
        /// As in the packet that was dropped.
        ports: Ports,
    },
    Ping([u8; 8]),
    Pong {
        data: [u8; 8],
        /// 0: none.
        peer_api_port: u16,
    },
    /// The sender's new disco key (capability version 144 on).
    DiscoKey(DiscoPublic),
}

impl Tsmp {
    /// `None` for unknown types and cut-off messages.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (kind, body) = payload.split_first()?;
        match *kind {
            TYPE_REJECT => {
                let [protocol, reason, s0, s1, d0, d1] = *body.first_chunk::<6>()?;
                let ports =
                    Ports { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) };
                Some(Self::Reject { protocol, reason, ports })
            }
            TYPE_PING => body.first_chunk::<8>().map(|data| Self::Ping(*data)),
            TYPE_PONG => {
                let (data, rest) = body.split_first_chunk::<8>()?;
                let peer_api_port = rest.first_chunk::<2>().map_or(0, |port| u16::from_be_bytes(*port));
                Some(Self::Pong { data: *data, peer_api_port })
            }
            TYPE_DISCO_KEY => {
                body.first_chunk::<32>().map(|key| Self::DiscoKey(DiscoPublic::from_bytes(*key)))
            }
            _ => None,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Reject { protocol, reason, ports } => {
                let mut payload = vec![TYPE_REJECT, *protocol, *reason];
                payload.extend_from_slice(&ports.source.to_be_bytes());
                payload.extend_from_slice(&ports.destination.to_be_bytes());
                payload
            }
            Self::Ping(data) => [&[TYPE_PING], data.as_slice()].concat(),
            Self::Pong { data, peer_api_port } => {
                [&[TYPE_PONG], data.as_slice(), &peer_api_port.to_be_bytes()].concat()
            }
            Self::DiscoKey(key) => [&[TYPE_DISCO_KEY], key.as_bytes().as_slice()].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_round_trip_in_the_documented_layout() {
        let ports = Ports { source: 50000, destination: 22 };
        let reject = Tsmp::Reject { protocol: 6, reason: REASON_ACCESS_RULES, ports };
        assert_eq!(hex::encode(reject.encode()), "210641c3500016");
        for message in [
            reject,
            Tsmp::Ping([1; 8]),
            Tsmp::Pong { data: [2; 8], peer_api_port: 80 },
            Tsmp::DiscoKey(DiscoPublic::from_bytes([7; 32])),
        ] {
            assert_eq!(Tsmp::decode(&message.encode()), Some(message));
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_decoded_or_nothing(kind in prop::sample::select(b"!poaz".as_slice()), body: Vec<u8>, bare: Vec<u8>) {
            let _ = Tsmp::decode(&bare);
            let payload = [&[kind], body.as_slice()].concat();
            if let Some(message) = Tsmp::decode(&payload) {
                let again = message.encode();
                prop_assert_eq!(Tsmp::decode(&again), Some(message));
                // Half a port in a pong is none.
                let whole = if kind == TYPE_PONG && body.len() < 10 { 9 } else { again.len() };
                let shared = whole.min(payload.len());
                prop_assert_eq!(&again[..shared], &payload[..shared]);
            }
        }
    }

    #[test]
    fn strange_messages_are_nothing() {
        for payload in [&b""[..], b"p1234567", b"!\x06A", b"a123", b"z"] {
            assert_eq!(Tsmp::decode(payload), None);
        }
    }
}
