//! Path-discovery messages ("disco"): how two nodes find the addresses on which they reach each other.
//!
//! A packet is `magic (6) | sender's disco key (32) | nonce (24) | NaCl box`, the box holding
//! `type (1) | version 0 (1) | payload`. It travels as a UDP datagram or inside a relay frame. The format is that of
//! Tailscale's `disco` package; types and versions not listed here are ignored, so that newer peers keep working.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crypto_box::aead::{AeadInPlace, generic_array::GenericArray};
use crypto_box::{PublicKey, SalsaBox, SecretKey};

use crate::base::rng::SeededRng;
use crate::wire::key::{DiscoPrivate, DiscoPublic, NodePublic};

/// First bytes of every disco packet: "TS" and an emoji.
pub const MAGIC: [u8; 6] = [0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac];

const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
/// Everything before the box.
const HEADER_LENGTH: usize = MAGIC.len() + KEY_LENGTH + NONCE_LENGTH;
/// Type and version.
const MESSAGE_HEADER_LENGTH: usize = 2;
const ENDPOINT_LENGTH: usize = 18;
const TX_ID_LENGTH: usize = 12;

/// Endpoints read from one [`Message::CallMeMaybe`]; a client with many interfaces lists about ten.
pub const MAX_CALL_ME_MAYBE_ENDPOINTS: usize = 64;

const TYPE_PING: u8 = 1;
const TYPE_PONG: u8 = 2;
const TYPE_CALL_ME_MAYBE: u8 = 3;

/// Ties a pong to its ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub [u8; TX_ID_LENGTH]);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// "Do you hear me on this path?"
    Ping {
        tx_id: TxId,
        /// The node that the sender claims to be; very old clients leave it out.
        node: Option<NodePublic>,
    },
    /// The answer, on the path of the ping.
    Pong {
        tx_id: TxId,
        /// Where the ping was seen to come from.
        seen_from: SocketAddr,
    },
    /// "Ping me at these addresses, now": sent by the relay, it makes both sides punch at the same time.
    CallMeMaybe(Vec<SocketAddr>),
}

/// The sender's fault: the packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiscoError {
    #[error("disco packet is too short")]
    TooShort,
    #[error("disco packet was not sealed by the key it names")]
    Forged,
    #[error("disco message is cut off")]
    Truncated,
}

/// Whether a datagram or relay frame is a disco packet: long enough for an empty message, and the magic.
#[must_use]
pub fn is_disco(packet: &[u8]) -> bool {
    packet.len() >= HEADER_LENGTH && packet.starts_with(&MAGIC)
}

/// The disco key a packet claims to come from; [`DiscoBox::open`] proves it.
#[must_use]
pub fn sender(packet: &[u8]) -> Option<DiscoPublic> {
    if !is_disco(packet) {
        return None;
    }
    let key = packet.get(MAGIC.len()..MAGIC.len() + KEY_LENGTH)?;
    Some(DiscoPublic::from_bytes(key.try_into().ok()?))
}

/// The shared secret of two disco keys, computed once per peer because the arithmetic is slow.
pub struct DiscoBox {
    cipher: SalsaBox,
    own: DiscoPublic,
}

impl DiscoBox {
    /// `None` when `peer` is a point of low order, with which anybody could read and forge.
    #[must_use]
    pub fn new(own: &DiscoPrivate, peer: &DiscoPublic) -> Option<Self> {
        own.diffie_hellman(peer.as_bytes())?;
        let cipher =
            SalsaBox::new(&PublicKey::from_bytes(*peer.as_bytes()), &SecretKey::from_bytes(*own.expose()));
        Some(Self { cipher, own: own.public() })
    }

    /// A whole packet, ready for UDP or the relay.
    #[must_use]
    pub fn seal(&self, message: &Message, rng: &mut SeededRng) -> Vec<u8> {
        let nonce = rng.bytes::<NONCE_LENGTH>();
        let mut packet = Vec::with_capacity(HEADER_LENGTH + TAG_LENGTH + message.encoded_length());
        packet.extend_from_slice(&MAGIC);
        packet.extend_from_slice(self.own.as_bytes());
        packet.extend_from_slice(&nonce);
        packet.extend_from_slice(&[0; TAG_LENGTH]);
        message.encode(&mut packet);
        let (front, plaintext) = packet.split_at_mut(HEADER_LENGTH + TAG_LENGTH);
        let tag = self
            .cipher
            .encrypt_in_place_detached(&GenericArray::from(nonce), &[], plaintext)
            .expect("a box without associated data has no length limit below 256 GiB");
        front[HEADER_LENGTH..].copy_from_slice(&tag);
        packet
    }

    /// The message of a packet whose [`sender`] is this box's peer; `None` for a type or version not known here.
    pub fn open(&self, packet: &[u8]) -> Result<Option<Message>, DiscoError> {
        let (nonce, sealed) = packet
            .get(MAGIC.len() + KEY_LENGTH..)
            .and_then(|rest| rest.split_first_chunk::<NONCE_LENGTH>())
            .ok_or(DiscoError::TooShort)?;
        let (tag, ciphertext) = sealed.split_first_chunk::<TAG_LENGTH>().ok_or(DiscoError::TooShort)?;
        let mut plaintext = ciphertext.to_vec();
        self.cipher
            .decrypt_in_place_detached(
                &GenericArray::from(*nonce),
                &[],
                &mut plaintext,
                &GenericArray::from(*tag),
            )
            .map_err(|_| DiscoError::Forged)?;
        Message::decode(&plaintext)
    }
}

impl std::fmt::Debug for DiscoBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DiscoBox(redacted)")
    }
}

impl Message {
    /// Decodes what was inside the box: type, version, payload. `None` for an unknown type or version.
    pub fn decode(plaintext: &[u8]) -> Result<Option<Self>, DiscoError> {
        let ([kind, version], payload) =
            plaintext.split_first_chunk::<MESSAGE_HEADER_LENGTH>().ok_or(DiscoError::Truncated)?;
        if *version != 0 {
            return Ok(None);
        }
        match *kind {
            TYPE_PING => decode_ping(payload).map(Some),
            TYPE_PONG => decode_pong(payload).map(Some),
            TYPE_CALL_ME_MAYBE => Ok(Some(decode_call_me_maybe(payload))),
            _ => Ok(None),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ping { tx_id, node } => {
                out.extend_from_slice(&[TYPE_PING, 0]);
                out.extend_from_slice(&tx_id.0);
                if let Some(node) = node {
                    out.extend_from_slice(node.as_bytes());
                }
            }
            Self::Pong { tx_id, seen_from } => {
                out.extend_from_slice(&[TYPE_PONG, 0]);
                out.extend_from_slice(&tx_id.0);
                encode_endpoint(*seen_from, out);
            }
            Self::CallMeMaybe(endpoints) => {
                out.extend_from_slice(&[TYPE_CALL_ME_MAYBE, 0]);
                for endpoint in endpoints {
                    encode_endpoint(*endpoint, out);
                }
            }
        }
    }

    fn encoded_length(&self) -> usize {
        MESSAGE_HEADER_LENGTH
            + match self {
                Self::Ping { node, .. } => TX_ID_LENGTH + node.map_or(0, |_| KEY_LENGTH),
                Self::Pong { .. } => TX_ID_LENGTH + ENDPOINT_LENGTH,
                Self::CallMeMaybe(endpoints) => endpoints.len() * ENDPOINT_LENGTH,
            }
    }
}

/// Padding may follow (peers probe the path's MTU with it).
fn decode_ping(payload: &[u8]) -> Result<Message, DiscoError> {
    let (tx_id, rest) = payload.split_first_chunk::<TX_ID_LENGTH>().ok_or(DiscoError::Truncated)?;
    let node = rest.first_chunk::<KEY_LENGTH>().map(|key| NodePublic::from_bytes(*key));
    Ok(Message::Ping { tx_id: TxId(*tx_id), node: node.filter(|key| !key.is_zero()) })
}

fn decode_pong(payload: &[u8]) -> Result<Message, DiscoError> {
    let (tx_id, rest) = payload.split_first_chunk::<TX_ID_LENGTH>().ok_or(DiscoError::Truncated)?;
    let endpoint = rest.first_chunk::<ENDPOINT_LENGTH>().ok_or(DiscoError::Truncated)?;
    Ok(Message::Pong { tx_id: TxId(*tx_id), seen_from: decode_endpoint(endpoint) })
}

fn decode_call_me_maybe(payload: &[u8]) -> Message {
    let (endpoints, _) = payload.as_chunks::<ENDPOINT_LENGTH>();
    Message::CallMeMaybe(endpoints.iter().take(MAX_CALL_ME_MAYBE_ENDPOINTS).map(decode_endpoint).collect())
}

/// Sixteen address bytes (IPv4 mapped into IPv6) and a big-endian port.
fn decode_endpoint(bytes: &[u8; ENDPOINT_LENGTH]) -> SocketAddr {
    let mut address = [0; 16];
    address.copy_from_slice(&bytes[..16]);
    let port = u16::from_be_bytes([bytes[16], bytes[17]]);
    SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port)
}

fn encode_endpoint(endpoint: SocketAddr, out: &mut Vec<u8>) {
    let address = match endpoint.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    out.extend_from_slice(&address.octets());
    out.extend_from_slice(&endpoint.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Pair {
        a_to_b: DiscoBox,
        b_to_a: DiscoBox,
        a: DiscoPublic,
        rng: SeededRng,
    }

    fn pair() -> Pair {
        let mut rng = SeededRng::new([3; 32]);
        let (a, b) = (DiscoPrivate::generate(&mut rng), DiscoPrivate::generate(&mut rng));
        Pair {
            a_to_b: DiscoBox::new(&a, &b.public()).expect("generated key"),
            b_to_a: DiscoBox::new(&b, &a.public()).expect("generated key"),
            a: a.public(),
            rng,
        }
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let endpoint = any::<SocketAddr>().prop_map(|a| SocketAddr::new(a.ip().to_canonical(), a.port()));
        let node = prop::option::of(any::<[u8; 32]>().prop_filter("absent", |k| *k != [0; 32]));
        prop_oneof![
            (any::<[u8; 12]>(), node).prop_map(|(tx_id, node)| Message::Ping {
                tx_id: TxId(tx_id),
                node: node.map(NodePublic::from_bytes)
            }),
            (any::<[u8; 12]>(), endpoint.clone())
                .prop_map(|(tx_id, seen_from)| Message::Pong { tx_id: TxId(tx_id), seen_from }),
            prop::collection::vec(endpoint, 0..=MAX_CALL_ME_MAYBE_ENDPOINTS).prop_map(Message::CallMeMaybe),
        ]
    }

    proptest! {
        #[test]
        fn what_one_side_seals_the_other_opens(message in any_message()) {
            let mut pair = pair();
            let packet = pair.a_to_b.seal(&message, &mut pair.rng);
            prop_assert!(is_disco(&packet));
            prop_assert_eq!(sender(&packet), Some(pair.a));
            prop_assert_eq!(pair.b_to_a.open(&packet), Ok(Some(message)));
        }

        #[test]
        fn a_changed_byte_is_a_forgery(message in any_message(), at in any::<prop::sample::Index>()) {
            let mut pair = pair();
            let mut packet = pair.a_to_b.seal(&message, &mut pair.rng);
            let at = MAGIC.len() + KEY_LENGTH + at.index(packet.len() - MAGIC.len() - KEY_LENGTH);
            packet[at] ^= 1;
            prop_assert_eq!(pair.b_to_a.open(&packet), Err(DiscoError::Forged));
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut packet = MAGIC.to_vec();
            packet.extend_from_slice(&bytes);
            prop_assert!(pair().b_to_a.open(&packet).is_err());
            let _ = (sender(&bytes), Message::decode(&bytes));
        }
    }

    #[test]
    fn unknown_types_and_versions_are_ignored() {
        assert_eq!(Message::decode(&[0x07, 0, 1, 2, 3]), Ok(None));
        assert_eq!(Message::decode(&[TYPE_PING, 1]), Ok(None));
        assert_eq!(Message::decode(&[TYPE_PING]), Err(DiscoError::Truncated));
    }

    #[test]
    fn a_ping_may_be_padded_and_may_lack_the_node() {
        let mut ping = vec![TYPE_PING, 0];
        ping.extend_from_slice(&[9; TX_ID_LENGTH]);
        let tx_id = TxId([9; TX_ID_LENGTH]);
        assert_eq!(Message::decode(&ping), Ok(Some(Message::Ping { tx_id, node: None })));
        ping.extend_from_slice(&[5; KEY_LENGTH]);
        ping.extend_from_slice(&[0; 400]);
        let node = Some(NodePublic::from_bytes([5; 32]));
        assert_eq!(Message::decode(&ping), Ok(Some(Message::Ping { tx_id, node })));
    }

    #[test]
    fn the_bytes_of_a_pong_are_as_documented() {
        let mut plaintext = Vec::new();
        let seen_from = "192.0.2.7:41641".parse().expect("literal");
        Message::Pong { tx_id: TxId([1; 12]), seen_from }.encode(&mut plaintext);
        assert_eq!(
            hex::encode(plaintext),
            format!("0200{}{}c0000207a2a9", "01".repeat(12), "00000000000000000000ffff")
        );
    }

    #[test]
    fn a_low_order_key_gets_no_box() {
        let own = DiscoPrivate::generate(&mut SeededRng::new([4; 32]));
        assert!(DiscoBox::new(&own, &DiscoPublic::from_bytes([0; 32])).is_none());
    }
}
